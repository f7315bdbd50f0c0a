//! Notices: what admins are told of without looking, and the channels by which they are told.

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::words::words_schema;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    /// A person registered and waits for approval.
    ApprovalWaits,
    /// The breaker paused an API token.
    TokenPaused,
    /// The data disk is nearly full.
    DiskLow,
    /// Rows can't be written, so nothing is served.
    RecordUnwritable,
    /// An upstream does not answer. One notice more tells that it is back.
    UpstreamAway,
    /// The chain of the record or a checkpoint does not verify.
    CheckpointInvalid,
}

impl NoticeKind {
    pub const ALL: [NoticeKind; 6] = [
        NoticeKind::ApprovalWaits,
        NoticeKind::TokenPaused,
        NoticeKind::DiskLow,
        NoticeKind::RecordUnwritable,
        NoticeKind::UpstreamAway,
        NoticeKind::CheckpointInvalid,
    ];

    /// Returns the word under which the kind is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            NoticeKind::ApprovalWaits => "approval_waits",
            NoticeKind::TokenPaused => "token_paused",
            NoticeKind::DiskLow => "disk_low",
            NoticeKind::RecordUnwritable => "record_unwritable",
            NoticeKind::UpstreamAway => "upstream_away",
            NoticeKind::CheckpointInvalid => "checkpoint_invalid",
        }
    }

    pub fn named(word: &str) -> Option<NoticeKind> {
        NoticeKind::ALL.into_iter().find(|kind| kind.name() == word)
    }

    pub fn parse(word: &str) -> Result<NoticeKind, Error> {
        NoticeKind::named(word).ok_or_else(|| {
            let known = NoticeKind::ALL.map(NoticeKind::name).join(", ");
            Error::invalid("notices", format!("`{word}` is no kind of notice; there are {known}"))
        })
    }
}

words_schema!(impl NoticeKind, "What a notice is about.", NoticeKind::ALL.map(NoticeKind::name));

/// The kind of a notice that an admin sends to try a channel.
pub const TEST_NOTICE: &str = "test";

/// The kind of a notice that an upstream answers again.
pub const UPSTREAM_BACK: &str = "upstream_back";

/// One notice, as each channel gets it. It holds no prompt and no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same at each try, so that a receiver can tell that it has this one already.
    pub id: String,
    /// The name of a `NoticeKind`, `upstream_back` or `test`.
    pub kind: String,
    /// Whom or what it is about, by name.
    pub subject: String,
    /// How many persons or things these are.
    pub count: usize,
    /// One sentence: what happened.
    pub text: String,
    /// One sentence: what to do.
    pub remedy: String,
    /// The path of the page to look at.
    pub path: String,
    pub at_us: i64,
}

impl Notice {
    pub fn at(&self) -> Timestamp {
        Timestamp(self.at_us)
    }

    /// Returns the kind whose notices must not overtake this one: `upstream_back` follows `upstream_away`.
    pub fn about(&self) -> &str {
        if self.kind == UPSTREAM_BACK { NoticeKind::UpstreamAway.name() } else { &self.kind }
    }
}

/// How a channel reaches people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    Webhook,
    Mail,
}

impl ChannelKind {
    pub const ALL: [ChannelKind; 2] = [ChannelKind::Webhook, ChannelKind::Mail];

    pub fn name(self) -> &'static str {
        match self {
            ChannelKind::Webhook => "webhook",
            ChannelKind::Mail => "mail",
        }
    }

    pub fn parse(word: &str) -> Result<ChannelKind, Error> {
        let found = ChannelKind::ALL.into_iter().find(|kind| kind.name() == word);
        found.ok_or_else(|| Error::invalid("kind", "`kind` must be webhook or mail"))
    }
}

words_schema!(impl ChannelKind, "How a channel reaches people.", ChannelKind::ALL.map(ChannelKind::name));

/// How the connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// Not at all; then no password is sent.
    None,
    /// By STARTTLS, which the server must offer.
    Starttls,
    /// From its first byte.
    Implicit,
}

impl MailTls {
    pub const ALL: [MailTls; 3] = [MailTls::None, MailTls::Starttls, MailTls::Implicit];

    pub fn name(self) -> &'static str {
        match self {
            MailTls::None => "none",
            MailTls::Starttls => "starttls",
            MailTls::Implicit => "implicit",
        }
    }

    pub fn parse(word: &str) -> Result<MailTls, Error> {
        let found = MailTls::ALL.into_iter().find(|tls| tls.name() == word);
        found.ok_or_else(|| Error::invalid("tls", "`tls` must be none, starttls or implicit"))
    }

    /// Returns the port that servers usually listen on.
    pub fn usual_port(self) -> u16 {
        match self {
            MailTls::None => 25,
            MailTls::Starttls => 587,
            MailTls::Implicit => 465,
        }
    }
}

words_schema!(impl MailTls, "How the connection to a mail server is encrypted.", MailTls::ALL.map(MailTls::name));

/// A way by which notices leave, as it is stored: its secrets are sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeChannel {
    pub id: i64,
    pub public_id: String,
    pub name: String,
    pub is_on: bool,
    pub kinds: Vec<NoticeKind>,
    pub way: ChannelWay,
    pub created_at_us: i64,
    pub last: LastDelivery,
}

/// Where notices go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelWay {
    Webhook {
        /// Scheme, host and port of the URL.
        place: String,
        url: Vec<u8>,
        /// What signs the requests.
        secret: Option<Vec<u8>>,
    },
    Mail {
        host: String,
        port: u16,
        tls: MailTls,
        username: Option<String>,
        password: Option<Vec<u8>>,
        from: String,
        to: Vec<String>,
    },
}

impl ChannelWay {
    pub fn kind(&self) -> ChannelKind {
        match self {
            ChannelWay::Webhook { .. } => ChannelKind::Webhook,
            ChannelWay::Mail { .. } => ChannelKind::Mail,
        }
    }

    /// Returns where it leads, without what is secret: for lists and the record.
    pub fn place(&self) -> String {
        match self {
            ChannelWay::Webhook { place, .. } => place.clone(),
            ChannelWay::Mail { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

/// When a channel last worked, and why it last did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastDelivery {
    pub delivered_at_us: Option<i64>,
    pub failed_at_us: Option<i64>,
    pub failure: Option<String>,
}

impl LastDelivery {
    /// Returns the failure, unless a notice was delivered after it.
    pub fn open_failure(&self) -> Option<&str> {
        self.failure.as_deref().filter(|_| self.failed_at_us >= self.delivered_at_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_read_as_it_is_written() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::parse(kind.name()).unwrap(), kind);
        }
        for kind in ChannelKind::ALL {
            assert_eq!(ChannelKind::parse(kind.name()).unwrap(), kind);
        }
        for tls in MailTls::ALL {
            assert_eq!(MailTls::parse(tls.name()).unwrap(), tls);
        }
        assert_eq!(NoticeKind::parse("Disk_low").unwrap_err().field(), Some("notices"));
        assert_eq!(ChannelKind::parse("pager").unwrap_err().field(), Some("kind"));
        assert_eq!(MailTls::parse("ssl").unwrap_err().field(), Some("tls"));
    }

    #[test]
    fn a_failure_is_told_until_something_was_delivered() {
        let mut last = LastDelivery { failed_at_us: Some(5), failure: Some("it hung".into()), ..Default::default() };
        assert_eq!(last.open_failure(), Some("it hung"));
        last.delivered_at_us = Some(4);
        assert_eq!(last.open_failure(), Some("it hung"));
        last.delivered_at_us = Some(6);
        assert_eq!(last.open_failure(), None);
    }
}
