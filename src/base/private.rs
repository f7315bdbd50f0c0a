//! Files that this user alone may read, such as keys. They are there as a whole or not at all, also after a power cut.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use zeroize::Zeroizing;

use crate::base::durable::{folder_of, rename_new, sync_folder};
use crate::base::owner;

/// Reads a file. One that other users may read is refused.
pub fn read(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let shown = || format!("can't read {}", path.display());
    let mode = fs::metadata(path).with_context(shown)?.permissions().mode();
    ensure!(mode & 0o077 == 0, "{} may be read by others; run chmod 600 on it", path.display());
    Ok(Zeroizing::new(fs::read(path).with_context(shown)?))
}

/// Writes a file that is not there yet. One that another process has just made stays as it is.
pub fn create(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    write(path, content, |new| match rename_new(new, path) {
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => fs::remove_file(new),
        done => done,
    })
}

/// Writes a file in place of an older one, if there is one.
pub fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    write(path, content, |new| fs::rename(new, path))
}

fn write(path: &Path, content: &[u8], put: impl FnOnce(&Path) -> io::Result<()>) -> anyhow::Result<()> {
    let (folder, new) = (folder_of(path), with_ending(path, ".new"));
    let written = || -> io::Result<()> {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        out.write_all(content)?;
        owner::hand_over(&out, &folder)?;
        out.sync_all()?;
        put(&new)?;
        sync_folder(&folder)
    };
    written().with_context(|| format!("can't write {}", path.display()))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_this_users_alone_and_one_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        create(&path, b"secret").unwrap();

        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(&read(&path).unwrap()[..], b"secret");
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refusal = read(&path).unwrap_err().to_string();
            assert!(refusal.contains("chmod 600"), "{mode:o}: {refusal}");
        }
    }

    #[test]
    fn a_new_file_replaces_no_other_unless_it_is_meant_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");

        create(&path, b"one").unwrap();
        create(&path, b"two").unwrap();
        assert_eq!(&read(&path).unwrap()[..], b"one");
        replace(&path, b"three").unwrap();
        assert_eq!(&read(&path).unwrap()[..], b"three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("a.key");

        for refusal in [read(&path).map(drop), create(&path, b""), replace(&path, b"")] {
            assert!(refusal.unwrap_err().to_string().contains("a.key"));
        }
    }
}
