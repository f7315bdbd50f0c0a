//! Notices on their way: a bounded queue for each channel, with longer pauses after each failure. Notices about the same kind of
//! thing leave in their order, and none waits for the retries of another kind. Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::config::NoticesSection;
use crate::model::notice::Notice;
use crate::store::notices::UnsentNotice;
use crate::upstream::reach::Undelivered;

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Each pause is so many times as long as the one before.
const PAUSE_GROWS_BY: u32 = 4;

struct Waiting {
    notice: Arc<Notice>,
    tries: u32,
    /// Since the start of the process.
    due: Duration,
}

#[derive(Default)]
struct Lane {
    /// The oldest first.
    waiting: Vec<Waiting>,
    /// The id of the notice whose try runs.
    trying: Option<String>,
}

impl Lane {
    /// Returns the notices that no older one of their kind is in front of. None if a try runs.
    fn firsts(&self) -> impl Iterator<Item = &Waiting> {
        let mut kinds = BTreeSet::new();
        let idle = self.waiting.iter().filter(|_| self.trying.is_none());
        idle.filter(move |waiting| kinds.insert(waiting.notice.about()))
    }
}

/// What follows from a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TryEnd {
    Delivered,
    /// It is tried again after this time.
    Again(Duration),
    /// It is not tried any more.
    GivenUp,
}

/// The notices that channels have not taken yet.
pub struct Outbox {
    lanes: BTreeMap<i64, Lane>,
    queue_max: usize,
    tries_max: u32,
    pause: Duration,
}

impl Outbox {
    pub fn new(bounds: &NoticesSection) -> Outbox {
        Outbox {
            lanes: BTreeMap::new(),
            queue_max: bounds.queue_max,
            tries_max: bounds.tries_max,
            pause: bounds.retry_pause,
        }
    }

    /// Adds a notice for a channel. Returns `false` if too many wait for it already.
    pub fn push(&mut self, channel_id: i64, notice: Arc<Notice>) -> bool {
        let lane = self.lanes.entry(channel_id).or_default();
        if lane.waiting.len() >= self.queue_max {
            return false;
        }
        lane.waiting.push(Waiting { notice, tries: 0, due: Duration::ZERO });
        true
    }

    /// Returns what is to be tried now: at most one notice for each channel.
    pub fn take_due(&mut self, now: Duration) -> Vec<(i64, Arc<Notice>)> {
        let mut due = Vec::new();
        for (channel_id, lane) in &mut self.lanes {
            // What was not tried yet comes before what failed: a channel that hangs takes its time for each try.
            let next = lane.firsts().filter(|first| first.due <= now).min_by_key(|first| first.tries);
            if let Some(notice) = next.map(|next| next.notice.clone()) {
                lane.trying = Some(notice.id.clone());
                due.push((*channel_id, notice));
            }
        }
        due
    }

    /// Takes how a try ended.
    pub fn ended(
        &mut self,
        channel_id: i64,
        notice_id: &str,
        result: &Result<(), Undelivered>,
        now: Duration,
    ) -> TryEnd {
        let delivered = if result.is_ok() { TryEnd::Delivered } else { TryEnd::GivenUp };
        // The channel may have been turned off meanwhile, and on again.
        let is_tried = |lane: &&mut Lane| lane.trying.as_deref() == Some(notice_id);
        let Some(lane) = self.lanes.get_mut(&channel_id).filter(is_tried) else { return delivered };
        lane.trying = None;
        let Some(at) = lane.waiting.iter().position(|waiting| waiting.notice.id == notice_id) else { return delivered };
        let tried = &mut lane.waiting[at];
        tried.tries += 1;
        match result {
            Err(failure) if failure.may_retry && tried.tries < self.tries_max => {
                let grown = PAUSE_GROWS_BY.saturating_pow(tried.tries - 1);
                let pause = self.pause.saturating_mul(grown).min(PAUSE_MAX);
                tried.due = now + pause;
                TryEnd::Again(pause)
            }
            _ => {
                lane.waiting.remove(at);
                delivered
            }
        }
    }

    /// Drops what waits for other channels than these: they were removed or turned off. Returns whether something did.
    pub fn keep_only(&mut self, is_kept: impl Fn(i64) -> bool) -> bool {
        let before = self.lanes.len();
        self.lanes.retain(|channel_id, _| is_kept(*channel_id));
        self.lanes.len() != before
    }

    /// Returns when the next try is due, unless all wait for one that runs.
    pub fn next_due(&self) -> Option<Duration> {
        self.lanes.values().flat_map(Lane::firsts).map(|first| first.due).min()
    }

    /// Returns everything that was not delivered yet, the oldest of each channel first.
    pub fn unsent(&self) -> Vec<UnsentNotice> {
        let of_lane = |(channel_id, lane): (&i64, &Lane)| {
            let channel_id = *channel_id;
            let notices = lane.waiting.iter().map(|waiting| Notice::clone(&waiting.notice));
            notices.map(move |notice| UnsentNotice { channel_id, notice }).collect::<Vec<_>>()
        };
        self.lanes.iter().flat_map(of_lane).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.lanes.values().all(|lane| lane.waiting.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn outbox() -> Outbox {
        let bounds =
            Config::resolve("[notices]\nqueue_max = 2\ntries_max = 3\nretry_seconds = 10", []).unwrap().notices;
        Outbox::new(&bounds)
    }

    fn notice(id: &str) -> Arc<Notice> {
        about("disk_low", id)
    }

    fn about(kind: &str, id: &str) -> Arc<Notice> {
        Arc::new(Notice {
            id: id.into(),
            kind: kind.into(),
            subject: String::new(),
            count: 1,
            text: "It is a test.".into(),
            remedy: "Nothing needs to be done".into(),
            path: "/".into(),
            at_us: 0,
        })
    }

    fn due(outbox: &mut Outbox, seconds: u64) -> Vec<(i64, String)> {
        let due = outbox.take_due(Duration::from_secs(seconds));
        due.into_iter().map(|(channel, notice)| (channel, notice.id.clone())).collect()
    }

    fn later() -> Result<(), Undelivered> {
        Err(Undelivered::later("it hung"))
    }

    #[test]
    fn a_channel_is_tried_in_order_and_never_twice_at_once() {
        let mut outbox = outbox();
        assert!(outbox.push(1, notice("a")) && outbox.push(1, notice("b")) && outbox.push(2, notice("a")));
        assert!(!outbox.push(1, notice("c")), "its queue is full");

        assert_eq!(due(&mut outbox, 0), [(1, "a".into()), (2, "a".into())]);
        assert_eq!(due(&mut outbox, 0), []);
        assert_eq!(outbox.ended(1, "a", &Ok(()), Duration::ZERO), TryEnd::Delivered);
        assert_eq!(due(&mut outbox, 0), [(1, "b".into())]);
        assert_eq!(outbox.unsent().len(), 2);
        outbox.ended(1, "b", &Ok(()), Duration::ZERO);
        outbox.ended(2, "a", &Ok(()), Duration::ZERO);
        assert!(outbox.is_empty() && outbox.next_due().is_none());
    }

    #[test]
    fn a_retry_holds_up_its_own_kind_alone() {
        let mut outbox = outbox();
        outbox.push(1, about("upstream_away", "away"));
        due(&mut outbox, 0);
        outbox.ended(1, "away", &later(), Duration::ZERO);

        outbox.push(1, about("upstream_back", "back"));
        assert_eq!((due(&mut outbox, 1), outbox.next_due()), (vec![], Some(Duration::from_secs(10))));
        outbox.push(2, about("upstream_away", "away"));
        due(&mut outbox, 1);
        outbox.ended(2, "away", &later(), Duration::ZERO);
        outbox.push(2, about("record_unwritable", "record"));
        assert_eq!(due(&mut outbox, 10), [(1, "away".into()), (2, "record".into())], "the new one comes first");
        outbox.ended(1, "away", &Ok(()), Duration::from_secs(10));
        outbox.ended(2, "record", &later(), Duration::from_secs(10));
        assert_eq!(due(&mut outbox, 10), [(1, "back".into()), (2, "away".into())]);
        outbox.ended(1, "back", &Ok(()), Duration::from_secs(10));
        outbox.ended(2, "away", &Ok(()), Duration::from_secs(10));
        assert_eq!(outbox.next_due(), Some(Duration::from_secs(20)));
        assert_eq!(outbox.unsent().len(), 1);
    }

    #[test]
    fn pauses_grow_and_tries_end() {
        let mut outbox = outbox();
        outbox.push(1, notice("a"));
        due(&mut outbox, 0);

        assert_eq!(outbox.ended(1, "a", &later(), Duration::ZERO), TryEnd::Again(Duration::from_secs(10)));
        assert_eq!(due(&mut outbox, 9), []);
        assert_eq!(outbox.next_due(), Some(Duration::from_secs(10)));
        assert_eq!(due(&mut outbox, 10).len(), 1);
        let now = Duration::from_secs(10);
        assert_eq!(outbox.ended(1, "a", &later(), now), TryEnd::Again(Duration::from_secs(40)));
        assert_eq!(due(&mut outbox, 50).len(), 1);
        assert_eq!(outbox.ended(1, "a", &later(), now), TryEnd::GivenUp);
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_no_further_try_helps_is_given_up_at_once() {
        let mut outbox = outbox();
        outbox.push(1, notice("a"));
        due(&mut outbox, 0);

        assert_eq!(
            outbox.ended(1, "a", &Err(Undelivered::for_good("it leads elsewhere")), Duration::ZERO),
            TryEnd::GivenUp
        );
    }

    #[test]
    fn nothing_is_sent_to_a_channel_that_is_gone() {
        let mut outbox = outbox();
        outbox.push(1, notice("a"));
        outbox.push(2, notice("a"));
        due(&mut outbox, 0);

        outbox.keep_only(|channel| channel == 2);

        assert_eq!(outbox.ended(1, "a", &later(), Duration::ZERO), TryEnd::GivenUp);
        assert_eq!(outbox.unsent().len(), 1);
    }
}
