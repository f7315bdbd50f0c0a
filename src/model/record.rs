//! Vocabulary of the record: kinds of rows, outcomes, and acts.
//!
//! Their spellings in the database, the API and exports are defined here alone. A row may have a word that this version doesn't
//! know; then `parse` returns `None`, and the word is shown unchanged.

use crate::model::words::words_schema;

/// Makes an enum of which each value has one word.
macro_rules! words {
    ($(#[doc = $about:literal])+ $name:ident: $($(#[doc = $meaning:literal])* $value:ident = $word:literal,)+) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $meaning])* $value,)+
        }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$value,)+];

            /// Returns the word as it is stored and shown.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$value => $word,)+
                }
            }

            pub fn parse(word: &str) -> Option<$name> {
                Self::ALL.iter().copied().find(|value| value.name() == word)
            }
        }
    };
}

words! {
    /// What a row of the record is.
    Kind:
    /// A request that is about to be forwarded.
    Intent = "intent",
    /// How a forwarded request ended.
    Result = "result",
    /// A request that was refused before it could be forwarded.
    Refusal = "refusal",
    /// Something that was done, by an admin, a user or the gateway itself.
    Act = "act",
}

words_schema!(impl Kind, "What a row of the record is.", Kind::SHOWN);

impl Default for Kind {
    /// Returns the kind of the first row that a request has.
    fn default() -> Self {
        Kind::Intent
    }
}

impl Kind {
    /// The words under which rows are shown and looked for.
    pub const SHOWN: [&str; 3] = ["request", "refusal", "act"];

    /// Returns the word under which the row is shown: an intent and its result are one request.
    pub fn shown(self) -> &'static str {
        match self {
            Kind::Intent | Kind::Result => "request",
            Kind::Refusal => "refusal",
            Kind::Act => "act",
        }
    }

    /// Returns the kind of the rows to look for, by the word under which they are shown.
    pub fn wanted(shown: &str) -> Option<Kind> {
        [Kind::Result, Kind::Refusal, Kind::Act].into_iter().find(|kind| kind.shown() == shown)
    }
}

words! {
    /// How a request ended.
    Outcome:
    Completed = "completed",
    /// The upstream or the gateway failed.
    Failed = "failed",
    /// Refused before it was forwarded, or afterwards because it waited too long or was cancelled.
    Refused = "refused",
    /// The client left.
    Abandoned = "abandoned",
    /// The gateway stopped.
    Interrupted = "interrupted",
}

words_schema!(impl Outcome, "How a request ended.", Outcome::ALL.iter().map(|outcome| outcome.name()));

words! {
    /// How the access of a request ended while it waited or ran; a reason of the record.
    AccessEnd:
    AccountDeleted = "account_deleted",
    AccountDisabled = "account_disabled",
    PasswordReset = "password_reset",
    PasswordChanged = "password_changed",
    TokenExpired = "token_expired",
    TokenRevoked = "token_revoked",
    TokenPaused = "token_paused",
    TokenSuspended = "token_suspended",
    /// The owner of a delegating token is no admin any more.
    DelegationEnded = "delegation_ended",
}

/// The reason of a request that an admin cancelled.
pub const CANCELLED: &str = "cancelled";

/// The reason of a request that was interrupted because the gateway stopped.
pub const GATEWAY_STOPPED: &str = "gateway_stopped";

words! {
    /// What was done.
    Act:
    UserRegistered = "user_registered",
    UserApproved = "user_approved",
    UserTurnedDown = "user_turned_down",
    UserChanged = "user_changed",
    UserDisabled = "user_disabled",
    UserEnabled = "user_enabled",
    UserDeleted = "user_deleted",
    /// The contents of a deleted user are gone from the file.
    ContentsErased = "contents_erased",
    /// Contents were erased because of their age.
    ContentsExpired = "contents_expired",
    /// Rows were removed because of their age.
    RowsRemoved = "rows_removed",
    PasswordChanged = "password_changed",
    PasswordReset = "password_reset",
    PasswordResetWithCode = "password_reset_with_code",
    TokenCreated = "token_created",
    TokenChanged = "token_changed",
    TokenRotated = "token_rotated",
    TokenRevoked = "token_revoked",
    /// The breaker paused a token that ran away.
    TokenPaused = "token_paused",
    TokenResumed = "token_resumed",
    RequestCancelled = "request_cancelled",
    /// A user deleted an answer for its clients; the record keeps it.
    ResponseDeleted = "response_deleted",
    ContentsSearched = "contents_searched",
    ContentsViewed = "contents_viewed",
    ExportCreated = "export_created",
    ExportFinished = "export_finished",
    SettingsChanged = "settings_changed",
    /// JWTs are signed with a new key.
    KeysRotated = "keys_rotated",
    /// Checkpoints are signed with a new key from here on.
    CheckpointKeyMade = "checkpoint_key_made",
    ClockSetBack = "clock_set_back",
    BackupMade = "backup_made",
    /// A change of an upstream's models is about to be forwarded.
    ModelChangeBegun = "model_change_begun",
    /// How it ended. It has the same request id.
    ModelChangeEnded = "model_change_ended",
    /// A report about a time was made.
    IncidentReportMade = "incident_report_made",
    /// The database was put in place of another one, from a backup.
    Restored = "restored",
    NoticeChannelAdded = "notice_channel_added",
    NoticeChannelChanged = "notice_channel_changed",
    NoticeChannelRemoved = "notice_channel_removed",
    /// An admin sent a notice to try a channel.
    NoticeChannelTested = "notice_channel_tested",
}

words_schema!(impl Act, "What was done.", Act::ALL.iter().map(|act| act.name()));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_read_as_it_is_written() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name()), Some(*kind));
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.name()), Some(*outcome));
        }
        for act in Act::ALL {
            assert_eq!(Act::parse(act.name()), Some(*act));
        }
        for end in AccessEnd::ALL {
            assert_eq!(AccessEnd::parse(end.name()), Some(*end));
        }
        assert_eq!((Kind::parse("Act"), Outcome::parse(""), Act::parse("user_praised")), (None, None, None));
    }

    #[test]
    fn a_kind_is_looked_for_by_the_word_that_it_is_shown_under() {
        assert_eq!(Kind::SHOWN.map(Kind::wanted), [Some(Kind::Result), Some(Kind::Refusal), Some(Kind::Act)]);
        assert_eq!(Kind::wanted("intent"), None);
    }

    #[test]
    fn no_word_is_longer_than_its_column() {
        assert!(Kind::ALL.iter().all(|kind| kind.name().len() <= 8));
        assert!(Outcome::ALL.iter().all(|outcome| outcome.name().len() <= 16));
        assert!(Act::ALL.iter().all(|act| act.name().len() <= 64));
    }
}
