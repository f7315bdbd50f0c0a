//! Runs a request through its stages in order, and brings its answer back.
//!
//! `answer` returns at the bar: above it a refusal has a status of its own; below it everything is held by one `Answer`, and
//! dropping that undoes everything. A task of its own pumps the upstream into a bounded buffer, so a stalled client doesn't
//! keep the GPU.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Identity;
use crate::auth::running::Running;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::config;
use crate::model::catalog::{LoadedCard, LoadedModel, ModelCard, ModelDescription, Skills};
use crate::model::model_name::ModelName;
use crate::model::rights::Class;
use crate::model::token::Token;
use crate::model::work::Work;
use crate::provider;
use crate::rules::audit::{Audit, EndNote, Intent, Record, Unopened};
use crate::rules::breaker::Breaker;
use crate::rules::limits::bodies::BodyBytes;
use crate::rules::limits::{Admission, Cost, Denial, Limits};
use crate::rules::model_changes::ModelChanges;
use crate::rules::policy::Policy;
use crate::rules::quarantine::Quarantine;
use crate::rules::queue::{self, Queue};
use crate::rules::routing::Routing;
use crate::upstream::UpstreamClient;

mod answer;
mod choices;
mod manage;
mod plausible;
mod pump;
mod shared;

use answer::Answer;
pub use choices::ChoiceAnswers;
pub use manage::{ChangeNews, ChangeRequest, RunningChange, UPSTREAM_FIELD};
use plausible::Plausible;
use pump::{Forward, Pump};
pub use shared::News;
use shared::Shared;

/// The parts that all workers share.
#[derive(Clone)]
pub struct Stages {
    pub breaker: Arc<Breaker>,
    pub limits: Arc<Limits>,
    pub policy: Arc<Policy>,
    pub quarantine: Arc<Quarantine>,
    pub routing: Routing,
    pub queue: Arc<Queue>,
    pub audit: Arc<Audit>,
    pub model_changes: Arc<ModelChanges>,
    /// Admitted requests, and how they are ended early.
    pub running: Arc<Running>,
    pub answers: config::Answers,
    /// The gateway is stopping: no new requests; running answers may finish.
    pub stopping: CancellationToken,
    /// The time to finish is over; readers may take their last bytes.
    pub stop_now: CancellationToken,
    /// The time for last bytes is over: answers that were not read to the end are closed in the record.
    pub readers_over: CancellationToken,
    /// Tracks the tasks of admitted requests.
    pub pumps: TaskTracker,
}

/// One worker's gateway.
pub struct Gateway {
    stages: Stages,
    upstream: Rc<UpstreamClient>,
}

/// A request that has been authenticated, counted and decoded.
pub struct DecodedRequest {
    pub id: RequestId,
    pub who: Identity,
    pub api: &'static str,
    pub address: Option<IpAddr>,
    pub class: Class,
    pub work: Work,
    /// Fields without effect, for the record and the client.
    pub ignored: Vec<String>,
    /// For the record alone.
    pub notes: Vec<String>,
    /// What a later request for its answer needs, for the record.
    pub settings: Option<Bytes>,
    /// The memory of its body, released once it is forwarded.
    pub memory: BodyBytes,
    /// Where its end is noted.
    pub end: EndNote,
}

/// A refusal, and whether it has its row in the record already.
pub struct Refused {
    pub error: Error,
    pub recorded: bool,
    /// Its place in the queue, if it had one.
    pub stood: Option<Stood>,
    /// Intents that are written or may still be; they have to be closed with the error that the client gets.
    pub late: Vec<Record>,
}

/// A request's place and wait in the queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stood {
    /// Requests before it when it entered: 0 means that it ran at once, 1 that it was the next.
    pub position: usize,
    /// How long it waited for its turn, or has waited so far.
    pub wait: Duration,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused { error, recorded: false, stood: None, late: Vec::new() }
    }
}

impl Gateway {
    /// Creates a worker's gateway, on the worker's thread.
    pub fn new(stages: Stages, upstream: UpstreamClient) -> Self {
        let serving = stages.audit.serve_worker();
        tokio::task::spawn_local(stages.audit.vitals().clone().run("a worker's mailbox", serving));
        Gateway { stages, upstream: Rc::new(upstream) }
    }

    /// Checks whether a request may come in at all, before it is counted.
    pub async fn arrives(&self, who: &Identity) -> Result<(), Error> {
        self.stages.breaker.arrives(who).await
    }

    pub fn breaker(&self) -> &Breaker {
        &self.stages.breaker
    }

    pub async fn admit(&self, who: &Identity) -> Result<Admission, Denial> {
        self.stages.limits.admit(who).await
    }

    /// Returns the models that `who` may use; the host, without an identity, sees them all.
    pub async fn models(&self, who: Option<&Identity>) -> Result<Vec<ModelCard>, Error> {
        let served = self.stages.routing.models().await?;
        Ok(match who {
            Some(who) => self.stages.policy.visible(who, served),
            None => served,
        })
    }

    /// Returns those of `models` that are on a token's list.
    pub fn models_of_token(&self, token: &Token, mut models: Vec<ModelCard>) -> Vec<ModelCard> {
        let policy = &self.stages.policy;
        models.retain(|card| token.models.include(&card.name, &|one, other| policy.is_same(one, other)));
        models
    }

    /// Returns the model that `name` means to `who`.
    pub async fn model(&self, who: Option<&Identity>, name: &ModelName) -> Result<Option<ModelCard>, Error> {
        let served = self.models(who).await?;
        Ok(served.into_iter().find(|card| self.stages.policy.is_same(&card.name, name)))
    }

    /// Returns what a model can do, asked where its upstream has not told yet. `None`: it does not tell, or not in time.
    pub async fn skills(&self, model: &ModelName) -> Option<Skills> {
        let candidates = self.stages.routing.candidates(model).await.ok()?;
        self.stages.routing.skills(&self.upstream, &candidates, model).await
    }

    /// Returns what the upstream of a model tells of it.
    pub async fn description(&self, model: &ModelName) -> Result<ModelDescription, Error> {
        let candidates = self.stages.routing.candidates(model).await?;
        self.stages.routing.description(&self.upstream, &candidates, model).await
    }

    /// Returns the version of the first upstream that is up. `None`: it tells none.
    pub async fn version(&self) -> Result<Option<String>, Error> {
        self.stages.routing.version(&self.upstream).await
    }

    /// Returns the models in the memory of the upstreams that `who` may use, each as often as it is loaded.
    pub async fn loaded_for(&self, who: Option<&Identity>) -> Result<Vec<LoadedCard>, Error> {
        let cards = self.models(who).await?;
        let loaded = self.loaded().await.into_iter().flatten().flatten();
        Ok(loaded
            .filter_map(|loaded| {
                let card = cards.iter().find(|card| self.is_same_model(&card.name, &loaded.name))?.clone();
                Some(LoadedCard { card, loaded })
            })
            .collect())
    }

    /// Returns whether two names mean one model.
    pub fn is_same_model(&self, one: &ModelName, other: &ModelName) -> bool {
        self.stages.policy.is_same(one, other)
    }

    /// Returns the kind of provider that serves `name`, for the record of its refusal. `None` when there is no such model, or
    /// none that the caller may see.
    pub fn provider_of(&self, name: &str, refusal: &Error) -> Option<&'static str> {
        if matches!(refusal, Error::ModelNotFound { .. }) {
            return None;
        }
        Some(self.stages.routing.kind_of(&ModelName::parse(name).ok()?)?.name())
    }

    /// Returns whether any upstream is up.
    pub async fn reaches_an_upstream(&self) -> bool {
        self.stages.routing.is_any_up().await
    }

    pub fn routing(&self) -> &Routing {
        &self.stages.routing
    }

    pub fn quarantine(&self) -> &Quarantine {
        &self.stages.quarantine
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

    /// Returns the waiting and running requests, and how to end them.
    pub fn running(&self) -> &Running {
        &self.stages.running
    }

    /// Returns the models in the memory of each upstream, in the order of `UpstreamId`. `None`: it did not tell.
    pub async fn loaded(&self) -> Vec<Option<Vec<LoadedModel>>> {
        self.stages.routing.loaded(&self.upstream).await
    }

    /// Returns the names in the order of `UpstreamId`.
    pub fn upstream_names(&self) -> impl Iterator<Item = String> {
        self.upstream.all().map(|upstream| self.upstream.name(upstream).to_owned())
    }

    pub fn answers(&self) -> &config::Answers {
        &self.stages.answers
    }

    pub fn limits(&self) -> &Limits {
        &self.stages.limits
    }

    /// Runs an admitted request through policy, routing, quotas, queue and audit, then starts the upstream call. Its cost is
    /// settled below the bar; a request that is refused above it costs nothing.
    async fn answer(&self, asked: DecodedRequest, admission: &mut Admission) -> Result<Answer, Refused> {
        let Stages { breaker, policy, quarantine, routing, queue, audit, running, answers, .. } = &self.stages;
        let Stages { stopping, stop_now, readers_over, pumps, .. } = &self.stages;
        if stopping.is_cancelled() {
            return Err(stopped().into());
        }
        policy.check_model(&asked.who, asked.work.model())?;
        let mut allowed = policy.check(&asked.who, asked.work)?;
        let candidates = routing.candidates(allowed.work.model()).await?;
        let provider = provider::of(candidates.kind);
        let canonical = provider.canonical(allowed.work.model());
        let mut ignored = asked.ignored;
        if (allowed.work.optional_thinking().is_some() || allowed.work.first_image().is_some())
            && let Some(skills) = routing.skills(&self.upstream, &candidates, allowed.work.model()).await
        {
            ignored.extend(policy.fit_to_skills(&mut allowed.work, skills)?.map(str::to_owned));
        }
        if admission.bounds_cost() {
            let answer = allowed.answer_tokens();
            let gpu = queue.work_of(&canonical);
            let granted = admission.hold(Cost { prompt: allowed.prompt_tokens, answer, gpu }).await?;
            if granted < answer {
                allowed.shorten_answer(granted, "that many are left of `tokens_per_day`");
            }
        }
        let answer_tokens = allowed.answer_tokens();
        let call = provider.call(&allowed.work)?;
        let simplified = call.simplified.clone();
        allowed.notes.extend(call.notes.iter().cloned());
        allowed.notes.extend(asked.notes);
        allowed.notes.extend(ignored.iter().map(|field| format!("ignored {field}")));

        let stay = quarantine.admit(&call, &canonical)?;
        let passed = breaker.sends(&asked.who, asked.id, &call.body).await?;
        let place = queue
            .reserve(queue::QueueRequest {
                id: asked.id,
                who: &asked.who,
                class: asked.class,
                model: &canonical,
                upstreams: &candidates.upstreams,
                bytes: call.bytes_held(),
                images: !call.images.is_empty(),
            })
            .await?;
        let run = running.enter(asked.id, &asked.who, allowed.work.model().as_str())?;
        let mut hold = admission.take_hold();
        let mut on_record = |on_record| hold.iter_mut().for_each(|hold| hold.is_on_record(on_record));
        // From here on the intent may be written even if the client disconnects.
        on_record(true);
        let opened = audit
            .open(Intent {
                id: asked.id,
                who: &asked.who,
                api: asked.api,
                provider: candidates.kind.name(),
                model: allowed.work.model(),
                canonical: &canonical,
                call: &call,
                address: asked.address,
                notes: allowed.notes,
                settings: asked.settings,
                end: asked.end,
            })
            .await;
        let mut record = match opened {
            Ok(record) => record,
            Err(Unopened { error, late }) => {
                on_record(late.is_some());
                return Err(Refused { late: late.into_iter().collect(), ..error.into() });
            }
        };
        record.guess_prompt(allowed.prompt_tokens);
        let plausible = Plausible::of(&call, allowed.prompt_tokens, answer_tokens);
        let shared = Rc::new(Shared::new(record, hold, place.ahead()));
        let pump = Pump {
            upstream: self.upstream.clone(),
            routing: routing.clone(),
            upstreams: candidates.upstreams,
            shared: shared.clone(),
            answers: answers.clone(),
            stop_now: stop_now.clone(),
            readers_over: readers_over.clone(),
            passed,
            plausible,
        };
        let forward = Forward { call, _memory: asked.memory };
        Ok(Answer::new(ignored, simplified, shared, pump.start(pumps, run, place, forward, stay)))
    }
}

pub fn stopped() -> Error {
    Error::Unavailable {
        message: "the gateway is stopping; try again in a moment".into(),
        retry_after: Duration::from_secs(5),
    }
}
