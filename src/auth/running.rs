//! Requests that wait or run, and how each can be ended early.
//!
//! A request may go on as long as its access is valid. It checks the snapshot of accounts and tokens itself, several times a
//! second, so it doesn't matter who ended the access, or where. It can also be cancelled by its id.

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
use crate::model::record::{AccessEnd, CANCELLED};
use crate::store::Store;

/// Interval at which a running request checks its access.
const LOOK: Duration = Duration::from_millis(200);

pub struct Running {
    store: Store,
    inside: Mutex<HashMap<RequestId, Inside>>,
    left: Notify,
}

/// A request that waits or runs, as others see it.
#[derive(Debug, Clone)]
pub struct Inside {
    pub request_id: RequestId,
    pub user_id: i64,
    pub token_id: Option<i64>,
    pub model: String,
    pub since: Timestamp,
    cancelled: CancellationToken,
}

/// Why a request is ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    AccessEnded(AccessEnd),
    /// An admin cancelled this request.
    Cancelled,
}

impl Cut {
    /// Returns the reason for the record.
    pub fn reason(self) -> &'static str {
        match self {
            Cut::AccessEnded(how) => how.name(),
            Cut::Cancelled => CANCELLED,
        }
    }

    /// Returns the error for the client.
    pub fn error(self) -> Error {
        match self {
            Cut::AccessEnded(_) => Error::bad_token("the access that this request came with has ended"),
            Cut::Cancelled => Error::forbidden("an admin ended this request"),
        }
    }
}

/// A registered request. Dropping it removes the registration.
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

    /// Registers a request if its access is still valid: it was verified before the body was read, which may take a while.
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
        // Registers first and checks then, so that an access that ends in between is noticed by one side.
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

    /// Cancels one request if it is registered.
    pub fn cancel(&self, request_id: RequestId) {
        if let Some(inside) = self.find(request_id) {
            inside.cancelled.cancel();
        }
    }

    pub fn has(&self, user_id: i64) -> bool {
        self.lock().values().any(|inside| inside.user_id == user_id)
    }

    /// Waits until no request of this account is registered and their results are handed over; returns `false` when the time is
    /// up first.
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
    /// Resolves when the request must be ended early.
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

    fn access_ended(&self) -> Option<AccessEnd> {
        access_ended(&self.who, &self.running.store.people(), Timestamp::now())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.running.lock().remove(&self.request_id);
        self.running.left.notify_waiters();
    }
}

/// Returns how the access of `who` has ended since it was verified; `None` while it is valid.
fn access_ended(who: &Identity, people: &People, now: Timestamp) -> Option<AccessEnd> {
    let Some(user) = people.by_id(who.user_id()) else { return Some(AccessEnd::AccountDeleted) };
    if !user.is_active() {
        return Some(AccessEnd::AccountDisabled);
    }
    if user.must_change {
        return Some(AccessEnd::PasswordReset);
    }
    if let Some(owner) = who.via_user_id()
        && people.by_id(owner).is_some_and(|owner| !owner.is_admin())
    {
        return Some(AccessEnd::DelegationEnded);
    }
    let Some(shown) = who.token() else {
        return (user.version != who.user().version).then_some(AccessEnd::PasswordChanged);
    };
    // The expiry of a token may have been moved meanwhile.
    let token = people.token(&shown.public_id);
    if token.map_or(shown, |token| token).has_expired(now) {
        return Some(AccessEnd::TokenExpired);
    }
    match token {
        None => Some(AccessEnd::TokenRevoked),
        Some(token) if token.revoked_at_us.is_some() => Some(AccessEnd::TokenRevoked),
        Some(token) if token.paused.is_some() => Some(AccessEnd::TokenPaused),
        Some(token) if token.suspended_at_us.is_some() => Some(AccessEnd::TokenSuspended),
        Some(_) => None,
    }
}
