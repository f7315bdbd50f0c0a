//! Changes of models in words: what was done with which model, and how it ended.

use serde_json::Value;

use crate::http::pages::words::acts::{ActSentence, RecordedAct};
use crate::http::pages::words::reasons;
use crate::model::record::Outcome;

/// Returns what is done, while it is done and after.
fn verbs(action: &str) -> Option<(&'static str, &'static str)> {
    Some(match action {
        "pull" => ("pull", "pulled"),
        "push" => ("push", "pushed"),
        "create" => ("make", "made"),
        "copy" => ("copy", "copied"),
        "delete" => ("delete", "deleted"),
        "upload" => ("upload a file for a model", "uploaded a file for a model"),
        _ => return None,
    })
}

pub fn begun(act: &RecordedAct<'_>, sentence: ActSentence) -> ActSentence {
    let (verb, _) = verbs_of(act.detail);
    with_models(act.detail, sentence.words(format!("began to {verb}")))
}

pub fn ended(act: &RecordedAct<'_>, sentence: ActSentence) -> ActSentence {
    let (verb, done) = verbs_of(act.detail);
    if text(act.detail, "outcome").is_none_or(|outcome| outcome == Outcome::Completed.name()) {
        return with_models(act.detail, sentence.words(done));
    }
    let sentence = with_models(act.detail, sentence.words(format!("tried to {verb}")));
    match text(act.detail, "reason") {
        Some(reason) => sentence.words(format!(": {}", reasons::reason(reason).text)),
        None => sentence.words(", but the client left"),
    }
}

fn verbs_of(detail: Option<&Value>) -> (&'static str, &'static str) {
    text(detail, "action").and_then(verbs).unwrap_or(("change a model", "changed a model"))
}

fn with_models(detail: Option<&Value>, mut sentence: ActSentence) -> ActSentence {
    match (text(detail, "source"), text(detail, "model")) {
        (Some(source), Some(model)) if text(detail, "action") == Some("copy") => {
            sentence = sentence.words("the model").name(source).words("to").name(model);
        }
        (Some(source), Some(model)) => {
            sentence = sentence.words("the model").name(model).words("from").name(source);
        }
        (None, Some(model)) => sentence = sentence.words("the model").name(model),
        (_, None) => {}
    }
    match text(detail, "upstream") {
        Some(upstream) => sentence.words("on").name(upstream),
        None => sentence,
    }
}

fn text<'d>(detail: Option<&'d Value>, field: &str) -> Option<&'d str> {
    detail?.get(field)?.as_str()
}
