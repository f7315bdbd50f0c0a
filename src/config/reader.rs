//! Reads keys from a TOML table with the environment on top, and remembers each key that was asked for.
//!
//! Because reading is also describing, the commented example file and the list of known keys can't drift from the code.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

/// `LGW_LIMITS__BODY_BYTES_MAX` stands for `limits.body_bytes_max`.
pub const ENV_PREFIX: &str = "LGW_";

/// A key that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.key, self.message)
    }
}

struct Known {
    key: String,
    default: &'static str,
    doc: &'static str,
}

pub struct Reader {
    table: Table,
    env: BTreeMap<String, String>,
    known: Vec<Known>,
    problems: Vec<Problem>,
}

impl Reader {
    pub fn new(table: Table, env: impl IntoIterator<Item = (String, String)>) -> Self {
        let env = env.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        Reader { table, env, known: Vec::new(), problems: Vec::new() }
    }

    /// The value of `key`, or that of `default` (TOML text) when it is absent or wrong; a wrong one is a problem.
    pub fn key<T>(
        &mut self,
        key: impl Into<String>,
        default: &'static str,
        doc: &'static str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> T {
        let key = key.into();
        let found = self.lookup(&key, &parse);
        self.known.push(Known { key: key.clone(), default, doc });
        match found {
            Some(Ok(value)) => return value,
            Some(Err(message)) => self.problems.push(Problem { key: key.clone(), message }),
            None => {}
        }
        match parse(&value_of(default)) {
            Ok(value) => value,
            Err(message) => panic!("the default of `{key}` is wrong: {message}"),
        }
    }

    fn lookup<T>(&self, key: &str, parse: &impl Fn(&Value) -> Result<T, String>) -> Option<Result<T, String>> {
        if let Some(text) = self.env.get(&env_name(key)) {
            // A text such as `0.0.0.0:7000` needs no quotes in the environment; `["a"]` and `10` mean what they say.
            let as_text = || parse(&Value::String(text.clone()));
            let parsed = match text.parse::<Value>() {
                Ok(value) => parse(&value).or_else(|problem| as_text().map_err(|_| problem)),
                Err(_) => as_text(),
            };
            return Some(parsed.map_err(|message| format!("{message} (from {})", env_name(key))));
        }
        let mut value = None;
        let mut table = &self.table;
        for name in key.split('.') {
            value = table.get(name);
            match value {
                Some(Value::Table(inner)) => table = inner,
                Some(_) => {}
                None => return None,
            }
        }
        value.map(parse)
    }

    /// The names under `section`, in the file or in the environment.
    pub fn names_under(&self, section: &str) -> Vec<String> {
        let mut names: Vec<String> = match self.table.get(section) {
            Some(Value::Table(inner)) => inner.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let prefix = format!("{}__", env_name(section));
        for name in self.env.keys().filter_map(|name| name.strip_prefix(&prefix)) {
            let name = name.split("__").next().unwrap_or(name).to_ascii_lowercase();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    pub fn problem(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { key: key.into(), message: message.into() });
    }

    /// Every problem, keys that nobody asked for among them.
    pub fn finish(mut self) -> Vec<Problem> {
        let mut unknown = Vec::new();
        list_keys(&self.table, "", &mut unknown);
        unknown.retain(|key| !self.known.iter().any(|known| known.key == *key));
        for key in unknown {
            let message = match self.nearest(&key) {
                Some(near) => format!("no such key; did you mean `{near}`?"),
                None => "no such key; `lan-gateway config example` lists them all".into(),
            };
            self.problems.push(Problem { key, message });
        }
        for name in self.env.keys().filter(|name| name.contains("__")) {
            if !self.known.iter().any(|known| env_name(&known.key) == *name) {
                let message = "no such key; `lan-gateway config example` lists them all".into();
                self.problems.push(Problem { key: name.clone(), message });
            }
        }
        self.problems
    }

    fn nearest(&self, key: &str) -> Option<&str> {
        let last = key.rsplit('.').next().unwrap_or(key);
        let same_name = |known: &&Known| known.key.rsplit('.').next() == Some(last);
        let shares_words = |known: &&Known| known.key.contains(last) || last.contains(known.key.as_str());
        let known = self.known.iter().find(same_name).or_else(|| self.known.iter().find(shares_words))?;
        Some(&known.key)
    }

    /// Every key that was asked for, as a TOML file in which each stands commented out with its default.
    pub fn example(&self, intro: &str) -> String {
        let mut out = String::new();
        for line in intro.lines() {
            comment(&mut out, line);
        }
        let parts = |known: &'_ Known| match known.key.rsplit_once('.') {
            Some((section, name)) => (section.to_owned(), name.to_owned()),
            None => (String::new(), known.key.clone()),
        };
        // A section may be read in several places, and TOML has each one once.
        let mut sections: Vec<String> = Vec::new();
        for (section, _) in self.known.iter().map(parts) {
            if !sections.contains(&section) {
                sections.push(section);
            }
        }
        for section in sections {
            if !section.is_empty() {
                out.push_str(&format!("\n[{section}]\n"));
            }
            for known in &self.known {
                let (in_section, name) = parts(known);
                if in_section != section {
                    continue;
                }
                out.push('\n');
                for line in known.doc.lines() {
                    comment(&mut out, line);
                }
                out.push_str(&format!("#{name} = {}\n", known.default));
            }
        }
        out
    }
}

fn comment(out: &mut String, line: &str) {
    let line = line.trim();
    out.push_str(if line.is_empty() { "#" } else { "# " });
    out.push_str(line);
    out.push('\n');
}

fn env_name(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

fn value_of(text: &str) -> Value {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a TOML value"))
}

fn list_keys(table: &Table, prefix: &str, out: &mut Vec<String>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => list_keys(inner, &key, out),
            _ => out.push(key),
        }
    }
}

/// A whole number within bounds.
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
        _ => Err(format!("`{value}` must be a text in quotes")),
    }
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

pub fn list<T>(item: impl Fn(&str) -> Result<T, String>) -> impl Fn(&Value) -> Result<Vec<T>, String> {
    move |value| {
        let items = value.as_array().ok_or_else(|| format!("`{value}` must be a list, as in [\"a\", \"b\"]"))?;
        items.iter().map(|entry| text(entry).and_then(|text| item(&text))).collect()
    }
}
