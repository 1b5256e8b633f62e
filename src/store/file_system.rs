//! The file system that a run's folder lies on: whether all processes that may reach the folder
//! share one kernel's locks and memory.

use std::io;
use std::path::Path;

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileSystem {
    /// Its name, as messages show it.
    pub name: String,
    /// Whether it is one of this machine's own disks. Every other one, also one that is not
    /// known, is taken for a network file system.
    pub local: bool,
}

impl FileSystem {
    /// The file system of a folder or file that is there.
    #[cfg(target_os = "linux")]
    pub fn of(path: &Path) -> io::Result<Self> {
        // Magic numbers have 32 bits; the field's type depends on the machine.
        Ok(Self::of_magic(rustix::fs::statfs(path)?.f_type as u32))
    }

    /// The file system of a folder or file that is there.
    #[cfg(target_os = "macos")]
    pub fn of(path: &Path) -> io::Result<Self> {
        let about = rustix::fs::statfs(path)?;
        let name = about.f_fstypename.iter().take_while(|c| **c != 0);
        let name: Vec<u8> = name.map(|c| *c as u8).collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        let local = ["apfs", "hfs", "exfat", "msdos", "ntfs", "udf", "tmpfs"];
        Ok(Self {
            local: local.contains(&&*name),
            name,
        })
    }

    /// Where the system does not tell, folders are taken for local ones.
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    pub fn of(_: &Path) -> io::Result<Self> {
        Ok(Self {
            name: "unknown".into(),
            local: true,
        })
    }

    #[cfg(target_os = "linux")]
    fn of_magic(magic: u32) -> Self {
        let known = |table: &[(u32, &str)]| {
            let found = table.iter().find(|(number, _)| *number == magic);
            found.map(|(_, name)| name.to_string())
        };
        match known(&LOCAL) {
            Some(name) => Self { name, local: true },
            None => Self {
                name: known(&SHARED).unwrap_or_else(|| format!("of type {magic:#x}")),
                local: false,
            },
        }
    }
}

/// File systems on one machine's disks or in its memory (`linux/magic.h` and their sources).
#[cfg(target_os = "linux")]
const LOCAL: [(u32, &str); 24] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlayfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0xca45_1a4e, "bcachefs"),
    (0x3153_464a, "jfs"),
    (0x5265_4973, "reiserfs"),
    (0x3434, "nilfs2"),
    (0x4d44, "vfat"),
    (0x2011_bab0, "exfat"),
    (0x7366_746e, "ntfs3"),
    (0x5346_544e, "ntfs"),
    (0x4244, "hfs"),
    (0x482b, "hfsplus"),
    (0x1501_3346, "udf"),
    (0x9660, "iso9660"),
    (0x7371_7368, "squashfs"),
    (0xe0f5_e1e2, "erofs"),
    (0x2405_1905, "ubifs"),
    (0xf15f, "ecryptfs"),
];

/// File systems that several machines may reach, or that a process of its own stands behind.
#[cfg(target_os = "linux")]
const SHARED: [(u32, &str); 21] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00c3_6400, "Ceph"),
    (0x1983_0326, "BeeGFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0xaad7_aaea, "PanFS"),
    (0x2003_0528, "OrangeFS"),
    (0x786f_4256, "vboxsf"),
    (0x564c, "NCP"),
    (0x6163_6673, "ACFS"),
    (0x1373_5043, "VMware hgfs"),
];

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_be_local_is_shared() {
        let of = |magic| {
            let FileSystem { name, local } = FileSystem::of_magic(magic);
            (name, local)
        };
        assert_eq!(of(0xef53), ("ext4".into(), true));
        assert_eq!(of(0xff53_4d42), ("CIFS".into(), false));
        assert_eq!(of(0x1234_5678), ("of type 0x12345678".into(), false));
        let folder = FileSystem::of(Path::new("/proc")).unwrap();
        assert!(!folder.local, "{folder:?}");
        assert!(FileSystem::of(Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn numbers_do_not_repeat() {
        let mut numbers: Vec<u32> = LOCAL.iter().chain(&SHARED).map(|(n, _)| *n).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }
}
