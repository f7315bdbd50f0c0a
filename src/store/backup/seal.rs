//! The digest of a backup: SHA-256 of the whole file, its own bytes taken as zeros. SQLite's check sees damage of its structure,
//! but not a changed letter in a prompt. It is against accidents: whoever can write the file can make it anew.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary};
use ring::digest;

use crate::store::backup::{ReadAs, read_only};

pub const DIGEST_BYTES: usize = 32;

const READ_BYTES: usize = 1 << 20;

/// The digest, and the page that it is in.
#[derive(QueryableByName)]
struct Sealed {
    #[diesel(sql_type = Binary)]
    digest: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    page: i64,
    #[diesel(sql_type = BigInt)]
    page_size: i64,
}

const SEALED: &str = "SELECT digest, rootpage AS page, page_size FROM backup, sqlite_schema, pragma_page_size() \
    WHERE sqlite_schema.name = 'backup'";

/// Where the digest is in the file, and what it is.
struct Place {
    offset: u64,
    digest: [u8; DIGEST_BYTES],
}

impl Place {
    fn find(path: &Path) -> anyhow::Result<Place> {
        let sealed: Sealed = diesel::sql_query(SEALED).get_result(&mut read_only(path, ReadAs::AtRest)?)?;
        let size = usize::try_from(sealed.page_size)?;
        let begin = u64::try_from(sealed.page - 1)? * size as u64;
        let mut page = vec![0; size];
        File::open(path)?.read_exact_at(&mut page, begin)?;
        let digest: [u8; DIGEST_BYTES] = sealed.digest.as_slice().try_into()?;
        let mut found = (0..=size - DIGEST_BYTES).filter(|at| page[*at..].starts_with(&digest));
        let (at, again) = (found.next().context("the digest is not in its page")?, found.next());
        ensure!(again.is_none(), "the digest is in its page twice");
        Ok(Place { offset: begin + at as u64, digest })
    }

    /// Returns the digest of the file as it is.
    fn digest_of(&self, path: &Path) -> anyhow::Result<[u8; DIGEST_BYTES]> {
        let mut file = File::open(path)?;
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut block = vec![0; READ_BYTES];
        let mut begin = 0_u64;
        loop {
            let read = file.read(&mut block)?;
            if read == 0 {
                return Ok(digest.finish().as_ref().try_into()?);
            }
            let block = &mut block[..read];
            let end = begin + read as u64;
            let (from, to) = (self.offset.max(begin), (self.offset + DIGEST_BYTES as u64).min(end));
            if from < to {
                block[(from - begin) as usize..(to - begin) as usize].fill(0);
            }
            digest.update(block);
            begin = end;
        }
    }
}

/// Writes the digest of a complete file into it, and syncs it.
pub fn seal(path: &Path) -> anyhow::Result<()> {
    let place = Place::find(path)?;
    let digest = place.digest_of(path)?;
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&digest, place.offset)?;
    file.sync_all().with_context(|| format!("can't sync {}", path.display()))
}

/// Whether the file is as it was when it was sealed.
pub fn is_sealed(path: &Path) -> anyhow::Result<bool> {
    let place = Place::find(path)?;
    Ok(place.digest_of(path)? == place.digest)
}
