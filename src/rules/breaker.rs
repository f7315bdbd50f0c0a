//! Circuit breaker for runaway tokens: slows them first, then pauses them until they are resumed.
//!
//! A loop that never ends, or a pipeline that fails and retries for ever, looks like ordinary work. Limits and the fair queue
//! bound its cost for others; the breaker ends it. Only tokens are watched: a token belongs to one machine, while pausing a
//! person's sign-in would stop everything they do, and signing in again makes a new JWT at once. Behind a delegating token, each
//! person is watched apart, and is slowed but not paused.
//!
//! A slowed token gets 429 with `Retry-After` instead of a longer wait in the queue: that takes no place and no connection, and
//! SDKs obey it. A paused one gets 403, which SDKs don't retry; the pause is kept in the store. Requests are compared by a
//! digest under a key of this process (SipHash: 64 bits, fast enough for images); no text is kept. The thresholds are settings;
//! `breaker/core.rs` decides.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::auth::Identity;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, retry_after_seconds};
use crate::base::ids::RequestId;
use crate::config::settings::{Live, Settings};
use crate::model::runaway::{Runaway, RunawayEvidence};
use crate::model::token::Token;
use crate::store::Store;

mod core;

use self::core::{BreakerCore, Digest, SentRequest, SlowedSince, Thresholds, Verdict, WatchedSender};

pub struct Breaker {
    core: Mutex<BreakerCore>,
    store: Store,
    settings: Live,
    key: RandomState,
    epoch: Instant,
    /// Tokens that were paused for repeats, and for errors.
    trips: [AtomicU64; 2],
}

/// A token that is slowed.
#[derive(Debug, Clone, Copy)]
pub struct Slowed {
    pub token_id: i64,
    /// The person whose requests these are; `None`: the token's owner.
    pub person_id: Option<i64>,
    pub way: Runaway,
    pub since: Timestamp,
    pub seen: RunawayEvidence,
}

impl Breaker {
    pub fn new(store: Store) -> Arc<Self> {
        let settings = store.settings().clone();
        let (core, trips) = (Mutex::default(), Default::default());
        Arc::new(Breaker { core, store, settings, key: RandomState::new(), epoch: Instant::now(), trips })
    }

    /// Admits a request whose content is not known yet, unless the ones before it failed too often.
    pub async fn arrives(self: &Arc<Self>, who: &Identity) -> Result<(), Error> {
        let Some(token) = who.token() else { return Ok(()) };
        let settings = self.settings.now();
        let verdict = self.lock().arrives(watched(who, token), &Thresholds::of(&settings), self.epoch.elapsed());
        self.judge(verdict, token, Runaway::Errors, &settings).await
    }

    /// Admits a request to a model, unless it is repeated too often. `content` is everything that makes it the same request.
    pub async fn sends(self: &Arc<Self>, who: &Identity, id: RequestId, content: &[u8]) -> Result<Passed, Error> {
        let Some(token) = who.token() else { return Ok(Passed { watched: None, went: Cell::new(false) }) };
        let settings = self.settings.now();
        let digest = Digest(self.key.hash_one(content));
        let (verdict, sent) = {
            // The time is read under the lock, so the times of a token's requests are in order.
            let mut core = self.lock();
            let sent = SentRequest { id, digest, at: self.epoch.elapsed() };
            (core.sends(watched(who, token), sent, &Thresholds::of(&settings)), sent)
        };
        self.judge(verdict, token, Runaway::Repeats, &settings).await?;
        let watched = Watched { breaker: self.clone(), sender: watched(who, token), sent };
        Ok(Passed { watched: Some(watched), went: Cell::new(false) })
    }

    /// Records that a request was refused before it reached a model.
    pub fn refused(&self, who: &Identity, error: &Error) {
        if let Some(token) = who.token()
            && is_its_own_fault(error)
        {
            self.lock().failed(watched(who, token), None, self.epoch.elapsed());
        }
    }

    /// Returns the tokens that are slowed now; paused ones are in the store.
    pub fn slowed(&self) -> Vec<Slowed> {
        let (now, steady) = (Timestamp::now(), self.epoch.elapsed());
        let settings = self.settings.now();
        let slowed = self.lock().slowed(&Thresholds::of(&settings), steady);
        let since = |at: Duration| Timestamp(now.0 - steady.saturating_sub(at).as_micros() as i64);
        let shown = |one: &SlowedSince| {
            let seen =
                RunawayEvidence { count: one.count, window_seconds: settings.breaker_seconds, example: one.example };
            Slowed {
                token_id: one.sender.token,
                person_id: one.sender.person,
                way: one.way,
                since: since(one.since),
                seen,
            }
        };
        slowed.iter().map(shown).collect()
    }

    /// Returns how many tokens were paused since the start, by the way in which they ran away.
    pub fn trips(&self) -> [(&'static str, u64); 2] {
        let [repeats, errors] = &self.trips;
        [(Runaway::Repeats, repeats), (Runaway::Errors, errors)]
            .map(|(way, trips)| (way.name(), trips.load(Ordering::Relaxed)))
    }

    async fn judge(
        self: &Arc<Self>,
        verdict: Verdict,
        token: &Token,
        way: Runaway,
        settings: &Settings,
    ) -> Result<(), Error> {
        match verdict {
            Verdict::Passes => Ok(()),
            Verdict::Slowed { retry_after, count } => {
                Err(Error::TokenSlowed { message: slowed(token, way, count, settings, retry_after), retry_after })
            }
            Verdict::RanAway { count } => {
                let example = self.lock().example(token.id, way);
                let seen = RunawayEvidence { count, window_seconds: settings.breaker_seconds, example };
                let pausing = self.clone().pause(token.id, token.public_id.clone(), way, seen);
                // A task of its own, because the request's handler is dropped at an await when its client leaves. The pause
                // would then be written but not forgotten here, and the first request after a resume would pause the token
                // again.
                tokio::spawn(pausing).await.map_err(Error::internal)??;
                Err(token.paused_error(way))
            }
        }
    }

    /// Pauses a token in the store and forgets its requests, so that it starts afresh when it is resumed.
    async fn pause(
        self: Arc<Self>,
        token_id: i64,
        public_id: String,
        way: Runaway,
        seen: RunawayEvidence,
    ) -> Result<(), Error> {
        self.store.pause_token(token_id, way, seen).await?;
        self.lock().begins_anew(token_id);
        let [repeats, errors] = &self.trips;
        let trips = if way == Runaway::Repeats { repeats } else { errors };
        trips.fetch_add(1, Ordering::Relaxed);
        warn!(token.id = public_id, way = way.name(), count = seen.count, "paused a token that ran away");
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BreakerCore> {
        self.core.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Returns with whose requests those of `who` are compared.
fn watched(who: &Identity, token: &Token) -> WatchedSender {
    WatchedSender { token: token.id, person: who.via_user_id().map(|_| who.user_id()) }
}

fn slowed(token: &Token, way: Runaway, count: usize, settings: &Settings, retry_after: Duration) -> String {
    let breaker_seconds = settings.breaker_seconds;
    let did = match way {
        Runaway::Repeats => format!("sent the same request {count} times in {breaker_seconds} s"),
        Runaway::Errors => format!("had {count} requests fail, one after the other"),
    };
    format!(
        "the token `{}` {did}; try again in {} s, or find out what repeats it",
        token.name,
        retry_after_seconds(retry_after)
    )
}

/// Returns whether the same request would fail again whenever it is sent. A temporary lack of the gateway or of an upstream is
/// not the sender's fault, and a client may retry when its answer says so.
fn is_its_own_fault(error: &Error) -> bool {
    match error {
        Error::Invalid { .. }
        | Error::Unsupported { .. }
        | Error::ContextTooLong { .. }
        | Error::Forbidden { .. }
        | Error::ModelNotFound { .. }
        | Error::NotFound { .. }
        | Error::UnknownRoute { .. }
        | Error::MethodNotAllowed { .. }
        | Error::Conflict { .. }
        | Error::TooLarge { .. }
        | Error::EncodedBody { .. }
        | Error::Misdirected { .. }
        | Error::Quarantined { .. }
        // The upstream answered with an error: it can't run this request, and each try costs it work.
        | Error::UpstreamRefused { .. }
        | Error::UpstreamDied { .. } => true,
        Error::Unauthenticated { .. }
        | Error::TokenPaused { .. }
        | Error::TokenSlowed { .. }
        | Error::RateLimited { .. }
        | Error::QuotaUsedUp { .. }
        | Error::QueueFull { .. }
        | Error::HostBusy { .. }
        | Error::AuditUnavailable { .. }
        | Error::DiskFull
        | Error::Unavailable { .. }
        | Error::UpstreamDown { .. }
        | Error::Timeout { .. }
        | Error::Internal { .. } => false,
    }
}

/// An admitted request, watched to its end. Dropped before it reaches a model, it does not count.
pub struct Passed {
    watched: Option<Watched>,
    went: Cell<bool>,
}

struct Watched {
    breaker: Arc<Breaker>,
    sender: WatchedSender,
    sent: SentRequest,
}

impl Passed {
    /// Its turn has come. From now on it counts, also when its sender disconnects: a client that times out and retries keeps
    /// the model busy for nothing.
    pub fn goes(&self) {
        self.went.set(true);
    }

    pub fn answered(&self) {
        if let Some(watched) = &self.watched {
            watched.breaker.lock().answered(watched.sender);
        }
    }

    pub fn failed(&self, error: &Error) {
        let Some(Watched { breaker, sender, sent }) = &self.watched else { return };
        if is_its_own_fault(error) {
            breaker.lock().failed(*sender, Some(sent.id), breaker.epoch.elapsed());
        } else {
            self.went.set(false);
        }
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        if let Some(Watched { breaker, sender, sent }) = &self.watched
            && !self.went.get()
        {
            breaker.lock().takes_back(*sender, *sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;
    use crate::model::people::Actor;
    use crate::store::tokens::NewToken;

    async fn token(store: &Store) -> Arc<Token> {
        store.create_first_admin("x".into()).await.unwrap();
        let admin = store.people().by_name("admin").unwrap().clone();
        store.change_password(admin.id, "x".into(), "y".into()).await.unwrap();
        store.create_token(Actor(Some(admin.id)), &admin.public_id, NewToken::for_test(), 10).await.unwrap();
        store.people().token("0123456789").unwrap().clone()
    }

    #[tokio::test]
    async fn a_pause_whose_sender_leaves_at_once_is_written_and_forgotten_here() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Live::new(Settings::default())).unwrap();
        let (breaker, token) = (Breaker::new(store.clone()), token(&store).await);
        let settings = Settings::default();
        for _ in 0..settings.errors_max {
            breaker.lock().failed(token.id, None, breaker.epoch.elapsed());
        }
        let arrives = || breaker.lock().arrives(token.id, &Thresholds::of(&settings), breaker.epoch.elapsed());
        let verdict = arrives();
        assert_eq!(verdict, Verdict::RanAway { count: settings.errors_max });

        let mut judged = Box::pin(breaker.judge(verdict, &token, Runaway::Errors, &settings));
        assert!(futures_util::poll!(&mut judged).is_pending());
        drop(judged);

        let paused = async {
            while arrives() != Verdict::Passes {
                tokio::time::sleep(Duration::from_millis(5)).await
            }
        };
        tokio::time::timeout(Duration::from_secs(30), paused).await.expect("what was seen is forgotten");
        assert_eq!(store.people().token("0123456789").unwrap().paused, Some(Runaway::Errors));
    }
}
