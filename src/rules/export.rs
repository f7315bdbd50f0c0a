//! Exports of the record, and who may make which. Each ends with a receipt; the receipt of one person's whole record allows
//! their deletion.

use std::time::Duration;

use moka::future::Cache;

use crate::base::error::Error;
use crate::model::people::Actor;
use crate::model::words::words_schema;
use crate::store::Store;
use crate::store::audit::Wanted;
use crate::store::exports::{Export, ListedExport, NewExportRow};

mod exporter;
pub mod filter;
pub mod lines;
mod progress;

pub use exporter::Exporter;
use filter::Filter;
use progress::Progress;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    Csv,
    JsonLines,
}

words_schema!(
    impl ExportFormat,
    "The form of a file: CSV, or lines of JSON.",
    [ExportFormat::Csv, ExportFormat::JsonLines].map(ExportFormat::name)
);

impl ExportFormat {
    /// Parses the name of a format; CSV by default.
    pub fn parse(name: Option<&str>) -> Result<Self, Error> {
        match name {
            None | Some("csv") => Ok(ExportFormat::Csv),
            Some("jsonl") => Ok(ExportFormat::JsonLines),
            Some(_) => Err(Error::invalid("format", "`format` must be \"csv\" or \"jsonl\"")),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            ExportFormat::Csv => "csv",
            ExportFormat::JsonLines => "jsonl",
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            ExportFormat::Csv => "text/csv; charset=utf-8",
            ExportFormat::JsonLines => "application/x-ndjson; charset=utf-8",
        }
    }
}

/// What an export contains.
#[derive(Debug)]
pub enum Extent {
    /// Everything that one person asked, by public id.
    WholeOf(String),
    /// What a filter finds, of one person or of all. It never allows a deletion, whatever it contains.
    Found(Box<Filter>),
}

impl Extent {
    pub fn of(user_id: Option<String>, filter: Option<Filter>) -> Result<Extent, Error> {
        match (user_id, filter) {
            (Some(user_id), None) => Ok(Extent::WholeOf(user_id)),
            (None, Some(filter)) => Ok(Extent::Found(Box::new(filter))),
            _ => {
                let message = "either `user_id`, for the whole record of one person, or `filter` must be given";
                Err(Error::invalid("user_id", message))
            }
        }
    }
}

pub struct Exports {
    store: Store,
    /// Search texts of filters, by export. They may be what is erased one day, so they are never written to disk.
    words: Cache<String, String>,
    progress: Progress,
}

/// How long an export with a search text can be fetched, and how many of those there are at once.
const WORDS_KEPT: Duration = Duration::from_secs(15 * 60);
const WORDS_KEPT_MAX: u64 = 256;

/// Length limit of a filter in the store.
const FILTER_BYTES_MAX: usize = 4000;

/// Replaces the search text in a stored filter.
const WORDS_NOT_KEPT: &str = "(not kept)";

impl Exports {
    pub fn new(store: Store) -> Self {
        let words = Cache::builder().max_capacity(WORDS_KEPT_MAX).time_to_live(WORDS_KEPT).build();
        Exports { store, words, progress: Progress::default() }
    }

    /// Announces an export. Only admins and the host may export the records of others.
    pub async fn create(&self, by: Actor, extent: Extent, format: ExportFormat) -> Result<Export, Error> {
        match extent {
            Extent::WholeOf(user_id) => {
                let user = self.store.people().by_public_id(&user_id).cloned();
                let user = user.ok_or_else(|| Error::NotFound { what: "such user".into() })?;
                let new = NewExportRow { user_id: Some(user.id), filter: None, format: format.name() };
                self.store.create_export(by, new).await
            }
            Extent::Found(filter) => {
                let wanted = filter.wanted(&self.store).await?;
                check_columns(&wanted, format)?;
                let text = filter.text.as_ref().map(|_| WORDS_NOT_KEPT.to_owned());
                let kept = serde_json::to_string(&Filter { text, ..(*filter).clone() }).map_err(Error::internal)?;
                if kept.len() > FILTER_BYTES_MAX {
                    let message = format!("`filter` may have at most {FILTER_BYTES_MAX} bytes besides its `text`");
                    return Err(Error::invalid("filter", message));
                }
                let new = NewExportRow { user_id: wanted.user_id, filter: Some(kept), format: format.name() };
                let export = self.store.create_export(by, new).await?;
                if let Some(words) = filter.text {
                    self.words.insert(export.public_id.clone(), words).await;
                }
                Ok(export)
            }
        }
    }

    /// Returns a page of exports, newest first; of one person's record, or all. `before` is the id with which the last page ended.
    pub async fn list(
        &self,
        user_id: Option<i64>,
        before: Option<String>,
        limit: usize,
    ) -> Result<Vec<ListedExport>, Error> {
        self.store.exports_page(user_id, before, limit as i64).await
    }

    /// Returns one export, whoever made it.
    pub async fn one(&self, id: &str) -> Result<ListedExport, Error> {
        self.store.listed_export(id.to_owned()).await
    }

    /// Returns how many lines an export has so far, while it is being read.
    pub fn lines_so_far(&self, id: &str) -> Option<i64> {
        self.progress.of(id)
    }

    /// Starts an export that `by` has announced; a CSV gets a byte order mark if that was asked for.
    pub async fn open(&self, by: Actor, id: &str, byte_order_mark: bool) -> Result<Exporter, Error> {
        let export = self.store.export(by, id.to_owned()).await?;
        let format = ExportFormat::parse(Some(&export.format))?;
        check_mark(byte_order_mark, format)?;
        let wanted = match &export.filter {
            None => {
                let people = self.store.people();
                let user = export.user_id.and_then(|id| people.by_id(id));
                let user = user.ok_or_else(|| Error::NotFound { what: "such user".into() })?;
                Wanted { user_id: Some(user.id), ..Wanted::default() }
            }
            Some(kept) => {
                let mut filter: Filter = serde_json::from_str(kept).map_err(Error::internal)?;
                if filter.text.is_some() {
                    let words = self.words.get(id).await;
                    let forgotten =
                        || Error::conflict("the words of this export are not kept for long; make a new one");
                    filter.text = Some(words.ok_or_else(forgotten)?);
                }
                filter.wanted(&self.store).await?
            }
        };
        let told = self.progress.begins(&export.public_id);
        Exporter::begin(self.store.clone(), export, format, wanted, byte_order_mark, told).await
    }
}

/// Refuses a byte order mark for JSON (RFC 8259).
pub fn check_mark(byte_order_mark: bool, format: ExportFormat) -> Result<(), Error> {
    if byte_order_mark && format != ExportFormat::Csv {
        return Err(Error::invalid("bom", "`bom` is for CSV alone; JSON begins without one"));
    }
    Ok(())
}

/// Refuses a CSV of what has no columns: its columns are those of a request.
fn check_columns(wanted: &Wanted, format: ExportFormat) -> Result<(), Error> {
    if format == ExportFormat::Csv && wanted.takes_acts_alone() {
        return Err(Error::invalid("format", "a CSV has no columns for acts; use the format \"jsonl\""));
    }
    Ok(())
}
