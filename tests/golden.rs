//! Translations, held against files: what clients and upstreams send, and what we make of it.
//!
//! `tests/golden/provider/<name>/<case>/` holds one of
//!   `answer.ndjson` (an upstream's stream)            -> `events.jsonl`; `reading.json` says how to read it, if not plainly
//!                   (a chat with a call that must be made, a completion, embeddings)
//!   `failure.txt`   (a status, then an error body)    -> `error.json`
//!   `tags.json`     (a list of models)                -> `models.json`
//!   `ps.json`       (the models in memory)            -> `loaded.json`
//! `tests/golden/dialect/<name>/<case>/` holds
//!   `request.json`  (a client's body)                 -> `decoded.json` and `forwarded.json`, or `refusal.txt`
//!   `events.jsonl`  (an answer, if there is one; of several, `choice` is its number) -> `answer.txt`
//! Cases named `real_…` hold bytes of a real Ollama 0.24. Outputs are written with `UPDATE_GOLDEN=1`; read the diff.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use bytes::BytesMut;
use lan_gateway::base::clock::{Timestamp, UpstreamTime};
use lan_gateway::base::error::Error;
use lan_gateway::dialect::{self, Decoded, Delivery, Dialect, Encoder, Reply};
use lan_gateway::model::chat::{
    ChatEvent, ChatReply, ChatRequest, End, Finish, Fold, Piece, Timings, TokenLogprob, ToolCall, Usage,
};
use lan_gateway::model::credential::Credential;
use lan_gateway::model::embed::Embedding;
use lan_gateway::model::provider_kind::ProviderKind;
use lan_gateway::model::work::Work;
use lan_gateway::provider::{self, Provider, Reading, ollama};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

#[path = "support/events.rs"]
mod events;
#[path = "support/garbage.rs"]
mod garbage;

use events::{Post, any_events, any_events_with_logprobs, request_id};
use garbage::{any_request, byte_changes, damage, damaged};

// --- Files ----------------------------------------------------------------------------------------------------------

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn folders(within: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(within).unwrap_or_else(|cause| panic!("{}: {cause}", within.display()));
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The outputs of all cases, compared at the end, so that one run shows everything that changed.
#[derive(Default)]
struct Outputs {
    compared: usize,
    problems: Vec<String>,
}

impl Outputs {
    fn hold(&mut self, case: &Path, file: &str, actual: &str) {
        self.compared += 1;
        let path = case.join(file);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, actual).unwrap();
            return;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != actual {
            self.problems.push(format!("{}\n--- expected\n{expected}\n--- actual\n{actual}", path.display()));
        }
    }

    /// An output of another kind must not lie about from an earlier day.
    fn leave_out(&mut self, case: &Path, files: &[&str]) {
        for path in files.iter().map(|file| case.join(file)).filter(|path| path.exists()) {
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::remove_file(&path).unwrap();
            } else {
                self.problems.push(format!("{} is no longer an output", path.display()));
            }
        }
    }

    fn judge(self) {
        assert!(self.compared > 0, "no golden case was found");
        assert!(self.problems.is_empty(), "UPDATE_GOLDEN=1 writes what follows\n\n{}", self.problems.join("\n\n"));
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

// --- Events as lines ------------------------------------------------------------------------------------------------

fn event_line(event: &ChatEvent) -> Value {
    let at = event.at.to_string();
    match &event.what {
        Piece::Text(text) => json!({"at": at, "text": text}),
        Piece::Reasoning(text) => json!({"at": at, "reasoning": text}),
        Piece::ToolCall(call) => {
            let arguments: Value = serde_json::from_str(call.arguments.get()).unwrap();
            json!({"at": at, "tool_call": {"id": call.id, "name": call.name, "arguments": arguments}})
        }
        Piece::Logprobs(tokens) => json!({"at": at, "logprobs": tokens.iter().map(token_line).collect::<Value>()}),
        Piece::Embedding(Embedding(numbers)) => json!({"at": at, "embedding": numbers}),
        Piece::End(End { finish, usage, timings }) => json!({"at": at, "end": {
            "finish": match finish { Finish::Stop => Value::from("stop"), Finish::Length => "length".into(), Finish::ToolCalls => "tool_calls".into(), Finish::StopSequence(number) => json!({ "stop_sequence": number }) },
            "prompt_tokens": usage.prompt_tokens, "answer_tokens": usage.answer_tokens,
            "total_ns": timings.total_ns, "load_ns": timings.load_ns,
            "prompt_ns": timings.prompt_ns, "answer_ns": timings.answer_ns,
        }}),
    }
}

fn token_line(token: &TokenLogprob) -> Value {
    let top: Value = token.top.iter().map(token_line).collect();
    json!({"token": token.token, "logprob": token.logprob, "bytes": token.bytes, "top": top})
}

fn read_token(line: &Value) -> TokenLogprob {
    TokenLogprob {
        token: line["token"].as_str().unwrap().to_owned(),
        logprob: line["logprob"].as_f64().unwrap(),
        bytes: serde_json::from_value(line["bytes"].clone()).unwrap(),
        top: line["top"].as_array().unwrap().iter().map(read_token).collect(),
    }
}

fn read_event(line: &Value) -> Result<ChatEvent, Error> {
    if let Some(error) = line.get("error") {
        return Err(Error::UpstreamRefused { message: error["message"].as_str().unwrap().to_owned() });
    }
    let at = UpstreamTime::parse(line["at"].as_str().unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let what = if let Some(content) = line.get("text") {
        Piece::Text(text(content))
    } else if let Some(reasoning) = line.get("reasoning") {
        Piece::Reasoning(text(reasoning))
    } else if let Some(call) = line.get("tool_call") {
        let arguments = RawValue::from_string(call["arguments"].to_string()).unwrap();
        Piece::ToolCall(ToolCall { id: text(&call["id"]), name: text(&call["name"]), arguments })
    } else if let Some(tokens) = line.get("logprobs") {
        Piece::Logprobs(tokens.as_array().unwrap().iter().map(read_token).collect())
    } else if let Some(numbers) = line.get("embedding") {
        Piece::Embedding(Embedding(serde_json::from_value(numbers.clone()).unwrap()))
    } else {
        let end = &line["end"];
        let count = |name: &str| end[name].as_u64().unwrap();
        Piece::End(End {
            finish: match end["finish"].as_str().unwrap_or("stop_sequence") {
                "stop_sequence" => Finish::StopSequence(end["finish"]["stop_sequence"].as_u64().unwrap() as usize),
                "stop" => Finish::Stop,
                "length" => Finish::Length,
                "tool_calls" => Finish::ToolCalls,
                other => panic!("{other}"),
            },
            usage: Usage { prompt_tokens: count("prompt_tokens"), answer_tokens: count("answer_tokens") },
            timings: Timings {
                total_ns: count("total_ns"),
                load_ns: count("load_ns"),
                prompt_ns: count("prompt_ns"),
                answer_ns: count("answer_ns"),
            },
        })
    };
    Ok(ChatEvent { at, what })
}

fn error_line(error: &Error) -> Value {
    json!({"error": {"code": error.code(), "field": error.field(), "message": error.to_string()}})
}

fn event_lines(events: &[ChatEvent], ended: &Result<(), Error>) -> String {
    let mut lines: String = events.iter().map(|event| format!("{}\n", event_line(event))).collect();
    if let Err(error) = ended {
        lines.push_str(&format!("{}\n", error_line(error)));
    }
    lines
}

// --- Providers ------------------------------------------------------------------------------------------------------

/// Feeds an answer in pieces, and then closes.
fn decode<'a>(
    provider: &dyn Provider,
    reading: &Reading,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<ChatEvent>, Result<(), Error>) {
    let mut decoder = provider.decoder(reading);
    let mut events = Vec::new();
    for chunk in chunks {
        if let Err(error) = decoder.bytes(chunk, &mut events) {
            return (events, Err(error));
        }
    }
    let ended = decoder.end(&mut events);
    (events, ended)
}

fn read_reading(case: &Path) -> Reading {
    let Ok(text) = fs::read_to_string(case.join("reading.json")) else { return Reading::plain_chat() };
    let reading: Value = serde_json::from_str(&text).unwrap();
    if reading == "completion" {
        return Reading::Completion;
    }
    if let Some(texts) = reading.get("texts") {
        let dimensions = reading["dimensions"].as_u64().map(|size| size as u32);
        return Reading::Embeddings { texts: texts.as_u64().unwrap() as usize, dimensions };
    }
    Reading::Chat {
        must_call: serde_json::from_value(reading["must_call"].clone()).unwrap(),
        one_call: reading["one_call"].as_bool().unwrap(),
        stops: serde_json::from_value(reading["stops"].clone()).unwrap_or_default(),
    }
}

/// The other way round; `None`: plainly.
fn reading_line(reading: &Reading) -> Option<Value> {
    match reading {
        Reading::Chat { must_call, one_call, stops } if *one_call || !must_call.is_empty() || !stops.is_empty() => {
            let mut line = json!({"must_call": must_call, "one_call": one_call});
            if !stops.is_empty() {
                line["stops"] = stops.clone().into();
            }
            Some(line)
        }
        Reading::Chat { .. } => None,
        Reading::Completion => Some("completion".into()),
        Reading::Embeddings { texts, dimensions } => Some(json!({"texts": texts, "dimensions": dimensions})),
    }
}

#[test]
fn providers_translate_as_their_files_say() {
    let mut outputs = Outputs::default();
    for folder in folders(&root().join("provider")) {
        let kind = ProviderKind::NAMED.iter().find(|(kind, _)| *kind == name(&folder));
        let provider = provider::of(kind.expect("a kind of provider of that name").1);
        for case in folders(&folder) {
            if let Ok(answer) = fs::read(case.join("answer.ndjson")) {
                let reading = read_reading(&case);
                let (events, ended) = decode(provider, &reading, [&answer[..]]);
                outputs.hold(&case, "events.jsonl", &event_lines(&events, &ended));
                for size in [1, 7] {
                    let (events, ended) = decode(provider, &reading, answer.chunks(size));
                    outputs.hold(&case, "events.jsonl", &event_lines(&events, &ended));
                }
            } else if let Ok(failure) = fs::read_to_string(case.join("failure.txt")) {
                let (status, body) = failure.split_once('\n').unwrap();
                let error = provider.failure(status.parse().unwrap(), body.trim_end_matches('\n').as_bytes());
                outputs.hold(&case, "error.json", &pretty(&error_line(&error)));
            } else if let Ok(ps) = fs::read(case.join("ps.json")) {
                let loaded: Value = provider
                    .loaded(&ps)
                    .unwrap()
                    .iter()
                    .map(|model| {
                        let until = model.until.map(Timestamp::rfc3339);
                        json!({"name": model.name.as_str(), "bytes": model.bytes, "gpu_bytes": model.gpu_bytes, "until": until})
                    })
                    .collect();
                outputs.hold(&case, "loaded.json", &pretty(&loaded));
            } else {
                let tags = fs::read(case.join("tags.json")).unwrap();
                let cards = provider.models(&tags).unwrap();
                let models: Value = cards
                    .iter()
                    .map(|card| json!({"name": card.name.as_str(), "modified_at": card.modified_at.rfc3339()}))
                    .collect();
                outputs.hold(&case, "models.json", &pretty(&models));
            }
        }
    }
    outputs.judge();
}

// --- Dialects -------------------------------------------------------------------------------------------------------

/// A folder of cases per route.
static DIALECTS: &[(&str, &dyn Dialect, &str)] = &[
    ("anthropic", &dialect::anthropic::Anthropic, "/v1/messages"),
    ("anthropic_count", &dialect::anthropic::Anthropic, "/v1/messages/count_tokens"),
    ("legacy", &dialect::legacy::Legacy, "/chat"),
    ("ollama", &dialect::ollama::Ollama, "/api/chat"),
    ("ollama_generate", &dialect::ollama::Ollama, "/api/generate"),
    ("ollama_embed", &dialect::ollama::Ollama, "/api/embed"),
    ("ollama_embeddings", &dialect::ollama::Ollama, "/api/embeddings"),
    ("openai", &dialect::openai::OpenAi, "/v1/chat/completions"),
    ("openai_completions", &dialect::openai::OpenAi, "/v1/completions"),
    ("openai_embeddings", &dialect::openai::OpenAi, "/v1/embeddings"),
    ("openai_responses", &dialect::openai::OpenAi, "/v1/responses"),
];

#[test]
fn dialects_translate_as_their_files_say() {
    let mut outputs = Outputs::default();
    for folder in folders(&root().join("dialect")) {
        let (_, dialect, path) =
            DIALECTS.iter().find(|(known, ..)| *known == name(&folder)).expect("a dialect of that name");
        for case in folders(&folder) {
            let request = fs::read(case.join("request.json")).unwrap();
            match dialect.decode(&Post { path }, &request) {
                Ok(decoded) => {
                    outputs.leave_out(&case, &["refusal.txt"]);
                    hold_decoded(&mut outputs, &case, decoded);
                }
                Err(error) => {
                    outputs.leave_out(&case, &["decoded.json", "forwarded.json", "answer.txt"]);
                    let reply = dialect.error(&error, &request_id());
                    outputs.hold(&case, "refusal.txt", &reply_text(&reply));
                }
            }
        }
    }
    outputs.judge();
}

fn hold_decoded(outputs: &mut Outputs, case: &Path, decoded: Decoded) {
    let Decoded { work, mut reply, delivery, ignored, credential, continuation: _ } = decoded;
    let call = ollama::OllamaProvider.call(&work).unwrap();
    let images: Vec<_> =
        call.images.iter().map(|image| json!({"offset": image.offset, "length": image.length})).collect();
    let credential = credential.map(|credential| match credential {
        Credential::Password { username, password } => format!("{username}:{}", password.expose()),
        Credential::Bearer(token) => format!("bearer {}", token.expose()),
    });
    let content_type = match delivery {
        Delivery::Whole | Delivery::Count => None,
        Delivery::Stream { content_type } => Some(content_type),
    };
    let mut decoded = json!({"stream": content_type, "ignored": ignored, "credential": credential, "images": images});
    if !call.notes.is_empty() {
        decoded["notes"] = call.notes.clone().into();
    }
    if let Some(reading) = reading_line(&call.reading) {
        decoded["reading"] = reading;
    }
    outputs.hold(case, "decoded.json", &pretty(&decoded));
    outputs.hold(case, "forwarded.json", &format!("{}\n", String::from_utf8(call.body.to_vec()).unwrap()));

    let Ok(events) = fs::read_to_string(case.join("events.jsonl")) else { return };
    let events = events.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["choice"].as_u64().unwrap_or(0) as usize, read_event(&line))
    });
    let mut out = BytesMut::new();
    match delivery {
        Delivery::Whole | Delivery::Count => {
            let events: Vec<_> = events.map(|(choice, event)| (choice, event.unwrap())).collect();
            let of = |wanted: u8| events.iter().filter(move |(choice, _)| *choice == usize::from(wanted));
            let replies: Vec<_> =
                (0..reply.choices()).map(|choice| fold(of(choice).map(|(_, event)| event.clone()))).collect();
            reply.whole_choices(&replies, &mut out);
        }
        Delivery::Stream { .. } => {
            reply.heartbeat(&mut out);
            for (choice, event) in events {
                match event {
                    Ok(event) => reply.choice_event(choice, &event, &mut out),
                    Err(error) => reply.error(&error, &mut out),
                }
            }
        }
    }
    outputs.hold(case, "answer.txt", std::str::from_utf8(&out).unwrap());
}

fn fold(events: impl IntoIterator<Item = ChatEvent>) -> ChatReply {
    let mut fold = Fold::default();
    for event in events {
        fold.add(event);
    }
    fold.finish().expect("an end mark")
}

fn reply_text(reply: &Reply) -> String {
    let mut text = format!("{}\n", reply.status);
    for (name, value) in &reply.headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push_str(&format!("Content-Type: {}\n\n{}\n", reply.content_type, std::str::from_utf8(&reply.body).unwrap()));
    text
}

#[test]
fn every_error_has_its_status_and_body_in_every_dialect() {
    let text = || String::from("what happened");
    let wait = Duration::from_millis(1500);
    let cause = || anyhow::anyhow!("the cause");
    let errors = [
        Error::invalid("messages[2].content", "what happened"),
        Error::unsupported("n", "what happened"),
        Error::ContextTooLong { field: "messages", message: text() },
        Error::Quarantined { message: text() },
        Error::Unauthenticated { message: text() },
        Error::Forbidden { message: text() },
        Error::TokenPaused { message: text() },
        Error::ModelNotFound { model: "m".into() },
        Error::NotFound { what: "user".into() },
        Error::UnknownRoute { message: text() },
        Error::MethodNotAllowed { method: "GET".into(), path: "/chat".into(), allow: "POST".into() },
        Error::Conflict { message: text() },
        Error::TooLarge { field: None, limit: 16 },
        Error::TooLarge { field: Some("messages"), limit: 16 },
        Error::EncodedBody { encoding: "gzip".into() },
        Error::Misdirected { host: "h".into() },
        Error::RateLimited { message: text(), retry_after: wait },
        Error::TokenSlowed { message: text(), retry_after: wait },
        Error::QuotaUsedUp { message: text(), retry_after: wait },
        Error::QueueFull { message: text(), retry_after: wait },
        Error::HostBusy { message: text(), retry_after: wait },
        Error::AuditUnavailable { cause: cause() },
        Error::Unavailable { message: text(), retry_after: wait },
        Error::UpstreamDown { cause: cause() },
        Error::UpstreamRefused { message: text() },
        Error::UpstreamDied { message: text() },
        Error::Timeout { message: text() },
        Error::Internal { cause: cause() },
    ];
    let mut outputs = Outputs::default();
    // Routes of one dialect share its errors.
    for (known, dialect, _) in DIALECTS.iter().filter(|(known, ..)| !known.contains('_')) {
        let replies: Vec<_> = errors.iter().map(|error| reply_text(&dialect.error(error, &request_id()))).collect();
        outputs.hold(&root().join("dialect"), &format!("{known}_errors.txt"), &replies.join("\n"));
    }
    outputs.judge();
}

// --- Both sides -----------------------------------------------------------------------------------------------------

fn encoder(path: &'static str, body: &str) -> Box<dyn Encoder> {
    let (_, dialect, _) = DIALECTS.iter().find(|(.., known)| *known == path).unwrap();
    dialect.decode(&Post { path }, body.as_bytes()).unwrap().reply
}

fn streamed(mut encoder: Box<dyn Encoder>, events: &[ChatEvent]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for event in events {
        encoder.event(event, &mut out);
    }
    out.into()
}

fn whole(mut encoder: Box<dyn Encoder>, events: &[ChatEvent]) -> Value {
    let mut out = BytesMut::new();
    encoder.whole(&fold(events.iter().cloned()), &mut out);
    serde_json::from_slice(&out).unwrap()
}

/// The same JSON with the same order of fields; Go writes some letters as escapes.
fn plain(line: &str) -> String {
    serde_json::from_str::<Value>(line).unwrap().to_string()
}

/// The same, without what no answer of ours has.
fn plain_but_for_context(line: &str) -> String {
    let mut line: Value = serde_json::from_str(line).unwrap();
    line.as_object_mut().unwrap().shift_remove("context");
    line.to_string()
}

#[test]
fn answers_are_those_of_the_real_ollama() {
    const PROMPT: &str = r#"{"model":"smollm2:135m","prompt":"hi","logprobs":true}"#;
    const NO_MESSAGES: &str = r#"{"model":"smollm2:135m","messages":[]}"#;
    const MESSAGES: &str = r#"{"model":"smollm2:135m","messages":[{"role":"user"}]}"#;
    let mut compared = 0;
    for case in folders(&root().join("provider/ollama")) {
        let reading = read_reading(&case);
        let (true, Ok(answer)) = (name(&case).starts_with("real_"), fs::read_to_string(case.join("answer.ndjson")))
        else {
            continue;
        };
        let ways: &[(&'static str, &str)] = match reading {
            Reading::Chat { .. } if name(&case) == "real_load" => &[("/api/chat", NO_MESSAGES)],
            Reading::Chat { .. } => &[("/chat", MESSAGES), ("/api/chat", MESSAGES)],
            Reading::Completion => &[("/api/generate", PROMPT)],
            Reading::Embeddings { .. } => &[("/api/embed", r#"{"model":"smollm2:135m","input":"hi"}"#)],
        };
        let (events, ended) = decode(&ollama::OllamaProvider, &reading, [answer.as_bytes()]);
        ended.unwrap();
        for (path, body) in ways {
            let ours = if answer.trim_end().contains('\n') {
                String::from_utf8(streamed(encoder(path, body), &events)).unwrap()
            } else {
                whole(encoder(path, body), &events).to_string()
            };

            let expected: Vec<_> = answer.lines().map(plain_but_for_context).collect();
            assert_eq!(ours.lines().map(plain).collect::<Vec<_>>(), expected, "{path} {}", case.display());
            compared += 1;
        }
    }
    assert!(compared > 12, "{compared}");
}

/// The message in a whole answer, as the text that it is.
fn message_of(answer: &[u8]) -> &str {
    #[derive(serde::Deserialize)]
    struct Choice<'a> {
        #[serde(borrow)]
        message: &'a RawValue,
    }
    #[derive(serde::Deserialize)]
    struct Completion<'a> {
        #[serde(borrow)]
        choices: [Choice<'a>; 1],
    }
    let of_openai = serde_json::from_slice::<Completion<'_>>(answer).map(|completion| completion.choices[0].message);
    of_openai.unwrap_or_else(|_| serde_json::from_slice::<Choice<'_>>(answer).unwrap().message).get()
}

/// The chat in a request, and what of it was told to be without effect.
fn decode_chat(path: &'static str, body: &str) -> (ChatRequest, Vec<String>) {
    let (_, dialect, _) = DIALECTS.iter().find(|(.., known)| *known == path).unwrap();
    let decoded = dialect.decode(&Post { path }, body.as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"));
    let Work::Chat(chat) = decoded.work else { panic!("no chat") };
    (chat, decoded.ignored)
}

/// Real models write neither, but what was delivered once must not end the conversation for good.
#[test]
fn arguments_beyond_what_ollama_reads_are_taken_back_all_the_same() {
    let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    for (arguments, is_kept) in [(nested(200), true), (nested(2000), false), (r#"{"a":1e400}"#.to_owned(), false)] {
        let line = format!(
            r#"{{"model":"m","message":{{"role":"assistant","tool_calls":[{{"function":{{"name":"f","arguments":{arguments}}}}}]}},"done":true}}"#
        );
        let (events, ended) = decode(&ollama::OllamaProvider, &Reading::plain_chat(), [line.as_bytes()]);
        ended.unwrap();
        let told = fold(events);
        for path in ["/v1/chat/completions", "/chat"] {
            let question = r#"{"role":"user","content":"hi"}"#;
            let mut out = BytesMut::new();
            encoder(path, &format!(r#"{{"model":"m","messages":[{question}]}}"#)).whole(&told, &mut out);
            let (chat, ignored) =
                decode_chat(path, &format!(r#"{{"model":"m","messages":[{question},{}]}}"#, message_of(&out)));

            let taken = &chat.messages[1].tool_calls().next().unwrap().arguments;
            assert_eq!((taken.get() == arguments, ignored.len()), (is_kept, usize::from(!is_kept)), "{path}");
            if !is_kept {
                assert_eq!(taken.get(), json!({ "INVALID_ARGUMENTS": arguments }).to_string());
            }
        }
    }
}

/// `PROPTEST_CASES=1000000 cargo test --release --test golden no_` is the long run of the garbage tests: two million bodies for
/// each reader, and a million answers for each encoder.
fn config(cases: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..given }
}

/// An OpenAI stream, read as its SDKs read it, folded into the whole answer.
fn read_openai_stream(bytes: &[u8], include_usage: bool) -> Value {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut frames: Vec<&str> =
        text.strip_suffix("\n\n").unwrap().split("\n\n").map(|frame| frame.strip_prefix("data: ").unwrap()).collect();
    assert_eq!(frames.pop(), Some("[DONE]"));
    let chunks: Vec<Value> = frames.iter().map(|frame| serde_json::from_str(frame).unwrap()).collect();
    let (mut content, mut reasoning, mut calls, mut finish) = (String::new(), String::new(), Vec::new(), None);
    let mut usage = Value::Null;
    for (number, chunk) in chunks.iter().enumerate() {
        for name in ["id", "object", "created", "model"] {
            assert_eq!(chunk[name], chunks[0][name]);
        }
        if include_usage && number == chunks.len() - 1 {
            assert_eq!(chunk["choices"], json!([]));
            usage = chunk["usage"].clone();
            continue;
        }
        assert_eq!(chunk.get("usage"), include_usage.then_some(&Value::Null));
        let choice = &chunk["choices"][0];
        let delta = &choice["delta"];
        assert_eq!(delta.get("role").is_some(), number == 0);
        assert!(finish.is_none(), "a chunk after the one that finishes");
        content.push_str(delta["content"].as_str().unwrap_or_default());
        reasoning.push_str(delta["reasoning"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let mut call = call.clone();
            assert_eq!(call.as_object_mut().unwrap().shift_remove("index"), Some(json!(calls.len())));
            calls.push(call);
        }
        finish = choice["finish_reason"].as_str().map(str::to_owned);
    }
    let content = if content.is_empty() && !calls.is_empty() { Value::Null } else { content.into() };
    let mut message = json!({"role": "assistant", "content": content, "refusal": null});
    if !reasoning.is_empty() {
        message["reasoning"] = reasoning.into();
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    json!({"message": message, "finish_reason": finish, "usage": usage})
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn openai_says_the_same_whole_and_in_a_stream(events in any_events(), include_usage: bool) {
        const PATH: &str = "/v1/chat/completions";
        let body = |fields: &str| format!(r#"{{"model":"M:1","messages":[{{"role":"user","content":"hi"}}]{fields}}}"#);
        let stream = body(&format!(r#","stream":true,"stream_options":{{"include_usage":{include_usage}}}"#));

        let whole = whole(encoder(PATH, &body("")), &events);
        let read = read_openai_stream(&streamed(encoder(PATH, &stream), &events), include_usage);

        prop_assert_eq!(&read["message"], &whole["choices"][0]["message"]);
        prop_assert_eq!(&read["finish_reason"], &whole["choices"][0]["finish_reason"]);
        if include_usage {
            prop_assert_eq!(&read["usage"], &whole["usage"]);
        }
    }

    #[test]
    fn what_chat_streams_is_what_an_ollama_would(events in any_events(), cuts in prop::collection::vec(1_usize..40, 1..20)) {
        for (path, body) in [
            ("/chat", r#"{"stream":true,"messages":[{"role":"user"}]}"#),
            ("/api/chat", r#"{"model":"m","messages":[{"role":"user"}]}"#),
        ] {
            let stream = streamed(encoder(path, body), &events);

            let mut rest = &stream[..];
            let chunks = cuts.iter().cycle().map_while(|cut| {
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                rest = after;
                (!chunk.is_empty()).then_some(chunk)
            });
            let (decoded, ended) = decode(&ollama::OllamaProvider, &Reading::plain_chat(), chunks);

            prop_assert!(ended.is_ok());
            prop_assert_eq!(&decoded, &events, "{}", path);
        }
    }

    #[test]
    fn what_ollamas_own_routes_stream_is_what_an_ollama_would(mut events in any_events_with_logprobs()) {
        // serde_json reads numbers of many digits to the last but one.
        for event in &mut events {
            if let Piece::Logprobs(tokens) = &mut event.what {
                let tokens = tokens.iter_mut().flat_map(|token| std::iter::once(&mut token.logprob).chain(token.top.iter_mut().map(|token| &mut token.logprob)));
                tokens.for_each(|logprob| *logprob = (*logprob * 1000.0).round() / 1000.0);
            }
        }
        let chat = r#"{"model":"m","messages":[{"role":"user"}],"logprobs":true}"#;
        let stream = streamed(encoder("/api/chat", chat), &events);
        let (decoded, ended) = decode(&ollama::OllamaProvider, &Reading::plain_chat(), [&stream[..]]);
        prop_assert!(ended.is_ok());
        prop_assert_eq!(&decoded, &events);
        // Readers that end a line at every letter that Unicode names so see the same lines.
        let text = String::from_utf8(stream).unwrap();
        let has_other_breaks = text.contains(['\u{85}', '\u{2028}', '\u{2029}']);
        prop_assert!(!has_other_breaks);

        // A generated text has no calls.
        let called = events.iter().any(|event| matches!(event.what, Piece::ToolCall(_)));
        if !called {
            let prompt = r#"{"model":"m","prompt":"hi","logprobs":true}"#;
            let stream = streamed(encoder("/api/generate", prompt), &events);
            let (decoded, ended) = decode(&ollama::OllamaProvider, &Reading::Completion, [&stream[..]]);
            prop_assert!(ended.is_ok());
            prop_assert_eq!(&decoded, &events);
        }
    }

    #[test]
    fn what_was_delivered_is_taken_back_as_it_was(events in any_events()) {
        let told = fold(events.iter().cloned());
        for path in ["/v1/chat/completions", "/chat", "/api/chat"] {
            let question = r#"{"role":"user","content":"hi"}"#;
            let mut out = BytesMut::new();
            encoder(path, &format!(r#"{{"model":"m","messages":[{question}]}}"#)).whole(&told, &mut out);
            let said = message_of(&out);
            let body = format!(r#"{{"model":"m","messages":[{question},{said},{question}]}}"#);
            let (chat, ignored) = decode_chat(path, &body);

            prop_assert!(chat.messages[1].tool_calls().eq(&told.tool_calls), "{}", path);
            prop_assert_eq!(chat.messages[1].text(), &*told.text);
            prop_assert_eq!(chat.messages[1].reasoning(), &*told.reasoning);
            prop_assert!(ignored.is_empty(), "{:?}", ignored);
        }
    }

    #[test]
    fn what_was_streamed_is_taken_back_as_it_was(events in any_events()) {
        const PATH: &str = "/v1/chat/completions";
        let body = |said: &str| format!(r#"{{"model":"m","stream":true,"messages":[{{"role":"user","content":"hi"}}{said}]}}"#);
        let stream = streamed(encoder(PATH, &body("")), &events);
        let said = read_openai_stream(&stream, false)["message"].to_string();

        let (chat, ignored) = decode_chat(PATH, &body(&format!(",{said}")));

        prop_assert!(chat.messages[1].tool_calls().eq(&fold(events).tool_calls));
        prop_assert!(ignored.is_empty(), "{:?}", ignored);
    }

    #[test]
    fn any_split_of_an_answer_gives_the_same_events(cuts in prop::collection::vec(0_usize..400, 1..30)) {
        for case in folders(&root().join("provider/ollama")) {
            let Ok(answer) = fs::read(case.join("answer.ndjson")) else { continue };
            let mut rest = &answer[..];
            let mut chunks = Vec::new();
            for cut in &cuts {
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            chunks.push(rest);

            let (events, ended) = decode(&ollama::OllamaProvider, &read_reading(&case), [&answer[..]]);
            let (split, split_ended) = decode(&ollama::OllamaProvider, &read_reading(&case), chunks);

            prop_assert_eq!(event_lines(&split, &split_ended), event_lines(&events, &ended));
        }
    }
}

// --- Garbage --------------------------------------------------------------------------------------------------------

fn files(ends: &[&str]) -> Vec<Vec<u8>> {
    let cases = ["dialect", "provider"].into_iter().flat_map(|within| folders(&root().join(within)));
    let cases = cases.flat_map(|within| folders(&within));
    cases.flat_map(|case| ends.iter().filter_map(|end| fs::read(case.join(end)).ok()).collect::<Vec<_>>()).collect()
}

/// Every way to read an answer; each input is read in all of them.
fn readings() -> Vec<Reading> {
    let chat = |must_call: &[&str], one_call, stops: &[&str]| Reading::Chat {
        must_call: must_call.iter().map(|name| (*name).to_owned()).collect(),
        one_call,
        stops: stops.iter().map(|stop| (*stop).to_owned()).collect(),
    };
    vec![
        chat(&[], false, &[]),
        chat(&[], true, &[]),
        chat(&["get_weather"], true, &[]),
        chat(&[], false, &["e", "lo"]),
        Reading::Completion,
        Reading::Embeddings { texts: 1, dimensions: None },
        Reading::Embeddings { texts: 2, dimensions: Some(3) },
    ]
}

/// The requests of the golden cases, by the place of their route in `DIALECTS`.
static OWN_REQUESTS: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| {
    let of = |folder: &str| {
        let cases = folders(&root().join("dialect").join(folder));
        cases.iter().map(|case| fs::read(case.join("request.json")).unwrap()).collect::<Vec<_>>()
    };
    DIALECTS.iter().map(|(folder, ..)| of(folder)).collect()
});

/// Checks that a body is read, or refused as the client's fault.
fn hold_to_the_rules(dialect: &dyn Dialect, path: &'static str, body: &[u8]) -> Result<(), TestCaseError> {
    match dialect.decode(&Post { path }, body) {
        Ok(Decoded { work, ignored, .. }) => {
            match &work {
                Work::Chat(chat) => prop_assert!(!chat.messages.is_empty()),
                Work::Complete(complete) => prop_assert!(!complete.prompt.is_empty()),
                Work::Embed(embed) => prop_assert!(embed.texts.iter().all(|text| !text.is_empty())),
                Work::Load(_) => {}
            }
            match ollama::OllamaProvider.call(&work) {
                Ok(call) => prop_assert!(serde_json::from_slice::<Value>(&call.body).is_ok()),
                // A schema that makes no sense.
                Err(error) => prop_assert!(error.field().is_some_and(|field| !field.is_empty()), "{}", error),
            }
            prop_assert!(ignored.len() <= 33 && ignored.iter().all(|name| name.len() <= 64 && name.is_ascii()));
        }
        // An id of no answer is what no route is: not there.
        Err(error @ Error::NotFound { .. }) => {
            prop_assert_eq!((path, dialect.error(&error, &request_id()).status), ("/v1/responses", 404));
        }
        Err(error) => {
            let reply = dialect.error(&error, &request_id());
            prop_assert_eq!(reply.status, 400);
            prop_assert!(serde_json::from_slice::<Value>(&reply.body).is_ok());
            prop_assert!(error.field().is_some_and(|field| !field.is_empty()), "{}", error);
            prop_assert!(error.to_string().len() < 1500);
        }
    }
    Ok(())
}

/// Checks that an answer is JSON in one piece, and frames of JSON in a stream, which breaks off after some of the events.
fn check_frames(
    dialect: &dyn Dialect,
    path: &'static str,
    events: &[ChatEvent],
    broken_after: usize,
) -> Result<(), TestCaseError> {
    let body = |stream: bool| {
        let hi = json!([{"role": "user", "content": "hi"}]);
        let mut body = json!({"model": "m", "messages": hi, "input": "hi", "max_tokens": 9, "stream": stream});
        // Where there is an input, OpenAI has another meaning for it.
        if path != "/v1/responses" {
            body["prompt"] = "hi".into();
        }
        body.to_string()
    };
    let decode = |stream| dialect.decode(&Post { path }, body(stream).as_bytes()).unwrap();
    let mut out = BytesMut::new();
    decode(false).reply.whole(&fold(events.iter().cloned()), &mut out);
    prop_assert!(serde_json::from_slice::<Value>(&out).is_ok());

    let Decoded { mut reply, delivery: Delivery::Stream { content_type }, .. } = decode(true) else { return Ok(()) };
    let mut out = BytesMut::new();
    for (number, event) in events.iter().enumerate() {
        if number == broken_after {
            break;
        }
        reply.heartbeat(&mut out);
        reply.event(event, &mut out);
    }
    if broken_after < events.len() {
        reply.error(&Error::UpstreamRefused { message: "it died".into() }, &mut out);
    }
    let text = std::str::from_utf8(&out).unwrap();
    let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
    if content_type.contains("ndjson") {
        prop_assert!(text.lines().all(is_json), "{}", text);
        return Ok(());
    }
    prop_assert!(text.ends_with("\n\n"), "{}", text);
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
        let data = line.strip_prefix("data: ").filter(|data| *data == "[DONE]" || is_json(data));
        prop_assert!(data.is_some() || line.starts_with("event: "), "{}", line);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(4000))]

    /// Each reader gets the same body, and one of its own requests that was damaged.
    #[test]
    fn no_request_makes_a_dialect_panic_or_blame_itself(
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..64), damaged(files(&["request.json"])), any_request()],
        which: prop::sample::Index,
        changes in byte_changes(),
    ) {
        for (place, (_, dialect, path)) in DIALECTS.iter().enumerate() {
            hold_to_the_rules(*dialect, path, &body)?;
            hold_to_the_rules(*dialect, path, &damage(which.get(&OWN_REQUESTS[place]).clone(), &changes))?;
        }
    }

    #[test]
    fn no_answer_makes_a_provider_panic_or_end_without_its_mark(
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..64), damaged(files(&["answer.ndjson", "failure.txt", "tags.json", "ps.json"]))],
        status: u16,
    ) {
        for provider in ProviderKind::NAMED.iter().map(|(_, kind)| provider::of(*kind)) {
            for reading in readings() {
                let (events, ended) = decode(provider, &reading, body.chunks(5));
                let marks = events.iter().filter(|event| matches!(event.what, Piece::End(_))).count();
                prop_assert_eq!(marks, usize::from(ended.is_ok()));
                prop_assert!(ended.is_err() || matches!(events.last().unwrap().what, Piece::End(_)));
            }
            let _either = provider.skills(&body);
            let _either = provider.description(&body);
            let _either = provider.version(&body);
            prop_assert!(provider.failure(status, &body).to_string().chars().count() < 500);
            let _either = provider.models(&body);
            let _either = provider.loaded(&body);
        }
    }
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn no_events_make_an_encoder_panic_or_write_broken_frames(
        events in any_events_with_logprobs(),
        cut: prop::sample::Index,
    ) {
        for (_, dialect, path) in DIALECTS {
            check_frames(*dialect, path, &events, cut.index(events.len() + 1))?;
        }
    }
}
