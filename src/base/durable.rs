//! Files that are there as a whole or not at all, also after a power cut: written under another name, synced, renamed, and then
//! their folder is synced.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Returns the folder that a file is in.
pub fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Renames a file; one that has the new name already stays, and the result is `AlreadyExists`.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system can't do that in one step.
        Err(Errno::INVAL | Errno::NOSYS) if to.symlink_metadata().is_ok() => Err(ErrorKind::AlreadyExists.into()),
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        done => Ok(done?),
    }
}

/// Writes a file that gets its name when it is whole and on disk; one that has the name already stays, and the result is
/// `AlreadyExists`.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = (|| {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        rename_new(&part, path)?;
        sync_folder(&folder_of(path))
    })();
    if written.is_err() {
        // It may not be there.
        let _ = fs::remove_file(&part);
    }
    written
}

/// Syncs the names of the files in a folder.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Returns the bytes that this user may still write to the file system of `folder`.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        fs::write(&one, "1").unwrap();

        rename_new(&one, &other).unwrap();
        fs::write(&one, "2").unwrap();
        let refused = rename_new(&one, &other).unwrap_err();

        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!((fs::read(&one).unwrap(), fs::read(&other).unwrap()), (b"2".to_vec(), b"1".to_vec()));
    }

    #[test]
    fn a_new_file_is_whole_and_an_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");

        write_new(&path, b"one").unwrap();
        let refused = write_new(&path, b"two").unwrap_err();

        assert_eq!((refused.kind(), fs::read(&path).unwrap()), (ErrorKind::AlreadyExists, b"one".to_vec()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a part is left");
    }

    #[test]
    fn a_name_alone_is_in_this_folder() {
        assert_eq!(folder_of(Path::new("a.db")), Path::new("."));
        assert_eq!(folder_of(Path::new("/a.db")), Path::new("/"));
        assert_eq!(folder_of(Path::new("b/a.db")), Path::new("b"));
    }
}
