use serde_json::Map;

use super::writer::integer::INTEGER_MAX;
use super::written::each_reference;
use super::*;

fn write(schema: &Value, care: Care) -> Result<(Value, Vec<String>), Error> {
    let mut grammar = Grammar::default();
    let written = grammar.write(schema, "f", care)?;
    let Finished { schema, simplified } = grammar.finish(written, "f")?;
    Ok((serde_json::from_str(&schema).unwrap(), simplified))
}

fn of(schema: Value) -> (Value, Vec<String>) {
    write(&schema, Care::Strict).unwrap()
}

/// What becomes of a schema that loses nothing.
fn exact(schema: Value) -> Value {
    let (written, simplified) = of(schema);
    assert_eq!(simplified, [] as [&str; 0], "{written}");
    written
}

fn refused(schema: Value) -> String {
    let error = write(&schema, Care::Strict).unwrap_err();
    assert_eq!(error.code(), "invalid_request", "{error}");
    error.field().unwrap().to_owned()
}

#[test]
fn a_plain_schema_stays_as_it_is() {
    let plain = json!({"type": "object", "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 200}, "when": {"type": "string", "format": "date-time"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9}, "share": {"type": "number"}, "on": {"type": "boolean"},
        "kind": {"enum": ["a", 1, null, {"b": [2]}]}, "list": {"type": "array", "items": {"type": "null"}, "minItems": 1, "maxItems": 3},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
        "any": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}, "map": {"type": "object", "additionalProperties": {"type": "string"}},
    }, "required": ["name", "map"], "additionalProperties": false});

    assert_eq!(exact(plain.clone()), plain);
}

#[test]
fn words_that_say_nothing_about_an_answer_are_not_sent() {
    assert_eq!(
        exact(
            json!({"$schema": "x", "title": "t", "description": "d", "type": "string", "default": "", "format": "email", "x-y": {"pattern": "(?="}})
        ),
        json!({"type": "string"})
    );
}

#[test]
fn counts_up_to_the_compilers_limit_are_kept_and_larger_ones_are_left_out() {
    let string = |count: u32| of(json!({"type": "string", "maxLength": count}));
    let array = |count: u32| of(json!({"type": "array", "minItems": count}));

    assert_eq!(string(2000), (json!({"type": "string", "maxLength": 2000}), vec![]));
    assert_eq!(string(2001), (json!({"type": "string"}), vec!["f.maxLength".into()]));
    assert_eq!(array(2000).1, [] as [&str; 0]);
    assert_eq!(array(2001), (json!({"type": "array"}), vec!["f.minItems".into()]));
}

#[test]
fn many_large_counts_are_kept_up_to_a_sum() {
    let of = |fields: u32| {
        let properties: Map<_, _> =
            (0..fields).map(|at| (format!("p{at}"), json!({"type": "string", "maxLength": 2000}))).collect();
        of(json!({"type": "object", "properties": properties})).1
    };

    assert_eq!(of(25), [] as [&str; 0]);
    assert_eq!(of(26), ["f.properties.p25.maxLength"]);
}

#[test]
fn what_makes_no_sense_is_an_error_that_names_its_place() {
    for (schema, field) in [
        (json!({"type": "date"}), "f.type"),
        (json!({"type": []}), "f.type"),
        (json!({"type": 5}), "f.type"),
        (json!({"enum": []}), "f.enum"),
        (json!({"anyOf": []}), "f.anyOf"),
        (json!({"oneOf": {}}), "f.oneOf"),
        (json!({"allOf": {}}), "f.allOf"),
        (json!({"properties": {"k": {"$ref": "#/$defs/Gone"}}}), "f.properties.k.$ref"),
        (json!({"properties": {"k": {"$ref": "https://example.org/x"}}}), "f.properties.k.$ref"),
        (json!({"properties": {"k": 5}}), "f.properties.k"),
        (json!({"properties": []}), "f.properties"),
        (json!({"required": [1]}), "f.required"),
        (json!({"type": "string", "minLength": -1}), "f.minLength"),
        (json!({"type": "string", "maxLength": 1.5}), "f.maxLength"),
        (json!({"type": "string", "pattern": 5}), "f.pattern"),
        (json!({"type": "integer", "minimum": "1"}), "f.minimum"),
        (json!({"items": {"type": "array", "minItems": 3, "maxItems": 2}, "minItems": 1}), "f.items"),
        (json!({"type": "string", "minLength": 3, "maxLength": 2}), "f"),
        (json!({"type": "integer", "minimum": 3, "maximum": 2}), "f"),
        (json!({"type": "string", "enum": [1]}), "f"),
        (json!({"allOf": [{"type": "string"}, {"type": "integer"}]}), "f"),
        (json!({"properties": {"x": false}, "required": ["x"]}), "f.properties.x"),
        (json!({"properties": {"$ref": {"type": "string"}}, "required": ["$ref"]}), "f.properties.$ref"),
    ] {
        assert_eq!(refused(schema.clone()), field, "{schema}");
    }
}

#[test]
fn a_tools_schema_is_taken_as_far_as_it_makes_sense() {
    let lenient = |schema: Value| write(&schema, Care::Lenient).unwrap();

    let (written, simplified) = lenient(
        json!({"type": "object", "properties": {"a": {"type": "date"}, "b": {"type": "string"}}, "required": ["a"]}),
    );

    assert_eq!(written["properties"], json!({"a": anything(), "b": {"type": "string"}}));
    assert_eq!(simplified, ["f.properties.a"]);
    assert_eq!(lenient(json!({"enum": []})), (json!({"type": "object"}), vec!["f".into()]));
    assert_eq!(lenient(json!({"properties": {"x": false}, "required": ["x"]})).0, json!({"type": "object"}));
}

#[test]
fn what_holds_together_becomes_one_schema() {
    assert_eq!(
        exact(
            json!({"allOf": [{"$ref": "#/$defs/Base"}], "properties": {"title": {"type": "string"}}, "required": ["title"],
            "$defs": {"Base": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}}})
        ),
        json!({"type": "object", "properties": {"id": {"type": "integer"}, "title": {"type": "string"}}, "required": ["id", "title"]})
    );
    assert_eq!(
        exact(
            json!({"allOf": [{"maxLength": 5}, {"minLength": 2}], "type": ["string", "integer"], "anyOf": [{"type": "string"}]})
        ),
        json!({"type": "string", "minLength": 2, "maxLength": 5})
    );
    assert_eq!(exact(json!({"enum": [1, 2, 3], "const": 2})), json!({"enum": [2]}));
}

#[test]
fn alternatives_hold_beside_what_stands_around_them() {
    assert_eq!(
        exact(json!({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"], "anyOf": [
            {"properties": {"b": {"const": 1}}, "required": ["b"]}, {"properties": {"b": {"const": 2}}, "required": ["b"]}]})),
        json!({"anyOf": [
            {"type": "object", "properties": {"a": {"type": "null"}, "b": {"enum": [1]}}, "required": ["a", "b"]},
            {"type": "object", "properties": {"a": {"type": "null"}, "b": {"enum": [2]}}, "required": ["a", "b"]}]})
    );
    // An alternative that contradicts its surroundings is none.
    assert_eq!(
        exact(json!({"type": "string", "oneOf": [{"type": "null"}, {"maxLength": 3}]})),
        json!({"type": "string", "maxLength": 3})
    );
}

#[test]
fn a_schema_that_holds_itself_refers_to_itself() {
    let list = json!({"$ref": "#/$defs/Node", "$defs": {"Node": {"type": "object",
        "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}, "required": ["value", "next"]}}});

    assert_eq!(
        exact(list),
        json!({"anyOf": [{"$ref": "#/$defs/r0"}], "$defs": {"r0": {"type": "object",
            "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/r0"}, {"type": "null"}]}}, "required": ["value", "next"]}}})
    );
}

#[test]
fn alternatives_that_hold_themselves_are_kept_when_their_beginnings_differ() {
    let expression = |discriminator: &str| {
        let way = |name: &str| {
            json!({"type": "object", "properties": {discriminator: {"const": name}, "of": {"$ref": "#"}, "op": {"const": name}},
                "required": ["op", "of"]})
        };
        of(json!({"anyOf": [way("add"), way("sub"), {"type": "number"}]}))
    };

    assert_eq!(expression("op").1, [] as [&str; 0]);
    // Two ways that both begin with the property that holds another one.
    let (written, simplified) = expression("other");
    assert_eq!((written.to_string().contains("$ref"), simplified), (false, vec!["f".into()]));
}

#[test]
fn references_that_lead_back_at_once_end() {
    assert_eq!(refused(json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}})), "f");
    assert_eq!(
        exact(
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]}, "b": {"$ref": "#/$defs/a"}}})
        ),
        json!({"type": "null"})
    );
    assert_eq!(exact(json!({"$ref": "#"})), json!({"type": "object"}));
    assert_eq!(exact(json!({"allOf": [{"$ref": "#"}], "type": "string"})), json!({"type": "string"}));
}

#[test]
fn references_that_double_each_other_are_too_large() {
    let defs: Map<_, _> = (0..60)
        .map(|at| {
            let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
            (format!("d{at}"), json!({"properties": {"a": next, "b": next}}))
        })
        .chain([("d60".to_owned(), json!({"type": "null"}))])
        .collect();

    assert!(refused(json!({"$defs": defs, "$ref": "#/$defs/d0"})).starts_with('f'));
}

#[test]
fn chains_of_references_and_alternatives_end() {
    for link in ["$ref", "allOf", "anyOf"] {
        let defs: Map<_, _> = (0..5000)
            .map(|at| {
                let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
                (format!("d{at}"), if link == "$ref" { next } else { json!({link: [next]}) })
            })
            .chain([("d5000".to_owned(), json!({"type": "null"}))])
            .collect();

        let result = write(&json!({"$defs": defs, "$ref": "#/$defs/d0"}), Care::Strict);

        assert!(result.is_err() || !result.unwrap().1.is_empty(), "{link}");
    }
}

#[test]
fn as_many_ways_and_properties_pass_as_the_compiler_bears() {
    let values = |count: usize| json!({"enum": (0..count).collect::<Vec<_>>()});
    let optional = |count: usize| {
        let properties: Map<_, _> = (0..count).map(|at| (format!("p{at}"), json!({"type": "null"}))).collect();
        json!({"type": "object", "properties": properties})
    };

    exact(values(1000));
    assert_eq!(refused(values(1001)), "f");
    exact(optional(300));
    assert_eq!(refused(optional(301)), "f");
}

#[test]
fn deep_schemas_end_in_any_value() {
    let nested =
        |depth: usize| (0..depth).fold(json!({"type": "null"}), |inner, _| json!({"type": "array", "items": inner}));

    assert_eq!(of(nested(64)).1, [] as [&str; 0]);
    assert_eq!(of(nested(65)).1.len(), 1);
}

#[test]
fn names_that_disturb_the_compilers_rules_are_kept_out_of_them() {
    // Beside other names it would put the bytes of these into sets of characters.
    let (written, simplified) =
        of(json!({"properties": {"a]": {"type": "null"}}, "additionalProperties": {"type": "null"}}));
    assert_eq!(written, json!({"type": "object", "properties": {"a]": {"type": "null"}}}));
    assert_eq!(simplified, ["f.additionalProperties"]);
    assert_eq!(exact(json!({"properties": {"*": {"type": "null"}}}))["required"], json!(["*"]));
    assert_eq!(exact(json!({"properties": {"": {"type": "null"}}}))["anyOf"].as_array().unwrap().len(), 1);
    assert_eq!(of(json!({"properties": {"$ref": {"type": "null"}}})).1, ["f.properties.$ref"]);
    let long = |bytes: usize| of(json!({"properties": {"x".repeat(bytes): {"type": "null"}}})).1.len();
    assert_eq!((long(256), long(257)), (0, 1));
    assert_eq!(of(json!({"enum": [1, {"$ref": "#"}]})), (json!({"enum": [1]}), vec!["f.enum".into()]));
}

#[test]
fn objects_stay_as_open_as_they_were() {
    assert_eq!(exact(json!({"type": "object"})), json!({"type": "object"}));
    assert_eq!(exact(json!({"type": "object", "additionalProperties": true})), json!({"type": "object"}));
    assert_eq!(
        exact(json!({"type": "object", "additionalProperties": {}})),
        json!({"type": "object", "additionalProperties": anything()})
    );
    assert_eq!(
        exact(json!({"type": "object", "additionalProperties": false})),
        json!({"type": "object", "properties": {}, "additionalProperties": false})
    );
    assert_eq!(
        exact(json!({"properties": {"a": {"type": "null"}}, "additionalProperties": true}))["additionalProperties"],
        json!(true)
    );
}

#[test]
fn integers_are_bounded_as_far_as_the_compiler_counts() {
    let bounds = |schema: Value| {
        let (written, simplified) = of(schema);
        (written["minimum"].clone(), written["maximum"].clone(), simplified.len())
    };
    let most = json!(INTEGER_MAX);

    assert_eq!(bounds(json!({"type": "integer", "minimum": 0})), (json!(0), Value::Null, 0));
    assert_eq!(bounds(json!({"type": "integer", "exclusiveMinimum": 9})), (json!(10), most.clone(), 0));
    assert_eq!(bounds(json!({"type": "integer", "maximum": -1})), (json!(-INTEGER_MAX), json!(-1), 0));
    assert_eq!(bounds(json!({"type": "integer", "minimum": 1.5, "exclusiveMaximum": 9.5})), (json!(2), json!(9), 0));
    assert_eq!(bounds(json!({"type": "integer", "maximum": INTEGER_MAX})), (Value::Null, most, 0));
    assert_eq!(
        bounds(json!({"type": "integer", "minimum": -9_007_199_254_740_991_i64, "maximum": 9_007_199_254_740_991_i64})),
        (Value::Null, Value::Null, 0)
    );
    assert_eq!(bounds(json!({"type": "integer", "minimum": 1e300})), (Value::Null, Value::Null, 1));
    assert_eq!(of(json!({"type": "number", "minimum": 0})), (json!({"type": "number"}), vec!["f.minimum".into()]));
}

#[test]
fn a_long_grammar_gets_the_room_that_it_needs() {
    let of = |fields: usize| {
        let properties: Map<_, _> =
            (0..fields).map(|at| (format!("property_number_{at}"), json!({"type": "string"}))).collect();
        let required: Vec<_> = properties.keys().cloned().collect();
        let schema = json!({"type": "object", "properties": properties, "required": required});
        let mut grammar = Grammar::default();
        let written = grammar.write(&schema, "f", Care::Strict).unwrap();
        let bytes = size::of_grammar(&written);
        grammar.finish(written, "f").map(|finished| (bytes, finished.schema.len()))
    };

    let (bytes, length) = of(400).unwrap();
    assert!(bytes > size::ROOM_MIN && bytes <= length * size::ROOM_PER_BYTE);
    assert!(of(2000).is_err());
}

#[test]
fn places_are_told_in_letters_that_a_header_takes_and_not_without_end() {
    let properties: Map<_, _> =
        (0..40).map(|at| (format!("é\n{at}"), json!({"type": "number", "minimum": 1}))).collect();

    let (_, simplified) = of(json!({ "properties": properties }));

    assert_eq!((simplified.len(), &*simplified[0], &*simplified[32]), (33, "f.properties.??0.minimum", "and 8 more"));
}

#[test]
fn a_schema_that_holds_itself_under_any_name_is_sent_with_its_definition() {
    for name in ["a", "enum", "properties", "items", "anyOf", "$defs", "additionalProperties", "required", "type"] {
        for schema in [
            json!({"type": "object", "properties": {name: {"$ref": "#"}}}),
            json!({"type": "object", "properties": {name: {"$ref": "", "minItems": 0}}}),
            json!({"type": "object", "properties": {name: {"type": "array", "items": {"$ref": "#"}}}}),
        ] {
            let written = exact(schema.clone());

            let mut missing = Vec::new();
            let definitions = written["$defs"].as_object().cloned().unwrap_or_default();
            for schema in definitions.values().chain([&written]) {
                each_reference(schema, &mut |name| {
                    missing.extend((!definitions.contains_key(name)).then(|| name.to_owned()))
                });
            }
            assert!(!definitions.is_empty() && missing.is_empty(), "{schema} became {written}");
        }
    }
}
