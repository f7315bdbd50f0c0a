//! Embeddings through Ollama's `/api/embed`: the request, and its answer, which comes in one piece.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::clock::UpstreamTime;
use crate::base::error::Error;
use crate::base::fields::Fields;
use crate::model::chat::{ChatEvent, End, Finish, Piece, Timings, Usage};
use crate::model::embed::{EmbedRequest, Embedding};
use crate::provider::ollama::count::{Count, count};
use crate::provider::ollama::failure::{mid_stream_error, refused};
use crate::provider::ollama::request::{put, put_field, put_truncate};
use crate::provider::{Call, Decoder, Reading};

pub fn call(request: &EmbedRequest, prompt_field: &'static str) -> Call {
    let mut out = b"{\"model\":".to_vec();
    put(&mut out, request.model.as_str());
    put_field(&mut out, "input", &request.texts);
    put_truncate(&mut out, request.too_long);
    if let Some(dimensions) = request.dimensions {
        put_field(&mut out, "dimensions", &dimensions);
    }
    out.push(b'}');
    let reading = Reading::Embeddings { texts: request.texts.len(), dimensions: request.dimensions };
    Call::post("/api/embed", out, reading, prompt_field)
}

/// The longest answer. 2,048 embeddings of 2,048 numbers fit in.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

pub struct EmbedDecoder {
    texts: usize,
    dimensions: Option<u32>,
    body: Vec<u8>,
    /// The body was read, or was too long.
    is_over: bool,
}

impl EmbedDecoder {
    /// Returns a decoder; the arguments are those of `Reading`.
    pub fn new(texts: usize, dimensions: Option<u32>) -> Self {
        EmbedDecoder { texts, dimensions, body: Vec::new(), is_over: false }
    }

    fn read(&self, out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let Fields(answer) = serde_json::from_slice::<Fields<Answer>>(&self.body)
            .map_err(|_| refused("the model server's answer is not understood"))?;
        if let Some(error) = answer.error {
            return Err(mid_stream_error(&error).about("input"));
        }
        let embeddings = answer.embeddings.unwrap_or_default();
        if embeddings.len() != self.texts {
            let message = format!("the model server sent {} embeddings for {} texts", embeddings.len(), self.texts);
            return Err(refused(message));
        }
        let sizes = || embeddings.iter().map(Vec::len);
        if sizes().any(|size| size == 0) || sizes().max() != sizes().min() {
            return Err(refused("the model server sent embeddings of different sizes"));
        }
        // Ollama returns what it has when more is requested.
        if let (Some(asked), Some(size)) = (self.dimensions, sizes().next())
            && size != asked as usize
        {
            let message = format!("`dimensions` is {asked}, but this model gives {size}; send at most that");
            return Err(Error::invalid("dimensions", message));
        }
        let push = |what| out.push(ChatEvent { at: UpstreamTime::EPOCH, what });
        let numbers = embeddings.into_iter().map(|numbers| numbers.into_iter().map(|Exact(number)| number).collect());
        let end = End {
            finish: Finish::Stop,
            usage: Usage { prompt_tokens: count(answer.prompt_eval_count), answer_tokens: 0 },
            timings: timings(count(answer.total_duration), count(answer.load_duration)),
        };
        numbers.map(|numbers| Piece::Embedding(Embedding(numbers))).chain([Piece::End(end)]).for_each(push);
        Ok(())
    }
}

/// Returns the timings. Ollama does not report the time for the prompt; it is what is left beside loading.
fn timings(total_ns: u64, load_ns: u64) -> Timings {
    Timings { total_ns, load_ns, prompt_ns: total_ns.saturating_sub(load_ns), answer_ns: 0 }
}

impl Decoder for EmbedDecoder {
    fn bytes(&mut self, chunk: &[u8], _: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if self.is_over || self.body.len() + chunk.len() > BODY_BYTES_MAX {
            self.is_over = true;
            return Err(refused(format!("the model server sent more than {BODY_BYTES_MAX} bytes of embeddings")));
        }
        self.body.extend_from_slice(chunk);
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if self.is_over {
            return Err(refused("the model server's answer is over already"));
        }
        let read = self.read(out);
        self.is_over = true;
        self.body = Vec::new();
        read
    }
}

#[derive(Deserialize)]
struct Answer {
    embeddings: Option<Vec<Vec<Exact>>>,
    error: Option<Value>,
    total_duration: Option<Count>,
    load_duration: Option<Count>,
    prompt_eval_count: Option<Count>,
}

/// A float that is parsed from its text directly. Parsed with 64 bits first, it could be rounded twice and differ in its last
/// bit.
struct Exact(f32);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        let number: f32 = text.parse().map_err(|_| de::Error::custom("not a number"))?;
        if number.is_finite() { Ok(Exact(number)) } else { Err(de::Error::custom("a number beyond 32 bits")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str, texts: usize, dimensions: Option<u32>) -> Result<Vec<Piece>, Error> {
        let mut decoder = EmbedDecoder::new(texts, dimensions);
        let mut out = Vec::new();
        for chunk in body.as_bytes().chunks(3) {
            decoder.bytes(chunk, &mut out)?;
        }
        decoder.end(&mut out)?;
        Ok(out.into_iter().map(|event| event.what).collect())
    }

    #[test]
    fn every_float_is_read_bit_by_bit() {
        // The last lies a hair above the middle between two floats: by way of 64 bits it would become the lower one.
        let written = "[-0.0,1e-45,3.4028235e38,0.1,1.00000005960464477540]";

        let pieces = decode(&format!(r#"{{"embeddings":[{written}]}}"#), 1, None).unwrap();

        let Piece::Embedding(Embedding(numbers)) = &pieces[0] else { panic!("{pieces:?}") };
        let bits: Vec<u32> = numbers.iter().map(|number| number.to_bits()).collect();
        assert_eq!(bits, [0x8000_0000, 1, 0x7f7f_ffff, 0x3dcc_cccd, 0x3f80_0001]);
    }

    #[test]
    fn an_answer_that_does_not_fit_the_question_is_refused() {
        for (body, texts, dimensions, code) in [
            (r#"{"embeddings":[]}"#, 1, None, "upstream_error"),
            (r#"{"embeddings":[[1],[2]]}"#, 1, None, "upstream_error"),
            (r#"{"embeddings":[[1],[2,3]]}"#, 2, None, "upstream_error"),
            (r#"{"embeddings":[[]]}"#, 1, None, "upstream_error"),
            (r#"{"embeddings":[[1e39]]}"#, 1, None, "upstream_error"),
            (r#"{"embeddings":[[null]]}"#, 1, None, "upstream_error"),
            (r#"{"embeddings":[["1"]]}"#, 1, None, "upstream_error"),
            (r#"{"embeddings":[[1]"#, 1, None, "upstream_error"),
            ("[[[1]],null,1,1,1]", 1, None, "upstream_error"),
            (r#"{"error":"the input length exceeds the context length"}"#, 1, None, "context_length_exceeded"),
            (r#"{"embeddings":[[1,2]]}"#, 1, Some(3), "invalid_request"),
        ] {
            assert_eq!(decode(body, texts, dimensions).unwrap_err().code(), code, "{body}");
        }
        assert!(decode(r#"{"embeddings":[[1,2]]}"#, 1, Some(2)).is_ok());
    }
}
