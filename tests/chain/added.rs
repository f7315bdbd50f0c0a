//! Edits that add what nothing covers, or what means something else.

use lan_gateway::model::chain::HASH_BYTES;
use lan_gateway::store::chain::hashed_rows;

use crate::copied::Copied;
use crate::edits::{Edited, Random, found_at, row};

/// SHA-256 of nothing.
const OF_NOTHING: &str = "x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'";

/// Adds an act that allows contents to be missing, with a number that no link covers, and erases contents.
pub fn receipt(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let (intent, result) = copied.request(random);
    let oldest = "FROM chain ORDER BY log_id LIMIT 1";
    let first = copied.number(&format!("SELECT first_log_id AS value {oldest}"));
    let last = copied.number(&format!("SELECT log_id AS value {oldest}"));
    let at = random.one_of(&[-7, 0, first - 1, first, last]);
    let detail = "{\"to_log_id\":1000000}";
    copied.run(&format!(
        "INSERT INTO record (log_id, kind, at_us, request_id, act) VALUES ({at}, 'act', 1, zeroblob(16), 'contents_expired');
         INSERT INTO record_part (log_id, part, kind, body) VALUES ({at}, 0, 'detail', CAST('{detail}' AS BLOB))"
    ));
    if at >= first {
        // The head of the oldest link can't be checked, and its leaves with it.
        let mut leaves = copied.bytes(&format!("SELECT leaves {oldest}"));
        let begin = (at - first) as usize * HASH_BYTES;
        let hashed = hashed_rows(&mut copied.db, at - 1, at).unwrap();
        leaves[begin..begin + HASH_BYTES].copy_from_slice(&hashed[0].hash.unwrap());
        copied.set_bytes("chain", "leaves", &format!("log_id = {last}"), &leaves);
    }
    let name = format!("add a receipt with the number {at}");
    if random.below(2) == 0 {
        return found_at(name, [row(at)]);
    }
    copied.run(&format!("DELETE FROM record_part WHERE log_id = {intent}"));
    found_at(format!("{name} and erase the contents of {intent}"), [row(at), row(intent), row(result)])
}

/// Adds an image to a request: another person's, one that is not there, a damaged one or an empty one; or any to an erased request.
pub fn image(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let (mut intent, _) = copied.request(random);
    let user = copied.number(&format!("SELECT user_id AS value FROM record WHERE log_id = {intent}"));
    let others = copied.numbers(&format!("SELECT id AS value FROM record_image WHERE user_id <> {user}"));
    let mut add = |sha256: &str, body: &str| {
        copied.run(&format!("INSERT INTO record_image VALUES (779, {user}, {sha256}, {body})"));
        779
    };
    let image = match random.below(5) {
        0 if !others.is_empty() => random.one_of(&others),
        1 => 778,
        2 => add("zeroblob(32)", "x'00'"),
        3 => add(OF_NOTHING, "x''"),
        _ => {
            let erased = "SELECT log_id AS value FROM record WHERE kind = 'intent' AND log_id NOT IN \
                (SELECT log_id FROM record_part)";
            intent = random.one_of(&copied.numbers(erased));
            copied.number("SELECT id AS value FROM record_image")
        }
    };
    copied.run(&format!("INSERT INTO record_image_use (log_id, \"offset\", image_id) VALUES ({intent}, 3, {image})"));
    found_at(format!("add the image {image} to {intent}"), [row(intent)])
}

/// Adds an empty part of a kind that is there already: a reader who takes the last one would show nothing.
pub fn empty_part(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let kind = random.one_of(&["request", "origin", "detail"]);
    let homes = format!("SELECT log_id AS value FROM record_part WHERE kind = '{kind}'");
    let home = random.one_of(&copied.numbers(&homes));
    copied.run(&format!("INSERT INTO record_part (log_id, part, kind, body) VALUES ({home}, 99, '{kind}', x'')"));
    let result = copied.numbers(&format!("SELECT log_id AS value FROM record WHERE intent_id = {home}"));
    found_at(format!("add an empty part `{kind}` to {home}"), [home].into_iter().chain(result).map(row))
}

/// Puts a number with a fraction where there is none.
pub fn fraction(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let log_id = copied.row(random, "kind <> 'act'");
    let column = random.one_of(&["user_id", "at_us", "status", "model_asked", "commitment"]);
    copied.run("PRAGMA ignore_check_constraints = ON");
    // A text column would make a text of it.
    copied.run(&format!("UPDATE record SET {column} = 0.5 WHERE log_id = {log_id}"));
    found_at(format!("put a fraction into {column} of {log_id}"), [row(log_id)])
}

pub fn trigger(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let change = random.one_of(&[
        "TRIGGER more AFTER INSERT ON record BEGIN UPDATE record SET user_id = 1 WHERE log_id = NEW.log_id; END",
        "VIEW more AS SELECT * FROM record",
    ]);
    copied.run(&format!("CREATE {change}"));
    found_at(format!("create a {change}"), ["file".to_owned()])
}
