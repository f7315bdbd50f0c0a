//! Health: whether the gateway runs, can record, and reaches an upstream.

use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::base::vital::panic_on_purpose;
use crate::gateway::Gateway;
use crate::http::callers::Admin;
use crate::http::reply;
use crate::model::words::words_schema;
use crate::store::Store;

words_schema! {
    /// Whether the gateway can answer.
    HealthStatus: ["ok", "can't record", "disk full", "no model server", "stopping"]
}

#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or what is wrong: `can't record`, `disk full`, `no model server`, `stopping`
    #[schema(value_type = HealthStatus)]
    status: &'static str,
    /// For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Serialize, ToSchema)]
pub struct Details {
    version: &'static str,
    can_record: bool,
    models: Option<usize>,
    /// Why the record or a checkpoint does not verify. Absent: it does, as far as the gateway looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_fault: Option<String>,
}

/// Tells whether the gateway can record.
///
/// The status is 200 while it can. Admins get details.
#[utoipa::path(get, path = "/health", operation_id = "get_health", tag = "host", security((), ("bearer" = [])),
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub async fn health(request: HttpRequest, gateway: web::Data<Gateway>, store: web::Data<Store>) -> HttpResponse {
    // Probes send no credential; that is not a refusal to be recorded.
    let shows_one = ["authorization", "x-api-key"].iter().any(|name| request.headers().contains_key(*name));
    let admin = if shows_one { Admin::extract(&request).await.ok() } else { None };
    let can_record = gateway.audit().can_record();
    let details = match admin {
        Some(Admin(who)) => {
            let models = gateway.models(who.identity()).await.ok().map(|models| models.len());
            let chain_fault = store.chain_fault().map(|fault| fault.to_string());
            Some(Details { version: env!("CARGO_PKG_VERSION"), can_record, models, chain_fault })
        }
        None => None,
    };
    status(recording(&gateway), details)
}

/// Tells whether the gateway is alive.
///
/// The status is 200 while it can record. The upstreams are not checked.
#[utoipa::path(get, path = "/health/live", operation_id = "get_liveness", tag = "host", security(()),
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub async fn live(gateway: web::Data<Gateway>) -> HttpResponse {
    panic_on_purpose("route");
    status(recording(&gateway), None)
}

/// Tells whether the gateway can answer.
///
/// The status is 503 while no upstream can be reached, the data disk is nearly full, or the gateway is stopping.
#[utoipa::path(get, path = "/health/ready", operation_id = "get_readiness", tag = "host", security(()),
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub async fn ready(gateway: web::Data<Gateway>) -> HttpResponse {
    let state = match recording(&gateway) {
        Ok(()) if gateway.is_stopping() => Err("stopping"),
        Ok(()) if gateway.audit().check_disk().is_err() => Err("disk full"),
        Ok(()) if !gateway.reaches_an_upstream().await => Err("no model server"),
        other => other,
    };
    status(state, None)
}

fn recording(gateway: &Gateway) -> Result<(), &'static str> {
    if gateway.audit().can_record() { Ok(()) } else { Err("can't record") }
}

fn status(state: Result<(), &'static str>, details: Option<Details>) -> HttpResponse {
    match state {
        Ok(()) => reply::json(StatusCode::OK, &Health { status: "ok", details }),
        Err(status) => reply::json(StatusCode::SERVICE_UNAVAILABLE, &Health { status, details }),
    }
}
