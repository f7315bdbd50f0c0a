//! What a change was from and to, by the details that acts have: `{"old": {…}, "new": {…}}`.

use serde_json::{Map, Value};

use crate::config::settings::Setting;
use crate::http::pages::format::commas;
use crate::http::pages::words::settings;

/// Returns what was changed of a person: `requests a minute from the default to 20; the class from interactive to batch`.
pub fn of_person(detail: &Value) -> String {
    changes(detail, |name, value| of_account(name, value, "the default"))
}

/// Returns what was changed of an access token, whose missing limits are no limits of its own.
pub fn of_token(detail: &Value) -> String {
    changes(detail, |name, value| of_account(name, value, if name == "class" { "the owner's" } else { "no limit" }))
}

/// Returns which settings were set: `requests a minute from 10 to 20`.
pub fn of_settings(detail: &Value) -> String {
    let said = changes(detail, |name, value| {
        let unit = Setting::named(name).map_or("", |setting| setting.unit);
        let label = settings::setting(name).map_or_else(|| name.to_owned(), |words| in_lower_case(words.label));
        let value = value.and_then(Value::as_u64).map(|value| settings::value(value, unit));
        (label, value.unwrap_or_else(|| "the file's value".to_owned()))
    });
    if said.is_empty() { "settings".to_owned() } else { said }
}

fn of_account(name: &str, value: Option<&Value>, missing: &str) -> (String, String) {
    let label = settings::limit(name).map_or_else(|| name.to_owned(), str::to_owned);
    let said = match (name, value) {
        ("models", None) => "all".to_owned(),
        ("role", Some(Value::String(role))) if role == "user" => "member".to_owned(),
        (_, None) => missing.to_owned(),
        (_, Some(value)) => plainly(value),
    };
    (label, said)
}

fn plainly(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), commas),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(plainly).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Lists what differs, with a label and a value in words from `say`, which gets `None` for what was or is not set.
fn changes(detail: &Value, say: impl Fn(&str, Option<&Value>) -> (String, String)) -> String {
    let (Some(old), Some(new)) = (detail.get("old").and_then(flat), detail.get("new").and_then(flat)) else {
        return String::new();
    };
    let mut said = Vec::new();
    let names = new.keys().chain(old.keys().filter(|name| !new.contains_key(*name)));
    for name in names {
        let [was, is] = [&old, &new].map(|values| values.get(name));
        if was != is {
            let ((label, was), (_, is)) = (say(name, was), say(name, is));
            said.push(format!("{label} from {was} to {is}"));
        }
    }
    said.join("; ")
}

/// Returns the fields with those of `quotas` among them, and without empty ones.
fn flat(fields: &Value) -> Option<Map<String, Value>> {
    let mut all = Map::new();
    for (name, value) in fields.as_object()? {
        match value {
            Value::Object(inner) if name == "quotas" => all.extend(inner.clone()),
            value => all.extend([(name.clone(), value.clone())]),
        }
    }
    all.retain(|_, value| !value.is_null());
    Some(all)
}

/// Lowers the first letter, unless the word is an abbreviation.
fn in_lower_case(label: &str) -> String {
    let mut characters = label.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(characters).collect(),
        _ => label.to_owned(),
    }
}
