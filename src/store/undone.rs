//! Why a transaction failed, and what that means for the file.

use diesel::result::{DatabaseErrorKind, Error};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// The file is as it was before; it can be tried again.
    Later(String),
    /// It is unknown what is on disk.
    Lost(String),
}

/// SQLite's messages for SQLITE_FULL and SQLITE_BUSY, after which the file is as it was. diesel reports only the message, and not
/// the code; unit tests compare the messages with those of the built-in library. After any other message it is unknown what is
/// on disk.
const PASSING: [&str; 2] = ["database or disk is full", "database is locked"];

impl Undone {
    /// Classifies an error; `what` names the operation that failed.
    pub fn of(what: &str, cause: &Error) -> Undone {
        match cause {
            Error::DatabaseError(DatabaseErrorKind::Unknown, why) if !PASSING.contains(&why.message()) => {
                Undone::Lost(format!("the disk refused a {what} ({})", why.message()))
            }
            _ => Undone::Later(cause.to_string()),
        }
    }
}

/// Whether one row broke a rule of the schema. Then SQLite has undone only its statement.
pub fn breaks_a_rule(cause: &Error) -> bool {
    use DatabaseErrorKind::{CheckViolation, ForeignKeyViolation, NotNullViolation, UniqueViolation};
    matches!(cause, Error::DatabaseError(UniqueViolation | ForeignKeyViolation | NotNullViolation | CheckViolation, _))
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection;
    use diesel::prelude::*;

    use super::*;

    fn database(folder: &tempfile::TempDir) -> SqliteConnection {
        let path = folder.path().join("file.db");
        SqliteConnection::establish(path.to_str().unwrap()).unwrap()
    }

    #[test]
    fn a_full_disk_passes() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = database(&folder);
        connection.batch_execute("CREATE TABLE t (x BLOB); PRAGMA max_page_count=4;").unwrap();

        let cause = connection.batch_execute("INSERT INTO t VALUES (zeroblob(100000))").unwrap_err();

        assert!(matches!(Undone::of("write", &cause), Undone::Later(_)), "{cause}");
        assert!(!breaks_a_rule(&cause));
    }

    #[test]
    fn another_process_that_holds_the_lock_passes() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (database(&folder), database(&folder));
        one.batch_execute("BEGIN IMMEDIATE").unwrap();

        let cause = other.batch_execute("BEGIN IMMEDIATE").unwrap_err();

        assert!(matches!(Undone::of("write", &cause), Undone::Later(_)), "{cause}");
    }

    #[test]
    fn a_broken_rule_is_the_rows_fault() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = database(&folder);
        connection.batch_execute("CREATE TABLE t (x TEXT NOT NULL CHECK (length(x) < 3), y TEXT UNIQUE)").unwrap();
        connection.batch_execute("INSERT INTO t VALUES ('a', 'b')").unwrap();
        let mut broken = |row: &str| {
            let cause = connection.batch_execute(&format!("INSERT INTO t VALUES {row}")).unwrap_err();
            breaks_a_rule(&cause) && matches!(Undone::of("write", &cause), Undone::Later(_))
        };

        assert!(broken("('long', 'c')"));
        assert!(broken("('a', 'b')"));
        assert!(broken("(NULL, 'd')"));
    }

    #[test]
    fn what_is_not_known_is_taken_for_the_worst() {
        let unknown = |text: &str| Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text.to_owned()));

        let undone = Undone::of("sync", &unknown("disk I/O error"));
        assert_eq!(undone, Undone::Lost("the disk refused a sync (disk I/O error)".into()));
        assert!(matches!(Undone::of("sync", &unknown("cannot commit")), Undone::Lost(_)));
    }
}
