use super::*;
use crate::dialect::json::at::SHOWN_CHARS_MAX;
use crate::dialect::json::parse::VALUES_MAX;

fn refusal(body: impl AsRef<[u8]>) -> (String, String) {
    let error = check_json(body.as_ref()).unwrap_err();
    (error.field().unwrap().to_owned(), error.to_string())
}

#[test]
fn an_object_with_unique_keys_passes() {
    for good in ["{}", " {\"a\":1,\"b\":{\"a\":[{\"a\":1},{\"a\":2}]}}\n", r#"{"ä":1,"Ö":2}"#, r#"{"":1}"#] {
        check_json(good.as_bytes()).unwrap();
    }
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    let cases: [(&[u8], &str); 9] = [
        (b"", "the body is empty; send a JSON object"),
        (b" \n", "the body is empty; send a JSON object"),
        (b"[1]", "the body must be a JSON object, not an array"),
        (b"\"x\"", "the body must be a JSON object, not a string"),
        (b"null", "the body must be a JSON object, not null"),
        (b"\xef\xbb\xbf{}", "the body begins with a byte order mark; send UTF-8 without it"),
        (
            b"{\"a\":\"\xff\"}",
            "the body is not UTF-8 (byte 6); send it as UTF-8, with `charset=utf-8` where a client asks",
        ),
        (b"{\"a\":1,}", "the body is not valid JSON: trailing comma at line 1 column 8"),
        (b"{} {}", "the body is not valid JSON: trailing characters at line 1 column 4"),
    ];
    for (body, message) in cases {
        assert_eq!(refusal(body), ("body".to_owned(), message.to_owned()));
    }
    for bad in [
        "{",
        "{\"a\"",
        "{\"a\":1",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":1e999}",
        "{\"a\":NaN}",
        r#"{"a":"\ud800"}"#,
        "{1:2}",
    ] {
        assert_eq!(refusal(bad).0, "body", "{bad}");
    }
}

#[test]
fn a_key_that_is_there_twice_is_named_with_its_path() {
    assert_eq!(refusal(r#"{"a":1,"a":2}"#), ("a".into(), "`a` is there twice; send it once".into()));
    assert_eq!(refusal(r#"{"m":[{},{"x":{"role":1,"role":1}}]}"#).0, "m[1].x.role");
    // An escape does not hide it.
    assert_eq!(refusal(r#"{"a":1,"\u0061":2}"#).0, "a");
}

#[test]
fn keys_that_differ_only_by_case_are_named() {
    let message = "`m[0].Role` and `role` differ only by case; send one of them";

    assert_eq!(refusal(r#"{"m":[{"role":1,"Role":2}]}"#), ("m[0].Role".into(), message.into()));
    // Go takes the Kelvin sign and the long s for letters.
    assert_eq!(refusal("{\"key\":1,\"\u{212a}ey\":2}").0, "\u{212a}ey");
    assert_eq!(refusal("{\"stop\":1,\"\u{17f}top\":2}").0, "\u{17f}top");
    assert_eq!(refusal(r#"{"ä":1,"Ä":2}"#).0, "Ä");
}

#[test]
fn names_of_the_clients_own_are_its_business() {
    let body = r#"{"a":{"own":{"x":1,"X":2,"":3,"x":4},"other":1},"own":[{"y":1,"y":2}],"b":{"own":"text"}}"#;
    let mut fields = read(body.as_bytes(), &["own"]).unwrap().into_iter();
    let mut next = || fields.next().unwrap().1;
    let at = At::Body.key("a");

    let inside = next().object(&at).unwrap();
    assert_eq!(inside[0].1.clone().data(&at).unwrap().text(), r#"{"x":1,"X":2,"":3,"x":4}"#);
    let list = next();
    assert_eq!(list.data(&at).unwrap_err().to_string(), "`a` must be an object, not an array");
    assert_eq!(next().object(&at).unwrap()[0].1, Json::Text("text".into()));
    // A field that no dialect knows may hold any names.
    assert!(read(br#"{"unknown":{"x":1,"X":2}}"#, &[]).is_ok());
    assert_eq!(read(br#"{"x":1,"X":2}"#, &[]).unwrap_err().field(), Some("X"));
}

#[test]
fn what_is_the_clients_own_counts_as_values_and_has_to_be_json() {
    let own = |text: &str| read(format!(r#"{{"own":{text}}}"#).as_bytes(), &["own"]).map(|fields| fields.len());
    let zeros = |count: usize| format!("[{}]", vec!["0"; count].join(","));

    assert!(own(&zeros(VALUES_MAX - 2)).is_ok());
    assert!(own(&zeros(VALUES_MAX)).unwrap_err().to_string().contains("more than 500000 values"));
    assert!(own(&"[".repeat(100_000)).is_err());
    assert!(own(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).is_ok());
    for bad in ["{", "{'a':1}", "{\"a\":01}", "nul", "\"\n\"", "1e999"] {
        assert_eq!(own(bad).unwrap_err().field(), Some("body"), "{bad}");
    }
}

#[test]
fn a_clash_is_found_among_any_number_of_keys() {
    for count in [1, 15, 16, 17, 18, 40] {
        let keys: Vec<String> = (0..count).map(|number| format!("\"key{number}\":0")).collect();
        let with = |last: &str| format!("{{{},\"{last}\":0}}", keys.join(","));

        check_json(with("other").as_bytes()).unwrap();
        assert_eq!(refusal(with("key0")).0, "key0", "{count}");
        assert_eq!(refusal(with("KEY0")).0, "KEY0", "{count}");
    }
}

#[test]
fn nesting_has_a_limit() {
    let nested = |levels: usize| format!("{{\"a\":{}0{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));

    check_json(nested(NESTING_MAX).as_bytes()).unwrap();
    assert!(refusal(nested(NESTING_MAX + 1)).1.contains("100 levels"));
    assert!(refusal(nested(100_000)).1.contains("100 levels"));
    assert_eq!(refusal("{\"a\":".repeat(100_000)).0, "body");
}

#[test]
fn the_number_of_values_has_a_limit() {
    // The object and the array are values, too.
    let zeros = |count: usize| format!("{{\"a\":[{}]}}", vec!["0"; count - 2].join(","));

    check_json(zeros(VALUES_MAX).as_bytes()).unwrap();
    assert!(refusal(zeros(VALUES_MAX + 1)).1.contains("more than 500000 values"));
}

#[test]
fn client_text_in_a_message_is_short_and_on_one_line() {
    let long = "x".repeat(1000);

    let (field, message) = refusal(format!("{{\"{long}\":1,\"{long}\":1}}"));

    assert_eq!(field.chars().count(), SHOWN_CHARS_MAX + 1);
    assert!(message.len() < 200);
    assert_eq!(refusal("{\"a\\n\":1,\"a\\n\":1}").0, "a?");
}

#[test]
fn a_wrong_type_is_named_and_its_value_is_not_shown() {
    let secret = || Json::Text("secret".into());
    let here = At::Body.key("messages");
    let here = here.index(2);
    let here = here.key("content");

    let error = secret().boolean(&here).unwrap_err();

    assert_eq!(error.to_string(), "`messages[2].content` must be a boolean, not a string");
    assert_eq!(error.field(), Some("messages[2].content"));
    for error in [secret().integer(&here), secret().array(&here).map(|_| 0), secret().object(&here).map(|_| 0)] {
        assert!(!error.unwrap_err().to_string().contains("secret"));
    }
}

#[test]
fn whole_numbers_may_be_written_as_floats() {
    let integer = |text: &str| Json::Number(serde_json::from_str(text).unwrap()).integer(&At::Body.key("n"));

    assert_eq!(integer("2.0").unwrap(), 2);
    assert_eq!(integer("-9223372036854775808").unwrap(), i64::MIN);
    assert_eq!(integer("9223372036854775807").unwrap(), i64::MAX);
    assert!(integer("9223372036854775808").is_err());
    assert!(integer("2.5").is_err());
    assert!(integer("1e300").is_err());
}

#[test]
fn ignored_names_are_few_short_and_fit_a_header() {
    let mut ignored = Ignored::default();
    for number in 0..40 {
        ignored.add(format_args!("field{number}"));
        ignored.add("twice");
    }
    let names = ignored.into_names();
    assert_eq!(names.len(), 33);
    assert_eq!(names[32], "and 9 more");

    let mut ignored = Ignored::default();
    ignored.add(format_args!("a\r\nb, ü{}", "x".repeat(100)));
    let names = ignored.into_names();
    assert!(names[0].starts_with("a??b???xx"), "{names:?}");
    assert_eq!(names[0].len(), SHOWN_CHARS_MAX);
}
