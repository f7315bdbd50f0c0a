//! What an admin may change while the gateway runs: one table, from which everything else is made.
//!
//! An entry of `settings!` is a key of the file with its default, bounds and words, a field of `Settings`, and a row
//! that `PATCH /api/v1/settings` and `lan-gateway settings set` may override. To add one, add its entry; whoever obeys it
//! keeps a `Live` and asks `live.now()` for the field at each decision, so that a change is felt on the next one.

use std::fmt;
use std::sync::{Arc, RwLock};

use crate::config::reader::{Reader, number};
use crate::error::Error;

macro_rules! settings {
    ($($(#[doc = $about:literal])+
    $section:ident.$name:ident: $type:ty = $default:literal, $least:literal to $most:literal $unit:ident;)+) => {
        /// A value for each setting: what the file says, or what holds now.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Settings {
            $($(#[doc = $about])+ pub $name: $type,)+
        }

        impl Settings {
            const BLANK: Settings = Settings { $($name: 0,)+ };
        }

        pub static TABLE: &[Setting] = &[$(Setting {
            name: stringify!($name),
            key: concat!(stringify!($section), ".", stringify!($name)),
            about: concat!($($about),+),
            unit: stringify!($unit),
            default: stringify!($default),
            least: $least,
            most: $most,
            get: |settings| u64::try_from(settings.$name).unwrap_or(u64::MAX),
            set: |settings, value| settings.$name = <$type>::try_from(value).unwrap_or(<$type>::MAX),
        },)+];
    };
}

settings! {
    /// Requests to a model that one person may make in any 60 seconds, all credentials together.
    limits.requests_per_minute: u32 = 10, 1 to 1_000_000 requests;
    /// The same for everybody together.
    limits.requests_per_minute_total: u32 = 200, 1 to 100_000_000 requests;
    /// Tokens of prompts and answers that one person may use in a minute, as a steady rate; 0 sets no limit. This and the
    /// quotas after it hold for people who have none of their own.
    limits.tokens_per_minute: u32 = 0, 0 to 1_000_000_000 tokens;
    /// Requests to a model that one person may make in a day; 0 sets no limit.
    limits.requests_per_day: u32 = 0, 0 to 1_000_000_000 requests;
    /// Tokens of prompts and answers that one person may use in a day; 0 sets no limit.
    limits.tokens_per_day: u32 = 0, 0 to 1_000_000_000 tokens;
    /// Seconds in a day for which a model server may work for one person; 0 sets no limit.
    limits.gpu_seconds_per_day: u32 = 0, 0 to 1_000_000_000 seconds;
    /// Tokens of one prompt and its answer together, the prompt's guessed from its length; 0 sets no limit.
    limits.context_tokens_max: u32 = 0, 0 to 1_000_000_000 tokens;
    /// Exports of their own and changes of their tokens that one person may make in a minute, and as many changes of their
    /// password, since each leaves a row for good. Admins are not held.
    limits.own_acts_per_minute: u32 = 30, 1 to 1_000_000 acts;
    /// Open connections, all addresses together; further ones are closed at once. Never more than the limit of open files
    /// leaves beside the gateway's own; `lan-gateway doctor` shows it.
    limits.connections_max: usize = 8192, 1 to 1_000_000 connections;
    /// Open connections per client address; further ones are closed at once. Never more than are still free, so at most half
    /// of `connections_max`.
    limits.connections_per_address_max: usize = 1024, 1 to 1_000_000 connections;
    /// The largest body of a request to a model, in bytes; never more than half of the memory that is set aside for bodies
    /// by the next two.
    limits.body_bytes_max: usize = 16777216, 1024 to 1_073_741_824 bytes;
    /// Bytes of request bodies in memory, from their first byte until they were forwarded to a model server; further bodies
    /// get a 503. One user gets half at most, and never more than is left for others.
    limits.bodies_bytes_max: usize = 134217728, 65_536 to 17_179_869_184 bytes;
    /// The same for bodies that arrive before their sender is known: POST /chat without a token, and the gateway's own routes.
    /// One address gets half at most, and never more than is left for others.
    limits.stranger_bytes_max: usize = 33554432, 65_536 to 17_179_869_184 bytes;
    /// The largest body of a request to the gateway's own routes, such as /auth/token and /api/v1/users, in bytes.
    limits.own_body_bytes_max: usize = 65536, 1024 to 1_048_576 bytes;
    // A context of 128 K tokens takes about half a megabyte; what is longer than the context a model server cuts at its
    // beginning, and says nothing. So twice that is no prompt but a file by mistake, or a flood.
    /// The longest prompt, in bytes: the text of all messages and tools of a request, without images.
    limits.prompt_bytes_max: usize = 1048576, 1 to 1_073_741_824 bytes;
    /// Images in one request.
    limits.images_per_request_max: usize = 1, 0 to 64 images;
    /// The largest image, decoded, in bytes.
    limits.image_bytes_max: usize = 5242880, 1024 to 1_073_741_824 bytes;
    /// Requests that may wait for a slot; further ones get a 503.
    queue.waiting_max: usize = 64, 1 to 100_000 requests;
    /// Requests of one person that may wait for a slot; further ones get a 429.
    queue.waiting_per_user_max: usize = 32, 1 to 100_000 requests;
    /// Bytes of requests that may wait for a slot; further ones get a 503.
    queue.waiting_bytes_max: usize = 67108864, 1024 to 17_179_869_184 bytes;
    /// The longest wait for a slot.
    queue.wait_seconds_max: u32 = 300, 1 to 3600 seconds;
    /// Requests of one person that may run at once, all hosts together. A smaller number keeps slots free for others even
    /// while nobody else waits.
    queue.running_per_user_max: usize = 1024, 1 to 1024 requests;
    /// Requests with images that run at once, all hosts together; others wait.
    queue.image_requests_max: usize = 1, 1 to 1024 requests;
    /// The share of GPU time that requests of class batch get at least while interactive ones wait. They take whatever
    /// those leave.
    queue.batch_share_percent: u32 = 5, 1 to 50 percent;
    /// How long a request whose model is not loaded may be passed by requests whose model is; 0 turns that off.
    queue.affinity_seconds_max: u32 = 10, 0 to 3600 seconds;
    /// How far back the breaker looks at what a token of a machine sent.
    breaker.breaker_seconds: u32 = 600, 10 to 3600 seconds;
    // A matrix of twenty jobs that send one prompt each, and a probe every minute, are no loop. Whoever asks the same
    // thirty times is slowed so much that the pause comes minutes later: time to stop it oneself.
    /// The same request of one token that passes freely in that time; further ones are slowed. 0 turns that off.
    breaker.repeats_free: usize = 30, 0 to 1000 requests;
    /// The same request of one token that passes at all in that time; the next pauses the token. 0 turns that off.
    breaker.repeats_max: usize = 60, 0 to 1000 requests;
    /// Requests of one token that may fail in that time, one after the other, before it is slowed. 0 turns that off.
    breaker.errors_free: usize = 20, 0 to 1000 requests;
    /// Requests of one token that may fail in that time, one after the other; the next pauses it. 0 turns that off.
    breaker.errors_max: usize = 40, 0 to 1000 requests;
    /// A token that is slowed may go on once in this time.
    breaker.slowed_seconds: u32 = 10, 1 to 600 seconds;
    /// Tokens of one answer, of people who have no other limit of their own. A request may ask for fewer, never for more.
    answers.answer_tokens_max: u32 = 8192, 1 to 10_000_000 tokens;
}

pub struct Setting {
    pub name: &'static str,
    /// As the file has it: a section and the name.
    pub key: &'static str,
    about: &'static str,
    pub unit: &'static str,
    default: &'static str,
    pub least: u64,
    pub most: u64,
    pub get: fn(&Settings) -> u64,
    set: fn(&mut Settings, u64),
}

impl Setting {
    pub fn named(name: &str) -> Option<&'static Setting> {
        TABLE.iter().find(|setting| setting.name == name)
    }

    /// What it does, in a sentence or two.
    pub fn about(&self) -> &'static str {
        self.about.trim_start()
    }

    pub fn check(&self, value: u64) -> Result<u64, Error> {
        if (self.least..=self.most).contains(&value) { Ok(value) } else { Err(self.wrong()) }
    }

    pub fn wrong(&self) -> Error {
        let message = format!("`{}` must be a whole number from {} to {}", self.name, self.least, self.most);
        Error::invalid(self.name, message)
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}

impl Settings {
    /// As the file and the environment say.
    pub fn read(reader: &mut Reader) -> Settings {
        let mut settings = Settings::BLANK;
        for setting in TABLE {
            let within = number(setting.least, setting.most);
            let value = reader.key(setting.key, setting.default, setting.about(), within);
            (setting.set)(&mut settings, value);
        }
        settings
    }

    /// These, with some values instead. One that is unknown here or out of bounds is left out: another version wrote it.
    pub fn with<'a>(mut self, overrides: impl IntoIterator<Item = (&'a str, u64)>) -> Settings {
        for (name, value) in overrides {
            if let Some(setting) = Setting::named(name).filter(|setting| setting.check(value).is_ok()) {
                (setting.set)(&mut self, value);
            }
        }
        self
    }
}

impl Default for Settings {
    /// As they are without a file.
    fn default() -> Self {
        Settings::read(&mut Reader::new(toml::Table::new(), []))
    }
}

/// What holds at this moment, shared by all who obey it. The store sets it after each commit of a change.
#[derive(Clone)]
pub struct Live(Arc<Held>);

struct Held {
    start: Settings,
    now: RwLock<Settings>,
}

impl Live {
    pub fn new(start: Settings) -> Live {
        Live(Arc::new(Held { start, now: RwLock::new(start) }))
    }

    pub fn now(&self) -> Settings {
        *self.0.now.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What the file says, which holds where nothing was changed.
    pub fn start(&self) -> Settings {
        self.0.start
    }

    pub fn set<'a>(&self, overrides: impl IntoIterator<Item = (&'a str, u64)>) {
        let now = self.0.start.with(overrides);
        *self.0.now.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_a_name_of_its_own_and_takes_both_its_bounds() {
        for setting in TABLE {
            assert_eq!(TABLE.iter().filter(|other| other.name == setting.name).count(), 1, "{setting:?}");
            assert!(setting.about().ends_with('.'), "{setting:?}");
            for value in [setting.least, setting.most] {
                let settings = Settings::default().with([(setting.name, value)]);
                assert_eq!((setting.get)(&settings), value, "{setting:?}");
            }
            assert!(setting.check(setting.most + 1).is_err());
            assert!(setting.least == 0 || setting.check(setting.least - 1).is_err());
        }
    }

    #[test]
    fn what_another_version_wrote_changes_nothing() {
        let settings = Settings::default();

        assert_eq!(settings.with([("prophecies_per_minute", 1), ("requests_per_minute", 0)]), settings);
    }

    #[test]
    fn a_change_taken_away_is_the_file_s_value_again() {
        let live = Live::new(Settings::default().with([("requests_per_minute", 7)]));

        live.set([("requests_per_minute", 9)]);
        assert_eq!((live.now().requests_per_minute, live.start().requests_per_minute), (9, 7));
        live.set([]);
        assert_eq!(live.now(), live.start());
    }
}
