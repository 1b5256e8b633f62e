//! Files that are there whole or not at all.

use std::io::Write;
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// A temporary file in the folder of `target`, to be persisted there. It gets the permissions
/// that an ordinary new file would have.
pub fn beside(target: &Path) -> std::io::Result<NamedTempFile> {
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = Builder::new();
    builder.prefix(".midlayer-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Writes a text file, replacing an older one.
pub fn replace(target: &Path, text: &str) -> std::io::Result<()> {
    let mut part = beside(target)?;
    part.write_all(text.as_bytes())?;
    part.persist(target)?;
    Ok(())
}
