//! Acts as sentences: who did what to whom, with what it was before.

pub mod changes;
mod models;
mod notices;

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;
use serde_json::Value;

use crate::base::clock::Timestamp;
use crate::http::pages::format::{bytes, coarse, seconds};
use crate::http::pages::visible::visible;
use crate::http::pages::words::{Word, counted};
use crate::model::people::FIRST_ADMIN;
use crate::model::record::Act;
use crate::model::runaway::Runaway;

/// An act as the record has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordedAct<'a> {
    pub act: &'a str,
    /// The name of who did it; `None`: the host, or the gateway itself.
    pub by: Option<&'a str>,
    /// The name of the person whom it is about.
    pub subject: Option<&'a str>,
    /// The name of the access token that it is about.
    pub token: Option<&'a str>,
    pub detail: Option<&'a Value>,
}

/// A sentence in pieces. Templates print it escaped, with names in bold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActSentence(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Name(String),
    Words(String),
    /// An act that this version doesn't know.
    Code(String),
}

impl HtmlSafe for ActSentence {}

impl fmt::Display for ActSentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, piece) in self.0.iter().enumerate() {
            let space = if at > 0 { " " } else { "" };
            match piece {
                Piece::Name(name) => write!(f, "{space}<b>{}</b>", visible(name))?,
                Piece::Words(words) if follows_at_once(words) => visible(words).fmt(f)?,
                Piece::Words(words) => write!(f, "{space}{}", visible(words))?,
                Piece::Code(code) => write!(f, "{space}<code>{}</code>", visible(code))?,
            }
        }
        Ok(())
    }
}

impl ActSentence {
    /// Returns the sentence as text without markup.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            let (Piece::Name(words) | Piece::Words(words) | Piece::Code(words)) = piece;
            if !text.is_empty() && !follows_at_once(words) {
                text.push(' ');
            }
            text.push_str(words);
        }
        text
    }

    /// Adds a name.
    fn name(mut self, name: &str) -> ActSentence {
        self.0.push(Piece::Name(name.to_owned()));
        self
    }

    fn words(mut self, words: impl Into<String>) -> ActSentence {
        let words = words.into();
        if !words.is_empty() {
            self.0.push(Piece::Words(words));
        }
        self
    }
}

/// Returns whether no space stands in front of these words.
fn follows_at_once(words: &str) -> bool {
    words.starts_with([':', ','])
}

impl RecordedAct<'_> {
    pub fn sentence(&self) -> ActSentence {
        let Some(act) = Act::parse(self.act) else {
            let mut unknown = self.beginning("the host");
            unknown.0.push(Piece::Code(self.act.to_owned()));
            return self.with_subject(unknown, "");
        };
        let host = self.beginning("the host");
        let gateway = self.beginning("the gateway");
        match act {
            Act::UserRegistered if self.subject == Some(FIRST_ADMIN) => {
                self.with_subject(gateway.words("made the account"), "")
            }
            Act::UserRegistered if self.by.is_none() || self.is_about_themselves() => {
                ActSentence(vec![]).name(self.subject.unwrap_or("a person")).words("asked for an account")
            }
            Act::UserRegistered => self.with_subject(host.words("made an account for"), ""),
            Act::UserApproved => self.with_subject(host.words("let in"), ""),
            Act::UserTurnedDown => self.with_subject(host.words("turned down"), ""),
            Act::UserChanged => self.with_subject(host.words("changed"), &self.after_a_colon(changes::of_person)),
            Act::UserDisabled => self.with_subject(host.words("disabled"), ""),
            Act::UserEnabled => self.with_subject(host.words("enabled"), ""),
            Act::UserDeleted => self.with_subject(host.words("deleted"), ""),
            Act::ContentsErased => self.with_subject(gateway.words("erased the prompts and answers of"), ""),
            // Both are written before it begins.
            Act::ContentsExpired => gateway.words(format!(
                "began to erase the prompts and answers of {} for their age{}",
                counted(self.number("requests").unwrap_or(0), "request", "requests"),
                self.older_than()
            )),
            Act::RowsRemoved => gateway.words(format!(
                "began to remove {} of the record for their age{}",
                counted(self.number("rows").unwrap_or(0), "row", "rows"),
                self.older_than()
            )),
            Act::PasswordChanged if self.is_about_themselves() => host.words("changed their password"),
            Act::PasswordChanged => self.with_subject(host.words("changed the password of"), ""),
            Act::PasswordReset => self.with_subject(host.words("reset the password of"), "to admin123"),
            Act::PasswordResetWithCode => self.with_subject(host.words("gave"), "a one-time code for a new password"),
            Act::TokenCreated => self.with_token(host.words("made"), ""),
            Act::TokenChanged => self.with_token(host.words("changed"), &self.after_a_colon(changes::of_token)),
            Act::TokenRotated => self.with_token(host.words("gave a new secret to"), ""),
            Act::TokenRevoked => self.with_token(host.words("revoked"), ""),
            Act::TokenPaused => self.with_token(gateway.words("paused"), &self.why_paused()),
            Act::TokenResumed => self.with_token(host.words("resumed"), ""),
            Act::RequestCancelled => self.with_subject(host.words("ended a request of"), ""),
            Act::ResponseDeleted => host.words("deleted a response of theirs for their programs"),
            Act::ContentsSearched if self.subject.is_none() => {
                host.words(format!("searched what everybody wrote{}", self.found()))
            }
            Act::ContentsSearched => self.with_subject(host.words("searched what"), &format!("wrote{}", self.found())),
            Act::ContentsViewed => self.with_subject(host.words("read what"), "wrote"),
            Act::ExportCreated => self.with_record(host.words("began an export of"), String::new()),
            Act::ExportFinished => self.with_record(host.words("finished an export of"), self.lines()),
            Act::SettingsChanged => {
                host.words(format!("set {}", self.detail.map(changes::of_settings).unwrap_or_default()))
            }
            Act::KeysRotated if self.detail.is_some_and(|detail| detail["ends_older"] == true) => {
                host.words("changed the key of JWTs and ended all JWTs")
            }
            Act::KeysRotated => host.words("changed the key of JWTs"),
            Act::CheckpointKeyMade => gateway.words("made a key for the checkpoints of the record"),
            Act::ClockSetBack => host_clock(self.detail),
            Act::BackupMade => {
                let by_itself = self.detail.and_then(|detail| detail.get("scheduled")?.as_bool()) == Some(true);
                let size = self.number("bytes").map(|size| format!(", {}", bytes(size))).unwrap_or_default();
                self.beginning(if by_itself { "the gateway" } else { "the host" }).words(format!("made a backup{size}"))
            }
            Act::ModelChangeBegun => models::begun(self, host),
            Act::ModelChangeEnded => models::ended(self, host),
            Act::IncidentReportMade => host.words(self.of_time()),
            Act::Restored => {
                let made_at = self.detail.and_then(|detail| detail.get("made_at")?.as_str());
                let of = made_at.map(|time| format!(" of {time}")).unwrap_or_default();
                host.words(format!("restored accounts and record from a backup{of}"))
            }
            Act::NoticeChannelAdded => notices::added(self, host),
            Act::NoticeChannelChanged => notices::changed(self, host),
            Act::NoticeChannelRemoved => notices::removed(self, host),
            Act::NoticeChannelTested => notices::tested(self, host),
        }
    }

    /// Begins with who did it; `nobody` is who it was where the record names no person.
    fn beginning(&self, nobody: &str) -> ActSentence {
        match self.by {
            Some(name) => ActSentence(vec![]).name(name),
            None => ActSentence(vec![]).words(nobody),
        }
    }

    fn is_about_themselves(&self) -> bool {
        self.by.is_some() && self.by == self.subject
    }

    fn with_subject(&self, sentence: ActSentence, rest: &str) -> ActSentence {
        match self.subject {
            Some(name) => sentence.name(name).words(rest),
            None => sentence.words(rest),
        }
    }

    fn with_token(&self, sentence: ActSentence, rest: &str) -> ActSentence {
        let sentence = match self.token {
            Some(name) => sentence.words("the access token").name(name),
            None => sentence.words("an access token"),
        };
        match self.subject.filter(|_| !self.is_about_themselves()) {
            Some(owner) => sentence.words("of").name(owner).words(rest),
            None => sentence.words(rest),
        }
    }

    fn with_record(&self, sentence: ActSentence, rest: String) -> ActSentence {
        match self.subject {
            None => sentence.words(format!("everybody's record{rest}")),
            Some(_) if self.is_about_themselves() => sentence.words(format!("their own record{rest}")),
            Some(name) => sentence.words("the record of").name(name).words(rest),
        }
    }

    fn after_a_colon(&self, changes: fn(&Value) -> String) -> String {
        let changes = self.detail.map(changes).unwrap_or_default();
        if changes.is_empty() { changes } else { format!(": {changes}") }
    }

    fn older_than(&self) -> String {
        let days = self.number("days").map(|days| counted(days, "day", "days"));
        days.map(|days| format!(", more than {days}")).unwrap_or_default()
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.detail?.get(field)?.as_u64()
    }

    fn why_paused(&self) -> String {
        let way = self.detail.and_then(|detail| detail.get("reason")?.as_str()).unwrap_or_default();
        let (Some(count), Some(within)) = (self.number("count"), self.number("within_seconds")) else {
            return String::new();
        };
        if way == Runaway::Errors.name() {
            return format!(": {} in a row", counted(count, "failure", "failures"));
        }
        if way == Runaway::Repeats.name() {
            let within = coarse(Duration::from_secs(within));
            return format!(": the same request {} in {within}", counted(count, "time", "times"));
        }
        format!(": {way}")
    }

    /// Returns what an incident report is about.
    fn of_time(&self) -> String {
        let time = |field: &str| self.detail.and_then(|detail| detail.get(field)?.as_str());
        let (Some(from), Some(to)) = (time("from"), time("to")) else { return "made an incident report".to_owned() };
        let contents = self.detail.and_then(|detail| detail.get("contents")?.as_bool()) == Some(true);
        let with = if contents { ", with the beginnings of prompts" } else { "" };
        format!("made an incident report of {from} to {to}{with}")
    }

    fn found(&self) -> String {
        self.number("found").map(|found| format!(", {found} found")).unwrap_or_default()
    }

    fn lines(&self) -> String {
        self.number("lines").map(|lines| format!(", {}", counted(lines, "line", "lines"))).unwrap_or_default()
    }
}

fn host_clock(detail: Option<&Value>) -> ActSentence {
    let time = |field: &str| Timestamp::parse(detail?.get(field)?.as_str()?);
    let step = match (time("from"), time("to")) {
        (Some(from), Some(to)) => format!(" by {}", seconds(from.since(to))),
        _ => String::new(),
    };
    ActSentence(vec![]).words(format!("the clock of the host was set back{step}"))
}

/// Returns an act in a word or two, for the filter.
pub fn act_name(act: Act) -> &'static str {
    match act {
        Act::UserRegistered => "asked for an account",
        Act::UserApproved => "let in",
        Act::UserTurnedDown => "turned down",
        Act::UserChanged => "changed a person",
        Act::UserDisabled => "disabled",
        Act::UserEnabled => "enabled",
        Act::UserDeleted => "deleted",
        Act::ContentsErased => "contents erased",
        Act::ContentsExpired => "old contents erased",
        Act::RowsRemoved => "old rows removed",
        Act::PasswordChanged => "changed a password",
        Act::PasswordReset => "reset a password",
        Act::PasswordResetWithCode => "gave a one-time code",
        Act::TokenCreated => "made an access token",
        Act::TokenChanged => "changed an access token",
        Act::TokenRotated => "rotated an access token",
        Act::TokenRevoked => "revoked an access token",
        Act::TokenPaused => "paused an access token",
        Act::TokenResumed => "resumed an access token",
        Act::RequestCancelled => "ended a request",
        Act::ResponseDeleted => "deleted a response",
        Act::ContentsSearched => "searched contents",
        Act::ContentsViewed => "read contents",
        Act::ExportCreated => "began an export",
        Act::ExportFinished => "finished an export",
        Act::SettingsChanged => "changed settings",
        Act::KeysRotated => "changed the key of JWTs",
        Act::CheckpointKeyMade => "made a key for checkpoints",
        Act::ClockSetBack => "clock set back",
        Act::BackupMade => "made a backup",
        Act::ModelChangeBegun => "began to change a model",
        Act::ModelChangeEnded => "changed a model",
        Act::IncidentReportMade => "made an incident report",
        Act::Restored => "restored a backup",
        Act::NoticeChannelAdded => "added a notice channel",
        Act::NoticeChannelChanged => "changed a notice channel",
        Act::NoticeChannelRemoved => "removed a notice channel",
        Act::NoticeChannelTested => "tested a notice channel",
    }
}

/// Returns an act of the record in a word or two.
pub fn act_word(stored: &str) -> Word {
    Word::of(Act::parse(stored).map(act_name), stored)
}

#[cfg(test)]
mod tests;
