//! Edits of copies of a data folder, as somebody makes them who can write to its files.

use std::path::{Path, PathBuf};

use lan_gateway::model::checkpoint::Checkpoint;
use ring::signature::Ed25519KeyPair;

use crate::copied::Copied;
use crate::fixture::Fixture;
use crate::{added, of_chain, of_rows};

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
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    pub fn flip(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        bytes[at] ^= 1 << self.below(8);
    }
}

type Edit = fn(&mut Copied, &mut Random) -> Option<Edited>;

/// The kinds of edits; the first ones are tried more often.
const EDITS: &[Edit] = &[
    of_rows::flip_column,
    of_rows::flip_part,
    of_rows::flip_column,
    of_rows::flip_part,
    of_rows::flip_column,
    of_rows::flip_part,
    of_rows::flip_column,
    of_rows::flip_part,
    of_rows::cut_tail,
    of_chain::cut_tail_and_chain,
    of_rows::drop_row,
    of_chain::drop_row_and_link,
    of_rows::swap_rows,
    of_rows::swap_contents,
    of_rows::move_contents,
    of_chain::roll_back,
    of_chain::chain_again,
    of_chain::chain_and_sign_again,
    of_chain::sign_again,
    of_chain::change_kept_file,
    of_rows::drop_receipt,
    of_rows::drop_contents,
    of_rows::drop_part,
    of_rows::relabel_part,
    of_rows::add_part,
    of_rows::change_image,
    of_rows::change_use,
    of_chain::flip_link,
    of_chain::flip_tip,
    of_chain::drop_tip,
    of_chain::flip_checkpoint,
    of_chain::drop_checkpoint,
    of_chain::raise_sequence,
    of_rows::add_row,
    of_chain::copy_checkpoint,
    added::receipt,
    added::image,
    added::receipt,
    added::empty_part,
    added::fraction,
    added::trigger,
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

pub const OTHER_SEED: [u8; 32] = [7; 32];

pub fn other_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&OTHER_SEED).unwrap()
}

pub fn found_at(name: impl Into<String>, places: impl IntoIterator<Item = String>) -> Option<Edited> {
    let places = places.into_iter().collect();
    Some(Edited { name: name.into(), places, is_first: true, needs_outside: false })
}

/// Found, but behind what comes of it.
pub fn found_among(name: impl Into<String>, places: impl IntoIterator<Item = String>) -> Option<Edited> {
    found_at(name, places).map(|edited| Edited { is_first: false, ..edited })
}

pub fn found_outside(name: impl Into<String>, places: Vec<String>) -> Option<Edited> {
    found_at(name, places).map(|edited| Edited { needs_outside: true, ..edited })
}

pub fn row(number: i64) -> String {
    format!("row {number}")
}
