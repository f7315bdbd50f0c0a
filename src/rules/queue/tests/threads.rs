//! A scheduler for the shell's threads: one runs at a time, from one section under the lock to the next, and a test says
//! which. So every order in which grants, time-outs and leavings can meet is played, and each can be played again.
//!
//! Everything that threads share in the queue is under its one lock, or goes through a channel whose sending happens there:
//! what lies between two of these points nobody else sees.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use crate::rules::queue::tests::{Patience, is_empty, place, queue};
use crate::rules::queue::*;

/// Where a thread of a play stops until it may go on.
struct Mark {
    stops: Sender<()>,
    go_on: Receiver<()>,
}

thread_local! {
    static MARK: RefCell<Option<Mark>> = const { RefCell::new(None) };
}

/// Lets another thread of the play come first. Outside of one, nothing happens.
pub fn stop() {
    MARK.with_borrow(|mark| {
        if let Some(mark) = mark {
            mark.stops.send(()).unwrap();
            mark.go_on.recv().unwrap();
        }
    });
}

type Act<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Plays acts, each on a thread of its own. `choose` says which of so many goes on to its next stop.
fn play(acts: Vec<Act<'_>>, choose: &mut dyn FnMut(usize) -> usize) {
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for act in acts {
            let ((stops, stopped), (go, go_on)) = (channel(), channel());
            scope.spawn(move || {
                MARK.set(Some(Mark { stops, go_on }));
                stop();
                act();
                // Dropping its mark says that the act is over, also when it panics.
            });
            stopped.recv().unwrap();
            threads.push((go, stopped));
        }
        while !threads.is_empty() {
            let next = choose(threads.len());
            let (go, stopped) = &threads[next];
            go.send(()).unwrap();
            if stopped.recv().is_err() {
                threads.remove(next);
            }
        }
    });
}

/// Plays every schedule there is. Answers how many that were.
fn every_schedule(scene: impl Fn(&mut dyn FnMut(usize) -> usize)) -> usize {
    // What was chosen at each step, of how many.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for played in 1.. {
        let mut step = 0;
        scene(&mut |of| {
            if step == path.len() {
                path.push((0, of));
            }
            step += 1;
            path[step - 1].0
        });
        while let Some((taken, of)) = path.pop() {
            if taken + 1 < of {
                path.push((taken + 1, of));
                break;
            }
        }
        if path.is_empty() {
            return played;
        }
    }
    unreachable!("paths are finite")
}

/// A client of the queue: when it has looked so often whether its turn has come, its time is up; it leaves by itself after
/// `stays` looks.
#[derive(Debug, Clone, Copy)]
struct Client {
    patience: usize,
    stays: usize,
}

impl Client {
    fn asks(self, queue: &Arc<Queue>, person: i64, running: &AtomicUsize, slots: usize) {
        let Ok(place) = place(queue, person) else { return };
        let mut turn = Box::pin(place.turn_within(Patience(self.patience)));
        for _ in 0..self.stays {
            stop();
            match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => {}
                Poll::Ready(Err(_)) => return,
                Poll::Ready(Ok(turn)) => {
                    assert!(running.fetch_add(1, Ordering::SeqCst) < slots, "more run than there are slots");
                    stop();
                    running.fetch_sub(1, Ordering::SeqCst);
                    turn.settle(None);
                    return;
                }
            }
        }
    }
}

/// Clients who come while somebody runs, and what must be true when all have gone: nothing is left of them, and every slot
/// is there for whoever comes next.
fn scene(slots: usize, clients: &[Client], choose: &mut dyn FnMut(usize) -> usize) {
    let queue = queue(slots, 8);
    let running = AtomicUsize::new(0);
    let first = place(&queue, 0).unwrap();
    let mut acts: Vec<Act<'_>> = vec![Box::new(move || drop(first))];
    for (person, client) in (1..).zip(clients) {
        let (queue, running) = (&queue, &running);
        acts.push(Box::new(move || client.asks(queue, person, running, slots)));
    }

    play(acts, choose);

    assert!(is_empty(&queue, slots));
    let next: Vec<Place> = (0..slots as i64).map(|person| place(&queue, person).unwrap()).collect();
    assert!(next.iter().all(|place| place.ahead().is_none()), "every slot is there");
}

#[test]
fn no_slot_is_lost_in_any_order_of_a_grant_a_time_out_and_a_leaving() {
    let out_of_time = Client { patience: 0, stays: 1 };
    let leaves = Client { patience: 9, stays: 1 };

    for clients in [[out_of_time; 2], [out_of_time, leaves], [leaves; 2]] {
        let played = every_schedule(|choose| scene(1, &clients, choose));
        assert!(played > 1000, "{played} schedules");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_slot_is_lost_when_many_come_at_once(
        clients in prop::collection::vec((0..4usize, 0..4usize), 1..8),
        slots in 1..4usize,
        choices in prop::collection::vec(any::<prop::sample::Index>(), 1..100),
    ) {
        let clients: Vec<Client> = clients.iter().map(|(patience, stays)| Client { patience: *patience, stays: *stays }).collect();
        let mut choices = choices.into_iter().cycle();
        scene(slots, &clients, &mut |of| choices.next().unwrap().index(of));
    }
}
