//! Sessions of the pages: an opaque id in a cookie, of which only the SHA-256 is kept.
//!
//! A session ends after a time without a page, after a longest time, with a new password or a reset, and with the account. What
//! it opens is looked up in the snapshot of accounts at each request. It never opens the API, and a JWT never opens a page.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest;

use crate::auth::Identity;
use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::secret::{Secret, random_bytes};
use crate::config;
use crate::model::people::{User, UserStatus};
use crate::store::Store;
use crate::store::sessions::{SessionKey, SessionRow};

/// How long a password that was given again stands for the acts that ask for it.
const PROOF_LIFETIME: Duration = Duration::from_secs(300);

/// Wrong passwords, given again in a session, that end it.
const WRONG_MAX: u32 = 3;

/// A use is written to the disk when the one there is older.
const SEEN_STEP: Duration = Duration::from_secs(60);

/// What a session keeps for its next page has at most so many entries.
const KEPT_MAX: usize = 16;

const BROWSER_CHARS_MAX: usize = 200;

/// What a session opens now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStanding {
    /// Everything that the account may.
    Open,
    /// Only the change of the password.
    MustChange,
    /// Only the page that says to wait for approval.
    Waiting,
}

/// A session in memory.
pub struct Session {
    key: SessionKey,
    user_id: i64,
    version: i64,
    created_at: Timestamp,
    address: Option<String>,
    browser: Option<String>,
    /// Time of the sign-in. It is monotonic, so setting the host's clock back prolongs nothing.
    began: Instant,
    times: Mutex<Times>,
    wrong: AtomicU32,
    signed_out: AtomicBool,
    /// The field that each form of the session carries. It stays when the id is renewed, so that forms in other tabs do, too.
    form_token: Arc<str>,
    /// For the next page: what was just done, or a secret that is shown once.
    kept: Mutex<HashMap<String, Secret<String>>>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    seen: Instant,
    /// Time of the last use that was written to the disk.
    written: Instant,
    /// When the password was given last.
    proven: Option<Instant>,
}

/// A session as its owner sees it.
#[derive(Debug, Clone)]
pub struct SessionEntry {
    /// Names it among the owner's; opens nothing.
    pub handle: String,
    pub created_at: Timestamp,
    pub seen: Duration,
    pub address: Option<String>,
    pub browser: Option<String>,
}

/// A session and its account, as of this request.
#[derive(Clone)]
pub struct OpenSession {
    session: Arc<Session>,
    user: Arc<User>,
    standing: SessionStanding,
}

/// The id of a session, for the cookie alone.
pub type SessionId = Secret<String>;

pub struct Sessions {
    store: Store,
    idle_max: Duration,
    lifetime: Duration,
    per_user_max: usize,
    live: Mutex<HashMap<SessionKey, Arc<Session>>>,
}

impl OpenSession {
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    pub fn standing(&self) -> SessionStanding {
        self.standing
    }

    /// Returns the identity of the person, unless the session is restricted.
    pub fn identity(&self) -> Option<Identity> {
        (self.standing == SessionStanding::Open).then(|| Identity::of_session(self.user.clone()))
    }

    pub fn form_token(&self) -> &str {
        &self.session.form_token
    }

    /// Returns whether a form carries the session's field. Digests are compared, so that the time tells nothing of it.
    pub fn sent(&self, field: &str) -> bool {
        key_of(field) == key_of(&self.session.form_token)
    }

    pub fn handle(&self) -> String {
        self.session.handle()
    }

    /// Whether the password was given within the last five minutes.
    pub fn is_proven(&self) -> bool {
        self.session.times().proven.is_some_and(|proven| proven.elapsed() < PROOF_LIFETIME)
    }

    /// Keeps a text for a later page. It is gone with the session, and with the process.
    pub fn keep(&self, name: &str, text: String) {
        let mut kept = lock(&self.session.kept);
        if kept.len() < KEPT_MAX || kept.contains_key(name) {
            kept.insert(name.to_owned(), Secret::new(text));
        }
    }

    /// Returns what was kept under `name`, and forgets it.
    pub fn take(&self, name: &str) -> Option<Secret<String>> {
        lock(&self.session.kept).remove(name)
    }
}

impl Session {
    fn times(&self) -> MutexGuard<'_, Times> {
        lock(&self.times)
    }

    fn handle(&self) -> String {
        self.key[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns what the session opens for `user`; `None`: it has ended.
    fn standing(&self, user: &User) -> Option<SessionStanding> {
        if user.id != self.user_id || user.version != self.version || self.signed_out.load(Ordering::Relaxed) {
            return None;
        }
        match user.status {
            UserStatus::Pending => Some(SessionStanding::Waiting),
            UserStatus::Active if user.must_change => {
                (!user.reset_is_over(Timestamp::now())).then_some(SessionStanding::MustChange)
            }
            UserStatus::Active => Some(SessionStanding::Open),
            UserStatus::Disabled | UserStatus::Deleted => None,
        }
    }

    fn row(&self) -> SessionRow {
        SessionRow {
            id_sha256: self.key.to_vec(),
            user_id: self.user_id,
            version: self.version,
            created_at_us: self.created_at.0,
            seen_at_us: Timestamp::now().0,
            address: self.address.clone(),
            browser: self.browser.clone(),
        }
    }
}

impl Sessions {
    pub fn new(store: Store, config: &config::AccountsSection) -> Self {
        Sessions {
            store,
            idle_max: config.session_idle_max,
            lifetime: config.session_lifetime,
            per_user_max: config.sessions_per_user_max,
            live: Mutex::default(),
        }
    }

    /// Takes over the sessions of the last process.
    pub async fn load(&self) -> Result<(), Error> {
        let rows = self.store.sessions().await?;
        let (now, instant) = (Timestamp::now(), Instant::now());
        let mut live = lock(&self.live);
        for row in rows {
            let ago = |at_us: i64| instant.checked_sub(Duration::from_micros(u64::try_from(now.0 - at_us).ok()?));
            let (Ok(key), Some(began), Some(seen)) =
                (SessionKey::try_from(row.id_sha256.as_slice()), ago(row.created_at_us), ago(row.seen_at_us))
            else {
                // From a time that lies ahead: the clock was set back. It is swept.
                continue;
            };
            let session = Session {
                key,
                user_id: row.user_id,
                version: row.version,
                created_at: Timestamp(row.created_at_us),
                address: row.address,
                browser: row.browser,
                began,
                times: Mutex::new(Times { seen, written: seen, proven: None }),
                wrong: AtomicU32::new(0),
                signed_out: AtomicBool::new(false),
                form_token: fresh_token().into(),
                kept: Mutex::default(),
            };
            live.insert(key, Arc::new(session));
        }
        Ok(())
    }

    /// Returns the session with this id, if it has not ended.
    pub fn find(&self, id: &str) -> Option<OpenSession> {
        let session = lock(&self.live).get(&key_of(id)).cloned()?;
        let user = self.store.people().by_id(session.user_id).cloned()?;
        let standing = session.standing(&user)?;
        if self.is_over(&session, standing) {
            return None;
        }
        Some(OpenSession { session, user, standing })
    }

    fn is_over(&self, session: &Session, standing: SessionStanding) -> bool {
        // One with a reset password lasts as long as that one may be used, since it may be used for one session alone.
        let is_idle = standing != SessionStanding::MustChange && session.times().seen.elapsed() >= self.idle_max;
        is_idle || session.began.elapsed() >= self.lifetime
    }

    /// Notes that a page was asked for. Live parts of pages don't count.
    pub fn touch(&self, open: &OpenSession) {
        let now = Instant::now();
        let mut times = open.session.times();
        times.seen = now;
        if now.duration_since(times.written) >= SEEN_STEP {
            times.written = now;
            self.store.note_session_use(open.session.key, Timestamp::now());
        }
    }

    /// Opens a session of a user whose password was just verified. With too many of one user, their oldest ends.
    pub(in crate::auth) async fn open(
        &self,
        user: &User,
        address: Option<String>,
        browser: Option<&str>,
    ) -> Result<SessionId, Error> {
        let id = fresh_id();
        let now = Instant::now();
        let session = Session {
            key: key_of(id.expose()),
            user_id: user.id,
            version: user.version,
            created_at: Timestamp::now(),
            address,
            browser: browser.map(|browser| browser.chars().take(BROWSER_CHARS_MAX).collect()),
            began: now,
            times: Mutex::new(Times { seen: now, written: now, proven: Some(now) }),
            wrong: AtomicU32::new(0),
            signed_out: AtomicBool::new(false),
            form_token: fresh_token().into(),
            kept: Mutex::default(),
        };
        let (key, row) = (session.key, session.row());
        let mut surplus = Vec::new();
        {
            // Before it is on the disk: the sweep removes from there what isn't here.
            let mut live = lock(&self.live);
            live.insert(key, Arc::new(session));
            let mut own: Vec<_> = live.values().filter(|session| session.user_id == user.id).cloned().collect();
            own.sort_by_key(|session| std::cmp::Reverse(session.began));
            for session in own.iter().skip(self.per_user_max) {
                live.remove(&session.key);
                surplus.push(session.key);
            }
        }
        if let Err(error) = self.store.open_session(row, None).await {
            lock(&self.live).remove(&key);
            return Err(error);
        }
        self.store.close_sessions(surplus).await?;
        Ok(id)
    }

    /// Returns whether the reset password that `user` has now was used for a session before.
    pub(in crate::auth) fn reset_was_used(&self, user: &User) -> bool {
        let is_reset = user.must_change && user.reset_until_us.is_some();
        let of_it = |session: &Arc<Session>| session.user_id == user.id && session.version == user.version;
        is_reset && lock(&self.live).values().any(of_it)
    }

    /// Gives a session a new id, after its password was given again.
    pub(in crate::auth) async fn renew(&self, open: &OpenSession) -> Result<SessionId, Error> {
        let id = fresh_id();
        let old = &open.session;
        let now = Instant::now();
        let kept = std::mem::take(&mut *lock(&old.kept));
        let session = Session {
            key: key_of(id.expose()),
            user_id: old.user_id,
            version: old.version,
            created_at: old.created_at,
            address: old.address.clone(),
            browser: old.browser.clone(),
            began: old.began,
            times: Mutex::new(Times { seen: now, written: now, proven: Some(now) }),
            wrong: AtomicU32::new(0),
            signed_out: AtomicBool::new(false),
            form_token: old.form_token.clone(),
            kept: Mutex::new(kept),
        };
        let row = session.row();
        {
            let mut live = lock(&self.live);
            live.remove(&old.key);
            live.insert(session.key, Arc::new(session));
        }
        self.store.open_session(row, Some(old.key)).await?;
        Ok(id)
    }

    /// Counts a wrong password that was given again; returns whether it was one too many.
    pub(in crate::auth) fn was_wrong(&self, open: &OpenSession) -> bool {
        open.session.wrong.fetch_add(1, Ordering::Relaxed) + 1 >= WRONG_MAX
    }

    /// Ends a session.
    pub async fn sign_out(&self, open: &OpenSession) -> Result<(), Error> {
        open.session.signed_out.store(true, Ordering::Relaxed);
        // One with a reset password stays known until it is swept: the password is good for one session.
        if open.standing != SessionStanding::MustChange {
            lock(&self.live).remove(&open.session.key);
        }
        self.store.close_sessions(vec![open.session.key]).await
    }

    /// Returns the open sessions of a user, the one used last first.
    pub fn of(&self, user: &User) -> Vec<SessionEntry> {
        let sessions: Vec<_> =
            lock(&self.live).values().filter(|session| session.user_id == user.id).cloned().collect();
        let open = sessions
            .into_iter()
            .filter(|session| session.standing(user).is_some_and(|standing| !self.is_over(session, standing)));
        let mut entries: Vec<_> = open
            .map(|session| SessionEntry {
                handle: session.handle(),
                created_at: session.created_at,
                seen: session.times().seen.elapsed(),
                address: session.address.clone(),
                browser: session.browser.clone(),
            })
            .collect();
        entries.sort_by_key(|entry| entry.seen);
        entries
    }

    /// Ends the sessions of a user that `ends` names by their handles.
    pub async fn end_some(&self, user: &User, ends: impl Fn(&str) -> bool) -> Result<usize, Error> {
        let mut ended = Vec::new();
        lock(&self.live).retain(|key, session| {
            let stays = session.user_id != user.id || !ends(&session.handle());
            if !stays {
                session.signed_out.store(true, Ordering::Relaxed);
                ended.push(*key);
            }
            stays
        });
        let count = ended.len();
        self.store.close_sessions(ended).await?;
        Ok(count)
    }

    /// Removes sessions that have ended, from memory and from the disk.
    pub async fn sweep(&self) -> Result<(), Error> {
        let people = self.store.people();
        lock(&self.live).retain(|_, session| {
            let user = people.by_id(session.user_id);
            let is_of_reset = user.is_some_and(|user| user.version == session.version && user.must_change);
            let standing = user.and_then(|user| session.standing(user));
            is_of_reset || standing.is_some_and(|standing| !self.is_over(session, standing))
        });
        let written = self.store.sessions().await?;
        let gone = {
            let live = lock(&self.live);
            let keys = written.iter().filter_map(|row| SessionKey::try_from(row.id_sha256.as_slice()).ok());
            keys.filter(|key| !live.contains_key(key)).collect()
        };
        self.store.close_sessions(gone).await
    }
}

fn fresh_id() -> SessionId {
    Secret::new(fresh_token())
}

fn fresh_token() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

fn key_of(id: &str) -> SessionKey {
    let mut key = [0; 32];
    key.copy_from_slice(digest::digest(&digest::SHA256, id.as_bytes()).as_ref());
    key
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests;
