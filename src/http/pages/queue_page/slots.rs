//! The slots of the model servers: what runs on each, and which are free.

use crate::http::pages::in_queue::RunningLine;
use crate::http::queue::QueueView;

/// A panel: a slot with its request, or slots of one model server that are free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotPanel {
    /// Stays while its request runs, so that the script keeps the panel.
    pub id: String,
    /// `local · slot 1`, `local · slots 2 to 4`
    pub title: String,
    pub running: Option<RunningLine>,
    /// What is said where nothing runs.
    pub text: &'static str,
}

/// Returns a panel for each request that runs, and one for the free slots of each model server. Nothing runs: none.
pub fn panels(view: &QueueView, running: Vec<RunningLine>) -> Vec<SlotPanel> {
    if running.is_empty() && view.hosts.iter().all(|host| host.state != "down") {
        return Vec::new();
    }
    let mut running = running;
    let mut panels = Vec::new();
    for (at, host) in view.hosts.iter().enumerate() {
        let (own, others): (Vec<_>, Vec<_>) = running.into_iter().partition(|line| line.host == host.name);
        running = others;
        let busy = own.len();
        panels.extend(own.into_iter().zip(1..).map(|(line, slot)| SlotPanel {
            id: format!("slot-{}", line.request_id),
            title: format!("{} · slot {slot}", host.name),
            running: Some(line),
            text: "",
        }));
        let text = match host.state {
            "down" => "It does not answer. Its requests wait until it does.",
            _ => "Free.",
        };
        panels.extend(free_slots(busy + 1, host.slots).map(|slots| SlotPanel {
            id: format!("free-{at}"),
            title: format!("{} · {slots}", host.name),
            running: None,
            text,
        }));
    }
    panels
}

fn free_slots(first: usize, last: usize) -> Option<String> {
    match first.cmp(&last) {
        std::cmp::Ordering::Less => Some(format!("slots {first} to {last}")),
        std::cmp::Ordering::Equal => Some(format!("slot {first}")),
        std::cmp::Ordering::Greater => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::pages::in_queue::running;
    use crate::http::pages::in_queue::tests::{item, times, view};

    fn titles(slots: usize, names: &[&str]) -> Vec<String> {
        let items = names.iter().map(|name| item(name, "14:31:00", Some("14:31:19"), None)).collect();
        let view = view(slots, items);
        panels(&view, running(&view, &times())).into_iter().map(|panel| panel.title).collect()
    }

    #[test]
    fn each_busy_slot_has_a_panel_and_the_free_ones_share_one() {
        assert_eq!(titles(2, &[]), [""; 0]);
        assert_eq!(titles(1, &["ann"]), ["local · slot 1"]);
        assert_eq!(titles(2, &["ann"]), ["local · slot 1", "local · slot 2"]);
        assert_eq!(titles(4, &["ann"]), ["local · slot 1", "local · slots 2 to 4"]);
        assert_eq!(titles(2, &["ann", "bob"]), ["local · slot 1", "local · slot 2"]);
    }

    #[test]
    fn a_model_server_that_is_down_says_so() {
        let mut view = view(2, vec![]);
        view.hosts[0].state = "down";

        let panels = panels(&view, vec![]);

        assert_eq!(panels[0].title, "local · slots 1 to 2");
        assert!(panels[0].text.starts_with("It does not answer."));
    }
}
