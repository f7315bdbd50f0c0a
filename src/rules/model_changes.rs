//! Changes of models: how many run at once on each upstream, and their acts in the record.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Identity;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::config::ModelsSection;
use crate::model::catalog::UpstreamId;
use crate::model::manage::ModelChange;
use crate::model::record::Outcome;
use crate::provider::ChangeCall;
use crate::store::Store;
use crate::store::model_changes::{ModelChangeEnd, ModelChangeNote};

pub struct ModelChanges {
    store: Store,
    config: ModelsSection,
    /// In the order of `UpstreamId`: a permit for each change that may run.
    room: Vec<Arc<Semaphore>>,
}

/// A change and who asked for it.
pub struct ChangeIntent<'a> {
    pub id: RequestId,
    pub who: &'a Identity,
    pub api: &'static str,
    /// The name of the upstream.
    pub upstream: &'a str,
    pub change: &'a ModelChange,
    pub call: &'a ChangeCall,
}

/// Retry hint while others run; a pull takes minutes.
const ROOM_RETRY: Duration = Duration::from_secs(30);

impl ModelChanges {
    pub fn new(store: Store, config: ModelsSection, upstreams: usize) -> Self {
        let room = (0..upstreams).map(|_| Arc::new(Semaphore::new(config.changes_max))).collect();
        ModelChanges { store, config, room }
    }

    pub fn config(&self) -> &ModelsSection {
        &self.config
    }

    /// Takes a place among the changes that run on an upstream. Dropping it gives it back.
    pub fn enter(&self, upstream: UpstreamId, name: &str) -> Result<OwnedSemaphorePermit, Error> {
        let permit = self.room.get(upstream.0).and_then(|room| room.clone().try_acquire_owned().ok());
        permit.ok_or_else(|| Error::HostBusy {
            message: format!(
                "as many changes of models run on `{name}` as `models.changes_max` allows, {}; try again when one has ended",
                self.config.changes_max
            ),
            retry_after: ROOM_RETRY,
        })
    }

    /// Writes the intent of a change and returns after its sync. On an error nothing may be forwarded.
    pub async fn begin(&self, intent: ChangeIntent<'_>) -> Result<ModelChangeNote, Error> {
        let whose = intent.who.whose();
        let note = ModelChangeNote {
            id: intent.id,
            user_id: whose.user_id,
            token_id: whose.token_id,
            credential: whose.credential,
            api: intent.api,
            upstream: intent.upstream.to_owned(),
            model: intent.change.model().map(|model| model.as_str().to_owned()),
            detail: detail(&intent),
        };
        self.store.note_model_change(&note).await.map_err(unrecorded)?;
        Ok(note)
    }

    /// Writes how a change ended and returns after the sync. On an error its client must not be told that it is done.
    pub async fn end(
        &self,
        note: &ModelChangeNote,
        outcome: Outcome,
        reason: Option<&'static str>,
        took: Duration,
    ) -> Result<(), Error> {
        self.store.note_model_change_end(note, ModelChangeEnd { outcome, reason, took }).await.map_err(unrecorded)
    }
}

/// Returns the error of a row that could not be written: no record, no service.
fn unrecorded(error: Error) -> Error {
    match error {
        Error::AuditUnavailable { .. } | Error::DiskFull => error,
        other => Error::audit(other),
    }
}

fn detail(intent: &ChangeIntent<'_>) -> Map<String, Value> {
    let change = intent.change;
    let mut detail = Map::new();
    let mut add = |name: &str, text: &str| detail.insert(name.to_owned(), text.into());
    add("action", change.action());
    add("upstream", intent.upstream);
    for (name, model) in [("model", change.model()), ("source", change.source())] {
        model.map(|model| add(name, model.as_str()));
    }
    change.digest().map(|digest| add("digest", digest.as_str()));
    if let Some(body) = &intent.call.body
        && let Ok(request) = serde_json::from_slice::<Value>(body)
    {
        detail.insert("request".to_owned(), request);
    }
    detail
}
