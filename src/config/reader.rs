//! Reads keys from a TOML table with the environment on top, and remembers each key that was asked for.
//!
//! Because reading is also describing, the commented example file and the list of known keys can't drift from the code.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use crate::config::keys::{ConfigKey, KeySource};

/// `LGW_LIMITS__BODY_BYTES_MAX` stands for `limits.body_bytes_max`.
pub const ENV_PREFIX: &str = "LGW_";

/// A wrong key, and what to do about it.
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

/// A key of the file, as the words of its path. A word may contain a dot, as in `upstream."gpu1.lan".url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Vec<String>);

impl Key {
    pub fn of(words: &[&str]) -> Key {
        Key(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// Returns the environment variable that sets the key.
    fn variable(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|word| in_environment(word).to_ascii_uppercase()).collect();
        format!("{ENV_PREFIX}{}", words.join("__"))
    }

    fn section(&self) -> String {
        self.0.split_last().map(|(_, section)| Key(section.to_vec()).to_string()).unwrap_or_default()
    }

    fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }
}

impl From<&str> for Key {
    fn from(dotted: &str) -> Key {
        Key(dotted.split('.').map(str::to_owned).collect())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.0.iter().enumerate() {
            let bare =
                !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            let dot = if at == 0 { "" } else { "." };
            match bare {
                true => write!(f, "{dot}{word}")?,
                false => write!(f, "{dot}{}", Value::String(word.clone()))?,
            }
        }
        Ok(())
    }
}

/// Variables of the examples, which a shell may have set, and of the command line. They configure nothing.
const DOCUMENTED_VARIABLES: [&str; 5] = ["LGW_CONFIG", "LGW_URL", "LGW_TOKEN", "LGW_USER", "LGW_PASSWORD"];

fn is_no_key(variable: &str) -> bool {
    DOCUMENTED_VARIABLES.contains(&variable) || (cfg!(debug_assertions) && variable.starts_with("LGW_DEBUG_"))
}

/// Returns whether one environment variable would set both names.
pub fn same_variable(one: &str, other: &str) -> bool {
    in_environment(one).eq_ignore_ascii_case(&in_environment(other))
}

/// Most shells allow only letters, digits and `_` in the name of a variable, so other letters become `_`.
fn in_environment(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}

/// Faults of a value: a message for each.
pub struct Faults(pub Vec<String>);

impl From<String> for Faults {
    fn from(message: String) -> Faults {
        Faults(vec![message])
    }
}

struct Known {
    key: Key,
    default: &'static str,
    doc: &'static str,
    /// Whether the value must not be shown.
    is_secret: bool,
    /// The value that was read; `None`: the default.
    read: Option<Value>,
    source: KeySource,
}

/// A value that was looked up, parsed and as it was written.
struct Found<T> {
    parsed: Result<T, Faults>,
    written: Value,
    source: KeySource,
}

/// A variable of the environment.
struct Variable {
    name: String,
    text: String,
}

pub struct Reader {
    table: Table,
    /// By the name in letters, digits and `_`.
    env: BTreeMap<String, Variable>,
    known: Vec<Known>,
    said: Vec<Key>,
    problems: Vec<Problem>,
    notes: Vec<Problem>,
}

impl Reader {
    pub fn new(table: Table, env: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut reader = Reader {
            table,
            env: BTreeMap::new(),
            known: Vec::new(),
            said: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
        };
        let ours = |(name, _): &(String, String)| name.starts_with(ENV_PREFIX) && !is_no_key(name);
        for (name, text) in env.into_iter().filter(ours) {
            let variable = Variable { name: name.clone(), text };
            if let Some(other) = reader.env.insert(in_environment(&name), variable) {
                reader.problem(name, format!("sets the same key as `{}`; keep one of them", other.name));
            }
        }
        reader
    }

    /// Returns the names of the variables that are read as keys.
    pub fn variables(&self) -> Vec<String> {
        self.env.values().map(|variable| variable.name.clone()).collect()
    }

    /// Returns the value of `key`, or that of `default` (TOML text) when it is absent or wrong; each fault is a problem.
    pub fn key<T, E: Into<Faults>>(
        &mut self,
        key: impl Into<Key>,
        default: &'static str,
        doc: &'static str,
        parse: impl Fn(&Value) -> Result<T, E>,
    ) -> T {
        self.read(key.into(), default, doc, false, |value| parse(value).map_err(Into::into))
    }

    /// Returns the value of a key that holds a secret, as `key` does. The value is not among `keys`.
    pub fn secret_key<T, E: Into<Faults>>(
        &mut self,
        key: impl Into<Key>,
        default: &'static str,
        doc: &'static str,
        parse: impl Fn(&Value) -> Result<T, E>,
    ) -> T {
        self.read(key.into(), default, doc, true, |value| parse(value).map_err(Into::into))
    }

    fn read<T>(
        &mut self,
        key: Key,
        default: &'static str,
        doc: &'static str,
        is_secret: bool,
        parse: impl Fn(&Value) -> Result<T, Faults>,
    ) -> T {
        let found = self.lookup(&key, &parse);
        let (read, source) = match &found {
            Some(found) => (Some(found.written.clone()), found.source.clone()),
            None => (None, KeySource::Default),
        };
        self.known.push(Known { key: key.clone(), default, doc, is_secret, read, source });
        match found.map(|found| found.parsed) {
            Some(Ok(value)) => {
                self.said.push(key);
                return value;
            }
            Some(Err(Faults(messages))) => {
                messages.into_iter().for_each(|message| self.problem(key.to_string(), message));
            }
            None => {}
        }
        match parse(&value_of(default)) {
            Ok(value) => value,
            Err(Faults(messages)) => panic!("the default of `{key}` is wrong: {}", messages.join("; ")),
        }
    }

    fn lookup<T>(&self, key: &Key, parse: &impl Fn(&Value) -> Result<T, Faults>) -> Option<Found<T>> {
        if let Some(Variable { name, text }) = self.env.get(&key.variable()) {
            // A text such as `0.0.0.0:7000` needs no quotes in the environment; `["a"]` and `10` are parsed as TOML.
            let as_text = Value::String(text.clone());
            let (parsed, written) = match text.parse::<Value>() {
                Ok(value) => match (parse(&value), parse(&as_text)) {
                    (Err(_), Ok(parsed)) => (Ok(parsed), as_text),
                    (parsed, _) => (parsed, value),
                },
                Err(_) => (parse(&as_text), as_text),
            };
            let from = |message: String| format!("{message} (from {name})");
            let parsed = parsed.map_err(|Faults(messages)| Faults(messages.into_iter().map(from).collect()));
            return Some(Found { parsed, written, source: KeySource::Environment(name.clone()) });
        }
        let (last, sections) = key.0.split_last()?;
        let mut table = &self.table;
        for section in sections {
            table = table.get(section)?.as_table()?;
        }
        let value = table.get(last)?;
        Some(Found { parsed: parse(value), written: value.clone(), source: KeySource::File })
    }

    /// Returns every key that was read, section by section in the order of the example file.
    pub fn keys(&self) -> Vec<ConfigKey> {
        let shown = |known: &Known| {
            let value = |value: &Value| serde_json::to_value(value).ok().filter(|_| !known.is_secret);
            let default = value_of(known.default);
            ConfigKey {
                key: known.key.to_string(),
                section: known.key.section(),
                about: known.doc,
                value: value(known.read.as_ref().unwrap_or(&default)),
                default: value(&default),
                source: known.source.clone(),
            }
        };
        let known = self.sections().into_iter().flat_map(|section| self.known_in(section));
        known.map(shown).collect()
    }

    /// Notes that a flag of the command line sets a key that was read.
    pub fn set_by_flag(&mut self, key: &str, flag: &'static str, value: String) {
        let key = Key::from(key);
        if let Some(known) = self.known.iter_mut().find(|known| known.key == key) {
            known.read = Some(Value::String(value));
            known.source = KeySource::Flag(flag);
        }
    }

    /// Returns whether the file or the environment has this key, with a valid value.
    pub fn said(&self, key: impl Into<Key>) -> bool {
        self.said.contains(&key.into())
    }

    /// Returns the names of sections under `section`, in the file or in the environment.
    pub fn names_under(&self, section: &str) -> Vec<String> {
        let mut names: Vec<String> = match self.table.get(section) {
            Some(Value::Table(inner)) => {
                inner.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name.clone()).collect()
            }
            _ => Vec::new(),
        };
        let prefix = format!("{}__", Key::of(&[section]).variable());
        for variable in self.env.values() {
            let Some((name, _)) = variable.name.strip_prefix(&prefix).and_then(|rest| rest.split_once("__")) else {
                continue;
            };
            if !names.iter().any(|other| same_variable(other, name)) {
                names.push(name.to_ascii_lowercase());
            }
        }
        names
    }

    pub fn problem(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { key: key.into(), message: message.into() });
    }

    /// Adds a note about a value without effect that contradicts only a default.
    pub fn note(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.notes.push(Problem { key: key.into(), message: message.into() });
    }

    /// Checks that one value does not exceed another, which bounds it. A default yields to a configured value, so this is a
    /// problem only if both are configured, and otherwise a note.
    pub fn within(&mut self, (key, value): (Key, u64), (other, most): (Key, u64)) {
        let (said, other_said) = (self.said(key.clone()), self.said(other.clone()));
        if value <= most || !(said || other_said) {
            return;
        }
        if said && other_said {
            self.problem(key.to_string(), format!("{value} is more than {most}, which `{other}` allows"));
        } else if said {
            self.note(key.to_string(), format!("{value} has no effect above {most}, the default of `{other}`"));
        }
    }

    pub fn take_notes(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.notes)
    }

    /// Returns the problems of the environment alone, for a file that can't be understood.
    pub fn finish_environment(self) -> Vec<Problem> {
        let is_of_environment =
            |problem: &Problem| problem.key.starts_with(ENV_PREFIX) || problem.message.contains("(from LGW_");
        self.finish().into_iter().filter(is_of_environment).collect()
    }

    /// Returns every problem, unknown keys included.
    pub fn finish(mut self) -> Vec<Problem> {
        let mut unknown = Vec::new();
        list_keys(&self.table, &[], &mut unknown);
        unknown.retain(|key| !self.known.iter().any(|known| known.key == *key));
        for key in unknown {
            let name = key.to_string();
            if !name.is_empty() && self.sections().contains(&name) {
                self.problem(&name, format!("is a section: write [{name}], and its keys below it"));
                continue;
            }
            let message = match self.nearest(&key.to_string(), key.last()) {
                Some(near) => format!("no such key; did you mean `{near}`?"),
                None => "no such key; `lan-gateway config example` lists them all".into(),
            };
            self.problem(key.to_string(), message);
        }
        let known: Vec<String> = self.known.iter().map(|known| known.key.variable()).collect();
        let unknown: Vec<String> = self
            .env
            .iter()
            .filter(|(name, _)| !known.contains(name))
            .map(|(_, variable)| variable.name.clone())
            .collect();
        for name in unknown {
            let asked = name.strip_prefix(ENV_PREFIX).unwrap_or(&name);
            let last = asked.rsplit("__").next().unwrap_or(asked);
            let message = match self.nearest(asked, last) {
                Some(near) => format!("no key has this variable; did you mean {}, for `{near}`?", near.variable()),
                None => "no key has this variable; `lan-gateway config example` lists them all".into(),
            };
            self.problem(name, message);
        }
        self.problems
    }

    /// Returns the known key that was probably meant; `last` is the last word of the unknown one.
    fn nearest(&self, asked: &str, last: &str) -> Option<&Key> {
        let section = asked.strip_suffix(last).unwrap_or_default().trim_end_matches(['.', '_']);
        let likeness = |known: &Known| {
            // Often the word is right and its section wrong, or its unit is missing.
            let begins = last.len() >= 4 && known.key.last().starts_with(&last.to_ascii_lowercase());
            let word = alike(last, known.key.last());
            let word = if begins { word.max(LIKENESS_LEAST + (1.0 - LIKENESS_LEAST) * word) } else { word };
            // A right section alone doesn't make a word likely.
            let same_section = !section.is_empty() && plain(section) == plain(&known.key.section());
            if same_section { word } else { word.max(alike(asked, &known.key.to_string())) }
        };
        // Several sections may have the same word; then the whole name decides.
        let whole = |known: &Known| alike(asked, &known.key.to_string());
        let nearest = self.known.iter().max_by(|one, other| {
            likeness(one).total_cmp(&likeness(other)).then_with(|| whole(one).total_cmp(&whole(other)))
        })?;
        (likeness(nearest) >= LIKENESS_LEAST).then_some(&nearest.key)
    }

    /// Returns a TOML file of all keys, each commented out with its default.
    pub fn example(&self, intro: &str) -> String {
        let mut out = String::new();
        for line in intro.lines() {
            comment(&mut out, line);
        }
        for section in self.sections() {
            if !section.is_empty() {
                out.push_str(&format!("\n[{section}]\n"));
            }
            for known in self.known_in(section) {
                out.push('\n');
                for line in known.doc.lines() {
                    comment(&mut out, line);
                }
                out.push_str(&format!("#{} = {}\n", known.key.last(), known.default));
            }
        }
        out
    }

    /// Returns each section once: it may be read in several places.
    fn sections(&self) -> Vec<String> {
        let mut sections: Vec<String> = Vec::new();
        for section in self.known.iter().map(|known| known.key.section()) {
            if !sections.contains(&section) {
                sections.push(section);
            }
        }
        sections
    }

    fn known_in(&self, section: String) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(move |known| known.key.section() == section)
    }
}

fn comment(out: &mut String, line: &str) {
    let line = line.trim();
    out.push_str(if line.is_empty() { "#" } else { "# " });
    out.push_str(line);
    out.push('\n');
}

fn plain(name: &str) -> String {
    in_environment(name).to_ascii_lowercase().replace("__", "_")
}

/// Less similar words count as different, not as misspelt.
const LIKENESS_LEAST: f64 = 0.7;

/// Returns the similarity of two names, from 0 to 1. How their words are joined doesn't matter.
fn alike(one: &str, other: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&plain(one), &plain(other))
}

fn value_of(text: &str) -> Value {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a TOML value"))
}

fn list_keys(table: &Table, section: &[String], out: &mut Vec<Key>) {
    for (name, value) in table {
        let key: Vec<String> = section.iter().chain([name]).cloned().collect();
        match value {
            Value::Table(inner) => list_keys(inner, &key, out),
            _ => out.push(Key(key)),
        }
    }
}
