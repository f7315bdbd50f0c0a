//! Requests that a delegating token brings: each is the request of the person whom its header names, not of the token's owner.
//!
//! A tool that people sign in to has one token for all of them. An admin makes it, for the tool's own addresses, and thereby
//! trusts the tool to name the right person. The person's limits and rights apply, within those of the token. For any other
//! credential the header means nothing, and it is not even read.

use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::{Auth, Denied, Identity, Whose, check_place};
use crate::base::error::Error;
use crate::config::{DelegatingSection, UnknownPerson};
use crate::model::credential::Username;
use crate::model::people::{User, UserStatus};
use crate::model::token::Token;

/// Reads all values of one header of the request, as they were sent.
pub type HeaderValues<'a> = &'a dyn Fn(&str) -> Vec<Vec<u8>>;

/// Whose credential a request came with.
#[derive(Clone)]
pub(super) enum Via {
    /// The user's own.
    Own,
    /// A delegating token, and its tool named the user.
    Delegated {
        owner: Arc<User>,
        /// The tool says that no person waits for the answer.
        is_background: bool,
    },
    /// A delegating token, and its tool named no person in this header. Such a request may only list models.
    Unnamed(Arc<str>),
}

/// A person without an account whom a tool named with a delegating token.
#[derive(Debug)]
pub struct Stranger {
    pub name: Username,
    pub token: Arc<Token>,
}

impl Auth {
    /// Turns the identity of a delegating token into that of the person whom `headers` name. Any other is returned unchanged.
    pub(super) fn on_behalf(
        &self,
        machine: Identity,
        source: Option<IpAddr>,
        headers: HeaderValues<'_>,
    ) -> Result<Identity, Denied> {
        let Some(token) = machine.token.clone().filter(|token| token.delegating) else { return Ok(machine) };
        let denied = |error| Denied::of(machine.whose(), error);
        // Before anything is looked up: what the answers tell about accounts is for the tool alone.
        check_place(&token, source).map_err(denied)?;
        if !machine.user.is_admin() {
            let message =
                format!("the token `{}` acts for other people, and its owner is no admin any more", token.name);
            return Err(denied(Error::forbidden(message)));
        }
        let header = &self.delegating.email_header;
        let Some(name) = named(header, &headers(header)).map_err(denied)? else {
            return Ok(Identity { via: Via::Unnamed(header.clone()), ..machine });
        };
        let people = self.store.people();
        let person = people.by_name(name.as_str());
        match person {
            Some(person) if person.is_active() && !person.must_change => {
                let via = Via::Delegated { owner: machine.user, is_background: self.is_background(headers) };
                Ok(Identity { user: person.clone(), via, ..machine })
            }
            _ => Err(Denied {
                stranger: (person.is_none() && self.delegating_unknown == UnknownPerson::Pending)
                    .then(|| Box::new(Stranger { name, token })),
                ..Denied::of(whose_refusal(&machine, person), no_such_person(header, self.delegating_unknown))
            }),
        }
    }

    /// Returns whether a tool marks its request as one of the background tasks, and these are counted apart.
    fn is_background(&self, headers: HeaderValues<'_>) -> bool {
        let DelegatingSection { task_header, background_tasks, .. } = &self.delegating;
        let values = headers(task_header);
        let [task] = &values[..] else { return false };
        self.store.settings().now().tasks_per_minute > 0
            && background_tasks.iter().any(|known| known.as_bytes() == task.trim_ascii())
    }
}

/// Returns under whom a refusal is recorded. A pending account has no rows, so that it can be turned down.
fn whose_refusal(machine: &Identity, person: Option<&Arc<User>>) -> Whose {
    let own = machine.whose();
    match person.filter(|person| person.status != UserStatus::Pending) {
        Some(person) => Whose { user_id: person.id, via_user_id: Some(own.user_id), ..own },
        None => own,
    }
}

/// Returns the person whom a request names in `header`; `None`: no person. Anything but one plain e-mail address is refused: what
/// could be read in two ways must not decide who is governed.
fn named(header: &str, values: &[Vec<u8>]) -> Result<Option<Username>, Error> {
    let bad = |why: &str| Err(Error::invalid(header, format!("the header `{header}` {why}")));
    let value = match values {
        [] => return Ok(None),
        [value] => value,
        _ => return bad("was sent more than once; it must name one person"),
    };
    let Ok(text) = std::str::from_utf8(value) else { return bad("is not UTF-8") };
    // In the spelling that names of accounts have, so that a wide comma is a comma.
    let name = Username::of(text);
    if name.as_str().contains(',') {
        return bad("has a comma; it must name one person");
    }
    if is_encoded(name.as_str()) {
        return bad("is encoded; it must have the e-mail address as it is");
    }
    match Username::parse_email(text) {
        Ok(name) => Ok(Some(name)),
        Err(_) => bad("must be the e-mail address of one person, as in ann@example.org"),
    }
}

/// Returns whether a text looks like one that was encoded for a URL or, by RFC 2047, for a mail.
fn is_encoded(text: &str) -> bool {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    let escapes = |at: usize| bytes[at] == b'%' && is_hex(bytes.get(at + 1)) && is_hex(bytes.get(at + 2));
    text.contains("=?") || (0..bytes.len()).any(escapes)
}

/// Returns the refusal of a person who has no account that may be used: one for all such, so that it tells nothing of accounts.
fn no_such_person(header: &str, unknown: UnknownPerson) -> Error {
    let help = match unknown {
        UnknownPerson::Refused => "an admin of the gateway can help",
        UnknownPerson::Pending => "an account is made for each new person, and an admin of the gateway must approve it",
    };
    Error::forbidden(format!("the person in the header `{header}` has no account here that can be used; {help}"))
}

/// Returns the refusal of a request to a model that names no person.
pub(super) fn nobody_named(token: &Token, header: &str) -> Error {
    Error::forbidden(format!(
        "the token `{}` acts for people who are signed in to a tool, and this request names none: the tool must send the header \
         `{header}` with the person's e-mail address",
        token.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> Result<Option<String>, Error> {
        let values: Vec<Vec<u8>> = values.iter().map(|value| value.to_vec()).collect();
        named("X-Email", &values).map(|name| name.map(|name| name.to_string()))
    }

    #[test]
    fn a_header_names_one_person_in_any_spelling_that_is_the_same_account() {
        assert_eq!(read(&[]).unwrap(), None);
        for same in ["ann@example.org", " Ann@Example.ORG ", "ａｎｎ@example.org"] {
            assert_eq!(read(&[same.as_bytes()]).unwrap().as_deref(), Some("ann@example.org"), "{same}");
        }
        assert_eq!(read(&[b"50%off@example.org"]).unwrap().as_deref(), Some("50%off@example.org"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let long = format!("{}@example.org", "a".repeat(255));
        for bad in [
            &b""[..],
            b" ",
            b"ann",
            b"admin",
            b"\xff\xfe@example.org",
            b"ann%40example.org",
            b"m%C3%BCller@example.org",
            b"=?utf-8?q?ann?=@example.org",
            b"ann@example.org,bob@example.org",
            b"ann@example.org, ann@example.org",
            "ann@example.org，bob@example.org".as_bytes(),
            "x％40ann@example.org".as_bytes(),
            b"Ann <ann@example.org>",
            "аnn@example.org".as_bytes(),
            long.as_bytes(),
        ] {
            assert_eq!(read(&[bad]).unwrap_err().field(), Some("X-Email"), "{bad:?}");
        }
        assert!(read(&[b"ann@example.org", b"ann@example.org"]).is_err(), "two equal ones are two");
    }
}
