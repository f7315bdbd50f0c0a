//! The spine: a request goes down its stages in a straight line, and its answer comes back.
//!
//! `answer` returns at the bar: above it a refusal has a true status code; below it everything lives inside one `Answer`,
//! and dropping that undoes everything. A task of its own pumps the upstream into a bounded buffer, so a client that
//! merely stalls does not keep the GPU.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, Intent, Outcome, Record};
use crate::auth::Identity;
use crate::auth::running::{Cut, Run, Running};
use crate::breaker::{Breaker, Passed};
use crate::catalog::ModelCard;
use crate::chat::ChatEvent;
use crate::config;
use crate::error::Error;
use crate::ids::RequestId;
use crate::limits::{Admission, Cost, Denial, Hold, Limits};
use crate::policy::Policy;
use crate::provider::Call;
use crate::queue::{self, Place, Queue};
use crate::rights::Class;
use crate::routing::Routing;
use crate::upstream::{Patience, Upstream};
use crate::work::Work;

/// What all workers share.
#[derive(Clone)]
pub struct Stages {
    pub breaker: Arc<Breaker>,
    pub limits: Arc<Limits>,
    pub policy: Arc<Policy>,
    pub routing: Routing,
    pub queue: Arc<Queue>,
    pub audit: Arc<Audit>,
    /// Those below the bar, and how they are ended before their time.
    pub running: Arc<Running>,
    pub answers: config::Answers,
    /// No new work; running answers may end.
    pub stopping: CancellationToken,
    /// The time for that is over.
    pub stop_now: CancellationToken,
}

/// One worker's gateway.
pub struct Gateway {
    stages: Stages,
    upstream: Rc<Upstream>,
}

/// A request that has been identified, counted and understood.
pub struct Asked {
    pub id: RequestId,
    pub who: Identity,
    pub api: &'static str,
    pub address: Option<IpAddr>,
    pub class: Class,
    pub work: Work,
    /// Fields without effect, for the record and the client.
    pub ignored: Vec<String>,
}

/// A refusal, and whether it has its row in the record already.
pub struct Refused {
    pub error: Error,
    pub recorded: bool,
    /// Where it stood in the queue, if it had a place there.
    pub stood: Option<Stood>,
}

/// How a request stands in the queue, or stood.
#[derive(Debug, Clone, Copy)]
pub struct Stood {
    /// Where in the line it entered: 0, it ran at once; 1, it was the next.
    pub position: usize,
    /// How long it waited for its turn, or has waited until now.
    pub wait: Duration,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused { error, recorded: false, stood: None }
    }
}

/// How often a running answer is looked after: segments to the record, silence, length.
const BEAT: Duration = Duration::from_millis(100);

/// How long the reader of an answer that was cut may take to hear of it, before it is recorded without them.
const CUT_WAIT: Duration = Duration::from_secs(1);

impl Gateway {
    pub fn new(stages: Stages, upstream: Upstream) -> Self {
        Gateway { stages, upstream: Rc::new(upstream) }
    }

    /// Whether a request may come in at all, before it is counted.
    pub async fn arrives(&self, who: &Identity) -> Result<(), Error> {
        self.stages.breaker.arrives(who).await
    }

    pub fn breaker(&self) -> &Breaker {
        &self.stages.breaker
    }

    pub async fn admit(&self, who: &Identity) -> Result<Admission, Denial> {
        self.stages.limits.admit(who).await
    }

    /// The models that `who` may ask.
    pub async fn models(&self, who: &Identity) -> Result<Vec<ModelCard>, Error> {
        let served = self.stages.routing.models(&self.upstream).await?;
        Ok(self.stages.policy.visible(who, served))
    }

    /// Whether some host answers now.
    pub async fn reaches_a_host(&self) -> bool {
        for host in self.upstream.hosts() {
            if self.upstream.models(host).await.is_ok() {
                return true;
            }
        }
        false
    }

    pub fn is_stopping(&self) -> bool {
        self.stages.stopping.is_cancelled()
    }

    pub fn audit(&self) -> &Audit {
        &self.stages.audit
    }

    pub fn queue(&self) -> &Queue {
        &self.stages.queue
    }

    /// Those who wait or run, and how they are ended.
    pub fn running(&self) -> &Running {
        &self.stages.running
    }

    /// In the order of `HostId`.
    pub fn host_names(&self) -> impl Iterator<Item = String> {
        self.upstream.hosts().map(|host| self.upstream.name(host).to_owned())
    }

    pub fn answers(&self) -> &config::Answers {
        &self.stages.answers
    }

    pub fn limits(&self) -> &Limits {
        &self.stages.limits
    }

    /// Takes a request that was counted down to the bar. What it has cost in the end is settled there; what is refused
    /// above it costs nothing.
    pub async fn answer(&self, asked: Asked, admission: &mut Admission) -> Result<Answer, Refused> {
        let Stages { breaker, policy, routing, queue, audit, running, stopping, .. } = &self.stages;
        if stopping.is_cancelled() {
            return Err(stopped().into());
        }
        policy.check_model(&asked.who, asked.work.model())?;
        let mut allowed = policy.check(&asked.who, asked.work)?;
        let hosts = routing.candidates(&self.upstream, allowed.work.model()).await?;
        // All candidates of one request share one kind of provider.
        let provider = self.upstream.provider(hosts[0]);
        let mut ignored = asked.ignored;
        if (allowed.work.think_wish().is_some() || allowed.work.first_image().is_some())
            && let Some(skills) = routing.skills(&self.upstream, hosts[0], allowed.work.model()).await
        {
            ignored.extend(policy.fit_to_skills(&mut allowed.work, skills)?.map(str::to_owned));
        }
        if admission.bounds_cost() {
            let answer = allowed.answer_tokens();
            let gpu = queue.work_of(allowed.work.model().canonical());
            let granted = admission.hold(Cost { prompt: allowed.prompt_tokens, answer, gpu }).await?;
            if granted < answer {
                allowed.shorten_answer(granted, "that many are left of `tokens_per_day`");
            }
        }
        let call = provider.call(&allowed.work)?;
        allowed.notes.extend(call.notes.iter().cloned());
        allowed.notes.extend(ignored.iter().map(|field| format!("ignored {field}")));

        let passed = breaker.sends(&asked.who, &call.body).await?;
        let place = queue
            .reserve(queue::Asked {
                id: asked.id,
                who: &asked.who,
                class: asked.class,
                model: allowed.work.model().canonical(),
                hosts: &hosts,
                bytes: call.bytes_held(),
                images: !call.images.is_empty(),
            })
            .await?;
        let run = running.enter(asked.id, &asked.who, allowed.work.model().as_str())?;
        let record = audit
            .open(Intent {
                id: asked.id,
                who: &asked.who,
                api: asked.api,
                provider: provider.name(),
                model: allowed.work.model(),
                call: &call,
                address: asked.address,
                notes: allowed.notes,
            })
            .await?;
        let books = Books { record: Some(record), hold: admission.take_hold() };
        Ok(self.pump(place, run, books, call, passed, ignored))
    }

    fn pump(&self, place: Place, run: Run, books: Books, call: Call, passed: Passed, ignored: Vec<String>) -> Answer {
        let line = Line { ahead: place.ahead(), entered: Instant::now(), waited: None };
        let shared = Rc::new(Shared { state: RefCell::new(State::new(books, line)), news: Notify::new() });
        let pump = Pump {
            upstream: self.upstream.clone(),
            shared: shared.clone(),
            answers: self.stages.answers.clone(),
            stop_now: self.stages.stop_now.clone(),
            passed,
        };
        let task = tokio::task::spawn_local(async move {
            let result = pump.run(&run, place, call).await;
            pump.tell_breaker(&result);
            pump.shared.end(result);
            // The model is done with it; its reader may not be.
            pump.shared.cut(run.cut().await);
            tokio::time::sleep(CUT_WAIT).await;
            pump.shared.close_unread();
        });
        Answer { ignored, shared, task }
    }
}

pub fn stopped() -> Error {
    Error::Unavailable {
        message: "the gateway is stopping; try again in a moment".into(),
        retry_after: Duration::from_secs(5),
    }
}

/// What the pump and the answer share, on one thread. No borrow is held over an await.
struct Shared {
    state: RefCell<State>,
    news: Notify,
}

struct State {
    /// Events that the client has not been given yet; bounded by `answer_bytes_max`.
    events: VecDeque<ChatEvent>,
    /// The reader wants the answer whole, so news before its end would wake them for nothing.
    whole: bool,
    ended: Option<Result<(), Ended>>,
    books: Books,
    line: Line,
}

/// What is kept of a request, and what it is charged.
struct Books {
    record: Option<Record>,
    hold: Option<Hold>,
}

impl Books {
    /// The model is done with the request, in whatever manner.
    fn settle(&mut self) {
        let spent = self.record.as_mut().map(Record::stops).unwrap_or_default();
        if let Some(hold) = self.hold.take() {
            hold.settle(spent);
        }
    }

    /// The record, to be closed.
    fn close(&mut self) -> Option<Record> {
        self.settle();
        self.record.take()
    }
}

/// A request's time in the queue.
#[derive(Clone, Copy)]
struct Line {
    ahead: Option<usize>,
    entered: Instant,
    waited: Option<Duration>,
}

impl State {
    fn new(books: Books, line: Line) -> Self {
        State { events: VecDeque::new(), whole: false, ended: None, books, line }
    }
}

impl Shared {
    fn with_record<T>(&self, change: impl FnOnce(&mut Record) -> T) -> Option<T> {
        self.state.borrow_mut().books.record.as_mut().map(change)
    }

    fn begins(&self, host: &str) {
        self.with_record(|record| record.begins(host));
        let mut state = self.state.borrow_mut();
        state.line.waited = Some(state.line.entered.elapsed());
    }

    fn end(&self, result: Result<(), Ended>) {
        let mut state = self.state.borrow_mut();
        state.ended = Some(result);
        state.books.settle();
        drop(state);
        self.news.notify_one();
    }

    /// Its reader gets nothing more, not even what is there.
    fn cut(&self, cut: Cut) {
        let mut state = self.state.borrow_mut();
        state.events.clear();
        if !matches!(state.ended, Some(Err(_))) {
            state.ended = Some(Err(Ended::from(cut)));
        }
        drop(state);
        self.news.notify_one();
    }

    /// Records the end that a reader who takes nothing has not seen.
    fn close_unread(&self) {
        let mut state = self.state.borrow_mut();
        if let Some(Err(ended)) = &state.ended {
            let outcome = ended.outcome;
            if let Some(record) = state.books.close() {
                record.close_soon(outcome);
            }
        }
    }
}

/// An answer that did not come to its end, and how the record calls that.
struct Ended {
    error: Error,
    outcome: Outcome,
}

impl Ended {
    /// The error, for the one who is told of it.
    fn tell(&mut self) -> Error {
        std::mem::replace(&mut self.error, stopped())
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        let outcome = Outcome::Failed(error.code());
        Ended { error, outcome }
    }
}

impl From<Cut> for Ended {
    fn from(cut: Cut) -> Self {
        Ended { error: cut.error(), outcome: Outcome::Refused(cut.reason()) }
    }
}

struct Pump {
    upstream: Rc<Upstream>,
    shared: Rc<Shared>,
    answers: config::Answers,
    stop_now: CancellationToken,
    passed: Passed,
}

impl Pump {
    fn tell_breaker(&self, result: &Result<(), Ended>) {
        match result {
            Ok(()) => self.passed.answered(),
            Err(Ended { error, outcome: Outcome::Failed(_) }) => self.passed.failed(error),
            // It was ended from here, which says nothing about its sender.
            Err(_) => {}
        }
    }

    async fn run(&self, run: &Run, place: Place, call: Call) -> Result<(), Ended> {
        tokio::select! {
            biased;
            cut = run.cut() => Err(Ended::from(cut)),
            () = self.stop_now.cancelled() => Err(Ended { error: stopped(), outcome: Outcome::Interrupted("gateway_stopped") }),
            result = self.generate(place, call) => result,
        }
    }

    async fn generate(&self, place: Place, call: Call) -> Result<(), Ended> {
        let turn = place.turn().await.map_err(|error| {
            let outcome = Outcome::Refused(error.code());
            Ended { error, outcome }
        })?;
        self.shared.begins(self.upstream.name(turn.host));
        self.passed.goes();

        let mut patience = Patience::new(self.upstream.limits(), self.answers.time_max);
        let sent = tokio::time::timeout(patience.left(), self.upstream.send(turn.host, &call)).await;
        let mut upstream = sent.map_err(|_| patience.too_long())??;
        drop(call);
        patience.heard();

        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::new();
        loop {
            // Taken in random order, so that a stream without a pause does not put off the beat.
            tokio::select! {
                more = upstream.next(&mut events) => {
                    patience.heard();
                    // What arrived before an error is part of the answer.
                    self.hand_on(&mut events)?;
                    if !more? {
                        break;
                    }
                }
                _ = beat.tick() => {
                    self.shared.with_record(Record::beat);
                    patience.check()?;
                }
            }
        }
        turn.settle(self.shared.with_record(|record| record.gpu_time()).flatten());
        Ok(())
    }

    fn hand_on(&self, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        let mut state = self.shared.state.borrow_mut();
        let mut bytes = 0;
        for event in events.drain(..) {
            if let Some(record) = &mut state.books.record {
                record.saw(&event);
                bytes = record.answer_bytes();
            }
            state.events.push_back(event);
        }
        let awaited = !state.whole;
        drop(state);
        if awaited {
            self.shared.news.notify_one();
        }
        if bytes > self.answers.bytes_max {
            let message = format!("the answer grew beyond {} bytes and was ended", self.answers.bytes_max);
            return Err(Error::UpstreamRefused { message });
        }
        Ok(())
    }
}

/// An answer below the bar. Dropping it ends the generation and leaves a row `abandoned`.
pub struct Answer {
    /// Fields of the request that had no effect, for its client.
    pub ignored: Vec<String>,
    shared: Rc<Shared>,
    task: JoinHandle<()>,
}

/// What there is to tell the client.
pub enum News {
    Events(Vec<ChatEvent>),
    /// The upstream's own end mark was among the events before.
    Complete,
    Failed(Error),
}

impl Answer {
    pub fn stood(&self) -> Stood {
        let line = self.shared.state.borrow().line;
        let position = line.ahead.map_or(0, |ahead| ahead + 1);
        Stood { position, wait: line.waited.unwrap_or_else(|| line.entered.elapsed()) }
    }

    /// Waits for the end, and for all that came before it.
    pub async fn whole(&self) -> Result<Vec<ChatEvent>, Error> {
        self.shared.state.borrow_mut().whole = true;
        loop {
            {
                let mut state = self.shared.state.borrow_mut();
                if let Some(ended) = &mut state.ended {
                    return match ended {
                        Ok(()) => Ok(state.events.drain(..).collect()),
                        Err(ended) => Err(ended.tell()),
                    };
                }
            }
            self.shared.news.notified().await;
        }
    }

    /// Waits for something new. Cancel-safe: what is not returned stays.
    pub async fn news(&self) -> News {
        loop {
            {
                let mut state = self.shared.state.borrow_mut();
                if !state.events.is_empty() {
                    return News::Events(state.events.drain(..).collect());
                }
                match &mut state.ended {
                    None => {}
                    Some(Ok(())) => return News::Complete,
                    Some(Err(ended)) => return News::Failed(ended.tell()),
                }
            }
            self.shared.news.notified().await;
        }
    }

    /// Writes the result; the answer's last byte may leave after it, and not if it fails.
    pub async fn close(self, status: u16) -> Result<(), Error> {
        let (record, outcome) = {
            let mut state = self.shared.state.borrow_mut();
            let outcome = match &state.ended {
                Some(Ok(())) => Outcome::Completed,
                Some(Err(ended)) => ended.outcome,
                None => Outcome::Abandoned,
            };
            (state.books.close(), outcome)
        };
        match record {
            Some(record) => record.close(outcome, status).await,
            None => Ok(()),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.task.abort();
        // Hands over the row `abandoned` at once, unless `close` was called.
        drop(self.shared.state.borrow_mut().books.close());
    }
}
