//! Quotas of a user or a token: each has one name, in the column, the field and the API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::error::Error;

macro_rules! quotas {
    ($($(#[doc = $about:literal])+ $name:ident;)+) => {
        /// Quotas of a user or of a token; an absent one sets no limit of its own.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Quotas {
            $($(#[doc = $about])+
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(minimum = 1, maximum = 1_000_000_000)]
            pub $name: Option<u64>,)+
        }

        impl Quotas {
            /// The names of all quotas.
            pub const NAMES: &[&str] = &[$(stringify!($name),)+];
        }

        static TABLE: &[Quota] = &[$(Quota {
            name: stringify!($name),
            get: |quotas| quotas.$name,
            set: |quotas, value| quotas.$name = value,
        },)+];
    };
}

quotas! {
    /// Model tokens of prompts and answers together in a minute: a steady rate, of which a minute's worth may be used at once.
    tokens_per_minute;
    /// Requests to a model in a day.
    requests_per_day;
    /// Model tokens of prompts and answers together in a day.
    tokens_per_day;
    /// Seconds in a day that an upstream works.
    gpu_seconds_per_day;
    /// Model tokens of one answer.
    answer_tokens_max;
    /// Model tokens of one prompt and its answer together.
    context_tokens_max;
}

/// A higher number is no limit at all.
pub const QUOTA_MAX: u64 = 1_000_000_000;

struct Quota {
    name: &'static str,
    get: fn(&Quotas) -> Option<u64>,
    set: fn(&mut Quotas, Option<u64>),
}

impl Quota {
    fn check(&self, value: u64) -> Result<(), Error> {
        if (1..=QUOTA_MAX).contains(&value) {
            return Ok(());
        }
        let field = format!("quotas.{}", self.name);
        let message = format!("`{field}` must be from 1 to {QUOTA_MAX}, or null for none");
        Err(Error::invalid(field, message))
    }
}

impl Quotas {
    /// Returns these quotas, completed by `others`.
    pub fn or(self, others: Quotas) -> Quotas {
        self.with(others, Option::or)
    }

    /// Returns the smaller of each quota.
    pub fn tightest(self, others: Quotas) -> Quotas {
        self.with(others, |one, other| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        })
    }

    fn with(mut self, others: Quotas, choose: fn(Option<u64>, Option<u64>) -> Option<u64>) -> Quotas {
        for quota in TABLE {
            let chosen = choose((quota.get)(&self), (quota.get)(&others));
            (quota.set)(&mut self, chosen);
        }
        self
    }

    pub fn check(self) -> Result<Quotas, Error> {
        TABLE
            .iter()
            .filter_map(|quota| Some((quota, (quota.get)(&self)?)))
            .try_for_each(|(quota, value)| quota.check(value))?;
        Ok(self)
    }
}

/// Changes to some quotas; unnamed ones stay.
#[derive(Debug, Default)]
pub struct QuotaChanges(Vec<(&'static Quota, Option<u64>)>);

impl QuotaChanges {
    /// Parses changes by name; `None` removes a quota.
    pub fn parse(asked: &BTreeMap<String, Option<u64>>) -> Result<QuotaChanges, Error> {
        let parse = |(name, value): (&String, &Option<u64>)| {
            let Some(quota) = TABLE.iter().find(|quota| quota.name == name) else {
                let known: Vec<_> = TABLE.iter().map(|quota| quota.name).collect();
                return Err(Error::invalid(
                    format!("quotas.{name}"),
                    format!("`quotas` may hold {}", known.join(", ")),
                ));
            };
            value.map_or(Ok(()), |value| quota.check(value))?;
            Ok((quota, *value))
        };
        asked.iter().map(parse).collect::<Result<_, _>>().map(QuotaChanges)
    }

    pub fn apply(&self, mut quotas: Quotas) -> Quotas {
        for (quota, value) in &self.0 {
            (quota.set)(&mut quotas, *value);
        }
        quotas
    }
}

impl std::fmt::Debug for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(requests: Option<u64>, tokens: Option<u64>) -> Quotas {
        Quotas { requests_per_day: requests, tokens_per_day: tokens, ..Quotas::default() }
    }

    #[test]
    fn a_persons_own_quota_stands_before_the_gateways_and_of_two_the_smaller_holds() {
        let own = quotas(Some(50), None);

        assert_eq!(own.or(quotas(Some(10), Some(20))), quotas(Some(50), Some(20)));
        assert_eq!(own.tightest(quotas(Some(10), Some(20))), quotas(Some(10), Some(20)));
        assert_eq!(own.tightest(quotas(Some(99), None)), own);
    }

    #[test]
    fn changes_touch_what_they_name_and_null_takes_away() {
        let asked = BTreeMap::from([("tokens_per_day".to_owned(), Some(9)), ("requests_per_day".to_owned(), None)]);

        let changes = QuotaChanges::parse(&asked).unwrap();

        let before = Quotas { answer_tokens_max: Some(5), ..quotas(Some(1), Some(2)) };
        assert_eq!(changes.apply(before), Quotas { answer_tokens_max: Some(5), ..quotas(None, Some(9)) });
    }

    #[test]
    fn what_can_not_be_a_quota_is_refused_by_name() {
        let parse = |name: &str, value| QuotaChanges::parse(&BTreeMap::from([(name.to_owned(), Some(value))]));

        assert!(parse("tokens_per_day", 1).is_ok() && parse("tokens_per_day", QUOTA_MAX).is_ok());
        for (name, value) in [("tokens_per_day", 0), ("tokens_per_day", QUOTA_MAX + 1), ("tokens_per_year", 5)] {
            let refused = parse(name, value).unwrap_err();
            assert_eq!(refused.field(), Some(format!("quotas.{name}").as_str()), "{value}");
        }
        assert_eq!(quotas(None, Some(0)).check().unwrap_err().field(), Some("quotas.tokens_per_day"));
    }
}
