//! Names of the settings and quotas, for people.

use std::time::Duration;

use crate::http::pages::format::{bytes, coarse, commas};

/// The tab on which a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingTab {
    Limits,
    Queue,
    Runaways,
    Sizes,
    Record,
    Notices,
}

/// What a page says about a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingWords {
    pub tab: SettingTab,
    pub label: &'static str,
    /// Whether it holds for each person, or for everybody together.
    pub is_for_each: bool,
}

const fn each(tab: SettingTab, label: &'static str) -> SettingWords {
    SettingWords { tab, label, is_for_each: true }
}

const fn all(tab: SettingTab, label: &'static str) -> SettingWords {
    SettingWords { tab, label, is_for_each: false }
}

/// Returns the words for a setting; `None` for a name that is none.
pub fn setting(name: &str) -> Option<SettingWords> {
    use SettingTab::{Limits, Notices, Queue, Record, Runaways, Sizes};

    Some(match name {
        "requests_per_minute" => each(Limits, "Requests a minute"),
        "requests_per_day" => each(Limits, "Requests a day"),
        "tokens_per_minute" => each(Limits, "Model tokens a minute"),
        "tokens_per_day" => each(Limits, "Model tokens a day"),
        "gpu_seconds_per_day" => each(Limits, "GPU time a day"),
        "answer_tokens_max" => each(Limits, "Longest answer"),
        "context_tokens_max" => each(Limits, "Longest prompt and answer together"),
        "own_acts_per_minute" => each(Limits, "Own changes a minute"),
        "requests_per_minute_total" => all(Limits, "Requests a minute, everybody together"),
        "tasks_per_minute" => each(Limits, "Background tasks of tools a minute"),
        "connections_max" => all(Limits, "Open connections"),
        "connections_per_address_max" => all(Limits, "Open connections from one address"),
        "waiting_per_user_max" => each(Queue, "Requests of one person that may wait"),
        "running_per_user_max" => each(Queue, "Requests of one person that may run at once"),
        "waiting_max" => all(Queue, "Requests that may wait"),
        "waiting_bytes_max" => all(Queue, "Size of all that may wait"),
        "wait_seconds_max" => all(Queue, "Longest wait"),
        "image_requests_max" => all(Queue, "Requests with images at once"),
        "batch_share_percent" => all(Queue, "Share of class batch"),
        "affinity_seconds_max" => all(Queue, "Head start of loaded models"),
        "breaker_seconds" => all(Runaways, "How far back requests are compared"),
        "repeats_free" => all(Runaways, "Equal requests until it is slowed"),
        "repeats_max" => all(Runaways, "Equal requests until it is paused"),
        "errors_free" => all(Runaways, "Failures in a row until it is slowed"),
        "errors_max" => all(Runaways, "Failures in a row until it is paused"),
        "slowed_seconds" => all(Runaways, "A slowed access token may send one request in"),
        "quarantine_seconds" => all(Runaways, "Refuse a request that crashed a model server for"),
        "prompt_bytes_max" => all(Sizes, "Longest prompt"),
        "choices_max" => all(Sizes, "Answers to one request"),
        "images_per_request_max" => all(Sizes, "Images in a request"),
        "image_bytes_max" => all(Sizes, "Largest image"),
        "body_bytes_max" => all(Sizes, "Largest request to a model"),
        "own_body_bytes_max" => all(Sizes, "Largest request to the gateway itself"),
        "bodies_bytes_max" => all(Sizes, "Memory for requests"),
        "stranger_bytes_max" => all(Sizes, "Memory for requests of unknown senders"),
        "content_days" => all(Record, "Prompts and answers are kept for"),
        "record_days" => all(Record, "Rows of the record are kept for"),
        "quiet_minutes" => all(Notices, "Quiet time after a notice"),
        "away_seconds" => all(Notices, "A model server must be away for"),
        _ => return None,
    })
}

/// Returns the unit behind the field of a setting, by the unit that the API names.
pub fn unit(unit: &'static str) -> &'static str {
    match unit {
        "tokens" => "model tokens",
        "percent" => "%",
        "acts" => "changes",
        other => other,
    }
}

/// Returns what a value is in larger units, for the hint below its field: `2 h`, `17 MB`. `None` where it is as clear as it is.
pub fn in_larger_units(value: u64, unit: &str) -> Option<String> {
    match unit {
        "seconds" if value >= 120 => Some(coarse(Duration::from_secs(value))),
        "bytes" if value >= 10_000 => Some(format!("about {}", bytes(value))),
        _ => None,
    }
}

/// Returns a value with its unit, as a sentence about a change has it: `20`, `300 seconds`.
pub fn value(value: u64, unit: &str) -> String {
    match unit {
        "seconds" | "bytes" | "days" => format!("{} {unit}", commas(value)),
        "percent" => format!("{} %", commas(value)),
        _ => commas(value),
    }
}

/// Returns the name of a quota or another limit of a person or an access token, in lower case.
pub fn limit(name: &str) -> Option<&'static str> {
    Some(match name {
        "requests_per_minute" => "requests a minute",
        "tokens_per_minute" => "model tokens a minute",
        "requests_per_day" => "requests a day",
        "tokens_per_day" => "model tokens a day",
        "gpu_seconds_per_day" => "GPU seconds a day",
        "answer_tokens_max" => "the longest answer",
        "context_tokens_max" => "the longest prompt and answer together",
        "role" => "the role",
        "models" => "the models",
        "weight" => "the share",
        "class" => "the class",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::TABLE;
    use crate::model::rights::quotas::Quotas;

    #[test]
    fn each_setting_has_a_label_of_its_own() {
        let mut seen = Vec::new();
        for known in TABLE {
            let words = setting(known.name).unwrap_or_else(|| panic!("`{}` has no label", known.name));
            assert!(!seen.contains(&words.label), "{words:?}");
            seen.push(words.label);
        }
        assert_eq!(setting("prophecies_per_minute"), None);
    }

    #[test]
    fn each_quota_has_a_name() {
        let one = Some(1);
        let all = Quotas {
            tokens_per_minute: one,
            requests_per_day: one,
            tokens_per_day: one,
            gpu_seconds_per_day: one,
            answer_tokens_max: one,
            context_tokens_max: one,
        };
        for name in serde_json::to_value(all).unwrap().as_object().unwrap().keys() {
            assert!(limit(name).is_some(), "{name}");
        }
    }

    #[test]
    fn values_say_their_unit_where_it_is_not_in_the_label() {
        assert_eq!(
            [value(1_200, "requests"), value(300, "seconds"), value(5, "percent")],
            ["1,200", "300 seconds", "5 %"]
        );
        assert_eq!(in_larger_units(7_200, "seconds").as_deref(), Some("2 h"));
        assert_eq!(in_larger_units(16_777_216, "bytes").as_deref(), Some("about 17 MB"));
        assert_eq!(
            [in_larger_units(119, "seconds"), in_larger_units(9_999, "bytes"), in_larger_units(9_999, "tokens")],
            [None, None, None]
        );
        assert_eq!([unit("tokens"), unit("requests")], ["model tokens", "requests"]);
    }
}
