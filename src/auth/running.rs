//! Who is inside: requests that wait or run, and how each can be ended before its time.
//!
//! A request may stay as long as the access that let it in still stands. It looks for itself, many times a second, at the
//! snapshot of accounts and tokens; so it does not matter who took the access away, nor where. Besides, whoever knows a
//! request's id can end it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auth::Identity;
use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::model::people::People;
use crate::store::Store;

/// How soon an access that ended is felt by a request that runs.
const LOOK: Duration = Duration::from_millis(200);

pub struct Running {
    store: Store,
    inside: Mutex<HashMap<RequestId, Inside>>,
    left: Notify,
}

/// A request that waits or runs, for who looks after them.
#[derive(Debug, Clone)]
pub struct Inside {
    pub request_id: RequestId,
    pub user_id: i64,
    pub token_id: Option<i64>,
    pub model: String,
    pub since: Timestamp,
    cancelled: CancellationToken,
}

/// Why a request is ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The access that it came with has ended, and how.
    AccessEnded(&'static str),
    /// An admin ended this one request.
    Cancelled,
}

impl Cut {
    /// As the record has it.
    pub fn reason(self) -> &'static str {
        match self {
            Cut::AccessEnded(how) => how,
            Cut::Cancelled => "cancelled",
        }
    }

    /// As the client is told.
    pub fn error(self) -> Error {
        match self {
            Cut::AccessEnded(_) => Error::bad_token("the access that this request came with has ended"),
            Cut::Cancelled => Error::forbidden("an admin ended this request"),
        }
    }
}

/// A place inside, left by its drop.
pub struct Run {
    running: Arc<Running>,
    request_id: RequestId,
    who: Identity,
    cancelled: CancellationToken,
}

impl Running {
    pub fn new(store: Store) -> Arc<Self> {
        Arc::new(Running { store, inside: Mutex::default(), left: Notify::new() })
    }

    /// Goes inside, if the access still stands: it was shown before the body was read, which may take a while.
    pub fn enter(self: &Arc<Self>, request_id: RequestId, who: &Identity, model: &str) -> Result<Run, Error> {
        let cancelled = CancellationToken::new();
        let inside = Inside {
            request_id,
            user_id: who.user_id(),
            token_id: who.token_id(),
            model: model.to_owned(),
            since: Timestamp::now(),
            cancelled: cancelled.clone(),
        };
        // First inside, then the look: whoever takes the access away and waits for those inside misses nobody.
        self.lock().insert(request_id, inside);
        let run = Run { running: self.clone(), request_id, who: who.clone(), cancelled };
        match run.access_ended() {
            None => Ok(run),
            Some(how) => Err(Cut::AccessEnded(how).error()),
        }
    }

    pub fn find(&self, request_id: RequestId) -> Option<Inside> {
        self.lock().get(&request_id).cloned()
    }

    /// Ends one request, if it is inside.
    pub fn cancel(&self, request_id: RequestId) {
        if let Some(inside) = self.find(request_id) {
            inside.cancelled.cancel();
        }
    }

    pub fn has(&self, user_id: i64) -> bool {
        self.lock().values().any(|inside| inside.user_id == user_id)
    }

    /// Waits until nobody with this account is inside, and their results are handed over; `false`: somebody still is.
    pub async fn drained(&self, user_id: i64, most: Duration) -> bool {
        let gone = async {
            loop {
                let left = self.left.notified();
                tokio::pin!(left);
                left.as_mut().enable();
                if !self.has(user_id) {
                    return;
                }
                left.await;
            }
        };
        tokio::time::timeout(most, gone).await.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Inside>> {
        self.inside.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Run {
    /// Resolves when the request must end before its time.
    pub async fn cut(&self) -> Cut {
        loop {
            if let Some(how) = self.access_ended() {
                return Cut::AccessEnded(how);
            }
            tokio::select! {
                () = self.cancelled.cancelled() => return Cut::Cancelled,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn access_ended(&self) -> Option<&'static str> {
        access_ended(&self.who, &self.running.store.people(), Timestamp::now())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.running.lock().remove(&self.request_id);
        self.running.left.notify_waiters();
    }
}

/// How the access that `who` had shown has ended since; `None`: it still stands.
fn access_ended(who: &Identity, people: &People, now: Timestamp) -> Option<&'static str> {
    let Some(user) = people.by_id(who.user_id()) else { return Some("account_deleted") };
    if !user.is_active() {
        return Some("account_disabled");
    }
    if user.must_change {
        return Some("password_reset");
    }
    let Some(shown) = who.token() else {
        return (user.version != who.user().version).then_some("password_changed");
    };
    // Its expiry may have been moved since it was shown.
    let token = people.token(&shown.public_id);
    if token.map_or(shown, |token| token).has_expired(now) {
        return Some("token_expired");
    }
    match token {
        None => Some("token_revoked"),
        Some(token) if token.revoked_at_us.is_some() => Some("token_revoked"),
        Some(token) if token.paused.is_some() => Some("token_paused"),
        Some(token) if token.suspended_at_us.is_some() => Some("token_suspended"),
        Some(_) => None,
    }
}
