//! Changes of models: run through their own stages, and reported back.
//!
//! A task of its own writes the intent, forwards the change and writes how it ended, whatever happens to its client. A client
//! who leaves ends the change.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::auth::Identity;
use crate::auth::running::Run;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::config::ModelsSection;
use crate::gateway::{Gateway, stopped};
use crate::model::catalog::UpstreamId;
use crate::model::manage::{BlobDigest, ChangeStep, ModelChange};
use crate::model::record::{GATEWAY_STOPPED, Outcome};
use crate::provider::ChangeCall;
use crate::rules::breaker::Passed;
use crate::rules::model_changes::{ChangeIntent, ModelChanges};
use crate::rules::routing::Routing;
use crate::upstream::{FileStream, UpstreamClient};

/// Steps that wait for a client who reads slowly.
const STEPS_WAITING_MAX: usize = 64;

/// How often a change is checked for progress.
const BEAT: Duration = Duration::from_millis(200);

/// A change of models that was authenticated, counted and decoded.
pub struct ChangeRequest {
    pub id: RequestId,
    pub who: Identity,
    pub api: &'static str,
    /// The name of the upstream, if the caller named one.
    pub upstream: Option<String>,
    pub change: ModelChange,
    /// What is uploaded.
    pub file: Option<FileStream>,
}

/// A change that is under way. Dropping it ends the change.
pub struct RunningChange {
    news: mpsc::Receiver<ChangeNews>,
}

pub enum ChangeNews {
    Step(ChangeStep),
    /// It is done, and on record.
    Done(ChangeStep),
    Failed(Error),
}

impl RunningChange {
    /// Waits for what comes next. Cancel-safe.
    pub async fn next(&mut self) -> ChangeNews {
        let gone = || ChangeNews::Failed(Error::internal(anyhow!("the task of a change has ended")));
        self.news.recv().await.unwrap_or_else(gone)
    }
}

impl Gateway {
    /// Runs a change through its stages and returns once its intent is on record.
    pub async fn change(&self, asked: ChangeRequest) -> Result<RunningChange, Error> {
        if self.is_stopping() {
            return Err(stopped());
        }
        let stages = &self.stages;
        for model in asked.change.model().into_iter().chain(asked.change.source()) {
            stages.policy.check_model(&asked.who, model)?;
            stages.policy.check_stays_here(model)?;
        }
        let upstream = self.named_upstream(asked.upstream.as_deref())?;
        let name = self.upstream.name(upstream).to_owned();
        let call = self.upstream.change_call(upstream, &asked.change);
        let permit = stages.model_changes.enter(upstream, &name)?;
        let content = [call.path.as_bytes(), call.body.as_deref().unwrap_or_default()].concat();
        let passed = stages.breaker.sends(&asked.who, asked.id, &content).await?;
        let model = asked.change.model().map_or("", |model| model.as_str());
        let run = stages.running.enter(asked.id, &asked.who, model)?;

        let (news, receiver) = mpsc::channel(STEPS_WAITING_MAX);
        let (recorded, intent) = oneshot::channel();
        let task = ChangeTask {
            id: asked.id,
            who: asked.who,
            api: asked.api,
            upstream_name: name,
            upstream,
            change: asked.change,
            call,
            client: self.upstream.clone(),
            routing: stages.routing.clone(),
            changes: stages.model_changes.clone(),
            stop_now: stages.stop_now.clone(),
            news,
            passed,
            run,
            _permit: permit,
        };
        tokio::task::spawn_local(stages.pumps.track_future(task.run(asked.file, recorded)));
        let running = RunningChange { news: receiver };
        intent.await.unwrap_or_else(|_| Err(Error::internal(anyhow!("the task of a change has ended"))))?;
        Ok(running)
    }

    /// Returns whether an upstream has an uploaded file.
    pub async fn has_blob(&self, upstream: Option<&str>, digest: &BlobDigest) -> Result<bool, Error> {
        self.upstream.has_blob(self.named_upstream(upstream)?, digest).await
    }

    /// Returns the upstream of this name, or the only one.
    fn named_upstream(&self, wanted: Option<&str>) -> Result<UpstreamId, Error> {
        let all: Vec<UpstreamId> = self.upstream.all().collect();
        let names = || {
            let names: Vec<_> = all.iter().map(|upstream| format!("`{}`", self.upstream.name(*upstream))).collect();
            names.join(", ")
        };
        match (wanted, all.as_slice()) {
            (None, [only]) => Ok(*only),
            (None, _) => Err(Error::invalid(
                UPSTREAM_FIELD,
                format!("several model servers are here; name one in the header `{UPSTREAM_FIELD}`: {}", names()),
            )),
            (Some(wanted), all) => {
                all.iter().copied().find(|upstream| self.upstream.name(*upstream) == wanted).ok_or_else(|| {
                    let message =
                        format!("there is no model server of the name in `{UPSTREAM_FIELD}`; there are: {}", names());
                    Error::invalid(UPSTREAM_FIELD, message)
                })
            }
        }
    }
}

/// The header that names an upstream.
pub const UPSTREAM_FIELD: &str = "x-upstream";

struct ChangeTask {
    id: RequestId,
    who: Identity,
    api: &'static str,
    upstream: UpstreamId,
    upstream_name: String,
    change: ModelChange,
    call: ChangeCall,
    client: Rc<UpstreamClient>,
    routing: Routing,
    changes: std::sync::Arc<ModelChanges>,
    stop_now: CancellationToken,
    news: mpsc::Sender<ChangeNews>,
    passed: Passed,
    run: Run,
    _permit: OwnedSemaphorePermit,
}

/// How a change ended, if it is not done.
struct Broken {
    outcome: Outcome,
    reason: Option<&'static str>,
    /// For the client, if it is still there.
    error: Error,
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Broken { outcome: Outcome::Failed, reason: Some(error.code()), error }
    }
}

impl ChangeTask {
    /// Runs the change to its end. `recorded` is told when its intent is on record, or why it is not.
    async fn run(self, file: Option<FileStream>, recorded: oneshot::Sender<Result<(), Error>>) {
        let intent = ChangeIntent {
            id: self.id,
            who: &self.who,
            api: self.api,
            upstream: &self.upstream_name,
            change: &self.change,
            call: &self.call,
        };
        // The receiver may be gone; then the change ends as soon as it is looked at.
        let note = match self.changes.begin(intent).await {
            Ok(note) => {
                let _ = recorded.send(Ok(()));
                note
            }
            Err(error) => {
                let _ = recorded.send(Err(error));
                return;
            }
        };
        let began = Instant::now();
        let ended = AssertUnwindSafe(self.proceed(file)).catch_unwind().await;
        let ended = ended.unwrap_or_else(|_| Err(Error::internal(anyhow!("the task of a change panicked")).into()));
        if self.change.digest().is_none() {
            self.routing.models_changed(self.upstream).await;
        }
        let (outcome, reason) = match &ended {
            Ok(_) => (Outcome::Completed, None),
            Err(broken) => (broken.outcome, broken.reason),
        };
        let written = self.changes.end(&note, outcome, reason, began.elapsed()).await;
        let last = match (ended, written) {
            (Ok(step), Ok(())) => ChangeNews::Done(step),
            (Err(broken), Ok(())) => ChangeNews::Failed(broken.error),
            (_, Err(unrecorded)) => ChangeNews::Failed(unrecorded),
        };
        self.tell(last).await;
    }

    /// Forwards the change, until it is done, its client leaves or its access ends.
    async fn proceed(&self, file: Option<FileStream>) -> Result<ChangeStep, Broken> {
        let broken = |outcome, reason, error| Err(Broken { outcome, reason, error });
        tokio::select! {
            biased;
            cut = self.run.cut() => broken(Outcome::Refused, Some(cut.reason()), cut.error()),
            () = self.stop_now.cancelled() => broken(Outcome::Interrupted, Some(GATEWAY_STOPPED), stopped()),
            () = self.news.closed() => broken(Outcome::Abandoned, None, stopped()),
            result = self.forward(file) => match result {
                Ok(step) => {
                    self.passed.answered();
                    Ok(step)
                }
                Err(error) => {
                    self.passed.failed(&error);
                    Err(error.into())
                }
            }
        }
    }

    async fn forward(&self, file: Option<FileStream>) -> Result<ChangeStep, Error> {
        let progress = Rc::new(Cell::new(Instant::now()));
        let seen = progress.clone();
        let file = file.map(|file| -> FileStream { Box::pin(file.inspect(move |_| seen.set(Instant::now()))) });
        self.passed.goes();
        tokio::select! {
            result = self.steps(file, &progress) => result,
            error = stalls(self.changes.config(), &progress) => Err(error),
        }
    }

    /// Sends the change and hands on its steps. Returns the last one, which says that it is done.
    async fn steps(&self, file: Option<FileStream>, progress: &Cell<Instant>) -> Result<ChangeStep, Error> {
        let file = match (self.change.digest(), file) {
            (Some(digest), Some(file)) if self.client.has_blob(self.upstream, digest).await? => {
                return drained(file).await;
            }
            (_, file) => file,
        };
        let longest = self.changes.config().change_time_max;
        let sent = self.client.change(self.upstream, &self.call, file, longest).await;
        let mut events = sent.map_err(|failure| {
            if failure.is_unconnected() {
                self.routing.unreachable(&self.client, self.upstream, &failure.error);
            }
            failure.error
        })?;
        let mut steps = Vec::new();
        // The last step is held back until the end of the change is on record.
        let mut last = None;
        loop {
            let more = events.next(&mut steps).await;
            for step in steps.drain(..) {
                progress.set(Instant::now());
                if let Some(step) = last.replace(step) {
                    self.tell(ChangeNews::Step(step)).await;
                }
            }
            match more {
                Ok(true) => {}
                Ok(false) => {
                    let missing = || Error::UpstreamRefused { message: "the model server reported nothing".into() };
                    return last.ok_or_else(missing);
                }
                Err(failure) => {
                    if let Some(step) = last {
                        self.tell(ChangeNews::Step(step)).await;
                    }
                    return Err(failure.error);
                }
            }
        }
    }

    /// Tells the client, unless it has left.
    async fn tell(&self, news: ChangeNews) {
        // A client that has left is noticed by `closed`.
        let _ = self.news.send(news).await;
    }
}

/// Reads a file that the upstream has already. It would answer without reading it and close the connection, which clients and the
/// gateway take for a failure.
async fn drained(mut file: FileStream) -> Result<ChangeStep, Error> {
    while let Some(chunk) = file.next().await {
        chunk?;
    }
    Ok(ChangeStep::success())
}

/// Resolves when a change has made no progress for too long, or takes too long as a whole.
async fn stalls(config: &ModelsSection, progress: &Cell<Instant>) -> Error {
    let began = Instant::now();
    loop {
        tokio::time::sleep(BEAT).await;
        let message = if began.elapsed() >= config.change_time_max {
            format!("the change took longer than {} s and was ended", config.change_time_max.as_secs())
        } else if progress.get().elapsed() >= config.change_idle {
            format!("the change made no progress for {} s and was ended", config.change_idle.as_secs())
        } else {
            continue;
        };
        return Error::Timeout { message };
    }
}
