//! Right now: who is on the slots, and who is next.

use askama::Template;
use askama::filters::HtmlSafe;

use crate::http::pages::filters;
use crate::http::pages::format::{PageTimes, commas};
use crate::http::pages::in_queue::{self, RunningLine, WaitingLine};
use crate::http::pages::layout::window_title;
use crate::http::pages::words::sentences;
use crate::http::queue::QueueView;

/// Lanes that are drawn; the others are told by their number.
const LANES_MAX: usize = 8;

/// Those who are next.
const NEXT_MAX: usize = 3;

#[derive(Template)]
#[template(path = "overview/now.html")]
pub struct NowPart {
    title: String,
    status: String,
    /// What is said first: `2 of 2 slots busy, 5 wait.`
    sentence: String,
    /// The request that has waited longest.
    longest: Option<WaitingLine>,
    lanes: Vec<RunningLine>,
    lanes_more: usize,
    next: Vec<WaitingLine>,
    next_more: usize,
}

/// Its template escapes what needs it.
impl HtmlSafe for NowPart {}

impl NowPart {
    pub fn of(view: &QueueView, times: &PageTimes) -> NowPart {
        let (mut lanes, mut next) = (in_queue::running(view, times), in_queue::waiting(view, times));
        let longest = next.iter().min_by_key(|line| line.waits.since_unix_ms).cloned();
        let (lanes_more, next_more) = (lanes.len().saturating_sub(LANES_MAX), next.len().saturating_sub(NEXT_MAX));
        lanes.truncate(LANES_MAX);
        next.truncate(NEXT_MAX);
        NowPart {
            title: window_title("Overview", view.waiting),
            status: sentences::queue_in_short(view.waiting as u64, view.running as u64),
            sentence: sentence(view),
            longest,
            lanes,
            lanes_more,
            next,
            next_more,
        }
    }
}

fn sentence(view: &QueueView) -> String {
    let all = view.hosts.len();
    let down = view.hosts.iter().filter(|host| host.state == "down").count();
    let servers = if all == 1 { "The model server" } else { "The model servers" };
    if view.running == 0 && view.waiting == 0 {
        return match down {
            0 => format!("Nothing runs. {servers} {} free.", if all == 1 { "is" } else { "are" }),
            down if down == all => {
                format!("Nothing runs. {servers} {} not answer.", if all == 1 { "does" } else { "do" })
            }
            down => format!(
                "Nothing runs. {down} of {all} model servers {} not answer.",
                if down == 1 { "does" } else { "do" }
            ),
        };
    }
    let slots: usize = view.hosts.iter().map(|host| host.slots).sum();
    let waiting = match view.waiting {
        0 => "nobody waits".to_owned(),
        1 => "1 waits".to_owned(),
        waiting => format!("{} wait", commas(waiting as u64)),
    };
    let (running, slots) = (commas(view.running as u64), commas(slots as u64));
    format!("{running} of {slots} {} busy, {waiting}.", if slots == "1" { "slot" } else { "slots" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::pages::in_queue::tests::{item, times, view};

    #[test]
    fn the_first_sentence_says_how_busy_it_is() {
        let runs = |name| item(name, "14:31:00", Some("14:31:19"), None);
        let waits = |name, place| item(name, "14:31:30", None, Some(place));
        let mut down = view(2, vec![]);
        down.hosts[0].state = "down";

        assert_eq!(sentence(&view(2, vec![])), "Nothing runs. The model server is free.");
        assert_eq!(sentence(&down), "Nothing runs. The model server does not answer.");
        assert_eq!(sentence(&view(1, vec![runs("a")])), "1 of 1 slot busy, nobody waits.");
        assert_eq!(sentence(&view(2, vec![runs("a"), waits("b", 1)])), "1 of 2 slots busy, 1 waits.");
        assert_eq!(sentence(&view(2, vec![waits("b", 1), waits("c", 2)])), "0 of 2 slots busy, 2 wait.");
    }

    #[test]
    fn three_are_next_and_the_one_that_waited_longest_is_named() {
        let waits = |name, entered, place| item(name, entered, None, Some(place));
        let items = vec![
            waits("a", "14:30:00", 4),
            waits("b", "14:31:00", 1),
            waits("c", "14:31:10", 2),
            waits("d", "14:31:20", 3),
        ];

        let html = NowPart::of(&view(2, items), &times()).render().unwrap();

        assert!(
            html.contains("Longest: a@example.org, <span data-since=\"1795789800000\">2 min 07 s</span>."),
            "{html}"
        );
        assert!(html.contains("1 more in the queue") && !html.contains("wait-request-of-a"), "{html}");
    }
}
