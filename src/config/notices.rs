//! `[notices]`: bounds of notices by webhook and mail. The channels themselves are in the database.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::values::{flag, number, seconds};

#[derive(Debug, Clone)]
pub struct NoticesSection {
    pub channels_max: usize,
    pub allow_this_host: bool,
    /// Where links in notices lead; `None`: this host's name.
    pub url: Option<String>,
    pub connect_timeout: Duration,
    pub time_max: Duration,
    pub tries_max: u32,
    /// The pause after the first try; each further one is four times as long.
    pub retry_pause: Duration,
    /// For each channel.
    pub queue_max: usize,
}

impl NoticesSection {
    pub fn read(reader: &mut Reader) -> Self {
        NoticesSection {
            channels_max: reader.key(
                "notices.channels_max",
                "8",
                "Channels for notices (webhooks and mail) that admins may set up.",
                number(1, 64),
            ) as usize,
            allow_this_host: reader.key(
                "notices.allow_this_host",
                "false",
                "Notices may go to this host itself, as to a mail server on it. Otherwise an admin could use them to reach \
                 services that listen for this host alone.",
                flag,
            ),
            url: reader.key(
                "notices.url",
                "\"\"",
                "Where links in notices lead, as in \"https://ai.example.org\". Empty: this host's name, and the port that is \
                 listened on.",
                base_url,
            ),
            connect_timeout: reader.key(
                "notices.connect_seconds_max",
                "5",
                "How long a connection for a notice may take.",
                seconds(1, 60),
            ),
            time_max: reader.key(
                "notices.seconds_max",
                "20",
                "How long one try to deliver a notice may take in all.",
                seconds(1, 300),
            ),
            tries_max: reader.key(
                "notices.tries_max",
                "6",
                "How often a notice is tried for each channel; it is then given up, which shows on the page, in the log and in the \
                 metrics.",
                number(1, 20),
            ) as u32,
            retry_pause: reader.key(
                "notices.retry_seconds",
                "10",
                "The pause after the first failed try. Each further pause is four times as long, an hour at most.",
                seconds(1, 3600),
            ),
            queue_max: reader.key(
                "notices.queue_max",
                "50",
                "Notices that may wait for one channel; further ones are dropped, which is logged and counted.",
                number(1, 1000),
            ) as usize,
        }
    }
}

/// Parses the beginning of links: a scheme and a host, without a `/` at the end.
fn base_url(value: &toml::Value) -> Result<Option<String>, String> {
    let wrong = || format!("`{value}` must be a URL without a path, as in \"https://ai.example.org\"");
    let text = value.as_str().ok_or_else(wrong)?.trim_end_matches('/');
    if text.is_empty() {
        return Ok(None);
    }
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(wrong)?;
    let is_good = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    if is_good { Ok(Some(text.to_owned())) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_links_has_a_scheme_and_a_host_alone() {
        let read = |text: &str| base_url(&toml::Value::String(text.into()));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("https://ai.example.org/"), Ok(Some("https://ai.example.org".into())));
        assert_eq!(read("http://[fd00::1]:7000"), Ok(Some("http://[fd00::1]:7000".into())));
        for wrong in
            ["ai.example.org", "https://", "ftp://a", "https://a/b", "https://a b", "https://u@a", "https://a\r\nx: y"]
        {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
