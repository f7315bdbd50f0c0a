//! The tabs of the settings, for `templates/settings/tabs.html`.

use crate::http::pages::words::settings::SettingTab;

/// Where the self-check is; the other paths are below.
pub const CHECK: &str = "/admin/settings/check";

/// Where the list of the configured keys is.
pub const OF_FILE: &str = "/admin/settings/file";

/// Address, label, and whether it is the current one.
pub type SettingsTabs = Vec<(&'static str, &'static str, bool)>;

/// Returns the tabs, of which the one with the path `current` is the current one.
pub fn settings_tabs(current: &str) -> SettingsTabs {
    let of_values = [
        SettingTab::Limits,
        SettingTab::Queue,
        SettingTab::Runaways,
        SettingTab::Sizes,
        SettingTab::Record,
        SettingTab::Notices,
    ];
    let of_values = of_values.map(|tab| (tab_path(tab), label(tab)));
    let others = [(OF_FILE, "From the file"), (CHECK, "Self-check")];
    of_values.into_iter().chain(others).map(|(path, label)| (path, label, path == current)).collect()
}

pub fn tab_path(tab: SettingTab) -> &'static str {
    match tab {
        SettingTab::Limits => "/admin/settings/limits",
        SettingTab::Queue => "/admin/settings/queue",
        SettingTab::Runaways => "/admin/settings/runaways",
        SettingTab::Sizes => "/admin/settings/sizes",
        SettingTab::Record => "/admin/settings/record",
        SettingTab::Notices => "/admin/settings/notices",
    }
}

fn label(tab: SettingTab) -> &'static str {
    match tab {
        SettingTab::Limits => "Limits",
        SettingTab::Queue => "Queue",
        SettingTab::Runaways => "Runaways",
        SettingTab::Sizes => "Sizes",
        SettingTab::Record => "Record",
        SettingTab::Notices => "Notices",
    }
}
