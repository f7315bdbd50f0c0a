//! The name of a model, checked where it enters.

use std::fmt;

use crate::base::error::Error;

/// The name of a model in the caller's spelling, checked. Which other spellings mean the same model depends on the kind of
/// upstream, so there is no equality: `Provider::canonical` decides it.
#[derive(Clone, Debug)]
pub struct ModelName(String);

/// Returns whether two names mean one model.
pub type SameModel<'a> = &'a dyn Fn(&ModelName, &ModelName) -> bool;

/// No registry has longer names; the limit keeps logs and rows small.
const MODEL_NAME_BYTES_MAX: usize = 256;

impl ModelName {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Err(Error::invalid("model", format!("`model` {why}")));
        if text.is_empty() {
            return bad("is empty; name a model that `GET /v1/models` lists");
        }
        if text.len() > MODEL_NAME_BYTES_MAX {
            return bad("is longer than 256 bytes");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/@-".contains(&b)) {
            return bad("may only hold letters, digits and `. _ : / @ -`");
        }
        Ok(ModelName(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_hide_something_is_refused() {
        for bad in ["", "a b", "a\nb", "a\"b", "модель", &"x".repeat(257)] {
            assert_eq!(ModelName::parse(bad).unwrap_err().field(), Some("model"), "{bad}");
        }
        assert!(ModelName::parse(&"x".repeat(256)).is_ok());
        assert_eq!(ModelName::parse("Llama3.2").unwrap().as_str(), "Llama3.2", "as it was written");
    }
}
