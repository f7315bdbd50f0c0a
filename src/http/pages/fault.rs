//! Why a handler shows no page of its own.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};

use crate::base::error::Error;
use crate::http::pages::form_fields::FormFields;

/// What a handler of pages returns.
pub type PageResult = Result<HttpResponse, Fault>;

#[derive(Debug)]
pub enum Fault {
    /// An error of the verb that was called.
    Refused(Error),
    /// A page that isn't there, or not for this person.
    Missing,
    /// There is no session, or it has ended.
    SignedOut,
    /// Redirects to another page, for example when a password must be changed first.
    Away(String),
    /// The form came from elsewhere, or from before the sign-in.
    Forged,
    /// The password is asked for again before `deed` is done. With `problem`, one was wrong.
    Confirm(Box<Confirmation>),
}

/// What is done once the password was given again.
#[derive(Debug)]
pub struct Confirmation {
    /// For example "let in ann@example.org".
    pub deed: String,
    /// The form, to be sent again with the password.
    pub fields: FormFields,
    pub problem: Option<String>,
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Fault::Refused(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            // On pages, what a person may not see is not there.
            Error::NotFound { .. } => Fault::Missing,
            error => Fault::Refused(error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused(error) => error.fmt(f),
            Fault::Missing => f.write_str("no such page"),
            Fault::SignedOut => f.write_str("not signed in"),
            Fault::Away(path) => write!(f, "see {path}"),
            Fault::Forged => f.write_str("the form came from elsewhere"),
            Fault::Confirm(_) => f.write_str("the password is needed again"),
        }
    }
}

/// `dress` replaces the response by a page.
impl ResponseError for Fault {
    fn status_code(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}
