//! The record of one person as CSV or JSON Lines, a piece at a time, with the receipt as its last line.
//!
//! The receipt's code is written to disk before the last line leaves, and stands nowhere else: whoever has it has the
//! whole file.

use std::collections::BTreeMap;
use std::fmt::Write;

use ring::digest;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::secret::random_code;
use crate::store::audit::{self as rows, Part, Row};
use crate::store::exports::{Export, Finished};
use crate::store::{Store, users::User};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    JsonLines,
}

impl Format {
    pub fn parse(name: &str) -> Result<Self, Error> {
        match name {
            "csv" => Ok(Format::Csv),
            "jsonl" => Ok(Format::JsonLines),
            _ => Err(Error::invalid("format", "`format` must be \"csv\" or \"jsonl\"")),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8",
            Format::JsonLines => "application/x-ndjson",
        }
    }
}

const COLUMNS: [&str; 22] = [
    "log_id",
    "prompt",
    "response",
    "timestamp",
    "request_id",
    "user",
    "credential",
    "api",
    "model_asked",
    "model_served",
    "outcome",
    "reason",
    "status",
    "prompt_tokens",
    "answer_tokens",
    "queued_ms",
    "first_token_ms",
    "total_ms",
    "reasoning",
    "tool_calls",
    "client_address",
    "content_sha256",
];

/// Rows that are looked at for one piece.
const ROWS_PER_PIECE: i64 = 100;

const RECEIPT_LETTERS: usize = 16;

/// An export under way. It reads the record up to where it ended when the export began.
pub struct Exporter {
    store: Store,
    export: Export,
    format: Format,
    username: String,
    user_id: i64,
    after: i64,
    upto: i64,
    /// Intents whose result has not come by yet.
    open: BTreeMap<i64, Row>,
    stage: Stage,
    lines: i64,
    digest: digest::Context,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Head,
    Rows,
    Open,
    Receipt,
    Done,
}

impl Exporter {
    pub async fn begin(store: Store, export: Export, format: Format, user: &User) -> Result<Exporter, Error> {
        let upto = store.record_end().await?;
        Ok(Exporter {
            store,
            export,
            format,
            username: user.name().to_owned(),
            user_id: user.id,
            after: 0,
            upto,
            open: BTreeMap::new(),
            stage: Stage::Head,
            lines: 0,
            digest: digest::Context::new(&digest::SHA256),
        })
    }

    /// The next piece of the file; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut out = Vec::new();
        while out.is_empty() {
            match self.stage {
                Stage::Head => {
                    self.head(&mut out);
                    self.stage = Stage::Rows;
                }
                Stage::Rows => {
                    let page = self.store.record_after(self.user_id, self.after, self.upto, ROWS_PER_PIECE).await?;
                    match page.last() {
                        Some(last) => self.after = last.log_id,
                        None => self.stage = Stage::Open,
                    }
                    for row in page {
                        self.row(row, &mut out).await?;
                    }
                }
                Stage::Open => {
                    for (_, intent) in std::mem::take(&mut self.open) {
                        self.line(&intent, None, &mut out).await?;
                    }
                    self.stage = Stage::Receipt;
                }
                Stage::Receipt => {
                    self.receipt(&mut out).await?;
                    self.stage = Stage::Done;
                    return Ok(Some(out));
                }
                Stage::Done => return Ok(None),
            }
        }
        self.digest.update(&out);
        Ok(Some(out))
    }

    fn head(&self, out: &mut Vec<u8>) {
        if self.format == Format::Csv {
            csv_line(out, &COLUMNS.map(str::to_owned));
        }
    }

    async fn row(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), Error> {
        match row.kind.as_str() {
            rows::INTENT => {
                self.open.insert(row.log_id, row);
                Ok(())
            }
            rows::RESULT => {
                let intent = row.intent_id.and_then(|id| self.open.remove(&id));
                match intent {
                    Some(intent) => self.line(&intent, Some(&row), out).await,
                    None => Ok(()),
                }
            }
            rows::REFUSAL => self.line(&row, Some(&row), out).await,
            // Acts are about governing, not about what this person asked.
            _ => Ok(()),
        }
    }

    async fn line(&mut self, first: &Row, last: Option<&Row>, out: &mut Vec<u8>) -> Result<(), Error> {
        let contents = Contents::of(self.store.contents(first.log_id).await?);
        let line = Line { user: &self.username, first, last, contents: &contents };
        match self.format {
            Format::Csv => csv_line(out, &line.csv()),
            Format::JsonLines => write_json(out, &line.json()),
        }
        self.lines += 1;
        Ok(())
    }

    async fn receipt(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let code = random_code(RECEIPT_LETTERS);
        let sha256 = self.digest.clone().finish().as_ref().to_vec();
        let finished = Finished {
            upto_log_id: self.upto,
            lines: self.lines,
            sha256: sha256.clone(),
            receipt: digest::digest(&digest::SHA256, code.as_bytes()).as_ref().to_vec(),
        };
        self.store.finish_export(&self.export, finished).await?;
        match self.format {
            Format::Csv => {
                let mut cells = vec![String::new(); COLUMNS.len()];
                cells[0] = format!("receipt:{code}");
                cells[3] = Timestamp::now().rfc3339();
                cells[COLUMNS.len() - 1] = hex(&sha256);
                csv_line(out, &cells);
            }
            Format::JsonLines => {
                write_json(out, &serde_json::json!({ "receipt": code, "lines": self.lines, "sha256": hex(&sha256) }));
            }
        }
        Ok(())
    }
}

/// The contents of one request, put together again.
#[derive(Default)]
pub struct Contents {
    pub request: Vec<u8>,
    pub answer: Vec<u8>,
    pub reasoning: Vec<u8>,
    pub tool_calls: Vec<u8>,
    pub address: Vec<u8>,
    pub notes: Vec<u8>,
}

impl Contents {
    pub fn of(parts: Vec<Part>) -> Self {
        let mut contents = Contents::default();
        for part in parts {
            let mut body = part.body.as_slice();
            let into = match part.kind.as_str() {
                rows::PART_REQUEST => &mut contents.request,
                rows::PART_ANSWER => &mut contents.answer,
                rows::PART_REASONING => &mut contents.reasoning,
                rows::PART_TOOL_CALLS => &mut contents.tool_calls,
                rows::PART_ADDRESS => &mut contents.address,
                rows::PART_ORIGIN => {
                    body = body.get(rows::SALT_BYTES..).unwrap_or_default();
                    &mut contents.address
                }
                rows::PART_NOTES => &mut contents.notes,
                _ => continue,
            };
            into.extend_from_slice(body);
        }
        contents
    }

    /// The messages, the prompt or the texts as JSON, or the whole of a request that has none of them.
    fn prompt(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Request<'a> {
            #[serde(borrow, alias = "prompt", alias = "input")]
            messages: &'a RawValue,
        }
        match serde_json::from_slice::<Request<'_>>(&self.request) {
            Ok(request) => request.messages.get().to_owned(),
            Err(_) => text(&self.request),
        }
    }

    /// Over what was asked and what was answered, each with its length in front.
    fn sha256(&self) -> String {
        let mut digest = digest::Context::new(&digest::SHA256);
        for bytes in [&self.request, &self.answer, &self.reasoning, &self.tool_calls] {
            digest.update(&(bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        }
        hex(digest.finish().as_ref())
    }
}

struct Line<'a> {
    user: &'a str,
    /// The intent, or the refusal.
    first: &'a Row,
    /// The result, or the refusal again; none while the request is running.
    last: Option<&'a Row>,
    contents: &'a Contents,
}

impl Line<'_> {
    fn csv(&self) -> [String; 22] {
        let first = self.first;
        let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
        let millis = |value: Option<i64>| number(value.map(|micros| micros / 1000));
        let word = |value: &Option<String>| value.clone().unwrap_or_default();
        let last = |pick: fn(&Row) -> Option<i64>| self.last.and_then(pick);
        let last_word = |pick: fn(&Row) -> &Option<String>| self.last.map(|row| word(pick(row))).unwrap_or_default();
        [
            first.log_id.to_string(),
            self.contents.prompt(),
            text(&self.contents.answer),
            Timestamp(first.at_us).rfc3339(),
            first.request_id().map(|id| id.to_string()).unwrap_or_default(),
            self.user.to_owned(),
            word(&first.credential),
            word(&first.api),
            word(&first.model_asked),
            last_word(|row| &row.model_served),
            last_word(|row| &row.outcome),
            last_word(|row| &row.reason),
            number(last(|row| row.status)),
            number(last(|row| row.prompt_tokens)),
            number(last(|row| row.answer_tokens)),
            millis(last(|row| row.queued_us)),
            millis(last(|row| row.first_token_us)),
            millis(last(|row| row.total_us)),
            text(&self.contents.reasoning),
            text(&self.contents.tool_calls),
            text(&self.contents.address),
            self.contents.sha256(),
        ]
    }

    fn json(&self) -> serde_json::Value {
        let cells = self.csv();
        let mut object = serde_json::Map::new();
        for (name, cell) in COLUMNS.iter().zip(cells) {
            object.insert((*name).to_owned(), cell.into());
        }
        object.insert("log_id".into(), self.first.log_id.into());
        object.insert("prompt".into(), parsed(self.contents.prompt()));
        for name in ["status", "prompt_tokens", "answer_tokens", "queued_ms", "first_token_ms", "total_ms"] {
            let value = object[name].as_str().and_then(|text| text.parse::<i64>().ok());
            object.insert(name.to_owned(), value.into());
        }
        object.insert("tool_calls".into(), parsed(text(&self.contents.tool_calls)));
        object.insert("notes".into(), text(&self.contents.notes).into());
        object.insert("repeat".into(), self.last.and_then(|row| row.repeat).into());
        serde_json::Value::Object(object)
    }
}

fn parsed(json: String) -> serde_json::Value {
    serde_json::from_str(&json).unwrap_or(serde_json::Value::String(json))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String can't fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A line of CSV by RFC 4180, every field quoted and none of them a formula.
pub fn csv_line(out: &mut Vec<u8>, cells: &[String]) {
    let mut writer = csv::WriterBuilder::new()
        .quote_style(csv::QuoteStyle::Always)
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    // Writing to a Vec can't fail.
    let _ = writer.write_record(cells.iter().map(|cell| harmless(cell)));
}

fn write_json(out: &mut Vec<u8>, value: &serde_json::Value) {
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'\n');
}

/// A cell that a spreadsheet would run as a formula gets one apostrophe in front, and so does one that begins with an
/// apostrophe: a reader takes exactly one away. A NUL, which some readers end at, becomes its visible picture.
fn harmless(cell: &str) -> String {
    let risky = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\0', '\'', '＝', '＋', '－', '＠']);
    let cell = cell.replace('\0', "\u{2400}");
    if risky { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_like_a_formula_and_one_apostrophe_gives_the_text_back() {
        for text in ["=1+1", "+1", "-1", "@x", "\tx", "\r", "\n", "'quoted", "＝1", "plain", "", "a=b"] {
            let cell = harmless(text);

            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝']), "{text:?}");
            let back = cell.strip_prefix('\'').unwrap_or(&cell);
            assert_eq!(back, text);
        }
    }

    #[test]
    fn every_line_has_the_same_number_of_quoted_fields() {
        let mut out = Vec::new();

        csv_line(&mut out, &["a\"b,c\r\nd".to_owned(), "=x".to_owned()]);

        assert_eq!(String::from_utf8(out).unwrap(), "\"a\"\"b,c\r\nd\",\"'=x\"\r\n");
    }
}
