//! An export under way: returns the file piece by piece, with the receipt as the last line.
//!
//! The receipt's code is stored before the last line is sent, and is nowhere else, so only who has the whole file has it. When
//! contents are erased meanwhile, the export ends without a receipt.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ring::digest;
use serde::Serialize;
use serde_json::json;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::secret::random_code;
use crate::base::sheet::{BYTE_ORDER_MARK, csv_line};
use crate::model::record::Kind;
use crate::rules::export::ExportFormat;
use crate::rules::export::lines::{COLUMNS, Contents, Line, hex};
use crate::store::Store;
use crate::store::audit::{Beginning, Entry, Wanted};
use crate::store::exports::{Export, FinishedExport, ReadSoFar};

/// Requests that are looked up at once.
const ENTRIES_PER_PAGE: i64 = 200;

/// Contents that are read at once. Only a single larger request takes more memory.
const CONTENTS_BYTES: usize = 256 * 1024;

const RECEIPT_LETTERS: usize = 16;

/// Reads the record up to where it ended when the export began.
pub struct Exporter {
    store: Store,
    export: Export,
    format: ExportFormat,
    wanted: Wanted,
    after: i64,
    /// The last row whose contents were read.
    read_to: i64,
    /// The end of the record when the export began. Requests that ran then come last, without a result.
    beginning: Beginning,
    /// The next lines, oldest first.
    page: VecDeque<Entry>,
    /// The people whose requests the file contains.
    people: BTreeSet<i64>,
    byte_order_mark: bool,
    stage: Stage,
    lines: i64,
    /// The same number, for those who look how far it is.
    told: Arc<AtomicI64>,
    digest: digest::Context,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Head,
    Ended,
    Running,
    Receipt,
    Done,
    BrokenOff,
}

impl Exporter {
    pub async fn begin(
        store: Store,
        export: Export,
        format: ExportFormat,
        wanted: Wanted,
        byte_order_mark: bool,
        told: Arc<AtomicI64>,
    ) -> Result<Exporter, Error> {
        let beginning = store.begin_export(&wanted).await?;
        if export.filter.is_none() && wanted.user_id.is_some_and(|id| beginning.deleted.contains(&id)) {
            return Err(Error::NotFound { what: "such user".into() });
        }
        Ok(Exporter {
            store,
            people: wanted.user_id.into_iter().collect(),
            export,
            format,
            wanted,
            after: 0,
            read_to: 0,
            beginning,
            page: VecDeque::new(),
            byte_order_mark,
            stage: Stage::Head,
            lines: 0,
            told,
            digest: digest::Context::new(&digest::SHA256),
        })
    }

    pub fn format(&self) -> ExportFormat {
        self.format
    }

    /// Returns the next piece of the file; `None` after the last. After an error the file ends without a receipt.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let piece = self.try_next().await;
        if piece.is_err() {
            self.stage = Stage::BrokenOff;
        }
        piece
    }

    async fn try_next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut out = Vec::new();
        while out.is_empty() {
            match self.stage {
                Stage::Head => {
                    if self.byte_order_mark {
                        out.extend_from_slice(BYTE_ORDER_MARK.as_bytes());
                    }
                    if self.format == ExportFormat::Csv {
                        csv_line(&mut out, &COLUMNS.map(str::to_owned));
                    }
                    self.stage = Stage::Ended;
                }
                Stage::Ended | Stage::Running if !self.page.is_empty() => self.write_some(&mut out).await?,
                Stage::Ended => {
                    let (wanted, after) = (self.wanted.clone(), self.after);
                    let page = self.store.entries(wanted, after, self.beginning.upto, ENTRIES_PER_PAGE).await?;
                    match page.last() {
                        Some(last) => self.after = last.log_id(),
                        None => self.stage = Stage::Running,
                    }
                    let acts = self.holds_acts();
                    self.page.extend(page.into_iter().filter(|entry| acts || entry.first.kind() != Some(Kind::Act)));
                    if self.stage == Stage::Running {
                        self.page.extend(std::mem::take(&mut self.beginning.running));
                    }
                }
                Stage::Running => self.stage = Stage::Receipt,
                Stage::Receipt => {
                    self.receipt(&mut out).await?;
                    self.stage = Stage::Done;
                    return Ok(Some(out));
                }
                Stage::Done => return Ok(None),
                Stage::BrokenOff => return Err(Error::conflict("this export has broken off; make a new one")),
            }
        }
        self.digest.update(&out);
        Ok(Some(out))
    }

    /// Returns whether acts belong into this file: they are about administration, not about what a person asked, and have no
    /// columns in a CSV.
    fn holds_acts(&self) -> bool {
        self.format == ExportFormat::JsonLines && self.export.filter.is_some()
    }

    fn so_far(&self) -> ReadSoFar {
        ReadSoFar { read_to: self.read_to, erased_to: self.beginning.erased_to }
    }

    async fn write_some(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let requests = self.page.iter().map(|entry| (entry.first.log_id, entry.first.user_id)).collect();
        let deleted = self.beginning.deleted.clone();
        let so_far = self.so_far();
        let contents = self.store.export_contents(requests, CONTENTS_BYTES, deleted, so_far).await?;
        let read: Vec<Entry> = self.page.drain(..contents.len().min(self.page.len())).collect();
        self.read_to = read.iter().map(Entry::log_id).fold(self.read_to, i64::max);
        self.people.extend(read.iter().filter_map(|entry| entry.first.user_id));
        let tokens = read.iter().filter_map(|entry| entry.first.token_id).collect();
        let (tokens, people) = (self.store.token_labels(tokens).await?, self.store.people());
        for (entry, parts) in read.iter().zip(contents) {
            let token = entry.first.token_id.and_then(|id| tokens.get(&id));
            let is_expired = entry.first.kind() == Some(Kind::Intent) && entry.log_id() <= self.beginning.erased_to;
            let line = Line { entry, contents: &Contents::of(parts), people: &people, token, is_expired };
            match self.format {
                ExportFormat::Csv => csv_line(out, &line.csv()),
                ExportFormat::JsonLines => json_line(out, &line.json())?,
            }
            self.lines += 1;
        }
        self.told.store(self.lines, Ordering::Relaxed);
        Ok(())
    }

    async fn receipt(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let code = random_code(RECEIPT_LETTERS);
        let sha256 = self.digest.clone().finish().as_ref().to_vec();
        let finished = FinishedExport {
            upto_log_id: self.beginning.upto,
            lines: self.lines,
            sha256: sha256.clone(),
            receipt: digest::digest(&digest::SHA256, code.as_bytes()).as_ref().to_vec(),
        };
        let (people, deleted) = (std::mem::take(&mut self.people), self.beginning.deleted.clone());
        self.store.finish_export(&self.export, finished, people, deleted, self.so_far()).await?;
        match self.format {
            ExportFormat::Csv => {
                let mut cells = vec![String::new(); COLUMNS.len()];
                cells[0] = format!("receipt:{code}");
                cells[3] = Timestamp::now().rfc3339();
                cells[COLUMNS.len() - 1] = hex(&sha256);
                csv_line(out, &cells);
            }
            ExportFormat::JsonLines => {
                let upto = self.beginning.upto;
                let receipt =
                    json!({ "receipt": code, "lines": self.lines, "sha256": hex(&sha256), "upto_log_id": upto });
                json_line(out, &receipt)?;
            }
        }
        Ok(())
    }
}

fn json_line(out: &mut Vec<u8>, line: &impl Serialize) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, line).map_err(Error::internal)?;
    out.push(b'\n');
    Ok(())
}
