//! The OpenAPI document: as checked in, and in step with what is served.

use std::collections::BTreeSet;

use lan_gateway::dialect::DIALECTS;
use lan_gateway::http::{ROUTES, docs};

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

    let document: serde_json::Value = serde_json::from_str(&docs::document_json()).unwrap();
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
