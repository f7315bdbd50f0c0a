//! Changes of Ollama's models: the requests, and the lines in which it reports them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::base::error::Error;
use crate::model::manage::{BlobDigest, ChangeStep, ModelChange, NewModel, ParameterValue};
use crate::model::model_name::ModelName;
use crate::provider::ollama::failure::{mid_stream_error, refused};
use crate::provider::wire::Lines;
use crate::provider::{ChangeCall, ChangeDecoder, ChangeReading, Headers, Method, Query};

/// A report is a few words and numbers.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The longest texts of a step that are passed on.
const STATUS_CHARS_MAX: usize = 500;

pub fn change(change: &ModelChange) -> ChangeCall {
    match change {
        ModelChange::Pull(model) => steps("/api/pull", named(model)),
        ModelChange::Push(model) => steps("/api/push", named(model)),
        ModelChange::Create(new) => steps("/api/create", json_bytes(&WireCreate::of(new))),
        ModelChange::Copy { source, destination } => {
            let body = json!({ "source": source.as_str(), "destination": destination.as_str() });
            status(Method::Post, "/api/copy", body.to_string().into())
        }
        ModelChange::Delete(model) => {
            status(Method::Delete, "/api/delete", json!({ "model": model.as_str() }).to_string().into())
        }
        ModelChange::Upload(digest) => ChangeCall {
            method: Method::Post,
            path: blob_path(digest).into(),
            body: None,
            reading: ChangeReading::Status,
        },
    }
}

pub fn blob_query(digest: &BlobDigest) -> Query {
    let path = blob_path(digest).into();
    Query { method: Method::Head, path, headers: Headers::new(), body: Bytes::new() }
}

fn blob_path(digest: &BlobDigest) -> String {
    format!("/api/blobs/{digest}")
}

/// A change that Ollama reports line by line: it is always asked to, so that one that hangs is noticed.
fn steps(path: &'static str, body: Bytes) -> ChangeCall {
    ChangeCall { method: Method::Post, path: path.into(), body: Some(body), reading: ChangeReading::Steps }
}

fn status(method: Method, path: &'static str, body: Bytes) -> ChangeCall {
    ChangeCall { method, path: path.into(), body: Some(body), reading: ChangeReading::Status }
}

fn named(model: &ModelName) -> Bytes {
    json!({ "model": model.as_str(), "stream": true }).to_string().into()
}

fn json_bytes(value: &impl Serialize) -> Bytes {
    // What is written here has text for its keys, so that it can't fail.
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[derive(Serialize)]
struct WireCreate<'a> {
    model: &'a str,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    files: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    adapters: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    license: &'a [String],
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantize: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renderer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parser: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires: Option<&'a str>,
}

impl<'a> WireCreate<'a> {
    fn of(new: &'a NewModel) -> Self {
        let digests = |files: &[(String, BlobDigest)]| {
            files.iter().map(|(name, digest)| (name.clone(), digest.as_str().into())).collect()
        };
        let message = |(role, content): &(String, String)| json!({ "role": role, "content": content });
        WireCreate {
            model: new.model.as_str(),
            stream: true,
            from: new.from.as_ref().map(ModelName::as_str),
            files: digests(&new.files),
            adapters: digests(&new.adapters),
            template: new.template.as_deref(),
            system: new.system.as_deref(),
            license: &new.licenses,
            parameters: new.parameters.iter().map(|(name, value)| (name.clone(), parameter(value))).collect(),
            messages: new.messages.iter().map(message).collect(),
            quantize: new.quantize.as_deref(),
            renderer: new.renderer.as_deref(),
            parser: new.parser.as_deref(),
            requires: new.requires.as_deref(),
        }
    }
}

fn parameter(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::Flag(value) => json!(value),
        ParameterValue::Whole(value) => json!(value),
        ParameterValue::Number(value) => json!(value),
        ParameterValue::Text(value) => json!(value),
        ParameterValue::Texts(values) => json!(values),
    }
}

/// Reads `{"status":…}` lines, the last of which says `success`.
pub struct StepDecoder {
    lines: Lines,
    is_done: bool,
}

impl Default for StepDecoder {
    fn default() -> Self {
        StepDecoder { lines: Lines::bounded(LINE_BYTES_MAX), is_done: false }
    }
}

#[derive(Deserialize)]
struct WireStep {
    status: Option<String>,
    digest: Option<String>,
    total: Option<u64>,
    completed: Option<u64>,
    error: Option<Value>,
}

fn read(line: &[u8]) -> Result<ChangeStep, Error> {
    let line: WireStep =
        serde_json::from_slice(line).map_err(|_| refused("the model server's report of a change is not understood"))?;
    if let Some(error) = line.error {
        return Err(mid_stream_error(&error));
    }
    let cut = |text: String| text.chars().take(STATUS_CHARS_MAX).collect::<String>();
    let status = line.status.map(cut).ok_or_else(|| refused("a step of the model server's report has no status"))?;
    Ok(ChangeStep { status, digest: line.digest.map(cut), bytes_total: line.total, bytes_done: line.completed })
}

impl ChangeDecoder for StepDecoder {
    fn bytes(&mut self, chunk: &[u8], out: &mut Vec<ChangeStep>) -> Result<(), Error> {
        let StepDecoder { lines, is_done } = self;
        lines.feed(chunk, |line| {
            let step = read(line)?;
            *is_done = step.is_success();
            out.push(step);
            Ok(())
        })
    }

    fn end(&mut self, out: &mut Vec<ChangeStep>) -> Result<(), Error> {
        let StepDecoder { lines, is_done } = self;
        lines.finish(|line| {
            let step = read(line)?;
            *is_done = step.is_success();
            out.push(step);
            Ok(())
        })?;
        if *is_done { Ok(()) } else { Err(refused("the model server's report broke off before the change was done")) }
    }
}

/// For answers without a body.
pub struct StatusDecoder;

impl ChangeDecoder for StatusDecoder {
    fn bytes(&mut self, _: &[u8], _: &mut Vec<ChangeStep>) -> Result<(), Error> {
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<ChangeStep>) -> Result<(), Error> {
        out.push(ChangeStep::success());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ModelName {
        ModelName::parse(text).unwrap()
    }

    fn sent(change_asked: ModelChange) -> (Method, String, Value) {
        let call = change(&change_asked);
        let body = call.body.map_or(Value::Null, |body| serde_json::from_slice(&body).unwrap());
        (call.method, call.path.into_owned(), body)
    }

    fn digest() -> BlobDigest {
        BlobDigest::parse("digest", &format!("sha256:{}", "0".repeat(64))).unwrap()
    }

    #[test]
    fn changes_are_written_as_ollama_reads_them() {
        let pull = json!({ "model": "a/b:1", "stream": true });
        assert_eq!(sent(ModelChange::Pull(name("a/b:1"))), (Method::Post, "/api/pull".into(), pull.clone()));
        assert_eq!(sent(ModelChange::Push(name("a/b:1"))), (Method::Post, "/api/push".into(), pull));
        let delete = sent(ModelChange::Delete(name("a")));
        assert_eq!(delete, (Method::Delete, "/api/delete".into(), json!({ "model": "a" })));
        let copy = sent(ModelChange::Copy { source: name("a"), destination: name("b") });
        assert_eq!(copy, (Method::Post, "/api/copy".into(), json!({ "source": "a", "destination": "b" })));
        let upload = sent(ModelChange::Upload(digest()));
        assert_eq!(upload, (Method::Post, format!("/api/blobs/{}", digest()), Value::Null));
    }

    #[test]
    fn a_new_model_is_written_with_what_was_said_of_it_and_nothing_else() {
        let new = NewModel {
            model: name("new"),
            from: Some(name("old")),
            files: vec![("m.gguf".into(), digest())],
            adapters: Vec::new(),
            template: None,
            system: Some("Be brief.".into()),
            licenses: vec!["MIT".into()],
            parameters: vec![
                ("stop".into(), ParameterValue::Texts(vec!["x".into()])),
                ("num_ctx".into(), ParameterValue::Whole(4096)),
                ("temperature".into(), ParameterValue::Number(0.5)),
            ],
            messages: vec![("user".into(), "hi".into())],
            quantize: Some("q4_K_M".into()),
            renderer: None,
            parser: None,
            requires: None,
        };

        let (_, path, body) = sent(ModelChange::Create(Box::new(new)));

        assert_eq!(path, "/api/create");
        assert_eq!(
            body,
            json!({ "model": "new", "stream": true, "from": "old", "files": { "m.gguf": digest().as_str() },
                "system": "Be brief.", "license": ["MIT"],
                "parameters": { "stop": ["x"], "num_ctx": 4096, "temperature": 0.5 },
                "messages": [{ "role": "user", "content": "hi" }], "quantize": "q4_K_M" })
        );
    }

    fn read_all(chunks: &[&[u8]]) -> (Vec<ChangeStep>, Result<(), Error>) {
        let (mut decoder, mut out) = (StepDecoder::default(), Vec::new());
        for chunk in chunks {
            if let Err(error) = decoder.bytes(chunk, &mut out) {
                return (out, Err(error));
            }
        }
        let end = decoder.end(&mut out);
        (out, end)
    }

    const PULLED: &[u8] = b"{\"status\":\"pulling manifest\"}\n\
        {\"status\":\"pulling b179\",\"digest\":\"sha256:b179\",\"total\":100,\"completed\":7,\"more\":{}}\n\
        {\"status\":\"success\"}\n";

    #[test]
    fn a_report_is_the_same_however_its_bytes_are_split() {
        let whole = read_all(&[PULLED]);
        let single: Vec<&[u8]> = PULLED.chunks(1).collect();
        let sevens: Vec<&[u8]> = PULLED.chunks(7).collect();

        assert!(whole.1.is_ok() && read_all(&single).1.is_ok());
        assert_eq!(whole.0, read_all(&single).0);
        assert_eq!(whole.0, read_all(&sevens).0);
        assert_eq!(whole.0[1].bytes_total, Some(100));
        assert_eq!(whole.0[1].bytes_done, Some(7));
        // The last line may lack its end.
        assert!(read_all(&[b"{\"status\":\"success\"}"]).1.is_ok());
    }

    #[test]
    fn a_report_without_success_at_its_end_is_an_error() {
        let failed = |report: &[u8]| read_all(&[report]).1.unwrap_err().to_string();

        assert!(failed(b"").contains("broke off"));
        assert!(failed(b"{\"status\":\"success\"}\n{\"status\":\"writing manifest\"}\n").contains("broke off"));
        assert!(failed(b"{\"status\":\"pulling manifest\"}\n{\"error\":\"no such host\"}\n").contains("no such host"));
        assert!(failed(b"<html>\n").contains("not understood"));
        assert!(failed(b"{\"digest\":\"x\"}\n").contains("no status"));
        assert!(failed(&vec![b'x'; LINE_BYTES_MAX + 1]).contains("more than"));
    }

    #[test]
    fn long_texts_of_a_report_are_cut() {
        let line = format!("{{\"status\":\"{}\",\"digest\":\"{}\"}}\n", "s".repeat(600), "d".repeat(600));
        let (steps, _) = read_all(&[line.as_bytes()]);

        assert_eq!(steps[0].status.len(), STATUS_CHARS_MAX);
        assert_eq!(steps[0].digest.as_ref().unwrap().len(), STATUS_CHARS_MAX);
    }
}
