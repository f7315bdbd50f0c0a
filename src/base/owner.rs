//! Ownership of files that root creates in the folder of another user: the folder's owner gets them, so that the service's user
//! can still use the folder after an admin worked in it as root.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Gives a file that root has just created in `folder` to the folder's owner.
pub fn hand_over(file: &File, folder: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (made, owner) = (file.metadata()?, folder.metadata()?);
    // A file with a second name may belong elsewhere: a user could have linked it here to be given it.
    let ours = made.is_dir() || (made.is_file() && made.nlink() == 1);
    if made.uid() == owner.uid() || made.uid() != 0 || !ours {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Gives every file of root in `folder` to the folder's owner: those of the folder itself and of its `secrets`, no deeper.
pub fn hand_over_all(folder: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() || folder.metadata()?.uid() == 0 {
        return Ok(());
    }
    let secrets = folder.join("secrets");
    for place in [folder, secrets.as_path()] {
        for entry in place.read_dir().into_iter().flatten() {
            let entry = entry?;
            let kind = entry.file_type()?;
            if !kind.is_file() && entry.path() != secrets {
                continue;
            }
            // Follows no link out of the folder, and waits for no pipe.
            let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32;
            match OpenOptions::new().read(true).custom_flags(flags).open(entry.path()) {
                Ok(file) => hand_over(&file, folder)?,
                // It may have been removed meanwhile.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(cause),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::chown;

    const NOBODY: u32 = 65534;

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_folder_and_what_lies_elsewhere_does_not() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let inside = |name: &str| folder.path().join(name);
        fs::create_dir(inside("secrets")).unwrap();
        for name in ["a.db", "secrets/key", "twice"] {
            fs::write(inside(name), "x").unwrap();
        }
        let other = elsewhere.path().join("other");
        fs::write(&other, "x").unwrap();
        std::os::unix::fs::symlink(&other, inside("link")).unwrap();
        fs::hard_link(inside("twice"), inside("again")).unwrap();
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();

        hand_over_all(folder.path()).unwrap();

        let owner = |path: &Path| fs::metadata(path).unwrap().uid();
        for name in ["a.db", "secrets", "secrets/key"] {
            assert_eq!(owner(&inside(name)), NOBODY, "{name}");
        }
        assert_eq!((owner(&other), owner(&inside("twice"))), (0, 0));
    }
}
