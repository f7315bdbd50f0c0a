//! The schema of the database, brought up to date at the start.

use std::path::Path;

use anyhow::{Context, bail};
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::store::backup::{self, BackupWish};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Brings the schema up to date. A file of a newer gateway is refused; one of an older gateway is copied first.
pub fn migrate(connection: &mut SqliteConnection, path: &Path) -> anyhow::Result<()> {
    let applied = connection.applied_migrations().map_err(explain)?;
    let known = known()?;
    if let Some(newer) = applied.iter().find(|version| !known.contains(&version.to_string())) {
        bail!(
            "{} was written by a newer lan-gateway or by one before 0.2.0 (schema {newer}); install that one, restore a backup, \
             or begin with a new data folder",
            path.display()
        );
    }
    if applied.len() < known.len() {
        if !applied.is_empty() {
            let copy = path.with_extension(format!("db.before-{}", known.last().map_or("", String::as_str)));
            if !copy.exists() {
                let wish = BackupWish { database: path, file: &copy, replace: false, leave_free: 0 };
                backup::make(&wish, |_, _| {}).context("can't back up the database before its schema is changed")?;
            }
        }
        run_pending(connection)?;
    }
    Ok(())
}

/// Applies the migrations that a database doesn't have yet.
pub fn run_pending(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    connection.run_pending_migrations(MIGRATIONS).map(drop).map_err(explain)
}

/// Whether a database has every migration of this version and no other.
pub fn is_current(connection: &mut SqliteConnection) -> anyhow::Result<bool> {
    let applied = connection.applied_migrations().map_err(explain)?;
    let known = known()?;
    Ok(applied.len() == known.len() && applied.iter().all(|version| known.contains(&version.to_string())))
}

/// Returns the migrations of this version, in their order.
pub fn known() -> anyhow::Result<Vec<String>> {
    use diesel::migration::MigrationSource;
    let all = MigrationSource::<diesel::sqlite::Sqlite>::migrations(&MIGRATIONS).map_err(explain)?;
    Ok(all.iter().map(|migration| migration.name().version().to_string()).collect())
}

fn explain(cause: Box<dyn std::error::Error + Send + Sync>) -> anyhow::Error {
    anyhow::anyhow!("the database schema can't be read or changed: {cause}")
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection;

    use super::*;
    use crate::config::settings::{Live, Settings};
    use crate::store::Store;
    use crate::store::file::{FILE, Text, connect};

    /// The migrations that databases were made with, each with the SHA-256 of its two files. A new migration gets a line here when
    /// its version is released.
    const RELEASED: [(&str, &str, &str); 1] = [(
        "2026-11-29-000000_initial",
        "22148a63ec5f81ad1e109fa8fdc21eb7cd75088e52231dc13b761ed663cfec77",
        "77dadd895a64c3a6b681a7933b4567e8f7146dd4af0da578aefc5bd9a5410b02",
    )];

    #[test]
    fn released_migrations_stay_as_they_are() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
        for (name, up, down) in RELEASED {
            for (file, released) in [("up.sql", up), ("down.sql", down)] {
                let file = all.join(name).join(file);
                let digest = ring::digest::digest(&ring::digest::SHA256, &std::fs::read(&file).unwrap());
                assert_eq!(
                    hex(digest.as_ref()),
                    released,
                    "{} was released: databases were made with it, and a gateway never applies it to them again. Undo the \
                     change and put it into a new folder, migrations/sqlite/<date>_<what>/ with up.sql and down.sql.",
                    file.display()
                );
            }
        }
    }

    #[test]
    fn a_database_of_a_newer_gateway_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path(), Live::new(Settings::default())).unwrap().close();
        let mut connection = connect(&folder.path().join(FILE)).unwrap();
        connection.batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000000')").unwrap();

        let refusal = Store::open(folder.path(), Live::new(Settings::default())).err().unwrap().to_string();

        assert!(refusal.contains("newer lan-gateway"), "{refusal}");
    }

    #[test]
    fn the_schema_file_tells_what_the_migrations_make() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path(), Live::new(Settings::default())).unwrap().close();
        let mut connection = connect(&folder.path().join(FILE)).unwrap();
        let written = include_str!("schema.rs");

        for table in [
            "users",
            "tokens",
            "record",
            "record_part",
            "record_image",
            "record_image_use",
            "watermark",
            "exports",
            "erasure",
            "usage",
            "settings",
            "sessions",
            "chain",
            "checkpoints",
            "chain_tip",
            "notice_channels",
            "notices_told",
            "notices_unsent",
        ] {
            // `pragma_table_info` leaves generated columns out, as an INSERT does.
            let query =
                format!("SELECT name || ':' || type || ':' || \"notnull\" AS value FROM pragma_table_info('{table}')");
            let made: Vec<Text> = diesel::sql_query(query).load(&mut connection).unwrap();
            let made: Vec<String> = made.iter().map(|column| in_diesel(&column.value)).collect();
            let begin = written.find(&format!("    {table} (")).unwrap();
            let body = &written[begin..begin + written[begin..].find("    }\n").unwrap()];
            let told: Vec<String> =
                body.lines().skip(1).map(|line| line.trim().trim_end_matches(',').to_owned()).collect();
            assert_eq!(told, made, "{table}");
        }
    }

    #[test]
    fn a_database_of_an_older_gateway_is_backed_up_before_its_schema_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let mut connection = connect(&path).unwrap();
        connection.run_next_migration(MIGRATIONS).unwrap();
        connection
            .batch_execute("INSERT INTO record (kind, at_us, request_id) VALUES ('intent', 1, zeroblob(16))")
            .unwrap();
        drop(connection);

        Store::open(folder.path(), Live::new(Settings::default())).unwrap().close();

        let newest = known().unwrap().pop().unwrap();
        let backup = backup::check(&folder.path().join(format!("{FILE}.before-{newest}"))).unwrap();
        assert_eq!((backup.about.requests, backup.about.schema.as_str()), (1, "20261129000000"));
        assert!(backup.about.schema < newest);
    }

    fn in_diesel(column: &str) -> String {
        let mut parts = column.split(':');
        let (name, kind, not_null) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap() == "1");
        let kind = match kind {
            "INTEGER" | "BIGINT" => "BigInt",
            "TEXT" => "Text",
            "BLOB" => "Binary",
            "BOOLEAN" => "Bool",
            other => panic!("{other}"),
        };
        if not_null { format!("{name} -> {kind}") } else { format!("{name} -> Nullable<{kind}>") }
    }
}
