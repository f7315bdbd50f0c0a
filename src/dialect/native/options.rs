//! Ollama's `options`, of which those are taken that concern one answer.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::base::error::Error;
use crate::dialect::json::values::{Integer, Number, Stops};
use crate::dialect::json::{At, Ignored, Unread};
use crate::dialect::native::Front;
use crate::model::chat::{Extra, Sampling};

const STOPS_MAX: usize = 16;

// Ollama itself knows no bounds for these; they only keep out what no sampler can use.
const COUNT_MAX: i64 = 1_000_000;
const FACTOR_MAX: i32 = 100;
const REPEAT_PENALTY_MIN: f64 = 0.01;

/// The options on the wire. Ollama leaves out those that it does not know, and says so in its log alone.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct NativeOptions {
    draft_num_predict: Option<Unread>,
    frequency_penalty: Option<Number<{ -FACTOR_MAX }, FACTOR_MAX>>,
    main_gpu: Option<Unread>,
    min_p: Option<Number<0, 1>>,
    num_batch: Option<Unread>,
    num_ctx: Option<Unread>,
    num_gpu: Option<Unread>,
    /// -1 means the whole context, here and in `repeat_last_n`.
    num_keep: Option<Integer<-1, COUNT_MAX>>,
    num_predict: Option<i64>,
    num_thread: Option<Unread>,
    presence_penalty: Option<Number<{ -FACTOR_MAX }, FACTOR_MAX>>,
    repeat_last_n: Option<Integer<-1, COUNT_MAX>>,
    repeat_penalty: Option<RepeatPenalty>,
    seed: Option<i64>,
    stop: Option<Stops>,
    temperature: Option<Number<0, FACTOR_MAX>>,
    top_k: Option<Integer<0, COUNT_MAX>>,
    top_p: Option<Number<0, 1>>,
    typical_p: Option<Number<0, 1>>,
    use_mmap: Option<Unread>,
}

/// A factor, by which the sampler divides: it can't be zero.
struct RepeatPenalty(f64);

impl<'de> Deserialize<'de> for RepeatPenalty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if !(REPEAT_PENALTY_MIN..=f64::from(FACTOR_MAX)).contains(&value) {
            let why = format_args!("must be between {REPEAT_PENALTY_MIN} and {FACTOR_MAX}");
            return Err(serde::de::Error::custom(why));
        }
        Ok(RepeatPenalty(value))
    }
}

#[derive(Default)]
pub struct Options {
    pub sampling: Sampling,
    pub max_tokens: Option<u32>,
    pub extra: Extra,
}

pub fn read_options(
    options: NativeOptions,
    front: Front<'_>,
    at: &At<'_>,
    ignored: &mut Ignored,
) -> Result<Options, Error> {
    check_reloads(&options, front, at, ignored)?;
    let stop = options.stop.map(|stops| stops.texts(&at.key("stop"), STOPS_MAX)).transpose()?;
    let sampling = Sampling {
        temperature: options.temperature.map(|Number(value)| value),
        top_p: options.top_p.map(|Number(value)| value),
        top_k: options.top_k.map(|Integer(count)| count),
        seed: options.seed,
        presence_penalty: options.presence_penalty.map(|Number(value)| value),
        frequency_penalty: options.frequency_penalty.map(|Number(value)| value),
        stop: stop.unwrap_or_default(),
    };
    let max_tokens = match options.num_predict {
        Some(limit) => read_limit(limit, &at.key("num_predict"), ignored)?,
        None => None,
    };
    let of_ollama = [
        ("num_keep", options.num_keep.map(|Integer(count)| Value::from(count))),
        ("min_p", options.min_p.map(|Number(value)| Value::from(value))),
        ("typical_p", options.typical_p.map(|Number(value)| Value::from(value))),
        ("repeat_last_n", options.repeat_last_n.map(|Integer(count)| Value::from(count))),
        ("repeat_penalty", options.repeat_penalty.map(|RepeatPenalty(value)| Value::from(value))),
    ];
    let ollama = of_ollama.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Ok(Options { sampling, max_tokens, extra: Extra { ollama } })
}

/// Looks at the options with which a model is loaded: another value would reload it, for everybody. `Front` says why one way in
/// refuses them and the other leaves them out. An admin sets them for all, in the model or in Ollama's environment.
fn check_reloads(options: &NativeOptions, front: Front<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<(), Error> {
    for (name, value) in [
        ("draft_num_predict", &options.draft_num_predict),
        ("main_gpu", &options.main_gpu),
        ("num_batch", &options.num_batch),
        ("num_ctx", &options.num_ctx),
        ("num_gpu", &options.num_gpu),
        ("num_thread", &options.num_thread),
        ("use_mmap", &options.use_mmap),
    ] {
        match (value, front) {
            (None, _) => {}
            (Some(Unread), Front::Api) => ignored.add(at.key(name).without_indices()),
            (Some(Unread), Front::Chat { .. }) => {
                let why = "is not offered: it would reload the model for everybody; leave it out";
                return Err(at.key(name).unsupported(why));
            }
        }
    }
    Ok(())
}

fn read_limit(limit: i64, at: &At<'_>, ignored: &mut Ignored) -> Result<Option<u32>, Error> {
    match limit {
        0 => Err(at.invalid("must be at least 1, or negative for the gateway's own limit")),
        // Ollama has no limit then. Here the gateway's own limit applies, so the field is noted.
        ..0 => {
            ignored.add(at.without_indices());
            Ok(None)
        }
        1.. => Ok(Some(u32::try_from(limit).unwrap_or(u32::MAX))),
    }
}
