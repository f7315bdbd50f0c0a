//! `[backup]`: scheduled backups.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::values::number;

/// How often, where to, and how many.
#[derive(Debug, Clone)]
pub struct BackupSection {
    /// `None`: none are scheduled.
    pub schedule: Option<BackupSchedule>,
}

#[derive(Debug, Clone)]
pub struct BackupSchedule {
    pub folder: PathBuf,
    pub every: Duration,
    pub keep: usize,
}

impl BackupSection {
    pub fn read(reader: &mut Reader) -> Self {
        let folder = reader.key(
            "backup.folder",
            "\"\"",
            "The folder of scheduled backups, as in \"/opt/lan-gateway/backups\": it must exist, outside of data_dir, best on \
             another disk. Empty: none are scheduled. `lan-gateway backup FILE` makes one at any time.",
            |value| value.as_str().map(PathBuf::from).ok_or_else(|| format!("`{value}` must be a text in quotes")),
        );
        let hours = reader.key(
            "backup.every_hours",
            "24",
            "Hours between two scheduled backups, counted from the newest file in the folder; 0: none are scheduled.",
            number(0, 24 * 366),
        );
        let keep = reader.key(
            "backup.keep",
            "7",
            "How many scheduled backups are kept; older ones are removed. What was deleted or erased is in them until then.",
            number(1, 1000),
        );
        let is_scheduled = hours > 0 && !folder.as_os_str().is_empty();
        let every = Duration::from_secs(hours * 3600);
        BackupSection { schedule: is_scheduled.then_some(BackupSchedule { folder, every, keep: keep as usize }) }
    }
}

impl BackupSchedule {
    /// Whether the folder is inside another one, as far as their names tell.
    pub fn is_inside(&self, other: &Path) -> bool {
        plain(&self.folder).starts_with(plain(other))
    }
}

/// Returns a path from the root, without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn resolved(data_dir: &str, folder: &str) -> Result<Config, String> {
        let toml = format!("data_dir = \"{data_dir}\"\n[backup]\nfolder = \"{folder}\"");
        Config::resolve(&toml, []).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_folder_in_the_data_folder_is_refused_however_it_is_written() {
        for (data_dir, folder) in [
            ("/opt/lan-gateway/data", "/opt/lan-gateway/data"),
            ("/opt/lan-gateway/data", "/opt/lan-gateway/data/backups"),
            ("/opt/lan-gateway/data/", "/opt/lan-gateway/./x/../data/backups"),
            ("data", "data/backups"),
            ("data", "./data"),
        ] {
            let refused = resolved(data_dir, folder).unwrap_err();
            assert!(refused.contains("backup.folder") && refused.contains("data_dir"), "{folder}: {refused}");
        }
        for (data_dir, folder) in [
            ("/opt/lan-gateway/data", "/opt/lan-gateway/backups"),
            ("/opt/lan-gateway/data", "/opt/lan-gateway/data-backups"),
            ("/opt/lan-gateway/data", "/opt/lan-gateway"),
            ("data", "backups"),
        ] {
            assert!(resolved(data_dir, folder).unwrap().backup.schedule.is_some(), "{folder}");
        }
    }

    #[test]
    fn none_are_scheduled_without_a_folder_or_an_interval() {
        assert!(Config::resolve("", []).unwrap().backup.schedule.is_none());
        let none = Config::resolve("[backup]\nfolder = \"/b\"\nevery_hours = 0", []).unwrap();
        assert!(none.backup.schedule.is_none());
        assert!(Config::resolve("[backup]\nkeep = 0", []).is_err());
    }
}
