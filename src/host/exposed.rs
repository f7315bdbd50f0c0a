//! Files of the data folder that other users of this host can read or change, and the configuration file.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::Config;

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

/// A configuration file whose rights are too wide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenConfig {
    pub file: PathBuf,
    pub how: ConfigExposure,
}

/// Who can do what to a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigExposure {
    /// It belongs to this user, who is neither root nor the owner of the data folder.
    Owner(u32),
    /// Others can change it.
    Changed,
    /// Others can read it, and it holds a secret.
    Read,
}

/// A configuration file, as far as its rights matter.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    pub path: PathBuf,
    pub holds_secret: bool,
}

impl ConfigFile {
    /// Returns the file that a configuration was read from, if any.
    pub fn of(config: &Config) -> Option<ConfigFile> {
        Some(ConfigFile { path: config.file.clone()?, holds_secret: config.file_holds_secret() })
    }

    /// Returns whose rights to the file are too wide. Those who may use it are root, the owner of the data folder, and the groups
    /// of both; without a data folder this user stands for its owner. What can't be looked at is well.
    pub fn exposure(&self, data_dir: &Path) -> Option<OpenConfig> {
        let about = fs::metadata(&self.path).ok()?;
        let (user, group) = match fs::metadata(data_dir) {
            Ok(folder) => (folder.uid(), folder.gid()),
            Err(_) => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        };
        let of_group = if [0, group].contains(&about.gid()) { 0 } else { mode(&about) >> 3 };
        let of_others = if is_reachable(&self.path) { mode(&about) | of_group } else { 0 };
        let how = match of_others {
            _ if ![0, user].contains(&about.uid()) => ConfigExposure::Owner(about.uid()),
            others if others & 0o2 != 0 => ConfigExposure::Changed,
            others if others & 0o4 != 0 && self.holds_secret => ConfigExposure::Read,
            _ => return None,
        };
        Some(OpenConfig { file: self.path.clone(), how })
    }
}

/// Returns whether other users may go through every folder above a file.
fn is_reachable(file: &Path) -> bool {
    let is_open = |folder: &Path| fs::metadata(folder).is_ok_and(|about| mode(&about) & SEARCH != 0);
    file.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).all(is_open)
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

    #[test]
    fn a_configuration_file_is_exposed_by_its_mode_its_owner_and_the_folders_above() {
        let root = tempfile::tempdir().unwrap();
        let (data, path) = (root.path().join("data"), root.path().join("lan-gateway.toml"));
        fs::create_dir(&data).unwrap();
        fs::write(&path, "").unwrap();
        let rights = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let how = |mode, holds_secret| {
            rights(&path, mode);
            ConfigFile { path: path.clone(), holds_secret }.exposure(&data).map(|open| open.how)
        };
        rights(root.path(), 0o755);

        for (mode, of_secret, of_none) in [
            (0o600, None, None),
            (0o640, None, None),
            (0o644, Some(ConfigExposure::Read), None),
            (0o660, None, None),
            (0o602, Some(ConfigExposure::Changed), Some(ConfigExposure::Changed)),
            (0o666, Some(ConfigExposure::Changed), Some(ConfigExposure::Changed)),
        ] {
            assert_eq!((how(mode, true), how(mode, false)), (of_secret, of_none), "{mode:o}");
        }
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, None, Some(4242)).unwrap();
            assert_eq!(how(0o640, true), Some(ConfigExposure::Read), "a group that nothing else belongs to");
            assert_eq!(how(0o640, false), None);
            std::os::unix::fs::chown(&path, Some(4242), Some(0)).unwrap();
            assert_eq!(how(0o600, false), Some(ConfigExposure::Owner(4242)));
            std::os::unix::fs::chown(&data, Some(4242), None).unwrap();
            assert_eq!(how(0o600, false), None, "the gateway's own user");
        }
        rights(root.path(), 0o700);
        assert_eq!(how(0o666, true), None, "the folder above is closed");
    }
}
