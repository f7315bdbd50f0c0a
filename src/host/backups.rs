//! Scheduled backups in their folder: how they are named, which one is the newest, which may go, and when the next is due.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::clock::Timestamp;

const BEGINNING: &str = "lan-gateway-";
const ENDING: &str = ".db";

/// A backup that lies in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBackup {
    /// The time in its name, which is the time of its state.
    pub at: Timestamp,
    pub file: String,
    pub bytes: u64,
}

/// Returns the name of a backup that begins at `at`: `lan-gateway-20261129T030000Z.db`.
pub fn file_name(at: Timestamp) -> String {
    format!("{BEGINNING}{}{ENDING}", at.compact())
}

/// Returns the time in a name. `None`: it is no name of a scheduled backup, so the file is not touched.
pub fn time_of(name: &str) -> Option<Timestamp> {
    let at = Timestamp::parse(name.strip_prefix(BEGINNING)?.strip_suffix(ENDING)?)?;
    (file_name(at) == name).then_some(at)
}

/// Returns the backups in a folder, the newest first.
pub fn kept(folder: &Path) -> io::Result<Vec<KeptBackup>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(file) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let Some(at) = time_of(&file) else { continue };
        match entry.metadata() {
            Ok(of_file) if of_file.is_file() => found.push(KeptBackup { at, file, bytes: of_file.len() }),
            Ok(_) => {}
            // It may have been removed meanwhile.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
    }
    found.sort_by_key(|backup| std::cmp::Reverse(backup.at));
    Ok(found)
}

/// How often it was tried in vain since the last success, and when last.
#[derive(Debug, Clone, Copy)]
pub struct VainTries {
    pub count: u32,
    pub last: Timestamp,
}

impl VainTries {
    pub const NONE: VainTries = VainTries { count: 0, last: Timestamp(0) };
}

/// Pauses after a failure: the first, doubled with each further one, up to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(5 * 60);
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// A backup whose time lies further ahead than this was made before the clock was set back, and is not waited for.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// Returns whether a backup is due. `kept`: the newest first.
pub fn is_due(kept: &[KeptBackup], every: Duration, vain: VainTries, now: Timestamp) -> bool {
    let newest = kept.iter().find(|backup| backup.at <= now.plus(AHEAD_MAX));
    if newest.is_some_and(|newest| now < newest.at.plus(every)) {
        return false;
    }
    let pause = PAUSE_MIN.saturating_mul(1 << vain.count.saturating_sub(1).min(16)).min(PAUSE_MAX).min(every);
    vain.count == 0 || now >= vain.last.plus(pause) || now < vain.last
}

/// What is known of the scheduled backups.
#[derive(Debug, Clone)]
pub struct BackupFacts {
    pub newest: Option<KeptBackup>,
    /// Why the last one failed, if it did.
    pub failed: Option<String>,
    pub looked_at: Timestamp,
}

impl Default for BackupFacts {
    /// Returns that nothing is known.
    fn default() -> Self {
        BackupFacts { newest: None, failed: None, looked_at: Timestamp(0) }
    }
}

impl BackupFacts {
    /// Looks into the folder. A folder that can't be read counts as a failure.
    pub fn look(folder: Option<&Path>) -> BackupFacts {
        let (newest, failed) = match folder.map(kept) {
            None => (None, None),
            Some(Ok(kept)) => (kept.into_iter().next(), None),
            Some(Err(cause)) => (None, Some(format!("its folder can't be read: {cause}"))),
        };
        BackupFacts { newest, failed, looked_at: Timestamp::now() }
    }
}

/// The same, as the part that makes them told it last.
#[derive(Debug, Default)]
pub struct BackupWatch(Mutex<BackupFacts>);

impl BackupWatch {
    pub fn now(&self) -> BackupFacts {
        BackupFacts { looked_at: Timestamp::now(), ..self.lock().clone() }
    }

    pub fn found(&self, newest: Option<KeptBackup>) {
        self.lock().newest = newest;
    }

    /// Notes how the last one ended.
    pub fn ended(&self, failed: Option<String>) {
        self.lock().failed = failed;
    }

    fn lock(&self) -> MutexGuard<'_, BackupFacts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn kept_at(text: &str) -> KeptBackup {
        KeptBackup { at: at(text), file: file_name(at(text)), bytes: 1 }
    }

    #[test]
    fn a_name_is_read_as_it_is_written_and_nothing_else_is_one() {
        assert_eq!(file_name(at("2026-11-29T03:00:00.7Z")), "lan-gateway-20261129T030000Z.db");
        assert_eq!(time_of("lan-gateway-20261129T030000Z.db"), Some(at("2026-11-29T03:00:00Z")));
        for other in [
            "lan-gateway-20261129T030000Z.db.0a1b2c3d.partial",
            "lan-gateway-20261129T030000Z.db-wal",
            "lan-gateway-20261129T030000.db",
            "lan-gateway-20261329T030000Z.db",
            "lan-gateway-2026-11-29T03:00:00Z.db",
            "lan-gateway-20261129T050000+02.db",
            "lan-gateway-before-upgrade.db",
            "old-lan-gateway-20261129T030000Z.db",
            "lan-gateway.db",
        ] {
            assert_eq!(time_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_newest_is_first_and_what_is_no_backup_is_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["lan-gateway-20261128T030000Z.db", "lan-gateway-20261129T030000Z.db", "notes.txt"] {
            fs::write(folder.path().join(name), "12").unwrap();
        }
        fs::create_dir(folder.path().join("lan-gateway-20261130T030000Z.db")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("lan-gateway-20261201T030000Z.db")).unwrap();

        let kept = kept(folder.path()).unwrap();

        let names: Vec<&str> = kept.iter().map(|backup| backup.file.as_str()).collect();
        assert_eq!(names, ["lan-gateway-20261129T030000Z.db", "lan-gateway-20261128T030000Z.db"]);
        assert_eq!(kept[0].bytes, 2);
        assert!(BackupFacts::look(Some(&folder.path().join("missing"))).failed.unwrap().contains("can't be read"));
    }

    #[test]
    fn the_next_is_due_an_interval_after_the_newest() {
        let due = |kept: &[&str], now| {
            let kept: Vec<_> = kept.iter().map(|time| kept_at(time)).collect();
            is_due(&kept, 24 * HOUR, VainTries::NONE, at(now))
        };

        assert!(due(&[], "2026-11-29T03:00:00Z"));
        assert!(!due(&["2026-11-28T03:00:00Z"], "2026-11-29T02:59:59Z"));
        assert!(due(&["2026-11-28T03:00:00Z"], "2026-11-29T03:00:00Z"));
        assert!(!due(&["2026-11-29T03:00:30Z", "2026-11-20T03:00:00Z"], "2026-11-29T03:00:00Z"));
        assert!(due(&["2027-11-28T03:00:00Z"], "2026-11-29T03:00:00Z"), "made before the clock was set back");
        assert!(!due(&["2027-11-28T03:00:00Z", "2026-11-29T01:00:00Z"], "2026-11-29T03:00:00Z"));
    }

    #[test]
    fn a_failed_one_is_tried_again_after_longer_and_longer_pauses() {
        let now = at("2026-11-29T03:00:00Z");
        let pause = |count, every| {
            let mut minutes = 0..2000;
            let due = |minute: &i64| is_due(&[], every, VainTries { count, last: now }, now.plus_seconds(60 * minute));
            minutes.find(due).unwrap()
        };

        let pauses = [0, 1, 2, 3, 4, 5, 6, 1000].map(|count| pause(count, 24 * HOUR));
        assert_eq!(pauses, [0, 5, 10, 20, 40, 60, 60, 60]);
        assert!(is_due(&[], HOUR, VainTries { count: 9, last: now }, now.plus_seconds(-1)), "the clock was set back");
    }
}
