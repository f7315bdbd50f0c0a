//! Routing: which upstreams are up and serve a model.
//!
//! A background task polls each upstream for its models and its health; all workers share the results. A request waits for a
//! poll only while nothing is known at all, or when no upstream is known to serve its model, and never for long. An upstream
//! that is down gets no requests, and is polled several times a second until it is back.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures_util::future::join_all;
use tokio::sync::{Notify, watch};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, chain};
use crate::model::catalog::{LoadedModel, ModelCard, ModelDescription, Skills, UpstreamId};
use crate::model::model_name::ModelName;
use crate::model::provider_kind::ProviderKind;
use crate::upstream::UpstreamClient;

mod known;
mod loaded;

pub use known::Condition;
use known::{Known, Sure};
use loaded::Loaded;

#[derive(Clone)]
pub struct Routing(Arc<Shared>);

/// The upstreams that may run a request.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// The kind of all `upstreams`, since a request is translated once.
    pub kind: ProviderKind,
    /// Never empty.
    pub upstreams: Vec<UpstreamId>,
}

struct Shared {
    /// The kind of each upstream, in the order of `UpstreamId`.
    upstreams: Mutex<Vec<Known>>,
    /// Incremented after each poll.
    looked: watch::Sender<u64>,
    /// Notified to poll an upstream at once.
    wanted: Vec<Notify>,
    fresh: Duration,
    loaded: Loaded,
    /// Called whenever an upstream goes down or comes up.
    tell_down: Box<dyn Fn(UpstreamId, bool) + Send + Sync>,
}

/// A list younger than this is not fetched again.
const LIST_FRESH: Duration = Duration::from_secs(1);

/// Time limit of one poll.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// How long a request waits for a poll.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(1);

/// The same while no upstream is known at all, which is at the start.
const FIRST_LOOK_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long an upstream may take to report what a model can do.
const SKILLS_WAIT_MAX: Duration = Duration::from_secs(3);

/// How often, and after which pauses, an upstream is probed.
const PROBES: usize = 4;
const PROBE_PAUSE: Duration = Duration::from_millis(100);
const PROBE_MAX: Duration = Duration::from_secs(1);

/// Length limit of an error text.
const ERROR_CHARS_MAX: usize = 300;

/// Whether an upstream is alive after its connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alive {
    /// It answers.
    Yes,
    /// It refuses connections.
    No,
    Unclear,
}

/// An upstream as admins see it.
#[derive(Debug, Clone)]
pub struct UpstreamState {
    pub condition: Condition,
    /// The models of its last list.
    pub models: Vec<ModelName>,
    /// How long its last answer to a poll took. `None` unless it is up.
    pub latency: Option<Duration>,
}

/// Where a model is served.
enum Served {
    Here(Candidates),
    /// Only by upstreams that are down.
    Down(Error),
    Nowhere,
}

impl Routing {
    /// `fresh` is how old a list of models may become. `tell_down` is called whenever an upstream goes down or comes up.
    pub fn new(
        kinds: Vec<ProviderKind>,
        fresh: Duration,
        tell_down: impl Fn(UpstreamId, bool) + Send + Sync + 'static,
    ) -> Self {
        Routing(Arc::new(Shared {
            upstreams: Mutex::new(kinds.iter().map(|kind| Known::nothing(*kind)).collect()),
            looked: watch::Sender::new(0),
            wanted: kinds.iter().map(|_| Notify::new()).collect(),
            fresh,
            loaded: Loaded::default(),
            tell_down: Box::new(tell_down),
        }))
    }

    /// Polls all upstreams until it is dropped. Must run once only.
    pub async fn watch(&self, client: &UpstreamClient) {
        join_all(client.all().map(|upstream| self.watch_one(client, upstream))).await;
    }

    async fn watch_one(&self, client: &UpstreamClient, upstream: UpstreamId) {
        loop {
            self.lock()[upstream.0].begun += 1;
            let began = Instant::now();
            let look = tokio::time::timeout(LOOK_MAX, client.models(upstream)).await;
            let took = began.elapsed();
            let result = look.unwrap_or_else(|_| {
                let message = format!("it told no list of models within {} s", LOOK_MAX.as_secs());
                Err(Error::Timeout { message })
            });
            self.change(client, upstream, |known| {
                known.ended += 1;
                match result {
                    Ok(models) => {
                        known.answered(models, Instant::now());
                        known.latency = Some(took);
                    }
                    Err(error) => known.failed(sure(&error), words(&error), Timestamp::now()),
                }
            });
            let pause = self.lock()[upstream.0].pause(self.0.fresh);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.0.wanted[upstream.0].notified() => {}
            }
        }
    }

    /// Changes what is known of an upstream, and notifies who waits for it.
    fn change(&self, client: &UpstreamClient, upstream: UpstreamId, change: impl FnOnce(&mut Known)) {
        let mut all = self.lock();
        let known = &mut all[upstream.0];
        let before = known.condition.clone();
        change(known);
        let (name, url) = (client.name(upstream), client.url(upstream));
        match (&before, &known.condition) {
            (Condition::Down { .. } | Condition::Unknown, Condition::Up) => {
                let models = known.models.len();
                tracing::info!(
                    upstream.name = name,
                    upstream.url = %url,
                    models,
                    "upstream `{name}` answers"
                );
            }
            (Condition::Up | Condition::Unknown, Condition::Down { error, .. }) => {
                let remedy = match url.is_loopback() && known.kind == ProviderKind::Ollama {
                    true => "start it: `systemctl start ollama`, or `ollama serve`",
                    false => "start it on its host, or correct its `url`",
                };
                tracing::warn!(
                    upstream.name = name,
                    upstream.url = %url,
                    cause = error,
                    remedy,
                    "upstream `{name}` is down"
                );
            }
            _ => {}
        }
        if before != known.condition {
            // Called under the lock, so that the last call has the current state.
            (self.0.tell_down)(upstream, known.is_down());
        }
        drop(all);
        self.0.looked.send_modify(|count| *count += 1);
    }

    /// Records that a request could not connect.
    pub fn unreachable(&self, client: &UpstreamClient, upstream: UpstreamId, error: &Error) {
        self.change(client, upstream, |known| known.failed(Sure::Yes, words(error), Timestamp::now()));
        self.0.wanted[upstream.0].notify_one();
    }

    /// Probes an upstream after a connection to it broke. One that has just crashed may take a moment to release its port.
    pub async fn probe(&self, client: &UpstreamClient, upstream: UpstreamId) -> Alive {
        for probe in 0..PROBES {
            if probe > 0 {
                tokio::time::sleep(PROBE_PAUSE).await;
            }
            match tokio::time::timeout(PROBE_MAX, client.models(upstream)).await {
                Ok(Ok(_)) => return Alive::Yes,
                Ok(Err(error)) if sure(&error) == Sure::Yes => {
                    self.unreachable(client, upstream, &error);
                    return Alive::No;
                }
                // It hangs.
                Err(_) => break,
                Ok(Err(_)) => {}
            }
        }
        self.0.wanted[upstream.0].notify_one();
        Alive::Unclear
    }

    /// Returns the upstreams that are up and serve `model`. Where upstreams of several kinds do, the first in the
    /// configuration decides the kind.
    pub async fn candidates(&self, model: &ModelName) -> Result<Candidates, Error> {
        self.first_look().await;
        if !matches!(self.serving(model), Served::Here(_)) {
            // The model may have been pulled, or its upstream started, a moment ago.
            self.look_again(|_| true, |known| known.is_up() && known.serves(model)).await;
        }
        match self.serving(model) {
            Served::Here(candidates) => Ok(candidates),
            Served::Down(error) => Err(error),
            Served::Nowhere => {
                self.check_any_up()?;
                Err(Error::ModelNotFound { model: model.as_str().to_owned() })
            }
        }
    }

    /// Returns the kind of the first upstream whose last list names `model`, whether it is up or not.
    pub fn kind_of(&self, model: &ModelName) -> Option<ProviderKind> {
        self.lock().iter().find(|known| known.serves(model)).map(|known| known.kind)
    }

    /// Returns every model that some upstream serves now, by name.
    pub async fn models(&self) -> Result<Vec<ModelCard>, Error> {
        self.look_around().await;
        self.check_any_up()?;
        let mut models: Vec<ModelCard> = Vec::new();
        for known in self.lock().iter().filter(|known| known.is_up()) {
            for model in &known.models {
                if !models.iter().any(|known| known.canonical == model.canonical) {
                    models.push(model.clone());
                }
            }
        }
        models.sort_by(|one, other| one.canonical.cmp(&other.canonical));
        Ok(models)
    }

    /// Returns whether any upstream is up.
    pub async fn is_any_up(&self) -> bool {
        self.look_around().await;
        self.check_any_up().is_ok()
    }

    /// Returns what is known of each upstream, in the order of `UpstreamId`.
    pub fn seen(&self) -> Vec<UpstreamState> {
        let seen = |known: &Known| UpstreamState {
            condition: known.condition.clone(),
            models: known.models.iter().map(|card| card.name.clone()).collect(),
            latency: known.latency.filter(|_| known.is_up()),
        };
        self.lock().iter().map(seen).collect()
    }

    /// Returns the error of a request whose upstreams are all down; `None` if one of them is up.
    pub fn all_down(&self, upstreams: &[UpstreamId]) -> Option<Error> {
        let all = self.lock();
        let downs: Option<Vec<Error>> = upstreams.iter().map(|upstream| down(&all[upstream.0])).collect();
        downs?.pop()
    }

    /// Returns what `model` can do, as the first candidate reports it: fetched once, and again when the model has changed.
    /// `None` when it doesn't report it; then the upstream decides itself.
    pub async fn skills(&self, client: &UpstreamClient, candidates: &Candidates, model: &ModelName) -> Option<Skills> {
        let upstream = *candidates.upstreams.first()?;
        let known = self.with_card(upstream, model, |card| card.skills).flatten();
        if known.is_some() {
            return known;
        }
        let asked = tokio::time::timeout(SKILLS_WAIT_MAX, client.skills(upstream, model)).await;
        match asked.unwrap_or_else(|_| Err(Error::Timeout { message: "it took too long".into() })) {
            Ok(skills) => {
                self.with_card(upstream, model, |card| card.skills = skills);
                skills
            }
            Err(error) => {
                tracing::warn!(
                    upstream.name = client.name(upstream),
                    cause = chain(&error),
                    "what a model can do can't be read"
                );
                self.0.wanted[upstream.0].notify_one();
                None
            }
        }
    }

    /// Returns what the first candidate tells of `model`.
    pub async fn description(
        &self,
        client: &UpstreamClient,
        candidates: &Candidates,
        model: &ModelName,
    ) -> Result<ModelDescription, Error> {
        let Some(upstream) = candidates.upstreams.first() else { return Ok(ModelDescription::default()) };
        let asked = tokio::time::timeout(SKILLS_WAIT_MAX, client.description(*upstream, model)).await;
        asked.unwrap_or_else(|_| Err(too_slow())).map(Option::unwrap_or_default)
    }

    /// Returns the version of the first upstream that is up and tells one.
    pub async fn version(&self, client: &UpstreamClient) -> Result<Option<String>, Error> {
        self.first_look().await;
        self.check_any_up()?;
        let up: Vec<_> = client.all().zip(self.lock().iter().map(Known::is_up)).collect();
        let mut asked = Ok(None);
        for (upstream, _) in up.into_iter().filter(|(_, is_up)| *is_up) {
            let told = tokio::time::timeout(SKILLS_WAIT_MAX, client.version(upstream)).await;
            asked = told.unwrap_or_else(|_| Err(too_slow()));
            if matches!(asked, Ok(Some(_))) {
                break;
            }
        }
        asked
    }

    /// Returns the models in the memory of each upstream, in the order of `UpstreamId`; see `Loaded`.
    pub async fn loaded(&self, client: &UpstreamClient) -> Vec<Option<Vec<LoadedModel>>> {
        let up = || self.lock().iter().map(Known::is_up).collect();
        self.0.loaded.ask(client, up).await
    }

    fn with_card<T>(
        &self,
        upstream: UpstreamId,
        model: &ModelName,
        see: impl FnOnce(&mut ModelCard) -> T,
    ) -> Option<T> {
        self.lock()[upstream.0].card_mut(model).map(see)
    }

    fn serving(&self, model: &ModelName) -> Served {
        let upstreams = self.lock();
        let serving = || upstreams.iter().enumerate().filter(|(_, known)| known.serves(model));
        let up = || serving().filter(|(_, known)| known.is_up());
        if let Some((_, Known { kind, .. })) = up().next() {
            let kind = *kind;
            let upstreams = up().filter(|(_, known)| known.kind == kind).map(|(at, _)| UpstreamId(at)).collect();
            return Served::Here(Candidates { kind, upstreams });
        }
        serving().find_map(|(_, known)| down(known)).map_or(Served::Nowhere, Served::Down)
    }

    fn check_any_up(&self) -> Result<(), Error> {
        let upstreams = self.lock();
        if upstreams.iter().any(Known::is_up) {
            return Ok(());
        }
        let unknown = || Error::UpstreamDown { cause: anyhow!("no upstream has answered yet") };
        Err(upstreams.iter().find_map(down).unwrap_or_else(unknown))
    }

    /// Waits while nothing is known of any upstream.
    async fn first_look(&self) {
        let known = |upstreams: &[Known]| {
            upstreams.iter().any(Known::is_up) || upstreams.iter().all(|known| known.condition != Condition::Unknown)
        };
        self.wait(FIRST_LOOK_WAIT_MAX, known).await;
    }

    /// Waits for new lists of upstreams that are not down, and for a poll of the others when none is up.
    async fn look_around(&self) {
        self.first_look().await;
        self.look_again(|known| !known.is_down(), |_| false).await;
        if self.check_any_up().is_err() {
            self.look_again(Known::is_down, Known::is_up).await;
        }
    }

    /// Polls the upstreams that match `which`, and waits until each was polled once, or until one is `enough`.
    async fn look_again(&self, which: impl Fn(&Known) -> bool, enough: impl Fn(&Known) -> bool) {
        let now = Instant::now();
        let mut looks = Vec::new();
        for (at, known) in self.lock().iter().enumerate() {
            if which(known) && !known.is_fresh(LIST_FRESH, now) {
                looks.push((at, known.begun + 1));
                self.0.wanted[at].notify_one();
            }
        }
        let done = |upstreams: &[Known]| {
            looks.iter().all(|(at, look)| upstreams[*at].ended >= *look) || upstreams.iter().any(&enough)
        };
        self.wait(LOOK_WAIT_MAX, done).await;
    }

    /// Polls an upstream whose models were changed, and waits for its new list, for a moment at most.
    pub async fn models_changed(&self, upstream: UpstreamId) {
        // A poll that has begun may have seen the models as they were before.
        let look = self.lock().get(upstream.0).map_or(0, |known| known.begun + 1);
        self.0.wanted[upstream.0].notify_one();
        self.wait(LOOK_WAIT_MAX, |upstreams| upstreams.get(upstream.0).is_none_or(|known| known.ended >= look)).await;
    }

    async fn wait(&self, most: Duration, done: impl Fn(&[Known]) -> bool) {
        let mut looked = self.0.looked.subscribe();
        let wait = async {
            // The sender lives as long as `self`.
            while !done(&self.lock()) && looked.changed().await.is_ok() {}
        };
        // After the time limit, what is known has to do.
        let _ = tokio::time::timeout(most, wait).await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.upstreams.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn down(known: &Known) -> Option<Error> {
    let Condition::Down { since, error } = &known.condition else { return None };
    Some(Error::UpstreamDown { cause: anyhow!("down since {}: {error}", since.rfc3339()) })
}

fn too_slow() -> Error {
    Error::Timeout { message: format!("the model server did not tell within {} s", SKILLS_WAIT_MAX.as_secs()) }
}

fn sure(error: &Error) -> Sure {
    if matches!(error, Error::UpstreamDown { .. }) { Sure::Yes } else { Sure::No }
}

/// Returns a short error text for admins.
fn words(error: &Error) -> String {
    let words = match error {
        Error::UpstreamDown { cause } => format!("{cause:#}"),
        other => chain(other),
    };
    words.chars().take(ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::model_name::ModelName;

    fn serving(up: [bool; 3]) -> Routing {
        let routing = Routing::new(vec![ProviderKind::Ollama; 3], Duration::from_secs(30), |_, _| {});
        for (known, is_up) in routing.lock().iter_mut().zip(up) {
            let name = ModelName::parse("m").unwrap();
            let card = ModelCard {
                name,
                canonical: "m:latest".into(),
                modified_at: Timestamp(1),
                skills: None,
                bytes: None,
                details: Default::default(),
            };
            known.answered(vec![card], Instant::now());
            if !is_up {
                known.failed(Sure::Yes, "it is away".into(), Timestamp(2));
            }
        }
        routing
    }

    #[tokio::test]
    async fn candidates_are_up_and_of_one_kind() {
        let model = ModelName::parse("m").unwrap();

        let candidates = serving([false, true, true]).candidates(&model).await.unwrap();
        assert_eq!(candidates.kind, ProviderKind::Ollama);
        assert_eq!(candidates.upstreams, [UpstreamId(1), UpstreamId(2)]);

        assert!(matches!(serving([false; 3]).candidates(&model).await, Err(Error::UpstreamDown { .. })));
        assert_eq!(serving([false; 3]).kind_of(&model), Some(ProviderKind::Ollama));
    }
}
