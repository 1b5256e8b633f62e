//! Files that are there whole or not at all, and that are what they were.

mod held;
mod lock;

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

pub use held::{Held, HeldError, Remember};
pub(crate) use held::{copy_hashed, hex};
pub(crate) use lock::lock;

/// The environment variable that overrides the cache folder.
pub const CACHE_VARIABLE: &str = "MIDLAYER_MODELS";

/// The cache folder: `MIDLAYER_MODELS`, or `midlayer/models` in the user's cache folder.
pub fn cache_folder() -> PathBuf {
    match std::env::var_os(CACHE_VARIABLE) {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ => dirs::cache_dir()
            .unwrap_or_else(std::env::temp_dir)
            .join("midlayer")
            .join("models"),
    }
}

/// What the name of a file begins and ends with as long as it is being written.
const PART: (&str, &str) = (".midlayer-", ".part");

/// Removes what writers that were killed have left in a folder. Nobody may be writing there.
pub(crate) fn remove_parts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PART.0) && name.ends_with(PART.1) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Why a file could not be written further, if that is for lack of space: of the disk, or of the
/// quota. For writers that do not say why themselves; appends to the file to find out.
pub(crate) fn lacks_space(part: &Path) -> Option<io::Error> {
    let mut file = File::options().append(true).open(part).ok()?;
    let tried = file
        .write_all(&vec![0; 1 << 20])
        .and_then(|()| file.sync_all());
    tried.err().filter(is_full)
}

/// Whether an error is that of a full disk.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

/// Bytes that may still be written to the disk of a folder; `None` where the system does not tell.
pub(crate) fn free_space(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_frsize.checked_mul(disk.f_bavail)
}

/// A temporary file in the folder of `target`, to be persisted there. It gets the permissions
/// that an ordinary new file would have.
pub fn beside(target: &Path) -> io::Result<NamedTempFile> {
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = Builder::new();
    builder.prefix(PART.0).suffix(PART.1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Writes a text file, replacing an older one.
pub fn replace(target: &Path, text: &str) -> io::Result<()> {
    replace_by(target, |out| out.write_all(text.as_bytes()))
}

/// Writes a file piece by piece; it replaces an older one once `write` has come to its end. A
/// link stays, and what it points to is replaced; what is no file, as a pipe or a device, is
/// written to.
pub fn replace_by(
    target: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let there = fs::metadata(target);
    if there.is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        let mut out = BufWriter::new(File::options().write(true).open(target)?);
        write(&mut out)?;
        return out.flush();
    }
    let target = &fs::canonicalize(target).unwrap_or_else(|_| target.to_path_buf());
    let mut part = beside(target)?;
    let mut out = BufWriter::new(part.as_file_mut());
    write(&mut out)?;
    out.flush()?;
    drop(out);
    part.persist(target)?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("link"));
        replace(&file, "old").unwrap();
        let cut = replace_by(&file, |out| {
            out.write_all(b"new")?;
            Err(io::Error::other("cut"))
        });
        assert_eq!(cut.unwrap_err().to_string(), "cut");
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, "new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(replace(folder.path(), "no file").is_err());
    }

    #[test]
    fn what_is_no_file_stays_what_it_is() {
        use std::os::unix::fs::FileTypeExt;
        let null = Path::new("/dev/null");
        replace(null, "text").unwrap();
        assert!(fs::metadata(null).unwrap().file_type().is_char_device());
    }
}
