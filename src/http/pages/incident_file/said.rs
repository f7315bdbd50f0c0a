//! Sentences with names in them: escaped, names in bold, code in backticks.

use std::fmt;

use askama::filters::HtmlSafe;

use crate::http::pages::visible::{plain, visible, with_code};
use crate::rules::incident::SenderName;

/// A sentence as HTML and as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    html: String,
    text: String,
}

impl HtmlSafe for Said {}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.html)
    }
}

impl Said {
    /// Begins with the gateway's own words; what stands between backticks is code.
    pub fn of(words: impl AsRef<str>) -> Said {
        Said::default().words(words)
    }

    /// Adds the gateway's own words. Texts of others never come this way.
    pub fn words(mut self, words: impl AsRef<str>) -> Said {
        self.html.push_str(with_code(words.as_ref()).as_str());
        self.text.push_str(words.as_ref());
        self
    }

    /// Adds a name, in bold.
    pub fn name(mut self, name: &str) -> Said {
        self.html.push_str("<b>");
        self.html.push_str(visible(name).as_str());
        self.html.push_str("</b>");
        self.text.push_str(&plain(name));
        self
    }

    /// Adds a text of others as code.
    pub fn code(mut self, text: &str) -> Said {
        self.html.push_str("<code>");
        self.html.push_str(visible(text).as_str());
        self.html.push_str("</code>");
        self.text.push_str(&plain(text));
        self
    }

    /// Adds another sentence, or a part of one.
    pub fn and(mut self, other: &Said) -> Said {
        self.html.push_str(&other.html);
        self.text.push_str(&other.text);
        self
    }

    /// Returns the sentence without markup. It is not escaped.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Returns who a sender is, at the beginning of a sentence or within it.
pub fn sender(name: &SenderName, begins: bool) -> Said {
    let word = |capital: &'static str, small: &'static str| Said::of(if begins { capital } else { small });
    if name.is_others {
        return word("All other senders", "all other senders");
    }
    if name.is_nobody {
        return word("Clients without a valid credential", "clients without a valid credential");
    }
    let person = |said: Said| {
        let said = said.name(&name.person);
        if name.is_deleted { said.words(" (whose account was deleted)") } else { said }
    };
    match (&name.token, &name.via) {
        (Some(token), Some(via)) => {
            let said = person(Said::default()).words(" (through the access token ").name(token);
            said.words(" of ").name(via).words(")")
        }
        // The name of the token was deleted with its owner.
        (Some(_), None) if name.is_deleted => person(word("An access token of ", "an access token of ")),
        (Some(token), None) => person(word("The access token ", "the access token ").name(token).words(" of ")),
        (None, _) => person(Said::default()),
    }
}

/// Returns several things in a list of words: `a, b and c`.
pub fn listed(things: &[Said]) -> Said {
    let mut said = Said::default();
    for (at, thing) in things.iter().enumerate() {
        if at > 0 {
            said = said.words(if at + 1 == things.len() { " and " } else { ", " });
        }
        said = said.and(thing);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> SenderName {
        SenderName { person: "ann@example.org".into(), token: Some(name.into()), ..SenderName::default() }
    }

    #[test]
    fn a_name_is_bold_and_never_markup_or_code() {
        let said = sender(&token("<img src=x>`\u{202e}"), true);

        assert_eq!(
            said.to_string(),
            "The access token <b>&lt;img src=x&gt;`<span class=\"chip-char\" title=\"right-to-left override\">U+202E\
             </span></b> of <b>ann@example.org</b>"
        );
        assert_eq!(said.text(), "The access token <img src=x>`[U+202E] of ann@example.org");
    }

    #[test]
    fn a_sender_is_a_person_a_token_or_nobody() {
        let person = SenderName { token: None, ..token("") };
        let said = |name: &SenderName| sender(name, false).text().to_owned();

        assert_eq!(said(&token("ci")), "the access token ci of ann@example.org");
        assert_eq!(said(&person), "ann@example.org");
        let via = SenderName { via: Some("admin".into()), ..token("webui") };
        assert_eq!(said(&via), "ann@example.org (through the access token webui of admin)");
        let gone = SenderName { person: "(deleted 7)".into(), is_deleted: true, ..person };
        assert_eq!(said(&gone), "(deleted 7) (whose account was deleted)");
        let token_of_gone = SenderName { token: Some("(deleted)".into()), ..gone };
        assert_eq!(said(&token_of_gone), "an access token of (deleted 7) (whose account was deleted)");
        assert_eq!(said(&SenderName { is_nobody: true, ..token("") }), "clients without a valid credential");
        let three = ["a", "b", "c"].map(|name| Said::default().name(name));
        assert_eq!([1, 2, 3].map(|count| listed(&three[..count]).text().to_owned()), ["a", "a and b", "a, b and c"]);
    }
}
