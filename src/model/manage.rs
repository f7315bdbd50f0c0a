//! Changes to the models of an upstream: what may be asked for, and the steps in which it proceeds.

use std::fmt;

use crate::base::error::Error;
use crate::model::model_name::ModelName;

/// What is to be done with the models of one upstream.
#[derive(Debug, Clone)]
pub enum ModelChange {
    /// Fetch a model from a registry.
    Pull(ModelName),
    /// Send a model to a registry.
    Push(ModelName),
    Create(Box<NewModel>),
    Copy {
        source: ModelName,
        destination: ModelName,
    },
    Delete(ModelName),
    /// Keep a file, for a model to be made from.
    Upload(BlobDigest),
}

/// A model to be made from another one or from files.
#[derive(Debug, Clone)]
pub struct NewModel {
    pub model: ModelName,
    pub from: Option<ModelName>,
    /// The digests of uploaded files by their names.
    pub files: Vec<(String, BlobDigest)>,
    /// The same for adapters.
    pub adapters: Vec<(String, BlobDigest)>,
    pub template: Option<String>,
    pub system: Option<String>,
    pub licenses: Vec<String>,
    pub parameters: Vec<(String, ParameterValue)>,
    /// Messages with which each of its chats begins: role and text.
    pub messages: Vec<(String, String)>,
    pub quantize: Option<String>,
    pub renderer: Option<String>,
    pub parser: Option<String>,
    /// The oldest version of the upstream that can run it.
    pub requires: Option<String>,
}

/// The value of an option that a model is made with.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterValue {
    Flag(bool),
    Whole(i64),
    Number(f64),
    Text(String),
    Texts(Vec<String>),
}

impl ModelChange {
    /// Returns what is done, as the record names it.
    pub fn action(&self) -> &'static str {
        match self {
            ModelChange::Pull(_) => "pull",
            ModelChange::Push(_) => "push",
            ModelChange::Create(_) => "create",
            ModelChange::Copy { .. } => "copy",
            ModelChange::Delete(_) => "delete",
            ModelChange::Upload(_) => "upload",
        }
    }

    /// Returns the model that is changed. `None`: an uploaded file belongs to no model yet.
    pub fn model(&self) -> Option<&ModelName> {
        match self {
            ModelChange::Pull(model) | ModelChange::Push(model) | ModelChange::Delete(model) => Some(model),
            ModelChange::Create(new) => Some(&new.model),
            ModelChange::Copy { destination, .. } => Some(destination),
            ModelChange::Upload(_) => None,
        }
    }

    /// Returns the model that another one is made from.
    pub fn source(&self) -> Option<&ModelName> {
        match self {
            ModelChange::Create(new) => new.from.as_ref(),
            ModelChange::Copy { source, .. } => Some(source),
            ModelChange::Pull(_) | ModelChange::Push(_) | ModelChange::Delete(_) | ModelChange::Upload(_) => None,
        }
    }

    pub fn digest(&self) -> Option<&BlobDigest> {
        match self {
            ModelChange::Upload(digest) => Some(digest),
            _ => None,
        }
    }
}

/// The SHA-256 digest of a file: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobDigest(String);

const DIGEST_HEAD: &str = "sha256:";
const DIGEST_DIGITS: usize = 64;

impl BlobDigest {
    /// Parses a digest. `field` is the caller's name of the field that holds it.
    pub fn parse(field: &str, text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix(DIGEST_HEAD).filter(|digits| digits.len() == DIGEST_DIGITS);
        let is_hex = |digits: &str| digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match digits.filter(|digits| is_hex(digits)) {
            Some(_) => Ok(BlobDigest(text.to_owned())),
            None => {
                let message =
                    format!("`{field}` must be `sha256:` and {DIGEST_DIGITS} hexadecimal digits in lower case");
                Err(Error::invalid(field, message))
            }
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A step of a change, as its upstream reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeStep {
    pub status: String,
    /// The part of the model that the next two are about.
    pub digest: Option<String>,
    pub bytes_total: Option<u64>,
    pub bytes_done: Option<u64>,
}

impl ChangeStep {
    pub fn of(status: &str) -> Self {
        ChangeStep { status: status.to_owned(), digest: None, bytes_total: None, bytes_done: None }
    }

    /// Returns the last step of a change that is done.
    pub fn success() -> Self {
        ChangeStep::of("success")
    }

    pub fn is_success(&self) -> bool {
        self.status == "success"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sha256_and_64_digits_and_nothing_else() {
        let digits = "0123456789abcdef".repeat(4);
        assert_eq!(BlobDigest::parse("digest", &format!("sha256:{digits}")).unwrap().as_str().len(), 71);

        for wrong in [
            String::new(),
            digits.clone(),
            format!("sha256-{digits}"),
            format!("sha512:{digits}"),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{digits}0"),
            format!("sha256:{}", digits.to_uppercase()),
            format!("sha256:{}g", &digits[1..]),
            format!("sha256:../{}", &digits[3..]),
        ] {
            assert_eq!(BlobDigest::parse("digest", &wrong).unwrap_err().field(), Some("digest"), "{wrong}");
        }
    }
}
