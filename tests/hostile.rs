//! Schemas of every kind, mad ones among them: what is made of them is checked word by word against what the grammar
//! compiler is known to take, by a reader that shares nothing with the writer. `tests/hostile/run.py` sends their like to a
//! real Ollama.

use lan_gateway::provider::ollama::grammar::{Care, Finished, Grammar};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

// --- What the compiler takes ----------------------------------------------------------------------------------------

const COUNT_MAX: i64 = 2000;
const INTEGER_MAX: i64 = 999_999_999_999_999;
const SCHEMA_BYTES_MAX: usize = 256 * 1024;

fn check(schema: &Value, definitions: &Map<String, Value>, depth: usize) {
    assert!(depth < 200, "too deep");
    let fields = schema.as_object().unwrap_or_else(|| panic!("no object: {schema}"));
    let words: Vec<&str> = fields.keys().map(String::as_str).filter(|word| *word != "$defs").collect();
    let count = |word: &str| {
        fields.get(word).map(|count| count.as_i64().filter(|count| (0..=COUNT_MAX).contains(count)).unwrap())
    };
    let ordered = |least: &str, most: &str| {
        if let (Some(least), Some(most)) = (count(least), count(most)) {
            assert!(least <= most, "{schema}");
        }
    };
    let only = |allowed: &[&str]| assert!(words.iter().all(|word| allowed.contains(word)), "{words:?}");
    if let Some(reference) = fields.get("$ref") {
        only(&["$ref"]);
        let name = reference.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
        assert!(definitions.contains_key(name), "{reference}");
        return;
    }
    if let Some(ways) = fields.get("anyOf") {
        only(&["anyOf"]);
        let ways = ways.as_array().unwrap();
        assert!(!ways.is_empty() && ways.len() <= 1000);
        ways.iter().for_each(|way| check(way, definitions, depth + 1));
        return;
    }
    if let Some(values) = fields.get("enum") {
        only(&["enum"]);
        let values = values.as_array().unwrap();
        assert!(!values.is_empty() && values.len() <= 1000);
        assert!(values.iter().all(|value| !value.to_string().contains("\"$ref\":")), "{schema}");
        return;
    }
    if let Some(kinds) = fields["type"].as_array() {
        only(&["type"]);
        assert!(kinds.len() > 1);
        return;
    }
    match fields["type"].as_str().unwrap() {
        "object" => {
            only(&["type", "properties", "required", "additionalProperties"]);
            let none = Map::new();
            let properties = fields.get("properties").map_or(&none, |properties| properties.as_object().unwrap());
            let required: Vec<&str> = fields.get("required").map_or(Vec::new(), |names| {
                names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
            });
            assert!(required.iter().all(|name| properties.contains_key(*name)), "{schema}");
            assert!(properties.len() - required.len() <= 300);
            for (name, value) in properties {
                assert!(name != "$ref" && name.len() <= 256 && (name != "*" || required.contains(&"*")), "{name}");
                check(value, definitions, depth + 1);
            }
            match fields.get("additionalProperties") {
                None | Some(Value::Bool(false)) => return,
                Some(Value::Bool(true)) => assert!(!properties.is_empty()),
                Some(additional) => check(additional, definitions, depth + 1),
            }
            let is_simple = |name: &String| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            };
            assert!(properties.keys().all(is_simple), "{schema}");
        }
        "array" => {
            only(&["type", "items", "minItems", "maxItems", "prefixItems"]);
            ordered("minItems", "maxItems");
            if let Some(items) = fields.get("items") {
                check(items, definitions, depth + 1);
            } else {
                only(&["type", "prefixItems"]);
            }
            let places = fields.get("prefixItems").map(|places| places.as_array().unwrap());
            places.into_iter().flatten().for_each(|place| check(place, definitions, depth + 1));
        }
        "string" => {
            only(&["type", "pattern", "format", "minLength", "maxLength"]);
            ordered("minLength", "maxLength");
            if let Some(pattern) = fields.get("pattern") {
                only(&["type", "pattern"]);
                Pattern::check(pattern.as_str().unwrap());
            } else if let Some(format) = fields.get("format") {
                only(&["type", "format"]);
                assert!(["date", "time", "date-time", "uuid"].contains(&format.as_str().unwrap()));
            }
        }
        "integer" => {
            only(&["type", "minimum", "maximum"]);
            let bound = |word: &str| fields.get(word).map(|bound| bound.as_i64().unwrap());
            let (least, most) = (bound("minimum"), bound("maximum"));
            assert!(least.into_iter().chain(most).all(|bound| bound.abs() <= INTEGER_MAX));
            assert!(least.unwrap_or(i64::MIN) <= most.unwrap_or(i64::MAX));
            // Alone the compiler counts these wrongly.
            assert!(most.is_some() || least.is_none_or(|least| least < 10), "{schema}");
            assert!(least.is_some() || most.is_none_or(|most| most >= 0), "{schema}");
        }
        "number" | "boolean" | "null" => only(&["type"]),
        other => panic!("{other}"),
    }
}

/// The few constructs of patterns, read strictly.
struct Pattern<'a> {
    rest: &'a [u8],
    whole: &'a str,
}

impl<'a> Pattern<'a> {
    fn check(whole: &'a str) {
        assert!(whole.is_ascii());
        let inner = whole.strip_prefix('^').and_then(|inner| inner.strip_suffix('$')).expect(whole);
        let mut pattern = Pattern { rest: inner.as_bytes(), whole };
        assert!(!inner.is_empty());
        pattern.sequence(0);
        assert!(pattern.rest.is_empty(), "{whole}");
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Whether it may be empty.
    fn sequence(&mut self, depth: usize) -> bool {
        assert!(depth < 50, "{}", self.whole);
        let mut may_be_empty = true;
        while let Some(first) = self.rest.first().copied().filter(|byte| !b"|)".contains(byte)) {
            self.next();
            let is_empty = match first {
                b'[' => {
                    self.set();
                    self.counted(false)
                }
                b'(' => {
                    let mut is_empty = self.sequence(depth + 1);
                    while self.rest.first() == Some(&b'|') {
                        self.next();
                        is_empty |= self.sequence(depth + 1);
                    }
                    assert_eq!(self.next(), Some(b')'), "{}", self.whole);
                    self.counted(is_empty)
                }
                letter => {
                    assert!(letter.is_ascii_alphanumeric() || b" _:/@,=%-".contains(&letter), "{}", self.whole);
                    assert!(!matches!(self.rest.first(), Some(b'*' | b'+' | b'?' | b'{')), "{}", self.whole);
                    false
                }
            };
            may_be_empty &= is_empty;
        }
        may_be_empty
    }

    fn set(&mut self) {
        let mut last: Option<u32> = None;
        let mut are_some = false;
        while self.rest.first() != Some(&b']') {
            let from = self.member();
            let to = if self.rest.first() == Some(&b'-') {
                self.next();
                self.member()
            } else {
                from
            };
            assert!(from <= to && last.is_none_or(|last| last < from), "{}", self.whole);
            assert!((0x20..=0x10_FFFF).contains(&from) && !(0xD800..0xE000).contains(&from), "{}", self.whole);
            last = Some(to);
            are_some = true;
        }
        self.next();
        assert!(are_some, "{}", self.whole);
    }

    fn member(&mut self) -> u32 {
        match self.next().unwrap() {
            b'\\' => {
                let digits = match self.next().unwrap() {
                    b'x' => 2,
                    b'u' => 4,
                    b'U' => 8,
                    other => panic!("{other} in {}", self.whole),
                };
                let (number, rest) = self.rest.split_at(digits);
                self.rest = rest;
                u32::from_str_radix(std::str::from_utf8(number).unwrap(), 16).unwrap()
            }
            letter => {
                assert!(letter.is_ascii_alphanumeric(), "{}", self.whole);
                letter.into()
            }
        }
    }

    /// A count behind something; what is repeated must not be empty.
    fn counted(&mut self, is_empty: bool) -> bool {
        let least = match self.rest.first() {
            Some(b'*' | b'?') => 0,
            Some(b'+') => 1,
            Some(b'{') => {
                let end = self.rest.iter().position(|byte| *byte == b'}').unwrap();
                let counts = std::str::from_utf8(&self.rest[1..end]).unwrap();
                let (least, most) = counts.split_once(',').expect(self.whole);
                let least: i64 = least.parse().unwrap();
                let most = if most.is_empty() { COUNT_MAX } else { most.parse().unwrap() };
                assert!(least <= most && most <= COUNT_MAX && most > 0, "{}", self.whole);
                self.rest = &self.rest[end..];
                least
            }
            _ => return is_empty,
        };
        self.next();
        assert!(!is_empty, "something empty is repeated in {}", self.whole);
        assert!(!matches!(self.rest.first(), Some(b'*' | b'+' | b'?' | b'{')), "{}", self.whole);
        least == 0
    }
}

// --- Hostile schemas ------------------------------------------------------------------------------------------------

const KILLERS: &[&str] = &[
    r"^(?:a|b)$",
    r"(?=a)",
    r"^(?!x).*$",
    r"^\d{5}$",
    r"^[\w\-]+(\.[\w\-]+)*$",
    r"\s\S\D\W\b",
    r"^\/\-$",
    "*",
    "+",
    "?",
    "{2}",
    "^a{2001}$",
    "^a{5,2}$",
    "^(a?)*$",
    "^((a?){0,50}){0,50}$",
    "^(a?b?c?)*$",
    "^(a*)*$",
    "[",
    "(",
    ")",
    "\\",
    "[]",
    "[^]",
    "^[z-a]$",
    "^[^\"]*$",
    "^é{3}$",
    r"^\uD800$",
    "^\u{0}$",
    "",
    "^",
    "$",
    "a^b",
    "|",
    "^(|)+$",
    "^.{0,2000}.{0,2000}$",
    "^([a-z]{1,500}){1,500}$",
    "^(a?){1000}$",
    r"\p{L}",
    "^[\\]-a]$",
    "^[a-\\d]$",
    "^#::=<a>$",
];
const NAMES: &[&str] = &[
    "a",
    "b",
    "root",
    "",
    "*",
    "$ref",
    "a b",
    "a-b",
    "a]",
    "[^",
    "\\",
    "\"",
    "é",
    "\n",
    "\u{0}",
    "-",
    "alternative-0",
    "ref-defs-r0",
    "space",
];
const REFERENCES: &[&str] =
    &["#", "#/$defs/a", "#/$defs/b", "#/$defs/a%20b", "#/properties/a", "#/gone", "https://example.org/x", "#x"];
const KINDS: &[&str] = &["object", "array", "string", "integer", "number", "boolean", "null", "date"];

fn pattern() -> impl Strategy<Value = String> {
    let pieces = select(
        &[
            "a", "b", ".", r"\d", r"\w", r"\s", "[a-z]", "[^x]", "(", ")", "(?:", "|", "*", "+", "?", "{2}", "{0,9}",
            "{3,}", "^", "$", r"\-", "\"", r"\\", "é", "[", "]",
        ][..],
    );
    prop_oneof![select(KILLERS).prop_map(str::to_owned), vec(pieces, 0..12).prop_map(|pieces| pieces.concat())]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-5_i64..2100).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Fractions that are read as they were written.
        any::<i32>().prop_map(|eighths| json!(f64::from(eighths) / 8.0)),
        select(vec![
            json!(2000),
            json!(2001),
            json!(-1),
            json!(1e300),
            json!(u64::MAX),
            json!(INTEGER_MAX + 1),
            json!("3"),
            json!(null)
        ]),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        Just(json!({})),
        Just(json!(5)),
        select(KINDS).prop_map(|kind| json!({"type": kind})),
        select(REFERENCES).prop_map(|reference| json!({"$ref": reference})),
        pattern().prop_map(|pattern| json!({"type": "string", "pattern": pattern})),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let properties = vec((select(NAMES), inner.clone()), 0..4)
            .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Value>());
        let list = vec(inner.clone(), 0..4).prop_map(Value::from);
        let word = prop_oneof![
            select(KINDS).prop_map(|kind| ("type", kind.into())),
            vec(select(KINDS), 0..3).prop_map(|kinds| ("type", kinds.into())),
            (select(vec!["properties", "properties", "patternProperties", "$defs", "definitions"]), properties),
            vec(select(NAMES), 0..4).prop_map(|names| ("required", names.into())),
            (select(vec!["anyOf", "oneOf", "allOf", "prefixItems", "items"]), list),
            (select(vec!["items", "additionalProperties", "not", "if", "contains", "additionalItems"]), inner),
            (
                select(vec![
                    "minItems",
                    "maxItems",
                    "minLength",
                    "maxLength",
                    "minimum",
                    "maximum",
                    "exclusiveMinimum",
                    "exclusiveMaximum"
                ]),
                number()
            ),
            pattern().prop_map(|pattern| ("pattern", pattern.into())),
            select(vec!["date", "uuid", "email"]).prop_map(|format| ("format", format.into())),
            select(REFERENCES).prop_map(|reference| ("$ref", reference.into())),
            vec(prop_oneof![number(), select(NAMES).prop_map(Value::from), Just(json!({"$ref": "#"}))], 0..5)
                .prop_map(|values| ("enum", values.into())),
        ];
        vec(word, 1..6)
            .prop_map(|words| words.into_iter().map(|(word, value)| (word.to_owned(), value)).collect::<Value>())
    })
}

fn written(schema: &Value, care: Care) -> Option<Value> {
    let mut grammar = Grammar::default();
    let written = grammar.write(schema, "f", care).ok()?;
    let Finished { schema, simplified } = grammar.finish(written, "f").ok()?;
    assert!(schema.len() <= SCHEMA_BYTES_MAX && simplified.len() <= 33);
    assert!(
        simplified.iter().all(|place| place.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')),
        "{simplified:?}"
    );
    Some(serde_json::from_str(&schema).unwrap())
}

fn is_taken(schema: &Value) {
    let definitions = schema["$defs"].as_object().cloned().unwrap_or_default();
    // A reference at the top would hide its definitions.
    assert!(definitions.is_empty() || schema.get("anyOf").is_some());
    check(schema, &definitions, 0);
    definitions.values().for_each(|definition| check(definition, &definitions, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(5_000), ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_for_the_compiler_gets_what_it_takes(schema in schema(), strict in any::<bool>()) {
        let care = if strict { Care::Strict } else { Care::Lenient };

        if let Some(once) = written(&schema, care) {
            is_taken(&once);
            // JSON's escapes are spelled out in a pattern, and would be so once more.
            if !once.to_string().contains("x5C") {
                prop_assert_eq!(written(&once, care), Some(once));
            }
        }
    }

    #[test]
    fn a_tools_schema_is_never_refused_for_making_no_sense(schema in schema()) {
        prop_assert!(written(&schema, Care::Lenient).is_some());
    }

    #[test]
    fn whatever_a_pattern_is_the_compiler_gets_what_it_takes(pattern in prop_oneof![pattern(), any::<String>()]) {
        is_taken(&written(&json!({"type": "string", "pattern": pattern, "maxLength": 20}), Care::Strict).unwrap());
    }
}

#[test]
fn every_known_killer_is_disarmed() {
    for pattern in KILLERS {
        is_taken(&written(&json!({"type": "string", "pattern": pattern}), Care::Strict).unwrap());
    }
}
