//! The form of a person's limits: what is in its fields, and what is asked by them. An empty field means the gateway's default.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::error::Error;
use crate::config::settings::Settings;
use crate::http::pages::form_fields::FormFields;
use crate::http::pages::format::{coarse, commas};
use crate::http::pages::problem::FormProblem;
use crate::model::model_name::ModelName;
use crate::model::people::User;
use crate::rules::accounts::UserEdit;
use crate::store::users::governed;

use std::time::Duration;

/// The field with what the form was made from.
pub const MADE_FROM: &str = "made_from";

/// The field that allows all models.
const ALL_MODELS: &str = "all_models";

/// A field with a number.
struct Known {
    name: &'static str,
    label: &'static str,
    unit: &'static str,
    hint: &'static str,
}

const fn known(name: &'static str, label: &'static str, unit: &'static str, hint: &'static str) -> Known {
    Known { name, label, unit, hint }
}

const REQUESTS_PER_MINUTE: Known = known(
    "requests_per_minute",
    "Requests a minute",
    "requests",
    "To a model, in any 60 seconds, all credentials together.",
);

const WEIGHT: Known =
    known("weight", "Share", "", "With 2 they get twice the GPU time of somebody with 1 while both wait. 1 to 100.");

const QUOTAS: [Known; 6] = [
    known("requests_per_day", "Requests a day", "requests", ""),
    known("tokens_per_minute", "Model tokens a minute", "model tokens", "Prompts and answers together."),
    known("tokens_per_day", "Model tokens a day", "model tokens", "Prompts and answers together."),
    known("gpu_seconds_per_day", "GPU time a day", "seconds", "7,200 are 2 hours."),
    known("answer_tokens_max", "Longest answer", "model tokens", ""),
    known("context_tokens_max", "Longest prompt and answer together", "model tokens", ""),
];

/// What is in the fields.
#[derive(Debug, Clone, Default)]
pub struct LimitsForm {
    pub role: String,
    pub class: String,
    /// Numbers as they were typed, by name.
    pub numbers: BTreeMap<&'static str, String>,
    pub has_all_models: bool,
    pub models: Vec<String>,
    pub made_from: String,
}

/// A field with a number, for the template.
pub struct NumberField {
    pub name: &'static str,
    pub label: &'static str,
    pub unit: &'static str,
    pub hint: &'static str,
    pub value: String,
    /// `default: 10`
    pub default: String,
    pub error: String,
}

/// A model that can be chosen.
pub struct ModelChoice {
    pub name: String,
    pub is_chosen: bool,
    /// Whether no model server has it now.
    pub is_missing: bool,
}

fn all_numbers() -> impl Iterator<Item = &'static Known> {
    [&REQUESTS_PER_MINUTE].into_iter().chain(&QUOTAS).chain([&WEIGHT])
}

impl LimitsForm {
    /// Returns the form as the account is.
    pub fn of(user: &User) -> LimitsForm {
        let quotas = serde_json::to_value(user.quotas).unwrap_or_default();
        let number = |name: &str| match name {
            "requests_per_minute" => user.requests_per_minute.map(|limit| limit.to_string()),
            "weight" => Some(user.weight).filter(|weight| *weight != 1).map(|weight| weight.to_string()),
            quota => quotas.get(quota).and_then(Value::as_u64).map(|limit| limit.to_string()),
        };
        let models = user.models.words();
        LimitsForm {
            role: user.role.name().to_owned(),
            class: user.class.name().to_owned(),
            numbers: all_numbers().filter_map(|known| Some((known.name, number(known.name)?))).collect(),
            has_all_models: models.is_none(),
            models: models.unwrap_or_default(),
            made_from: governed(user).to_string(),
        }
    }

    /// Returns the form as it was sent.
    pub fn sent(fields: &FormFields) -> LimitsForm {
        let typed = |known: &'static Known| (known.name, fields.text(known.name).trim().to_owned());
        LimitsForm {
            role: fields.text("role").to_owned(),
            class: fields.text("class").to_owned(),
            numbers: all_numbers().map(typed).collect(),
            has_all_models: fields.has(ALL_MODELS),
            models: fields.values("models").map(str::to_owned).collect(),
            made_from: fields.text(MADE_FROM).to_owned(),
        }
    }

    /// Returns the fields that send this form, as for Undo.
    pub fn fields(&self) -> Vec<(&str, &str)> {
        let mut fields = vec![("role", self.role.as_str()), ("class", &self.class), (MADE_FROM, &self.made_from)];
        fields.extend(self.numbers.iter().map(|(name, text)| (*name, text.as_str())));
        if self.has_all_models {
            fields.push((ALL_MODELS, "yes"));
        }
        fields.extend(self.models.iter().map(|model| ("models", model.as_str())));
        fields
    }

    /// Returns what the form was made from.
    pub fn seen(&self) -> Result<Value, Error> {
        let seen = serde_json::from_str(&self.made_from).ok().filter(Value::is_object);
        seen.ok_or_else(|| Error::invalid(MADE_FROM, "the form is not whole; load the page again"))
    }

    /// Returns what the form asks for.
    pub fn edit(&self, fields: &FormFields) -> Result<UserEdit, Error> {
        // A larger number is refused with the bounds of its field.
        let small = |name: &str| Ok(fields.number(name)?.map(|number| u32::try_from(number).unwrap_or(u32::MAX)));
        let quota = |known: &Known| Ok((known.name.to_owned(), fields.number(known.name)?));
        let models = match (self.has_all_models, self.models.is_empty()) {
            (true, true) => None,
            (false, false) => Some(self.models.clone()),
            (true, false) => {
                return Err(Error::invalid("models", "choose all models, or some of them: take one of the two away"));
            }
            (false, true) => return Err(Error::invalid("models", "choose at least one model, or all")),
        };
        Ok(UserEdit {
            role: Some(self.role.clone()),
            class: Some(self.class.clone()),
            requests_per_minute: Some(small(REQUESTS_PER_MINUTE.name)?),
            weight: Some(small(WEIGHT.name)?.unwrap_or(1)),
            quotas: QUOTAS.iter().map(quota).collect::<Result<_, Error>>()?,
            models: Some(models),
            made_from: Some(self.seen()?),
            note: None,
        })
    }

    /// Returns the fields of limits, each with the gateway's default beside it.
    pub fn limits(&self, settings: &Settings, problem: Option<&FormProblem>) -> Vec<NumberField> {
        let quotas = serde_json::to_value(settings.quotas()).unwrap_or_default();
        let of_quota = |known: &'static Known| {
            let limit = quotas.get(known.name).and_then(Value::as_u64);
            self.field(known, &limit.map_or_else(|| "no limit".to_owned(), |limit| said(limit, known.unit)), problem)
        };
        let requests = said(u64::from(settings.requests_per_minute), "");
        let first = self.field(&REQUESTS_PER_MINUTE, &requests, problem);
        [first].into_iter().chain(QUOTAS.iter().map(of_quota)).collect()
    }

    pub fn share(&self, problem: Option<&FormProblem>) -> NumberField {
        self.field(&WEIGHT, "1", problem)
    }

    fn field(&self, known: &'static Known, default: &str, problem: Option<&FormProblem>) -> NumberField {
        let of_field = problem.filter(|problem| problem.field.as_deref() == Some(known.name));
        NumberField {
            name: known.name,
            label: known.label,
            unit: known.unit,
            hint: known.hint,
            value: self.numbers.get(known.name).cloned().unwrap_or_default(),
            default: format!("default: {default}"),
            error: of_field.map(|problem| problem.message.clone()).unwrap_or_default(),
        }
    }

    /// Returns the models to choose from: those that exist, and those that were chosen, in their own spelling.
    pub fn models(&self, served: &[ModelName], is_same: impl Fn(&ModelName, &ModelName) -> bool) -> Vec<ModelChoice> {
        let is = |name: &str, model: &ModelName| ModelName::parse(name).is_ok_and(|name| is_same(&name, model));
        let chosen = self.models.iter().map(|name| ModelChoice {
            name: name.clone(),
            is_chosen: true,
            is_missing: !served.iter().any(|model| is(name, model)),
        });
        let others = served.iter().filter(|model| !self.models.iter().any(|name| is(name, model)));
        let other =
            |model: &ModelName| ModelChoice { name: model.as_str().to_owned(), is_chosen: false, is_missing: false };
        let mut all: Vec<ModelChoice> = chosen.chain(others.map(other)).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

fn said(limit: u64, unit: &str) -> String {
    match unit {
        "seconds" if limit >= 60 => format!("{} ({})", commas(limit), coarse(Duration::from_secs(limit))),
        _ => commas(limit),
    }
}

/// Returns the problem with the field of the form: the API puts quotas in a field of their own, and counts in lists.
pub fn of_form(problem: FormProblem) -> FormProblem {
    let field = problem.field.map(|field| match field.strip_prefix("quotas.") {
        Some(quota) => quota.to_owned(),
        None if field.starts_with("models") => "models".to_owned(),
        None => field,
    });
    let message = problem.message.replace(", or null for none", "; empty is the default");
    FormProblem { field, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(body: &str) -> (LimitsForm, FormFields) {
        let fields = FormFields::parse(body.as_bytes()).unwrap();
        (LimitsForm::sent(&fields), fields)
    }

    fn refused(body: &str) -> String {
        let (form, fields) = sent(body);
        form.edit(&fields).unwrap_err().field().unwrap_or_default().to_owned()
    }

    #[test]
    fn an_empty_field_is_the_default_and_numbers_may_have_commas() {
        let (form, fields) =
            sent("role=user&class=batch&requests_per_minute=1,000&tokens_per_day=&weight=&all_models=yes&made_from={}");

        let edit = form.edit(&fields).unwrap();

        assert_eq!((edit.requests_per_minute, edit.weight, edit.models), (Some(Some(1000)), Some(1), Some(None)));
        assert_eq!(edit.quotas["tokens_per_day"], None);
        assert_eq!(edit.quotas.len(), 6);
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        let rest = "role=user&class=batch&made_from={}";
        assert_eq!(refused(&format!("{rest}&all_models=yes&models=a")), "models");
        assert_eq!(refused(rest), "models");
        assert_eq!(refused(&format!("{rest}&all_models=yes&tokens_per_day=many")), "tokens_per_day");
        assert_eq!(refused("role=user&class=batch&all_models=yes"), "made_from");
        let (form, fields) = sent(&format!("{rest}&all_models=yes&requests_per_minute=99999999999"));
        assert_eq!(form.edit(&fields).unwrap().requests_per_minute, Some(Some(u32::MAX)));
    }

    #[test]
    fn a_form_sends_what_it_holds() {
        let (form, _) = sent("role=admin&class=batch&weight=3&models=a&models=b&made_from={}");

        let fields = form.fields();

        for field in [("role", "admin"), ("weight", "3"), ("models", "a"), ("models", "b"), ("made_from", "{}")] {
            assert!(fields.contains(&field), "{field:?}");
        }
        assert!(!fields.iter().any(|(name, _)| *name == "all_models"));
    }

    #[test]
    fn a_chosen_model_keeps_its_spelling_and_one_that_is_gone_stays_chosen() {
        let model = |name: &str| ModelName::parse(name).unwrap();
        let form = LimitsForm { models: vec!["LLAMA".into(), "gone".into()], ..LimitsForm::default() };
        let is_same = |one: &ModelName, other: &ModelName| one.as_str().eq_ignore_ascii_case(other.as_str());

        let choices = form.models(&[model("llama"), model("gemma")], is_same);

        let seen: Vec<_> = choices.iter().map(|one| (one.name.as_str(), one.is_chosen, one.is_missing)).collect();
        assert_eq!(seen, [("LLAMA", true, false), ("gemma", false, false), ("gone", true, true)]);
    }
}
