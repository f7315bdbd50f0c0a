//! The models that an Ollama has in memory.

use serde::Deserialize;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::catalog::LoadedModel;
use crate::model::model_name::ModelName;
use crate::provider::ollama::failure::refused;

#[derive(Deserialize)]
struct Processes {
    models: Option<Vec<Process>>,
}

#[derive(Deserialize)]
struct Process {
    name: Option<String>,
    size: Option<i64>,
    size_vram: Option<i64>,
    expires_at: Option<String>,
    context_length: Option<u64>,
}

/// With `keep_alive: -1`, Ollama writes a time that is centuries away. No other model is kept for as long as this.
const STAYS_AFTER: &str = "2200-01-01T00:00:00Z";

/// Models of one list, at most; no memory holds as many.
const LOADED_MAX: usize = 256;

/// Parses the answer of `/api/ps`. What is missing or makes no sense is left out.
pub fn loaded(body: &[u8]) -> Result<Vec<LoadedModel>, Error> {
    let processes: Processes = serde_json::from_slice(body)
        .map_err(|_| refused("the model server's list of loaded models is not understood"))?;
    Ok(processes.models.unwrap_or_default().into_iter().filter_map(model).take(LOADED_MAX).collect())
}

fn model(process: Process) -> Option<LoadedModel> {
    let name = ModelName::parse(&process.name?).ok()?;
    let bytes = |size: Option<i64>| size.and_then(|size| u64::try_from(size).ok());
    let size = bytes(process.size).filter(|size| *size > 0);
    let stays_after = Timestamp::parse(STAYS_AFTER);
    // While a model is loaded, Ollama writes the year 1 or the Unix epoch.
    let until = process.expires_at.as_deref().and_then(Timestamp::parse);
    let until = until.filter(|until| until.0 > 0 && stays_after.is_none_or(|stays| *until < stays));
    Some(LoadedModel { name, bytes: size, gpu_bytes: bytes(process.size_vram), until, context: process.context_length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_ollama_does_not_tell_is_left_out() {
        let ps = r#"{"models":[
            {"name":"a:1","size":-1,"size_vram":0,"expires_at":"0001-01-01T00:00:00Z"},
            {"name":"b","expires_at":"2318-01-01T00:00:00Z"},
            {"name":"c","expires_at":"2199-12-31T23:59:59Z"},
            {"name":"sp ace"},
            {"size":1}]}"#;

        let models = loaded(ps.as_bytes()).unwrap();

        let told: Vec<_> = models.iter().map(|model| (model.name.as_str(), model.bytes, model.gpu_bytes)).collect();
        assert_eq!(told, [("a:1", None, Some(0)), ("b", None, None), ("c", None, None)]);
        let until: Vec<_> = models.iter().map(|model| model.until.is_some()).collect();
        assert_eq!(until, [false, false, true]);
        assert!(loaded(br#"{"models":null}"#).unwrap().is_empty());
        assert!(loaded(b"<html>").is_err());
    }
}
