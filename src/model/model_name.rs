//! The name of a model, checked where it enters.

use std::fmt;

use crate::base::error::Error;

/// The name of a model in the caller's spelling, checked. Equality ignores case and a missing `:latest`.
#[derive(Clone, Debug)]
pub struct ModelName {
    asked: String,
    canonical: String,
}

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
        let mut canonical = text.to_ascii_lowercase();
        let last_part = canonical.rsplit('/').next().unwrap_or(&canonical);
        if !last_part.contains(':') {
            canonical.push_str(":latest");
        }
        Ok(ModelName { asked: text.to_owned(), canonical })
    }

    pub fn as_str(&self) -> &str {
        &self.asked
    }

    /// Returns the name in lower case and with a tag: equal for all spellings of one model.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

impl PartialEq for ModelName {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_equal_without_regard_to_case_and_default_tag() {
        let name = |text| ModelName::parse(text).unwrap();

        assert_eq!(name("Llama3.2"), name("llama3.2:latest"));
        assert_ne!(name("llama3.2:1b"), name("llama3.2"));
        assert_eq!(name("hf.co/user/Repo"), name("hf.co/user/repo:latest"));
        assert_eq!(name("Llama3.2").as_str(), "Llama3.2");
    }

    #[test]
    fn a_name_that_could_hide_something_is_refused() {
        for bad in ["", "a b", "a\nb", "a\"b", "модель", &"x".repeat(257)] {
            assert_eq!(ModelName::parse(bad).unwrap_err().field(), Some("model"), "{bad}");
        }
        assert!(ModelName::parse(&"x".repeat(256)).is_ok());
    }
}
