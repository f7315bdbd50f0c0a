//! The continuation of a text, as a request to Ollama's `/api/generate`.

use crate::model::complete::CompleteRequest;
use crate::model::model_name::ModelName;
use crate::provider::ollama::request::{options, put, put_end, put_field};
use crate::provider::{Call, Reading};

/// Returns the call that only loads a model: a prompt that is empty. Ollama answers when it is in memory.
pub fn load(model: &ModelName, prompt_field: &'static str) -> Call {
    let mut out = b"{\"model\":".to_vec();
    put(&mut out, model.as_str());
    put_field(&mut out, "prompt", "");
    put_field(&mut out, "stream", &true);
    out.push(b'}');
    Call::post("/api/generate", out, Reading::Completion, prompt_field)
}

pub fn call(request: &CompleteRequest, prompt_field: &'static str) -> Call {
    let mut out = b"{\"model\":".to_vec();
    put(&mut out, request.model.as_str());
    put_field(&mut out, "prompt", &request.prompt);
    if let Some(suffix) = &request.suffix {
        put_field(&mut out, "suffix", suffix);
    }
    if request.raw {
        put_field(&mut out, "raw", &true);
    }
    put_field(&mut out, "stream", &true);
    let mut notes = Vec::new();
    let options = options(request.extra.ollama.clone(), &request.sampling, request.max_tokens, &mut notes);
    if !options.is_empty() {
        put_field(&mut out, "options", &options);
    }
    // A continuation has no reasoning before it; models that don't reason ignore this.
    put_field(&mut out, "think", &false);
    put_end(&mut out, request.logprobs, request.too_long);
    Call { notes, ..Call::post("/api/generate", out, Reading::Completion, prompt_field) }
}
