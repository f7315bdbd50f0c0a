//! Outcomes, roles, classes, scopes, and the states of accounts and access tokens.

use crate::http::pages::words::Word;
use crate::model::people::{UserRole, UserStatus};
use crate::model::record::{Kind, Outcome};
use crate::model::rights::{Class, Scope};
use crate::model::runaway::Runaway;

/// How a request ended, or that it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeWord {
    pub word: Word,
    /// The name of its icon.
    pub icon: &'static str,
    /// The class of its colour: `failed`, `refused`, `now`, `wait` or none.
    pub class: &'static str,
}

/// Returns the words for an outcome of the record; a request without one is running.
pub fn outcome(stored: Option<&str>) -> OutcomeWord {
    let Some(stored) = stored else { return RUNNING };
    let Some(known) = Outcome::parse(stored) else {
        return OutcomeWord { word: Word::code(stored), icon: "circle-dashed", class: "" };
    };
    let (text, icon, class) = match known {
        Outcome::Completed => ("Completed", "check", ""),
        Outcome::Failed => ("Failed", "circle-alert", "failed"),
        Outcome::Refused => ("Refused", "ban", "refused"),
        Outcome::Abandoned => ("Abandoned", "unplug", ""),
        Outcome::Interrupted => ("Interrupted", "power", ""),
    };
    OutcomeWord { word: Word::known(text), icon, class }
}

pub const RUNNING: OutcomeWord = OutcomeWord { word: Word::known("Running"), icon: "circle-dashed", class: "now" };
pub const WAITING: OutcomeWord = OutcomeWord { word: Word::known("Waiting"), icon: "hourglass", class: "wait" };
pub const ACT: OutcomeWord = OutcomeWord { word: Word::known("Act"), icon: "shield-check", class: "" };

/// Returns the word for a kind of rows, as the filter has it.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Intent | Kind::Result => "requests",
        Kind::Refusal => "refusals",
        Kind::Act => "acts",
    }
}

pub fn role(role: UserRole) -> &'static str {
    match role {
        UserRole::Admin => "admin",
        UserRole::User => "member",
    }
}

pub fn status(status: UserStatus) -> &'static str {
    match status {
        UserStatus::Pending => "waits for approval",
        UserStatus::Active => "active",
        UserStatus::Disabled => "disabled",
        UserStatus::Deleted => "deleted",
    }
}

pub fn class(class: Class) -> &'static str {
    match class {
        Class::Interactive => "interactive",
        Class::Batch => "batch",
    }
}

/// Returns what each class means, for the hint below its field.
pub fn about_class(class: Class) -> &'static str {
    match class {
        Class::Interactive => "for people and what answers them",
        Class::Batch => "runs when nobody interactive waits",
    }
}

/// Returns what a scope allows.
pub fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Chat => "ask models",
        Scope::Embeddings => "make embeddings",
        Scope::Models => "list models",
        Scope::Usage => "read its usage",
        Scope::ManageModels => "manage models",
        Scope::Metrics => "read metrics",
    }
}

/// Returns the word for the state of an access token, of `Token::status`.
pub fn token_state(state: &str) -> Word {
    let known = match state {
        "active" => Some("active"),
        "suspended" => Some("asleep"),
        "paused" => Some("paused"),
        "expired" => Some("expired"),
        "revoked" => Some("revoked"),
        _ => None,
    };
    Word::of(known, state)
}

/// Returns what a request came with, as the record has it.
pub fn credential(credential: &str) -> Word {
    let known = match credential {
        "password" => Some("password"),
        "jwt" => Some("sign-in of a client (JWT)"),
        "token" => Some("access token"),
        _ => None,
    };
    Word::of(known, credential)
}

/// Returns how an access token is held back and why: `the same request again and again`.
pub fn runaway(way: Runaway) -> &'static str {
    match way {
        Runaway::Repeats => "the same request again and again",
        Runaway::Errors => "failures in a row",
    }
}

/// Returns what is wrong with the host, for codes of its warnings. What a machine reads stands between backticks.
pub fn warning(code: &str) -> Word {
    let known = match code {
        "gateway_silent" => Some("The gateway does not answer"),
        "cannot_record" => Some("The record can't be written"),
        "database_unusable" => Some("The database can't be used"),
        "record_unproven" => Some("The record was changed"),
        "disk_full" => Some("The data disk is full, so nothing is answered"),
        "upstream_down" => Some("A model server does not answer"),
        "model_missing" => Some("The default model is missing"),
        "certificate_unusable" => Some("The certificate of https can't be used"),
        "disk_low" => Some("The data disk is filling up"),
        "first_password" => Some("`admin` still has the first password"),
        "upstream_open" => Some("A model server is open on the network"),
        "folder_open" => Some("The data folder is open to other users of its host"),
        "config_open" => Some("The configuration file is open to other users of its host"),
        "erasure_late" => Some("A deletion is not finished"),
        "backup_late" => Some("The last backup is old, or it failed"),
        "slots_mismatch" => Some("`slots` does not fit `OLLAMA_NUM_PARALLEL`"),
        "few_files" => Some("The limit of open files is low"),
        "certificate_expires" => Some("The certificate of https expires"),
        "settings_contradict" => Some("Two settings contradict each other"),
        "no_effect" => Some("A line of the configuration has no effect"),
        "plain_http" => Some("Passwords cross the network unencrypted"),
        _ => None,
    };
    Word::of(known, code)
}

/// Returns a message about the host in the words of the pages, where an upstream is a model server.
pub fn finding(message: &str) -> String {
    message.replace("upstream `", "model server `").replace("upstream that ", "model server that ")
}

/// Returns icon and colour of a warning.
pub fn look_of_warning(code: &str) -> (&'static str, &'static str) {
    match code {
        "gateway_silent" | "cannot_record" | "database_unusable" | "record_unproven" | "upstream_down"
        | "model_missing" => ("circle-alert", "bad"),
        "certificate_unusable" => ("lock", "bad"),
        "disk_full" => ("hard-drive", "bad"),
        "disk_low" => ("hard-drive", "warn"),
        "first_password" => ("key-round", "warn"),
        "upstream_open" => ("unplug", "warn"),
        "folder_open" | "config_open" => ("lock", "warn"),
        "erasure_late" => ("trash-2", "warn"),
        "backup_late" => ("hard-drive", "warn"),
        "certificate_expires" => ("lock", "warn"),
        "plain_http" => ("lock", ""),
        _ => ("circle-alert", "warn"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::findings::FindingCode;

    #[test]
    fn each_outcome_has_a_word_of_its_own_and_an_unknown_one_is_shown_as_it_is() {
        let words: Vec<OutcomeWord> = Outcome::ALL.iter().map(|known| outcome(Some(known.name()))).collect();

        assert!(words.iter().all(|word| !word.word.is_code));
        for (at, word) in words.iter().enumerate() {
            assert!(!words[..at].contains(word), "{word:?}");
        }
        assert_eq!(outcome(None), RUNNING);
        assert!(outcome(Some("exploded")).word.is_code);
    }

    #[test]
    fn on_pages_an_upstream_is_a_model_server() {
        assert_eq!(finding("upstream `local` at x is down"), "model server `local` at x is down");
        assert_eq!(finding("no upstream that answers has it"), "no model server that answers has it");
        assert_eq!(finding("5 bytes are free"), "5 bytes are free");
    }

    #[test]
    fn states_and_credentials_of_this_version_have_words() {
        for state in ["active", "suspended", "paused", "expired", "revoked"] {
            assert!(!token_state(state).is_code, "{state}");
        }
        for known in ["password", "jwt", "token"] {
            assert!(!credential(known).is_code, "{known}");
        }
        for code in FindingCode::ALL {
            assert!(!warning(code.name()).is_code, "{code:?}");
        }
        assert!(token_state("frozen").is_code && credential("passkey").is_code && warning("flood").is_code);
    }
}
