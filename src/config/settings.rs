//! Settings that an admin may change at run time: one table, from which everything else is generated.
//!
//! An entry of `settings!` is a key of the file with its default, bounds and description, a field of `Settings`, and a row that
//! `PATCH /api/v1/settings` and `lan-gateway settings set` may override. To add one, add its entry; code that obeys it keeps a
//! `Live` and reads the field from `live.now()` at each decision, so that a change has effect on the next one.

use std::fmt;
use std::sync::{Arc, RwLock};

use crate::base::error::Error;
use crate::config::reader::Reader;
use crate::config::values::number;
use crate::model::rights::quotas::Quotas;

macro_rules! settings {
    ($($(#[doc = $about:literal])+
    $section:ident.$name:ident: $type:ty = $default:literal, $least:literal to $most:literal $unit:ident;)+) => {
        /// A value for each setting: the configured or the current one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Settings {
            $($(#[doc = $about])+ pub $name: $type,)+
            /// A bit for each entry of the table that is configured or changed, and not the default.
            said: u64,
        }

        impl Settings {
            const BLANK: Settings = Settings { $($name: 0,)+ said: 0 };
        }

        pub static TABLE: &[Setting] = &[$(Setting {
            name: stringify!($name),
            key: concat!(stringify!($section), ".", stringify!($name)),
            about: concat!($($about),+),
            section: stringify!($section),
            unit: stringify!($unit),
            default: $default,
            default_text: stringify!($default),
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
    /// Requests to a model that all people together may make in any 60 seconds.
    limits.requests_per_minute_total: u32 = 200, 1 to 100_000_000 requests;
    /// Answers that one request may ask for (`n` of chat completions and completions). Each is generated separately and counts
    /// as a request; 1 refuses requests for several.
    limits.choices_max: u32 = 4, 1 to 16 answers;
    /// Model tokens of prompts and answers that one person may use in a minute, as a steady rate; 0 sets no limit. This and the
    /// following quotas apply to people who have none of their own.
    limits.tokens_per_minute: u32 = 0, 0 to 1_000_000_000 tokens;
    /// Requests to a model that one person may make in a day; 0 sets no limit.
    limits.requests_per_day: u32 = 0, 0 to 1_000_000_000 requests;
    /// Model tokens of prompts and answers that one person may use in a day; 0 sets no limit.
    limits.tokens_per_day: u32 = 0, 0 to 1_000_000_000 tokens;
    /// Seconds in a day that model servers may work for one person; 0 sets no limit.
    limits.gpu_seconds_per_day: u32 = 0, 0 to 1_000_000_000 seconds;
    /// Model tokens of one prompt and its answer together, the prompt's estimated from its length; 0 sets no limit.
    limits.context_tokens_max: u32 = 0, 0 to 1_000_000_000 tokens;
    /// Own exports and changes of own tokens that one person may make in a minute, and as many password changes, since each
    /// leaves a permanent row. Admins are exempt.
    limits.own_acts_per_minute: u32 = 30, 1 to 1_000_000 acts;
    /// Open connections, all addresses together; further ones are closed at once. Never more than the limit of open files
    /// allows; `lan-gateway doctor` shows that.
    limits.connections_max: usize = 8192, 1 to 1_000_000 connections;
    /// Open connections per client address; further ones are closed at once. Never more than are still free, so at most half of
    /// `connections_max`.
    limits.connections_per_address_max: usize = 1024, 1 to 1_000_000 connections;
    /// The largest body of a request to a model, in bytes; never more than half of the memory that the next two keys allow for
    /// bodies.
    limits.body_bytes_max: usize = 16777216, 1024 to 1_073_741_824 bytes;
    /// Bytes of request bodies in memory, from their first byte until they were forwarded to a model server; further bodies get
    /// a 503. One user gets half at most, and never more than is left for others.
    limits.bodies_bytes_max: usize = 134217728, 65_536 to 17_179_869_184 bytes;
    /// The same for bodies that arrive before their sender is authenticated: POST /chat without a token, and the gateway's own
    /// routes. One address gets half at most, and never more than is left for others.
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
    /// Requests of one person that may run at once, all model servers together. A smaller number keeps slots free for others
    /// even while no one else waits.
    queue.running_per_user_max: usize = 1024, 1 to 1024 requests;
    /// Requests with images that run at once, all hosts together; others wait.
    queue.image_requests_max: usize = 1, 1 to 1024 requests;
    /// The share of GPU time that requests of class batch get at least while interactive ones wait. They take whatever
    /// those leave.
    queue.batch_share_percent: u32 = 5, 1 to 50 percent;
    /// How long requests for a loaded model may overtake one whose model is not loaded; 0 turns that off.
    queue.affinity_seconds_max: u32 = 10, 0 to 3600 seconds;
    /// Background tasks, such as titles of chats, that a tool with a delegating token may send for one person in any 60 seconds.
    /// They don't count as the person's requests then, and run as class batch; 0 counts them like any other request.
    delegating.tasks_per_minute: u32 = 30, 0 to 1_000_000 requests;
    /// How far back the breaker compares the requests of an API token.
    breaker.breaker_seconds: u32 = 600, 10 to 3600 seconds;
    // A matrix of twenty jobs that send one prompt each, and a probe every minute, are no loop. Whoever asks the same
    // thirty times is slowed so much that the pause comes minutes later: time to stop it oneself.
    /// Equal requests of one token that pass in that time; further ones are slowed. 0 turns that off.
    breaker.repeats_free: usize = 30, 0 to 1000 requests;
    /// Equal requests of one token in that time after which the next one pauses the token. 0 turns that off.
    breaker.repeats_max: usize = 60, 0 to 1000 requests;
    /// Failed requests of one token in a row, in that time, after which it is slowed. 0 turns that off.
    breaker.errors_free: usize = 20, 0 to 1000 requests;
    /// Failed requests of one token in a row, in that time, after which the next one pauses it. 0 turns that off.
    breaker.errors_max: usize = 40, 0 to 1000 requests;
    /// A slowed token may send one request in this time.
    breaker.slowed_seconds: u32 = 10, 1 to 600 seconds;
    // Longer than any client's retries, shorter than people wait whose request was not to blame.
    /// How long a request is refused that ran when a model server crashed; 0 turns that off.
    answers.quarantine_seconds: u32 = 300, 0 to 86_400 seconds;
    /// Model tokens of one answer, for people who have no other limit. A request may ask for fewer, never for more.
    answers.answer_tokens_max: u32 = 8192, 1 to 10_000_000 tokens;
    /// Days after which prompts, answers, images and client addresses are erased for good; 0 keeps them until their person is
    /// deleted. Lowering it erases at once all that is older, and nothing brings that back.
    retention.content_days: u32 = 0, 0 to 36_500 days;
    /// Days after which rows of the record are removed, with what was left of them; 0 keeps them for ever. Sums of usage stay.
    /// Lowering it removes at once all that is older.
    retention.record_days: u32 = 0, 0 to 36_500 days;
    /// After a notice, further ones of its kind wait for so long and are then told together; 0 tells each at once.
    notices.quiet_minutes: u32 = 15, 0 to 1440 minutes;
    /// How long a model server must be away before a notice tells of it, so that a restart is none.
    notices.away_seconds: u32 = 60, 0 to 3600 seconds;
}

/// Two settings of which the first must not exceed the second.
struct Pair {
    name: &'static str,
    most: &'static str,
    kind: Kind,
}

#[derive(PartialEq, Eq)]
enum Kind {
    /// Two thresholds in order: above the second, the first would never be reached.
    Steps,
    /// A limit within a limit: above the outer one, the inner one has no effect.
    Bounds,
}

const fn steps(name: &'static str, most: &'static str) -> Pair {
    Pair { name, most, kind: Kind::Steps }
}

const fn bounds(name: &'static str, most: &'static str) -> Pair {
    Pair { name, most, kind: Kind::Bounds }
}

/// Where 0 turns the second setting off, the first may have any value.
const PAIRS: [Pair; 10] = [
    steps("repeats_free", "repeats_max"),
    steps("errors_free", "errors_max"),
    steps("content_days", "record_days"),
    bounds("requests_per_minute", "requests_per_minute_total"),
    bounds("waiting_per_user_max", "waiting_max"),
    bounds("prompt_bytes_max", "body_bytes_max"),
    bounds("image_bytes_max", "body_bytes_max"),
    bounds("prompt_bytes_max", "waiting_bytes_max"),
    bounds("affinity_seconds_max", "wait_seconds_max"),
    bounds("slowed_seconds", "breaker_seconds"),
];

/// A setting that exceeds what another one allows.
#[derive(Debug)]
pub struct Contradiction {
    pub setting: &'static Setting,
    pub most: &'static Setting,
    pub value: u64,
    pub allowed: u64,
    /// Whether it was configured or changed. Otherwise a default yields, and the other value has effect.
    pub is_said: bool,
    /// Two thresholds: whichever of the two is changed, the other one is wrong then.
    pub is_between_steps: bool,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Contradiction { setting, most, value, allowed, .. } = self;
        write!(f, "`{}` is {value}, more than the {allowed} of `{}`", setting.name, most.name)
    }
}

pub struct Setting {
    pub name: &'static str,
    /// The key in the file: a section and the name.
    pub key: &'static str,
    pub section: &'static str,
    about: &'static str,
    pub unit: &'static str,
    /// The value where neither the file nor an admin sets one.
    pub default: u64,
    default_text: &'static str,
    pub least: u64,
    pub most: u64,
    pub get: fn(&Settings) -> u64,
    set: fn(&mut Settings, u64),
}

impl Setting {
    pub fn named(name: &str) -> Option<&'static Setting> {
        TABLE.iter().find(|setting| setting.name == name)
    }

    /// Returns its description, a sentence or two.
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
    /// Returns the quotas of users who have none of their own. A setting of 0 sets no limit.
    pub fn quotas(&self) -> Quotas {
        let limit = |setting: u32| Some(u64::from(setting)).filter(|limit| *limit > 0);
        Quotas {
            tokens_per_minute: limit(self.tokens_per_minute),
            requests_per_day: limit(self.requests_per_day),
            tokens_per_day: limit(self.tokens_per_day),
            gpu_seconds_per_day: limit(self.gpu_seconds_per_day),
            answer_tokens_max: limit(self.answer_tokens_max),
            context_tokens_max: limit(self.context_tokens_max),
        }
    }

    /// Reads the configured values.
    pub fn read(reader: &mut Reader) -> Settings {
        let mut settings = Settings::BLANK;
        for setting in TABLE {
            let within = number(setting.least, setting.most);
            let value = reader.key(setting.key, setting.default_text, setting.about(), within);
            (setting.set)(&mut settings, value);
            if reader.said(setting.key) {
                settings.said |= bit(setting);
            }
        }
        for contradiction in settings.contradictions() {
            let (key, most) = (contradiction.setting.key, contradiction.most.key);
            let Contradiction { value, allowed, .. } = contradiction;
            match contradiction.is_said {
                true => reader.problem(key, format!("{value} is more than {allowed}, which `{most}` allows")),
                false => reader.note(key, format!("{value} has no effect above the {allowed} of `{most}`")),
            }
        }
        settings
    }

    /// Returns the contradictions. A default yields to a configured value.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let contradiction = |pair: &Pair| {
            let (setting, most) = (Setting::named(pair.name)?, Setting::named(pair.most)?);
            let (value, allowed) = ((setting.get)(self), (most.get)(self));
            let (said, most_said) = (self.said & bit(setting) != 0, self.said & bit(most) != 0);
            let is_between_steps = pair.kind == Kind::Steps;
            let is_said = said && (most_said || is_between_steps);
            // 0 turns a limit off. Defaults that contradict each other, or an admin's lower value, are not a mistake.
            (allowed > 0 && value > allowed && (said || is_between_steps)).then_some(Contradiction {
                setting,
                most,
                value,
                allowed,
                is_said,
                is_between_steps,
            })
        };
        PAIRS.iter().filter_map(contradiction).collect()
    }

    /// Returns these values with overrides. An unknown or invalid one is ignored: another version wrote it.
    pub fn with<'a>(mut self, overrides: impl IntoIterator<Item = (&'a str, u64)>) -> Settings {
        for (name, value) in overrides {
            if let Some(setting) = Setting::named(name).filter(|setting| setting.check(value).is_ok()) {
                (setting.set)(&mut self, value);
                self.said |= bit(setting);
            }
        }
        self
    }
}

/// Returns the bit of a setting in `Settings::said`.
fn bit(setting: &Setting) -> u64 {
    let place = TABLE.iter().position(|other| other.name == setting.name);
    place.and_then(|place| 1u64.checked_shl(place as u32)).unwrap_or(0)
}

impl Default for Settings {
    /// Returns the values without a file.
    fn default() -> Self {
        Settings::read(&mut Reader::new(toml::Table::new(), []))
    }
}

/// The current settings, shared by all who obey them. The store sets them after each commit of a change.
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

    /// Returns the configured values, which apply where nothing was changed.
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
    fn a_setting_of_zero_is_no_quota() {
        let settings = Settings::default().with([("tokens_per_day", 7)]);

        let quotas = settings.quotas();

        assert_eq!((quotas.tokens_per_day, quotas.requests_per_day), (Some(7), None));
        assert_eq!(quotas.answer_tokens_max, Some(u64::from(settings.answer_tokens_max)));
    }

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
    fn each_setting_has_a_bit_of_its_own_and_each_pair_is_of_settings() {
        assert!(TABLE.len() <= 64);
        for (place, setting) in TABLE.iter().enumerate() {
            assert_eq!(bit(setting), 1 << place, "{setting:?}");
        }
        for pair in PAIRS {
            assert!(Setting::named(pair.name).is_some() && Setting::named(pair.most).is_some(), "{}", pair.name);
        }
    }

    fn contradictions(values: &[(&'static str, u64)]) -> Vec<(&'static str, &'static str, bool)> {
        let found = Settings::default().with(values.iter().copied()).contradictions();
        found.iter().map(|found| (found.setting.name, found.most.name, found.is_said)).collect()
    }

    #[test]
    fn the_defaults_contradict_nothing_and_two_values_that_were_said_may() {
        assert_eq!(contradictions(&[]), []);
        for pair in PAIRS {
            let (inner, outer) = (Setting::named(pair.name).unwrap(), Setting::named(pair.most).unwrap());
            let allowed = outer.least.max(inner.least).max(1).max(outer.least);
            let told = |value| contradictions(&[(inner.name, value), (outer.name, allowed)]);
            let found = |told: Vec<(&str, &str, bool)>| told.contains(&(inner.name, outer.name, true));
            assert!(!found(told(allowed)), "{} = {}", inner.name, outer.name);
            assert!(found(told(allowed + 1)), "{} > {}", inner.name, outer.name);
        }
    }

    #[test]
    fn a_default_gives_way_to_what_was_said_except_between_the_steps_of_a_ladder() {
        assert_eq!(contradictions(&[("waiting_max", 2)]), [], "the smaller bound holds, as somebody wanted");
        let no_effect = [("requests_per_minute", "requests_per_minute_total", false)];
        assert_eq!(contradictions(&[("requests_per_minute", 201)]), no_effect);
        assert_eq!(contradictions(&[("requests_per_minute", 200)]), []);
        assert_eq!(contradictions(&[("repeats_free", 61)]), [("repeats_free", "repeats_max", true)]);
        assert_eq!(contradictions(&[("repeats_max", 29)]), [("repeats_free", "repeats_max", false)]);
        assert_eq!(contradictions(&[("repeats_free", 61), ("repeats_max", 0)]), [], "0 turns the pause off");
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
