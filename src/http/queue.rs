//! The queue, as far as the caller may see it, and how admins cancel a request in it.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Identity;
use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::gateway::Gateway;
use crate::http::callers::{Admin, QueueReader};
use crate::http::reply::{self, ApiError};
use crate::model::people::{Actor, People};
use crate::model::rights::Class;
use crate::model::runaway::{Runaway, RunawayEvidence};
use crate::model::token::Token;
use crate::model::words::words_schema;
use crate::rules::quarantine::QuarantineEntry;
use crate::rules::queue::{CardState, Forecast, UpstreamLoad};
use crate::rules::routing::Condition;
use crate::store::Store;

words_schema! {
    /// Whether a request waits or runs.
    QueueItemState: ["waiting", "running"]
}

words_schema! {
    /// `down`: the upstream gets no requests; `unknown`: it has not been checked yet.
    HostState: ["up", "down", "unknown"]
}

words_schema! {
    /// `suspect`: it is sent once more, apart from other suspects; `refused`: it is not sent again.
    QuarantineState: ["suspect", "refused"]
}

words_schema! {
    /// `slowed` tokens recover by themselves, `paused` ones are resumed by their owner or an admin.
    RunawayState: ["slowed", "paused"]
}

/// A request that waits or runs. Times are estimates from how long earlier requests took.
#[derive(Serialize, ToSchema)]
pub struct QueueItem {
    #[schema(format = Uuid)]
    pub request_id: String,
    #[schema(value_type = QueueItemState)]
    pub state: &'static str,
    #[schema(example = "ann@example.org")]
    pub user: String,
    /// The id of `user`; absent once they are deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub user_id: Option<String>,
    /// The id of the token that sent it, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "nightly docs build")]
    pub token_name: Option<String>,
    #[schema(value_type = Class)]
    pub class: &'static str,
    pub model: String,
    /// The upstream that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[schema(format = DateTime)]
    pub entered_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub began_at: Option<String>,
    /// Place in the queue; 1 is the next. Absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// Estimated milliseconds until it starts. Absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begins_in_ms: Option<u64>,
    /// Estimated milliseconds until it ends; 0 when it runs for longer than most.
    pub ends_in_ms: u64,
}

#[derive(Serialize, ToSchema)]
pub struct QueueHost {
    #[schema(example = "local")]
    pub name: String,
    pub slots: usize,
    pub free: usize,
    /// Models that ran there last and are probably loaded.
    pub loaded: Vec<String>,
    #[schema(value_type = HostState)]
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub down_since: Option<String>,
    /// The error of the last check, while it is down. For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A request during which an upstream died, identified by a digest of its bytes.
#[derive(Serialize, ToSchema)]
pub struct QuarantinedRequest {
    pub digest: String,
    pub model: String,
    #[schema(value_type = QuarantineState)]
    pub state: &'static str,
    /// How often an upstream died while it ran.
    pub deaths: u32,
    /// When the quarantine ends.
    #[schema(format = DateTime)]
    pub until: String,
}

/// A token that seems to run away. `POST /api/v1/tokens/{id}/resume` resumes a paused one; a slowed one recovers by itself.
#[derive(Serialize, ToSchema)]
pub struct RunawayToken {
    /// The token's id.
    pub token: String,
    pub name: String,
    #[schema(example = "ann@example.org")]
    pub user: String,
    /// The id of `user`; absent once they are deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub user_id: Option<String>,
    /// The person for whom a delegating token sent them. The token's other people are not slowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "bob@example.org")]
    pub person: Option<String>,
    #[schema(value_type = RunawayState)]
    pub state: &'static str,
    #[schema(value_type = Runaway)]
    pub reason: &'static str,
    #[schema(format = DateTime)]
    pub since: String,
    /// Number of equal requests, or of failures in a row: until now if the token is slowed, until it was paused otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 60)]
    pub count: Option<usize>,
    /// The seconds in which they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 600)]
    pub window_seconds: Option<u32>,
    /// The last of them, if it reached a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub request_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct QueueView {
    /// Number of waiting requests, of all users.
    pub waiting: usize,
    /// Number of running requests, of all users.
    pub running: usize,
    pub hosts: Vec<QueueHost>,
    /// The requests that you may see, in order of arrival.
    pub items: Vec<QueueItem>,
    /// Your own tokens, or all for admins.
    pub runaways: Vec<RunawayToken>,
    /// Requests that are not sent again, newest first. For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<Vec<QuarantinedRequest>>,
    pub next: Option<String>,
}

/// Returns running and waiting requests.
///
/// Admins see all, users their own, a token those that it sent.
#[utoipa::path(get, path = "/api/v1/queue", operation_id = "get_queue", tag = "queue",
    responses((status = 200, body = QueueView)))]
pub async fn show(reader: QueueReader, gateway: web::Data<Gateway>, store: web::Data<Store>) -> HttpResponse {
    reply::json(StatusCode::OK, &view(reader.0.identity(), &gateway, &store))
}

/// Returns the queue as `who` may see it; `None` is the host, which sees all.
pub fn view(who: Option<&Identity>, gateway: &Gateway, store: &Store) -> QueueView {
    let all = gateway.queue().forecast();
    let waiting = all.iter().filter(|one| one.ahead.is_some()).count();
    let running = all.len() - waiting;
    let sees_all = who.is_none_or(|who| who.is_admin() && who.token().is_none());
    let is_own = |who: &Identity, user_id, token_id| {
        user_id == who.user_id() && who.token_id().is_none_or(|token| token_id == Some(token))
    };
    let sees_of =
        |user_id: i64, token_id: Option<i64>| sees_all || who.is_some_and(|who| is_own(who, user_id, token_id));
    let sees = |one: &&Forecast| sees_of(one.card.user_id, one.card.token_id);
    let upstreams = gateway.routing().seen();
    let hosts = gateway.queue().upstreams().into_iter().zip(gateway.upstream_names()).zip(upstreams);
    let hosts = hosts.map(|((load, name), seen)| host(load, name, seen.condition, sees_all));
    let quarantined = sees_all.then(|| gateway.quarantine().seen().into_iter().map(quarantined).collect());
    let people = store.people();
    let items = all.iter().filter(sees).map(|one| item(one, gateway, &people)).collect();
    let runaways = runaways(gateway, &people, |token| sees_of(token.user_id, Some(token.id)));
    QueueView { waiting, running, hosts: hosts.collect(), items, runaways, quarantined, next: None }
}

fn host(load: UpstreamLoad, name: String, condition: Condition, sees_all: bool) -> QueueHost {
    let (state, down) = match condition {
        Condition::Unknown => ("unknown", None),
        Condition::Up => ("up", None),
        Condition::Down { since, error } => ("down", Some((since, error))),
    };
    let (down_since, last_error) = down.map(|(since, error)| (since.rfc3339(), error)).unzip();
    let last_error = last_error.filter(|_| sees_all);
    QueueHost { name, slots: load.slots, free: load.free, loaded: load.loaded, state, down_since, last_error }
}

fn quarantined(seen: QuarantineEntry) -> QuarantinedRequest {
    QuarantinedRequest {
        digest: seen.digest,
        model: seen.model,
        state: if seen.is_refused { "refused" } else { "suspect" },
        deaths: seen.deaths,
        until: seen.until.rfc3339(),
    }
}

/// Returns paused tokens, then slowed ones.
fn runaways(gateway: &Gateway, people: &People, sees: impl Fn(&Token) -> bool) -> Vec<RunawayToken> {
    let shown = |token: &Token, state, way: Runaway, since: Timestamp, seen: Option<RunawayEvidence>| RunawayToken {
        token: token.public_id.clone(),
        name: token.name.clone(),
        user: name_of(people, token.user_id),
        user_id: id_of(people, token.user_id),
        person: None,
        state,
        reason: way.name(),
        since: since.rfc3339(),
        count: seen.map(|seen| seen.count),
        window_seconds: seen.map(|seen| seen.window_seconds),
        request_id: seen.and_then(|seen| seen.example).map(|id| id.to_string()),
    };
    let seen: Vec<&Arc<Token>> = people.tokens().filter(|token| sees(token)).collect();
    let mut paused: Vec<_> = seen
        .iter()
        .filter_map(|token| {
            Some(shown(token, "paused", token.paused?, Timestamp(token.suspended_at_us?), token.evidence))
        })
        .collect();
    paused.sort_by(|one, other| one.since.cmp(&other.since));
    let slowed = gateway.breaker().slowed();
    let slowed = slowed.iter().filter_map(|one| {
        let token = seen.iter().find(|token| token.id == one.token_id && token.paused.is_none())?;
        let person = one.person_id.map(|id| name_of(people, id));
        Some(RunawayToken { person, ..shown(token, "slowed", one.way, one.since, Some(one.seen)) })
    });
    paused.extend(slowed);
    paused
}

fn name_of(people: &People, user_id: i64) -> String {
    people.by_id(user_id).map_or_else(|| "(deleted)".to_owned(), |user| user.name().to_owned())
}

fn id_of(people: &People, user_id: i64) -> Option<String> {
    people.by_id(user_id).map(|user| user.public_id.clone())
}

/// Cancels a request that waits or runs.
///
/// For admins. The client gets a 403, or its stream is aborted. The request is recorded as `refused`, with the reason
/// `cancelled`.
#[utoipa::path(delete, path = "/api/v1/queue/{request_id}", operation_id = "cancel_request", tag = "queue",
    params(("request_id" = String, Path, format = Uuid)),
    responses((status = 204)))]
pub async fn cancel(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    gateway: web::Data<Gateway>,
    store: web::Data<Store>,
) -> Result<HttpResponse, ApiError> {
    let cancelled = cancel_one(admin.0.actor(), &id, &gateway, &store).await;
    cancelled.map_err(|error| ApiError::new(error, &request))?;
    Ok(HttpResponse::NoContent().finish())
}

/// Cancels a request for `by`.
pub async fn cancel_one(by: Actor, id: &str, gateway: &Gateway, store: &Store) -> Result<(), Error> {
    let missing = || Error::NotFound { what: "such request in the queue; it may have ended".into() };
    let id = RequestId(uuid::Uuid::parse_str(id).map_err(|_| missing())?);
    let inside = gateway.running().find(id).ok_or_else(missing)?;
    // The act is recorded first: what can't be recorded is not done. The request may end by itself meanwhile.
    store.note_cancel(by, inside.user_id, id).await?;
    gateway.running().cancel(id);
    Ok(())
}

fn item(one: &Forecast, gateway: &Gateway, people: &People) -> QueueItem {
    let card = &one.card;
    let (state, host, began_at) = match card.state {
        CardState::Waiting => ("waiting", None, None),
        CardState::Running { upstream, since } => ("running", gateway.upstream_names().nth(upstream.0), Some(since)),
    };
    QueueItem {
        request_id: card.request_id.to_string(),
        state,
        user: name_of(people, card.user_id),
        user_id: id_of(people, card.user_id),
        token: card.token.clone(),
        token_name: card.token.as_deref().and_then(|id| people.token(id)).map(|token| token.name.clone()),
        class: card.class.name(),
        model: card.model.clone(),
        host,
        entered_at: card.entered_at.rfc3339(),
        began_at: began_at.map(Timestamp::rfc3339),
        position: one.ahead.map(|ahead| ahead + 1),
        begins_in_ms: one.begins_in.map(|time| time.as_millis() as u64),
        ends_in_ms: one.ends_in.as_millis() as u64,
    }
}
