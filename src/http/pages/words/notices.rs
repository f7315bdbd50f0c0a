//! Notices and their channels in words.

use crate::model::notice::{ChannelKind, MailTls, NoticeKind};

/// Returns what a kind of notice tells.
pub fn kind(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::ApprovalWaits => "people who wait for approval",
        NoticeKind::TokenPaused => "access tokens that were paused",
        NoticeKind::DiskLow => "a data disk that is nearly full",
        NoticeKind::RecordUnwritable => "a record that can't be written",
        NoticeKind::UpstreamAway => "model servers that are away, and back",
        NoticeKind::CheckpointInvalid => "a record that does not verify",
    }
}

/// Returns which notices a channel gets, as a sentence.
pub fn kinds(kinds: &[NoticeKind]) -> String {
    if kinds.len() == NoticeKind::ALL.len() {
        return "Tells of everything.".to_owned();
    }
    let words: Vec<&str> = kinds.iter().map(|known| kind(*known)).collect();
    format!("Tells of {}.", words.join("; "))
}

pub fn channel(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Webhook => "webhook",
        ChannelKind::Mail => "mail",
    }
}

pub fn tls(tls: MailTls) -> &'static str {
    match tls {
        MailTls::Starttls => "STARTTLS, or nothing is sent",
        MailTls::Implicit => "TLS from the first byte",
        MailTls::None => "none, and no password",
    }
}
