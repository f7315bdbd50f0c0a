use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::settings::{Live, Settings};
use crate::model::record::Act;
use crate::store::file::connect;
use crate::store::{FILE, Store};

const SAID: &str = "the canary in a prompt";

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    /// A database with some rows, a session and a receipt.
    fn new() -> Stage {
        let stage = Stage { folder: tempfile::tempdir().unwrap() };
        Store::open(stage.folder.path(), Live::new(Settings::default())).unwrap().close();
        let mut sql = format!(
            "INSERT INTO users (public_id, username, role, status, password_hash, created_at_us) \
             VALUES ('{:036}', 'ann', 'user', 'active', 'argon2', 1), ('{:036}', 'bob', 'user', 'active', 'argon2', 1); \
             INSERT INTO sessions (id_sha256, user_id, version, created_at_us, seen_at_us) VALUES (x'{:064x}', 1, 1, 1, 1); \
             INSERT INTO exports (public_id, format, created_at_us, receipt) VALUES ('{:036}', 'csv', 1, x'{:064x}')",
            1, 2, 7, 3, 9
        );
        for number in 1..=200 {
            sql += &format!(
                "; INSERT INTO record (kind, at_us, request_id) VALUES ('intent', {number}, randomblob(16)); \
                 INSERT INTO record_part (log_id, part, kind, body) VALUES ({number}, 0, 'request', '{SAID}' || hex(randomblob(2000)))"
            );
        }
        stage.run(&format!("BEGIN; {sql}; COMMIT"));
        stage
    }

    fn run(&self, sql: &str) {
        connect(&self.database()).unwrap().batch_execute(sql).unwrap();
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn back_up(&self, name: &str, replace: bool) -> anyhow::Result<Backup> {
        let (database, file) = (self.database(), self.path(name));
        make(&BackupWish { database: &database, file: &file, replace, leave_free: 0 }, |_, _| {})
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn refusal(path: &Path) -> String {
    format!("{:#}", check(path).unwrap_err())
}

#[test]
fn a_backup_is_one_file_that_says_what_it_holds_and_opens_nothing() {
    let stage = Stage::new();

    let made = stage.back_up("b.db", false).unwrap();

    let checked = check(&stage.path("b.db")).unwrap();
    assert_eq!((&checked.about, checked.bytes), (&made.about, made.bytes));
    let about = made.about;
    assert_eq!(
        (about.requests, about.people, about.newest_log_id, about.newest_at()),
        (200, 2, 200, Some(Timestamp(200)))
    );
    assert_eq!(about.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(fs::metadata(stage.path("b.db")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(stage.names().iter().filter(|name| name.starts_with("b.db")).count(), 1);
    let mut copy = read_only(&stage.path("b.db"), ReadAs::AtRest).unwrap();
    for (what, count) in [
        ("sessions", 0),
        ("exports WHERE receipt IS NOT NULL", 0),
        ("exports", 1),
        ("users WHERE password_hash IS NOT NULL", 2),
    ] {
        assert_eq!(number(&mut copy, &format!("SELECT count(*) AS value FROM {what}")).unwrap(), count, "{what}");
    }
}

#[test]
fn what_is_committed_while_it_is_copied_is_not_in_it_and_what_was_before_is() {
    let stage = Stage::new();
    let mut gateway = connect(&stage.database()).unwrap();
    let add = "INSERT INTO record (kind, at_us, request_id) VALUES ('intent', 300, randomblob(16))";
    gateway.batch_execute(add).unwrap();
    let mut source = read_only(&stage.database(), ReadAs::InUse).unwrap();
    source.batch_execute("BEGIN; SELECT count(*) FROM record").unwrap();

    gateway.batch_execute(add).unwrap();
    let made = stage.back_up("b.db", false).unwrap();

    assert_eq!(made.about.requests, 202, "a reader beside it changes nothing");
    assert_eq!(check(&stage.path("b.db")).unwrap().about.requests, 202);
}

#[test]
fn a_backup_in_which_a_single_byte_differs_is_refused() {
    let stage = Stage::new();
    stage.back_up("b.db", false).unwrap();
    let whole = fs::read(stage.path("b.db")).unwrap();
    let canary = whole.windows(SAID.len()).position(|bytes| bytes == SAID.as_bytes()).unwrap();
    let header = [0, 16, 18, 24, 28, 31, 40, 47, 56, 59, 60, 68, 95, 99];
    let places = header.into_iter().chain([canary, canary + 1000, whole.len() - 1]);

    for place in places.chain((1..64).map(|part| whole.len() * part / 64)) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(stage.path("x.db"), &bytes).unwrap();
        let why = refusal(&stage.path("x.db"));
        assert!(
            ["is damaged", "no backup", "no complete backup"].iter().any(|text| why.contains(text)),
            "{place}: {why}"
        );
    }
    fs::write(stage.path("x.db"), &whole).unwrap();
    check(&stage.path("x.db")).unwrap();
}

#[test]
fn what_is_no_complete_backup_of_this_version_or_an_older_one_is_refused() {
    let stage = Stage::new();
    stage.back_up("b.db", false).unwrap();
    let whole = fs::read(stage.path("b.db")).unwrap();
    let foreign = stage.path("foreign.db");
    SqliteConnection::establish(foreign.to_str().unwrap()).unwrap().batch_execute("CREATE TABLE t (x)").unwrap();
    stage.run("INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000000')");
    stage.back_up("newer.db", false).unwrap();
    for (name, bytes) in [
        ("empty.db", &whole[..0]),
        ("short.db", &whole[..50]),
        ("page.db", &whole[..4096]),
        ("cut.db", &whole[..whole.len() - 1]),
        ("text.db", "no database, but a text of some length. ".repeat(10).as_bytes()),
    ] {
        fs::write(stage.path(name), bytes).unwrap();
    }

    for (name, why) in [
        ("empty.db", "is empty"),
        ("short.db", "nor an SQLite database"),
        ("page.db", "cut short"),
        ("cut.db", "cut short"),
        ("text.db", "nor an SQLite database"),
        ("foreign.db", "no complete backup"),
        (FILE, "no complete backup"),
        ("missing.db", "can't open"),
        ("newer.db", "whose schema 29990101000000"),
        (".", "is no file"),
    ] {
        let said = refusal(&stage.path(name));
        assert!(said.contains(why), "{name}: {said}");
    }
}

#[test]
fn a_file_that_is_there_stays_unless_it_may_be_replaced_and_a_failure_leaves_no_part() {
    let stage = Stage::new();
    fs::write(stage.path("b.db"), "mine").unwrap();

    assert!(stage.back_up("b.db", false).unwrap_err().to_string().contains("is there already"));
    assert!(stage.back_up(".", true).unwrap_err().to_string().contains("is a folder"));
    assert!(format!("{:#}", stage.back_up("missing/b.db", false).unwrap_err()).contains("can't write in"));
    let (database, file) = (stage.database(), stage.path("c.db"));
    let wish = BackupWish { database: &database, file: &file, replace: false, leave_free: 1 << 60 };
    assert!(make(&wish, |_, _| {}).unwrap_err().to_string().contains("not enough space"));
    fs::write(stage.path("no.db"), "no database").unwrap();
    let not_ours = stage.path("no.db");
    assert!(make(&BackupWish { database: &not_ours, file: &file, replace: false, leave_free: 0 }, |_, _| {}).is_err());

    assert_eq!(fs::read(stage.path("b.db")).unwrap(), b"mine");
    fs::remove_file(stage.path("no.db")).unwrap();
    let left = stage.names();
    assert_eq!(left.iter().filter(|name| !name.starts_with(FILE)).collect::<Vec<_>>(), ["b.db"]);
    stage.back_up("b.db", true).unwrap();
    check(&stage.path("b.db")).unwrap();
}

#[test]
fn what_an_interrupted_backup_left_is_known_by_its_name_and_refused() {
    let stage = Stage::new();
    for name in ["b.db.0a1b2c3d.partial", "b.db.0a1b2c3d4.partial", "c.db.0a1b2c3d.partial", "b.db.partial", "b.db"] {
        fs::write(stage.path(name), "x").unwrap();
    }
    let unsealed = stage.path("d.db.0a1b2c3d.partial");
    let mut source = read_only(&stage.database(), ReadAs::InUse).unwrap();
    source.batch_execute(&format!("VACUUM INTO '{}'", unsealed.display())).unwrap();

    assert!(refusal(&unsealed).contains("no complete backup"));
    remove_partials(&stage.path("b.db")).unwrap();

    let left = stage.names();
    assert!(!left.contains(&"b.db.0a1b2c3d.partial".to_owned()));
    for name in ["b.db.0a1b2c3d4.partial", "c.db.0a1b2c3d.partial", "b.db.partial", "b.db"] {
        assert!(left.contains(&name.to_owned()), "{name}");
    }
}

#[test]
fn a_copy_is_made_a_database_again_and_its_record_tells_of_it() {
    let stage = Stage::new();
    let made = stage.back_up("b.db", false).unwrap();
    fs::copy(stage.path("b.db"), stage.path("copy.db")).unwrap();

    make_live(&stage.path("copy.db"), &made.about).unwrap();

    assert!(refusal(&stage.path("copy.db")).contains("no complete backup"));
    let newest = newest_row(&stage.path("copy.db")).unwrap();
    assert!(newest.log_id == 201 && newest.at() > Timestamp(200));
    let mut copy = read_only(&stage.path("copy.db"), ReadAs::AtRest).unwrap();
    let restored = format!("SELECT count(*) AS value FROM record WHERE act = '{}'", Act::Restored.name());
    assert_eq!(number(&mut copy, &restored).unwrap(), 1);
    assert!(!has_table(&mut copy, "backup").unwrap());
}

#[test]
fn a_backup_without_a_gateway_is_told_in_the_record_unless_its_schema_is_older() {
    let stage = Stage::new();
    let note = BackupNote::of(&stage.back_up("b.db", false).unwrap(), false);

    assert!(note_without_gateway(&stage.database(), &note).unwrap());
    assert_eq!(newest_row(&stage.database()).unwrap().log_id, 201);
    stage.run(
        "DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)",
    );
    assert!(!note_without_gateway(&stage.database(), &note).unwrap());
    assert_eq!(newest_row(&stage.database()).unwrap().log_id, 201);
}
