//! Kinds of values: each function parses one kind, or says what is wrong.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Value;

use crate::base::clock::zone::Zone;
use crate::config::reader::Faults;

/// Parses a whole number within bounds.
pub fn number(least: u64, most: u64) -> impl Fn(&Value) -> Result<u64, String> {
    move |value| match value.as_integer().and_then(|n| u64::try_from(n).ok()) {
        Some(n) if (least..=most).contains(&n) => Ok(n),
        _ => Err(format!("`{value}` must be a whole number from {least} to {most}")),
    }
}

pub fn flag(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("`{value}` must be true or false"))
}

pub fn text(value: &Value) -> Result<String, String> {
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        Some(_) => Err("must not be empty".to_owned()),
        _ => Err(format!("`{value}` must be a text in quotes")),
    }
}

/// Parses the path of a file; an empty one is none.
pub fn optional_path(value: &Value) -> Result<Option<PathBuf>, String> {
    let path = value.as_str().ok_or_else(|| format!("`{value}` must be the path of a file in quotes"))?;
    Ok(Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty()))
}

pub fn one_of<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let found = choices.iter().find(|(name, _)| value.as_str() == Some(name));
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            format!("`{value}` must be one of {}", names.join(", "))
        })
    }
}

/// Parses a list; each wrong item is a fault of its own.
pub fn list<T>(item: impl Fn(&str) -> Result<T, String>) -> impl Fn(&Value) -> Result<Vec<T>, Faults> {
    move |value| {
        let items = value.as_array().ok_or_else(|| format!("`{value}` must be a list, as in [\"a\", \"b\"]"))?;
        let (mut good, mut wrong) = (Vec::new(), Vec::new());
        for entry in items {
            match text(entry).and_then(|text| item(&text)) {
                Ok(item) => good.push(item),
                Err(message) => wrong.push(message),
            }
        }
        if wrong.is_empty() { Ok(good) } else { Err(Faults(wrong)) }
    }
}

pub fn seconds(least: u64, most: u64) -> impl Fn(&Value) -> Result<Duration, String> {
    move |value| number(least, most)(value).map(Duration::from_secs)
}

pub fn parsed<T: std::str::FromStr>(what: &'static str) -> impl Fn(&Value) -> Result<T, String> {
    move |value| text(value)?.parse().map_err(|_| format!("{value} must be {what}"))
}

/// Parses a network, as a list has it.
pub fn network(item: &str) -> Result<IpNet, String> {
    item.parse().map_err(|_| format!("`{item}` must be a network, as in \"192.168.1.0/24\""))
}

pub fn zone(value: &Value) -> Result<Zone, String> {
    let name = text(value)?;
    if name == "host" {
        return Ok(Zone::of_host());
    }
    let unknown = || format!("`{name}` must be the IANA name of a time zone, as in \"Europe/Berlin\", or \"host\"");
    Zone::named(&name).ok_or_else(unknown)
}

/// Parses a host name or an address, as in the `Host` header without a port.
pub fn host(item: &str) -> Result<String, String> {
    let host = item.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_canonical().to_string()),
        Err(_) if is_name => Ok(host),
        Err(_) => Err(format!("`{item}` must be a host name or an address, without a port, as in \"ai.example.org\"")),
    }
}
