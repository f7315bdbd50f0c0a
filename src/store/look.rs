//! What a database holds that admins should know, read while no gateway runs on it, without changing a byte of its folder.

use std::io::ErrorKind;
use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::base::clock::Timestamp;
use crate::config::settings::{Live, Settings};
use crate::store::backup::{ReadAs, read_only};
use crate::store::chain::last_checkpoint;
use crate::store::file::{FILE, Text, quick_check_of};
use crate::store::migrations::known;
use crate::store::settings;
use crate::store::size::{count_late_erasures, growth_per_day, reusable};

/// What was found in a database.
#[derive(Debug, Clone, Copy)]
pub struct AtRest {
    /// Whether `admin` still has the first password.
    pub first_password: bool,
    /// Deleted people whose contents should have been erased by now.
    pub late_erasures: u64,
    pub growth_per_day: Option<u64>,
    /// Bytes of free pages inside the file.
    pub reusable: u64,
    /// The settings, with what admins have changed.
    pub settings: Settings,
    pub last_checkpoint: Option<SeenCheckpoint>,
}

/// The newest checkpoint of a database at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenCheckpoint {
    pub log_id: i64,
    pub at: Timestamp,
}

/// What a look at the database of a folder gives.
#[derive(Debug)]
pub enum DatabaseLook {
    /// There is none yet.
    Absent,
    /// It was written by an older version; the next start brings it up to date.
    Older,
    /// It can't be read without changing files: its last commits are in a write-ahead log without an index.
    Unread,
    Read(Box<AtRest>),
}

/// Why no gateway can start with a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// It can't be opened; the error.
    Unreadable(String),
    /// It is none of this gateway, or can't be told from one; the error.
    Foreign(String),
    /// It has this migration, which this version doesn't know.
    Newer(String),
    /// What is damaged in it.
    Damaged(Vec<String>),
    /// It is gone, and other files that belong to it are there; a sentence.
    Missing(String),
}

#[derive(QueryableByName)]
struct Flag {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

/// Looks into the database of a folder on which no gateway runs. With `deep` all of it is read. `start` are the settings of the
/// configuration.
pub fn look(folder: &Path, start: Settings, deep: bool) -> Result<DatabaseLook, Unusable> {
    let path = folder.join(FILE);
    match std::fs::File::open(&path).and_then(|file| file.metadata()) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(DatabaseLook::Absent),
        Err(cause) => return Err(Unusable::Unreadable(cause.to_string())),
        // An empty file is what `touch` or a failed copy leaves.
        Ok(about) if about.len() == 0 => return Ok(DatabaseLook::Absent),
        Ok(_) => {}
    }
    let beside = |ending: &str| std::fs::metadata(folder.join(format!("{FILE}-{ending}")));
    let how = match (beside("wal").is_ok_and(|wal| wal.len() > 0), beside("shm").is_ok()) {
        (false, _) => ReadAs::AtRest,
        (true, true) => ReadAs::LeftBehind,
        (true, false) => return Ok(DatabaseLook::Unread),
    };
    let foreign = |cause: &dyn std::fmt::Display| Unusable::Foreign(cause.to_string());
    let mut file = read_only(&path, how).map_err(|cause| foreign(&format!("{cause:#}")))?;
    let tables = "SELECT name AS value FROM sqlite_schema WHERE type = 'table' AND name = '__diesel_schema_migrations'";
    let tables: Vec<Text> = diesel::sql_query(tables).load(&mut file).map_err(|cause| foreign(&cause))?;
    if tables.is_empty() {
        return Err(Unusable::Foreign("it has none of the gateway's tables".into()));
    }
    let damaged = |cause: &dyn std::fmt::Display| Unusable::Damaged(vec![cause.to_string()]);
    let applied: Vec<Text> =
        diesel::sql_query("SELECT version AS value FROM __diesel_schema_migrations ORDER BY version")
            .load(&mut file)
            .map_err(|cause| damaged(&cause))?;
    let known = known().map_err(|cause| foreign(&format!("{cause:#}")))?;
    if let Some(newer) = applied.iter().find(|version| !known.contains(&version.value)) {
        return Err(Unusable::Newer(newer.value.clone()));
    }
    if deep {
        let damage = quick_check_of(&mut file).map_err(|cause| damaged(&format!("{cause:#}")))?;
        if !damage.is_empty() {
            return Err(Unusable::Damaged(damage));
        }
    }
    if applied.len() < known.len() {
        return Ok(DatabaseLook::Older);
    }
    facts(&mut file, start).map(|found| DatabaseLook::Read(Box::new(found))).map_err(|cause| damaged(&cause))
}

fn facts(file: &mut SqliteConnection, start: Settings) -> QueryResult<AtRest> {
    let live = Live::new(start);
    settings::load(file, &live)?;
    // As `rules::accounts` tells it.
    let first =
        "SELECT count(*) AS value FROM users WHERE username = 'admin' AND must_change AND reset_until_us IS NULL";
    Ok(AtRest {
        first_password: diesel::sql_query(first).get_result::<Flag>(file)?.value > 0,
        late_erasures: count_late_erasures(file)?,
        growth_per_day: growth_per_day(file, Timestamp::now())?,
        reusable: reusable(file)?,
        settings: live.now(),
        last_checkpoint: last_checkpoint(file)?.map(|row| SeenCheckpoint { log_id: row.log_id, at: row.at() }),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use diesel::connection::SimpleConnection;

    use super::*;
    use crate::store::file::connect;
    use crate::store::migrations::run_pending;

    /// Every file of a folder with a digest of its content and the times at which it and the folder were changed.
    fn state(folder: &Path) -> BTreeMap<String, (String, i64, i64)> {
        let entry = |path: &Path, content: Vec<u8>| {
            let about = fs::metadata(path).unwrap();
            let digest = format!("{:?}", ring::digest::digest(&ring::digest::SHA256, &content));
            (path.display().to_string(), (digest, about.mtime_nsec(), about.mtime()))
        };
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files.map(|path| entry(&path, fs::read(&path).unwrap())).chain([entry(folder, Vec::new())]).collect()
    }

    fn made() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        run_pending(&mut connect(&folder.path().join(FILE)).unwrap()).unwrap();
        folder
    }

    /// Looks, and checks that nothing was changed.
    fn looked(folder: &Path) -> Result<DatabaseLook, Unusable> {
        let before = state(folder);
        let looks = [false, true].map(|deep| look(folder, Settings::default(), deep));
        assert_eq!(state(folder), before);
        let [quick, _] = looks;
        quick
    }

    const FIRST_ADMIN: &str = "INSERT INTO users (id, public_id, username, password_hash, role, status, version, \
        must_change, weight, class, created_at_us) VALUES (1, '000000000000000000000000000000000001', 'admin', 'x', 'admin', \
        'active', 1, 1, 1, 'interactive', 1)";

    #[test]
    fn what_an_ended_gateway_left_is_read() {
        let folder = made();
        let change = |sql: &str| connect(&folder.path().join(FILE)).unwrap().batch_execute(sql).unwrap();
        change(&format!(
            "{FIRST_ADMIN}; INSERT INTO settings (name, value, changed_at_us) VALUES ('repeats_max', 60, 1)"
        ));

        let Ok(DatabaseLook::Read(found)) = looked(folder.path()) else { panic!("it is a database of this version") };

        assert!(found.first_password && found.late_erasures == 0);
        assert_eq!(found.settings.repeats_max, 60);
        change("UPDATE users SET must_change = 0");
        assert!(matches!(looked(folder.path()), Ok(DatabaseLook::Read(found)) if !found.first_password));
    }

    #[test]
    fn what_a_killed_gateway_left_is_read_with_the_commits_in_its_log() {
        let (folder, killed) = (made(), tempfile::tempdir().unwrap());
        let mut writer = connect(&folder.path().join(FILE)).unwrap();
        writer.batch_execute(FIRST_ADMIN).unwrap();
        // A copy while the writer has it open is what a kill leaves.
        for file in fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), killed.path().join(file.file_name())).unwrap();
        }
        assert!(fs::metadata(killed.path().join(format!("{FILE}-wal"))).unwrap().len() > 0);

        assert!(matches!(looked(killed.path()), Ok(DatabaseLook::Read(found)) if found.first_password));
        fs::remove_file(killed.path().join(format!("{FILE}-shm"))).unwrap();
        assert!(matches!(looked(killed.path()), Ok(DatabaseLook::Unread)));
    }

    #[test]
    fn a_database_that_is_foreign_newer_or_damaged_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert!(matches!(looked(folder.path()), Ok(DatabaseLook::Absent)));
        fs::write(&path, "").unwrap();
        assert!(matches!(looked(folder.path()), Ok(DatabaseLook::Absent)));
        fs::write(&path, "not a database, but long enough to be taken for one ".repeat(20)).unwrap();
        assert!(matches!(looked(folder.path()), Err(Unusable::Foreign(_))));
        fs::remove_file(&path).unwrap();
        connect(&path).unwrap().batch_execute("CREATE TABLE mine (x)").unwrap();
        assert!(matches!(looked(folder.path()), Err(Unusable::Foreign(_))));

        let folder = made();
        let path = folder.path().join(FILE);
        let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000000')";
        connect(&path).unwrap().batch_execute(newer).unwrap();
        assert_eq!(looked(folder.path()).unwrap_err(), Unusable::Newer("29990101000000".into()));

        let folder = made();
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let cut = look(folder.path(), Settings::default(), true);
        assert!(matches!(cut, Err(Unusable::Damaged(_) | Unusable::Foreign(_))), "{cut:?}");
    }
}
