use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::config::settings::Settings;

pub mod threads;

fn queue(slots: usize, waiting_max: u64) -> Arc<Queue> {
    let settings = Settings::default().with([("waiting_max", waiting_max), ("affinity_seconds_max", 0)]);
    let slots = Slots { total: slots, per_model: slots, models_loaded: 1 };
    Queue::new(&[slots], Order::Fair, Live::new(settings))
}

/// Ends after so many looks at it.
struct Patience(usize);

impl Future for Patience {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.0.checked_sub(1) {
            None => Poll::Ready(()),
            Some(rest) => {
                self.0 = rest;
                Poll::Pending
            }
        }
    }
}

fn place(queue: &Arc<Queue>, person: i64) -> Result<Place, Error> {
    let asking = SlotRequest {
        person,
        weight: 1,
        class: Class::Interactive,
        model: "m".into(),
        upstreams: vec![UpstreamId(0)],
        bytes: 1,
        images: false,
    };
    let card = Card {
        request_id: RequestId::fresh(),
        user_id: person,
        token_id: None,
        token: None,
        class: Class::Interactive,
        model: "m".into(),
        entered_at: Timestamp::now(),
        state: CardState::Waiting,
    };
    queue.seat(asking, card)
}

fn is_empty(queue: &Queue, slots: usize) -> bool {
    let state = queue.lock();
    state.cards.is_empty() && state.wakes.is_empty() && state.core.upstreams().all(|upstream| upstream.free == slots)
}

#[actix_web::test]
async fn whoever_waits_is_woken_when_a_slot_comes_free() {
    let queue = queue(1, 8);
    let first = place(&queue, 1).unwrap().turn().await.unwrap();
    let second = place(&queue, 2).unwrap();
    assert_eq!(second.ahead(), Some(0));
    let mut second = Box::pin(second.turn());
    assert!(futures_util::poll!(&mut second).is_pending());

    first.settle(None);

    assert!(futures_util::poll!(&mut second).is_ready());
}

#[actix_web::test]
async fn a_full_waiting_room_refuses_with_an_honest_time() {
    let queue = queue(1, 2);
    let running = place(&queue, 1).unwrap().turn().await.unwrap();
    let waiting: Vec<Place> = (2..4).map(|person| place(&queue, person).unwrap()).collect();

    let full = place(&queue, 4).err().unwrap();
    assert_eq!((full.code(), full.retry_after()), ("host_busy", Some(Duration::from_secs(5))));

    drop(waiting);
    drop(running);
    assert!(is_empty(&queue, 1));
}

#[actix_web::test]
async fn a_wait_ends_after_the_longest_and_its_place_is_given_up() {
    let queue = queue(1, 2);
    let _running = place(&queue, 1).unwrap().turn().await.unwrap();

    let _waiting = place(&queue, 3).unwrap();

    let error = place(&queue, 2).unwrap().turn_within(Patience(0)).await.err().unwrap();

    // Two wait, it among them, for five seconds each.
    assert_eq!((error.code(), error.retry_after()), ("host_busy", Some(Duration::from_secs(10))));
    assert_eq!(queue.forecast().len(), 2);
}

#[actix_web::test]
async fn a_upstream_that_is_down_takes_no_work_until_it_is_back() {
    let queue = queue(1, 8);
    queue.set_down(UpstreamId(0), true);

    let mut waiting = Box::pin(place(&queue, 1).unwrap().turn());
    assert!(futures_util::poll!(&mut waiting).is_pending(), "down");

    queue.set_down(UpstreamId(0), false);
    assert!(futures_util::poll!(&mut waiting).is_ready(), "back");
}

#[actix_web::test]
async fn everybody_is_shown_with_what_will_probably_become_of_them() {
    let queue = queue(1, 8);
    let _running = place(&queue, 1).unwrap().turn().await.unwrap();
    let _pipeline = [place(&queue, 1).unwrap(), place(&queue, 1).unwrap()];
    let _person = place(&queue, 2).unwrap();

    let shown = queue.forecast();

    assert!(matches!(shown[0].card.state, CardState::Running { upstream: UpstreamId(0), .. }));
    assert!(shown[0].ends_in <= Duration::from_secs(5) && shown[0].ahead.is_none());
    assert_eq!(shown.iter().map(|one| one.ahead).collect::<Vec<_>>(), [None, Some(1), Some(2), Some(0)]);
    assert_eq!(shown[2].begins_in, Some(Duration::from_secs(15)));
    assert_eq!(shown[2].ends_in, Duration::from_secs(20));
}

/// One client of the queue, driven by hand.
enum Client {
    Waits(Pin<Box<dyn Future<Output = Result<Turn, Error>>>>),
    Entered(Place, usize),
    Runs(Turn),
    Gone,
}

#[derive(Debug, Clone)]
enum Step {
    /// With patience for so many looks.
    Enter(i64, usize),
    /// Lets a client go on by one step: from its place to waiting, from waiting to its turn or its time-out.
    GoOn(usize),
    Leave(usize),
    Settle(usize),
}

proptest! {
    /// The scheduler is this list: every interleaving of entering, waiting, waking, running out of patience, leaving and
    /// settling. A wait ends at some look at it, before or after the grant.
    #[test]
    fn every_place_is_returned_under_any_interleaving(
        steps in prop::collection::vec(
            prop_oneof![
                3 => (0..4i64, 0..4usize).prop_map(|(person, looks)| Step::Enter(person, looks)),
                4 => (0..16usize).prop_map(Step::GoOn),
                2 => (0..16usize).prop_map(Step::Leave),
                2 => (0..16usize).prop_map(Step::Settle),
            ],
            1..150,
        ),
        slots in 1..4usize,
    ) {
        let queue = queue(slots, 6);
        let mut clients: Vec<Client> = Vec::new();
        for step in steps {
            let pick = |which: usize| (!clients.is_empty()).then(|| which % clients.len());
            match step {
                Step::Enter(person, looks) => {
                    clients.extend(place(&queue, person).map(|place| Client::Entered(place, looks)));
                }
                Step::GoOn(which) => if let Some(at) = pick(which) {
                    clients[at] = match std::mem::replace(&mut clients[at], Client::Gone) {
                        Client::Entered(place, looks) => {
                            Client::Waits(Box::pin(place.turn_within(Patience(looks))))
                        }
                        Client::Waits(mut turn) => match turn.as_mut().now_or_never() {
                            Some(Ok(turn)) => Client::Runs(turn),
                            Some(Err(_)) => Client::Gone,
                            None => Client::Waits(turn),
                        },
                        other => other,
                    };
                },
                Step::Leave(which) => if let Some(at) = pick(which) {
                    clients[at] = Client::Gone;
                },
                Step::Settle(which) => if let Some(at) = pick(which)
                    && let Client::Runs(turn) = std::mem::replace(&mut clients[at], Client::Gone)
                {
                    turn.settle(Some(Duration::from_millis(7)));
                },
            }
            clients.retain(|client| !matches!(client, Client::Gone));
            let running = clients.iter().filter(|client| matches!(client, Client::Runs(_))).count();
            prop_assert!(running <= slots);
            prop_assert_eq!(queue.forecast().len(), clients.len());
        }
        clients.clear();
        prop_assert!(is_empty(&queue, slots));
    }
}
