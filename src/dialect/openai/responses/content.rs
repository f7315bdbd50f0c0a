//! The contents of input items: a text, or a list of texts and images.

use std::borrow::Cow;

use serde::Deserialize;

use crate::base::error::Error;
use crate::dialect::image;
use crate::dialect::json::{At, Ignored, NoEffect, Sent, Unread};
use crate::model::chat::{Image, Part};

#[derive(Deserialize)]
pub enum ItemParts<'a> {
    #[serde(rename = "a string")]
    Text(String),
    #[serde(rename = "an array of parts", borrow)]
    Parts(Vec<ItemPart<'a>>),
}

/// A part of a content, before its `type` says which field counts.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct ItemPart<'a> {
    /// Citations and probabilities of an earlier answer, which come back with it.
    annotations: Unread,
    detail: Option<String>,
    /// Fields of files, which are refused by their `type`.
    file_data: Unread,
    file_id: Unread,
    file_url: Unread,
    filename: Unread,
    #[serde(borrow)]
    image_url: Sent<ImageUri<'a>>,
    input_audio: Unread,
    logprobs: Unread,
    prompt_cache_breakpoint: NoEffect,
    refusal: Sent<String>,
    text: Sent<String>,
    r#type: Option<String>,
}

/// A data URI. It may hold megabytes, so it is not copied from the body.
#[derive(Deserialize)]
struct ImageUri<'a>(#[serde(borrow)] Cow<'a, str>);

/// Returns the parts of a content. A text is one part, also when it is empty.
pub fn read_content(content: ItemParts<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Part>, Error> {
    let wire = match content {
        ItemParts::Text(text) => return Ok(vec![Part::Text(text)]),
        ItemParts::Parts(wire) => wire,
    };
    let mut parts = Vec::with_capacity(wire.len());
    for (number, part) in wire.into_iter().enumerate() {
        parts.push(read_part(part, &at.index(number), ignored)?);
    }
    Ok(parts)
}

fn read_part(part: ItemPart<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Part, Error> {
    let (name, text) = match part.r#type.as_deref() {
        // A client that changes over from chat completions may write `text`.
        Some("input_text" | "output_text" | "text") => ("text", part.text),
        Some("refusal") => ("refusal", part.refusal),
        Some("input_image") => return read_image(part, at, ignored),
        Some("input_audio") => return Err(at.unsupported("is sound, which is not offered; send text")),
        Some("input_file") => return Err(at.unsupported("is a file, which is not offered; send its text")),
        Some(_) => return Err(at.key("type").invalid("must be `input_text`, `input_image` or `output_text`")),
        None => return Err(at.key("type").invalid("is missing; send `input_text`, `input_image` or `output_text`")),
    };
    text.0.map(Part::Text).ok_or_else(|| at.key(name).invalid("is missing; send a string"))
}

fn read_image(part: ItemPart<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Part, Error> {
    // The upstream scales images as its models want them.
    if part.detail.is_some_and(|detail| detail != "auto") {
        ignored.add("input[].content[].detail");
    }
    let at = at.key("image_url");
    let uri = part.image_url.0.ok_or_else(|| at.invalid("is missing; send `data:image/png;base64,…`"))?;
    Ok(Part::Image(Image { bytes: image::of_uri(&uri.0, &at)?, field: at.to_string() }))
}
