//! Requests that run and wait, as the Overview and the queue show them.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::gateway::Gateway;
use crate::http::pages::charts::{self, BarColour};
use crate::http::pages::format::times::{about, in_about};
use crate::http::pages::format::{Moment, PageTimes};
use crate::http::pages::markup::Markup;
use crate::http::queue::{QueueItem, QueueView};
use crate::model::rights::Class;

/// Who sent a request, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSender {
    pub name: String,
    /// `None`: the account is deleted.
    pub user_id: Option<String>,
    /// The name of the access token; empty without one.
    pub token: String,
    pub is_batch: bool,
}

/// A time that goes on, which the script counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lasting {
    pub since_unix_ms: i64,
    /// The text at the moment of rendering.
    pub text: String,
}

/// A request on a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningLine {
    pub request_id: String,
    pub sender: QueueSender,
    pub model: String,
    /// The model server that it runs on.
    pub host: String,
    pub began: Moment,
    pub runs: Lasting,
    /// How long it will probably take in all: `about 55 s`; `None` when it runs for longer than most.
    pub about: Option<String>,
    pub bar: Markup,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingLine {
    pub request_id: String,
    /// 1 is the next.
    pub place: usize,
    pub sender: QueueSender,
    pub model: String,
    pub waits: Lasting,
    /// When its turn comes: `in about 7 s`.
    pub turn: String,
}

impl QueueSender {
    fn of(item: &QueueItem) -> QueueSender {
        QueueSender {
            name: item.user.clone(),
            user_id: item.user_id.clone(),
            token: item.token_name.clone().unwrap_or_default(),
            is_batch: item.class == Class::Batch.name(),
        }
    }
}

impl Lasting {
    fn of(since: Timestamp, times: &PageTimes) -> Lasting {
        Lasting { since_unix_ms: since.0 / 1000, text: times.lasting(since) }
    }
}

/// Returns the requests that run, in the order in which they began.
pub fn running(view: &QueueView, times: &PageTimes) -> Vec<RunningLine> {
    let began = |item: &QueueItem| item.began_at.as_deref().and_then(Timestamp::parse);
    let mut items: Vec<(Timestamp, &QueueItem)> =
        view.items.iter().filter_map(|item| Some((began(item)?, item))).collect();
    items.sort_by_key(|(began, _)| *began);
    items.into_iter().map(|(began, item)| running_line(item, began, times)).collect()
}

fn running_line(item: &QueueItem, began: Timestamp, times: &PageTimes) -> RunningLine {
    let sender = QueueSender::of(item);
    let ran = times.now().since(began);
    let all = (item.ends_in_ms > 0).then(|| ran + Duration::from_millis(item.ends_in_ms));
    let colour = if sender.is_batch { BarColour::Batch } else { BarColour::Now };
    RunningLine {
        request_id: item.request_id.clone(),
        sender,
        model: item.model.clone(),
        host: item.host.clone().unwrap_or_default(),
        began: times.second(began),
        runs: Lasting::of(began, times),
        about: all.map(about),
        // What takes longer than most is probably near its end.
        bar: charts::lane(ran.as_secs_f64().max(0.1), Some(all.unwrap_or(ran).as_secs_f64().max(0.1)), colour),
    }
}

/// Returns the ids of the requests that wait, of everybody.
pub fn waiting_ids(gateway: &Gateway) -> Vec<String> {
    let waiting = gateway.queue().forecast().into_iter().filter(|one| one.ahead.is_some());
    waiting.map(|one| one.card.request_id.to_string()).collect()
}

/// Returns the requests that wait, the next one first.
pub fn waiting(view: &QueueView, times: &PageTimes) -> Vec<WaitingLine> {
    let line = |item: &QueueItem| {
        Some(WaitingLine {
            request_id: item.request_id.clone(),
            place: item.position?,
            sender: QueueSender::of(item),
            model: item.model.clone(),
            waits: Lasting::of(Timestamp::parse(&item.entered_at)?, times),
            turn: in_about(Duration::from_millis(item.begins_in_ms.unwrap_or_default())),
        })
    };
    let mut lines: Vec<WaitingLine> = view.items.iter().filter_map(line).collect();
    lines.sort_by_key(|line| (line.place, line.waits.since_unix_ms));
    // Of several persons, the same number may be ahead; on a page they stand one below the other.
    lines.iter_mut().zip(1..).for_each(|(line, place)| line.place = place);
    lines
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::base::clock::zone::Zone;
    use crate::http::queue::QueueHost;

    pub const NOW: &str = "2026-11-27T14:32:07Z";

    pub fn times() -> PageTimes {
        PageTimes::new(Zone::named("UTC").unwrap(), Timestamp::parse(NOW).unwrap())
    }

    pub fn item(name: &str, entered: &str, began: Option<&str>, position: Option<usize>) -> QueueItem {
        QueueItem {
            request_id: format!("request-of-{name}"),
            state: if began.is_some() { "running" } else { "waiting" },
            user: format!("{name}@example.org"),
            user_id: None,
            token: None,
            token_name: None,
            class: "interactive",
            model: "llama3.2:latest".into(),
            host: began.map(|_| "local".into()),
            entered_at: format!("2026-11-27T{entered}Z"),
            began_at: began.map(|time| format!("2026-11-27T{time}Z")),
            position,
            begins_in_ms: position.map(|place| 7_000 * place as u64),
            ends_in_ms: 8_000,
        }
    }

    pub fn view(slots: usize, items: Vec<QueueItem>) -> QueueView {
        let running = items.iter().filter(|item| item.began_at.is_some()).count();
        let host = QueueHost {
            name: "local".into(),
            slots,
            free: slots.saturating_sub(running),
            loaded: Vec::new(),
            state: "up",
            down_since: None,
            last_error: None,
        };
        QueueView {
            waiting: items.len() - running,
            running,
            hosts: vec![host],
            items,
            runaways: Vec::new(),
            quarantined: Some(Vec::new()),
            next: None,
        }
    }

    #[test]
    fn lines_are_in_the_order_of_their_turn_with_times_in_words() {
        let late = QueueItem { class: "batch", ends_in_ms: 0, ..item("ci", "14:31:00", Some("14:31:19"), None) };
        let view = view(
            2,
            vec![
                item("jonas", "14:31:26", None, Some(2)),
                item("priya", "14:32:00", Some("14:32:01"), None),
                late,
                item("tomas", "14:31:55", None, Some(1)),
            ],
        );

        let running = running(&view, &times());
        let waiting = waiting(&view, &times());

        let told: Vec<_> =
            running.iter().map(|line| (line.sender.name.as_str(), &*line.runs.text, line.about.as_deref())).collect();
        assert_eq!(told, [("ci@example.org", "48 s", None), ("priya@example.org", "6 s", Some("about 14 s"))]);
        assert!(running[0].bar.as_str().contains(r#"class="f batch" width="100%""#), "{}", running[0].bar);
        assert!(running[1].bar.as_str().contains(r#"class="f now" width="42.86%""#), "{}", running[1].bar);
        assert_eq!(running[0].runs.since_unix_ms, 1_795_789_879_000);
        let told: Vec<_> = waiting.iter().map(|line| (line.place, &*line.waits.text, &*line.turn)).collect();
        assert_eq!(told, [(1, "12 s", "in about 7 s"), (2, "41 s", "in about 14 s")]);
    }

    #[test]
    fn whoever_has_as_many_ahead_stands_in_the_order_of_arrival() {
        let waits = |name, entered, place| item(name, entered, None, Some(place));
        let view = view(1, vec![waits("b", "14:31:10", 1), waits("a", "14:31:00", 1), waits("c", "14:30:00", 3)]);

        let lines = waiting(&view, &times());

        let told: Vec<_> = lines.iter().map(|line| (line.place, line.sender.name.as_str())).collect();
        assert_eq!(told, [(1, "a@example.org"), (2, "b@example.org"), (3, "c@example.org")]);
    }
}
