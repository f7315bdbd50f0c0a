//! The task that reads an answer from the upstream, whether or not its client reads fast enough.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use anyhow::anyhow;
use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::running::Run;
use crate::base::error::Error;
use crate::base::vital::panic_on_purpose;
use crate::config;
use crate::gateway::plausible::Plausible;
use crate::gateway::shared::{Ended, Shared};
use crate::model::catalog::UpstreamId;
use crate::model::chat::{ChatEvent, Piece};
use crate::provider::Call;
use crate::rules::audit::{Ending, Record};
use crate::rules::breaker::Passed;
use crate::rules::limits::bodies::BodyBytes;
use crate::rules::quarantine::{Died, Stay};
use crate::rules::queue::{Place, Turn};
use crate::rules::routing::{Alive, Routing};
use crate::upstream::{Events, Failure, Patience, UpstreamClient};

/// How often a running answer is checked: segments for the record, silence, length.
const BEAT: Duration = Duration::from_millis(100);

/// How long the client of a cut answer may take to be told, before its row is closed without that.
const CUT_WAIT: Duration = Duration::from_secs(1);

pub struct Pump {
    pub upstream: Rc<UpstreamClient>,
    pub routing: Routing,
    /// The upstreams that may run the request.
    pub upstreams: Vec<UpstreamId>,
    pub shared: Rc<Shared>,
    pub answers: config::Answers,
    pub stop_now: CancellationToken,
    pub readers_over: CancellationToken,
    pub passed: Passed,
    pub plausible: Plausible,
}

/// What is sent to an upstream, with the memory that is reserved until it was sent.
pub struct Forward {
    pub call: Call,
    pub _memory: BodyBytes,
}

impl Pump {
    /// Runs until the answer has ended and its reader was told or ran out of time. `pumps` tracks the task.
    pub fn start(self, pumps: &TaskTracker, run: Run, place: Place, forward: Forward, stay: Stay) -> JoinHandle<()> {
        tokio::task::spawn_local(pumps.track_future(async move {
            let shared = self.shared.clone();
            if AssertUnwindSafe(self.whole(run, place, forward, stay)).catch_unwind().await.is_err() {
                shared.fail(Error::internal(anyhow!("the task of an answer panicked")));
                tokio::time::sleep(CUT_WAIT).await;
                shared.close_unread();
            }
        }))
    }

    async fn whole(self, run: Run, place: Place, forward: Forward, stay: Stay) {
        let result = self.run(&run, place, forward, stay).await;
        self.tell_breaker(&result);
        self.shared.end(result);
        // The model is done; the reader may not be.
        tokio::select! {
            cut = run.cut() => {
                self.shared.cut(cut);
                tokio::time::sleep(CUT_WAIT).await;
            }
            () = self.readers_over.cancelled() => self.shared.stop(),
        }
        self.shared.close_unread();
    }

    fn tell_breaker(&self, result: &Result<(), Ended>) {
        match result {
            Ok(()) => self.passed.answered(),
            Err(Ended { error, ending: Ending::Failed(_) }) => self.passed.failed(error),
            // It was ended from here, which is not the sender's fault.
            Err(_) => {}
        }
    }

    async fn run(&self, run: &Run, place: Place, forward: Forward, stay: Stay) -> Result<(), Ended> {
        tokio::select! {
            biased;
            cut = run.cut() => Err(Ended::from(cut)),
            () = self.stop_now.cancelled() => Err(Ended::stopped()),
            result = self.generate(place, forward, stay) => result,
        }
    }

    async fn generate(&self, place: Place, forward: Forward, stay: Stay) -> Result<(), Ended> {
        let Sent { turn, mut upstream, mut patience, began } = self.reach(place, &forward.call, &stay).await?;
        drop(forward);
        patience.heard();

        let mut beat = tokio::time::interval_at(Instant::now() + BEAT, BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::new();
        let mut pieces = 0;
        loop {
            // Polled in random order, so that a stream without a pause does not delay the beat.
            tokio::select! {
                more = upstream.next(&mut events) => {
                    patience.heard();
                    self.hold_to_what_can_be(&mut events, &mut pieces, began.elapsed());
                    // What arrived before an error is part of the answer.
                    self.hand_on(&mut events)?;
                    match more {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(failure) => return Err(self.judge(turn.upstream, &stay, failure).await.error.into()),
                    }
                }
                _ = beat.tick() => {
                    self.shared.with_record(Record::beat);
                    patience.check()?;
                }
            }
        }
        // An answer that ended at a stop sequence is still being generated. That ends before another request gets the slot.
        drop(upstream);
        stay.answered();
        turn.settle(self.shared.with_record(|record| record.gpu_time()).flatten());
        Ok(())
    }

    /// Waits for the turn and sends the call. One that fails before the first byte goes to another upstream, once.
    async fn reach(&self, mut place: Place, call: &Call, stay: &Stay) -> Result<Sent, Ended> {
        let mut is_last = false;
        loop {
            let turn = self.turn(place, stay).await?;
            let began = Instant::now();
            let patience = Patience::new(self.upstream.limits(), self.answers.time_max);
            let sent = tokio::time::timeout(patience.left(), self.upstream.send(turn.upstream, call)).await;
            let failure = match sent {
                Ok(Ok(upstream)) => return Ok(Sent { turn, upstream, patience, began }),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::from(patience.too_long()),
            };
            let Judged { error, may_go_elsewhere } = self.judge(turn.upstream, stay, failure).await;
            let name = self.upstream.name(turn.upstream);
            match (may_go_elsewhere && !is_last).then(|| turn.elsewhere()).flatten() {
                None => return Err(error.into()),
                Some(next) => {
                    self.shared.with_record(|record| record.failed_attempt(name, &error));
                    place = next.map_err(refused)?;
                    is_last = true;
                }
            }
        }
    }

    async fn turn(&self, place: Place, stay: &Stay) -> Result<Turn, Ended> {
        // A request that waited in vain gets the error of its upstreams, if all are down.
        let turn =
            place.turn().await.map_err(|error| refused(self.routing.all_down(&self.upstreams).unwrap_or(error)))?;
        self.shared.begins(self.upstream.name(turn.upstream));
        stay.begins(turn.upstream);
        self.passed.goes();
        panic_on_purpose("pump");
        Ok(turn)
    }

    /// Finds out whether the upstream, or its model, crashed during this request.
    async fn judge(&self, upstream: UpstreamId, stay: &Stay, failure: Failure) -> Judged {
        if failure.is_unconnected() {
            self.routing.unreachable(&self.upstream, upstream, &failure.error);
            return Judged { error: failure.error, may_go_elsewhere: true };
        }
        if let Error::UpstreamDied { .. } = failure.error {
            stay.died(Died::Model);
            return Judged { error: failure.error, may_go_elsewhere: false };
        }
        if !failure.broke_off {
            return Judged { error: failure.error, may_go_elsewhere: false };
        }
        stay.broke_off();
        match self.routing.probe(&self.upstream, upstream).await {
            Alive::Yes => Judged { error: failure.error, may_go_elsewhere: true },
            Alive::Unclear => Judged { error: failure.error, may_go_elsewhere: false },
            Alive::No => {
                stay.died(Died::Server);
                let message = "the model server died while it worked on this request".into();
                Judged { error: Error::UpstreamDied { message }, may_go_elsewhere: false }
            }
        }
    }

    /// Caps the numbers of the end mark among `events`, if it is there. `pieces` is the number of deltas so far.
    fn hold_to_what_can_be(&self, events: &mut [ChatEvent], pieces: &mut u64, on_slot: Duration) {
        for event in events {
            match &mut event.what {
                Piece::Text(_) | Piece::Reasoning(_) | Piece::ToolCall(_) => *pieces += 1,
                Piece::End(end) => {
                    let notes = self.plausible.hold(end, *pieces, on_slot);
                    self.shared.with_record(|record| notes.into_iter().for_each(|note| record.note(note)));
                }
                Piece::Logprobs(_) | Piece::Embedding(_) => {}
            }
        }
    }

    fn hand_on(&self, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if events.is_empty() || self.shared.add(events) <= self.answers.bytes_max {
            return Ok(());
        }
        let message = format!("the answer grew beyond {} bytes and was ended", self.answers.bytes_max);
        Err(Error::UpstreamRefused { message })
    }
}

/// A call whose answer has begun.
struct Sent {
    turn: Turn,
    upstream: Events,
    patience: Patience,
    began: Instant,
}

/// The consequence of a failure.
struct Judged {
    error: Error,
    /// The upstream is alive or never saw the request, so another may be tried.
    may_go_elsewhere: bool,
}

/// Ends a request whose turn has not come.
fn refused(error: Error) -> Ended {
    let ending = Ending::Refused(error.code());
    Ended { error, ending }
}
