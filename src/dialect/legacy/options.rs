//! Ollama's `options`, of which those are taken that concern one answer.

use serde_json::Value;

use crate::base::error::Error;
use crate::dialect::json::{At, Ignored, Json, Object};
use crate::model::chat::{Extra, Sampling};

const STOPS_MAX: usize = 16;

#[derive(Default)]
pub struct Options {
    pub sampling: Sampling,
    pub max_tokens: Option<u32>,
    pub extra: Extra,
}

/// Options that reload the model for all users.
pub const RUNNER_OPTIONS: &[&str] =
    &["draft_num_predict", "main_gpu", "num_batch", "num_ctx", "num_gpu", "num_thread", "use_mmap"];

const OPTIONS: &[&str] = &[
    "draft_num_predict",
    "frequency_penalty",
    "main_gpu",
    "min_p",
    "num_batch",
    "num_ctx",
    "num_gpu",
    "num_keep",
    "num_predict",
    "num_thread",
    "presence_penalty",
    "repeat_last_n",
    "repeat_penalty",
    "seed",
    "stop",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "use_mmap",
];

// Ollama itself knows no bounds for these; they only keep out what no sampler can use.
const COUNT_MAX: i64 = 1_000_000;
const FACTOR_MAX: f64 = 100.0;
const FACTOR_MIN: f64 = 0.01;

impl Options {
    pub fn read(fields: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Self, Error> {
        let mut options = Options::default();
        for (key, value) in fields {
            let key = key.as_ref();
            if !OPTIONS.contains(&key) {
                // Ollama leaves out options that it does not know, and says so in its log alone.
                ignored.unknown(OPTIONS, at, "options.", key, &value)?;
            } else if !value.is_absent() {
                options.set(key, value, &at.key(key), ignored)?;
            }
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: Json<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<(), Error> {
        if RUNNER_OPTIONS.contains(&key) {
            return Err(at.unsupported("is not offered: it would reload the model for everybody; leave it out"));
        }
        let sampling = &mut self.sampling;
        match key {
            "temperature" => sampling.temperature = Some(value.number_in(at, 0.0..=FACTOR_MAX)?),
            "top_p" => sampling.top_p = Some(value.number_in(at, 0.0..=1.0)?),
            "top_k" => sampling.top_k = Some(value.integer_in(at, 0..=COUNT_MAX)?),
            "seed" => sampling.seed = Some(value.integer(at)?),
            "presence_penalty" => sampling.presence_penalty = Some(value.number_in(at, -FACTOR_MAX..=FACTOR_MAX)?),
            "frequency_penalty" => sampling.frequency_penalty = Some(value.number_in(at, -FACTOR_MAX..=FACTOR_MAX)?),
            "stop" => sampling.stop = value.stop_sequences(at, STOPS_MAX)?,
            "num_predict" => match value.integer(at)? {
                0 => return Err(at.invalid("must be at least 1, or negative for the gateway's own limit")),
                // Ollama has no limit then. Here the gateway's own limit applies, so the field is noted.
                ..0 => ignored.add("options.num_predict"),
                limit => self.max_tokens = Some(u32::try_from(limit).unwrap_or(u32::MAX)),
            },
            "min_p" | "typical_p" => self.keep(key, value.number_in(at, 0.0..=1.0)?),
            // A factor of zero would divide by zero in the sampler.
            "repeat_penalty" => self.keep(key, value.number_in(at, FACTOR_MIN..=FACTOR_MAX)?),
            // -1 means the whole context in both.
            "num_keep" | "repeat_last_n" => self.keep(key, value.integer_in(at, -1..=COUNT_MAX)?),
            other => ignored.add(format_args!("options.{other}")),
        }
        Ok(())
    }

    fn keep(&mut self, key: &str, value: impl Into<Value>) {
        self.extra.ollama.insert(key.to_owned(), value.into());
    }
}
