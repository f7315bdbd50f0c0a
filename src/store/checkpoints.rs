//! PASSIVE checkpoints on a connection that does nothing else, so that no commit waits for one.
//!
//! SQLite restarts its WAL only when all of it was moved into the database. Under a steady load that never happens by itself: a
//! checkpoint neither moves nor reports what is written while it runs. So a large WAL is moved in turns, each shorter than the
//! one before, and the writer moves the last few pages between two commits. A WAL that is restarted needs no new space from the
//! file system, which makes every sync cheaper.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use diesel::prelude::*;

use crate::base::vital::panic_on_purpose;

/// Pauses between checkpoints while rows are written; each moves what has been synced from the WAL into the file.
const PAUSE: Duration = Duration::from_millis(500);

/// Pages in the WAL beyond which it is restarted: 16 MiB.
const WAL_FRAMES: i64 = 4096;

/// The most pages that the writer moves by itself: about a millisecond.
const REST_FRAMES: i64 = 128;

/// Beyond so many pages, 64 MiB, the writer moves all that is left: requests wait, but the WAL doesn't grow without end.
const WAL_FRAMES_MAX: i64 = 4 * WAL_FRAMES;

/// Turns in a row, before the rest must be small enough.
const TURNS: usize = 4;

/// Runs checkpoints whenever something was written, until the other end of `wake` is gone. `ask_writer` is called for what only the
/// writer can do, `failed` with every error.
pub fn run(
    mut connection: SqliteConnection,
    wake: Receiver<()>,
    ask_writer: impl Fn(),
    failed: impl Fn(diesel::result::Error),
) {
    let mut moved = 0;
    while wake.recv().is_ok() {
        panic_on_purpose("checkpoints");
        for turn in 1..=TURNS {
            let wal = match passive(&mut connection) {
                Ok(wal) => wal,
                Err(cause) => {
                    failed(cause);
                    break;
                }
            };
            let next = next(turn, &wal, wal.moved_beyond(moved));
            moved = wal.moved;
            match next {
                Next::Turn => {}
                Next::Pause => break,
                Next::Writer => {
                    ask_writer();
                    break;
                }
            }
        }
        #[allow(clippy::disallowed_methods, reason = "the thread is its own")]
        std::thread::sleep(PAUSE);
    }
}

/// Moves what it can without waiting for readers or the writer.
pub fn passive(connection: &mut SqliteConnection) -> QueryResult<Wal> {
    diesel::sql_query("PRAGMA wal_checkpoint(PASSIVE)").get_result(connection)
}

/// The WAL as a checkpoint found it, in pages.
#[derive(QueryableByName)]
pub struct Wal {
    #[diesel(sql_type = diesel::sql_types::BigInt, column_name = log)]
    frames: i64,
    /// By this checkpoint and those before.
    #[diesel(sql_type = diesel::sql_types::BigInt, column_name = checkpointed)]
    moved: i64,
}

impl Wal {
    fn moved_beyond(&self, before: i64) -> i64 {
        // The WAL was restarted.
        if self.moved < before { self.moved } else { self.moved - before }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Turn,
    Pause,
    Writer,
}

/// Decides what to do after a turn that moved so many pages.
fn next(turn: usize, wal: &Wal, moved: i64) -> Next {
    if wal.frames <= WAL_FRAMES {
        return Next::Pause;
    }
    // A turn can't know what was written while it ran. That was hardly more than what was written during the turn before, which
    // this one has moved. Pages that are still being read were not moved.
    let rest = moved + wal.frames - wal.moved;
    if rest <= REST_FRAMES || (turn == TURNS && wal.frames > WAL_FRAMES_MAX) {
        Next::Writer
    } else if turn < TURNS {
        Next::Turn
    } else {
        Next::Pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_moves_the_rest_of_a_large_wal_once_it_is_small() {
        let after = |turn, frames, moved_before, moved| {
            let wal = Wal { frames, moved };
            next(turn, &wal, wal.moved_beyond(moved_before))
        };
        for (turn, frames, moved_before, moved, expected, why) in [
            (1, 4096, 4096, 4096, Next::Pause, "a small one stays"),
            (1, 4097, 4097 - 128, 4097, Next::Writer, "little came since the turn before"),
            (1, 4097, 4097 - 129, 4097, Next::Turn, "much came since"),
            (3, 9000, 4000, 9000, Next::Turn, "each turn is shorter"),
            (4, 9000, 4000, 9000, Next::Pause, "it did not get small, and can wait"),
            (4, 16_384, 4000, 16_384, Next::Pause, "it can still wait"),
            (4, 16_385, 4000, 16_385, Next::Writer, "it can't"),
            (1, 9000, 5000, 5000, Next::Turn, "a reader needs what is left"),
            (1, 4200, 9000, 4200, Next::Turn, "it was restarted, so all of it was moved now"),
        ] {
            assert_eq!(after(turn, frames, moved_before, moved), expected, "{why}");
        }
    }
}
