//! The file of checkpoints: one note after the other, appended as a whole and synced. It may lie on another disk or a share.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{Semaphore, oneshot};

use crate::base::durable::{folder_of, sync_folder};
use crate::base::owner;
use crate::model::checkpoint::{Checkpoint, FIRST_LINE, LAST_LINE, NOTE_BYTES_MAX, PUBLIC_KEY_BYTES, notes_in};

/// How much of the end of the file is read.
const END_BYTES: u64 = 64 * NOTE_BYTES_MAX as u64;

/// How long the file is waited for; a write that takes longer goes on.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The file of a gateway. A share that does not answer holds up one thread alone.
pub struct NotesFile {
    path: PathBuf,
    turn: Arc<Semaphore>,
}

type PublicKey = [u8; PUBLIC_KEY_BYTES];

impl NotesFile {
    pub fn at(path: PathBuf) -> NotesFile {
        NotesFile { path, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Returns the newest note of this record and key. `None`: there is none.
    pub async fn newest(&self, origin: String, key: PublicKey) -> anyhow::Result<Option<Checkpoint>> {
        self.run(move |path| newest(path, &origin, &key)).await
    }

    /// Appends the notes that the file lacks, of those of this record and key; each comes with its row.
    pub async fn append_missing(
        &self,
        origin: String,
        key: PublicKey,
        notes: Vec<(i64, String)>,
    ) -> anyhow::Result<()> {
        self.run(move |path| {
            let last = newest(path, &origin, &key)?.map_or(0, |last| last.log_id);
            let notes: String = notes.into_iter().filter(|(row, _)| *row > last).map(|(_, note)| note).collect();
            append(path, &notes)
        })
        .await
    }

    /// Runs `work` on a thread of its own, and not one of the runtime, which would wait for it at its end.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let done = async {
            let turn = self.turn.clone().acquire_owned().await?;
            let (done, wait) = oneshot::channel();
            let path = self.path.clone();
            std::thread::Builder::new().name("checkpoints".into()).spawn(move || {
                let worked = work(&path);
                drop(turn);
                // Its caller may have given up.
                let _ = done.send(worked);
            })?;
            wait.await?
        };
        let done = tokio::time::timeout(ANSWER_MAX, done).await;
        done.with_context(|| format!("{} does not answer", self.path.display()))?
    }
}

/// Returns the newest note of this record and key at the end of the file. `None`: there is none.
fn newest(path: &Path, origin: &str, key: &PublicKey) -> anyhow::Result<Option<Checkpoint>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause).with_context(|| format!("can't read {}", path.display())),
    };
    let end = end_of(&mut file).with_context(|| format!("can't read {}", path.display()))?;
    let end = String::from_utf8_lossy(&end);
    let notes = notes_in(&end).filter_map(|note| Checkpoint::read(note).ok());
    Ok(notes.filter(|note| note.origin == origin && note.key == *key).last())
}

fn end_of(file: &mut File) -> std::io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(END_BYTES)))?;
    let mut end = Vec::new();
    file.take(END_BYTES).read_to_end(&mut end)?;
    Ok(end)
}

/// Appends notes and syncs them. What an interrupted write left after the last whole note is cut off first.
fn append(path: &Path, notes: &str) -> anyhow::Result<()> {
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
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;
    use crate::base::clock::Timestamp;

    const ORIGIN: &str = "00112233445566778899aabbccddeeff";

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn key(seed: u8) -> PublicKey {
        pair(seed).public_key().as_ref().try_into().unwrap()
    }

    fn note_of(seed: u8, origin: &str, log_id: i64) -> String {
        let (head, key) = ([1; 32], [0; 32]);
        Checkpoint { origin: origin.into(), log_id, head, older_to: 0, time: Timestamp(0), key }.sign(&pair(seed))
    }

    fn note(origin: &str, log_id: i64) -> String {
        note_of(7, origin, log_id)
    }

    #[test]
    fn the_newest_note_of_this_record_is_found_behind_those_of_others_and_torn_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints.txt");
        let newest = || newest(&path, ORIGIN, &key(7)).unwrap().map(|note| note.log_id);
        assert_eq!(newest(), None);

        for log_id in 1..=200 {
            append(&path, &note(ORIGIN, log_id)).unwrap();
        }
        assert_eq!(newest(), Some(200));
        append(&path, &note("ffffffffffffffffffffffffffffffff", 300)).unwrap();
        append(&path, &note_of(8, ORIGIN, 400)).unwrap();
        assert_eq!(newest(), Some(200));
    }

    #[tokio::test]
    async fn a_new_key_goes_on_in_the_file_of_an_older_one_with_rows_that_come_before_those_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints.txt");
        append(&path, &note_of(8, ORIGIN, 700)).unwrap();
        let file = NotesFile::at(path.clone());
        let notes = [650, 660].map(|row| (row, note(ORIGIN, row)));

        for count in [1, 2, 2] {
            file.append_missing(ORIGIN.into(), key(7), notes[..count].to_vec()).await.unwrap();
        }

        let all = [note_of(8, ORIGIN, 700), notes[0].1.clone(), notes[1].1.clone()].concat();
        assert_eq!(std::fs::read_to_string(path).unwrap(), all);
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
            assert_eq!(newest(&path, ORIGIN, &key(7)).unwrap().unwrap().log_id, 2);
        }
    }
}
