//! What happens at the edge: connections and answers, by route.

use std::collections::HashMap;
use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Result};

use crate::metrics::making::Maker;

/// Counts open connections.
#[derive(Clone)]
pub struct OpenConnections(IntGauge);

impl OpenConnections {
    pub fn new(maker: &Maker<'_>) -> Result<OpenConnections> {
        Ok(OpenConnections(maker.count("connections_open", "Connections of clients that are open now.")?))
    }

    pub fn opened(&self) {
        self.0.inc();
    }

    pub fn closed(&self) {
        self.0.dec();
    }
}

/// Label value of requests that no route takes, or that were refused before one was looked for.
pub const UNMATCHED: &str = "unmatched";

/// Classes of status codes. The last one is for clients that left before they got a status.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// Counts answers by route and class of status.
pub struct RouteMeters {
    all: IntCounterVec,
    /// The place of each pattern in `counters`; the place behind them is for `unmatched`.
    places: HashMap<&'static str, usize>,
    /// Made when they are first used.
    counters: Vec<[OnceLock<Option<IntCounter>>; CLASSES.len()]>,
}

impl RouteMeters {
    pub fn new(maker: &Maker<'_>, routes: &[&'static str]) -> Result<RouteMeters> {
        let all = maker.counters(
            "http_requests_total",
            "HTTP requests by the pattern of their route and the class of their status, `none` for clients that left first.",
            &["route", "status"],
        )?;
        let mut places = HashMap::new();
        for route in routes {
            let next = places.len();
            places.entry(*route).or_insert(next);
        }
        let counters = (0..=places.len()).map(|_| Default::default()).collect();
        Ok(RouteMeters { all, places, counters })
    }

    /// Counts an answer. `route` is the pattern of the route, if there is one.
    pub fn answered(&self, route: Option<&'static str>, status: Option<u16>) {
        let class = status.map_or(CLASSES.len() - 1, |status| usize::from(status / 100).clamp(1, 5) - 1);
        let place = route.and_then(|route| Some((*self.places.get(route)?, route)));
        let (place, name) = place.unwrap_or((self.places.len(), UNMATCHED));
        let Some(counter) = self.counters.get(place).and_then(|classes| classes.get(class)) else { return };
        let make = || self.all.get_metric_with_label_values(&[name, CLASSES[class]]).ok();
        if let Some(counter) = counter.get_or_init(make) {
            counter.inc();
        }
    }
}
