//! What is wrong with a form, told on the form itself.

use actix_web::http::StatusCode;

use crate::base::error::Error;
use crate::http::pages::fault::Fault;

/// An error that belongs to a form: its sentence, and the field at fault if it is one.
#[derive(Debug, Clone, Default)]
pub struct FormProblem {
    /// The name of the field, as in the form.
    pub field: Option<String>,
    /// A sentence.
    pub message: String,
}

impl FormProblem {
    pub fn new(field: Option<&str>, message: impl Into<String>) -> FormProblem {
        FormProblem { field: field.map(str::to_owned), message: message.into() }
    }

    /// Returns the problem with a form that `error` tells of. Other errors have a page of their own.
    pub fn of(error: Error) -> Result<FormProblem, Fault> {
        match error {
            Error::NotFound { .. } | Error::Internal { .. } | Error::AuditUnavailable { .. } => Err(Fault::from(error)),
            error => {
                let field = error.field().map(str::to_owned);
                let message = error.to_string();
                // Under its field a message need not name it.
                let named = field.as_deref().and_then(|field| message.strip_prefix(&format!("`{field}` ")));
                let message = sentence(named.unwrap_or(&message));
                Ok(FormProblem { field, message })
            }
        }
    }

    /// Returns the status of a form that has to be corrected.
    pub fn status(&self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }
}

/// Returns what is wrong with a field of a form, or nothing: for templates.
pub fn about<'a>(problem: &'a Option<FormProblem>, field: &str) -> &'a str {
    problem.as_ref().filter(|problem| problem.field.as_deref() == Some(field)).map_or("", |problem| &problem.message)
}

/// Makes a sentence of an error's message: messages of the API begin with a small letter and have no full stop.
pub fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let rest = letters.as_str();
    let end = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{rest}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_a_sentence() {
        assert_eq!(sentence("wrong user name or password"), "Wrong user name or password.");
        assert_eq!(sentence("`email` must be an address"), "`email` must be an address.");
        assert_eq!(sentence("Is it?"), "Is it?");
        assert_eq!(sentence("über allem"), "Über allem.");
    }
}
