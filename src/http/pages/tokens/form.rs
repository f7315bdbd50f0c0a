//! The fields of an access token's forms: read, checked for what only a form can have wrong, and filled in again.

use std::collections::BTreeMap;

use crate::base::clock::zone::Zone;
use crate::base::error::Error;
use crate::base::fields::Fields;
use crate::http::pages::fault::Fault;
use crate::http::pages::form_fields::FormFields;
use crate::http::pages::format::PageTimes;
use crate::http::pages::problem::FormProblem;
use crate::model::rights::quotas::{QuotaChanges, Quotas};
use crate::model::token::Token;
use crate::rules::tokens::{TokenEdit, Wish};

/// Quotas by name; `None` takes one away.
type QuotaValues = BTreeMap<String, Option<u64>>;

/// Limits of a token's own: field, label, unit, quota.
const LIMITS: [(&str, &str, &str, Option<&str>); 7] = [
    ("requests_per_minute", "Requests a minute", "requests", None),
    ("quotas.requests_per_day", "Requests a day", "requests", Some("requests_per_day")),
    ("quotas.tokens_per_minute", "Model tokens a minute", "model tokens", Some("tokens_per_minute")),
    ("quotas.tokens_per_day", "Model tokens a day", "model tokens", Some("tokens_per_day")),
    ("quotas.gpu_seconds_per_day", "GPU time a day", "seconds", Some("gpu_seconds_per_day")),
    ("quotas.answer_tokens_max", "Longest answer", "model tokens", Some("answer_tokens_max")),
    ("quotas.context_tokens_max", "Longest prompt and answer", "model tokens", Some("context_tokens_max")),
];

/// A field of a limit.
pub struct LimitField {
    pub name: &'static str,
    pub label: &'static str,
    pub unit: &'static str,
    pub value: String,
}

/// What can be changed in a token, as it was typed.
#[derive(Default)]
pub struct TokenFields {
    pub name: String,
    pub class: String,
    pub networks: String,
    limits: BTreeMap<&'static str, String>,
}

impl TokenFields {
    pub fn sent(fields: &FormFields) -> TokenFields {
        TokenFields {
            name: fields.text("name").to_owned(),
            class: fields.text("class").to_owned(),
            networks: fields.text("networks").to_owned(),
            limits: LIMITS.iter().map(|(name, ..)| (*name, fields.text(name).to_owned())).collect(),
        }
    }

    pub fn of(token: &Token) -> TokenFields {
        let networks = token.networks.iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
        let value = |name: &'static str, quota: Option<&str>| match quota {
            None => token.requests_per_minute.map(|limit| limit.unsigned_abs()),
            Some(_) => quota_of(&token.quotas, name),
        };
        TokenFields {
            name: token.name.clone(),
            class: token.class.map(|class| class.name().to_owned()).unwrap_or_default(),
            networks: networks.join("\n"),
            limits: LIMITS
                .iter()
                .filter_map(|(name, _, _, quota)| Some((*name, value(name, *quota)?.to_string())))
                .collect(),
        }
    }

    pub fn limits(&self) -> Vec<LimitField> {
        let field = |(name, label, unit, _): &(&'static str, &'static str, &'static str, Option<&str>)| LimitField {
            name,
            label,
            unit,
            value: self.limits.get(name).cloned().unwrap_or_default(),
        };
        LIMITS.iter().map(field).collect()
    }

    /// Returns whether any limit is filled in, so that their fold is open.
    pub fn has_limits(&self) -> bool {
        self.limits.values().any(|value| !value.trim().is_empty())
    }

    /// Returns the networks, one for each line.
    fn networks(&self) -> Option<Vec<String>> {
        let all: Vec<String> = self.networks.split([',', '\n', ' ', '\r', '\t']).map(str::to_owned).collect();
        let all: Vec<String> = all.into_iter().filter(|one| !one.is_empty()).collect();
        (!all.is_empty()).then_some(all)
    }

    fn class(&self) -> Option<String> {
        Some(self.class.clone()).filter(|class| !class.is_empty())
    }
}

fn quota_of(quotas: &Quotas, field: &str) -> Option<u64> {
    match field.strip_prefix("quotas.")? {
        "requests_per_day" => quotas.requests_per_day,
        "tokens_per_minute" => quotas.tokens_per_minute,
        "tokens_per_day" => quotas.tokens_per_day,
        "gpu_seconds_per_day" => quotas.gpu_seconds_per_day,
        "answer_tokens_max" => quotas.answer_tokens_max,
        "context_tokens_max" => quotas.context_tokens_max,
        _ => None,
    }
}

/// Returns the requests a minute and the quotas that a form sets; those that are not filled in are taken away.
fn limits_of(fields: &FormFields) -> Result<(Option<u32>, QuotaValues), Error> {
    let (mut requests, mut quotas) = (None, BTreeMap::new());
    for (name, _, _, quota) in LIMITS {
        let number = fields.number(name)?;
        match quota {
            // A number beyond the type is beyond the limit, too.
            None => requests = number.map(|number| u32::try_from(number).unwrap_or(u32::MAX)),
            Some(quota) => drop(quotas.insert(quota.to_owned(), number)),
        }
    }
    Ok((requests, quotas))
}

/// Returns the changes that a form asks for.
pub fn edit_of(fields: &FormFields) -> Result<TokenEdit, Error> {
    let sent = TokenFields::sent(fields);
    let (requests_per_minute, quotas) = limits_of(fields)?;
    Ok(TokenEdit {
        networks: Some(sent.networks()),
        class: Some(sent.class()),
        requests_per_minute: Some(requests_per_minute),
        quotas,
        name: Some(sent.name),
    })
}

/// Returns the token that a form asks for.
pub fn wish_of(fields: &FormFields, times: &PageTimes) -> Result<Wish, Error> {
    let sent = TokenFields::sent(fields);
    let (requests_per_minute, quotas) = limits_of(fields)?;
    let chosen = |name| fields.values(name).map(str::to_owned).collect::<Vec<_>>();
    Ok(Wish {
        scopes: Some(chosen("scopes")),
        models: Some(chosen("models")).filter(|models| !models.is_empty()),
        networks: sent.networks(),
        delegating: fields.values("delegating").any(|value| value == "yes"),
        requests_per_minute,
        quotas: Some(Fields(QuotaChanges::parse(&quotas)?.apply(Quotas::default()))),
        class: sent.class(),
        expires_in_days: days_of(fields, times)?,
        name: sent.name,
    })
}

/// Returns for how many days from now on a token is wanted; `None`: nothing was chosen.
pub fn days_of(fields: &FormFields, times: &PageTimes) -> Result<Option<u32>, Error> {
    match fields.text("ends") {
        "date" => days_until(fields.text("ends_on"), times.zone(), times).map(Some),
        "" => Ok(None),
        days => days.parse().map(Some).map_err(|_| Error::invalid("ends", "`ends` must be one of those")),
    }
}

fn days_until(date: &str, zone: &Zone, times: &PageTimes) -> Result<u32, Error> {
    let wrong = |message: &str| Error::invalid("ends_on", format!("`ends_on` {message}"));
    let day = zone.parse_local(date).ok_or_else(|| wrong("must be a day, as in 2027-01-31"))?;
    let days = zone.local(times.now()).days_before(&zone.local(day));
    u32::try_from(days).ok().filter(|days| *days > 0).ok_or_else(|| wrong("must be a day after today"))
}

/// Returns what is wrong with a form of a token, at the field where it was typed.
pub fn problem_of(error: Error) -> Result<FormProblem, Fault> {
    let mut problem = FormProblem::of(error)?;
    let field = problem.field.clone().unwrap_or_default();
    let place = field.split_once('[').map(|(list, place)| (list.to_owned(), place.trim_end_matches(']').to_owned()));
    match (field.as_str(), place) {
        ("expires_in_days", _) => problem.field = Some("ends".to_owned()),
        (_, Some((list, place))) => {
            if let Ok(place) = place.parse::<u64>() {
                problem.message = format!("Number {}: {}", place + 1, problem.message);
            }
            problem.field = Some(list);
        }
        _ => {}
    }
    Ok(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;

    fn read(form: &str) -> FormFields {
        FormFields::parse(form.as_bytes()).unwrap()
    }

    fn times() -> PageTimes {
        // 2026-11-27 14:32 in Berlin.
        PageTimes::new(Zone::named("Europe/Berlin").unwrap(), Timestamp::parse("2026-11-27T13:32:00Z").unwrap())
    }

    #[test]
    fn an_end_is_a_number_of_days_or_a_date_after_today() {
        let days = |form: &str| days_of(&read(form), &times()).map_err(|error| error.field().unwrap_or("").to_owned());

        assert_eq!(days("ends=30"), Ok(Some(30)));
        assert_eq!(days(""), Ok(None));
        assert_eq!(days("ends=date&ends_on=2026-11-28"), Ok(Some(1)));
        assert_eq!(days("ends=date&ends_on=2027-02-25"), Ok(Some(90)));
        for wrong in ["2026-11-27", "2026-11-26", "tomorrow", ""] {
            assert_eq!(days(&format!("ends=date&ends_on={wrong}")), Err("ends_on".to_owned()), "{wrong:?}");
        }
        assert_eq!(days("ends=never"), Err("ends".to_owned()));
    }

    #[test]
    fn networks_stand_in_lines_and_what_is_not_filled_in_sets_nothing() {
        let form =
            read("name=ci&networks=192.168.1.0%2F24%0D%0A+10.0.0.1%2C&quotas.tokens_per_day=1%2C000&scopes=chat");
        let wish = wish_of(&form, &times()).unwrap();

        assert_eq!(wish.networks.unwrap(), ["192.168.1.0/24", "10.0.0.1"]);
        assert_eq!(wish.quotas.unwrap().0, Quotas { tokens_per_day: Some(1_000), ..Quotas::default() });
        assert!(wish.models.is_none() && wish.class.is_none() && wish.requests_per_minute.is_none());
        let edit = edit_of(&read("name=ci")).unwrap();
        assert_eq!((edit.networks, edit.class, edit.requests_per_minute), (Some(None), Some(None), Some(None)));
        assert_eq!(edit.quotas.len(), 6, "each quota that is not filled in is taken away");
    }

    #[test]
    fn a_problem_stands_at_the_field_where_it_was_typed() {
        let of = |field: &str| {
            let problem = problem_of(Error::invalid(field.to_owned(), format!("`{field}` must be right"))).unwrap();
            (problem.field.unwrap(), problem.message)
        };

        assert_eq!(of("networks[1]"), ("networks".into(), "Number 2: Must be right.".into()));
        assert_eq!(of("expires_in_days"), ("ends".into(), "Must be right.".into()));
        assert_eq!(of("quotas.tokens_per_day"), ("quotas.tokens_per_day".into(), "Must be right.".into()));
        assert_eq!(limits_of(&read("requests_per_minute=ten")).unwrap_err().field(), Some("requests_per_minute"));
    }

    #[test]
    fn every_quota_has_a_field() {
        let all: BTreeMap<String, Option<u64>> =
            LIMITS.iter().filter_map(|(.., quota)| Some((quota.as_ref()?.to_string(), Some(7)))).collect();
        let quotas = QuotaChanges::parse(&all).unwrap().apply(Quotas::default());

        let written = serde_json::to_value(quotas).unwrap();
        assert_eq!(written.as_object().unwrap().len(), 6);
        for (name, .., quota) in LIMITS {
            assert_eq!(quota_of(&quotas, name), quota.map(|_| 7), "{name}");
        }
    }
}
