//! Files of the data folder that other users of this host can read or change.

use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// More than that need not be named.
const NAMED_MAX: usize = 20;

/// Whether others may go through a folder to what is in it.
const SEARCH: u32 = 0o011;
/// Whether others may read or change a file.
const READ_OR_WRITE: u32 = 0o066;
const WRITE: u32 = 0o022;

/// Returns what other users of this host can reach in `folder` and in its `secrets`, in the order of names. Behind a folder that is
/// closed, the rights of files don't matter. What can't be looked at is left out.
pub fn exposed(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    look(folder, &mut found);
    found.sort();
    found.truncate(NAMED_MAX);
    found
}

fn look(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(about) = fs::symlink_metadata(folder) else { return };
    if !about.is_dir() || mode(&about) & SEARCH == 0 {
        return;
    }
    // Whoever may change the folder may put another file in the place of one.
    if mode(&about) & WRITE != 0 {
        found.push(folder.to_owned());
    }
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() && entry.file_name() == "secrets" {
            look(&entry.path(), found);
        } else if !about.is_dir() && !about.is_symlink() && mode(&about) & READ_OR_WRITE != 0 {
            found.push(entry.path());
        }
    }
}

fn mode(about: &Metadata) -> u32 {
    about.permissions().mode()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(folder: u32, secrets: u32, file: u32) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        fs::create_dir_all(data.join("secrets")).unwrap();
        for (path, mode) in [("lan-gateway.db", file), ("secrets/jwt.key", file), ("secrets", secrets), ("", folder)] {
            let path = data.join(path);
            if !path.exists() {
                fs::write(&path, "x").unwrap();
            }
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        let name = |path: PathBuf| path.strip_prefix(&data).unwrap().to_str().unwrap().to_owned();
        exposed(&data).into_iter().map(name).collect()
    }

    #[test]
    fn files_are_exposed_if_their_rights_and_those_of_each_folder_above_allow_it() {
        assert_eq!(with(0o700, 0o700, 0o600), [""; 0]);
        assert_eq!(with(0o700, 0o755, 0o644), [""; 0], "the folder is closed");
        assert_eq!(with(0o755, 0o700, 0o600), [""; 0], "its files are closed");
        assert_eq!(with(0o755, 0o700, 0o644), ["lan-gateway.db"]);
        assert_eq!(with(0o750, 0o750, 0o640), ["lan-gateway.db", "secrets/jwt.key"]);
        assert_eq!(with(0o711, 0o700, 0o602), ["lan-gateway.db"]);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_exposed() {
        assert_eq!(with(0o770, 0o700, 0o600), [""]);
        assert_eq!(with(0o733, 0o733, 0o600), ["", "secrets"]);
    }

    #[test]
    fn a_folder_that_is_missing_exposes_nothing() {
        assert!(exposed(Path::new("/nowhere/at/all")).is_empty());
    }
}
