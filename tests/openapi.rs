//! The OpenAPI document: as checked in, and in step with what is served.

use std::collections::BTreeSet;

use lan_gateway::dialect::DIALECTS;
use lan_gateway::http::{ROUTES, docs};
use lan_gateway::model::model_name::ModelName;
use serde_json::Value;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");

#[test]
fn the_checked_in_document_is_what_the_code_makes() {
    let made = docs::document_json();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(FILE, &made).unwrap();
    }

    let kept = std::fs::read_to_string(FILE).unwrap_or_default();

    assert!(kept == made, "openapi/openapi.json is out of date; run UPDATE_OPENAPI=1 cargo test --test openapi");
}

/// Routes that are not part of the API: they serve the document itself.
const UNDESCRIBED: [(&str, &str); 2] = [("GET", "/openapi.json"), ("GET", "/docs")];

#[test]
fn every_route_is_described_and_every_description_is_served() {
    let mut served: BTreeSet<(String, String)> = BTreeSet::new();
    for route in ROUTES {
        served.insert((route.method.into(), route.path.replace(":.*", "")));
    }
    for dialect in DIALECTS {
        served.extend(dialect.routes().iter().map(|route| (route.method.to_owned(), route.path.replace(":.*", ""))));
    }
    for (method, path) in UNDESCRIBED {
        assert!(served.remove(&(method.into(), path.into())), "{method} {path}");
    }

    let document = document();
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();

    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(described, served);
}

fn document() -> Value {
    serde_json::from_str(&docs::document_json()).unwrap()
}

/// The operations of the document: method, path, and what it says of them.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let of_path = |(path, item): (&String, &'_ Value)| -> Vec<(String, String)> {
        item.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())).collect()
    };
    let names: Vec<(String, String)> = paths.flat_map(of_path).collect();
    names
        .into_iter()
        .map(|(method, path)| {
            let operation = &document["paths"][&path][&method];
            (method.to_uppercase(), path, operation)
        })
        .collect()
}

/// Follows a reference, if it is one.
fn followed<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect(reference),
        None => value,
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_a_short_summary_and_a_tag_that_is_described() {
    let document = document();
    let tags: Vec<&str> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut names = BTreeSet::new();

    for (method, path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_'), "{name}");
        assert!(names.insert(name), "{name} is there twice");
        let summary = operation["summary"].as_str().unwrap_or_else(|| panic!("{method} {path} has no summary"));
        assert!(
            summary.len() <= 60 && !summary.ends_with('.') && !summary.contains('\n'),
            "{method} {path}: {summary}"
        );
        let tag = operation["tags"][0].as_str().unwrap();
        assert!(tags.contains(&tag), "{method} {path}: no tag {tag}");
    }
}

#[test]
fn every_response_is_described_and_every_error_has_an_example() {
    let document = document();

    for (method, path, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = followed(&document, response);
            assert!(!response["description"].as_str().unwrap_or_default().is_empty(), "{method} {path} {status}");
            let content = &response["content"]["application/json"];
            if status.as_str() >= "400" && !path.starts_with("/health") && !(path == "/auth/token" && status == "429") {
                assert!(content["example"]["error"] != Value::Null, "{method} {path} {status}: {content}");
            }
        }
    }
}

#[test]
fn a_route_declares_only_the_errors_that_it_can_return() {
    let document = document();
    let errors = |method: &str, path: &str| -> String {
        let responses = document["paths"][path][method]["responses"].as_object().unwrap();
        let statuses: Vec<&str> = responses.keys().map(String::as_str).filter(|status| *status >= "400").collect();
        statuses.join(" ")
    };

    for (method, path, wanted) in [
        // Takes nothing.
        ("get", "/api/v1/me", "401 403 421 500"),
        ("get", "/v1/models", "401 403 421 500 502"),
        // Anyone may call it.
        ("post", "/api/v1/register", "400 403 413 415 421 429 500 503"),
        ("get", "/health", "403 421 500 503"),
        // A query, and a person in it.
        ("get", "/api/v1/users", "400 401 403 421 500"),
        ("get", "/api/v1/usage", "400 401 403 404 421 500"),
        // An id in the path, with and without a body.
        ("get", "/api/v1/users/{id}", "401 403 404 421 500"),
        ("patch", "/api/v1/users/{id}", "400 401 403 404 409 413 415 421 500 503"),
        ("post", "/api/v1/users/{id}/approve", "401 403 404 409 421 500 503"),
        // A model answers.
        ("post", "/v1/embeddings", "400 401 403 404 413 415 421 429 500 502 503 504"),
        ("post", "/v1/messages/count_tokens", "400 401 403 404 413 415 421 429 500 502 504 529"),
        ("post", "/v1/messages", "400 401 403 404 413 415 421 429 500 502 504 529"),
        ("post", "/chat", "400 403 404 413 415 421 429 500 502 503 504"),
        ("get", "/v1/models/{id}", "401 403 404 421 500 502"),
    ] {
        assert_eq!(errors(method, path), wanted, "{method} {path}");
    }
}

#[test]
fn parameters_with_a_closed_set_of_words_list_them_and_others_have_their_format_and_bounds() {
    let document = document();

    for (method, path, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let schema = followed(&document, &parameter["schema"]);
            let words = if schema["type"] == "array" { followed(&document, &schema["items"]) } else { schema };
            let place = format!("{name} of {method} {path}: {schema}");
            match name {
                "status" | "kind" | "act" | "outcome" | "sort" | "by" | "format" | "span" => {
                    assert!(words["enum"].as_array().is_some_and(|words| words.len() > 1), "{place}");
                }
                "limit" => assert_eq!(
                    (&schema["default"], &schema["minimum"], &schema["maximum"]),
                    (&50.into(), &1.into(), &500.into()),
                    "{place}"
                ),
                "from" | "to" | "expiring_before" => assert_eq!(schema["format"], "date-time", "{place}"),
                "user_id" | "subject_id" | "history_of" | "request_id" => {
                    assert_eq!(schema["format"], "uuid", "{place}")
                }
                _ => assert_ne!(schema["type"], Value::Null, "{place}"),
            }
        }
    }
}

#[test]
fn the_served_document_names_the_default_model_in_its_examples_and_is_the_checked_in_one_otherwise() {
    let model = ModelName::parse("user/small:1b").unwrap();

    let served = docs::served_document(&model);

    let example = |text: &str| {
        let document: Value = serde_json::from_str(text).unwrap();
        let body = &document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"];
        body["examples"].as_object().unwrap().values().next().unwrap()["value"]["model"].clone()
    };
    assert_eq!((example(docs::DOCUMENT), example(&served)), ("llama3.2:latest".into(), "user/small:1b".into()));
    assert_eq!(served.replace("user/small:1b", "llama3.2:latest"), docs::DOCUMENT);
}

#[test]
fn no_example_holds_the_first_password() {
    assert!(!docs::DOCUMENT.contains("\"admin123\""));
}

#[test]
fn the_example_configuration_is_what_the_code_makes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/lan-gateway.toml");
    let made = lan_gateway::config::Config::example();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(file, &made).unwrap();
    }

    let kept = std::fs::read_to_string(file).unwrap_or_default();

    assert!(kept == made, "deploy/lan-gateway.toml is out of date; run UPDATE_OPENAPI=1 cargo test --test openapi");
}
