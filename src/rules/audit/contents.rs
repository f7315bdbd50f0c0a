//! The contents of a request as the record keeps them.

use bytes::Bytes;
use ring::digest;
use serde_json::Value;

use crate::model::chat::ToolCall;
use crate::model::commitment::SALT_BYTES;
use crate::provider::Call;
use crate::rules::audit::numbers::Numbers;
use crate::store::audit::{self as rows, NewImage, NewPart};

/// The answer so far, and how much of it was handed to the writer.
#[derive(Default)]
pub struct AnswerContents {
    pub text: Vec<u8>,
    text_flushed: usize,
    pub reasoning: Vec<u8>,
    reasoning_flushed: usize,
    /// In the form of the record: one line of JSON each.
    pub tool_calls: Vec<u8>,
    tool_calls_flushed: usize,
    pub numbers: Numbers,
}

impl AnswerContents {
    /// Returns how many bytes were not handed to the writer yet.
    pub fn waiting(&self) -> usize {
        let of = |bytes: &[u8], flushed: usize| bytes.len() - flushed;
        of(&self.text, self.text_flushed)
            + of(&self.reasoning, self.reasoning_flushed)
            + of(&self.tool_calls, self.tool_calls_flushed)
    }

    /// Returns the parts that were not handed over yet, numbered from `next`.
    pub fn take(&mut self, next: &mut i64) -> Vec<NewPart> {
        let mut parts = Vec::new();
        for (kind, bytes, flushed) in [
            (rows::PART_REASONING, &self.reasoning, &mut self.reasoning_flushed),
            (rows::PART_ANSWER, &self.text, &mut self.text_flushed),
            (rows::PART_TOOL_CALLS, &self.tool_calls, &mut self.tool_calls_flushed),
        ] {
            if bytes.len() > *flushed {
                parts.push(NewPart { part: *next, kind, body: Bytes::copy_from_slice(&bytes[*flushed..]) });
                *next += 1;
                *flushed = bytes.len();
            }
        }
        parts
    }
}

/// Adds a call as a line of JSON, so that what was written before a crash can be read. Its arguments stay as the model wrote
/// them, because they may hold numbers that no Rust type does.
pub fn write_call(out: &mut Vec<u8>, call: &ToolCall) {
    let (id, name) = (Value::from(call.id.as_str()), Value::from(call.name.as_str()));
    let line = format!("{{\"id\":{id},\"name\":{name},\"arguments\":{}}}\n", call.arguments.get());
    out.extend_from_slice(line.as_bytes());
}

/// Returns the part `origin`. The salt and the address share it, because a row for each would cost many times their size.
pub fn origin(salt: &[u8; SALT_BYTES], address: Option<&str>) -> Bytes {
    let mut origin = salt.to_vec();
    origin.extend_from_slice(address.unwrap_or_default().as_bytes());
    origin.into()
}

/// Returns the body without its images, and the images. `offset` counts in the whole body.
pub fn cut_images(call: &Call) -> (Bytes, Vec<NewImage>) {
    if call.images.is_empty() {
        return (call.body.clone(), Vec::new());
    }
    let mut body = Vec::with_capacity(call.body.len());
    let mut images = Vec::with_capacity(call.images.len());
    let mut from = 0;
    for image in &call.images {
        body.extend_from_slice(&call.body[from..image.offset]);
        from = image.offset + image.length;
        images.push(NewImage {
            offset: image.offset as i64,
            sha256: digest::digest(&digest::SHA256, &image.bytes).as_ref().to_vec(),
            body: image.bytes.clone(),
        });
    }
    body.extend_from_slice(&call.body[from..]);
    (body.into(), images)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{ImageAt, Reading};

    #[test]
    fn images_are_cut_out_and_their_offsets_count_in_the_whole_body() {
        let body = Bytes::from_static(b"[\"QUJD\",\"REVG\"]");
        let call = Call {
            images: vec![
                ImageAt { offset: 2, length: 4, bytes: Bytes::from_static(b"ABC") },
                ImageAt { offset: 9, length: 4, bytes: Bytes::from_static(b"DEF") },
            ],
            ..Call::post("/api/chat", body, Reading::plain_chat(), "messages")
        };

        let (body, images) = cut_images(&call);

        assert_eq!(&body[..], b"[\"\",\"\"]");
        assert_eq!(images.iter().map(|image| image.offset).collect::<Vec<_>>(), [2, 9]);
    }
}
