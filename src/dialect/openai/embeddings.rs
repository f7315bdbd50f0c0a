//! OpenAI's embeddings: texts in, numbers out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use crate::base::error::Error;
use crate::dialect::json::values::Integer;
use crate::dialect::json::{self, At, Ignored, NoEffect, Object, Sent};
use crate::dialect::openai::parse_model;
use crate::dialect::openai::texts::{self, Texts};
use crate::dialect::{Continuation, Decoded, Delivery, Encoder, wire};
use crate::model::chat::{ChatEvent, ChatReply};
use crate::model::embed::{EmbedRequest, Embedding};
use crate::model::too_long::TooLong;
use crate::model::work::Work;

/// OpenAI's own limit.
const TEXTS_MAX: usize = 2048;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    model: Option<String>,
    /// An empty input is one that can't be answered.
    input: Sent<Texts>,
    dimensions: Option<Integer<1, { u32::MAX as i64 }>>,
    encoding_format: Option<Form>,
    user: NoEffect,
}

pub fn decode(body: Object<'_>) -> Result<Decoded, Error> {
    let mut ignored = Ignored::default();
    let body: Body = json::read_body(body, &mut ignored)?;
    let model = parse_model(body.model)?;
    let texts =
        body.input.0.ok_or_else(|| Error::invalid("input", "`input` is missing; send a text or a list of texts"))?;
    let texts = check_texts(texts, &At::Body.key("input"))?;
    let dimensions = body.dimensions.map(|Integer(count)| count as u32);
    Ok(Decoded {
        reply: Box::new(OpenAiAnswer {
            model: model.as_str().to_owned(),
            form: body.encoding_format.unwrap_or_default(),
        }),
        // OpenAI's clients expect an error, not the numbers of a text whose end was cut off.
        work: Work::Embed(EmbedRequest {
            model,
            texts,
            dimensions,
            too_long: Some(TooLong::Refuse),
            prompt_field: "input",
        }),
        delivery: Delivery::Whole,
        ignored: ignored.into_names(),
        credential: None,
        continuation: Continuation::default(),
    })
}

fn check_texts(input: Texts, at: &At<'_>) -> Result<Vec<String>, Error> {
    if input.has_tokens() {
        return Err(at.unsupported(
            "holds token numbers, which only the tokenizer of one family of models makes; send texts (with \
             LangChain's `OpenAIEmbeddings`, set `check_embedding_ctx_length=False`)",
        ));
    }
    let texts = match input {
        Texts::One(text) if text.is_empty() => return Err(at.invalid("is empty; send a text")),
        Texts::One(text) => return Ok(vec![text]),
        Texts::Several(items) => items.into_iter().filter_map(texts::Item::text).collect::<Vec<_>>(),
    };
    if texts.is_empty() {
        return Err(at.invalid("is empty; send at least one text"));
    }
    if texts.len() > TEXTS_MAX {
        return Err(at.invalid(format_args!("may hold at most {TEXTS_MAX} texts")));
    }
    if let Some(number) = texts.iter().position(String::is_empty) {
        return Err(at.index(number).invalid("is empty; send a text"));
    }
    Ok(texts)
}

/// How numbers are written.
#[derive(Clone, Copy, Default, Deserialize)]
enum Form {
    #[default]
    #[serde(rename = "float")]
    Numbers,
    /// Little-endian floats of 32 bits: what OpenAI's own clients ask for unless told otherwise.
    #[serde(rename = "base64")]
    Base64,
}

struct OpenAiAnswer {
    model: String,
    form: Form,
}

impl Encoder for OpenAiAnswer {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut) {
        let form = self.form;
        let items = reply.embeddings.iter().enumerate();
        let data =
            items.map(|(index, numbers)| Item { object: "embedding", index, embedding: Vector::of(numbers, form) });
        let tokens = reply.end.usage.prompt_tokens;
        let usage = Usage { prompt_tokens: tokens, total_tokens: tokens };
        wire::put_json(out, &List { object: "list", data: data.collect(), model: &self.model, usage });
    }

    /// Embeddings are never streamed.
    fn event(&mut self, _: &ChatEvent, _: &mut BytesMut) {}

    fn error(&mut self, _: &Error, _: &mut BytesMut) {}

    fn heartbeat(&mut self, _: &mut BytesMut) {}
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Item<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Item<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Numbers(&'a [f32]),
    Base64(String),
}

impl<'a> Vector<'a> {
    fn of(embedding: &'a Embedding, form: Form) -> Self {
        match form {
            Form::Numbers => Vector::Numbers(&embedding.0),
            Form::Base64 => Vector::Base64(STANDARD.encode(embedding.bytes())),
        }
    }
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &str) -> Result<EmbedRequest, Error> {
        let decoded = decode(json::read(format!(r#"{{"model":"m"{fields}}}"#).as_bytes(), &[])?)?;
        let Work::Embed(request) = decoded.work else { panic!("no embeddings") };
        Ok(request)
    }

    #[track_caller]
    fn refused(fields: &str, code: &str, field: &str) -> String {
        let error = read(fields).expect_err("a refusal");
        assert_eq!((error.code(), error.field()), (code, Some(field)), "{error}");
        error.to_string()
    }

    #[test]
    fn a_text_or_a_list_of_up_to_2048_texts_is_taken() {
        let list = |length| format!(r#","input":[{}]"#, vec!["\"a\""; length].join(","));

        assert_eq!(read(r#","input":"a b""#).unwrap().texts, ["a b"]);
        assert_eq!(read(r#","input":["a","b"]"#).unwrap().texts, ["a", "b"]);
        assert_eq!(read(&list(2048)).unwrap().texts.len(), 2048);
        refused(&list(2049), "invalid_request", "input");
    }

    #[test]
    fn what_is_no_text_is_refused_and_token_numbers_with_the_switch_of_the_client() {
        for (input, field) in [
            ("", "input"),
            (r#","input":null"#, "input"),
            (r#","input":"""#, "input"),
            (r#","input":[]"#, "input"),
            (r#","input":5"#, "input"),
            (r#","input":["a",""]"#, "input[1]"),
            (r#","input":["a",null]"#, "input[1]"),
            (r#","input":[{"a":1}]"#, "input[0]"),
        ] {
            refused(input, "invalid_request", field);
        }
        for tokens in ["[15339,1917]", "[[15339],[14957]]", r#"["a",5]"#] {
            let message = refused(&format!(r#","input":{tokens}"#), "unsupported_parameter", "input");
            assert!(message.contains("check_embedding_ctx_length=False"), "{message}");
        }
    }

    #[test]
    fn dimensions_are_one_or_more_and_empty_means_absent() {
        assert_eq!(read(r#","input":"a","dimensions":1"#).unwrap().dimensions, Some(1));
        assert_eq!(read(r#","input":"a","dimensions":null"#).unwrap().dimensions, None);
        for bad in ["0", "-1", "1.5", "\"8\"", "4294967296"] {
            refused(&format!(r#","input":"a","dimensions":{bad}"#), "invalid_request", "dimensions");
        }
        for absent in ["null", "\"\"", "[]"] {
            read(&format!(r#","input":"a","dimensions":{absent},"encoding_format":{absent},"user":{absent}"#)).unwrap();
        }
        refused(r#","input":"a","encoding_format":"int8""#, "invalid_request", "encoding_format");
    }
}
