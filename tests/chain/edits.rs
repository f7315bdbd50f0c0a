//! Edits of copies of a data folder, as somebody makes them who can write to its files.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};
use lan_gateway::model::chain::{HASH_BYTES, HASHED_COLUMNS, NO_HASH, head_of};
use lan_gateway::model::checkpoint::Checkpoint;
use lan_gateway::store::chain::hashed_rows;
use ring::signature::Ed25519KeyPair;

use crate::fixture::{Fixture, copy_folder};

/// An edit that was made, and where it is to be found.
#[derive(Debug)]
pub struct Edited {
    pub name: String,
    /// One of these places has to be named.
    pub places: Vec<String>,
    /// It is named first.
    pub is_first: bool,
    /// It can be found only by checkpoints that were kept elsewhere.
    pub needs_outside: bool,
}

/// Numbers that are the same in each run (SplitMix64).
pub struct Random(pub u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        bytes[at] ^= 1 << self.below(8);
    }
}

type Edit = fn(&mut Copied, &mut Random) -> Option<Edited>;

/// The kinds of edits; the first ones are tried more often.
const EDITS: &[Edit] = &[
    flip_column,
    flip_part,
    flip_column,
    flip_part,
    flip_column,
    flip_part,
    flip_column,
    flip_part,
    cut_tail,
    cut_tail_and_chain,
    drop_row,
    drop_row_and_link,
    swap_rows,
    swap_contents,
    move_contents,
    roll_back,
    chain_again,
    chain_and_sign_again,
    sign_again,
    change_kept_file,
    drop_receipt,
    drop_contents,
    drop_part,
    relabel_part,
    add_part,
    change_image,
    change_use,
    flip_link,
    flip_tip,
    flip_checkpoint,
    drop_checkpoint,
    raise_sequence,
    add_row,
    copy_checkpoint,
];

/// Makes a copy with an edit in it.
pub fn make(number: usize, fixture: &Fixture, folder: &Path, random: &mut Random) -> Edited {
    loop {
        if folder.exists() {
            std::fs::remove_dir_all(folder).unwrap();
        }
        let mut copied = Copied::of(fixture, folder);
        if let Some(edited) = EDITS[number % EDITS.len()](&mut copied, random) {
            return edited;
        }
    }
}

/// Makes a copy on which some SQL was run.
pub fn with_sql(fixture: &Fixture, folder: &Path, sql: &str) -> PathBuf {
    Copied::of(fixture, folder).run(sql);
    folder.to_owned()
}

/// Makes a file that is larger than any file of checkpoints, without filling the disk.
pub fn huge(path: &Path) -> PathBuf {
    std::fs::File::create(path).unwrap().set_len(1 << 30).unwrap();
    path.to_owned()
}

/// Returns the same checkpoints, for another record, well signed.
pub fn of_another_record(notes: &str) -> String {
    let first = notes.split_inclusive('\n').take(8).collect::<String>();
    let note = Checkpoint::read(&first).unwrap();
    Checkpoint { origin: "0123456789abcdef0123456789abcdef".into(), ..note }.sign(&other_key())
}

fn other_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

/// A copy of a data folder with its database open.
struct Copied {
    folder: PathBuf,
    older: PathBuf,
    db: SqliteConnection,
}

impl Copied {
    fn of(fixture: &Fixture, folder: &Path) -> Copied {
        copy_folder(&fixture.now(), folder);
        let db = SqliteConnection::establish(folder.join("lan-gateway.db").to_str().unwrap()).unwrap();
        let mut copied = Copied { folder: folder.to_owned(), older: fixture.older(), db };
        copied.run("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF");
        copied
    }

    fn run(&mut self, sql: &str) {
        self.db.batch_execute(sql).unwrap_or_else(|cause| panic!("{sql}: {cause}"));
    }

    fn numbers(&mut self, sql: &str) -> Vec<i64> {
        #[derive(QueryableByName)]
        struct Number {
            #[diesel(sql_type = BigInt)]
            value: i64,
        }
        let rows: Vec<Number> = diesel::sql_query(format!("SELECT value FROM ({sql})")).load(&mut self.db).unwrap();
        rows.into_iter().map(|row| row.value).collect()
    }

    fn number(&mut self, sql: &str) -> i64 {
        self.numbers(sql)[0]
    }

    fn text(&mut self, sql: &str) -> String {
        diesel::dsl::sql::<Text>(sql).get_result(&mut self.db).unwrap()
    }

    fn bytes(&mut self, sql: &str) -> Vec<u8> {
        diesel::dsl::sql::<Binary>(sql).get_result(&mut self.db).unwrap()
    }

    /// Flips a bit of a value of any type; `false`: it is NULL or empty.
    fn flip(&mut self, table: &str, column: &str, key: &str, random: &mut Random) -> bool {
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

    fn row(&mut self, random: &mut Random, condition: &str) -> i64 {
        let rows = self.numbers(&format!("SELECT log_id AS value FROM record WHERE {condition} ORDER BY log_id"));
        random.one_of(&rows)
    }

    fn is_receipt(&mut self, row: i64) -> bool {
        let acts = "'user_deleted', 'contents_expired', 'rows_removed', 'checkpoint_key_made'";
        self.number(&format!("SELECT count(*) AS value FROM record WHERE log_id = {row} AND act IN ({acts})")) > 0
    }

    fn removed_to(&mut self) -> i64 {
        self.number("SELECT log_id AS value FROM watermark WHERE name = 'rows_removed'")
    }

    /// A request whose contents are there, by its intent, and its result.
    fn request(&mut self, random: &mut Random) -> (i64, i64) {
        let intents = "SELECT intent_id AS value FROM record WHERE intent_id IN (SELECT log_id FROM record_part)";
        let intents = self.numbers(intents);
        let intent = random.one_of(&intents);
        (intent, self.number(&format!("SELECT log_id AS value FROM record WHERE intent_id = {intent}")))
    }

    /// Chains all rows anew, as they are, and signs with a key what is signed, if there is one.
    fn chain_anew(&mut self, key: Option<&Ed25519KeyPair>) {
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
            diesel::sql_query("UPDATE chain SET leaves = ?, head = ? WHERE log_id = ?")
                .bind::<Binary, _>(&leaves)
                .bind::<Binary, _>(head.to_vec())
                .bind::<BigInt, _>(last)
                .execute(&mut self.db)
                .unwrap();
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
        let secret = serde_json::json!({ "seed": BASE64.encode([7; 32]), "made_after_log_id": 0 });
        std::fs::write(self.folder.join("secrets/checkpoint.key"), secret.to_string()).unwrap();
    }

    fn signed(&mut self, note: &str, key: &Ed25519KeyPair) -> String {
        let note = Checkpoint::read(note).unwrap();
        let head = self.bytes(&format!("SELECT head FROM chain WHERE log_id = {}", note.log_id));
        Checkpoint { head: head.try_into().unwrap(), ..note }.sign(key)
    }

    fn set_note(&mut self, table: &str, key: &str, note: &str) {
        diesel::sql_query(format!("UPDATE {table} SET note = ? WHERE {key}"))
            .bind::<Text, _>(note)
            .execute(&mut self.db)
            .unwrap();
    }

    /// The checkpoints that are about a row or a later one.
    fn checkpoints_from(&mut self, row: i64) -> Vec<String> {
        let rows = self.numbers(&format!("SELECT log_id AS value FROM checkpoints WHERE log_id >= {row}"));
        rows.iter().map(|row| format!("checkpoint {row}")).collect()
    }
}

fn found_at(name: impl Into<String>, places: impl IntoIterator<Item = String>) -> Option<Edited> {
    let places = places.into_iter().collect();
    Some(Edited { name: name.into(), places, is_first: true, needs_outside: false })
}

/// Found, but behind what comes of it.
fn found_among(name: impl Into<String>, places: impl IntoIterator<Item = String>) -> Option<Edited> {
    found_at(name, places).map(|edited| Edited { is_first: false, ..edited })
}

fn found_outside(name: impl Into<String>, places: Vec<String>) -> Option<Edited> {
    found_at(name, places).map(|edited| Edited { needs_outside: true, ..edited })
}

fn row(number: i64) -> String {
    format!("row {number}")
}

fn flip_column(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let log_id = copied.row(random, "1");
    let column = random.one_of(&HASHED_COLUMNS[1..]);
    let key = format!("log_id = {log_id}");
    let is_receipt = copied.is_receipt(log_id);
    copied.run("PRAGMA ignore_check_constraints = ON");
    let name = format!("flip {column} of row {log_id}");
    if !copied.flip("record", column, &key, random) {
        copied.run(&format!("UPDATE record SET \"{column}\" = 1 WHERE {key}"));
    }
    if is_receipt { found_among(name, [row(log_id)]) } else { found_at(name, [row(log_id)]) }
}

fn flip_part(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let parts = copied.numbers("SELECT id AS value FROM record_part WHERE length(body) > 0 ORDER BY id");
    let part = random.one_of(&parts);
    let home = copied.number(&format!("SELECT log_id AS value FROM record_part WHERE id = {part}"));
    let result = copied.numbers(&format!("SELECT log_id AS value FROM record WHERE intent_id = {home}"));
    let kind = copied.text(&format!("SELECT kind FROM record_part WHERE id = {part}"));
    copied.flip("record_part", "body", &format!("id = {part}"), random);
    let places = [row(home)].into_iter().chain(result.into_iter().map(row)).collect::<Vec<_>>();
    let name = format!("flip a byte of {kind} of row {home}");
    if copied.is_receipt(home) { found_among(name, places) } else { found_at(name, places) }
}

fn cut_tail(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let newest = copied.number("SELECT max(log_id) AS value FROM record");
    let from = newest - random.below(6) as i64;
    copied.run(&format!("DELETE FROM record WHERE log_id >= {from}; DELETE FROM record_part WHERE log_id >= {from}"));
    found_at(format!("cut the rows from {from} on"), [row(from)])
}

/// Everything is as the gateway left it at an older checkpoint, but for the rows before it.
fn cut_tail_and_chain(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let checkpoints = copied.numbers("SELECT log_id AS value FROM checkpoints ORDER BY log_id");
    let (newest, older) = checkpoints.split_last()?;
    let to = random.one_of(older);
    if copied.is_receipt(to + 1)
        || copied.number(&format!(
            "SELECT count(*) AS value FROM record WHERE log_id > {to} AND act IN \
        ('user_deleted', 'contents_expired', 'rows_removed')"
        )) > 0
    {
        return None;
    }
    let note = copied.text(&format!("SELECT note FROM checkpoints WHERE log_id = {to}"));
    for table in ["record", "record_part", "chain", "checkpoints", "record_image_use"] {
        copied.run(&format!("DELETE FROM {table} WHERE log_id > {to}"));
    }
    copied.run(
        "DELETE FROM record_image WHERE id NOT IN (SELECT image_id FROM record_image_use);
         DELETE FROM record_part WHERE log_id NOT IN (SELECT coalesce(intent_id, log_id) FROM record)",
    );
    let knows_numbers = random.below(2) == 0;
    if knows_numbers {
        copied.run(&format!("UPDATE sqlite_sequence SET seq = {to} WHERE name = 'record'"));
    }
    copied.set_note("chain_tip", "1", &note);
    std::fs::remove_file(copied.folder.join("checkpoints.txt")).unwrap();
    let name = format!("cut rows, links and checkpoints after row {to}");
    match knows_numbers {
        true => found_outside(name, vec![format!("checkpoint {newest}")]).map(|edited| {
            let places = older.iter().filter(|row| **row > to).map(|row| format!("checkpoint {row}"));
            Edited { places: edited.places.iter().cloned().chain(places).collect(), ..edited }
        }),
        false => found_at(name, ["tip".to_owned()]),
    }
}

fn drop_row(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let log_id = copied.row(random, "log_id < (SELECT max(log_id) FROM record)");
    let is_receipt = copied.is_receipt(log_id);
    copied.run(&format!("DELETE FROM record WHERE log_id = {log_id}"));
    if random.below(2) == 0 {
        copied.run(&format!("DELETE FROM record_part WHERE log_id = {log_id}"));
    }
    let name = format!("drop row {log_id}");
    if is_receipt { found_among(name, [row(log_id)]) } else { found_at(name, [row(log_id)]) }
}

fn drop_row_and_link(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let removed = copied.removed_to();
    let links = copied.numbers(&format!("SELECT log_id AS value FROM chain WHERE log_id > {removed} ORDER BY log_id"));
    let at = random.below(links.len().checked_sub(1)?);
    let (link, next) = (links[at], links[at + 1]);
    let first = copied.number(&format!("SELECT first_log_id AS value FROM chain WHERE log_id = {link}"));
    copied.run(&format!(
        "DELETE FROM chain WHERE log_id = {link}; DELETE FROM record WHERE log_id BETWEEN {first} AND {link}"
    ));
    found_among(format!("drop the link {link} with its rows"), [format!("link {next}")])
}

fn swap_rows(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let (one, two) = (copied.row(random, "kind <> 'act'"), copied.row(random, "kind <> 'act'"));
    if one == two {
        return None;
    }
    copied.run(&format!(
        "UPDATE record SET log_id = -1 WHERE log_id = {one}; UPDATE record SET log_id = {one} WHERE log_id = {two};
         UPDATE record SET log_id = {two} WHERE log_id = -1"
    ));
    found_at(format!("swap the rows {one} and {two}"), [row(one.min(two))])
}

fn swap_contents(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let ((one, of_one), (two, of_two)) = (copied.request(random), copied.request(random));
    if one == two {
        return None;
    }
    for table in ["record_part", "record_image_use"] {
        copied.run(&format!(
            "UPDATE {table} SET log_id = -1 WHERE log_id = {one}; UPDATE {table} SET log_id = {one} WHERE log_id = {two};
             UPDATE {table} SET log_id = {two} WHERE log_id = -1"
        ));
    }
    found_at(format!("swap the contents of {one} and {two}"), [one, of_one, two, of_two].map(row))
}

fn move_contents(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let (one, of_one) = copied.request(random);
    copied.run(&format!("UPDATE record_part SET log_id = {of_one} WHERE log_id = {one}"));
    found_at(format!("move the contents of {one} to {of_one}"), [row(one), row(of_one)])
}

fn roll_back(copied: &mut Copied, _random: &mut Random) -> Option<Edited> {
    let newest = copied.number("SELECT max(log_id) AS value FROM checkpoints");
    let (folder, older) = (copied.folder.clone(), copied.older.clone());
    std::fs::remove_dir_all(&folder).unwrap();
    copy_folder(&older, &folder);
    found_outside("put an older copy in the place", vec![format!("checkpoint {newest}")])
}

fn chain_again(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let removed = copied.removed_to();
    let log_id = copied.row(random, &format!("log_id > {removed} AND model_asked IS NOT NULL"));
    copied.run(&format!("UPDATE record SET model_asked = 'other' WHERE log_id = {log_id}"));
    let places = copied.checkpoints_from(log_id).into_iter().chain(["tip".to_owned()]).collect::<Vec<_>>();
    copied.chain_anew(None);
    found_at(format!("change row {log_id} and chain all anew, without the key"), places)
}

/// Somebody who owns the host writes everything anew: only what others kept shows it.
fn chain_and_sign_again(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let removed = copied.removed_to();
    let log_id = copied.row(random, &format!("log_id > {removed} AND model_asked IS NOT NULL"));
    copied.run(&format!("UPDATE record SET model_asked = 'other' WHERE log_id = {log_id}"));
    let rows = copied.numbers("SELECT log_id AS value FROM record WHERE act = 'checkpoint_key_made'");
    for act in rows {
        copied.run(&format!(
            "DELETE FROM record_part WHERE log_id = {act};
             UPDATE record SET act = 'settings_changed', commitment = NULL WHERE log_id = {act}"
        ));
    }
    let places = copied.numbers("SELECT log_id AS value FROM checkpoints");
    let places = places.into_iter().map(|row| format!("checkpoint {row}")).collect();
    copied.chain_anew(Some(&other_key()));
    found_outside(format!("change row {log_id}, chain and sign all anew"), places)
}

fn sign_again(copied: &mut Copied, _random: &mut Random) -> Option<Edited> {
    if copied.number("SELECT count(*) AS value FROM record WHERE act = 'checkpoint_key_made'") == 0 {
        let places = copied.numbers("SELECT log_id AS value FROM checkpoints");
        let places = places.into_iter().map(|row| format!("checkpoint {row}")).collect();
        copied.chain_anew(Some(&other_key()));
        return found_outside("sign all anew with another key", places);
    }
    copied.chain_anew(Some(&other_key()));
    found_at("sign all anew with another key", ["tip".to_owned()])
}

fn change_kept_file(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let path = copied.folder.join("checkpoints.txt");
    let mut bytes = std::fs::read(&path).unwrap();
    random.flip(&mut bytes);
    std::fs::write(path, bytes).unwrap();
    let places = copied.checkpoints_from(0).into_iter().chain(["file".to_owned()]).collect::<Vec<_>>();
    found_at("change checkpoints.txt", places)
}

fn drop_receipt(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let log_id = copied.row(random, "act IN ('user_deleted', 'contents_expired', 'rows_removed')");
    copied.run(&format!("DELETE FROM record WHERE log_id = {log_id}; DELETE FROM record_part WHERE log_id = {log_id}"));
    found_among(format!("drop the receipt in row {log_id}"), [row(log_id)])
}

fn drop_contents(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let (intent, result) = copied.request(random);
    copied.run(&format!("DELETE FROM record_part WHERE log_id = {intent}"));
    found_at(format!("erase the contents of {intent}"), [row(intent), row(result)])
}

fn drop_part(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let (intent, result) = copied.request(random);
    let parts = copied.numbers(&format!("SELECT part AS value FROM record_part WHERE log_id = {intent}"));
    let part = random.one_of(&parts);
    copied.run(&format!("DELETE FROM record_part WHERE log_id = {intent} AND part = {part}"));
    found_at(format!("erase part {part} of {intent}"), [row(intent), row(result)])
}

fn relabel_part(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let (intent, result) = copied.request(random);
    let parts = copied.numbers(&format!("SELECT part AS value FROM record_part WHERE log_id = {intent}"));
    let part = random.one_of(&parts);
    let change =
        random.one_of(&["encoding = 1", "kind = 'unknown'", "kind = 'detail'", "kind = 'cut'", "kind = 'settings'"]);
    let changed = diesel::sql_query(format!(
        "UPDATE record_part SET {change} WHERE log_id = {intent} AND part = {part} AND NOT ({change})"
    ));
    if changed.execute(&mut copied.db).unwrap() == 0 {
        return None;
    }
    found_at(format!("{change} in part {part} of {intent}"), [row(intent), row(result)])
}

fn add_part(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let kind = random.one_of(&["request", "answer", "notes", "cut", "address", "unknown"]);
    let to = match random.below(3) {
        0 => copied.request(random).0,
        1 => copied.row(random, "kind = 'refusal'"),
        _ => 1_000_000,
    };
    copied.run(&format!("INSERT INTO record_part (log_id, part, kind, body) VALUES ({to}, 99, '{kind}', x'3132')"));
    let result = copied.numbers(&format!("SELECT log_id AS value FROM record WHERE intent_id = {to}"));
    found_at(format!("add a part `{kind}` to {to}"), [to].into_iter().chain(result).map(row))
}

fn change_image(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let images = copied.numbers("SELECT id AS value FROM record_image");
    let image = random.one_of(&images);
    let users = copied.numbers(&format!("SELECT log_id AS value FROM record_image_use WHERE image_id = {image}"));
    let places = users.into_iter().map(row).chain([format!("image {image}")]).collect::<Vec<_>>();
    match random.below(4) {
        0 => drop(copied.flip("record_image", "body", &format!("id = {image}"), random)),
        1 => drop(copied.flip("record_image", "sha256", &format!("id = {image}"), random)),
        2 => copied.run(&format!("UPDATE record_image SET user_id = user_id + 100 WHERE id = {image}")),
        _ => copied.run("INSERT INTO record_image (id, user_id, sha256, body) VALUES (777, 1, zeroblob(32), x'00')"),
    }
    found_at(format!("change image {image}"), places.into_iter().chain(["image 777".to_owned()]))
}

fn change_use(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let uses = copied.numbers("SELECT id AS value FROM record_image_use");
    let used = random.one_of(&uses);
    let home = copied.number(&format!("SELECT log_id AS value FROM record_image_use WHERE id = {used}"));
    match random.below(3) {
        0 => drop(copied.flip("record_image_use", "offset", &format!("id = {used}"), random)),
        1 => copied.run(&format!("UPDATE record_image_use SET image_id = 778 WHERE id = {used}")),
        _ => copied.run(&format!("DELETE FROM record_image_use WHERE id = {used}")),
    }
    found_at(format!("change an image of row {home}"), [row(home)])
}

fn flip_link(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let removed = copied.removed_to();
    let links = copied.numbers(&format!("SELECT log_id AS value FROM chain WHERE log_id > {removed} ORDER BY log_id"));
    let link = random.one_of(&links);
    let column = random.one_of(&["leaves", "head", "first_log_id"]);
    copied.run("PRAGMA ignore_check_constraints = ON");
    copied.flip("chain", column, &format!("log_id = {link}"), random);
    let name = format!("flip {column} of link {link}");
    // SQLite finds that a rule of the schema is broken, and says it first.
    let places = [format!("link {link}")];
    if column == "first_log_id" { found_among(name, places) } else { found_at(name, places) }
}

fn flip_tip(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let column = random.one_of(&["origin", "older_to", "note"]);
    copied.flip("chain_tip", column, "1", random);
    found_at(format!("flip {column} of the tip"), ["tip".to_owned()])
}

fn flip_checkpoint(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let rows = copied.numbers("SELECT log_id AS value FROM checkpoints");
    let at = random.one_of(&rows);
    copied.flip("checkpoints", "note", &format!("log_id = {at}"), random);
    found_at(format!("flip a byte of the checkpoint of row {at}"), [format!("checkpoint {at}")])
}

fn drop_checkpoint(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let rows = copied.numbers("SELECT log_id AS value FROM checkpoints");
    let at = random.one_of(&rows);
    copied.run(&format!("DELETE FROM checkpoints WHERE log_id = {at}"));
    found_at(format!("drop the checkpoint of row {at}"), [format!("checkpoint {at}")])
}

fn copy_checkpoint(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let rows = copied.numbers("SELECT log_id AS value FROM checkpoints ORDER BY log_id");
    let (from, to) = (random.one_of(&rows), random.one_of(&rows));
    if from == to {
        return None;
    }
    let note = copied.text(&format!("SELECT note FROM checkpoints WHERE log_id = {from}"));
    copied.set_note("checkpoints", &format!("log_id = {to}"), &note);
    found_at(format!("put the checkpoint of row {from} at row {to}"), [format!("checkpoint {to}")])
}

fn raise_sequence(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let by = 1 + random.below(5);
    copied.run(&format!("UPDATE sqlite_sequence SET seq = seq + {by} WHERE name = 'record'"));
    found_at("raise the number of the next row", ["tip".to_owned()])
}

/// Puts a row in the place of one that is gone, or of one that never was.
fn add_row(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let removed = copied.removed_to();
    let log_id = copied.row(random, &format!("log_id > {removed} + 2 AND kind = 'refusal'"));
    copied.run(&format!(
        "DELETE FROM record WHERE log_id = {log_id};
         INSERT INTO record (log_id, kind, at_us, request_id) VALUES ({log_id}, 'act', 1, zeroblob(16))"
    ));
    found_at(format!("put another row in the place of {log_id}"), [row(log_id)])
}
