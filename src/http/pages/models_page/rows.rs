//! The rows of the models.

use std::sync::Arc;
use std::time::Duration;

use crate::http::pages::format::{PageTimes, bytes, coarse, commas};
use crate::model::catalog::{LoadedModel, ModelCard, Skills};
use crate::model::model_name::ModelName;
use crate::model::people::{People, User};
use crate::model::provider_kind::ProviderKind;
use crate::provider;
use crate::rules::usage::UsageItem;

/// People that are named; the others are told by their number.
const NAMED_MAX: usize = 5;

/// What is known beside the list of models.
pub struct ModelFacts<'a> {
    pub kinds: Vec<ProviderKind>,
    pub loaded: Vec<LoadedModel>,
    /// Usage by model.
    pub used: Vec<UsageItem>,
    pub people: &'a People,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    pub name: String,
    /// What it can do; `None`: its server has not told yet.
    pub can: Option<Vec<&'static str>>,
    pub size: String,
    /// Until when it is loaded: a time, or `stays`; empty when it is not.
    pub until: String,
    pub gpu: String,
    pub requests: String,
    pub gpu_time: String,
    pub may: String,
}

impl ModelFacts<'_> {
    /// Returns a row for each model, those that were used most first.
    pub fn rows(&self, cards: Vec<ModelCard>, times: &PageTimes) -> Vec<ModelRow> {
        let mut rows: Vec<(i64, ModelRow)> = cards
            .into_iter()
            .map(|card| {
                let used = self.used.iter().find(|item| item.key == card.canonical);
                (used.map_or(0, |item| item.gpu_ms), self.row(&card, used, times))
            })
            .collect();
        rows.sort_by(|(gpu, row), (other_gpu, other)| other_gpu.cmp(gpu).then_with(|| row.name.cmp(&other.name)));
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn row(&self, card: &ModelCard, used: Option<&UsageItem>, times: &PageTimes) -> ModelRow {
        let is_same = |one: &ModelName, other: &ModelName| provider::is_same(&self.kinds, one, other);
        let loaded: Vec<&LoadedModel> = self.loaded.iter().filter(|one| is_same(&one.name, &card.name)).collect();
        let until = loaded.iter().map(|one| one.until.map_or_else(|| "stays".to_owned(), |at| times.minute(at).text));
        let gpu: u64 = loaded.iter().filter_map(|one| one.gpu_bytes).fold(0, u64::saturating_add);
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        ModelRow {
            name: card.name.as_str().to_owned(),
            can: card.skills.map(words_of),
            size: card.bytes.map(bytes).unwrap_or_default(),
            until: until.max().unwrap_or_default(),
            gpu: if gpu > 0 { bytes(gpu) } else { String::new() },
            requests: commas(count(used.map_or(0, |item| item.requests))),
            gpu_time: coarse(Duration::from_millis(count(used.map_or(0, |item| item.gpu_ms)))),
            may: self.may(&card.name, &is_same),
        }
    }

    /// Returns who may use a model: everybody, or names.
    fn may(&self, model: &ModelName, is_same: &dyn Fn(&ModelName, &ModelName) -> bool) -> String {
        let active: Vec<&Arc<User>> = self.people.all().filter(|user| user.is_active()).collect();
        let mut names: Vec<&str> =
            active.iter().filter(|user| user.models.include(model, is_same)).map(|user| user.name()).collect();
        if names.len() == active.len() {
            return "everybody".to_owned();
        }
        names.sort_unstable();
        match names.len() {
            0 => "nobody".to_owned(),
            count @ 1..=NAMED_MAX => names[..count].join(", "),
            count => format!("{} and {} more", names[..NAMED_MAX].join(", "), count - NAMED_MAX),
        }
    }
}

fn words_of(skills: Skills) -> Vec<&'static str> {
    let words = [(skills.thinks, "thinks"), (skills.sees, "sees"), (skills.calls_tools, "tools")];
    words.into_iter().filter(|(has, _)| *has).map(|(_, word)| word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::http::pages::in_queue::tests::times;

    fn card(name: &str, skills: Option<Skills>) -> ModelCard {
        let name = ModelName::parse(name).unwrap();
        let canonical = provider::canonical("ollama", &name);
        ModelCard {
            name,
            canonical,
            modified_at: Timestamp(0),
            skills,
            bytes: Some(2_000_000_000),
            details: Default::default(),
        }
    }

    #[test]
    fn a_row_tells_what_a_model_can_do_where_it_is_and_how_much_it_was_used() {
        let loaded = LoadedModel {
            name: ModelName::parse("gemma3").unwrap(),
            bytes: None,
            gpu_bytes: Some(3_400_000_000),
            until: Timestamp::parse("2026-11-27T14:40:00Z"),
            context: None,
        };
        let used = UsageItem { key: "gemma3:latest".into(), requests: 1_204, gpu_ms: 2 * 3_600_000, ..nothing() };
        let people = People::new(Vec::new(), std::iter::empty());
        let facts =
            ModelFacts { kinds: vec![ProviderKind::Ollama], loaded: vec![loaded], used: vec![used], people: &people };
        let skills = Skills { thinks: false, sees: true, calls_tools: true };

        let rows = facts.rows(vec![card("a:1b", None), card("gemma3:latest", Some(skills))], &times());

        let [used, idle] = rows.try_into().unwrap();
        assert_eq!(used.name, "gemma3:latest");
        assert_eq!(used.can, Some(vec!["sees", "tools"]));
        assert_eq!([&*used.size, &*used.until, &*used.gpu], ["2.0 GB", "14:40", "3.4 GB"]);
        assert_eq!([&*used.requests, &*used.gpu_time, &*used.may], ["1,204", "2 h", "everybody"]);
        assert_eq!((idle.can, &*idle.until, &*idle.requests), (None, "", "0"));
    }

    pub fn nothing() -> UsageItem {
        serde_json::from_value(serde_json::json!({
            "key": "", "requests": 0, "failed": 0, "refused": 0, "prompt_tokens": 0, "answer_tokens": 0, "gpu_ms": 0, "total_ms": 0
        }))
        .unwrap()
    }
}
