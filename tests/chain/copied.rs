//! A copy of a data folder whose database is changed.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};
use lan_gateway::model::chain::{HASH_BYTES, NO_HASH, head_of};
use lan_gateway::model::checkpoint::Checkpoint;
use lan_gateway::store::chain::hashed_rows;
use ring::signature::Ed25519KeyPair;

use crate::edits::{OTHER_SEED, Random, other_key};
use crate::fixture::{Fixture, copy_folder};

/// A data folder, mostly a copy, with its database open.
pub struct Copied {
    pub folder: PathBuf,
    pub older: PathBuf,
    pub db: SqliteConnection,
}

impl Copied {
    pub fn of(fixture: &Fixture, folder: &Path) -> Copied {
        copy_folder(&fixture.now(), folder);
        Copied { older: fixture.older(), ..Copied::at(folder) }
    }

    /// Opens a folder as it is.
    pub fn at(folder: &Path) -> Copied {
        let db = SqliteConnection::establish(folder.join("lan-gateway.db").to_str().unwrap()).unwrap();
        let mut copied = Copied { folder: folder.to_owned(), older: PathBuf::new(), db };
        copied.run("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF");
        copied
    }

    /// The key that its gateway signs with.
    pub fn own_key(&self) -> Ed25519KeyPair {
        let file = std::fs::read(self.folder.join("secrets/checkpoint.key")).unwrap();
        let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
        Ed25519KeyPair::from_seed_unchecked(&BASE64.decode(file["seed"].as_str().unwrap()).unwrap()).unwrap()
    }

    pub fn run(&mut self, sql: &str) {
        self.db.batch_execute(sql).unwrap_or_else(|cause| panic!("{sql}: {cause}"));
    }

    pub fn numbers(&mut self, sql: &str) -> Vec<i64> {
        #[derive(QueryableByName)]
        struct Number {
            #[diesel(sql_type = BigInt)]
            value: i64,
        }
        let rows: Vec<Number> = diesel::sql_query(format!("SELECT value FROM ({sql})")).load(&mut self.db).unwrap();
        rows.into_iter().map(|row| row.value).collect()
    }

    pub fn number(&mut self, sql: &str) -> i64 {
        self.numbers(sql)[0]
    }

    pub fn text(&mut self, sql: &str) -> String {
        diesel::dsl::sql::<Text>(sql).get_result(&mut self.db).unwrap()
    }

    pub fn bytes(&mut self, sql: &str) -> Vec<u8> {
        diesel::dsl::sql::<Binary>(sql).get_result(&mut self.db).unwrap()
    }

    /// Flips a bit of a value of any type; `false`: it is NULL or empty.
    pub fn flip(&mut self, table: &str, column: &str, key: &str, random: &mut Random) -> bool {
        let value = format!("\"{column}\"");
        let kind = self.text(&format!("SELECT typeof({value}) FROM {table} WHERE {key}"));
        let new = match kind.as_str() {
            "integer" => {
                let number = self.number(&format!("SELECT {value} AS value FROM {table} WHERE {key}"));
                (number ^ (1 << random.below(40))).to_string()
            }
            "text" | "blob" => {
                let mut bytes = self.bytes(&format!("SELECT CAST({value} AS BLOB) FROM {table} WHERE {key}"));
                if bytes.is_empty() {
                    return false;
                }
                random.flip(&mut bytes);
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("CAST(x'{hex}' AS {kind})")
            }
            _ => return false,
        };
        self.run(&format!("UPDATE {table} SET {value} = {new} WHERE {key}"));
        true
    }

    pub fn row(&mut self, random: &mut Random, condition: &str) -> i64 {
        let rows = self.numbers(&format!("SELECT log_id AS value FROM record WHERE {condition} ORDER BY log_id"));
        random.one_of(&rows)
    }

    pub fn is_receipt(&mut self, row: i64) -> bool {
        let acts = "'user_deleted', 'contents_expired', 'rows_removed', 'checkpoint_key_made'";
        self.number(&format!("SELECT count(*) AS value FROM record WHERE log_id = {row} AND act IN ({acts})")) > 0
    }

    pub fn removed_to(&mut self) -> i64 {
        self.number("SELECT coalesce(max(log_id), 0) AS value FROM watermark WHERE name = 'rows_removed'")
    }

    /// A request whose contents are there, by its intent, and its result.
    pub fn request(&mut self, random: &mut Random) -> (i64, i64) {
        let intents = "SELECT intent_id AS value FROM record WHERE intent_id IN (SELECT log_id FROM record_part)";
        let intents = self.numbers(intents);
        let intent = random.one_of(&intents);
        (intent, self.number(&format!("SELECT log_id AS value FROM record WHERE intent_id = {intent}")))
    }

    /// Chains all rows anew, as they are, and signs with a key what is signed, if there is one.
    pub fn chain_anew(&mut self, key: Option<&Ed25519KeyPair>) {
        let links = self.numbers("SELECT log_id AS value FROM chain ORDER BY log_id");
        let removed = self.removed_to();
        let mut before = NO_HASH;
        for (at, last) in links.into_iter().enumerate() {
            let first = self.number(&format!("SELECT first_log_id AS value FROM chain WHERE log_id = {last}"));
            let mut leaves = self.bytes(&format!("SELECT leaves FROM chain WHERE log_id = {last}"));
            for row in hashed_rows(&mut self.db, first - 1, last).unwrap() {
                let at = (row.log_id - first) as usize * HASH_BYTES;
                leaves[at..at + HASH_BYTES].copy_from_slice(&row.hash.unwrap());
            }
            let head = match at == 0 && last <= removed {
                true => self.bytes(&format!("SELECT head FROM chain WHERE log_id = {last}")).try_into().unwrap(),
                false => head_of(&before, first, last, &leaves),
            };
            self.set_bytes("chain", "leaves", &format!("log_id = {last}"), &leaves);
            self.set_bytes("chain", "head", &format!("log_id = {last}"), &head);
            before = head;
        }
        let Some(key) = key else { return };
        let mut all = String::new();
        for row in self.numbers("SELECT log_id AS value FROM checkpoints ORDER BY log_id") {
            let note = self.text(&format!("SELECT note FROM checkpoints WHERE log_id = {row}"));
            let note = self.signed(&note, key);
            self.set_note("checkpoints", &format!("log_id = {row}"), &note);
            all.push_str(&note);
        }
        let tip = self.text("SELECT note FROM chain_tip");
        let tip = self.signed(&tip, key);
        self.set_note("chain_tip", "1", &tip);
        std::fs::write(self.folder.join("checkpoints.txt"), all).unwrap();
    }

    /// Chains all rows anew and signs with another key, which is then the one of the folder.
    pub fn chain_anew_with_other_key(&mut self) {
        self.chain_anew(Some(&other_key()));
        let secret = serde_json::json!({ "seed": BASE64.encode(OTHER_SEED), "made_after_log_id": 0 });
        std::fs::write(self.folder.join("secrets/checkpoint.key"), secret.to_string()).unwrap();
    }

    pub fn signed(&mut self, note: &str, key: &Ed25519KeyPair) -> String {
        let note = Checkpoint::read(note).unwrap();
        if !self.checkpoints().contains(&note.log_id) {
            return note.sign(key);
        }
        let head = self.bytes(&format!("SELECT head FROM chain WHERE log_id = {}", note.log_id));
        Checkpoint { head: head.try_into().unwrap(), ..note }.sign(key)
    }

    /// The rows of the checkpoints whose links are still there.
    pub fn checkpoints(&mut self) -> Vec<i64> {
        self.numbers("SELECT log_id AS value FROM checkpoints JOIN chain USING (log_id) ORDER BY log_id")
    }

    pub fn set_bytes(&mut self, table: &str, column: &str, key: &str, bytes: &[u8]) {
        diesel::sql_query(format!("UPDATE {table} SET {column} = ? WHERE {key}"))
            .bind::<Binary, _>(bytes)
            .execute(&mut self.db)
            .unwrap();
    }

    pub fn set_note(&mut self, table: &str, key: &str, note: &str) {
        diesel::sql_query(format!("UPDATE {table} SET note = ? WHERE {key}"))
            .bind::<Text, _>(note)
            .execute(&mut self.db)
            .unwrap();
    }

    /// The checkpoints that are about a row or a later one.
    pub fn checkpoints_from(&mut self, row: i64) -> Vec<String> {
        let rows = self.numbers(&format!("SELECT log_id AS value FROM checkpoints WHERE log_id >= {row}"));
        rows.iter().map(|row| format!("checkpoint {row}")).collect()
    }
}
