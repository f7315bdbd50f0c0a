//! Metrics in Prometheus' text format: counts and times of the gateway as a whole.
//!
//! No label names a person, a token, an address, or anything else that a client chooses; what people use is in
//! `/api/v1/usage`. Each label has few values, which the code, the configuration or the upstreams give. What happens often is
//! counted in atomics whose labels were resolved before; what can be looked at is looked at when the metrics are read.

use prometheus::{Registry, TextEncoder};

mod edge;
mod gauges;
mod making;
mod models;
mod requests;

pub use edge::{OpenConnections, RouteMeters};
use gauges::Gauges;
pub use gauges::{BackupLook, MetricsLook, ProcessUse, UpstreamLook};
use making::{Maker, SECONDS_OF_A_COMMIT};
pub use models::ModelIndex;
pub use prometheus::Histogram;
pub use requests::{RequestEnd, RequestMeters};
use std::sync::Arc;

/// Label value of what is not among the names that a label may have.
pub const OTHER: &str = "other";

/// The metrics of this process.
pub struct Metrics {
    registry: Registry,
    gauges: Gauges,
    pub requests: Arc<RequestMeters>,
    pub routes: Arc<RouteMeters>,
    pub connections: OpenConnections,
    /// How long commits of the record take.
    pub commits: Histogram,
}

/// The values that labels may have.
pub struct LabelValues {
    /// Paths by which requests name their API in the record.
    pub apis: Vec<&'static str>,
    /// Those of them that lead to a model.
    pub inference: Vec<&'static str>,
    /// Patterns of the routes.
    pub routes: Vec<&'static str>,
    /// Names of the upstreams, in the order of `UpstreamId`.
    pub upstreams: Vec<String>,
}

impl Metrics {
    pub fn new(values: &LabelValues) -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let maker = Maker(&registry);
        let about = "How long the commits of the record take, each with its sync. Each holds what came since the last.";
        Ok(Metrics {
            gauges: Gauges::new(&maker, &values.upstreams)?,
            requests: Arc::new(RequestMeters::new(&maker, values)?),
            routes: Arc::new(RouteMeters::new(&maker, &values.routes)?),
            connections: OpenConnections::new(&maker)?,
            commits: maker.histogram("record_commit_seconds", about, SECONDS_OF_A_COMMIT)?,
            registry,
        })
    }

    /// Returns all metrics as text, after taking over what was looked at.
    pub fn text(&self, look: &MetricsLook) -> prometheus::Result<String> {
        self.gauges.take(look);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
pub mod tests;
