//! Notices by webhook and mail: the channels that admins set up, and how one notice is delivered.
//!
//! `told` decides when something is told, `outbox` when it is tried, `words` says it. `serve/notices` looks at the states and
//! runs the tries, so that nothing of this is in the way of a request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{Mutex, watch};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::sealing::MasterKey;
use crate::config::NoticesSection;
use crate::host::machine::host_name;
use crate::model::notice::{ChannelKind, ChannelWay, LastDelivery, Notice, NoticeChannel, NoticeKind};
use crate::model::people::Actor;
use crate::store::Store;
use crate::store::notices::NewNoticeChannel;
use crate::upstream::mail::{self, MailServer, PlainMail};
use crate::upstream::reach::{NoticeBounds, Undelivered};
use crate::upstream::webhook::{self, WebhookKey, WebhookUrl};

pub mod outbox;
pub mod told;
mod wish;
pub mod words;

use wish::Sealer;
pub use wish::{NoticeChannelEdit, NoticeChannelWish};

/// Length limit of a failure that is kept.
const FAILURE_CHARS_MAX: usize = 500;

/// The channels, and what leaves by them.
pub struct Notices {
    store: Store,
    bounds: NoticesSection,
    key: Arc<MasterKey>,
    /// In memory, so that notices leave while the database can't be read.
    channels: RwLock<Arc<Vec<NoticeChannel>>>,
    /// One change of the channels at a time is read back.
    reading: Mutex<()>,
    /// One test at a time: each takes a connection and some seconds.
    testing: Mutex<()>,
    /// Where links lead, once it is known what is listened on.
    served_at: OnceLock<String>,
    /// Whether notices are on their way.
    busy: watch::Sender<bool>,
    counts: NoticeCounts,
}

/// How many notices ended in which way since the start; each channel counts.
#[derive(Default)]
pub struct NoticeCounts {
    pub delivered: AtomicU64,
    pub failed: AtomicU64,
    pub dropped: AtomicU64,
}

impl NoticeCounts {
    /// Returns the counts by the words that metrics have.
    pub fn by_result(&self) -> [(&'static str, u64); 3] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [("delivered", count(&self.delivered)), ("failed", count(&self.failed)), ("dropped", count(&self.dropped))]
    }
}

impl Notices {
    pub async fn open(store: Store, bounds: NoticesSection, key: MasterKey) -> Result<Notices, Error> {
        let channels = store.notice_channels().await?;
        Ok(Notices {
            store,
            bounds,
            key: Arc::new(key),
            channels: RwLock::new(Arc::new(channels)),
            reading: Mutex::default(),
            testing: Mutex::default(),
            served_at: OnceLock::new(),
            busy: watch::Sender::new(false),
            counts: NoticeCounts::default(),
        })
    }

    pub fn bounds(&self) -> &NoticesSection {
        &self.bounds
    }

    pub fn counts(&self) -> &NoticeCounts {
        &self.counts
    }

    /// Sets whether notices are on their way.
    pub fn is_busy(&self, is_busy: bool) {
        self.busy.send_if_modified(|busy| std::mem::replace(busy, is_busy) != is_busy);
    }

    /// Returns when no notice is on its way.
    pub async fn idle(&self) {
        // The sender is here, so it can't fail.
        let _ = self.busy.subscribe().wait_for(|busy| !busy).await;
    }

    /// Sets where links lead, unless the configuration says it. Only the first call counts.
    pub fn served_at(&self, url: String) {
        let _ = self.served_at.set(url);
    }

    /// Returns the channels in the order in which they were made.
    pub fn channels(&self) -> Arc<Vec<NoticeChannel>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn channel(&self, public_id: &str) -> Result<NoticeChannel, Error> {
        let found = self.channels().iter().find(|channel| channel.public_id == public_id).cloned();
        found.ok_or_else(|| Error::NotFound { what: "such notice channel".into() })
    }

    /// Returns whether some channel gets notices of a kind.
    pub fn is_wanted(&self, kind: NoticeKind) -> bool {
        self.channels().iter().any(|channel| channel.is_on && channel.kinds.contains(&kind))
    }

    /// Returns whether the secrets of a channel can be opened. In a database that was restored without its key they can't.
    pub fn opens(&self, channel: &NoticeChannel) -> bool {
        Sealer::new(&self.key, &channel.public_id).opens(&channel.way)
    }

    /// Adds a channel.
    pub async fn add(&self, by: Actor, wish: NoticeChannelWish) -> Result<NoticeChannel, Error> {
        let kind = ChannelKind::parse(&wish.kind)?;
        let new = NewNoticeChannel {
            name: wish::name(&wish.name)?,
            is_on: wish.on.unwrap_or(true),
            kinds: wish.notices.as_deref().map_or(Ok(NoticeKind::ALL.to_vec()), wish::kinds)?,
        };
        let edit = NoticeChannelEdit::from(wish);
        // Checked once before the transaction, and sealed in it for the id of the channel.
        wish::way(wish::blank(kind), &edit, &Sealer::new(&self.key, ""))?;
        let key = self.key.clone();
        let sealed = move |public_id: &str| {
            let sealer = Sealer::new(&key, public_id);
            wish::way(wish::blank(kind), &edit, &sealer).unwrap_or_else(|_| wish::blank(kind))
        };
        let channel = self.store.add_notice_channel(by, new, self.bounds.channels_max, sealed).await?;
        self.read_back().await?;
        Ok(channel)
    }

    /// Changes a channel.
    pub async fn change(&self, by: Actor, public_id: &str, edit: NoticeChannelEdit) -> Result<NoticeChannel, Error> {
        let key = self.key.clone();
        let changed = move |channel| wish::changed(channel, &edit, &key);
        let channel = self.store.change_notice_channel(by, public_id.to_owned(), changed).await?;
        self.read_back().await?;
        Ok(channel)
    }

    /// Removes a channel. What waits for it is not sent.
    pub async fn remove(&self, by: Actor, public_id: &str) -> Result<(), Error> {
        self.store.remove_notice_channel(by, public_id.to_owned()).await?;
        self.read_back().await
    }

    /// Sends a notice by a channel, on or off, to try it. The inner error says why it was not delivered.
    pub async fn test(&self, by: Actor, public_id: &str) -> Result<Result<(), Undelivered>, Error> {
        let channel = self.channel(public_id)?;
        let Ok(_one) = self.testing.try_lock() else {
            return Err(Error::conflict("another test of a channel runs; try again when it has ended"));
        };
        self.store.note_notice_test(by, &channel).await?;
        let result = self.deliver(&channel, &words::test(&channel.name, Timestamp::now())).await;
        self.note(channel.id, &result, true);
        Ok(result)
    }

    async fn read_back(&self) -> Result<(), Error> {
        let _one = self.reading.lock().await;
        let channels = Arc::new(self.store.notice_channels().await?);
        *self.channels.write().unwrap_or_else(PoisonError::into_inner) = channels;
        Ok(())
    }

    /// Notes how a try ended, for the page. It is counted when it is the last one.
    pub fn note(&self, channel_id: i64, result: &Result<(), Undelivered>, is_last: bool) {
        if is_last {
            let counter = if result.is_ok() { &self.counts.delivered } else { &self.counts.failed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let mut all = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        let Some(channel) = Arc::make_mut(&mut all).iter_mut().find(|channel| channel.id == channel_id) else { return };
        let now = Some(Timestamp::now().0);
        match result {
            Ok(()) => channel.last.delivered_at_us = now,
            Err(failure) => {
                let words = failure.words.chars().take(FAILURE_CHARS_MAX).collect();
                (channel.last.failed_at_us, channel.last.failure) = (now, Some(words));
            }
        }
        let last: LastDelivery = channel.last.clone();
        drop(all);
        if self.store.can_write() {
            self.store.keep_last_delivery_soon(channel_id, last);
        }
    }

    /// Delivers a notice by a channel, in one try. Must be called on a thread with a `LocalSet`, as each worker has one.
    pub async fn deliver(&self, channel: &NoticeChannel, notice: &Notice) -> Result<(), Undelivered> {
        let sealer = Sealer::new(&self.key, &channel.public_id);
        let lost = || {
            let what = "its secret can't be opened with the key in secrets/master.key, and must be set again";
            Undelivered::for_good(what)
        };
        let bounds = NoticeBounds {
            connect_timeout: self.bounds.connect_timeout,
            time_max: self.bounds.time_max,
            allow_this_host: self.bounds.allow_this_host,
        };
        match &channel.way {
            ChannelWay::Webhook { url, secret, .. } => {
                let url = sealer.url(url).ok_or_else(lost)?;
                let secret =
                    secret.as_ref().map(|secret| sealer.signing_secret(secret).ok_or_else(lost)).transpose()?;
                let parsed = WebhookUrl::parse(url.expose()).map_err(|_| lost())?;
                let key = secret.as_ref().map(|secret| WebhookKey::parse(secret.expose())).transpose();
                let key = key.map_err(|_| lost())?;
                webhook::post(&parsed, key.as_ref(), &notice.id, self.body(notice), bounds).await
            }
            ChannelWay::Mail { host, port, tls, username, password, from, to } => {
                let password = password.as_ref().map(|password| sealer.password(host, password).ok_or_else(lost));
                let password = password.transpose()?;
                let login = username.as_deref().zip(password.as_ref());
                let server = MailServer { host, port: *port, tls: *tls, login };
                let (subject, text) = self.letter(notice);
                let letter = PlainMail { from, to, subject: &subject, text: &text, id: &notice.id };
                mail::send(&server, &letter, bounds).await
            }
        }
    }

    fn base_url(&self) -> String {
        let known = self.bounds.url.as_ref().or_else(|| self.served_at.get());
        known.cloned().unwrap_or_else(|| format!("http://{}", host_name()))
    }

    /// Returns what a webhook gets.
    fn body(&self, notice: &Notice) -> Bytes {
        let (host, url) = (host_name(), format!("{}{}", self.base_url(), notice.path));
        let body = json!({
            "id": notice.id,
            "kind": notice.kind,
            "text": format!("{host}: {} {}: {url}", notice.text, notice.remedy),
            "subject": notice.subject,
            "count": notice.count,
            "at": notice.at().rfc3339(),
            "host": host,
            "url": url,
        });
        body.to_string().into()
    }

    /// Returns subject and text of a mail.
    fn letter(&self, notice: &Notice) -> (String, String) {
        let (host, base) = (host_name(), self.base_url());
        let text = format!(
            "{}\n\n{}: {base}{}\n\nThis notice is of {}, from the gateway on {host}. Which notices are sent is set at \
             {base}/admin/settings/notices\n",
            notice.text,
            notice.remedy,
            notice.path,
            notice.at().rfc3339(),
        );
        (format!("[{host}] {}", notice.text.trim_end_matches('.')), text)
    }
}
