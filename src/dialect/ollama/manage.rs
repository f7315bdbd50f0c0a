//! Changes of models in Ollama's own API: pull, push, create, copy, delete, and files for models.

use std::collections::BTreeMap;

use bytes::BytesMut;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::base::error::Error;
use crate::base::text::is_hidden;
use crate::dialect::json::values::NotOffered;
use crate::dialect::json::{self, At, Ignored, Sent};
use crate::dialect::native::answer::ErrorLine;
use crate::dialect::{ChangeAnswer, DecodedChange, Manage, ManageRequest, surrogates, wire};
use crate::model::manage::{BlobDigest, ChangeStep, ModelChange, NewModel, ParameterValue};
use crate::model::model_name::ModelName;

const fn change(read: fn(&[u8]) -> Result<DecodedChange, Error>) -> Manage {
    managing(ManageRequest::Change(read))
}

const fn managing(asks: ManageRequest) -> Manage {
    Manage { asks, step: put_step, error: put_error, content_type: wire::NDJSON }
}

pub static PULL: Manage = change(pull);
pub static PUSH: Manage = change(push);
pub static CREATE: Manage = change(create);
pub static COPY: Manage = change(copy);
pub static DELETE: Manage = change(delete);
pub static UPLOAD: Manage = managing(ManageRequest::Upload(digest));
pub static HAS_FILE: Manage = managing(ManageRequest::HasFile(digest));

/// Bounds of what a model is made from, for each kind of list.
const ENTRIES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 256;

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireModel {
    /// A registry without TLS, or with a certificate that nobody vouches for.
    insecure: Option<bool>,
    model: Option<String>,
    /// What older clients call it.
    name: Option<String>,
    password: Option<NotOffered>,
    stream: Option<bool>,
    username: Option<NotOffered>,
}

fn pull(body: &[u8]) -> Result<DecodedChange, Error> {
    of_registry(body, ModelChange::Pull)
}

fn push(body: &[u8]) -> Result<DecodedChange, Error> {
    of_registry(body, ModelChange::Push)
}

fn of_registry(body: &[u8], change: fn(ModelName) -> ModelChange) -> Result<DecodedChange, Error> {
    let (body, ignored) = read::<WireModel>(body)?;
    if body.insecure == Some(true) {
        let why = "may only be `false`: the model would come over a connection that is not checked; leave it out";
        return Err(At::Body.key("insecure").unsupported(why));
    }
    let change = change(model_of(body.model, body.name)?);
    Ok(DecodedChange { change, answer: answer(body.stream), ignored })
}

fn delete(body: &[u8]) -> Result<DecodedChange, Error> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Body {
        model: Option<String>,
        name: Option<String>,
    }
    let (body, ignored) = read::<Body>(body)?;
    let change = ModelChange::Delete(model_of(body.model, body.name)?);
    Ok(DecodedChange { change, answer: ChangeAnswer::Status, ignored })
}

fn copy(body: &[u8]) -> Result<DecodedChange, Error> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Body {
        destination: Option<String>,
        source: Option<String>,
    }
    let (body, ignored) = read::<Body>(body)?;
    let source = named("source", body.source)?;
    let destination = named("destination", body.destination)?;
    Ok(DecodedChange { change: ModelChange::Copy { source, destination }, answer: ChangeAnswer::Status, ignored })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireCreate {
    adapters: Option<BTreeMap<String, String>>,
    files: Option<BTreeMap<String, String>>,
    from: Option<String>,
    info: Option<NotOffered>,
    license: Option<WireLicense>,
    messages: Option<Vec<WireMessage>>,
    model: Option<String>,
    /// What the file of a model was called by older clients.
    modelfile: Option<NotInUse>,
    name: Option<String>,
    parameters: Option<BTreeMap<String, WireParameter>>,
    parser: Option<String>,
    path: Option<NotInUse>,
    quantization: Option<String>,
    quantize: Option<String>,
    /// Such a model would send its prompts there.
    remote_host: Option<NotOffered>,
    renderer: Option<String>,
    requires: Option<String>,
    stream: Option<bool>,
    system: Sent<String>,
    template: Sent<String>,
}

/// A field of older clients.
#[derive(Debug)]
struct NotInUse;

impl<'de> Deserialize<'de> for NotInUse {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(json::typed::unsupported("is out of use; send `from` or `files`, `template`, `system` and `parameters`"))
    }
}

#[derive(Deserialize)]
enum WireLicense {
    #[serde(rename = "a string")]
    One(String),
    #[serde(rename = "an array of strings")]
    Several(Vec<String>),
}

#[derive(Deserialize)]
enum WireParameter {
    #[serde(rename = "a boolean")]
    Flag(bool),
    #[serde(rename = "a number")]
    Number(f64),
    #[serde(rename = "a string")]
    Text(String),
    #[serde(rename = "an array of strings")]
    Texts(Vec<String>),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireMessage {
    content: String,
    images: Option<NotOffered>,
    role: String,
    tool_calls: Option<NotOffered>,
}

fn create(body: &[u8]) -> Result<DecodedChange, Error> {
    let (body, ignored) = read::<WireCreate>(body)?;
    let model = model_of(body.model, body.name)?;
    let from = body.from.map(|from| named("from", Some(from))).transpose()?;
    let files = files(body.files, "files")?;
    if from.is_none() && files.is_empty() {
        return Err(Error::invalid("from", "`from` and `files` are missing; say what the model is made from"));
    }
    let new = NewModel {
        model,
        from,
        files,
        adapters: self::files(body.adapters, "adapters")?,
        template: body.template.0,
        system: body.system.0,
        licenses: match body.license {
            None => Vec::new(),
            Some(WireLicense::One(text)) => vec![text],
            Some(WireLicense::Several(texts)) => texts,
        },
        parameters: parameters(body.parameters.unwrap_or_default())?,
        messages: messages(body.messages.unwrap_or_default())?,
        quantize: word("quantize", body.quantize.or(body.quantization))?,
        renderer: word("renderer", body.renderer)?,
        parser: word("parser", body.parser)?,
        requires: word("requires", body.requires)?,
    };
    let change = ModelChange::Create(Box::new(new));
    Ok(DecodedChange { change, answer: answer(body.stream), ignored })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<(T, Vec<String>), Error> {
    let body = surrogates::mended(body);
    let mut ignored = Ignored::default();
    let read = json::read_body(json::read(&body, &[])?, &mut ignored)?;
    Ok((read, ignored.into_names()))
}

/// Returns how the client wants to hear of the change: step by step, unless it says otherwise.
fn answer(stream: Option<bool>) -> ChangeAnswer {
    if stream.unwrap_or(true) { ChangeAnswer::Stream } else { ChangeAnswer::Last }
}

fn model_of(model: Option<String>, name: Option<String>) -> Result<ModelName, Error> {
    match (model, name) {
        (Some(model), Some(name)) if model != name => {
            Err(Error::invalid("name", "`model` and `name` differ; send `model` alone"))
        }
        (model, name) => named("model", model.or(name)),
    }
}

fn named(field: &'static str, name: Option<String>) -> Result<ModelName, Error> {
    let name = name.ok_or_else(|| Error::invalid(field, format!("`{field}` is missing; name a model")))?;
    ModelName::parse(&name).map_err(|error| match error {
        Error::Invalid { message, .. } => Error::invalid(field, message.replacen("`model`", &format!("`{field}`"), 1)),
        other => other,
    })
}

fn files(files: Option<BTreeMap<String, String>>, field: &'static str) -> Result<Vec<(String, BlobDigest)>, Error> {
    let files = files.unwrap_or_default();
    check_count(field, files.len())?;
    let read = |(name, digest): (String, String)| {
        let at = At::Body.key(field);
        if !is_file_name(&name) {
            let why = format!("has a name that is none of a file below a folder, of at most {NAME_BYTES_MAX} bytes");
            return Err(at.invalid(why));
        }
        let digest = BlobDigest::parse(field, &digest)?;
        Ok((name, digest))
    };
    files.into_iter().map(read).collect()
}

/// Returns whether a name stays below its folder wherever it is looked for.
fn is_file_name(name: &str) -> bool {
    let is_step = |step: &str| !step.is_empty() && step != "." && step != "..";
    name.len() <= NAME_BYTES_MAX
        && name.split('/').all(is_step)
        && !name.contains(['\\', ':'])
        && !name.chars().any(|letter| letter.is_control() || is_hidden(letter))
}

fn parameters(sent: BTreeMap<String, WireParameter>) -> Result<Vec<(String, ParameterValue)>, Error> {
    check_count("parameters", sent.len())?;
    let read = |(name, value): (String, WireParameter)| {
        if !is_word(&name) {
            return Err(At::Body.key("parameters").invalid("has a name that is none of an option"));
        }
        let value = match value {
            WireParameter::Flag(value) => ParameterValue::Flag(value),
            WireParameter::Number(value) => number(value),
            WireParameter::Text(value) => ParameterValue::Text(value),
            WireParameter::Texts(values) => ParameterValue::Texts(values),
        };
        Ok((name, value))
    };
    sent.into_iter().map(read).collect()
}

/// Returns a number as it is written: `4096`, and not `4096.0`.
fn number(value: f64) -> ParameterValue {
    // Up to here a float holds every integer exactly.
    if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
        ParameterValue::Whole(value as i64)
    } else {
        ParameterValue::Number(value)
    }
}

fn messages(sent: Vec<WireMessage>) -> Result<Vec<(String, String)>, Error> {
    check_count("messages", sent.len())?;
    let read = |(number, message): (usize, WireMessage)| {
        if !["system", "user", "assistant"].contains(&message.role.as_str()) {
            let messages = At::Body.key("messages");
            let at = messages.index(number);
            return Err(at.key("role").invalid("must be one of `system`, `user`, `assistant`"));
        }
        Ok((message.role, message.content))
    };
    sent.into_iter().enumerate().map(read).collect()
}

fn check_count(field: &'static str, count: usize) -> Result<(), Error> {
    if count > ENTRIES_MAX {
        return Err(At::Body.key(field).invalid(format_args!("may have at most {ENTRIES_MAX} entries")));
    }
    Ok(())
}

fn word(field: &'static str, text: Option<String>) -> Result<Option<String>, Error> {
    match text {
        Some(text) if !is_word(&text) => {
            Err(At::Body.key(field).invalid("must be at most 64 letters, digits and `. _ -`"))
        }
        text => Ok(text),
    }
}

fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn digest(id: &str) -> Result<BlobDigest, Error> {
    BlobDigest::parse("digest", id)
}

fn put_step(step: &ChangeStep, out: &mut BytesMut) {
    #[derive(Serialize)]
    struct WireStep<'a> {
        status: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        completed: Option<u64>,
    }
    let ChangeStep { status, digest, bytes_total, bytes_done } = step;
    let step = WireStep { status, digest: digest.as_deref(), total: *bytes_total, completed: *bytes_done };
    wire::put_line(out, &step);
}

fn put_error(error: &Error, out: &mut BytesMut) {
    wire::put_line(out, &ErrorLine { error: error.to_string() });
}

#[cfg(test)]
mod tests;
