//! The events of a stream, each with its name and its number.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use crate::dialect::openai::answer::WireToken;
use crate::dialect::openai::responses::object::WireResponse;
use crate::dialect::openai::responses::output::{SummaryPart, TextPart, WireOutputItem};
use crate::dialect::wire;

/// Numbers events from 0 without gaps.
#[derive(Debug, Default)]
pub struct Numbered {
    next: u64,
}

impl Numbered {
    /// Appends an event. Its fields must be an object that is not empty.
    pub fn put<T: Serialize>(&mut self, kind: &'static str, fields: &T, out: &mut BytesMut) {
        let number = self.next;
        self.next += 1;
        out.put_slice(b"event: ");
        out.put_slice(kind.as_bytes());
        out.put_slice(b"\ndata: {\"type\":\"");
        out.put_slice(kind.as_bytes());
        out.put_slice(b"\",\"sequence_number\":");
        wire::put_json(out, &number);
        // The fields follow in the same object.
        let brace = out.len();
        wire::put_json(out, fields);
        if let Some(byte) = out.get_mut(brace) {
            *byte = b',';
        }
        out.put_slice(b"\n\n");
    }
}

#[derive(Serialize)]
pub struct OfResponse<'a> {
    pub response: WireResponse<'a>,
}

#[derive(Serialize)]
pub struct OfItem<'a> {
    pub output_index: usize,
    pub item: WireOutputItem<'a>,
}

#[derive(Serialize)]
pub struct OfContentPart<'a> {
    pub item_id: &'a str,
    pub output_index: usize,
    pub content_index: usize,
    pub part: TextPart<'a>,
}

#[derive(Serialize)]
pub struct TextDelta<'a> {
    pub item_id: &'a str,
    pub output_index: usize,
    pub content_index: usize,
    pub delta: &'a str,
    pub logprobs: Vec<WireToken<'a>>,
}

#[derive(Serialize)]
pub struct TextDone<'a> {
    pub item_id: &'a str,
    pub output_index: usize,
    pub content_index: usize,
    pub text: &'a str,
    pub logprobs: Vec<WireToken<'a>>,
}

#[derive(Serialize)]
pub struct OfSummaryPart<'a> {
    pub item_id: &'a str,
    pub output_index: usize,
    pub summary_index: usize,
    pub part: SummaryPart<'a>,
}

#[derive(Serialize)]
pub struct SummaryDelta<'a> {
    pub item_id: &'a str,
    pub output_index: usize,
    pub summary_index: usize,
    pub delta: &'a str,
}

#[derive(Serialize)]
pub struct SummaryDone<'a> {
    pub item_id: &'a str,
    pub output_index: usize,
    pub summary_index: usize,
    pub text: &'a str,
}

#[derive(Serialize)]
pub struct ArgumentsDelta<'a> {
    pub item_id: &'a str,
    pub output_index: usize,
    pub delta: &'a str,
}

#[derive(Serialize)]
pub struct ArgumentsDone<'a> {
    pub item_id: &'a str,
    pub output_index: usize,
    pub name: &'a str,
    pub arguments: &'a str,
}
