//! The view of the configuration that a running gateway has read. It never holds a secret.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::config::settings::{Settings, TABLE};
use crate::config::{Config, ConfigKey};

/// Every key of the configuration, as it was read when the gateway started.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigurationView {
    /// The file that was read; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/etc/lan-gateway/lan-gateway.toml")]
    pub file: Option<String>,
    /// In the order of the example file.
    pub items: Vec<ConfigKeyView>,
}

/// A key of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigKeyView {
    /// The whole key.
    #[schema(example = "limits.requests_per_minute")]
    pub key: String,
    /// Its section; empty at the top of the file.
    #[schema(example = "limits")]
    pub section: String,
    /// The configured value. Absent: a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>, example = 10)]
    pub value: Option<Value>,
    /// The built-in value. Absent: the key holds a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>, example = 10)]
    pub default: Option<Value>,
    /// Where the value was read from: `file`, `environment`, `flag` (of the command line) or `default`
    pub source: &'static str,
    /// The variable of the environment that set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "LGW_LIMITS__REQUESTS_PER_MINUTE")]
    pub variable: Option<String>,
    /// The current value, if an admin has changed it at run time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_to: Option<u64>,
    /// Absent for the keys of further upstreams, which are those of `ollama`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<&'static str>,
}

impl ConfigurationView {
    /// Returns the configuration; `now` are the settings in force.
    pub fn of(config: &Config, now: &Settings) -> Self {
        let file = config.file.as_ref().map(|file| file.display().to_string());
        let item = |key: &ConfigKey| ConfigKeyView::of(key, &config.settings, now);
        ConfigurationView { file, items: config.keys.iter().map(item).collect() }
    }
}

impl ConfigKeyView {
    fn of(key: &ConfigKey, configured: &Settings, now: &Settings) -> Self {
        let setting = TABLE.iter().find(|setting| setting.key == key.key);
        let changed = setting.filter(|setting| (setting.get)(configured) != (setting.get)(now));
        ConfigKeyView {
            key: key.key.clone(),
            section: key.section.clone(),
            value: key.value.clone(),
            default: key.default.clone(),
            source: key.source.name(),
            variable: key.source.variable().map(str::to_owned),
            changed_to: changed.map(|setting| (setting.get)(now)),
            about: Some(key.about).filter(|about| !about.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(toml: &str, env: &[(&str, &str)], changes: &[(&'static str, u64)]) -> Vec<Value> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::resolve(toml, env).unwrap();
        let now = config.settings.with(changes.iter().copied());
        let view = serde_json::to_value(ConfigurationView::of(&config, &now)).unwrap();
        view["items"].as_array().unwrap().clone()
    }

    fn key(items: &[Value], key: &str) -> Value {
        let mut item = items.iter().find(|item| item["key"] == key).unwrap_or_else(|| panic!("no {key}")).clone();
        item.as_object_mut().unwrap().remove("about");
        item
    }

    #[test]
    fn each_key_says_what_it_is_and_where_it_was_read() {
        let file = "listen = \"127.0.0.1:7001\"\n[limits]\nrequests_per_minute = 20\n";
        let variables = [("LGW_LIMITS__REQUESTS_PER_MINUTE", "30"), ("LGW_DATA_DIR", "/srv/lgw")];

        let items = view(file, &variables, &[("requests_per_minute", 40)]);

        let listen = serde_json::json!({ "key": "listen", "section": "", "value": "127.0.0.1:7001",
            "default": "0.0.0.0:7000", "source": "file" });
        assert_eq!(key(&items, "listen"), listen);
        let requests = serde_json::json!({ "key": "limits.requests_per_minute", "section": "limits", "value": 30,
            "default": 10, "source": "environment", "variable": "LGW_LIMITS__REQUESTS_PER_MINUTE", "changed_to": 40 });
        assert_eq!(key(&items, "limits.requests_per_minute"), requests);
        assert_eq!(key(&items, "data_dir")["value"], "/srv/lgw");
        let workers =
            serde_json::json!({ "key": "workers", "section": "", "value": 0, "default": 0, "source": "default" });
        assert_eq!(key(&items, "workers"), workers);
    }

    #[test]
    fn every_key_of_the_example_file_is_there_and_every_setting_among_them() {
        let items = view("", &[], &[]);

        let lines = Config::example().lines().filter(|line| line.starts_with('#') && line.contains(" = ")).count();
        assert!(items.len() >= TABLE.len() && items.len() <= lines, "{} of {lines}", items.len());
        for setting in TABLE {
            let item = key(&items, setting.key);
            assert_eq!((&item["section"], &item["value"]), (&setting.section.into(), &setting.default.into()));
        }
    }

    #[test]
    fn a_secret_is_never_shown_only_where_it_was_read() {
        let file = "[upstream.far]\nurl = \"http://127.0.0.1:1\"\nsecret = \"s3cret-of-file\"\n";
        let variables =
            [("LGW_UPSTREAM__NEAR__URL", "http://127.0.0.1:2"), ("LGW_UPSTREAM__NEAR__SECRET", "s3cret-env")];

        let items = view(file, &variables, &[]);

        let far = serde_json::json!({ "key": "upstream.far.secret", "section": "upstream.far", "source": "file" });
        assert_eq!(key(&items, "upstream.far.secret"), far);
        assert_eq!(key(&items, "upstream.near.secret")["variable"], "LGW_UPSTREAM__NEAR__SECRET");
        assert!(!format!("{items:?}").contains("s3cret"));
        assert!(!format!("{:?}", Config::resolve(file, []).unwrap()).contains("s3cret"));
    }
}
