//! Each key of the configuration with its value and where that was read from. Values of secrets are not kept here.

use serde_json::Value;

/// A key of the configuration file, as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigKey {
    /// The whole key, as in `limits.body_seconds_max`.
    pub key: String,
    /// The key of its section; empty at the top of the file.
    pub section: String,
    /// The description in the example file; empty for keys of further upstreams.
    pub about: &'static str,
    /// `None`: a secret.
    pub value: Option<Value>,
    /// `None`: a secret.
    pub default: Option<Value>,
    pub source: KeySource,
}

/// Where a value was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    Default,
    File,
    /// The variable of this name.
    Environment(String),
    /// This flag of the command line.
    Flag(&'static str),
}

impl KeySource {
    pub fn name(&self) -> &'static str {
        match self {
            KeySource::Default => "default",
            KeySource::File => "file",
            KeySource::Environment(_) => "environment",
            KeySource::Flag(_) => "flag",
        }
    }

    /// Returns it as an operator knows it: the file, the variable or the flag.
    pub fn shown(&self) -> &str {
        match self {
            KeySource::Default => "the default",
            KeySource::File => "the file",
            KeySource::Environment(name) => name,
            KeySource::Flag(name) => name,
        }
    }

    /// Returns the variable of the environment that set the value.
    pub fn variable(&self) -> Option<&str> {
        match self {
            KeySource::Environment(name) => Some(name),
            KeySource::Default | KeySource::File | KeySource::Flag(_) => None,
        }
    }
}
