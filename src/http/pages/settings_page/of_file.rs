//! The keys of the configuration file, to be read only.

use serde_json::Value;

use crate::config::settings::Setting;
use crate::http::configuration::{ConfigKeyView, ConfigurationView};
use crate::http::pages::format::commas;
use crate::http::pages::markup::Markup;
use crate::http::pages::settings_page::rows::described;
use crate::http::pages::settings_page::tabs::tab_path;
use crate::http::pages::words::settings::setting;

/// The keys of one section of the file.
pub struct FileSection {
    /// The section's name in the file, such as `limits`; empty at its top.
    pub name: String,
    pub keys: Vec<FileKey>,
}

pub struct FileKey {
    pub key: String,
    pub about: Markup,
    /// The value in the file's notation; `None`: a secret, which is never shown.
    pub value: Option<String>,
    /// Where the value was read from: `the file`, a variable, or nowhere.
    pub source: String,
    /// The built-in value, where another one is configured.
    pub default: Option<String>,
    /// The value that an admin set instead, and the tab that it is on.
    pub changed: Option<(String, &'static str)>,
}

/// Returns the keys by section, in the order of the example file.
pub fn file_sections(view: &ConfigurationView) -> Vec<FileSection> {
    let mut sections: Vec<FileSection> = Vec::new();
    for item in &view.items {
        match sections.iter_mut().find(|section| section.name == item.section) {
            Some(section) => section.keys.push(key(item)),
            None => sections.push(FileSection { name: item.section.clone(), keys: vec![key(item)] }),
        }
    }
    sections
}

fn key(item: &ConfigKeyView) -> FileKey {
    let name = item.key.rsplit('.').next().unwrap_or(&item.key);
    let tab = Setting::named(name).filter(|known| known.key == item.key).and_then(|known| setting(known.name));
    FileKey {
        key: item.key.clone(),
        about: described(item.about.unwrap_or_default(), |_| None),
        value: item.value.as_ref().map(as_written),
        source: match (item.source, &item.variable) {
            (_, Some(variable)) => variable.clone(),
            ("file", None) => "the file".to_owned(),
            ("flag", None) => "the command line".to_owned(),
            _ => "built in".to_owned(),
        },
        default: item.default.as_ref().filter(|_| item.default != item.value).map(as_written),
        changed: item.changed_to.zip(tab).map(|(value, words)| (commas(value), tab_path(words.tab))),
    }
}

/// Returns a value as the file would have it; nothing is `""`.
fn as_written(value: &Value) -> String {
    value.to_string()
}
