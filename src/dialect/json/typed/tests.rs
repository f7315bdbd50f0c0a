use super::*;
use crate::dialect::json;
use crate::dialect::json::values::{Integer, NotOffered, Number, Stops, TokenLimit};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Body {
    model: Option<String>,
    heat: Option<Number<0, 2>>,
    count: Option<Integer<1, 9>>,
    limit: Option<TokenLimit>,
    stop: Option<Stops>,
    form: Option<Form>,
    sent: Sent<String>,
    items: Option<Vec<Item>>,
    user: NoEffect,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Short,
    Long,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Item {
    name: String,
    #[serde(default)]
    part: Option<Part>,
}

#[derive(Debug, PartialEq, Deserialize)]
enum Part {
    #[serde(rename = "a string")]
    Text(String),
    #[serde(rename = "an array of parts")]
    Several(Vec<Item>),
    #[serde(rename = "(a number)")]
    Number,
}

fn read(body: &str) -> Result<(Body, Vec<String>), Error> {
    let mut ignored = Ignored::default();
    let body = read_body(json::read(body.as_bytes(), &["own"])?, &mut ignored)?;
    Ok((body, ignored.into_names()))
}

#[track_caller]
fn refused(body: &str) -> (String, String) {
    let error = read(body).expect_err("a refusal");
    assert_eq!(error.code(), "invalid_request");
    (error.field().unwrap_or_default().to_owned(), error.to_string())
}

#[test]
fn fields_are_read_by_their_types() {
    let body = r#"{"model":"m","heat":2,"count":9.0,"limit":7,"stop":["a"],"form":"long","sent":""}"#;
    let (read, ignored) = read(body).unwrap();

    assert_eq!(
        read,
        Body {
            model: Some("m".into()),
            heat: Some(Number(2.0)),
            count: Some(Integer(9)),
            limit: Some(TokenLimit::AtMost(7)),
            stop: Some(Stops::Several(vec!["a".into()])),
            form: Some(Form::Long),
            sent: Sent(Some(String::new())),
            items: None,
            user: NoEffect::default(),
        }
    );
    assert_eq!(ignored, Vec::<String>::new());
}

#[test]
fn null_and_empty_mean_absent_unless_a_field_counts_as_sent() {
    for empty in ["null", "\"\"", "[]", "{}"] {
        let body =
            format!(r#"{{"model":{empty},"heat":{empty},"stop":{empty},"items":{empty},"user":{empty},"x":{empty}}}"#);
        assert_eq!(read(&body).unwrap(), (Body::default(), vec![]), "{empty}");
    }
    assert_eq!(read(r#"{"sent":null}"#).unwrap().0.sent, Sent(None));
    assert_eq!(refused(r#"{"sent":[]}"#), ("sent".into(), "`sent` must be a string, not an array".into()));
}

#[test]
fn what_has_no_effect_is_noted_in_the_order_of_the_body() {
    let body =
        r#"{"zeta":1,"items":[{"name":"a","x":1},{"name":"b","x":{"y":2}}],"user":"u","limit":-1,"own":{"a":1}}"#;
    let mut ignored = Ignored::default();
    let body: Body = read_body(json::read(body.as_bytes(), &["own"]).unwrap(), &mut ignored).unwrap();

    // Noted after the body was read.
    assert_eq!(body.limit.unwrap().at_most("limit", &mut ignored), None);
    ignored.add("items[].name");
    assert_eq!(ignored.into_names(), ["zeta", "items[].x", "items[].name", "user", "limit", "own"]);
}

#[test]
fn a_wrong_value_is_named_with_its_path_and_what_is_right() {
    for (body, field, message) in [
        (r#"{"model":5}"#, "model", "`model` must be a string, not a number"),
        (r#"{"heat":2.1}"#, "heat", "`heat` must be between 0 and 2"),
        (r#"{"heat":-0.1}"#, "heat", "`heat` must be between 0 and 2"),
        (r#"{"count":0}"#, "count", "`count` must be between 1 and 9"),
        (r#"{"count":10}"#, "count", "`count` must be between 1 and 9"),
        (r#"{"count":1.5}"#, "count", "`count` must be an integer, not a fraction"),
        (r#"{"limit":0}"#, "limit", "`limit` must be at least 1, or -1 for the gateway's own limit"),
        (r#"{"form":"wide"}"#, "form", "`form` must be `short` or `long`"),
        (r#"{"form":true}"#, "form", "`form` must be a string, not a boolean"),
        (r#"{"stop":{"a":1}}"#, "stop", "`stop` must be a string or an array of strings, not an object"),
        (r#"{"stop":["a",5]}"#, "stop[1]", "`stop[1]` must be a string, not a number"),
        (r#"{"items":{"a":1}}"#, "items", "`items` must be an array, not an object"),
        (r#"{"items":[{"name":"a"},7]}"#, "items[1]", "`items[1]` must be an object, not a number"),
        (r#"{"items":[{}]}"#, "items[0].name", "`items[0].name` is missing"),
        (
            r#"{"items":[{"name":"a","part":[{"name":"b"},{"name":null}]}]}"#,
            "items[0].part[1].name",
            "`items[0].part[1].name` must be a string, not null",
        ),
        (
            r#"{"items":[{"name":"a","part":true}]}"#,
            "items[0].part",
            "`items[0].part` must be a string or an array of parts, not a boolean",
        ),
    ] {
        assert_eq!(refused(body), (field.to_owned(), message.to_owned()), "{body}");
    }
    assert_eq!(read(r#"{"items":[{"name":"a","part":7}]}"#).unwrap().0.items.unwrap()[0].part, Some(Part::Number));
}

#[test]
fn another_spelling_of_a_field_and_a_field_that_is_there_twice_are_refused() {
    for (body, field, message) in [
        (r#"{"Model":"m"}"#, "Model", "`Model` is not a field; write `model`"),
        (r#"{"USER":""}"#, "USER", "`USER` is not a field; write `user`"),
        (r#"{"items":[{"Name":"a"}]}"#, "items[0].Name", "`items[0].Name` is not a field; write `name`"),
        (r#"{"items":[{"name":"a","name":"b"}]}"#, "items[0].name", "`items[0].name` is there twice; send it once"),
    ] {
        assert_eq!(refused(body), (field.to_owned(), message.to_owned()), "{body}");
    }
}

#[test]
fn what_can_not_be_honoured_has_a_code_of_its_own() {
    let mut ignored = Ignored::default();
    let at = At::Body.key("echo");

    let error = Json::Bool(true).read::<NotOffered>(&at, &mut ignored).unwrap_err();

    assert_eq!((error.code(), error.field()), ("unsupported_parameter", Some("echo")));
    assert_eq!(error.to_string(), "`echo` is not offered; leave it out");
    assert!(Json::Null.read::<Option<NotOffered>>(&at, &mut ignored).unwrap().is_none());
}

#[test]
fn client_data_is_read_as_it_was_sent_or_as_a_tree() {
    #[derive(Debug, Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        own: Data<'a>,
        tree: Tree,
    }
    let read = |body: &'static str| {
        read_body::<Body<'_>>(json::read(body.as_bytes(), &["own", "tree"])?, &mut Ignored::default())
    };

    let body = read(r#"{"own":{ "A":1.0,"a":2,"a":3},"tree":{ "A":1.0,"a":2,"a":3}}"#).unwrap();
    assert_eq!(body.own.text(), r#"{ "A":1.0,"a":2,"a":3}"#);
    assert_eq!(body.tree.0.to_string(), r#"{"A":1.0,"a":3}"#);
    for (body, message) in [
        (r#"{"own":[1],"tree":{}}"#, "`own` must be an object, not an array"),
        (r#"{"own":{},"tree":"{}"}"#, "`tree` must be an object, not a string"),
        (r#"{"own":null,"tree":{}}"#, "`own` must be an object, not null"),
    ] {
        assert_eq!(read(body).unwrap_err().to_string(), message);
    }
}

/// Returns the names of a struct's fields, as `derive(Deserialize)` has them.
pub fn fields_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    struct Fields<'f>(&'f mut &'static [&'static str]);

    impl<'de> de::Deserializer<'de> for Fields<'_> {
        type Error = Fault;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
            Err(de::Error::custom("no struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Fault> {
            *self.0 = fields;
            Err(de::Error::custom("only its fields"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 i128 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &[&str] = &[];
    let _never_read = T::deserialize(Fields(&mut fields));
    fields
}

#[test]
fn an_array_that_is_read_into_a_type_has_a_limit() {
    let items = |count: usize| format!(r#"{{"items":[{}]}}"#, vec![r#"{"name":""}"#; count].join(","));

    assert_eq!(read(&items(ITEMS_MAX)).unwrap().0.items.map(|items| items.len()), Some(ITEMS_MAX));
    assert_eq!(refused(&items(ITEMS_MAX + 1)), ("items".into(), "`items` may hold at most 16384 items".into()));
}
