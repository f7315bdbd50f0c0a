//! The models in the memory of the upstreams, asked for when somebody wants to see them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::Mutex;

use crate::base::error::chain;
use crate::model::catalog::{LoadedModel, UpstreamId};
use crate::upstream::UpstreamClient;

/// Lists younger than this are not fetched again.
const FRESH: Duration = Duration::from_secs(3);

/// How long an upstream may take to answer. No request of a client waits for it.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A list for each upstream; `None`: it is not up, does not tell, or took too long.
type Lists = Vec<Option<Vec<LoadedModel>>>;

/// The last lists. One caller at a time asks the upstreams, and the others take what came.
#[derive(Default)]
pub struct Loaded(Mutex<Option<Seen>>);

struct Seen {
    at: Instant,
    lists: Lists,
}

impl Loaded {
    /// Returns the lists, fetched again if they are older than some seconds. `up` says which upstreams are.
    pub async fn ask(&self, client: &UpstreamClient, up: impl FnOnce() -> Vec<bool>) -> Lists {
        let mut last = self.0.lock().await;
        if let Some(seen) = &*last
            && seen.at.elapsed() < FRESH
        {
            return seen.lists.clone();
        }
        let asked = client.all().zip(up()).map(|(upstream, is_up)| ask_one(client, upstream, is_up));
        let lists = join_all(asked).await;
        *last = Some(Seen { at: Instant::now(), lists: lists.clone() });
        lists
    }
}

async fn ask_one(client: &UpstreamClient, upstream: UpstreamId, is_up: bool) -> Option<Vec<LoadedModel>> {
    if !is_up {
        return None;
    }
    match tokio::time::timeout(WAIT_MAX, client.loaded(upstream)).await {
        Ok(Ok(models)) => models,
        Ok(Err(error)) => {
            tracing::debug!(
                upstream.name = client.name(upstream),
                cause = chain(&error),
                "the loaded models can't be read"
            );
            None
        }
        Err(_) => None,
    }
}
