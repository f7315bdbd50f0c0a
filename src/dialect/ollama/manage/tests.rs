use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn made(body: Value) -> NewModel {
    match create(body.to_string().as_bytes()).unwrap().change {
        ModelChange::Create(new) => *new,
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_that_a_model_is_made_from_is_taken() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let decoded = create(
        json!({ "model": "new:1b", "from": "old", "files": { "a/b.gguf": digest }, "adapters": { "c.bin": digest },
            "template": "{{ .Prompt }}", "system": "Be brief.", "license": "MIT", "quantize": "q4_K_M", "renderer": "r-1",
            "parser": "p", "requires": "0.24.0", "stream": false, "keep": 1,
            "parameters": { "num_ctx": 4096, "temperature": 0.5, "stop": ["a", "b"], "use_mmap": true, "mirostat": "1" },
            "messages": [{ "role": "user", "content": "hi" }, { "role": "assistant", "content": "hello" }] })
        .to_string()
        .as_bytes(),
    )
    .unwrap();

    assert_eq!((decoded.answer, decoded.ignored.as_slice()), (ChangeAnswer::Last, &["keep".to_owned()][..]));
    let ModelChange::Create(new) = decoded.change else { panic!() };
    assert_eq!((new.model.as_str(), new.from.unwrap().as_str().to_owned()), ("new:1b", "old".to_owned()));
    assert_eq!((new.files[0].0.as_str(), new.adapters[0].1.as_str()), ("a/b.gguf", digest.as_str()));
    assert_eq!((new.template.as_deref(), new.system.as_deref()), (Some("{{ .Prompt }}"), Some("Be brief.")));
    assert_eq!((new.licenses, new.quantize.as_deref()), (vec!["MIT".to_owned()], Some("q4_K_M")));
    assert_eq!(
        (new.renderer.as_deref(), new.parser.as_deref(), new.requires.as_deref()),
        (Some("r-1"), Some("p"), Some("0.24.0"))
    );
    assert_eq!(
        new.parameters,
        [
            ("mirostat".to_owned(), ParameterValue::Text("1".into())),
            ("num_ctx".to_owned(), ParameterValue::Whole(4096)),
            ("stop".to_owned(), ParameterValue::Texts(vec!["a".into(), "b".into()])),
            ("temperature".to_owned(), ParameterValue::Number(0.5)),
            ("use_mmap".to_owned(), ParameterValue::Flag(true)),
        ]
    );
    assert_eq!(new.messages[1], ("assistant".to_owned(), "hello".to_owned()));
}

#[test]
fn what_older_clients_call_a_model_is_taken_and_null_is_absent() {
    let name = |body: &str| match pull(body.as_bytes()).unwrap() {
        DecodedChange { change: ModelChange::Pull(model), answer: ChangeAnswer::Stream, .. } => {
            model.as_str().to_owned()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(name(r#"{"name":"m"}"#), "m");
    assert_eq!(name(r#"{"model":"m","name":"m","insecure":false,"username":null}"#), "m");

    let new = made(json!({ "model": "m", "from": "f", "files": {}, "license": null, "parameters": {}, "system": "" }));
    assert!(new.files.is_empty() && new.licenses.is_empty() && new.parameters.is_empty());
    // Without a text is not the same as with the old one.
    assert_eq!((new.system.as_deref(), new.template), (Some(""), None));
}

#[test]
fn lists_have_a_longest_length() {
    let many = |count: usize| {
        let options: serde_json::Map<String, Value> = (0..count).map(|n| (format!("o{n}"), json!(1))).collect();
        create(json!({ "model": "m", "from": "f", "parameters": options }).to_string().as_bytes())
    };
    assert!(many(ENTRIES_MAX).is_ok());
    assert_eq!(many(ENTRIES_MAX + 1).unwrap_err().field(), Some("parameters"));
}

#[test]
fn file_names_stay_below_their_folder() {
    for good in ["model.gguf", "a/b/c.safetensors", "a b.bin", ".hidden"] {
        assert!(is_file_name(good), "{good}");
    }
    for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "C:a", "a\nb", "a\u{202e}b", &"x".repeat(257)] {
        assert!(!is_file_name(bad), "{bad:?}");
    }
}

/// Bodies that are nearly right.
fn any_body() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        "model|name|from|source|destination|files|adapters|license|parameters|messages|stream|insecure|system|quantize",
        "[a-zA-Z_]{0,8}",
    ];
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        "[ -~]{0,12}".prop_map(|text| json!(text)),
        "sha256:[0-9a-f]{64}".prop_map(|text| json!(text)),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z/.]{0,6}|role|content", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    let body = prop::collection::btree_map(field, value, 0..8)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()).to_string());
    prop_oneof![8 => body, 1 => ".{0,40}"]
}

proptest! {
    #[test]
    fn no_body_makes_a_reader_panic(body in any_body()) {
        for read in [pull, push, create, copy, delete] {
            let _ = read(body.as_bytes());
        }
    }
}
