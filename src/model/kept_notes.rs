//! Checkpoints that follow one another in a text, as in the file of checkpoints or in a copy of it.

use crate::model::checkpoint::{FIRST_LINE, LAST_LINE, notes_in};

/// The checkpoints of a text, and what else is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptNotes {
    notes: Vec<(i64, String)>,
    rest: String,
}

impl KeptNotes {
    /// Takes a text apart. What has the form of a checkpoint may still be forged.
    pub fn read(text: &str) -> KeptNotes {
        let mut kept = KeptNotes::default();
        for piece in notes_in(text) {
            let (note, rest) = piece.split_at(end_of_note(piece));
            match row_of(note) {
                Some(log_id) => kept.notes.push((log_id, note.to_owned())),
                None => kept.rest.push_str(note),
            }
            kept.rest.push_str(rest);
        }
        kept
    }

    /// Returns the checkpoints, each with the row that it is about.
    pub fn notes(&self) -> impl Iterator<Item = (i64, &str)> {
        self.notes.iter().map(|(log_id, note)| (*log_id, note.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Returns whatever else there is, without empty lines before it.
    pub fn rest(&self) -> &str {
        self.rest.trim_start()
    }
}

/// Returns where the first line that ends a note ends.
fn end_of_note(piece: &str) -> usize {
    let mut at = 0;
    for line in piece.split_inclusive('\n') {
        at += line.len();
        if line.starts_with(LAST_LINE) && line.ends_with('\n') {
            return at;
        }
    }
    0
}

/// Returns the row that a note is about. `None`: it does not have the form of a note.
fn row_of(note: &str) -> Option<i64> {
    let mut lines = note.strip_suffix('\n')?.split('\n');
    let mut line = |prefix: &str| lines.next()?.strip_prefix(prefix);
    let origin = line(FIRST_LINE)?;
    let log_id = line("")?;
    let (head, older_to, time, key) = (line("")?, line("older-to ")?, line("time ")?, line("key ")?);
    let (empty, signature) = (line("")?, line(LAST_LINE)?);
    let is_origin = origin.len() == 32 && origin.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let has_sizes = [(head, 44), (time, 20), (key, 44), (signature, 92)]
        .iter()
        .all(|(text, size)| text.len() == *size && text.bytes().all(|byte| byte.is_ascii_graphic()));
    let is_note = is_origin && has_sizes && empty.is_empty() && lines.next().is_none();
    number(older_to).filter(|_| is_note)?;
    number(log_id)
}

/// Reads a number that is written as the gateway writes it. None is that long.
fn number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number: &i64| (0..NUMBERS_END).contains(number) && number.to_string() == text)
}

const NUMBERS_END: i64 = 1_000_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use ring::signature::Ed25519KeyPair;

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::model::checkpoint::Checkpoint;

    fn note(log_id: i64) -> String {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let origin = "00112233445566778899aabbccddeeff".into();
        Checkpoint { origin, log_id, head: [1; 32], older_to: 0, time: Timestamp(0), key: [0; 32] }.sign(&pair)
    }

    fn rows(text: &str) -> (Vec<i64>, String) {
        let kept = KeptNotes::read(text);
        (kept.notes().map(|(log_id, _)| log_id).collect(), kept.rest().to_owned())
    }

    #[test]
    fn checkpoints_are_found_among_empty_lines_and_what_else_there_is_is_kept() {
        let (one, two) = (note(1), note(2));

        assert_eq!(rows(&format!("\n{one}\n\n{two}\n")), (vec![1, 2], String::new()));
        assert_eq!(rows(&format!("mine\n{one}theirs\n{two}")), (vec![1, 2], "mine\ntheirs\n".into()));
        assert_eq!(KeptNotes::read(&one).notes().next(), Some((1, one.as_str())));
        assert_eq!(rows(""), (Vec::new(), String::new()));
    }

    #[test]
    fn a_checkpoint_that_was_cut_or_has_another_form_is_none() {
        let (one, two) = (note(1), note(2));
        for cut in 1..two.len() {
            let Some(begun) = two.get(..cut) else { continue };
            assert_eq!(rows(&format!("{one}{begun}")), (vec![1], begun.to_owned()), "{cut}");
        }
        for (from, to) in [
            ("\n1\n", "\n01\n"),
            ("\n1\n", "\n-1\n"),
            ("older-to 0", "older-to x"),
            ("time ", "time"),
            ("key ", "key  "),
        ] {
            let changed = one.replacen(from, to, 1);
            assert_eq!(rows(&changed), (Vec::new(), changed.clone()));
        }
    }
}
