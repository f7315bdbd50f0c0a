//! What models used, by model. The number of models is bounded, since an admin may fetch any number of them in time.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Counter, CounterVec, IntCounter, IntCounterVec, Result};

use crate::metrics::OTHER;
use crate::metrics::making::Maker;

/// Models that have a label value of their own; further ones are counted as `other`.
pub const MODELS_MAX: usize = 64;

/// The place of a model among those that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelIndex(usize);

pub struct ModelMeters {
    tokens: IntCounterVec,
    gpu: CounterVec,
    upstreams: Vec<String>,
    /// In the order in which they were first used. Only the beginning is filled.
    models: [OnceLock<ModelMeter>; MODELS_MAX],
    other: ModelMeter,
}

struct ModelMeter {
    name: String,
    tokens_in: IntCounter,
    tokens_out: IntCounter,
    /// GPU seconds on each upstream, and on one that is not known.
    gpu: Vec<Counter>,
}

impl ModelMeters {
    pub fn new(maker: &Maker<'_>, upstreams: &[String]) -> Result<ModelMeters> {
        let tokens = maker.counters(
            "model_tokens_total",
            "Model tokens that were read (in) and written (out), as the record has them. At most 64 models have a value of \
             their own, the others are `other`.",
            &["model", "direction"],
        )?;
        let gpu = maker.sums(
            "gpu_seconds_total",
            "GPU time that models worked, as their upstreams report it, or the time of a request that was cut off.",
            &["model", "upstream"],
        )?;
        let other = ModelMeter::new(&tokens, &gpu, upstreams, OTHER)?;
        let models = [const { OnceLock::new() }; MODELS_MAX];
        Ok(ModelMeters { tokens, gpu, upstreams: upstreams.to_vec(), models, other })
    }

    /// Returns the place of a model that an upstream serves, by its canonical name.
    pub fn index(&self, canonical: &str) -> ModelIndex {
        for (at, place) in self.models.iter().enumerate() {
            let model = match place.get() {
                Some(model) => model,
                None => {
                    let Ok(new) = ModelMeter::new(&self.tokens, &self.gpu, &self.upstreams, canonical) else { break };
                    // Another thread may fill it first, with another model.
                    place.get_or_init(|| new)
                }
            };
            if model.name == canonical {
                return ModelIndex(at);
            }
        }
        ModelIndex(MODELS_MAX)
    }

    /// Returns the name of a model that has a place of its own.
    pub fn name(&self, index: ModelIndex) -> &str {
        &self.meter(index).name
    }

    /// Counts what one request used. `upstream` is its place among the upstreams.
    pub fn add(&self, index: ModelIndex, tokens_in: u64, tokens_out: u64, gpu: Duration, upstream: Option<usize>) {
        let model = self.meter(index);
        model.tokens_in.inc_by(tokens_in);
        model.tokens_out.inc_by(tokens_out);
        if !gpu.is_zero()
            && let Some(sum) = model.gpu.get(upstream.unwrap_or(self.upstreams.len()))
        {
            sum.inc_by(gpu.as_secs_f64());
        }
    }

    fn meter(&self, index: ModelIndex) -> &ModelMeter {
        self.models.get(index.0).and_then(OnceLock::get).unwrap_or(&self.other)
    }
}

impl ModelMeter {
    fn new(tokens: &IntCounterVec, gpu: &CounterVec, upstreams: &[String], name: &str) -> Result<ModelMeter> {
        let places = upstreams.iter().map(String::as_str).chain([OTHER]);
        Ok(ModelMeter {
            name: name.to_owned(),
            tokens_in: tokens.get_metric_with_label_values(&[name, "in"])?,
            tokens_out: tokens.get_metric_with_label_values(&[name, "out"])?,
            gpu: places.map(|upstream| gpu.get_metric_with_label_values(&[name, upstream])).collect::<Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn a_model_keeps_its_place_and_those_beyond_the_bound_share_one() {
        let registry = Registry::new();
        let meters = ModelMeters::new(&Maker(&registry), &["local".to_owned()]).unwrap();
        let places: Vec<_> = (0..MODELS_MAX).map(|number| meters.index(&format!("m{number}"))).collect();

        assert!(places.iter().enumerate().all(|(number, place)| meters.name(*place) == format!("m{number}")));
        assert_eq!(meters.index("m7"), places[7]);
        assert_eq!(meters.name(meters.index("one more")), OTHER);
        assert_eq!(meters.index("one more"), meters.index("another"));
        let series: usize = registry.gather().iter().map(|family| family.get_metric().len()).sum();
        (0..1000).for_each(|number| {
            meters.index(&format!("more {number}"));
        });
        assert_eq!(registry.gather().iter().map(|family| family.get_metric().len()).sum::<usize>(), series);
    }

    #[test]
    fn threads_that_meet_a_model_at_once_count_it_in_one_place() {
        let registry = Registry::new();
        let meters = ModelMeters::new(&Maker(&registry), &[]).unwrap();

        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for number in 0..MODELS_MAX {
                        meters.add(meters.index(&format!("m{number}")), 1, 2, Duration::from_secs(3), None);
                    }
                });
            }
        });

        for number in 0..MODELS_MAX {
            let index = meters.index(&format!("m{number}"));
            let model = meters.meter(index);
            let seen = (meters.name(index), model.tokens_in.get(), model.tokens_out.get(), model.gpu[0].get());
            assert_eq!(seen, (format!("m{number}").as_str(), 8, 16, 24.0));
        }
    }
}
