use super::*;
use crate::dialect::json::typed::tests::fields_of;
use crate::dialect::openai::OpenAi;
use crate::dialect::openai::message::OpenAiMessage;
use crate::dialect::{Dialect, TestHead};
use crate::model::chat::Role;
use crate::model::work::Work;

const POST: TestHead = TestHead { path: "/v1/chat/completions", headers: &[] };

/// A good request with some fields more.
fn decode(fields: &str) -> Result<(ChatRequest, Vec<String>), Error> {
    decode_body(&format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{fields}}}"#))
}

/// A request of one message.
fn decode_message(message: &str) -> Result<(ChatRequest, Vec<String>), Error> {
    decode_body(&format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}},{message}]}}"#))
}

fn decode_body(body: &str) -> Result<(ChatRequest, Vec<String>), Error> {
    let decoded = OpenAi.decode(&POST, body.as_bytes())?;
    let Work::Chat(chat) = decoded.work else { panic!("no chat") };
    Ok((chat, decoded.ignored))
}

#[track_caller]
fn refused(result: Result<(ChatRequest, Vec<String>), Error>, code: &str, field: &str) -> String {
    let error = result.expect_err("a refusal");
    assert_eq!((error.code(), error.field()), (code, Some(field)), "{error}");
    error.to_string()
}

const INVALID: &str = "invalid_request";
const UNSUPPORTED: &str = "unsupported_parameter";

#[test]
fn numbers_are_taken_up_to_openais_bounds() {
    for (name, low, high) in
        [("temperature", 0, 2), ("top_p", 0, 1), ("presence_penalty", -2, 2), ("frequency_penalty", -2, 2)]
    {
        for good in [format!("{low}"), format!("{high}"), format!("{high}.0"), "null".into()] {
            decode(&format!(r#","{name}":{good}"#)).unwrap();
        }
        for bad in [format!("{}", f64::from(low) - 0.01), format!("{high}.01"), "\"1\"".into(), "true".into()] {
            refused(decode(&format!(r#","{name}":{bad}"#)), INVALID, name);
        }
    }
    assert_eq!(decode(r#","temperature":0.7"#).unwrap().0.sampling.temperature, Some(0.7));
}

#[test]
fn a_seed_is_any_integer_of_64_bits() {
    for seed in [0, -1, i64::MIN, i64::MAX] {
        assert_eq!(decode(&format!(r#","seed":{seed}"#)).unwrap().0.sampling.seed, Some(seed));
    }
    refused(decode(r#","seed":9223372036854775808"#), INVALID, "seed");
    refused(decode(r#","seed":1.5"#), INVALID, "seed");
}

#[test]
fn a_limit_of_tokens_has_two_names_and_one_value() {
    let limit = |fields| decode(fields).map(|(chat, _)| chat.max_tokens);

    assert_eq!(limit("").unwrap(), None);
    assert_eq!(limit(r#","max_tokens":1"#).unwrap(), Some(1));
    assert_eq!(limit(r#","max_completion_tokens":5"#).unwrap(), Some(5));
    assert_eq!(limit(r#","max_tokens":5,"max_completion_tokens":5"#).unwrap(), Some(5));
    assert_eq!(limit(r#","max_tokens":5,"max_completion_tokens":null"#).unwrap(), Some(5));
    assert_eq!(limit(r#","max_tokens":9000000000"#).unwrap(), Some(u32::MAX));
    refused(decode(r#","max_tokens":5,"max_completion_tokens":6"#), INVALID, "max_completion_tokens");
    refused(decode(r#","max_tokens":0"#), INVALID, "max_tokens");
    // -1 stands for no limit with some clients: as if it were not there.
    assert_eq!(limit(r#","max_tokens":-1"#).unwrap(), None);
    assert_eq!(limit(r#","max_tokens":-1,"max_completion_tokens":5"#).unwrap(), Some(5));
    assert_eq!(decode(r#","max_tokens":-1"#).unwrap().1, ["max_tokens"]);
    refused(decode(r#","max_completion_tokens":-2"#), INVALID, "max_completion_tokens");
    refused(decode(r#","max_tokens":"5""#), INVALID, "max_tokens");
}

#[test]
fn stops_are_one_text_or_four_at_most() {
    let stop = |value: &str| decode(&format!(r#","stop":{value}"#)).map(|(chat, _)| chat.sampling.stop);

    assert_eq!(stop(r#""a""#).unwrap(), ["a"]);
    assert_eq!(stop(r#"["a","b","c","d"]"#).unwrap().len(), 4);
    for absent in ["null", "[]", "\"\""] {
        assert!(stop(absent).unwrap().is_empty());
    }
    refused(decode(r#","stop":["a","b","c","d","e"]"#), INVALID, "stop");
    refused(decode(r#","stop":["a",""]"#), INVALID, "stop[1]");
    refused(decode(r#","stop":["a",5]"#), INVALID, "stop[1]");
    refused(decode(r#","stop":5"#), INVALID, "stop");
}

#[test]
fn messages_are_needed() {
    refused(decode_body(r#"{"model":"m"}"#), INVALID, "messages");
    refused(decode_body(r#"{"model":"m","messages":[]}"#), INVALID, "messages");
    refused(decode_body(r#"{"model":"m","messages":null}"#), INVALID, "messages");
    refused(decode_body(r#"{"model":"m","messages":"hi"}"#), INVALID, "messages");
    refused(decode_body(r#"{"model":"m","messages":["hi"]}"#), INVALID, "messages[0]");
}

#[test]
fn a_model_is_needed() {
    let message = r#""messages":[{"role":"user","content":"hi"}]"#;

    for bad in ["", r#""model":"","#, r#""model":null,"#, r#""model":5,"#, r#""model":"a b","#] {
        refused(decode_body(&format!("{{{bad}{message}}}")), INVALID, "model");
    }
}

#[test]
fn roles_are_those_of_the_api() {
    let role = |role: &str| decode_message(&format!(r#"{{"role":"{role}","content":"x"}}"#));

    assert_eq!(role("system").unwrap().0.messages[1].role, Role::System);
    assert_eq!(role("developer").unwrap().0.messages[1].role, Role::System);
    assert_eq!(role("user").unwrap().0.messages[1].role, Role::User);
    assert_eq!(role("assistant").unwrap().0.messages[1].role, Role::Assistant);
    refused(role("tool"), INVALID, "messages[1].tool_call_id");
    refused(role("function"), UNSUPPORTED, "messages[1].role");
    refused(role("User"), INVALID, "messages[1].role");
    refused(role("robot"), INVALID, "messages[1].role");
    refused(decode_message(r#"{"content":"x"}"#), INVALID, "messages[1].role");
}

#[test]
fn content_is_text_or_parts_of_text() {
    let text = |content: &str| {
        decode_message(&format!(r#"{{"role":"user","content":{content}}}"#))
            .map(|(chat, _)| chat.messages[1].text().into_owned())
    };
    let field = "messages[1].content";

    assert_eq!(text(r#""""#).unwrap(), "");
    assert_eq!(text(r#""a\n\u00fc""#).unwrap(), "a\nü");
    assert_eq!(text(r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#).unwrap(), "ab");
    for (content, code, field) in [
        ("null", INVALID, field.to_owned()),
        ("[]", INVALID, field.to_owned()),
        ("5", INVALID, field.to_owned()),
        ("{}", INVALID, field.to_owned()),
        (r#"["a"]"#, INVALID, format!("{field}[0]")),
        (r#"[{"type":"text"}]"#, INVALID, format!("{field}[0].text")),
        (r#"[{"type":"text","text":5}]"#, INVALID, format!("{field}[0].text")),
        (r#"[{"text":"a"}]"#, INVALID, format!("{field}[0].type")),
        (r#"[{"type":"poem","text":"a"}]"#, INVALID, format!("{field}[0].type")),
        (r#"[{"type":"text","Text":"a"}]"#, INVALID, format!("{field}[0].Text")),
        (
            r#"[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"x"}}]"#,
            INVALID,
            format!("{field}[1].image_url.url"),
        ),
        (r#"[{"type":"input_audio","input_audio":{}}]"#, UNSUPPORTED, format!("{field}[0]")),
        (r#"[{"type":"file","file":{}}]"#, UNSUPPORTED, format!("{field}[0]")),
    ] {
        refused(decode_message(&format!(r#"{{"role":"user","content":{content}}}"#)), code, &field);
    }
}

#[test]
fn what_an_assistant_said_comes_back_in_several_shapes() {
    let message = |message: &str| decode_message(message).map(|(mut chat, _)| chat.messages.remove(1));

    let refusing = message(r#"{"role":"assistant","content":null,"refusal":"no"}"#).unwrap();
    assert_eq!(refusing.text(), "no");
    for name in ["reasoning", "reasoning_content"] {
        let thinking = message(&format!(r#"{{"role":"assistant","content":"a","{name}":"hm"}}"#)).unwrap();
        assert_eq!(thinking.reasoning(), "hm");
    }
    message(r#"{"role":"assistant","content":"a","reasoning":"hm","reasoning_content":"hm"}"#).unwrap();
    for (first, second) in [("reasoning", "reasoning_content"), ("reasoning_content", "reasoning")] {
        let body = format!(r#"{{"role":"assistant","content":"a","{first}":"hm","{second}":"oh"}}"#);
        refused(decode_message(&body), INVALID, &format!("messages[1].{second}"));
    }
    message(r#"{"role":"assistant","content":"a","refusal":null,"tool_calls":[],"function_call":null,"audio":null}"#)
        .unwrap();
    for field in ["function_call", "audio"] {
        let body = format!(r#"{{"role":"assistant","content":"a","{field}":{{"a":1}}}}"#);
        refused(decode_message(&body), UNSUPPORTED, &format!("messages[1].{field}"));
    }
}

#[test]
fn what_changes_the_meaning_and_is_not_offered_is_refused_by_name() {
    for (field, value) in [
        ("logit_bias", r#"{"50256":-100}"#),
        ("functions", r#"[{"name":"f"}]"#),
        ("function_call", r#""auto""#),
        ("modalities", r#"["text","audio"]"#),
        ("audio", r#"{"voice":"a"}"#),
        ("prediction", r#"{"type":"content","content":"a"}"#),
        ("prediction", "{}"),
        ("web_search_options", r#"{"a":1}"#),
        ("web_search_options", "{}"),
    ] {
        refused(decode(&format!(r#","{field}":{value}"#)), UNSUPPORTED, field);
    }
}

#[test]
fn one_answer_to_128_may_be_asked_for() {
    for (n, expected) in [("null", 1), ("1", 1), ("128", 128)] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"n":{n}}}"#);
        let decoded = OpenAi.decode(&POST, body.as_bytes()).unwrap();
        assert_eq!(decoded.reply.choices(), expected);
    }
    for n in ["0", "129", "1.5", "-1"] {
        refused(decode(&format!(r#","n":{n}"#)), INVALID, "n");
    }
}

const TOOLS: &str = r#","tools":[{"type":"function","function":{"name":"f","parameters":{}}},{"type":"function","function":{"name":"g"}}]"#;

#[test]
fn a_choice_of_tools_leaves_those_that_may_be_called() {
    let allowed = |mode: &str, names: &str| {
        format!(r#"{{"type":"allowed_tools","allowed_tools":{{"mode":"{mode}","tools":[{names}]}}}}"#)
    };
    let g = r#"{"type":"function","function":{"name":"g"}}"#;
    for (choice, left, must_call) in [
        (r#""none""#, &[][..], false),
        (r#""auto""#, &["f", "g"], false),
        (r#""required""#, &["f", "g"], true),
        (g, &["g"], true),
        (&allowed("auto", g), &["g"], false),
        (&allowed("required", g), &["g"], true),
        (&allowed("auto", ""), &[], false),
    ] {
        // A choice may stand before what it chooses from.
        for fields in [format!(r#","tool_choice":{choice}{TOOLS}"#), format!(r#"{TOOLS},"tool_choice":{choice}"#)] {
            let chat = decode(&fields).unwrap().0;
            let names: Vec<_> = chat.tools.iter().map(|tool| tool.name.as_str()).collect();
            assert_eq!((&names[..], chat.must_call), (left, must_call), "{choice}");
        }
    }
}

#[test]
fn a_choice_that_leaves_nothing_to_call_is_refused() {
    for (choice, code, field) in [
        (r#""always""#, INVALID, "tool_choice"),
        ("5", INVALID, "tool_choice"),
        (r#"{"type":"function"}"#, INVALID, "tool_choice.function"),
        (r#"{"type":"function","function":{}}"#, INVALID, "tool_choice.function.name"),
        (r#"{"type":"function","function":{"name":"h"}}"#, INVALID, "tool_choice.function.name"),
        (r#"{"type":"custom","custom":{"name":"f"}}"#, UNSUPPORTED, "tool_choice.type"),
        (r#"{"type":"allowed_tools"}"#, INVALID, "tool_choice.allowed_tools"),
        (r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[]}}"#, INVALID, "tool_choice"),
        (
            r#"{"type":"allowed_tools","allowed_tools":{"mode":"never","tools":[]}}"#,
            INVALID,
            "tool_choice.allowed_tools.mode",
        ),
        (
            r#"{"type":"allowed_tools","allowed_tools":{"tools":[{"function":{"name":"h"}}]}}"#,
            INVALID,
            "tool_choice.allowed_tools.tools[0].function.name",
        ),
    ] {
        refused(decode(&format!(r#"{TOOLS},"tool_choice":{choice}"#)), code, field);
    }
    refused(decode(r#","tool_choice":"required""#), INVALID, "tool_choice");
    refused(decode(r#","tools":[],"tool_choice":"required""#), INVALID, "tool_choice");
}

#[test]
fn tools_are_functions_with_names() {
    for (tool, code, field) in [
        (r#""f""#, INVALID, "tools[0]"),
        (r#"{"type":"function"}"#, INVALID, "tools[0].function"),
        (r#"{"type":"web_search"}"#, UNSUPPORTED, "tools[0].type"),
        (r#"{"type":"function","function":{}}"#, INVALID, "tools[0].function.name"),
        (r#"{"type":"function","function":{"name":"f","parameters":true}}"#, INVALID, "tools[0].function.parameters"),
        (r#"{"type":"function","Function":{}}"#, INVALID, "tools[0].Function"),
    ] {
        refused(decode(&format!(r#","tools":[{tool}]"#)), code, field);
    }
    let many = |count: usize| {
        let tools = vec![r#"{"type":"function","function":{"name":"f"}}"#; count].join(",");
        decode(&format!(r#","tools":[{tools}]"#))
    };
    assert_eq!(many(128).unwrap().0.tools.len(), 128);
    refused(many(129), INVALID, "tools");
}

#[test]
fn calls_that_come_back_have_arguments_in_a_string() {
    let call = |call: &str| {
        decode_message(&format!(r#"{{"role":"assistant","content":null,"tool_calls":[{call}]}}"#)).map(
            |(chat, ignored)| {
                let call = chat.messages[1].tool_calls().next().unwrap();
                (call.arguments.get().to_owned(), ignored)
            },
        )
    };
    let with = |arguments: &str| {
        call(&format!(r#"{{"id":"a","type":"function","function":{{"name":"f","arguments":{arguments}}}}}"#))
            .map(|(arguments, _)| arguments)
    };

    assert_eq!(with(r#""{\"z\": 1, \"a\": [2]}""#).unwrap(), r#"{"z": 1, "a": [2]}"#);
    for empty in [r#""""#, r#"" ""#, "null", r#""{}""#] {
        assert_eq!(with(empty).unwrap(), "{}");
    }
    for bad in ["{}", "5"] {
        let refusal = with(bad).unwrap_err();
        assert_eq!(refusal.field(), Some("messages[1].tool_calls[0].function.arguments"), "{refusal}");
    }
    assert_eq!(call(r#"{"function":{"name":"f"}}"#).unwrap_err().field(), Some("messages[1].tool_calls[0].id"));
    assert_eq!(
        call(r#"{"id":"a","function":{}}"#).unwrap_err().field(),
        Some("messages[1].tool_calls[0].function.name")
    );
}

#[test]
fn probabilities_have_as_many_alternatives_as_asked_for() {
    let logprobs = |fields: &str| decode(fields).map(|(chat, _)| chat.logprobs);

    assert_eq!(logprobs("").unwrap(), None);
    assert_eq!(logprobs(r#","logprobs":true"#).unwrap(), Some(0));
    assert_eq!(logprobs(r#","logprobs":true,"top_logprobs":20"#).unwrap(), Some(20));
    refused(decode(r#","logprobs":true,"top_logprobs":21"#), INVALID, "top_logprobs");
    refused(decode(r#","logprobs":false,"top_logprobs":1"#), INVALID, "top_logprobs");
    refused(decode(r#","top_logprobs":1"#), INVALID, "top_logprobs");
}

#[test]
fn null_empty_and_default_values_mean_absent() {
    for field in fields_of::<Body>() {
        if ["model", "messages"].contains(field) {
            continue;
        }
        let empties = ["null", "[]", "{}", "\"\""];
        for empty in &empties[..if ["prediction", "web_search_options"].contains(field) { 1 } else { 4 }] {
            let (_, ignored) =
                decode(&format!(r#","{field}":{empty}"#)).unwrap_or_else(|error| panic!("{field}: {error}"));
            assert!(ignored.is_empty(), "{field}");
        }
    }
    for fine in [
        r#""n":1"#,
        r#""logprobs":false"#,
        r#""top_logprobs":0"#,
        r#""modalities":["text"]"#,
        r#""tool_choice":"none""#,
        r#""tool_choice":"auto""#,
        r#""parallel_tool_calls":true"#,
        r#""response_format":{"type":"text"}"#,
    ] {
        assert_eq!(decode(&format!(",{fine}")).unwrap().1, [""; 0], "{fine}");
    }
}

#[test]
fn fields_without_effect_are_named() {
    let (_, ignored) = decode(
            r#","store":false,"metadata":{"a":"b"},"user":"u","safety_identifier":"s","service_tier":"auto","verbosity":"low",
            "prompt_cache_key":"k","keep_alive":0,"options":{"num_ctx":9},"think":true,"bad\nname":1"#,
        )
        .unwrap();

    let expected = [
        "store",
        "metadata",
        "user",
        "safety_identifier",
        "service_tier",
        "verbosity",
        "prompt_cache_key",
        "keep_alive",
        "options",
        "think",
        "bad?name",
    ];
    assert_eq!(ignored, expected);
    let (_, ignored) = decode_message(r#"{"role":"user","content":"x","name":"ann","colour":1}"#).unwrap();
    assert_eq!(ignored, ["messages[].colour", "messages[].name"]);
}

#[test]
fn another_spelling_of_a_field_is_refused_with_the_right_one() {
    assert_eq!(fields_of::<Body>().len(), 38);
    for field in fields_of::<Body>() {
        let other = field.to_uppercase();
        let body = format!(r#"{{"{other}":null}}"#);
        let message = refused(decode_body(&body), INVALID, &other);
        assert!(message.ends_with(&format!("write `{field}`")), "{message}");
    }
    assert_eq!(fields_of::<OpenAiMessage>().len(), 11);
    for field in fields_of::<OpenAiMessage>() {
        let other = field.to_uppercase();
        let message = refused(decode_message(&format!(r#"{{"{other}":1}}"#)), INVALID, &format!("messages[1].{other}"));
        assert!(message.ends_with(&format!("write `{field}`")), "{message}");
    }
    refused(
        decode(r#","stream":true,"stream_options":{"Include_Usage":true}"#),
        INVALID,
        "stream_options.Include_Usage",
    );
    refused(decode(r#","response_format":{"Type":"text"}"#), INVALID, "response_format.Type");
}

#[test]
fn the_role_says_which_fields_of_a_message_count() {
    let call = r#""tool_calls":[{"id":"c","function":{"name":"f"}}]"#;
    let others = format!(r#""content":"a","name":"n","reasoning":"hm","tool_call_id":"c","annotations":[1],{call}"#);
    for (role, ignored) in [
        ("user", &["annotations", "name", "reasoning", "tool_calls", "tool_call_id"][..]),
        ("system", &["annotations", "name", "reasoning", "tool_calls", "tool_call_id"]),
        ("assistant", &["annotations", "name", "tool_call_id"]),
        ("tool", &["annotations", "reasoning", "tool_calls"]),
    ] {
        let noted = decode_message(&format!(r#"{{"role":"{role}",{others}}}"#)).unwrap().1;
        let expected: Vec<_> = ignored.iter().map(|field| format!("messages[].{field}")).collect();
        assert_eq!(noted, expected, "{role}");
    }
    for field in fields_of::<OpenAiMessage>() {
        for empty in ["null", "[]", "{}", "\"\""] {
            if ["role", "content"].contains(field) {
                continue;
            }
            let message = format!(r#"{{"role":"user","content":"a","{field}":{empty}}}"#);
            assert_eq!(decode_message(&message).unwrap().1, [""; 0], "{message}");
        }
    }
}

const PIXEL: &str = "data:;base64,iVBORw0KGgo=";

#[test]
fn fields_of_a_part_without_effect_are_named_and_those_of_another_type_are_not() {
    let ignored = |parts: &str| decode_message(&format!(r#"{{"role":"user","content":[{parts}]}}"#)).unwrap().1;

    for fine in [
        r#"{"type":"text","text":"a","image_url":null,"refusal":null,"file":{"a":1},"input_audio":"b"}"#.into(),
        r#"{"type":"text","text":"","image_url":{},"refusal":""}"#.into(),
        format!(r#"{{"type":"image_url","image_url":"{PIXEL}","text":""}}"#),
        format!(r#"{{"type":"image_url","image_url":{{"url":"{PIXEL}","detail":"auto"}}}}"#),
        format!(r#"{{"type":"image_url","image_url":{{"url":"{PIXEL}","detail":null,"x":null}}}}"#),
    ] {
        assert_eq!(ignored(&fine), [""; 0], "{fine}");
    }
    let noted = format!(
        r#"{{"type":"text","text":"a","cache_control":{{"type":"ephemeral"}}}},
        {{"type":"image_url","image_url":{{"url":"{PIXEL}","detail":"high","size":1}}}}"#
    );
    assert_eq!(
        ignored(&noted),
        [
            "messages[].content[].cache_control",
            "messages[].content[].image_url.size",
            "messages[].content[].image_url.detail",
        ]
    );
}

#[test]
fn an_image_is_an_object_with_a_uri_or_the_uri_alone() {
    let image = |value: &str| {
        let message = format!(r#"{{"role":"user","content":[{{"type":"image_url","image_url":{value}}}]}}"#);
        decode_message(&message).map(|(chat, _)| chat.messages[1].images().next().unwrap().bytes.clone())
    };
    let field = "messages[1].content[0].image_url";

    // A slash may be escaped, as PHP does it.
    let escaped = r#"{"url":"data:image\/png;base64,iVBORw0KGgo="}"#.into();
    for good in [format!("\"{PIXEL}\""), format!(r#"{{"url":"{PIXEL}"}}"#), escaped] {
        assert_eq!(image(&good).unwrap(), b"\x89PNG\r\n\x1a\n"[..], "{good}");
    }
    for (bad, place) in [
        ("null", ""),
        ("5", ""),
        ("[]", ""),
        ("\"\"", ""),
        ("{}", ".url"),
        (r#"{"url":null}"#, ".url"),
        (r#"{"url":""}"#, ".url"),
        (r#"{"url":5}"#, ".url"),
        (r#"{"url":"https://example.org/a.png"}"#, ".url"),
        (r#"{"URL":"x"}"#, ".URL"),
        (r#"{"url":"x","detail":5}"#, ".detail"),
    ] {
        let refusal = image(bad).expect_err(bad);
        assert_eq!(refusal.field(), Some(&*format!("{field}{place}")), "{bad}: {refusal}");
    }
    assert!(image("[]").unwrap_err().to_string().ends_with("must be an object, not an array"));
}

#[test]
fn options_of_a_stream_need_a_stream() {
    decode(r#","stream":true,"stream_options":{"include_usage":true}"#).unwrap();
    decode(r#","stream_options":{"include_usage":true},"stream":true"#).unwrap();
    refused(decode(r#","stream_options":{"include_usage":true}"#), INVALID, "stream_options");
    refused(decode(r#","stream":false,"stream_options":{"include_usage":false}"#), INVALID, "stream_options");
    refused(decode(r#","stream":true,"stream_options":{"include_usage":1}"#), INVALID, "stream_options.include_usage");
    refused(decode(r#","stream":"yes""#), INVALID, "stream");
}

#[test]
fn a_format_is_text_json_or_a_schema() {
    let format = |value: &str| decode(&format!(r#","response_format":{value}"#)).map(|(chat, _)| chat.format);

    assert!(format(r#"{"type":"text"}"#).unwrap().is_none());
    assert!(matches!(format(r#"{"type":"json_object"}"#), Ok(Some(Format::Json))));
    let schema = format(r#"{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"z":1,"a":2}}}"#);
    let Ok(Some(Format::Schema { schema, .. })) = schema else { panic!("{schema:?}") };
    assert_eq!(schema.to_string(), r#"{"z":1,"a":2}"#);
    for (bad, field) in [
        (r#"{"type":"json_schema"}"#, "response_format.json_schema.schema"),
        (r#"{"type":"json_schema","json_schema":{"name":"n"}}"#, "response_format.json_schema.schema"),
        (r#"{"type":"json_schema","json_schema":{"schema":"s"}}"#, "response_format.json_schema.schema"),
        (r#"{"type":"xml"}"#, "response_format.type"),
        (r#"{"json_schema":{}}"#, "response_format.type"),
        (r#""json""#, "response_format"),
    ] {
        refused(decode(&format!(r#","response_format":{bad}"#)), INVALID, field);
    }
}

#[test]
fn effort_has_ollamas_levels() {
    let think = |fields: &str| decode(fields).map(|(chat, _)| chat.think.map(|think| think.level));

    for (effort, level) in [
        ("none", Think::Off),
        ("minimal", Think::Low),
        ("low", Think::Low),
        ("medium", Think::Medium),
        ("high", Think::High),
        ("xhigh", Think::Max),
        ("max", Think::Max),
        ("ultra", Think::Max),
    ] {
        assert_eq!(think(&format!(r#","reasoning_effort":"{effort}""#)).unwrap(), Some(level));
        assert_eq!(think(&format!(r#","reasoning":{{"effort":"{effort}"}}"#)).unwrap(), Some(level));
    }
    refused(decode(r#","reasoning_effort":"huge""#), INVALID, "reasoning_effort");
    refused(decode(r#","reasoning":{"effort":"huge"}"#), INVALID, "reasoning.effort");
    refused(decode(r#","reasoning_effort":"low","reasoning":{"effort":"high"}"#), INVALID, "reasoning.effort");
}

#[test]
fn a_prompt_that_does_not_fit_is_an_error_and_not_cut() {
    assert_eq!(decode("").unwrap().0.too_long, Some(TooLong::Refuse));
}
