//! One line of an export, as CSV or as JSON, and the joined contents of a request.

use std::fmt::Write;

use ring::digest;
use serde::{Serialize, Serializer};
use serde_json::{Value, json, value::RawValue};

use crate::base::clock::Timestamp;
use crate::model::commitment::SALT_BYTES;
use crate::model::people::People;
use crate::model::record::Kind;
use crate::store::audit::{self as rows, Entry, Row, StoredPart};
use crate::store::tokens::Label;

pub const COLUMNS: [&str; 22] = [
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

/// The contents of one request, joined from their parts.
#[derive(Default)]
pub struct Contents {
    pub request: Vec<u8>,
    pub answer: Vec<u8>,
    pub reasoning: Vec<u8>,
    pub tool_calls: Vec<u8>,
    pub address: Vec<u8>,
    pub notes: Vec<u8>,
    /// Details of an act.
    pub detail: Vec<u8>,
}

impl Contents {
    pub fn of(parts: Vec<StoredPart>) -> Self {
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
                    body = body.get(SALT_BYTES..).unwrap_or_default();
                    &mut contents.address
                }
                rows::PART_NOTES => &mut contents.notes,
                rows::PART_DETAIL => &mut contents.detail,
                _ => continue,
            };
            // Each part of notes consists of whole lines.
            if part.kind == rows::PART_NOTES && !into.is_empty() {
                into.push(b'\n');
            }
            into.extend_from_slice(body);
        }
        contents
    }

    /// Returns the messages, the prompt or the texts as JSON, or the whole body of a request that has none of them.
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

    /// Returns the tool calls as an array; the record has one a line.
    pub fn tool_calls(&self) -> String {
        let calls = serde_json::Deserializer::from_slice(&self.tool_calls).into_iter::<&RawValue>();
        match calls.map(|call| call.map(RawValue::get)).collect::<Result<Vec<_>, _>>() {
            Ok(calls) if calls.is_empty() => String::new(),
            Ok(calls) => format!("[{}]", calls.join(",")),
            Err(_) => text(&self.tool_calls),
        }
    }

    /// Returns the digest over request and answer, each preceded by its length.
    fn sha256(&self) -> String {
        let mut digest = digest::Context::new(&digest::SHA256);
        let tool_calls = self.tool_calls();
        for bytes in [&self.request, &self.answer, &self.reasoning, tool_calls.as_bytes()] {
            digest.update(&(bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        }
        hex(digest.finish().as_ref())
    }
}

/// The values of one line.
pub struct Line<'a> {
    pub entry: &'a Entry,
    pub contents: &'a Contents,
    pub people: &'a People,
    /// Name of the token that was used, or that an act is about.
    pub token: Option<&'a Label>,
    /// Whether its contents were erased for their age.
    pub is_expired: bool,
}

impl Line<'_> {
    pub fn csv(&self) -> [String; 22] {
        let (first, last) = (&self.entry.first, self.entry.last.as_ref());
        let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
        let millis = |value: Option<i64>| number(value.map(|micros| micros / 1000));
        let word = |value: &Option<String>| value.clone().unwrap_or_default();
        let of_last = |pick: fn(&Row) -> Option<i64>| last.and_then(pick);
        let word_of_last = |pick: fn(&Row) -> &Option<String>| last.map(|row| word(pick(row))).unwrap_or_default();
        [
            first.log_id.to_string(),
            self.contents.prompt(),
            text(&self.contents.answer),
            Timestamp(first.at_us).rfc3339(),
            first.request_id().map(|id| id.to_string()).unwrap_or_default(),
            self.name(first.user_id).unwrap_or_default(),
            word(&first.credential),
            word(&first.api),
            word(&first.model_asked),
            word_of_last(|row| &row.model_served),
            word_of_last(|row| &row.outcome),
            word_of_last(|row| &row.reason),
            number(of_last(|row| row.status)),
            number(of_last(|row| row.prompt_tokens)),
            number(of_last(|row| row.answer_tokens)),
            millis(of_last(|row| row.queued_us)),
            millis(of_last(|row| row.first_token_us)),
            millis(of_last(|row| row.total_us)),
            text(&self.contents.reasoning),
            self.contents.tool_calls(),
            text(&self.contents.address),
            self.contents.sha256(),
        ]
    }

    /// Returns the columns of the CSV as fields, and what has no column there.
    pub fn json(&self) -> LineFields {
        if self.entry.first.kind() == Some(Kind::Act) {
            return LineFields(self.act().into_iter().map(|(name, value)| (name, Field::Value(value))).collect());
        }
        let mut fields: Vec<(String, Field)> = Vec::with_capacity(COLUMNS.len() + 4);
        for (name, cell) in COLUMNS.iter().zip(self.csv()) {
            let field = match *name {
                "log_id" => Field::Value(self.entry.first.log_id.into()),
                "prompt" | "tool_calls" => Field::of(cell),
                "status" | "prompt_tokens" | "answer_tokens" | "queued_ms" | "first_token_ms" | "total_ms" => {
                    Field::Value(cell.parse::<i64>().map_or(Value::Null, Value::from))
                }
                _ => Field::Value(cell.into()),
            };
            fields.push(((*name).to_owned(), field));
        }
        let repeat = self.entry.last.as_ref().and_then(|row| row.repeat);
        for (name, value) in [
            ("kind", self.entry.first.shown_kind().into()),
            ("token", self.token()),
            ("notes", text(&self.contents.notes).into()),
            ("repeat", repeat.into()),
        ] {
            fields.push((name.to_owned(), Field::Value(value)));
        }
        if let Some(via) = self.name(self.entry.first.via_user_id) {
            fields.push(("via".to_owned(), Field::Value(via.into())));
        }
        if self.is_expired {
            fields.push(("erased".to_owned(), Field::Value("retention".into())));
        }
        LineFields(fields)
    }

    fn act(&self) -> serde_json::Map<String, Value> {
        let row = &self.entry.first;
        let act = json!({
            "log_id": row.log_id,
            "kind": row.shown_kind(),
            "timestamp": Timestamp(row.at_us).rfc3339(),
            "request_id": row.request_id().map(|id| id.to_string()),
            "user": self.name(row.user_id),
            "act": row.act,
            "subject": self.name(row.subject_id),
            "token": self.token(),
            "detail": serde_json::from_slice::<Value>(&self.contents.detail).ok(),
        });
        act.as_object().cloned().unwrap_or_default()
    }

    fn name(&self, id: Option<i64>) -> Option<String> {
        id.map(|id| self.people.name_of(id))
    }

    fn token(&self) -> Value {
        self.token.map_or(Value::Null, |token| json!({ "id": token.public_id, "name": token.name() }))
    }
}

/// The fields of a line, in order.
pub struct LineFields(Vec<(String, Field)>);

impl Serialize for LineFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, field)| (name, field)))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Field {
    Value(Value),
    /// JSON of clients and models, byte for byte: it may hold numbers that no type can, and be deeply nested.
    Raw(Box<RawValue>),
}

impl Field {
    /// Puts JSON on one line; text that isn't JSON becomes a string.
    fn of(json: String) -> Field {
        // JSON strings escape their line breaks, so only whitespace is replaced.
        let line = if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json.clone() };
        RawValue::from_string(line).map_or(Field::Value(json.into()), Field::Raw)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String can't fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
