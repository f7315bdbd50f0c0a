use serde_json::Value;

use super::*;
use crate::dialect::TestHead;
use crate::model::chat::{Role, Think};
use crate::model::complete::CompleteRequest;
use crate::model::embed::EmbedRequest;

fn decode(path: &'static str, body: &str) -> Result<Decoded, Error> {
    Ollama.decode(&TestHead { path, headers: &[] }, body.as_bytes())
}

fn generated(fields: &str) -> Result<Work, Error> {
    decode(GENERATE, &format!(r#"{{"model":"m"{fields}}}"#)).map(|decoded| decoded.work)
}

fn completed(fields: &str) -> Result<CompleteRequest, Error> {
    match generated(fields)? {
        Work::Complete(request) => Ok(request),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused<T>(result: Result<T, Error>, code: &str, field: &str) {
    let Err(error) = result else { panic!("{field} is not refused") };
    assert_eq!((error.code(), error.field()), (code, Some(field)), "{error}");
}

const INVALID: &str = "invalid_request";
const UNSUPPORTED: &str = "unsupported_parameter";

#[test]
fn the_gateways_own_api_is_another_dialect() {
    let is_read = |path| Ollama.is_read_by(&TestHead { path, headers: &[] });

    for path in ["/api", "/api/chat", "/api/v2/x", "/api/v10", "//api/tags/", "/api/"] {
        assert!(is_read(path), "{path}");
    }
    for path in ["/api/v1", "/api/v1/me", "/api//v1/me", "/apiary", "/v1/api/chat", "/"] {
        assert!(!is_read(path), "{path}");
    }
}

#[test]
fn answers_are_streamed_unless_told_otherwise() {
    let delivery = |path, stream: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"prompt":"a"{stream}}}"#);
        decode(path, &body).unwrap().delivery
    };

    for path in ["/api/chat", GENERATE] {
        for stream in ["", r#","stream":null"#, r#","stream":true"#] {
            assert_eq!(delivery(path, stream), Delivery::Stream { content_type: wire::NDJSON }, "{path} {stream}");
        }
        assert_eq!(delivery(path, r#","stream":false"#), Delivery::Whole);
    }
}

#[test]
fn a_prompt_is_the_message_of_a_user_behind_the_system_message() {
    let Work::Chat(chat) = generated(r#","prompt":"a","system":"s","images":["aGk="],"think":"low""#).unwrap() else {
        panic!("no chat")
    };

    let said: Vec<_> = chat.messages.iter().map(|message| (message.role, message.text())).collect();
    assert_eq!(said, [(Role::System, "s".into()), (Role::User, "a".into())]);
    let image = chat.messages[1].images().next().unwrap();
    assert_eq!((image.field.as_str(), &image.bytes[..]), ("images[0]", &b"hi"[..]));
    assert_eq!(chat.think.unwrap().level, Think::Low);
    assert_eq!(Work::Chat(chat).prompt_field(), "prompt");
}

#[test]
fn raw_prompts_and_gaps_are_completions_and_what_those_lack_is_refused_by_name() {
    let raw = completed(r#","prompt":"a","raw":true,"options":{"min_p":0.5,"top_k":3},"truncate":false"#).unwrap();
    assert!(raw.raw && raw.suffix.is_none() && raw.sampling.top_k == Some(3));
    assert_eq!(Value::from(raw.extra.ollama).to_string(), r#"{"min_p":0.5}"#);
    let gap = completed(r#","prompt":"a","suffix":"b","think":false"#).unwrap();
    assert!(!gap.raw && gap.suffix.as_deref() == Some("b"));
    assert!(matches!(generated(r#","prompt":"a","raw":false,"suffix":"""#).unwrap(), Work::Chat(_)));

    for cause in [r#""raw":true"#, r#""suffix":"b""#] {
        for (field, value) in
            [("system", "\"s\""), ("images", r#"["aGk="]"#), ("format", "\"json\""), ("think", "true")]
        {
            refused(generated(&format!(r#","prompt":"a",{cause},"{field}":{value}"#)), UNSUPPORTED, field);
        }
    }
    refused(generated(r#","prompt":"a","raw":true,"suffix":"b""#), UNSUPPORTED, "suffix");
}

#[test]
fn fields_about_the_server_are_left_out_and_named_and_those_about_the_answer_are_refused() {
    let ignored = |path, fields: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"prompt":"a","input":"a"{fields}}}"#);
        decode(path, &body).map(|decoded| decoded.ignored)
    };

    for path in ["/api/chat", GENERATE] {
        for (name, value) in [("num_ctx", "8192"), ("num_gpu", "0"), ("use_mmap", "false"), ("num_thread", "\"x\"")] {
            let named = ignored(path, &format!(r#","options":{{"{name}":{value},"seed":1}}"#)).unwrap();
            assert!(named.contains(&format!("options.{name}")), "{path} {name}: {named:?}");
        }
        for value in ["0", "-1", "\"5m\""] {
            assert!(ignored(path, &format!(r#","keep_alive":{value}"#)).unwrap().contains(&"keep_alive".to_owned()));
        }
        assert!(ignored(path, r#","top_logprobs":3"#).unwrap().contains(&"top_logprobs".to_owned()));
        refused(ignored(path, r#","shift":false"#), UNSUPPORTED, "shift");
        refused(ignored(path, r#","_debug_render_only":true"#), UNSUPPORTED, "_debug_render_only");
        refused(ignored(path, r#","logprobs":true,"top_logprobs":-1"#), INVALID, "top_logprobs");
    }
    for path in [EMBED, EMBEDDINGS] {
        let named = ignored(path, r#","options":{"num_ctx":8192},"keep_alive":"5m""#).unwrap();
        assert!(["options", "keep_alive"].iter().all(|name| named.iter().any(|noted| noted == name)), "{named:?}");
    }
}

#[test]
fn a_request_without_a_prompt_loads_the_model_and_never_unloads_it() {
    let asked = |path, fields: &str| decode(path, &format!(r#"{{"model":"m"{fields}}}"#));

    for (path, empty) in
        [("/api/chat", r#","messages":[]"#), ("/api/chat", ""), (GENERATE, r#","prompt":"""#), (GENERATE, "")]
    {
        for kept in ["", r#","keep_alive":-1"#, r#","keep_alive":"10m""#, r#","keep_alive":null"#] {
            let decoded = asked(path, &format!("{empty}{kept}")).unwrap();
            assert!(matches!(decoded.work, Work::Load(model) if model.as_str() == "m"), "{path} {empty}{kept}");
        }
        for gone in ["0", "0.0", "\"0\"", "\"0s\"", "\"0m\""] {
            refused(asked(path, &format!(r#"{empty},"keep_alive":{gone}"#)), UNSUPPORTED, "keep_alive");
        }
        refused(asked(path, &format!(r#"{empty},"keep_alive":true"#)), INVALID, "keep_alive");
    }
    refused(decode("/api/chat", "{}"), INVALID, "model");
}

#[test]
fn alternatives_are_asked_for_up_to_ollamas_own_limit() {
    let asked = |fields: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user"}}]{fields}}}"#);
        let Work::Chat(chat) = decode("/api/chat", &body)?.work else { panic!("no chat") };
        Ok(chat.logprobs)
    };

    assert_eq!(asked("").unwrap(), None);
    assert_eq!(asked(r#","logprobs":false"#).unwrap(), None);
    assert_eq!(asked(r#","logprobs":true"#).unwrap(), Some(0));
    assert_eq!(asked(r#","logprobs":true,"top_logprobs":20"#).unwrap(), Some(20));
    refused(asked(r#","logprobs":true,"top_logprobs":21"#), INVALID, "top_logprobs");
}

#[test]
fn up_to_2048_texts_are_embedded() {
    let texts = |input: &str| -> Result<EmbedRequest, Error> {
        match decode(EMBED, &format!(r#"{{"model":"m","input":{input}}}"#))?.work {
            Work::Embed(request) => Ok(request),
            other => panic!("{other:?}"),
        }
    };
    let list = |length| format!("[{}]", vec!["\"a\""; length].join(","));

    assert_eq!(texts("\"a b\"").unwrap().texts, ["a b"]);
    assert_eq!(texts(&list(2048)).unwrap().texts.len(), 2048);
    refused(texts(&list(2049)), INVALID, "input");
    for (input, field) in [
        ("null", "input"),
        ("[]", "input"),
        ("\"\"", "input"),
        ("[\"\"]", "input[0]"),
        ("[5]", "input[0]"),
        ("5", "input"),
    ] {
        refused(texts(input), INVALID, field);
    }
}

#[test]
fn a_missing_credential_is_a_401_that_says_where_ollamas_clients_put_one() {
    let reply = Ollama.error(&Error::bad_token("none was sent"), &RequestId(uuid::Uuid::nil()));
    let told: Value = serde_json::from_slice(&reply.body).unwrap();

    assert_eq!(reply.status, 401);
    for words in ["headers={\"Authorization\": \"Bearer lgw_…\"}", "OLLAMA_API_KEY"] {
        assert!(told["error"].as_str().unwrap().contains(words), "{told}");
    }
}
