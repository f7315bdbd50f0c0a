//! Whose turn it is, and on which host: first come, first served, with a bounded waiting room.
//!
//! `State` is pure: no clock, no await. A place or a turn that is dropped gives back what it holds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::auth::Identity;
use crate::catalog::HostId;
use crate::config;
use crate::error::Error;

pub struct Queue {
    state: Mutex<State>,
    wait_max: Duration,
}

struct State {
    /// Free slots of each host.
    free: Vec<usize>,
    slots: usize,
    waiting: VecDeque<Waiting>,
    waiting_max: usize,
    next_ticket: u64,
    /// A moving mean of how long a request holds its slot.
    service: Duration,
}

struct Waiting {
    ticket: u64,
    hosts: Vec<HostId>,
    wake: oneshot::Sender<HostId>,
}

/// What a finished request cost. The mean of it makes `Retry-After` honest.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub held: Duration,
}

/// Before the first answer nobody knows; a guess that is soon replaced.
const SERVICE_GUESS: Duration = Duration::from_secs(5);

/// A retry after more than this helps nobody to plan.
const RETRY_MAX: Duration = Duration::from_secs(120);

impl Queue {
    /// `slots`: how many requests may run on each host at once.
    pub fn new(slots: &[usize], config: &config::Queue) -> Arc<Self> {
        let state = State {
            free: slots.to_vec(),
            slots: slots.iter().sum(),
            waiting: VecDeque::new(),
            waiting_max: config.waiting_max,
            next_ticket: 0,
            service: SERVICE_GUESS,
        };
        Arc::new(Queue { state: Mutex::new(state), wait_max: config.wait_max })
    }

    /// A place in the queue for one of `hosts`, without waiting for a turn.
    // Async from the start: replicas will share the queue. `who` is what fairness will be about.
    pub async fn reserve(self: &Arc<Self>, _who: &Identity, hosts: &[HostId]) -> Result<Place, Error> {
        let hold = self.lock().enter(hosts)?;
        Ok(Place { queue: self.clone(), hold })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn enter(&mut self, hosts: &[HostId]) -> Result<Hold, Error> {
        if self.waiting.is_empty()
            && let Some(host) = self.take_slot(hosts)
        {
            return Ok(Hold::Slot(host));
        }
        if self.waiting.len() >= self.waiting_max {
            return Err(Error::HostBusy {
                message: format!("{} requests wait already; try again later", self.waiting.len()),
                retry_after: self.retry_after(),
            });
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let (wake, woken) = oneshot::channel();
        self.waiting.push_back(Waiting { ticket, hosts: hosts.to_vec(), wake });
        // Those ahead may wait for another host.
        self.serve();
        Ok(Hold::Ticket { ticket, woken })
    }

    fn take_slot(&mut self, hosts: &[HostId]) -> Option<HostId> {
        let host = hosts.iter().copied().find(|host| self.free[host.0] > 0)?;
        self.free[host.0] -= 1;
        Some(host)
    }

    fn give_back(&mut self, host: HostId) {
        self.free[host.0] += 1;
        self.serve();
    }

    fn leave(&mut self, ticket: u64) {
        self.waiting.retain(|waiting| waiting.ticket != ticket);
    }

    /// Gives free slots to those who wait for them, in the order in which they came.
    fn serve(&mut self) {
        let mut at = 0;
        while at < self.waiting.len() {
            let hosts = self.waiting[at].hosts.clone();
            let Some(host) = self.take_slot(&hosts) else {
                at += 1;
                continue;
            };
            let Some(next) = self.waiting.remove(at) else { return };
            // A place tells us when it is dropped, under the same lock; a receiver that is gone all the same frees the slot.
            if next.wake.send(host).is_err() {
                self.free[host.0] += 1;
            }
        }
    }

    fn retry_after(&self) -> Duration {
        let turns = (self.waiting.len() / self.slots.max(1) + 1) as u32;
        (self.service * turns).clamp(Duration::from_secs(1), RETRY_MAX)
    }

    fn settle(&mut self, cost: Cost) {
        self.service = (self.service * 7 + cost.held) / 8;
    }
}

enum Hold {
    Slot(HostId),
    Ticket { ticket: u64, woken: oneshot::Receiver<HostId> },
    Nothing,
}

/// A place in the queue. Dropping it gives it up.
pub struct Place {
    queue: Arc<Queue>,
    hold: Hold,
}

impl Place {
    /// Waits for the turn, as long as the queue lets anybody wait.
    pub async fn turn(mut self) -> Result<Turn, Error> {
        let host = match &mut self.hold {
            Hold::Slot(host) => *host,
            Hold::Ticket { woken, .. } => match tokio::time::timeout(self.queue.wait_max, woken).await {
                Ok(Ok(host)) => host,
                Ok(Err(_)) | Err(_) => {
                    return Err(Error::HostBusy {
                        message: format!("no slot came free in {} s; try again later", self.queue.wait_max.as_secs()),
                        retry_after: self.queue.lock().retry_after(),
                    });
                }
            },
            Hold::Nothing => unreachable!("a place is turned into a turn once"),
        };
        self.hold = Hold::Nothing;
        Ok(Turn { queue: self.queue.clone(), host, since: Instant::now() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        match std::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Slot(host) => state.give_back(host),
            Hold::Ticket { ticket, mut woken } => match woken.try_recv() {
                Ok(host) => state.give_back(host),
                Err(_) => state.leave(ticket),
            },
            Hold::Nothing => {}
        }
    }
}

/// A slot on a host. Dropping it, settled or not, wakes the next in line.
pub struct Turn {
    queue: Arc<Queue>,
    pub host: HostId,
    since: Instant,
}

impl Turn {
    /// Ends the turn of a request that was answered.
    pub fn settle(self) {
        let cost = Cost { held: self.since.elapsed() };
        self.queue.lock().settle(cost);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.lock().give_back(self.host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(slots: &[usize], waiting_max: usize) -> Arc<Queue> {
        Queue::new(slots, &config::Queue { waiting_max, wait_max: Duration::from_secs(60) })
    }

    fn place(queue: &Arc<Queue>, hosts: &[usize]) -> Result<Place, Error> {
        let hosts: Vec<_> = hosts.iter().map(|host| HostId(*host)).collect();
        let hold = queue.lock().enter(&hosts)?;
        Ok(Place { queue: queue.clone(), hold })
    }

    #[actix_web::test]
    async fn turns_come_in_the_order_of_arrival() {
        let queue = queue(&[1], 8);
        let first = place(&queue, &[0]).unwrap().turn().await.unwrap();
        let (second, third) = (place(&queue, &[0]).unwrap(), place(&queue, &[0]).unwrap());
        let mut third = Box::pin(third.turn());

        drop(first);
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(second.turn().await.unwrap());
        assert!(futures_util::poll!(&mut third).is_ready());
    }

    #[test]
    fn the_waiting_room_has_as_many_seats_as_configured() {
        let queue = queue(&[1], 2);
        let _running = place(&queue, &[0]).unwrap();
        let _waiting = [place(&queue, &[0]).unwrap(), place(&queue, &[0]).unwrap()];

        assert_eq!(place(&queue, &[0]).err().unwrap().code(), "host_busy");
    }

    #[actix_web::test]
    async fn whoever_leaves_gives_up_their_place_or_slot() {
        let queue = queue(&[1], 2);
        let running = place(&queue, &[0]).unwrap();
        let leaving = place(&queue, &[0]).unwrap();
        let staying = place(&queue, &[0]).unwrap();

        drop(leaving);
        drop(running);
        // `staying` was woken and then left without looking.
        drop(staying);

        assert_eq!(queue.lock().free, [1]);
        assert!(queue.lock().waiting.is_empty());
    }

    #[actix_web::test]
    async fn one_who_waits_for_a_busy_host_does_not_hold_up_another() {
        let queue = queue(&[1, 1], 8);
        let _on_first = place(&queue, &[0]).unwrap().turn().await.unwrap();
        let _waits = place(&queue, &[0]).unwrap();

        let turn = place(&queue, &[0, 1]).unwrap().turn().await.unwrap();

        assert_eq!(turn.host, HostId(1));
    }
}
