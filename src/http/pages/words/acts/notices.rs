//! Acts about the channels for notices in words.

use serde_json::Value;

use crate::http::pages::words::acts::{ActSentence, RecordedAct};

pub fn added(act: &RecordedAct<'_>, sentence: ActSentence) -> ActSentence {
    let place = text(act.detail, &["new", "place"]).map(|place| format!("to {place}"));
    named(act, sentence.words("added the notice channel")).words(place.unwrap_or_default())
}

pub fn changed(act: &RecordedAct<'_>, sentence: ActSentence) -> ActSentence {
    let place = text(act.detail, &["new", "place"]).map(|place| format!("it leads to {place}"));
    let is_on = act.detail.and_then(|detail| detail.get("new")?.get("on")?.as_bool());
    let on = is_on.map(|on| if on { "it is on" } else { "it is off" }.to_owned());
    let secret = act.detail.is_some_and(|detail| detail["new_secret"] == true);
    let secret = secret.then(|| "it has a new secret".to_owned());
    let told: Vec<String> = [place, on, secret].into_iter().flatten().collect();
    let told = if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) };
    named(act, sentence.words("changed the notice channel")).words(told)
}

pub fn removed(act: &RecordedAct<'_>, sentence: ActSentence) -> ActSentence {
    named(act, sentence.words("removed the notice channel"))
}

pub fn tested(act: &RecordedAct<'_>, sentence: ActSentence) -> ActSentence {
    named(act, sentence.words("sent a test by the notice channel"))
}

fn named(act: &RecordedAct<'_>, sentence: ActSentence) -> ActSentence {
    match text(act.detail, &["name"]) {
        Some(name) => sentence.name(name),
        None => sentence,
    }
}

fn text<'a>(detail: Option<&'a Value>, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(detail?, |value, field| value.get(field))?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::Act;
    use serde_json::json;

    fn told(act: Act, detail: &Value) -> String {
        let by = Some("maria@example.org");
        RecordedAct { act: act.name(), by, detail: Some(detail), ..Default::default() }.sentence().text()
    }

    #[test]
    fn channels_are_named_and_what_changed_is_told() {
        let added = json!({ "name": "ops", "new": { "place": "https://hooks.example.org" } });
        assert_eq!(
            told(Act::NoticeChannelAdded, &added),
            "maria@example.org added the notice channel ops to https://hooks.example.org"
        );
        let changed = json!({ "name": "ops", "old": { "on": true }, "new": { "on": false }, "new_secret": true });
        assert_eq!(
            told(Act::NoticeChannelChanged, &changed),
            "maria@example.org changed the notice channel ops: it is off, it has a new secret"
        );
        let removed = json!({ "name": "ops" });
        assert_eq!(told(Act::NoticeChannelRemoved, &removed), "maria@example.org removed the notice channel ops");
    }
}
