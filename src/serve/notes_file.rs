//! The file of checkpoints: one note after the other, appended as a whole and synced. It may lie on another disk or a share.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

use crate::base::durable::{folder_of, sync_folder};
use crate::base::owner;
use crate::model::checkpoint::{Checkpoint, FIRST_LINE, LAST_LINE, NOTE_BYTES_MAX, notes_in};

/// How much of the end of the file is read.
const END_BYTES: u64 = 64 * NOTE_BYTES_MAX as u64;

/// Returns the newest note of this record at the end of the file. `None`: there is none.
pub fn newest(path: &Path, origin: &str) -> anyhow::Result<Option<Checkpoint>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause).with_context(|| format!("can't read {}", path.display())),
    };
    let end = end_of(&mut file).with_context(|| format!("can't read {}", path.display()))?;
    let end = String::from_utf8_lossy(&end);
    let notes = notes_in(&end).filter_map(|note| Checkpoint::read(note).ok());
    Ok(notes.filter(|note| note.origin == origin).last())
}

fn end_of(file: &mut File) -> std::io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(END_BYTES)))?;
    let mut end = Vec::new();
    file.take(END_BYTES).read_to_end(&mut end)?;
    Ok(end)
}

/// Appends notes and syncs them. What an interrupted write left after the last whole note is cut off first.
pub fn append(path: &Path, notes: &str) -> anyhow::Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    let shown = || format!("can't write {}", path.display());
    let is_new = !path.exists();
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).with_context(shown)?;
    if is_new {
        owner::hand_over(&file, &folder_of(path)).with_context(shown)?;
    }
    let end = end_of(&mut file).with_context(shown)?;
    let torn = torn(&end);
    if torn > 0 {
        let size = file.metadata().with_context(shown)?.len();
        file.set_len(size - torn as u64).with_context(shown)?;
    }
    // A note begins with its line, whatever another hand has left in the file.
    let between = match end[..end.len() - torn].last() {
        None | Some(b'\n') => "",
        Some(_) => "\n",
    };
    let text = format!("{between}{notes}");
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(shown)?;
    if is_new {
        sync_folder(&folder_of(path)).with_context(shown)?;
    }
    Ok(())
}

/// Returns how many bytes at the end belong to a note that was not written to its last line.
fn torn(end: &[u8]) -> usize {
    let (mut at, mut whole) = (0, 0);
    for line in end.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if line.starts_with(LAST_LINE.as_bytes()) && line.ends_with(b"\n") {
            whole = at;
        }
    }
    let (rest, begins) = (&end[whole..], FIRST_LINE.as_bytes());
    if rest.starts_with(begins) || begins.starts_with(rest) { rest.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use ring::signature::Ed25519KeyPair;

    use super::*;
    use crate::base::clock::Timestamp;

    const ORIGIN: &str = "00112233445566778899aabbccddeeff";

    fn note(origin: &str, log_id: i64) -> String {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let (head, key) = ([1; 32], [0; 32]);
        Checkpoint { origin: origin.into(), log_id, head, older_to: 0, time: Timestamp(0), key }.sign(&pair)
    }

    #[test]
    fn the_newest_note_of_this_record_is_found_behind_those_of_others_and_torn_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints.txt");
        let newest = || newest(&path, ORIGIN).unwrap().map(|note| note.log_id);
        assert_eq!(newest(), None);

        for log_id in 1..=200 {
            append(&path, &note(ORIGIN, log_id)).unwrap();
        }
        assert_eq!(newest(), Some(200));
        append(&path, &note("ffffffffffffffffffffffffffffffff", 300)).unwrap();
        assert_eq!(newest(), Some(200));
    }

    #[test]
    fn what_an_interrupted_write_left_is_cut_off_and_what_others_wrote_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints.txt");
        let (one, two) = (note(ORIGIN, 1), note(ORIGIN, 2));
        for cut in 0..two.len() {
            std::fs::write(&path, [one.as_bytes(), &two.as_bytes()[..cut]].concat()).unwrap();
            append(&path, &two).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{one}{two}"), "{cut}");
        }
        for (left, then) in [("mine", "mine\n"), ("mine\n", "mine\n")] {
            std::fs::write(&path, format!("{one}{left}")).unwrap();
            append(&path, &two).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{one}{then}{two}"));
            assert_eq!(newest(&path, ORIGIN).unwrap().unwrap().log_id, 2);
        }
    }
}
