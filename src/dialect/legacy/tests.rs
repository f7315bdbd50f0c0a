use std::time::Duration;

use serde_json::Value;

use super::request::AUTH_BYTES_MAX;
use super::*;
use crate::dialect::TestHead;
use crate::model::chat::{ChatRequest, Format, Image, Part, Role, Think, ToolResult};

const POST: TestHead = TestHead { path: "/chat", headers: &[] };
const MESSAGES: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

fn decode_body(body: &str) -> Result<Decoded, Error> {
    Legacy.decode(&POST, body.as_bytes())
}

/// A good request with some fields more.
fn decode(fields: &str) -> Result<(ChatRequest, Vec<String>), Error> {
    chat(decode_body(&format!("{{{MESSAGES}{fields}}}")))
}

/// A request of one message.
fn decode_message(message: &str) -> Result<(ChatRequest, Vec<String>), Error> {
    chat(decode_body(&format!(r#"{{"messages":[{message}]}}"#)))
}

fn chat(decoded: Result<Decoded, Error>) -> Result<(ChatRequest, Vec<String>), Error> {
    let decoded = decoded?;
    let Work::Chat(chat) = decoded.work else { panic!("no chat") };
    Ok((chat, decoded.ignored))
}

#[track_caller]
fn refused<T>(result: Result<T, Error>, code: &str, field: &str) {
    let Err(error) = result else { panic!("{field} is not refused") };
    assert_eq!((error.code(), error.field()), (code, Some(field)), "{error}");
}

const INVALID: &str = "invalid_request";
const UNSUPPORTED: &str = "unsupported_parameter";

#[test]
fn credentials_are_in_the_body() {
    let body = format!(r#"{{"auth":{{"username":" Ann@Example.org ","password":" p "}},{MESSAGES}}}"#);

    let Some(Credential::Password { username, password }) = decode_body(&body).unwrap().credential else {
        panic!("no credential");
    };

    assert_eq!(username.as_str(), "ann@example.org");
    assert_eq!(password.expose(), " p ");
}

#[test]
fn a_body_without_credentials_has_none() {
    for auth in ["", r#""auth":null,"#, r#""auth":{},"#] {
        assert!(decode_body(&format!("{{{auth}{MESSAGES}}}")).unwrap().credential.is_none());
    }
}

#[test]
fn credentials_that_are_not_whole_are_refused_by_name() {
    let auth = |auth: &str| decode_body(&format!(r#"{{"auth":{auth},{MESSAGES}}}"#));
    let long = |length: usize| format!(r#"{{"username":"a","password":"{}"}}"#, "x".repeat(length));

    refused(auth(r#""ann:secret""#), INVALID, "auth");
    refused(auth(r#"{"username":"ann"}"#), INVALID, "auth.password");
    refused(auth(r#"{"password":"x"}"#), INVALID, "auth.username");
    refused(auth(r#"{"username":5,"password":"x"}"#), INVALID, "auth.username");
    refused(auth(r#"{"Username":"ann","password":"x"}"#), INVALID, "auth.Username");
    assert!(auth(&long(AUTH_BYTES_MAX)).is_ok());
    refused(auth(&long(AUTH_BYTES_MAX + 1)), INVALID, "auth.password");
}

#[test]
fn a_token_in_the_head_takes_the_place_of_credentials_in_the_body() {
    let body = format!(r#"{{"auth":{{"username":"ann","password":"p"}},{MESSAGES}}}"#);

    let decoded =
        Legacy.decode(&TestHead { headers: &[("authorization", "Bearer abc")], ..POST }, body.as_bytes()).unwrap();

    assert!(decoded.credential.is_none());
    assert_eq!(decoded.ignored, ["auth"]);
}

#[test]
fn the_model_is_the_default_one_when_none_is_named() {
    let model = |fields: &str| decode(fields).unwrap().0.model.as_str().to_owned();

    assert_eq!(model(""), "llama3.2:latest");
    assert_eq!(model(r#","model":"""#), "llama3.2:latest");
    assert_eq!(model(r#","model":"Other""#), "Other");
    refused(decode(r#","model":["a"]"#), INVALID, "model");
}

#[test]
fn messages_are_required() {
    for body in ["{}", r#"{"messages":[]}"#, r#"{"messages":null}"#] {
        let Err(error) = decode_body(body) else { panic!("{body} is not refused") };
        let reply = Legacy.error(&error, &RequestId(uuid::Uuid::nil()));
        assert_eq!((reply.status, &reply.body[..]), (400, &br#"{"error":"messages required"}"#[..]));
    }
    refused(decode_body(r#"{"messages":{"role":"user"}}"#), INVALID, "messages");
}

#[test]
fn messages_are_those_of_ollama() {
    let (chat, ignored) = decode_body(
        r#"{"messages":[{"role":"System","content":"s"},{"role":"user","content":null,"images":["aGk="]},
        {"role":"assistant","thinking":"hm","tool_calls":[{"id":"c1","type":"function","function":{"index":4,"name":"f","arguments":{"z":1,"a":[2.5,null]}}}]},
        {"role":"tool","content":"20","tool_name":"f","tool_call_id":"c1","colour":1}]}"#,
    )
    .map(|decoded| (decoded.work, decoded.ignored))
    .unwrap();
    let Work::Chat(chat) = chat else { panic!("no chat") };

    let roles: Vec<_> = chat.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool]);
    assert_eq!(
        chat.messages[1].images().collect::<Vec<_>>(),
        [&Image { bytes: bytes::Bytes::from_static(b"hi"), field: "messages[1].images[0]".into() }]
    );
    let call = chat.messages[2].tool_calls().next().unwrap();
    assert_eq!((call.id.as_str(), call.name.as_str(), call.arguments.get()), ("c1", "f", r#"{"z":1,"a":[2.5,null]}"#));
    assert_eq!(chat.messages[2].reasoning(), "hm");
    let result = ToolResult { call_id: Some("c1".into()), name: Some("f".into()), text: "20".into() };
    assert_eq!(chat.messages[3].parts, [Part::ToolResult(result)]);
    assert_eq!(chat.too_long, None);
    assert_eq!(ignored, ["messages[].colour"]);
}

#[test]
fn a_message_that_is_not_right_is_named() {
    for (message, field) in [
        (r#"{"content":"x"}"#, "messages[0].role"),
        (r#"{"role":"developer","content":"x"}"#, "messages[0].role"),
        (r#"{"role":"user","content":[{"type":"text","text":"x"}]}"#, "messages[0].content"),
        (r#"{"role":"user","Content":"x"}"#, "messages[0].Content"),
        (r#"{"role":"user","images":"aGk="}"#, "messages[0].images"),
        (
            r#"{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}"#,
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            r#"{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":[]}}]}"#,
            "messages[0].tool_calls[0].function.arguments",
        ),
        (r#"{"role":"assistant","tool_calls":[{"id":[],"function":{"name":"f"}}]}"#, "messages[0].tool_calls[0].id"),
        (
            r#"{"role":"assistant","tool_calls":[{"function":{"arguments":{}}}]}"#,
            "messages[0].tool_calls[0].function.name",
        ),
        (r#"{"role":"assistant","tool_calls":[{"name":"f"}]}"#, "messages[0].tool_calls[0].function"),
    ] {
        refused(decode_message(message), INVALID, field);
    }
}

#[test]
fn images_are_plain_base64_as_go_reads_it() {
    let image = |text: &str| {
        let message = format!(r#"{{"role":"user","images":["aGk=","{text}"]}}"#);
        decode_message(&message).map(|(chat, _)| chat.messages[0].images().nth(1).unwrap().bytes.clone())
    };

    assert_eq!(image("+/8=").unwrap(), &b"\xfb\xff"[..]);
    assert_eq!(image(r"aG\nk=\r\n").unwrap(), &b"hi"[..]);
    assert_eq!(image("aGl=").unwrap(), &b"hi"[..]);
    for bad in ["-_8=", "aGk", "a", "aGk=x", "data:image/png;base64,aGk=", "", "äöü"] {
        refused(image(bad), INVALID, "messages[0].images[1]");
    }
}

#[test]
fn options_of_one_answer_are_taken_within_bounds() {
    let option = |name: &str, value: &str| decode(&format!(r#","options":{{"{name}":{value}}}"#));

    for (name, good, bad) in [
        ("temperature", &["0", "0.7", "100"][..], &["-0.1", "100.1", "\"hot\""][..]),
        ("top_p", &["0", "1"], &["-0.1", "1.1"]),
        ("min_p", &["0", "1"], &["-0.1", "1.1"]),
        ("typical_p", &["0", "1"], &["-0.1", "1.1", "true"]),
        ("top_k", &["0", "40", "1000000"], &["-1", "1000001", "1.5"]),
        ("num_keep", &["-1", "0", "1000000"], &["-2", "1000001"]),
        ("repeat_last_n", &["-1", "64"], &["-2"]),
        ("repeat_penalty", &["0.01", "1.1", "100"], &["0", "-1", "100.1"]),
        ("presence_penalty", &["-100", "100"], &["-100.1", "100.1"]),
        ("frequency_penalty", &["-100", "100"], &["-100.1", "100.1"]),
        ("seed", &["-1", "42", "42.0"], &["\"42\"", "1.5"]),
        ("num_predict", &["1", "-1", "-2", "100000000000"], &["0", "\"5\""]),
        ("stop", &["\"a\"", "[\"a\"]", "[]"], &["5", "[5]", "[\"\"]"]),
    ] {
        for value in good.iter().chain(&["null"]) {
            option(name, value).unwrap_or_else(|error| panic!("{name} {value}: {error}"));
        }
        for value in bad {
            let Err(error) = option(name, value) else { panic!("{name} {value} is taken") };
            assert!(error.field().unwrap().starts_with(&format!("options.{name}")), "{error}");
            assert_eq!(error.code(), INVALID);
        }
    }
    let (chat, _) = decode(r#","options":{"num_keep":5,"min_p":0.1,"num_predict":7,"top_k":9}"#).unwrap();
    assert_eq!(Value::from(chat.extra.ollama).to_string(), r#"{"num_keep":5,"min_p":0.1}"#);
    assert_eq!((chat.max_tokens, chat.sampling.top_k), (Some(7), Some(9)));
}

#[test]
fn a_negative_limit_is_the_gateways_and_the_caller_is_told() {
    let (chat, ignored) = decode(r#","options":{"num_predict":-1}"#).unwrap();

    assert_eq!(chat.max_tokens, None);
    assert_eq!(ignored, ["options.num_predict"]);
    let (_, ignored) = decode(r#","options":{"num_predict":-1},"colour":"red""#).unwrap();
    assert_eq!(ignored, ["options.num_predict", "colour"], "in the order of the body");
}

#[test]
fn what_would_reload_the_model_for_everybody_is_refused_by_name() {
    for name in ["draft_num_predict", "main_gpu", "num_batch", "num_ctx", "num_gpu", "num_thread", "use_mmap"] {
        let value = if name == "use_mmap" { "true" } else { "4096" };
        refused(decode(&format!(r#","options":{{"{name}":{value}}}"#)), UNSUPPORTED, &format!("options.{name}"));
        decode(&format!(r#","options":{{"{name}":null}}"#)).unwrap();
    }
    for (name, value) in [
        ("keep_alive", "0"),
        ("keep_alive", "\"5m\""),
        ("shift", "false"),
        ("logprobs", "true"),
        ("top_logprobs", "2"),
        ("_debug_render_only", "true"),
    ] {
        refused(decode(&format!(r#","{name}":{value}"#)), UNSUPPORTED, name);
    }
    for (name, value) in [("keep_alive", "null"), ("shift", "true"), ("logprobs", "false"), ("top_logprobs", "0")] {
        decode(&format!(r#","{name}":{value}"#)).unwrap();
    }
}

#[test]
fn unknown_fields_and_options_are_named() {
    let (_, ignored) = decode(r#","options":{"mirostat":1,"tfs_z":null},"colour":"red","raw":null"#).unwrap();

    assert_eq!(ignored, ["options.mirostat", "colour"]);
    refused(decode(r#","Options":{}"#), INVALID, "Options");
    refused(decode(r#","options":{"Num_ctx":1}"#), INVALID, "options.Num_ctx");
}

#[test]
fn format_and_think_are_those_of_ollama() {
    let read = |fields: &str| decode(fields).map(|(chat, _)| chat);

    assert!(matches!(read(r#","format":"json""#).unwrap().format, Some(Format::Json)));
    assert!(matches!(read(r#","format":{"type":"object"}"#).unwrap().format, Some(Format::Schema { .. })));
    assert!(read(r#","format":"""#).unwrap().format.is_none());
    refused(read(r#","format":"xml""#), INVALID, "format");
    refused(read(r#","format":true"#), INVALID, "format");
    for (value, think) in [("true", Think::On), ("false", Think::Off), ("\"low\"", Think::Low), ("\"max\"", Think::Max)]
    {
        assert_eq!(read(&format!(r#","think":{value}"#)).unwrap().think.unwrap().level, think);
    }
    refused(read(r#","think":"yes""#), INVALID, "think");
    refused(read(r#","think":1"#), INVALID, "think");
}

#[test]
fn tools_are_functions() {
    let (chat, ignored) = decode(r#","tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"z":1,"a":2},"strict":true}}]"#).unwrap();

    assert_eq!((chat.tools[0].name.as_str(), chat.tools[0].description.as_deref()), ("f", Some("d")));
    assert_eq!(chat.tools[0].parameters.as_ref().unwrap().to_string(), r#"{"z":1,"a":2}"#);
    assert_eq!(ignored, ["tools[].function.strict"]);
    refused(decode(r#","tools":[{"type":"function"}]"#), INVALID, "tools[0].function");
    refused(decode(r#","tools":[{"function":{"description":"d"}}]"#), INVALID, "tools[0].function.name");
    refused(decode(r#","tools":[{"type":"web_search"}]"#), UNSUPPORTED, "tools[0].type");
}

#[test]
fn errors_are_one_text() {
    let reply = |error: Error| Legacy.error(&error, &RequestId(uuid::Uuid::nil()));
    let wait = Duration::from_secs(3);

    let unauthorized = reply(Error::bad_credentials());
    assert_eq!((unauthorized.status, unauthorized.body), (403, br#"{"error":"unauthorized"}"#.to_vec()));
    assert_eq!(unauthorized.headers, []);
    let limited = reply(Error::RateLimited { message: "ten a minute".into(), retry_after: wait });
    assert_eq!((limited.status, limited.body), (429, br#"{"error":"rate limit exceeded"}"#.to_vec()));
    assert_eq!(limited.headers, [("Retry-After", "3".into()), ("retry-after-ms", "3000".into())]);
    let busy = reply(Error::HostBusy { message: "busy".into(), retry_after: wait });
    assert_eq!((busy.status, busy.body), (503, br#"{"error":"busy"}"#.to_vec()));
}
