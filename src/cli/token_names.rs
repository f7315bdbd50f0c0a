//! Finds the token that was typed: by its name, by its owner and name, or by the beginning that lists show.

use anyhow::{anyhow, bail};
use serde_json::Value;

use crate::base::likeness::did_you_mean;
use crate::base::text::visible;
use crate::cli::host::{HostApi, LIST_MAX, need};

/// Tokens of one name that an error lists.
const LISTED_MAX: usize = 10;

const PATH: &str = "/api/v1/tokens";

impl HostApi {
    /// Returns the id of the token that was typed.
    pub async fn token_id(&self, typed: &str) -> anyhow::Result<String> {
        let tokens = self.list(PATH, &[], None).await?;
        // One that is older than the list goes back is known by its id alone.
        let id = id_typed(typed).filter(|_| tokens.len() >= LIST_MAX);
        find(typed, &tokens)?.or(id.map(str::to_owned)).ok_or_else(|| unknown(typed, &tokens))
    }

    /// Returns the id of a token whose requests are looked for. Its owner may have been deleted; then only the id is known.
    pub async fn token_on_record(&self, typed: Option<&str>) -> anyhow::Result<Option<String>> {
        let Some(typed) = typed else { return Ok(None) };
        let tokens = self.list(PATH, &[], None).await?;
        let id = find(typed, &tokens)?.or_else(|| id_typed(typed).map(str::to_owned));
        id.map(Some).ok_or_else(|| unknown(typed, &tokens))
    }
}

/// Letters of a token's id.
const ID_LETTERS: usize = 10;

/// Returns the id in a text that may be one, a beginning such as `lgw_m_4sTq9ZbM1x`, or a whole token.
fn id_typed(typed: &str) -> Option<&str> {
    let id = match typed.strip_prefix("lgw_") {
        Some(rest) => rest.split('_').nth(1)?,
        None => typed,
    };
    (id.len() == ID_LETTERS && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(id)
}

/// Returns the id of the one token that is meant; `None`: no token. An ended one gives way to one of its name that has not ended.
fn find(typed: &str, tokens: &[Value]) -> anyhow::Result<Option<String>> {
    if let Some(token) = id_typed(typed).and_then(|id| tokens.iter().find(|token| token["id"] == id)) {
        return need(token, "id").map(Some);
    }
    let named: Vec<&Value> = tokens.iter().filter(|token| is_named(token, typed)).collect();
    let usable: Vec<&Value> = named.iter().copied().filter(|token| !has_ended(token)).collect();
    match if usable.is_empty() { &named[..] } else { &usable[..] } {
        [] => Ok(None),
        [one] => need(one, "id").map(Some),
        several => {
            let listed = several.iter().take(LISTED_MAX);
            let listed = listed.map(|token| Ok(format!("`{}` ({})", name_of(token)?, need(token, "prefix")?)));
            let listed: Vec<String> = listed.collect::<anyhow::Result<_>>()?;
            let more = several.len().saturating_sub(LISTED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let count = several.len();
            bail!(
                "{count} tokens are named `{typed}`; give the whole name or the beginning of one: {}{more}",
                listed.join(", ")
            )
        }
    }
}

fn is_named(token: &Value, typed: &str) -> bool {
    let name = token["name"].as_str().unwrap_or_default();
    let of_owner = |owner: &str| {
        let rest = typed.get(owner.len()..).and_then(|rest| rest.strip_prefix('/'));
        rest == Some(name) && typed[..owner.len()].eq_ignore_ascii_case(owner)
    };
    !name.is_empty() && (name == typed || token["user"].as_str().is_some_and(of_owner))
}

fn has_ended(token: &Value) -> bool {
    ["expired", "revoked"].iter().any(|ended| token["status"] == *ended)
}

fn name_of(token: &Value) -> anyhow::Result<String> {
    Ok(visible(&format!("{}/{}", need(token, "user")?, need(token, "name")?)).into_owned())
}

fn unknown(typed: &str, tokens: &[Value]) -> anyhow::Error {
    // What was typed may be a whole token, which is a secret.
    let shown = id_typed(typed).unwrap_or(typed);
    let whole: Vec<String> = tokens.iter().filter_map(|token| name_of(token).ok()).collect();
    let names = tokens.iter().filter_map(|token| token["name"].as_str());
    let hint = did_you_mean(typed, whole.iter().map(String::as_str).chain(names));
    let hint = if hint.is_empty() { "; `lan-gateway token list` shows them all".to_owned() } else { hint };
    anyhow!("there is no token `{shown}`{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(id: &str, user: &str, name: &str, status: &str) -> Value {
        json!({ "id": id, "prefix": format!("lgw_m_{id}"), "user": user, "name": name, "status": status })
    }

    fn tokens() -> Vec<Value> {
        vec![
            token("aaaaaaaaaa", "ann@example.org", "n8n", "active"),
            token("bbbbbbbbbb", "bob@example.org", "n8n", "suspended"),
            token("cccccccccc", "bob@example.org", "ci/build", "active"),
            token("dddddddddd", "bob@example.org", "ci/build", "revoked"),
            token("eeeeeeeeee", "bob@example.org", "old", "expired"),
        ]
    }

    fn found(typed: &str) -> Option<String> {
        find(typed, &tokens()).unwrap()
    }

    #[test]
    fn a_token_is_found_by_each_of_its_names() {
        for (typed, id) in [
            ("aaaaaaaaaa", 'a'),
            ("lgw_m_aaaaaaaaaa", 'a'),
            ("lgw_m_aaaaaaaaaa_secretsecret", 'a'),
            ("ann@example.org/n8n", 'a'),
            ("Bob@Example.org/n8n", 'b'),
            ("ci/build", 'c'),
            ("bob@example.org/ci/build", 'c'),
            ("old", 'e'),
            ("dddddddddd", 'd'),
        ] {
            assert_eq!(found(typed), Some(id.to_string().repeat(10)), "{typed}");
        }
        for unknown in ["", "n9n", "ann@example.org/", "ann@example.org/old", "/n8n", "ffffffffff"] {
            assert_eq!(found(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_name_of_several_tokens_lists_them() {
        let said = find("n8n", &tokens()).unwrap_err().to_string();

        assert!(said.starts_with("2 tokens are named `n8n`"), "{said}");
        for listed in ["`ann@example.org/n8n` (lgw_m_aaaaaaaaaa)", "`bob@example.org/n8n` (lgw_m_bbbbbbbbbb)"] {
            assert!(said.contains(listed), "{said}");
        }
    }

    #[test]
    fn an_unknown_one_is_told_what_was_probably_meant_and_never_its_secret() {
        let said = |typed: &str| unknown(typed, &tokens()).to_string();

        assert!(said("n9n").ends_with("did you mean `n8n`?"), "{}", said("n9n"));
        assert!(said("ann@example.org/n9n").ends_with("did you mean `ann@example.org/n8n`?"));
        assert!(said("zzz").ends_with("`lan-gateway token list` shows them all"));
        assert!(!said("lgw_m_ffffffffff_topsecrettopsecret").contains("topsecret"));
    }
}
