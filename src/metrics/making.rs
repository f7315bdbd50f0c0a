//! Makes metrics with the common prefix and registers them.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, Result,
};

/// How long people wait: from a moment to ten minutes.
pub const SECONDS_OF_A_REQUEST: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// From a fast disk to one that is about to be called broken.
pub const SECONDS_OF_A_COMMIT: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

pub struct Maker<'a>(pub &'a Registry);

impl Maker<'_> {
    pub fn counter(&self, name: &str, about: &str) -> Result<IntCounter> {
        self.registered(IntCounter::with_opts(own(name, about))?)
    }

    pub fn counters(&self, name: &str, about: &str, labels: &[&str]) -> Result<IntCounterVec> {
        self.registered(IntCounterVec::new(own(name, about), labels)?)
    }

    /// Makes counters of seconds.
    pub fn sums(&self, name: &str, about: &str, labels: &[&str]) -> Result<CounterVec> {
        self.registered(CounterVec::new(own(name, about), labels)?)
    }

    pub fn count(&self, name: &str, about: &str) -> Result<IntGauge> {
        self.registered(IntGauge::with_opts(own(name, about))?)
    }

    /// Makes a gauge whose value may be unknown, which is written as NaN.
    pub fn gauge(&self, name: &str, about: &str) -> Result<Gauge> {
        self.registered(Gauge::with_opts(own(name, about))?)
    }

    pub fn gauges(&self, name: &str, about: &str, labels: &[&str]) -> Result<GaugeVec> {
        self.registered(GaugeVec::new(own(name, about), labels)?)
    }

    pub fn histogram(&self, name: &str, about: &str, seconds: &[f64]) -> Result<Histogram> {
        self.registered(Histogram::with_opts(HistogramOpts::from(own(name, about)).buckets(seconds.to_vec()))?)
    }

    pub fn histograms(&self, name: &str, about: &str, labels: &[&str], seconds: &[f64]) -> Result<HistogramVec> {
        let opts = HistogramOpts::from(own(name, about)).buckets(seconds.to_vec());
        self.registered(HistogramVec::new(opts, labels)?)
    }

    /// Makes a gauge of the process, under the name that every program uses.
    pub fn of_process(&self, name: &str, about: &str) -> Result<Gauge> {
        self.registered(Gauge::with_opts(Opts::new(format!("process_{name}"), about))?)
    }

    /// Makes a counter of the process, under the name that every program uses.
    pub fn sum_of_process(&self, name: &str, about: &str) -> Result<prometheus::Counter> {
        self.registered(prometheus::Counter::with_opts(Opts::new(format!("process_{name}"), about))?)
    }

    fn registered<C: Collector + Clone + 'static>(&self, made: C) -> Result<C> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
}

fn own(name: &str, about: &str) -> Opts {
    Opts::new(format!("lan_gateway_{name}"), about)
}
