//! The settings of one tab, as the page shows them.

use crate::base::clock::Timestamp;
use crate::config::settings::Setting;
use crate::http::pages::format::{Moment, PageTimes, commas};
use crate::http::pages::markup::Markup;
use crate::http::pages::settings_page::sent::{SentSettings, bounds};
use crate::http::pages::visible::visible;
use crate::http::pages::words::settings::{SettingTab, in_larger_units, setting, unit};
use crate::model::people::People;
use crate::store::settings::SettingState;

/// Settings under one heading.
pub struct SettingGroup {
    pub title: &'static str,
    pub rows: Vec<SettingRow>,
}

pub struct SettingRow {
    pub name: &'static str,
    pub label: &'static str,
    pub about: Markup,
    /// What stands in the field.
    pub text: String,
    /// The value that the form is made from.
    pub seen: u64,
    pub unit: &'static str,
    /// Below the field: the value in larger units, or what is allowed.
    pub under: String,
    pub error: String,
    /// Whether it differs from the file.
    pub is_own: bool,
    pub changed: Option<SettingChanged>,
}

/// Who changed a setting, and what the file says.
pub struct SettingChanged {
    /// `None`: on the host.
    pub by: Option<String>,
    pub when: Moment,
    pub of_file: String,
}

/// Returns whether a setting is on a tab.
pub fn is_on(tab: SettingTab, known: &Setting) -> bool {
    setting(known.name).is_some_and(|words| words.tab == tab)
}

/// Returns the settings of a tab, with what was `sent` in the fields.
pub fn setting_groups(
    tab: SettingTab,
    states: &[SettingState],
    people: &People,
    times: &PageTimes,
    sent: &SentSettings,
) -> Vec<SettingGroup> {
    let (for_each, for_all) = titles(tab);
    let mut groups = [for_each, for_all].map(|title| SettingGroup { title, rows: Vec::new() });
    for state in states {
        let Some(words) = setting(state.setting.name).filter(|words| words.tab == tab) else { continue };
        let group = &mut groups[usize::from(!words.is_for_each)];
        group.rows.push(row(state, words.label, people, times, sent));
    }
    let mut groups: Vec<SettingGroup> = groups.into_iter().filter(|group| !group.rows.is_empty()).collect();
    // The first field shows what is allowed, as an example; the others say it when it is needed.
    if let Some(first) = groups.first_mut().and_then(|group| group.rows.first_mut()).filter(|row| row.under.is_empty())
        && let Some(known) = Setting::named(first.name)
    {
        first.under = bounds(known);
    }
    groups
}

/// Headings for what holds for each person and for everybody together.
fn titles(tab: SettingTab) -> (&'static str, &'static str) {
    match tab {
        SettingTab::Limits => ("For people who have no limit of their own", "For everybody together"),
        SettingTab::Queue => ("For each person", "For everybody together"),
        SettingTab::Runaways => ("For each person", "When an access token or a request is held back"),
        SettingTab::Sizes => ("For each person", "What a request may hold"),
        SettingTab::Record => ("For each person", "What is older is erased for good"),
        SettingTab::Notices => ("For each person", "When notices are sent"),
    }
}

fn row(
    state: &SettingState,
    label: &'static str,
    people: &People,
    times: &PageTimes,
    sent: &SentSettings,
) -> SettingRow {
    let known = state.setting;
    let edit = sent.edit(known.name);
    let text = edit.map_or_else(|| state.value.to_string(), |edit| edit.text.clone());
    let error = sent.problems.iter().find(|(name, _)| *name == known.name).map(|(_, error)| error.clone());
    SettingRow {
        name: known.name,
        label,
        about: about(known),
        under: text.parse().ok().and_then(|value| in_larger_units(value, known.unit)).unwrap_or_default(),
        text,
        seen: edit.and_then(|edit| edit.seen).unwrap_or(state.value),
        unit: unit(known.unit),
        error: error.unwrap_or_default(),
        is_own: state.value != state.of_file,
        changed: state.changed.as_ref().map(|changed| SettingChanged {
            by: changed.changed_by.map(|id| people.name_of(id)),
            when: times.in_sentence(Timestamp(changed.changed_at_us)),
            of_file: commas(state.of_file),
        }),
    }
}

/// Returns the description of a setting. It names other settings as the pages do.
fn about(known: &Setting) -> Markup {
    described(known.about(), |name| Some(format!("“{}”", setting(name)?.label)))
}

/// Returns a description with code where it has backticks, or with the words for what stands in them.
pub fn described(text: &str, words: impl Fn(&str) -> Option<String>) -> Markup {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        match words(part).filter(|_| at % 2 == 1) {
            Some(words) => html.push_str(visible(&words).as_str()),
            None if at % 2 == 1 => html.push_str(&format!("<code>{}</code>", visible(part).as_str())),
            None => html.push_str(visible(part).as_str()),
        }
    }
    Markup::of_html(html)
}

/// Returns a message of the API with the names that the pages have for settings.
pub fn in_words(message: &str) -> String {
    let parts = message.split('`').enumerate().map(|(at, part)| match setting(part).filter(|_| at % 2 == 1) {
        Some(words) => format!("“{}”", words.label),
        None if at % 2 == 1 => format!("`{part}`"),
        None => part.to_owned(),
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::TABLE;

    #[test]
    fn descriptions_name_other_settings_as_the_pages_do() {
        let known = Setting::named("connections_per_address_max").unwrap();
        assert!(about(known).as_str().contains("half of “Open connections”."), "{:?}", about(known));
        let known = Setting::named("connections_max").unwrap();
        assert!(about(known).as_str().contains("<code>lan-gateway doctor</code>"), "{:?}", about(known));
        assert_eq!(
            in_words("`waiting_per_user_max` is 65, more than the 64 of `waiting_max`; see `queue`"),
            "“Requests of one person that may wait” is 65, more than the 64 of “Requests that may wait”; see `queue`"
        );
    }

    #[test]
    fn each_setting_is_on_one_tab() {
        let tabs = [
            SettingTab::Limits,
            SettingTab::Queue,
            SettingTab::Runaways,
            SettingTab::Sizes,
            SettingTab::Record,
            SettingTab::Notices,
        ];
        for known in TABLE {
            assert_eq!(tabs.iter().filter(|tab| is_on(**tab, known)).count(), 1, "{known:?}");
        }
    }
}
