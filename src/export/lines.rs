//! One line of an export, as CSV or as JSON, and the contents of a request put together again.

use std::fmt::Write;

use ring::digest;
use serde_json::{Value, json, value::RawValue};

use crate::clock::Timestamp;
use crate::store::audit::{self as rows, Entry, Part, Row};
use crate::store::tokens::Label;
use crate::store::users::People;

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

/// The contents of one request, put together again.
#[derive(Default)]
pub struct Contents {
    pub request: Vec<u8>,
    pub answer: Vec<u8>,
    pub reasoning: Vec<u8>,
    pub tool_calls: Vec<u8>,
    pub address: Vec<u8>,
    pub notes: Vec<u8>,
    /// What an act tells besides its name.
    pub detail: Vec<u8>,
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
                rows::PART_DETAIL => &mut contents.detail,
                _ => continue,
            };
            // Each part of notes has lines of its own.
            if part.kind == rows::PART_NOTES && !into.is_empty() {
                into.push(b'\n');
            }
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

/// Everything that stands in one line.
pub struct Line<'a> {
    pub entry: &'a Entry,
    pub contents: &'a Contents,
    pub people: &'a People,
    /// What the token is called that was shown, or that an act is about.
    pub token: Option<&'a Label>,
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
            text(&self.contents.tool_calls),
            text(&self.contents.address),
            self.contents.sha256(),
        ]
    }

    /// The columns of the CSV as fields, and what has no column there.
    pub fn json(&self) -> Value {
        if self.entry.first.kind == rows::ACT {
            return self.act();
        }
        let mut object = serde_json::Map::new();
        for (name, cell) in COLUMNS.iter().zip(self.csv()) {
            object.insert((*name).to_owned(), cell.into());
        }
        object.insert("log_id".into(), self.entry.first.log_id.into());
        object.insert("kind".into(), kind(&self.entry.first).into());
        object.insert("token".into(), self.token());
        object.insert("prompt".into(), parsed(self.contents.prompt()));
        for name in ["status", "prompt_tokens", "answer_tokens", "queued_ms", "first_token_ms", "total_ms"] {
            let value = object[name].as_str().and_then(|text| text.parse::<i64>().ok());
            object.insert(name.to_owned(), value.into());
        }
        object.insert("tool_calls".into(), parsed(text(&self.contents.tool_calls)));
        object.insert("notes".into(), text(&self.contents.notes).into());
        object.insert("repeat".into(), self.entry.last.as_ref().and_then(|row| row.repeat).into());
        Value::Object(object)
    }

    fn act(&self) -> Value {
        let row = &self.entry.first;
        json!({
            "log_id": row.log_id,
            "kind": kind(row),
            "timestamp": Timestamp(row.at_us).rfc3339(),
            "request_id": row.request_id().map(|id| id.to_string()),
            "user": self.name(row.user_id),
            "act": row.act,
            "subject": self.name(row.subject_id),
            "token": self.token(),
            "detail": serde_json::from_slice::<Value>(&self.contents.detail).ok(),
        })
    }

    fn name(&self, id: Option<i64>) -> Option<String> {
        id.map(|id| self.people.name_of(id))
    }

    fn token(&self) -> Value {
        self.token.map_or(Value::Null, |token| json!({ "id": token.public_id, "name": token.name() }))
    }
}

fn kind(row: &Row) -> &'static str {
    match row.kind.as_str() {
        rows::REFUSAL => "refusal",
        rows::ACT => "act",
        _ => "request",
    }
}

fn parsed(json: String) -> serde_json::Value {
    serde_json::from_str(&json).unwrap_or(serde_json::Value::String(json))
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
