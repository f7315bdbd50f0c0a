//! The fields of a form.

use crate::base::error::Error;
use crate::base::secret::Secret;

/// The field that each form of a session carries.
pub const FORM_TOKEN: &str = "csrf";

/// The field with the password that is given again.
pub const PASSWORD_AGAIN: &str = "password_again";

/// More fields than any form has.
const FIELDS_MAX: usize = 200;

/// The fields of a form, in order.
#[derive(Clone, Default)]
pub struct FormFields(Vec<(String, Secret<String>)>);

impl std::fmt::Debug for FormFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl FormFields {
    pub(in crate::http::pages) fn parse(body: &[u8]) -> Result<FormFields, Error> {
        let fields: Vec<_> = form_urlencoded::parse(body)
            .take(FIELDS_MAX + 1)
            .map(|(name, value)| (name.into_owned(), Secret::new(value.into_owned())))
            .collect();
        if fields.len() > FIELDS_MAX {
            return Err(Error::invalid("body", format!("a form has at most {FIELDS_MAX} fields")));
        }
        Ok(FormFields(fields))
    }

    /// Returns the first value of a field; empty when there is none.
    pub fn text<'a>(&'a self, name: &'a str) -> &'a str {
        self.values(name).next().unwrap_or_default()
    }

    /// Returns a value without the spaces around it; `None` when nothing was filled in.
    pub fn filled<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        Some(self.text(name).trim()).filter(|text| !text.is_empty())
    }

    /// Returns a whole number; `None` when nothing was filled in. `1,000` is a thousand.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let Some(text) = self.filled(name) else { return Ok(None) };
        let digits: String = text.chars().filter(|letter| !matches!(letter, ',' | '_' | ' ' | '\u{202f}')).collect();
        let number = digits.parse().map_err(|_| Error::invalid(name, format!("`{name}` must be a whole number")))?;
        Ok(Some(number))
    }

    /// Returns all values of a field, as of checkboxes.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.expose().as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }

    pub fn secret(&self, name: &str) -> Secret<String> {
        Secret::new(self.text(name).to_owned())
    }

    /// Returns the fields of the form itself, to be sent again: without those that the pages add.
    pub fn own(&self) -> impl Iterator<Item = (&str, &str)> {
        let added = |name: &str| name == FORM_TOKEN || name == PASSWORD_AGAIN;
        let fields = self.0.iter().map(|(name, value)| (name.as_str(), value.expose().as_str()));
        fields.filter(move |(name, _)| !added(name))
    }
}
