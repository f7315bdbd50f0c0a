//! What became of requests: outcomes, reasons, times, and what they used.
//!
//! One call of `ended` stands for one request of the record, so the sums here and the record's rows are the same.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, Result};

use crate::base::error::Error;
use crate::metrics::making::{Maker, SECONDS_OF_A_REQUEST};
use crate::metrics::models::{ModelIndex, ModelMeters};
use crate::metrics::{LabelValues, OTHER};
use crate::model::record::{AccessEnd, CANCELLED, GATEWAY_STOPPED, Outcome};

pub struct RequestMeters {
    /// The last one is `other`.
    apis: Vec<Api>,
    /// The last one is `other`.
    reasons: Vec<Reason>,
    upstreams: Vec<String>,
    models: ModelMeters,
}

struct Api {
    path: &'static str,
    outcomes: Vec<(Outcome, IntCounter)>,
    times: Option<Times>,
}

/// Times of requests that were forwarded.
struct Times {
    queued: Histogram,
    first_token: Histogram,
    total: Histogram,
}

struct Reason {
    code: &'static str,
    refusals: IntCounter,
    failures: IntCounter,
}

/// How one request ended, as its row in the record says.
#[derive(Debug, Default)]
pub struct RequestEnd<'a> {
    pub api: Option<&'a str>,
    pub outcome: Option<Outcome>,
    pub reason: Option<&'a str>,
    /// The model, if the request was forwarded.
    pub model: Option<ModelIndex>,
    pub upstream: Option<&'a str>,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub gpu: Duration,
    pub queued: Option<Duration>,
    pub first_token: Option<Duration>,
    pub total: Option<Duration>,
}

impl RequestMeters {
    pub fn new(maker: &Maker<'_>, values: &LabelValues) -> Result<RequestMeters> {
        let outcomes = maker.counters(
            "requests_total",
            "Requests by the API that they were sent to and by their outcome, as the record has them. Refusals on the routes \
             of the gateway itself count, too.",
            &["api", "outcome"],
        )?;
        let refusals =
            maker.counters("refusals_total", "Refused requests by reason, as the record has them.", &["reason"])?;
        let failures =
            maker.counters("failures_total", "Failed requests by reason, as the record has them.", &["reason"])?;
        let times = |name, about| maker.histograms(name, about, &["api"], SECONDS_OF_A_REQUEST);
        let queued = times("queue_wait_seconds", "How long requests waited in the queue for their turn.")?;
        let first = times(
            "first_token_seconds",
            "The time from when a request was recorded to the first token of its answer, the wait in the queue included.",
        )?;
        let total = times(
            "request_duration_seconds",
            "The time that forwarded requests took, the wait in the queue included.",
        )?;
        let api = |path: &'static str| -> Result<Api> {
            let counter = |outcome: &Outcome| -> Result<(Outcome, IntCounter)> {
                Ok((*outcome, outcomes.get_metric_with_label_values(&[path, outcome.name()])?))
            };
            let outcomes = Outcome::ALL.iter().map(counter).collect::<Result<_>>()?;
            let of = |times: &prometheus::HistogramVec| times.get_metric_with_label_values(&[path]);
            let times = match values.inference.contains(&path) {
                true => Some(Times { queued: of(&queued)?, first_token: of(&first)?, total: of(&total)? }),
                false => None,
            };
            Ok(Api { path, outcomes, times })
        };
        let reason = |code: &'static str| -> Result<Reason> {
            let of = |counters: &IntCounterVec| counters.get_metric_with_label_values(&[code]);
            Ok(Reason { code, refusals: of(&refusals)?, failures: of(&failures)? })
        };
        let reasons = Error::CODES.iter().copied().chain(AccessEnd::ALL.iter().map(|end| end.name()));
        let mut reasons: Vec<&'static str> = reasons.chain([CANCELLED, GATEWAY_STOPPED]).collect();
        reasons.sort_unstable();
        reasons.dedup();
        Ok(RequestMeters {
            apis: values.apis.iter().copied().chain([OTHER]).map(api).collect::<Result<_>>()?,
            reasons: reasons.into_iter().chain([OTHER]).map(reason).collect::<Result<_>>()?,
            upstreams: values.upstreams.clone(),
            models: ModelMeters::new(maker, &values.upstreams)?,
        })
    }

    /// Returns the place of a model that an upstream serves, by its canonical name.
    pub fn model(&self, canonical: &str) -> ModelIndex {
        self.models.index(canonical)
    }

    /// Returns the name under which a model is counted.
    pub fn model_name(&self, index: ModelIndex) -> &str {
        self.models.name(index)
    }

    /// Counts a request that has ended.
    pub fn ended(&self, end: &RequestEnd<'_>) {
        let Some(outcome) = end.outcome else { return };
        if let Some(api) = found_or_last(&self.apis, |api| end.api == Some(api.path)) {
            api.outcomes.iter().filter(|(known, _)| *known == outcome).for_each(|(_, count)| count.inc());
            if let Some(times) = &api.times {
                let seen =
                    [(&times.queued, end.queued), (&times.first_token, end.first_token), (&times.total, end.total)];
                for (histogram, time) in seen {
                    if let Some(time) = time {
                        histogram.observe(time.as_secs_f64());
                    }
                }
            }
        }
        if let Some(reason) = found_or_last(&self.reasons, |known| end.reason == Some(known.code)) {
            match outcome {
                Outcome::Refused => reason.refusals.inc(),
                Outcome::Failed => reason.failures.inc(),
                Outcome::Completed | Outcome::Abandoned | Outcome::Interrupted => {}
            }
        }
        if let Some(model) = end.model {
            let upstream = end.upstream.and_then(|name| self.upstreams.iter().position(|known| known == name));
            self.models.add(model, end.tokens_in, end.tokens_out, end.gpu, upstream);
        }
    }

    /// Counts requests of the last run that this one closed in the record.
    pub fn interrupted(&self, count: usize) {
        for _ in 0..count {
            self.ended(&RequestEnd { outcome: Some(Outcome::Interrupted), ..RequestEnd::default() });
        }
    }
}

/// Returns what is looked for, or the last, which stands for all others.
fn found_or_last<T>(among: &[T], is_it: impl Fn(&T) -> bool) -> Option<&T> {
    among.iter().find(|one| is_it(one)).or(among.last())
}
