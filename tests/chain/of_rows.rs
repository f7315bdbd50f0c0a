//! Edits of rows, contents and images.

use diesel::prelude::*;
use lan_gateway::model::chain::HASHED_COLUMNS;

use crate::copied::Copied;
use crate::edits::{Edited, Random, found_among, found_at, row};

pub fn flip_column(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
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

pub fn flip_part(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let parts = copied.numbers("SELECT id AS value FROM record_part WHERE length(body) > 0 ORDER BY id");
    let part = random.one_of(&parts);
    let home = copied.number(&format!("SELECT log_id AS value FROM record_part WHERE id = {part}"));
    let result = copied.numbers(&format!("SELECT log_id AS value FROM record WHERE intent_id = {home}"));
    let kind = copied.text(&format!("SELECT kind FROM record_part WHERE id = {part}"));
    // Mostly bytes are changed that can be read.
    let column = if random.below(8) == 0 { "kind" } else { "body" };
    copied.flip("record_part", column, &format!("id = {part}"), random);
    let places = [row(home)].into_iter().chain(result.into_iter().map(row)).collect::<Vec<_>>();
    let name = format!("flip a byte of the {column} of {kind} of row {home}");
    if copied.is_receipt(home) { found_among(name, places) } else { found_at(name, places) }
}

pub fn cut_tail(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let newest = copied.number("SELECT max(log_id) AS value FROM record");
    let from = newest - random.below(6) as i64;
    copied.run(&format!("DELETE FROM record WHERE log_id >= {from}; DELETE FROM record_part WHERE log_id >= {from}"));
    found_at(format!("cut the rows from {from} on"), [row(from)])
}

pub fn drop_row(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let log_id = copied.row(random, "log_id < (SELECT max(log_id) FROM record)");
    let is_receipt = copied.is_receipt(log_id);
    copied.run(&format!("DELETE FROM record WHERE log_id = {log_id}"));
    if random.below(2) == 0 {
        copied.run(&format!("DELETE FROM record_part WHERE log_id = {log_id}"));
    }
    let name = format!("drop row {log_id}");
    if is_receipt { found_among(name, [row(log_id)]) } else { found_at(name, [row(log_id)]) }
}

pub fn swap_rows(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
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

pub fn swap_contents(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
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

pub fn move_contents(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let (one, of_one) = copied.request(random);
    copied.run(&format!("UPDATE record_part SET log_id = {of_one} WHERE log_id = {one}"));
    found_at(format!("move the contents of {one} to {of_one}"), [row(one), row(of_one)])
}

pub fn drop_receipt(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let log_id = copied.row(random, "act IN ('user_deleted', 'contents_expired', 'rows_removed')");
    copied.run(&format!("DELETE FROM record WHERE log_id = {log_id}; DELETE FROM record_part WHERE log_id = {log_id}"));
    found_among(format!("drop the receipt in row {log_id}"), [row(log_id)])
}

pub fn drop_contents(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let (intent, result) = copied.request(random);
    copied.run(&format!("DELETE FROM record_part WHERE log_id = {intent}"));
    found_at(format!("erase the contents of {intent}"), [row(intent), row(result)])
}

pub fn drop_part(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let (intent, result) = copied.request(random);
    let parts = copied.numbers(&format!("SELECT part AS value FROM record_part WHERE log_id = {intent}"));
    let part = random.one_of(&parts);
    copied.run(&format!("DELETE FROM record_part WHERE log_id = {intent} AND part = {part}"));
    found_at(format!("erase part {part} of {intent}"), [row(intent), row(result)])
}

pub fn relabel_part(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
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

pub fn add_part(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
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

pub fn change_image(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
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

pub fn change_use(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
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

/// Puts a row in the place of one that is gone, or of one that never was.
pub fn add_row(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let removed = copied.removed_to();
    let log_id = copied.row(random, &format!("log_id > {removed} + 2 AND kind = 'refusal'"));
    copied.run(&format!(
        "DELETE FROM record WHERE log_id = {log_id};
         INSERT INTO record (log_id, kind, at_us, request_id) VALUES ({log_id}, 'act', 1, zeroblob(16))"
    ));
    found_at(format!("put another row in the place of {log_id}"), [row(log_id)])
}
