//! Credentials as callers send them, not verified yet.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

use crate::base::error::Error;
use crate::base::secret::Secret;

pub enum Credential {
    /// From `Authorization: Bearer` or `x-api-key`: a JWT or an API token.
    Bearer(Secret<String>),
    Password {
        username: Username,
        password: Secret<String>,
    },
}

/// The name of an account in the one form that look-ups, uniqueness and limits use: trimmed, NFKC, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Username(String);

const ADMIN: &str = "admin";

impl Username {
    /// Accepts any text that a caller may try to sign in with; one that no account can have finds none.
    pub fn of(text: &str) -> Self {
        Username(text.trim().nfkc().collect::<String>().to_lowercase())
    }

    /// Parses the name of a new account: an e-mail address.
    pub fn parse_email(text: &str) -> Result<Self, Error> {
        let name = Username::of(text);
        let bad = |why: &str| Err(Error::invalid("email", format!("`email` {why}")));
        if name.0.len() > 254 {
            return bad("is longer than 254 bytes");
        }
        // Letters of several scripts can make two addresses look alike, so only ASCII is accepted.
        if !name.0.is_ascii() || !email_address::EmailAddress::is_valid(&name.0) || name.0.contains(['"', ' ', '(']) {
            return bad("must be an e-mail address, as in ann@example.org");
        }
        Ok(name)
    }

    pub fn is_admin(&self) -> bool {
        self.0 == ADMIN
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_are_one_name() {
        let plain = Username::parse_email("ann@example.org").unwrap();

        assert_eq!(Username::parse_email("  Ann@Example.ORG ").unwrap(), plain);
        assert_eq!(Username::of("ａｎｎ@example.org"), plain);
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for bad in
            ["", "admin", "ann", "ann@", "@example.org", "a b@example.org", "аnn@example.org", "\"a b\"@example.org"]
        {
            assert_eq!(Username::parse_email(bad).unwrap_err().field(), Some("email"), "{bad}");
        }
        let long = format!("{}@example.org", "a".repeat(300));
        assert!(Username::parse_email(&long).is_err());
    }
}
