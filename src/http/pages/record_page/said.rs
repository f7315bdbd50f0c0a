//! What was said in a request, read from the body as it was forwarded: its messages, and the images in them.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::pages::format::bytes;

/// One message, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SaidMessage {
    /// `system`, `user`, `assistant`, `tool`; of requests without messages `prompt`, `suffix` or `text`.
    pub role: String,
    pub text: String,
    pub reasoning: String,
    /// Calls of functions: `read_log({"last": 200})`.
    pub calls: Vec<String>,
    pub images: Vec<SaidImage>,
}

/// An image of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct SaidImage {
    /// Counted over all messages, from 1.
    pub number: usize,
    pub kind: ImageKind,
    pub bytes: usize,
}

/// What an image is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    Png,
    Jpeg,
    WebP,
    Gif,
    /// It is never shown.
    Other,
}

impl SaidImage {
    pub fn size(&self) -> String {
        bytes(u64::try_from(self.bytes).unwrap_or(u64::MAX))
    }
}

impl ImageKind {
    fn of(begin: &[u8]) -> ImageKind {
        match begin {
            [0x89, b'P', b'N', b'G', ..] => ImageKind::Png,
            [0xff, 0xd8, 0xff, ..] => ImageKind::Jpeg,
            [b'G', b'I', b'F', b'8', ..] => ImageKind::Gif,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ImageKind::WebP,
            _ => ImageKind::Other,
        }
    }

    /// Returns the type that browsers are told; `None`: they are not shown it.
    pub fn media_type(self) -> Option<&'static str> {
        match self {
            ImageKind::Png => Some("image/png"),
            ImageKind::Jpeg => Some("image/jpeg"),
            ImageKind::WebP => Some("image/webp"),
            ImageKind::Gif => Some("image/gif"),
            ImageKind::Other => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            ImageKind::Png => "PNG",
            ImageKind::Jpeg => "JPEG",
            ImageKind::WebP => "WebP",
            ImageKind::Gif => "GIF",
            ImageKind::Other => "of an unknown kind",
        }
    }
}

/// A chat, a completion or an embedding, as it was forwarded.
#[derive(Deserialize)]
struct ForwardedBody<'a> {
    #[serde(default, borrow)]
    messages: Vec<ForwardedMessage<'a>>,
    prompt: Option<String>,
    suffix: Option<String>,
    #[serde(default)]
    input: Vec<String>,
}

#[derive(Deserialize)]
struct ForwardedMessage<'a> {
    role: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    thinking: String,
    #[serde(default, borrow)]
    images: Vec<Cow<'a, str>>,
    #[serde(default, borrow)]
    tool_calls: Vec<ForwardedCall<'a>>,
    tool_name: Option<String>,
}

#[derive(Deserialize)]
struct ForwardedCall<'a> {
    #[serde(borrow)]
    function: NamedCall<'a>,
}

#[derive(Deserialize)]
struct NamedCall<'a> {
    name: String,
    /// The text as the client wrote it: it may be nested deeper than any type.
    #[serde(borrow)]
    arguments: &'a RawValue,
}

impl NamedCall<'_> {
    fn shown(&self) -> String {
        format!("{}({})", self.name, self.arguments.get())
    }
}

/// Returns the messages of a forwarded body; none of a body that is something else.
pub fn messages(body: &str) -> Vec<SaidMessage> {
    let Ok(forwarded) = serde_json::from_str::<ForwardedBody<'_>>(body) else { return Vec::new() };
    let mut number = 0;
    let mut said: Vec<SaidMessage> = forwarded
        .messages
        .into_iter()
        .map(|message| SaidMessage {
            role: match message.tool_name {
                Some(name) => format!("{} {name}", message.role),
                None => message.role,
            },
            text: message.content,
            reasoning: message.thinking,
            calls: message.tool_calls.iter().map(|call| call.function.shown()).collect(),
            images: message
                .images
                .iter()
                .map(|image| {
                    number += 1;
                    SaidImage { number, kind: kind_of(image), bytes: decoded_length(image) }
                })
                .collect(),
        })
        .collect();
    let of = |role: &str, text: String| SaidMessage { role: role.to_owned(), text, ..SaidMessage::default() };
    said.extend(forwarded.prompt.map(|text| of("prompt", text)));
    said.extend(forwarded.suffix.map(|text| of("suffix", text)));
    said.extend(forwarded.input.into_iter().map(|text| of("text", text)));
    said
}

/// Returns an image of a forwarded body by its number, if it is one that browsers may be shown.
pub fn image(body: &str, number: usize) -> Option<(&'static str, Vec<u8>)> {
    let forwarded: ForwardedBody<'_> = serde_json::from_str(body).ok()?;
    let mut images = forwarded.messages.iter().flat_map(|message| &message.images);
    let image = images.nth(number.checked_sub(1)?)?;
    let media_type = kind_of(image).media_type()?;
    Some((media_type, STANDARD.decode(image.as_bytes()).ok()?))
}

/// Returns the calls of an answer, one a line. `calls` is JSON, as the record tells it.
pub fn calls(calls: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<NamedCall<'_>>>(calls) {
        Ok(calls) => calls.iter().map(NamedCall::shown).collect(),
        Err(_) if calls.is_empty() => Vec::new(),
        Err(_) => vec![calls.to_owned()],
    }
}

fn kind_of(base64: &str) -> ImageKind {
    // 24 letters are 18 bytes.
    let begin = base64.get(..24).and_then(|begin| STANDARD.decode(begin).ok());
    begin.map_or(ImageKind::Other, |begin| ImageKind::of(&begin))
}

fn decoded_length(base64: &str) -> usize {
    (base64.len() / 4 * 3).saturating_sub(base64.bytes().rev().take_while(|letter| *letter == b'=').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_in_order_with_their_calls_and_images() {
        let png = STANDARD.encode([&[0x89, b'P', b'N', b'G'][..], &[0; 20]].concat());
        let odd = STANDARD.encode([7; 25]);
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"system","content":"be kind"}},
               {{"role":"user","content":"look","images":["{png}"]}},
               {{"role":"assistant","content":"","thinking":"hm","tool_calls":[{{"function":{{"index":0,"name":"f","arguments":{{"a": 1}}}}}}]}},
               {{"role":"tool","content":"7","tool_name":"f"}},{{"role":"user","content":"and","images":["{odd}"]}}]}}"#
        );

        let said = messages(&body);

        let roles: Vec<&str> = said.iter().map(|message| message.role.as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool f", "user"]);
        assert_eq!(said[1].images, [SaidImage { number: 1, kind: ImageKind::Png, bytes: 24 }]);
        assert_eq!((said[2].reasoning.as_str(), said[2].calls.as_slice()), ("hm", &[r#"f({"a": 1})"#.to_owned()][..]));
        assert_eq!(said[4].images, [SaidImage { number: 2, kind: ImageKind::Other, bytes: 25 }]);
        assert_eq!(image(&body, 1).map(|(kind, bytes)| (kind, bytes.len())), Some(("image/png", 24)));
        assert_eq!([image(&body, 0), image(&body, 2), image(&body, 3)], [None, None, None]);
    }

    #[test]
    fn a_completion_an_embedding_and_something_else() {
        let of = |body: &str| messages(body).into_iter().map(|one| (one.role, one.text)).collect::<Vec<_>>();
        let is = |role: &str, text: &str| (role.to_owned(), text.to_owned());

        assert_eq!(of(r#"{"prompt":"The sea","suffix":"."}"#), [is("prompt", "The sea"), is("suffix", ".")]);
        assert_eq!(of(r#"{"input":["one","two"]}"#), [is("text", "one"), is("text", "two")]);
        assert_eq!(of("no JSON"), []);
        assert_eq!(of(""), []);
    }

    #[test]
    fn calls_of_an_answer_are_lines_and_what_is_not_understood_stays() {
        assert_eq!(calls(r#"[{"id":"1","name":"f","arguments":{"a": 1}}]"#), [r#"f({"a": 1})"#]);
        assert_eq!(calls(""), Vec::<String>::new());
        assert_eq!(calls("{broken"), ["{broken"]);
    }

    #[test]
    fn only_pictures_that_browsers_know_are_shown() {
        for (begin, kind) in [
            (&b"\x89PNG\r\n\x1a\n"[..], ImageKind::Png),
            (b"\xff\xd8\xff\xe0", ImageKind::Jpeg),
            (b"GIF89a", ImageKind::Gif),
            (b"RIFF\0\0\0\0WEBP", ImageKind::WebP),
            (b"RIFF\0\0\0\0WAVE", ImageKind::Other),
            (b"<svg xmlns=", ImageKind::Other),
            (b"", ImageKind::Other),
        ] {
            assert_eq!(ImageKind::of(begin), kind);
        }
        assert_eq!(ImageKind::Other.media_type(), None);
    }
}
