//! What is wrong with upstreams: they are down, lack the default model, are open to others, or have other slots.

use std::net::SocketAddr;

use crate::base::error::Error;
use crate::config::{Config, Upstream};
use crate::host::findings::code::{Finding, FindingCode};
use crate::host::machine::Machine;
use crate::model::model_name::ModelName;
use crate::model::provider_kind::ProviderKind;
use crate::provider;

/// What is known of an upstream.
#[derive(Debug, Clone)]
pub enum UpstreamFacts {
    /// It was not asked yet.
    Unknown,
    /// The error of asking it.
    Down(String),
    /// It answers, with the models that it serves.
    Up(Vec<ModelName>),
}

/// Models that a remedy names at most.
const NAMED_MAX: usize = 10;

/// Returns what is wrong with the upstreams of a configuration. `known` is in its order; what is missing is unknown.
pub fn of_upstreams(config: &Config, known: &[UpstreamFacts], machine: &Machine) -> Vec<Finding> {
    let mut found = Vec::new();
    for (at, upstream) in config.upstreams.iter().enumerate() {
        found.extend(down(upstream, known.get(at).unwrap_or(&UpstreamFacts::Unknown)));
        found.extend(open_upstream(upstream, machine));
        found.extend(slots_mismatch(upstream, machine));
    }
    found.extend(model_missing(config, known));
    found
}

/// Describes why an upstream is down, for admins.
pub fn why_down(error: &Error) -> String {
    match error {
        Error::UpstreamDown { cause } => format!("it can't be reached: {cause:#}"),
        error => error.to_string(),
    }
}

fn down(upstream: &Upstream, known: &UpstreamFacts) -> Option<Finding> {
    let UpstreamFacts::Down(error) = known else { return None };
    let message = format!("upstream `{}` at {} is down: {error}", upstream.name, upstream.url);
    Some(Finding::new(FindingCode::UpstreamDown, message, how_to_start(upstream)))
}

/// Says how to start an upstream.
pub fn how_to_start(upstream: &Upstream) -> &'static str {
    match upstream.url.is_loopback() && upstream.kind() == ProviderKind::Ollama {
        true => "start it (`systemctl start ollama`, or `ollama serve`), or correct its `url` in the configuration",
        false => "start it, or correct its `url` in the configuration",
    }
}

/// Returns whether an upstream serves the default model.
pub fn has_default_model(config: &Config, upstream: &Upstream, models: &[ModelName]) -> bool {
    let provider = provider::of(upstream.kind());
    let wanted = provider.canonical(&config.default_model);
    models.iter().any(|model| provider.canonical(model) == wanted)
}

/// Found if at least one upstream answers, and none of those has the model.
fn model_missing(config: &Config, known: &[UpstreamFacts]) -> Option<Finding> {
    let up: Vec<_> = config
        .upstreams
        .iter()
        .zip(known)
        .filter_map(|(upstream, known)| match known {
            UpstreamFacts::Up(models) => Some((upstream, models)),
            UpstreamFacts::Unknown | UpstreamFacts::Down(_) => None,
        })
        .collect();
    if up.is_empty() || up.iter().any(|(upstream, models)| has_default_model(config, upstream, models)) {
        return None;
    }
    let wanted = &config.default_model;
    let names: Vec<String> = up.iter().map(|(upstream, _)| format!("`{}`", upstream.name)).collect();
    let mut there: Vec<&str> = up.iter().flat_map(|(_, models)| models.iter().map(ModelName::as_str)).collect();
    there.sort_unstable();
    there.dedup();
    let pull = format!("run `ollama pull {wanted}` where it runs");
    let (message, remedy) = match (there.is_empty(), names.as_slice()) {
        (true, [name]) => (format!("upstream {name} has no model at all, so nothing can be answered"), pull),
        (true, _) => ("no upstream that answers has any model, so nothing can be answered".to_owned(), pull),
        (false, names) => {
            let who = match names {
                [name] => format!("upstream {name} does not have"),
                _ => "no upstream that answers has".to_owned(),
            };
            let message =
                format!("{who} the default model `{wanted}`, so each POST /chat that names no model is refused");
            (message, format!("{pull}, or set `default_model` to one that is there: {}", named(&there)))
        }
    };
    Some(Finding::new(FindingCode::ModelMissing, message, remedy))
}

/// Lists models, so many at most.
fn named(models: &[&str]) -> String {
    let named: Vec<String> = models.iter().take(NAMED_MAX).map(|model| format!("`{model}`")).collect();
    match models.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Ollama has no authentication, so anyone who reaches it can bypass the gateway.
fn open_upstream(upstream: &Upstream, machine: &Machine) -> Option<Finding> {
    if !upstream.url.is_loopback() {
        return None;
    }
    let port = upstream.url.port();
    let address = SocketAddr::from((machine.open_listener(port)?, port));
    let message = format!(
        "upstream `{}` listens on {address}: others on the network can reach it without this gateway",
        upstream.name
    );
    let remedy = format!("set OLLAMA_HOST=127.0.0.1:{port} for it");
    Some(Finding::new(FindingCode::UpstreamOpen, message, remedy))
}

/// Of all upstreams, only those on this host run in the Ollama whose environment was read.
fn slots_mismatch(upstream: &Upstream, machine: &Machine) -> Option<Finding> {
    let parallel = machine.parallel?;
    let slots = upstream.slots();
    let own = slots.per_model.min(slots.total);
    if own == parallel || !upstream.url.is_loopback() || upstream.kind() != ProviderKind::Ollama {
        return None;
    }
    let message = format!(
        "upstream `{}` has {own} slots for one model, and the Ollama that runs on this host has \
         OLLAMA_NUM_PARALLEL={parallel}",
        upstream.name
    );
    let remedy = format!("set slots = {parallel}, or OLLAMA_NUM_PARALLEL={own} for Ollama");
    Some(Finding::new(FindingCode::SlotsMismatch, message, remedy))
}
