//! Every answer has a status that the OpenAPI document declares for its route.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use lan_gateway::http::docs::DOCUMENT;
use serde_json::Value;

/// The statuses of each operation, by path and method.
type Declared = BTreeMap<String, BTreeMap<String, Vec<u16>>>;

fn declared() -> &'static Declared {
    static DECLARED: OnceLock<Declared> = OnceLock::new();
    DECLARED.get_or_init(|| {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let statuses = |operation: &Value| {
            operation["responses"].as_object().unwrap().keys().map(|status| status.parse().unwrap()).collect()
        };
        let operations = |item: &Value| {
            let operations = item.as_object().unwrap().iter();
            operations.map(|(method, operation)| (method.to_uppercase(), statuses(operation))).collect()
        };
        document["paths"].as_object().unwrap().iter().map(|(path, item)| (path.clone(), operations(item))).collect()
    })
}

/// Returns whether a path is that of a route; `{id}` at the end of a model's route takes several steps.
fn matches(route: &str, path: &str) -> bool {
    if let Some(root) = route.strip_suffix("{id}").filter(|root| root.starts_with("/v1")) {
        return path.strip_prefix(root).is_some_and(|id| !id.is_empty());
    }
    let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
    let fits = |(step, given): (&&str, &&str)| step == given || (step.starts_with('{') && !given.is_empty());
    route.len() == path.len() && route.iter().zip(&path).all(fits)
}

/// Fails if the document does not declare this status of this route. Routes that it does not describe are not looked at.
#[track_caller]
pub fn check_declared(method: &str, path: &str, status: u16) {
    let path = path.split('?').next().unwrap_or_default();
    let method = if method == "HEAD" { "GET" } else { method };
    let exact = declared().get_key_value(path);
    let found = exact.or_else(|| declared().iter().find(|(route, _)| matches(route, path)));
    let Some((route, statuses)) = found.and_then(|(route, methods)| Some((route, methods.get(method)?))) else {
        return;
    };
    assert!(statuses.contains(&status), "{method} {route} answered {status}, which openapi.json does not declare");
}

#[test]
fn a_status_that_is_not_declared_is_seen() {
    check_declared("GET", "/api/v1/me?a=b", 401);
    check_declared("HEAD", "/v1/models/user/model:1b", 404);
    check_declared("GET", "/no/such/route", 418);
    for (method, path, status) in [("GET", "/api/v1/me", 409), ("GET", "/v1/models/user/model:1b", 409)] {
        assert!(std::panic::catch_unwind(|| check_declared(method, path, status)).is_err(), "{method} {path} {status}");
    }
}
