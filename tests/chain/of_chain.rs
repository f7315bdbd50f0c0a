//! Edits of the chain, its notes and its end.

use crate::copied::Copied;
use crate::edits::{Edited, Random, found_among, found_at, found_outside};
use crate::fixture::copy_folder;

/// Everything is as the gateway left it at an older checkpoint, but for the rows before it.
pub fn cut_tail_and_chain(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let checkpoints = copied.checkpoints();
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

pub fn drop_row_and_link(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
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

pub fn roll_back(copied: &mut Copied, _random: &mut Random) -> Option<Edited> {
    let newest = copied.number("SELECT max(log_id) AS value FROM checkpoints");
    let (folder, older) = (copied.folder.clone(), copied.older.clone());
    std::fs::remove_dir_all(&folder).unwrap();
    copy_folder(&older, &folder);
    found_outside("put an older copy in the place", vec![format!("checkpoint {newest}")])
}

pub fn chain_again(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let removed = copied.removed_to();
    let log_id = copied.row(random, &format!("log_id > {removed} AND model_asked IS NOT NULL"));
    copied.run(&format!("UPDATE record SET model_asked = 'other' WHERE log_id = {log_id}"));
    let places = copied.checkpoints_from(log_id).into_iter().chain(["tip".to_owned()]).collect::<Vec<_>>();
    copied.chain_anew(None);
    found_at(format!("change row {log_id} and chain all anew, without the key"), places)
}

/// Somebody who owns the host writes everything anew: only what others kept shows it.
pub fn chain_and_sign_again(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
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
    copied.chain_anew_with_other_key();
    found_outside(format!("change row {log_id}, chain and sign all anew"), places)
}

pub fn sign_again(copied: &mut Copied, _random: &mut Random) -> Option<Edited> {
    if copied.number("SELECT count(*) AS value FROM record WHERE act = 'checkpoint_key_made'") == 0 {
        let places = copied.numbers("SELECT log_id AS value FROM checkpoints");
        let places = places.into_iter().map(|row| format!("checkpoint {row}")).collect();
        copied.chain_anew_with_other_key();
        return found_outside("sign all anew with another key", places);
    }
    copied.chain_anew_with_other_key();
    found_at("sign all anew with another key", ["tip".to_owned()])
}

pub fn change_kept_file(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let path = copied.folder.join("checkpoints.txt");
    let mut bytes = std::fs::read(&path).unwrap();
    random.flip(&mut bytes);
    std::fs::write(path, bytes).unwrap();
    let places = copied.checkpoints_from(0).into_iter().chain(["file".to_owned()]).collect::<Vec<_>>();
    found_at("change checkpoints.txt", places)
}

pub fn flip_link(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
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

pub fn flip_tip(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let column = random.one_of(&["origin", "older_to", "note"]);
    copied.flip("chain_tip", column, "1", random);
    found_at(format!("flip {column} of the tip"), ["tip".to_owned()])
}

pub fn drop_tip(copied: &mut Copied, _random: &mut Random) -> Option<Edited> {
    copied.run("DELETE FROM chain_tip");
    found_at("drop the tip", ["tip".to_owned()])
}

pub fn flip_checkpoint(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let rows = copied.numbers("SELECT log_id AS value FROM checkpoints");
    let at = random.one_of(&rows);
    copied.flip("checkpoints", "note", &format!("log_id = {at}"), random);
    found_at(format!("flip a byte of the checkpoint of row {at}"), [format!("checkpoint {at}")])
}

pub fn drop_checkpoint(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let rows = copied.checkpoints();
    let at = random.one_of(&rows);
    copied.run(&format!("DELETE FROM checkpoints WHERE log_id = {at}"));
    found_at(format!("drop the checkpoint of row {at}"), [format!("checkpoint {at}")])
}

pub fn copy_checkpoint(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let rows = copied.numbers("SELECT log_id AS value FROM checkpoints ORDER BY log_id");
    let (from, to) = (random.one_of(&rows), random.one_of(&rows));
    if from == to {
        return None;
    }
    let note = copied.text(&format!("SELECT note FROM checkpoints WHERE log_id = {from}"));
    copied.set_note("checkpoints", &format!("log_id = {to}"), &note);
    found_at(format!("put the checkpoint of row {from} at row {to}"), [format!("checkpoint {to}")])
}

pub fn raise_sequence(copied: &mut Copied, random: &mut Random) -> Option<Edited> {
    let by = 1 + random.below(5);
    copied.run(&format!("UPDATE sqlite_sequence SET seq = seq + {by} WHERE name = 'record'"));
    found_at("raise the number of the next row", ["tip".to_owned()])
}
