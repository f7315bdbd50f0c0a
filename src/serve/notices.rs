//! Looks at the states that admins are told of, and runs the tries to deliver notices, beside the requests.
//!
//! What was told and what is on its way are kept in the database as far as it can be written, and in memory all the same: that
//! the record can't be written must be told although it can't.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use crate::base::clock::Timestamp;
use crate::base::error::chain;
use crate::base::vital::panic_on_purpose;
use crate::host::findings::describe_room;
use crate::host::room::{DiskMarks, Room};
use crate::model::notice::{Notice, NoticeKind};
use crate::model::people::UserStatus;
use crate::model::token::TokenStatus;
use crate::rules::notices::outbox::{Outbox, TryEnd};
use crate::rules::notices::told::{KindTold, StateSubject};
use crate::rules::notices::words;
use crate::rules::routing::Condition;
use crate::serve::app::App;
use crate::upstream::reach::Undelivered;

/// How often the states are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The pause after a panic.
const BEAT: Duration = Duration::from_secs(5);

/// How long a look into the database may take.
const READ_MAX: Duration = Duration::from_secs(2);

/// How long notices wait for the database to keep them.
const WRITE_MAX: Duration = Duration::from_secs(2);

/// More states of one kind are not told apart.
const SUBJECTS_MAX: usize = 1000;

/// What was left undelivered longer ago, as in a backup that was restored, is not sent any more.
const UNSENT_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a process may take to check the chain of the record for the first time.
const FIRST_CHECK_MAX: Duration = Duration::from_secs(60);

/// How long a gateway that has to end waits for its last notices.
const LAST_NOTICES_MAX: Duration = Duration::from_secs(5);

/// A full disk is a notice of its own also just after the one about little room, so it has its own quiet time.
const FULL: &str = "disk_low/full";

/// A try that runs: its channel, the notice, and how it ended.
type Trying = Pin<Box<dyn Future<Output = (i64, Arc<Notice>, Result<(), Undelivered>)>>>;

/// Tells admins of what begins, until it is dropped. A panic here must not end the gateway, which serves without it: the desk
/// begins again with what was kept.
pub async fn attend(app: Arc<App>) {
    loop {
        if AssertUnwindSafe(work(&app)).catch_unwind().await.is_err() {
            error!("telling admins panicked; it begins again");
        }
        app.notices.is_busy(false);
        tokio::time::sleep(BEAT).await;
    }
}

async fn work(app: &Arc<App>) {
    let mut desk = Desk::open(app).await;
    let mut trying: FuturesUnordered<Trying> = FuturesUnordered::new();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let pause = desk.outbox.next_due().map(|due| due.saturating_sub(desk.began.elapsed()));
        tokio::select! {
            _ = looks.tick() => desk.look(app).await,
            Some((channel_id, notice, result)) = trying.next(), if !trying.is_empty() => {
                desk.tried(app, channel_id, &notice, &result);
            }
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
        app.notices.is_busy(!desk.outbox.is_empty());
        // Before something leaves, so that it is not told under another id after a crash.
        desk.keep(app).await;
        for (channel_id, notice) in desk.outbox.take_due(desk.began.elapsed()) {
            trying.push(attempt(app.clone(), channel_id, notice));
        }
    }
}

fn attempt(app: Arc<App>, channel_id: i64, notice: Arc<Notice>) -> Trying {
    Box::pin(async move {
        let channels = app.notices.channels();
        let result = match channels.iter().find(|channel| channel.id == channel_id) {
            Some(channel) => app.notices.deliver(channel, &notice).await,
            None => Err(Undelivered::for_good("the channel was removed")),
        };
        (channel_id, notice, result)
    })
}

/// Lets the last notices leave when the gateway has to end, such as that the record can't be written.
pub async fn last_notices(app: &App) {
    if !app.notices.is_wanted(NoticeKind::RecordUnwritable) {
        return;
    }
    tokio::time::sleep(LOOK_EVERY + LOOK_EVERY / 4).await;
    if tokio::time::timeout(LAST_NOTICES_MAX, app.notices.idle()).await.is_err() {
        warn!("the gateway ends while a notice was not delivered yet");
    }
}

/// What was told, and what is on its way.
struct Desk {
    told: BTreeMap<String, KindTold>,
    outbox: Outbox,
    began: Instant,
    /// Whether something has changed that is not kept in the database yet.
    is_changed: bool,
    could_write: bool,
}

impl Desk {
    async fn open(app: &App) -> Desk {
        let mut desk = Desk {
            told: BTreeMap::new(),
            outbox: Outbox::new(app.notices.bounds()),
            began: Instant::now(),
            is_changed: false,
            could_write: true,
        };
        let (told, unsent) = match app.store.notices_left().await {
            Ok(left) => left,
            Err(error) => {
                warn!(cause = chain(&error), "what was told before can't be read, so it may be told again");
                return desk;
            }
        };
        desk.told = told.into_iter().map(|(kind, kept)| (kind, KindTold::resumed(kept))).collect();
        let now = Timestamp::now();
        for unsent in unsent {
            match now.since(unsent.notice.at()) <= UNSENT_AGE_MAX {
                true => desk.push(app, unsent.channel_id, Arc::new(unsent.notice)),
                false => {
                    desk.is_changed = true;
                    drop_notice(app, unsent.channel_id, &unsent.notice, "it is more than a day old");
                }
            }
        }
        desk
    }

    /// Looks at every state, and puts what is to be told on its way.
    async fn look(&mut self, app: &App) {
        panic_on_purpose("notices");
        let channels = app.notices.channels();
        self.is_changed |= self.outbox.keep_only(|id| channels.iter().any(|channel| channel.id == id && channel.is_on));
        let now = Timestamp::now();
        let [low, full] = room(app).await;
        let states = [
            (NoticeKind::RecordUnwritable, NoticeKind::RecordUnwritable.name(), unwritable(app)),
            (NoticeKind::DiskLow, FULL, full),
            (NoticeKind::DiskLow, NoticeKind::DiskLow.name(), low),
            (NoticeKind::UpstreamAway, NoticeKind::UpstreamAway.name(), upstreams(app, now)),
            (NoticeKind::TokenPaused, NoticeKind::TokenPaused.name(), paused(app, now)),
            (NoticeKind::ApprovalWaits, NoticeKind::ApprovalWaits.name(), waiting(app)),
            (NoticeKind::CheckpointInvalid, NoticeKind::CheckpointInvalid.name(), invalid(app, self.began.elapsed())),
        ];
        let quiet_us = i64::from(app.store.settings().now().quiet_minutes) * 60_000_000;
        for (kind, name, mut subjects) in states {
            subjects.truncate(SUBJECTS_MAX);
            let told = self.told.entry(name.to_owned()).or_default();
            if !app.notices.is_wanted(kind) {
                self.is_changed |= told.forget();
                continue;
            }
            let found = told.look(&subjects, now.0, quiet_us);
            self.is_changed |= !found.began.is_empty() || !found.ended.is_empty();
            let back: Vec<String> = found.ended.into_iter().filter(|name| is_up(app, name)).collect();
            if kind == NoticeKind::UpstreamAway && !back.is_empty() {
                self.tell(app, kind, words::back(&back, now));
            }
            let names: Vec<String> = found.began.into_iter().map(|subject| subject.name).collect();
            if !names.is_empty() {
                self.tell(app, kind, words::began(kind, &names, found.lasting, now));
            }
        }
    }

    /// Puts a notice on its way to every channel that wants its kind.
    fn tell(&mut self, app: &App, kind: NoticeKind, notice: Notice) {
        info!(notice.kind, notice.count, "admins are told: `{}`", notice.kind);
        let notice = Arc::new(notice);
        for channel in app.notices.channels().iter().filter(|channel| channel.is_on && channel.kinds.contains(&kind)) {
            self.push(app, channel.id, notice.clone());
        }
    }

    fn push(&mut self, app: &App, channel_id: i64, notice: Arc<Notice>) {
        self.is_changed = true;
        if !self.outbox.push(channel_id, notice.clone()) {
            drop_notice(app, channel_id, &notice, "too many wait for its channel");
        }
    }

    fn tried(&mut self, app: &App, channel_id: i64, notice: &Notice, result: &Result<(), Undelivered>) {
        let end = self.outbox.ended(channel_id, &notice.id, result, self.began.elapsed());
        app.notices.note(channel_id, result, !matches!(end, TryEnd::Again(_)));
        let channel = shown_id(app, channel_id);
        // Why it failed may name people, so that is on the page alone.
        match end {
            TryEnd::Delivered => info!(channel.id = channel, notice.kind, "a notice was delivered"),
            TryEnd::Again(pause) => {
                let seconds = pause.as_secs();
                warn!(
                    channel.id = channel,
                    notice.kind, seconds, "a notice was not delivered; it is tried again later"
                );
            }
            TryEnd::GivenUp => {
                warn!(
                    channel.id = channel,
                    notice.kind, "a notice was not delivered and is given up; `lan-gateway notices list` says why"
                );
            }
        }
        self.is_changed |= !matches!(end, TryEnd::Again(_));
    }

    /// Keeps everything in the database, if something has changed and it can be written.
    async fn keep(&mut self, app: &App) {
        let can_write = app.store.can_write();
        // What was handed over just before it failed may be lost.
        self.is_changed |= can_write && !self.could_write;
        self.could_write = can_write;
        if self.is_changed && can_write {
            let told = self.told.iter().map(|(kind, told)| (kind.clone(), told.kept())).collect();
            let kept = app.store.keep_notices(told, self.outbox.unsent());
            // What fails or takes too long is kept with the next look; notices leave all the same.
            self.is_changed = !matches!(tokio::time::timeout(WRITE_MAX, kept).await, Ok(Ok(())));
        }
    }
}

fn drop_notice(app: &App, channel_id: i64, notice: &Notice, why: &str) {
    app.notices.counts().dropped.fetch_add(1, Ordering::Relaxed);
    warn!(channel.id = shown_id(app, channel_id), notice.kind, "a notice was dropped: {why}");
}

/// Returns the id under which a channel is shown; empty if it was removed.
fn shown_id(app: &App, channel_id: i64) -> String {
    let channels = app.notices.channels();
    let found = channels.iter().find(|channel| channel.id == channel_id);
    found.map(|channel| channel.public_id.clone()).unwrap_or_default()
}

fn unwritable(app: &App) -> Vec<StateSubject> {
    let is_so = !app.store.can_write();
    is_so.then(|| StateSubject { key: "record".into(), name: "the record".into(), is_due: true }).into_iter().collect()
}

/// Returns whether the chain of the record does not verify. A young process may not have checked it yet, so nothing is over then.
fn invalid(app: &App, age: Duration) -> Vec<StateSubject> {
    let state = |name: &str, is_due| StateSubject { key: "record".into(), name: name.into(), is_due };
    match app.store.chain_fault() {
        Some(why) => vec![state(&why, true)],
        None if age < FIRST_CHECK_MAX => vec![state("", false)],
        None => Vec::new(),
    }
}

/// Returns whether the data disk has little room, and whether it is full.
async fn room(app: &App) -> [Vec<StateSubject>; 2] {
    let state = |name: String, is_due| vec![StateSubject { key: "disk".into(), name, is_due }];
    let Some(disk) = app.disk.disk() else {
        // Nothing is known yet, so nothing is over.
        return [state(String::new(), false), state(String::new(), false)];
    };
    let marks = DiskMarks::of(&app.config.disk, disk);
    let mut room = Room { disk, reusable: 0 };
    if !room.is_low(marks) {
        return [Vec::new(), Vec::new()];
    }
    if let Ok(Ok(reusable)) = tokio::time::timeout(READ_MAX, app.store.reusable_bytes()).await {
        room.reusable = reusable;
    }
    let described = describe_room(&room, &app.config.data_dir);
    match (app.disk.is_full(), room.is_low(marks)) {
        (true, _) => {
            [state(String::new(), false), state(format!("{described}, so requests to models are refused"), true)]
        }
        (false, true) => [state(described, true), Vec::new()],
        (false, false) => [Vec::new(), Vec::new()],
    }
}

/// Returns the upstreams that are not known to answer. Only those that have been away for long enough are told.
fn upstreams(app: &App, now: Timestamp) -> Vec<StateSubject> {
    let away = Duration::from_secs(u64::from(app.store.settings().now().away_seconds));
    let states = app.config.upstreams.iter().zip(app.stages.routing.seen());
    let subject = |(upstream, state): (&crate::config::Upstream, crate::rules::routing::UpstreamState)| {
        let is_due = match state.condition {
            Condition::Up => return None,
            Condition::Unknown => false,
            Condition::Down { since, .. } => now.since(since) >= away,
        };
        Some(StateSubject { key: upstream.name.clone(), name: upstream.name.clone(), is_due })
    };
    states.filter_map(subject).collect()
}

/// Returns whether an upstream answers. One that was taken out of the configuration does not.
fn is_up(app: &App, name: &str) -> bool {
    let mut states = app.config.upstreams.iter().zip(app.stages.routing.seen());
    states.any(|(upstream, state)| upstream.name == name && state.condition == Condition::Up)
}

fn paused(app: &App, now: Timestamp) -> Vec<StateSubject> {
    let people = app.store.people();
    let paused = people.tokens().filter(|token| token.status(now) == TokenStatus::Paused);
    let mut paused: Vec<_> = paused.collect();
    paused.sort_by_key(|token| token.suspended_at_us);
    let subject = |token: &Arc<crate::model::token::Token>| StateSubject {
        key: format!("{} {}", token.public_id, token.suspended_at_us.unwrap_or_default()),
        name: words::token_name(&token.name, &people.name_of(token.user_id)),
        is_due: true,
    };
    paused.into_iter().map(subject).collect()
}

fn waiting(app: &App) -> Vec<StateSubject> {
    let people = app.store.people();
    let mut waiting: Vec<_> = people.all().filter(|user| user.status == UserStatus::Pending).collect();
    waiting.sort_by_key(|user| user.created_at_us);
    let subject = |user: &Arc<crate::model::people::User>| StateSubject {
        key: user.public_id.clone(),
        name: user.name().to_owned(),
        is_due: true,
    };
    waiting.into_iter().map(subject).collect()
}
