//! Usage sums, by user, token, model, hour or day, and by one of the first three in each hour or day.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::clock::zone::Zone;
use crate::base::error::Error;
use crate::base::sheet::{BYTE_ORDER_MARK, csv_line};
use crate::model::words::words_schema;
use crate::store::Store;
use crate::store::usage::{Group, Measure, QUARTER_US, Sums, UsageFilter, Used, UsedInStep, plus};

pub mod timeline;

/// A query of usage, not yet checked.
#[derive(Debug, Default)]
pub struct Question {
    /// Public id of one user, also of a deleted one.
    pub user_id: Option<String>,
    /// Public id of one token.
    pub token_id: Option<String>,
    /// RFC 3339; 30 days before `to` by default.
    pub from: Option<String>,
    /// RFC 3339; now by default.
    pub to: Option<String>,
    /// `user` by default.
    pub by: Option<String>,
    /// `name` by default.
    pub sort: Option<String>,
}

/// Usage of a user, token or model, of an hour or day, or of a user, token or model in an hour or day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageItem {
    /// Name of the user, the token or the model, or the hour (UTC), or the date of the day in the gateway's `timezone`.
    pub key: String,
    /// The hour (UTC) or the date, when `key` is a name and both were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-01-31")]
    pub when: Option<String>,
    /// When the hour or day begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub begins_at: Option<String>,
    /// Public id of the user or token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name of the token's owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Public id of the token's owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Requests that reached the upstream or waited for it.
    pub requests: i64,
    /// Number of `requests` that ended in an error.
    pub failed: i64,
    /// Requests that were refused, before they got a place in the queue or while they waited.
    pub refused: i64,
    pub prompt_tokens: i64,
    pub answer_tokens: i64,
    /// Time that the upstream worked, in milliseconds.
    pub gpu_ms: i64,
    /// Time from a request's first row in the record to its last, in milliseconds.
    pub total_ms: i64,
}

/// Days that are summed without `from`.
const DAYS_DEFAULT: i64 = 30;

/// Lines of one answer: more than a year of hours.
pub const LINES_MAX: usize = 10_000;

/// Name of the last line when there would be more lines: the sum of those with the least usage.
const OTHERS: &str = "(others)";

/// A length of time that usage can be told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Hour,
    /// From midnight to midnight in the gateway's zone.
    Day,
}

/// What makes a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Group(Group),
    Step(Step),
    Both(Group, Step),
}

impl By {
    fn parse(text: &str) -> Result<By, Error> {
        let group = |word: &str| match word {
            "user" => Some(Group::User),
            "token" => Some(Group::Token),
            "model" => Some(Group::Model),
            _ => None,
        };
        let step = |word: &str| match word {
            "hour" => Some(Step::Hour),
            "day" => Some(Step::Day),
            _ => None,
        };
        let by = match text.split_once(',') {
            None => group(text).map(By::Group).or_else(|| step(text).map(By::Step)),
            Some((first, second)) => group(first).zip(step(second)).map(|(group, step)| By::Both(group, step)),
        };
        by.ok_or_else(|| {
            let message = "`by` must be user, token, model, hour or day, or one of the first three and one of the others, \
                as in user,day";
            Error::invalid("by", message)
        })
    }
}

words_schema! {
    /// What makes a line of usage.
    UsageBy: [
        "user", "token", "model", "hour", "day", "user,hour", "user,day", "token,hour", "token,day", "model,hour",
        "model,day",
    ]
}

words_schema! {
    /// The order of the lines of usage.
    UsageSort: ["name", "gpu", "requests", "tokens", "refused", "failed"]
}

/// Parses the order of lines; `None`: by name or time.
fn measure(word: &str) -> Result<Option<Measure>, Error> {
    Ok(Some(match word {
        "name" => return Ok(None),
        "gpu" => Measure::Gpu,
        "requests" => Measure::Requests,
        "tokens" => Measure::Tokens,
        "refused" => Measure::Refused,
        "failed" => Measure::Failed,
        _ => return Err(Error::invalid("sort", "`sort` must be name, gpu, requests, tokens, refused or failed")),
    }))
}

/// Returns the lines, in the order that was asked for. What is summed up as others comes last.
pub async fn lines(store: &Store, zone: &Zone, asked: Question) -> Result<Vec<UsageItem>, Error> {
    let by = By::parse(asked.by.as_deref().unwrap_or("user"))?;
    let measure = measure(asked.sort.as_deref().unwrap_or("name"))?;
    let time = |field, text: Option<&str>| text.map(|text| Timestamp::parse_field(field, text)).transpose();
    let to = time("to", asked.to.as_deref())?.unwrap_or_else(Timestamp::now);
    let from = time("from", asked.from.as_deref())?.unwrap_or_else(|| {
        let from = to.plus_seconds(-DAYS_DEFAULT * 24 * 3600);
        let by_day = matches!(by, By::Step(Step::Day) | By::Both(_, Step::Day));
        // The first of the days is a whole one.
        if by_day { zone.day_of(from).begins } else { from }
    });
    let user_id = match asked.user_id {
        Some(id) => Some(store.user_key(id).await?),
        None => None,
    };
    let token_id = match asked.token_id {
        Some(id) => {
            let token = store.token_key(id).await?;
            // A query about one user must not show another's token.
            if user_id.is_some_and(|user_id| user_id != token.user_id) {
                return Err(Error::NotFound { what: "such token".into() });
            }
            Some(token.id)
        }
        None => None,
    };
    let wanted = UsageFilter { user_id, token_id, from, to };
    match by {
        By::Group(group) => groups(store, group, wanted, measure).await,
        By::Step(Step::Hour) => {
            let used = store.usage(Group::Hour, wanted, LINES_MAX + 1).await?;
            if used.len() > LINES_MAX {
                return Err(too_many_lines());
            }
            Ok(ordered(named(store, Group::Hour, used).await?, measure))
        }
        By::Step(step) => {
            let bounds = bounds(step, zone, from, to)?;
            let steps = store.usage_in_steps(Group::All, wanted, bounds, Measure::Any, 1).await?;
            let mut items = Vec::new();
            for UsedInStep { begins, used, .. } in steps {
                let all = |used: Used| UsageItem {
                    begins_at: Some(begins.rfc3339()),
                    ..item(label(step, zone, begins), used.sums)
                };
                items.extend(used.into_iter().map(all));
            }
            Ok(ordered(items, measure))
        }
        By::Both(group, step) => both(store, zone, group, step, wanted, measure).await,
    }
}

async fn groups(
    store: &Store,
    group: Group,
    wanted: UsageFilter,
    measure: Option<Measure>,
) -> Result<Vec<UsageItem>, Error> {
    // Users can make any number of tokens. One who made many must not hide the others from an admin.
    let order = measure.unwrap_or(Measure::Any);
    let (used, rest) = store.most_used(group, wanted, order, LINES_MAX - 1).await?;
    let mut items = named(store, group, used).await?;
    if measure.is_none() {
        items.sort_by(|one, other| (&one.key, &one.user, &one.id).cmp(&(&other.key, &other.user, &other.id)));
    }
    items.extend(rest.map(|rest| item(OTHERS.into(), rest)));
    Ok(items)
}

/// Returns a line for each group in each hour or day. The groups that used most are as many as fit; the others are summed up in a
/// line for each hour or day.
async fn both(
    store: &Store,
    zone: &Zone,
    group: Group,
    step: Step,
    wanted: UsageFilter,
    measure: Option<Measure>,
) -> Result<Vec<UsageItem>, Error> {
    let bounds = bounds(step, zone, wanted.from, wanted.to)?;
    let groups_max = (LINES_MAX / bounds.len().max(1)).saturating_sub(1);
    if groups_max == 0 {
        return Err(too_many_lines());
    }
    let order = measure.unwrap_or(Measure::Any);
    let steps = store.usage_in_steps(group, wanted, bounds, order, groups_max).await?;
    let at = |item: UsageItem, begins: Timestamp| UsageItem {
        when: Some(label(step, zone, begins)),
        begins_at: Some(begins.rfc3339()),
        ..item
    };
    let (mut used, mut times, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    let mut totals: HashMap<(i64, String), Sums> = HashMap::new();
    for one in steps {
        rest.extend(one.rest.map(|rest| at(item(OTHERS.into(), rest), one.begins)));
        for group in &one.used {
            totals.entry((group.number, group.word.clone())).or_default().add(group.sums);
        }
        times.extend(one.used.iter().map(|_| one.begins));
        used.extend(one.used);
    }
    let total = |used: &Used| totals.get(&(used.number, used.word.clone())).copied().unwrap_or_default();
    let sizes: Vec<i64> = used.iter().map(|used| measure.map_or(0, |measure| total(used).of(measure))).collect();
    let items = named(store, group, used).await?.into_iter().zip(times).zip(sizes);
    let mut items: Vec<(Reverse<i64>, Timestamp, UsageItem)> =
        items.map(|((item, begins), size)| (Reverse(size), begins, at(item, begins))).collect();
    items.sort_by(|(size, begins, one), (other_size, other_begins, other)| {
        (size, &one.key, &one.user, &one.id, begins).cmp(&(
            other_size,
            &other.key,
            &other.user,
            &other.id,
            other_begins,
        ))
    });
    Ok(items.into_iter().map(|(_, _, item)| item).chain(rest).collect())
}

/// Returns where each hour or day begins, and where the last one ends. Days begin on a quarter of an hour; in a zone where they
/// don't, what is left of that quarter belongs to the day that begins in it.
fn bounds(step: Step, zone: &Zone, from: Timestamp, to: Timestamp) -> Result<Vec<Timestamp>, Error> {
    let floor = |time: Timestamp, unit: i64| Timestamp(time.0.saturating_sub(time.0.rem_euclid(unit)));
    let mut bounds = Vec::new();
    let mut next = from;
    while next < to {
        if bounds.len() == LINES_MAX {
            return Err(too_many_lines());
        }
        let (begins, ends) = match step {
            Step::Hour => (floor(next, HOUR_US), floor(next, HOUR_US).plus_seconds(3600)),
            Step::Day => {
                let day = zone.day_of(next);
                (floor(day.begins, QUARTER_US), day.ends)
            }
        };
        bounds.push(begins);
        next = ends;
    }
    if !bounds.is_empty() {
        bounds.push(if step == Step::Day { floor(next, QUARTER_US) } else { next });
    }
    Ok(bounds)
}

const HOUR_US: i64 = 4 * QUARTER_US;

fn label(step: Step, zone: &Zone, begins: Timestamp) -> String {
    match step {
        Step::Hour => begins.rfc3339(),
        // A day may begin within the quarter of an hour.
        Step::Day => zone.date_of(Timestamp(begins.0.saturating_add(QUARTER_US - 1))),
    }
}

fn too_many_lines() -> Error {
    let message = format!("that makes more than {LINES_MAX} lines; ask for a shorter time, or `by` something else");
    Error::invalid("from", message)
}

/// Sorts lines of hours or days, which are in the order of time, by a measure: the largest first.
fn ordered(mut items: Vec<UsageItem>, measure: Option<Measure>) -> Vec<UsageItem> {
    if let Some(measure) = measure {
        items.sort_by_key(|item| Reverse(item.of(measure)));
    }
    items
}

impl UsageItem {
    /// Returns how much there is of what is measured; of GPU time in milliseconds.
    pub fn of(&self, measure: Measure) -> i64 {
        match measure {
            Measure::Any => plus(self.requests, self.refused),
            Measure::Requests => self.requests,
            Measure::Tokens => plus(self.prompt_tokens, self.answer_tokens),
            Measure::Gpu => self.gpu_ms,
            Measure::Refused => self.refused,
            Measure::Failed => self.failed,
        }
    }
}

async fn named(store: &Store, group: Group, used: Vec<Used>) -> Result<Vec<UsageItem>, Error> {
    let people = store.people();
    let tokens = match group {
        Group::Token => store.token_labels(used.iter().map(|used| used.number).collect()).await?,
        _ => Default::default(),
    };
    let name = |used: Used| {
        let item = |key: String| item(key, used.sums);
        match group {
            Group::User if used.number == 0 => item("(unknown)".into()),
            Group::User => {
                let id = people.by_id(used.number).map(|user| user.public_id.clone());
                UsageItem { id, ..item(people.name_of(used.number)) }
            }
            Group::Token => match tokens.get(&used.number) {
                None => item("(no token)".into()),
                Some(token) => UsageItem {
                    id: Some(token.public_id.clone()),
                    user: Some(people.name_of(token.user_id)),
                    user_id: people.by_id(token.user_id).map(|user| user.public_id.clone()),
                    ..item(token.name().to_owned())
                },
            },
            Group::Model if used.word.is_empty() => item("(no model)".into()),
            Group::Model => item(used.word.clone()),
            Group::Hour => {
                let begins = Timestamp(used.number).rfc3339();
                UsageItem { begins_at: Some(begins.clone()), ..item(begins) }
            }
            Group::All => item("(all)".into()),
        }
    };
    Ok(used.into_iter().map(name).collect())
}

fn item(key: String, sums: Sums) -> UsageItem {
    UsageItem {
        key,
        when: None,
        begins_at: None,
        id: None,
        user: None,
        user_id: None,
        requests: sums.requests,
        failed: sums.failed,
        refused: sums.refused,
        prompt_tokens: sums.prompt_tokens,
        answer_tokens: sums.answer_tokens,
        gpu_ms: sums.gpu_us / 1000,
        total_ms: sums.total_us / 1000,
    }
}

pub fn as_csv(items: &[UsageItem], byte_order_mark: bool) -> Vec<u8> {
    let mut out = if byte_order_mark { BYTE_ORDER_MARK.as_bytes().to_vec() } else { Vec::new() };
    let head = [
        "key",
        "requests",
        "failed",
        "refused",
        "prompt_tokens",
        "answer_tokens",
        "gpu_ms",
        "total_ms",
        "id",
        "user",
        "when",
    ];
    csv_line(&mut out, &head.map(str::to_owned));
    for item in items {
        let numbers = [
            item.requests,
            item.failed,
            item.refused,
            item.prompt_tokens,
            item.answer_tokens,
            item.gpu_ms,
            item.total_ms,
        ];
        let mut cells = vec![item.key.clone()];
        cells.extend(numbers.map(|number| number.to_string()));
        cells.extend([&item.id, &item.user, &item.when].map(|word| word.clone().unwrap_or_default()));
        csv_line(&mut out, &cells);
    }
    out
}
