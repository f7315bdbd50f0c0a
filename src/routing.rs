//! The candidates: which hosts serve a model.
//!
//! The lists of models are shared between the workers and refreshed when somebody asks and they are old. A host that can't
//! be reached keeps the list it had: its requests then fail with the true cause.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::catalog::{HostId, ModelCard, Skills};
use crate::chat::ModelName;
use crate::error::Error;
use crate::upstream::Upstream;

#[derive(Clone)]
pub struct Routing {
    lists: Arc<Mutex<Vec<Option<List>>>>,
    fresh: Duration,
}

struct List {
    models: Vec<ModelCard>,
    fetched_at: Instant,
}

/// A model that is not in a list younger than this is not looked for again.
const UNKNOWN_FRESH: Duration = Duration::from_secs(1);

impl Routing {
    pub fn new(hosts: usize, fresh: Duration) -> Self {
        Routing { lists: Arc::new(Mutex::new((0..hosts).map(|_| None).collect())), fresh }
    }

    /// The hosts that serve `model`, at least one.
    pub async fn candidates(&self, upstream: &Upstream, model: &ModelName) -> Result<Vec<HostId>, Error> {
        self.refresh(upstream, self.fresh).await?;
        let mut hosts = self.serving(model);
        if hosts.is_empty() {
            // It may have been pulled a moment ago.
            self.refresh(upstream, UNKNOWN_FRESH).await?;
            hosts = self.serving(model);
        }
        if hosts.is_empty() {
            return Err(Error::ModelNotFound { model: model.as_str().to_owned() });
        }
        Ok(hosts)
    }

    /// A host on whose last list `model` stands.
    pub fn known(&self, model: &ModelName) -> Option<HostId> {
        self.serving(model).first().copied()
    }

    /// Every model that some host serves, by name.
    pub async fn models(&self, upstream: &Upstream) -> Result<Vec<ModelCard>, Error> {
        self.refresh(upstream, UNKNOWN_FRESH).await?;
        let mut models: Vec<ModelCard> = Vec::new();
        for list in self.lock().iter().flatten() {
            for model in &list.models {
                if !models.iter().any(|known| known.name == model.name) {
                    models.push(model.clone());
                }
            }
        }
        models.sort_by(|one, other| one.name.canonical().cmp(other.name.canonical()));
        Ok(models)
    }

    /// What `model` can do, on a host that serves it: asked once in the life of a list. `None` when the host does not tell;
    /// it then decides by itself what it makes of a request.
    pub async fn skills(&self, upstream: &Upstream, host: HostId, model: &ModelName) -> Option<Skills> {
        let known = self.with_card(host, model, |card| card.skills).flatten();
        if known.is_some() {
            return known;
        }
        match upstream.skills(host, model).await {
            Ok(skills) => {
                self.with_card(host, model, |card| card.skills = Some(skills));
                Some(skills)
            }
            Err(error) => {
                tracing::warn!(host = upstream.name(host), cause = %error, "what a model can do can't be read");
                None
            }
        }
    }

    fn with_card<T>(&self, host: HostId, model: &ModelName, see: impl FnOnce(&mut ModelCard) -> T) -> Option<T> {
        let mut lists = self.lock();
        let list = lists[host.0].as_mut()?;
        list.models.iter_mut().find(|card| card.name == *model).map(see)
    }

    fn serving(&self, model: &ModelName) -> Vec<HostId> {
        let serves =
            |list: &Option<List>| list.as_ref().is_some_and(|list| list.models.iter().any(|card| card.name == *model));
        let lists = self.lock();
        lists.iter().enumerate().filter(|(_, list)| serves(list)).map(|(host, _)| HostId(host)).collect()
    }

    /// Fetches the lists that are older than `fresh`. An error only when no host has any.
    async fn refresh(&self, upstream: &Upstream, fresh: Duration) -> Result<(), Error> {
        let mut failed = None;
        for host in upstream.hosts() {
            let old = self.lock()[host.0].as_ref().is_none_or(|list| list.fetched_at.elapsed() >= fresh);
            if !old {
                continue;
            }
            match upstream.models(host).await {
                Ok(models) => self.lock()[host.0] = Some(List { models, fetched_at: Instant::now() }),
                Err(error) => {
                    tracing::warn!(host = upstream.name(host), cause = %error, "the list of models can't be read");
                    failed = Some(error);
                }
            }
        }
        let any = self.lock().iter().any(Option::is_some);
        match failed {
            Some(error) if !any => Err(error),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<List>>> {
        self.lists.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
