//! What an answer tells, and where each face has it.

use serde_json::{Value, json};

/// The answer in which it is seen.
#[derive(Clone, Copy)]
pub enum SeenIn {
    /// One with everything: thoughts, a text and a call.
    Whole,
    /// One that is a text.
    Spoken,
    /// One that was cut by the limit of tokens.
    Cut,
    /// An answer to a wrong request.
    Error,
    /// The last bytes of a stream.
    Stream,
    /// The last event of a stream whose upstream died.
    Broken,
    Headers,
}

pub struct AnswerRow {
    pub what: &'static str,
    pub seen_in: SeenIn,
    pub cells: [AnswerCell; 5],
}

#[derive(Clone)]
pub struct AnswerCell {
    words: String,
    /// Where it is: a JSON pointer, a part of a stream, or a header. `None`: nowhere.
    pub at: Option<&'static str>,
    /// What is there; `None`: anything but null.
    value: Option<Value>,
}

impl AnswerRow {
    pub fn words(&self) -> [&str; 5] {
        self.cells.each_ref().map(|cell| cell.words.as_str())
    }
}

impl AnswerCell {
    pub fn is_in(&self, answer: &Value, what: &str, face: &str) {
        let Some(at) = self.at else { return };
        let found = answer.pointer(at).unwrap_or(&Value::Null);
        match &self.value {
            Some(value) => assert_eq!(found, value, "{face}: {what}: {at}: {answer}"),
            None => assert!(!found.is_null(), "{face}: {what}: {at}: {answer}"),
        }
    }
}

impl AnswerCell {
    /// Checks that it is in the last event of a stream.
    pub fn ends(&self, stream: &str, what: &str, face: &str) {
        let between = if stream.starts_with('{') { "\n" } else { "\n\n" };
        let last = stream.trim_end().rsplit(between).next().unwrap();
        assert!(last.contains(self.at.expect("what it ends with")), "{face}: {what}: {stream}");
    }
}

/// A place in an answer, told as a path, and what is there.
fn at(pointer: &'static str, value: impl Into<Option<Value>>) -> AnswerCell {
    let path = pointer.trim_start_matches('/').split('/').fold(String::new(), |path, step| {
        if step.parse::<usize>().is_ok() {
            format!("{path}[]")
        } else if path.is_empty() {
            step.into()
        } else {
            format!("{path}.{step}")
        }
    });
    AnswerCell { words: format!("`{path}`"), at: Some(pointer), value: value.into() }
}

/// A place with a word that clients go by.
fn word(pointer: &'static str, word: &'static str) -> AnswerCell {
    let cell = at(pointer, json!(word));
    AnswerCell { words: format!("{}: `{word}`", cell.words), ..cell }
}

fn told(words: &str, at: Option<&'static str>) -> AnswerCell {
    AnswerCell { words: words.into(), at, value: None }
}

fn row(what: &'static str, seen_in: SeenIn, [chat, responses, messages, native]: [AnswerCell; 4]) -> AnswerRow {
    AnswerRow { what, seen_in, cells: [chat, responses, messages, native.clone(), native] }
}

pub fn answer_rows() -> Vec<AnswerRow> {
    use SeenIn::{Broken, Cut, Error, Headers, Spoken, Stream, Whole};

    let text = |pointer| at(pointer, json!("I look."));
    let thought = |pointer| at(pointer, json!("hm"));
    let name = |pointer| at(pointer, json!("get_weather"));
    let tokens = |pointer, count: u64| at(pointer, json!(count));
    let arguments = json!({ "city": "Graz" });
    let written = |cell: AnswerCell| AnswerCell { words: format!("{}, a string", cell.words), ..cell };
    let id = |pointer: &'static str, prefix: &str| AnswerCell {
        words: format!("`{prefix}` and the request's id"),
        ..at(pointer, None)
    };
    let end = |last: &'static str, words: &str| told(words, Some(last));

    vec![
        row(
            "text",
            Whole,
            [
                text("/choices/0/message/content"),
                text("/output/1/content/0/text"),
                text("/content/1/text"),
                text("/message/content"),
            ],
        ),
        row(
            "thoughts",
            Whole,
            [
                thought("/choices/0/message/reasoning"),
                thought("/output/0/summary/0/text"),
                thought("/content/0/thinking"),
                thought("/message/thinking"),
            ],
        ),
        row(
            "a call: its function",
            Whole,
            [
                name("/choices/0/message/tool_calls/0/function/name"),
                name("/output/2/name"),
                name("/content/2/name"),
                name("/message/tool_calls/0/function/name"),
            ],
        ),
        row(
            "a call: its arguments",
            Whole,
            [
                written(at("/choices/0/message/tool_calls/0/function/arguments", json!(arguments.to_string()))),
                written(at("/output/2/arguments", json!(arguments.to_string()))),
                at("/content/2/input", arguments.clone()),
                at("/message/tool_calls/0/function/arguments", arguments),
            ],
        ),
        row(
            "it has ended",
            Spoken,
            [
                word("/choices/0/finish_reason", "stop"),
                word("/status", "completed"),
                word("/stop_reason", "end_turn"),
                word("/done_reason", "stop"),
            ],
        ),
        row(
            "the limit of tokens cut it",
            Cut,
            [
                word("/choices/0/finish_reason", "length"),
                word("/incomplete_details/reason", "max_output_tokens"),
                word("/stop_reason", "max_tokens"),
                word("/done_reason", "length"),
            ],
        ),
        row(
            "it wants a function to be called",
            Whole,
            [
                word("/choices/0/finish_reason", "tool_calls"),
                word("/status", "completed"),
                word("/stop_reason", "tool_use"),
                word("/done_reason", "stop"),
            ],
        ),
        row(
            "tokens of the prompt",
            Spoken,
            [
                tokens("/usage/prompt_tokens", 5),
                tokens("/usage/input_tokens", 5),
                tokens("/usage/input_tokens", 5),
                tokens("/prompt_eval_count", 5),
            ],
        ),
        row(
            "tokens of the answer",
            Spoken,
            [
                tokens("/usage/completion_tokens", 3),
                tokens("/usage/output_tokens", 3),
                tokens("/usage/output_tokens", 3),
                tokens("/eval_count", 3),
            ],
        ),
        row("id", Spoken, [id("/id", "chatcmpl-"), id("/id", "resp_"), id("/id", "msg_"), told("none", None)]),
        row(
            "the end of a stream",
            Stream,
            [
                end("data: [DONE]", "`data: [DONE]`"),
                end("event: response.completed", "event `response.completed`"),
                end("event: message_stop", "event `message_stop`"),
                end("\"done\":true", "a line with `\"done\":true`"),
            ],
        ),
        row(
            "an error",
            Error,
            [
                at("/error/message", None),
                at("/error/message", None),
                at("/error/message", None),
                AnswerCell { words: "`error`, a string".into(), ..at("/error", None) },
            ],
        ),
        row(
            "an error in the middle of a stream",
            Broken,
            [
                end("data: {\"error\":{", "the same object"),
                end("response.failed", "event `response.failed`"),
                end("event: error", "event `error`"),
                end("{\"error\":\"", "a line with `error`"),
            ],
        ),
        row(
            "the request's id",
            Headers,
            [
                told("header `x-request-id`", Some("x-request-id")),
                told("header `x-request-id`", Some("x-request-id")),
                told("headers `request-id`, `x-request-id`", Some("request-id")),
                told("header `x-request-id`", Some("x-request-id")),
            ],
        ),
        row("limits and what is left", Headers, {
            let limits = told("headers `x-ratelimit-…`", Some("x-ratelimit-remaining-requests"));
            [limits.clone(), limits.clone(), limits.clone(), limits]
        }),
    ]
}
