//! `[delegating]`: the headers by which a tool with a delegating token says who asks, and what for.

use std::sync::Arc;

use toml::Value;

use crate::config::reader::Reader;
use crate::config::values::{list, text};

#[derive(Debug, Clone)]
pub struct DelegatingSection {
    /// The header with the person's e-mail address.
    pub email_header: Arc<str>,
    /// The header that says what a request is for.
    pub task_header: Arc<str>,
    /// Its values that mark background tasks.
    pub background_tasks: Vec<String>,
}

/// Headers that have another meaning, in lower case; beside those that begin with one of `OTHERS_ROOTS`.
const OTHERS: [&str; 14] = [
    "authorization",
    "connection",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "origin",
    "referer",
    "user-agent",
    "x-api-key",
    "x-queue-class",
    "x-request-id",
    "x-upstream",
];

const OTHERS_ROOTS: [&str; 7] = ["accept", "anthropic-", "content-", "if-", "openai-", "transfer-", "x-forwarded-for"];

const LETTERS_MAX: usize = 64;

impl DelegatingSection {
    pub fn read(reader: &mut Reader) -> Self {
        DelegatingSection {
            email_header: reader.key(
                "delegating.email_header",
                "\"X-OpenWebUI-User-Email\"",
                "The header in which a tool with a delegating token names the person who is signed in to it, by e-mail address. \
                 Open WebUI sends this one with ENABLE_FORWARD_USER_INFO_HEADERS=true.",
                header_name,
            ),
            task_header: reader.key(
                "delegating.task_header",
                "\"X-OpenWebUI-Task\"",
                "The header in which such a tool says what a request is for. Open WebUI sends it if its connection to the gateway has \
                 the header X-OpenWebUI-Task with the value {{TASK}}.",
                header_name,
            ),
            background_tasks: reader.key(
                "delegating.background_tasks",
                "[\"title_generation\", \"tags_generation\", \"follow_up_generation\", \"emoji_generation\", \"memory_review\"]",
                "Values of `task_header` that mark background tasks. They are counted apart, see `tasks_per_minute`.",
                list(task),
            ),
        }
    }
}

/// Parses the name of a task.
fn task(item: &str) -> Result<String, String> {
    let is_word =
        item.len() <= LETTERS_MAX && item.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_word { Ok(item.to_owned()) } else { Err(format!("`{item}` must be one word, as in \"title_generation\"")) }
}

/// Parses the name of a header that a tool may send.
fn header_name(value: &Value) -> Result<Arc<str>, String> {
    let name = text(value)?;
    let is_name = name.len() <= LETTERS_MAX && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_name {
        return Err(format!("must be the name of a header: at most {LETTERS_MAX} letters, digits and hyphens"));
    }
    let small = name.to_ascii_lowercase();
    if OTHERS.contains(&small.as_str()) || OTHERS_ROOTS.iter().any(|root| small.starts_with(root)) {
        return Err(format!("`{name}` has another meaning; name a header that the tool alone sends"));
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_short_plain_name_that_means_nothing_else() {
        let read = |name: &str| header_name(&Value::String(name.to_owned()));

        for good in ["X-OpenWebUI-User-Email", "Remote-Email", "X-Forwarded-Email", &"x".repeat(64)] {
            assert_eq!(&*read(good).unwrap(), good);
        }
        for bad in [
            "",
            "X Email",
            "X-Émail",
            "X-Email:",
            "X_Email",
            &"x".repeat(65),
            "Authorization",
            "x-api-key",
            "Content-Type",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(header_name(&Value::Integer(1)).is_err());
    }
}
