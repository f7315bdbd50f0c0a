//! What a form of settings asks for: the fields that were changed on it, and what is wrong with them.

use crate::config::settings::Setting;
use crate::http::pages::form_fields::FormFields;
use crate::http::pages::format::commas;
use crate::store::settings::Change;

/// Before the name of a setting: the hidden field with the value that the form was made from.
pub const SEEN: &str = "was_";

/// The button that gives one setting the file's value again.
pub const PUT_BACK: &str = "put_back";

/// A form of settings, as it was sent.
#[derive(Debug, Default)]
pub struct SentSettings {
    /// The fields that have another text than the form was made with, and those that are wrong.
    pub edits: Vec<SettingEdit>,
    /// The fields with another value than the form was made from: the setting, what was seen, and the new value.
    pub changes: Vec<SentChange>,
    /// Names of settings, and what is wrong with their fields.
    pub problems: Vec<(&'static str, String)>,
}

/// What was typed into a field, and the value that the form was made from, if it says so.
#[derive(Debug)]
pub struct SettingEdit {
    pub name: &'static str,
    pub text: String,
    pub seen: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub struct SentChange {
    pub setting: &'static Setting,
    /// The value that the form was made from, if it says so.
    pub seen: Option<u64>,
    pub value: u64,
}

impl SentSettings {
    /// Reads the fields of `settings` that are in the form. All that are wrong are named.
    pub fn read(fields: &FormFields, settings: impl Iterator<Item = &'static Setting>) -> SentSettings {
        let mut sent = SentSettings::default();
        for setting in settings.filter(|setting| fields.has(setting.name)) {
            let seen_field = format!("{SEEN}{}", setting.name);
            let seen: Option<u64> = fields.text(&seen_field).parse().ok();
            match fields.number(setting.name).ok().flatten().filter(|value| setting.check(*value).is_ok()) {
                None => sent.problems.push((setting.name, bounds_sentence(setting))),
                Some(value) if seen == Some(value) => continue,
                Some(value) => sent.changes.push(SentChange { setting, seen, value }),
            }
            let text = fields.text(setting.name).trim().to_owned();
            sent.edits.push(SettingEdit { name: setting.name, text, seen });
        }
        sent
    }

    /// Returns what was typed into the field of a setting.
    pub fn edit(&self, name: &str) -> Option<&SettingEdit> {
        self.edits.iter().find(|edit| edit.name == name)
    }

    /// Returns the settings to change. The value of the file sets none of its own.
    pub fn asked_for(&self, of_file: impl Fn(&Setting) -> u64) -> Vec<Change> {
        let change = |change: &SentChange| {
            (change.setting, Some(change.value).filter(|value| *value != of_file(change.setting)))
        };
        self.changes.iter().map(change).collect()
    }

    /// Returns the values of these settings that the form was made from.
    pub fn seen(&self) -> Vec<(&'static Setting, u64)> {
        self.changes.iter().filter_map(|change| Some((change.setting, change.seen?))).collect()
    }
}

/// Returns the values that a setting may have: `1 to 1,000,000`.
pub fn bounds(setting: &Setting) -> String {
    format!("{} to {}", commas(setting.least), commas(setting.most))
}

fn bounds_sentence(setting: &Setting) -> String {
    format!("Must be a whole number from {}.", bounds(setting))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::TABLE;

    fn read(form: &str) -> SentSettings {
        SentSettings::read(&FormFields::parse(form.as_bytes()).unwrap(), TABLE.iter())
    }

    #[test]
    fn only_what_was_changed_on_the_form_is_asked_for() {
        let sent =
            read("requests_per_minute=10&was_requests_per_minute=10&tokens_per_day=+300,000+&was_tokens_per_day=0");

        let changes: Vec<_> =
            sent.changes.iter().map(|change| (change.setting.name, change.seen, change.value)).collect();
        assert_eq!(changes, [("tokens_per_day", Some(0), 300_000)]);
        let typed = |name| sent.edit(name).map(|edit| edit.text.as_str());
        assert_eq!((typed("tokens_per_day"), typed("requests_per_minute")), (Some("300,000"), None));
        assert!(sent.problems.is_empty());
    }

    #[test]
    fn both_ends_of_what_is_allowed_pass_and_all_that_is_wrong_is_named() {
        for (value, is_right) in
            [("1", true), ("3600", true), ("0", false), ("3601", false), ("", false), ("-1", false)]
        {
            let sent = read(&format!("wait_seconds_max={value}&was_wait_seconds_max=300"));
            assert_eq!((sent.changes.len() == 1, sent.problems.is_empty()), (is_right, is_right), "{value}");
        }

        let sent = read("wait_seconds_max=1.5&waiting_max=many&requests_per_day=99999999999999999999");

        let wrong: Vec<&str> = sent.problems.iter().map(|(name, _)| *name).collect();
        assert_eq!(wrong, ["requests_per_day", "waiting_max", "wait_seconds_max"]);
        assert_eq!(sent.problems[1].1, "Must be a whole number from 1 to 100,000.");
    }

    #[test]
    fn a_form_that_does_not_say_what_it_was_made_from_changes_what_it_has() {
        let sent = read("requests_per_minute=20&was_requests_per_minute=nonsense");

        assert_eq!((sent.changes[0].seen, sent.changes[0].value), (None, 20));
        assert!(sent.seen().is_empty());
    }

    #[test]
    fn the_value_of_the_file_is_put_back_and_none_of_its_own() {
        let sent = read("requests_per_minute=10&was_requests_per_minute=20&waiting_max=10&was_waiting_max=64");

        let changes = sent.asked_for(|_| 10).into_iter().map(|(setting, value)| (setting.name, value));
        assert_eq!(changes.collect::<Vec<_>>(), [("requests_per_minute", None), ("waiting_max", None)]);
        let changes = sent.asked_for(|setting| setting.default);
        assert_eq!(changes.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [None, Some(10)]);
    }
}
