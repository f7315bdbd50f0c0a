//! The table of usage: rows by what was used, with shares and totals.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::http::pages::charts::{BarColour, rank};
use crate::http::pages::format::{PageTimes, coarse, commas, short};
use crate::http::pages::markup::Markup;
use crate::http::pages::usage_page::asked::{UsageAsked, UsageBy, UsageMeasure, UsageTime};
use crate::http::pages::words::counted;
use crate::model::people::People;
use crate::model::rights::Class;
use crate::rules::usage::UsageItem;
use crate::store::usage::plus;

/// Rows that are shown at first, and at most.
const ROWS: usize = 25;
const ROWS_MAX: usize = 200;

/// A value of the table.
pub struct UsageCell {
    pub text: String,
    /// The whole number, where `text` is shorter; else empty.
    pub exact: String,
    pub measure: UsageMeasure,
    /// The class of its place on a phone.
    pub place: &'static str,
}

pub struct UsageRow {
    pub name: String,
    /// The owner of an access token; else empty.
    pub owner: String,
    /// The page on which the row is chosen, or is not any more.
    pub href: Option<String>,
    pub is_chosen: bool,
    pub share: Markup,
    /// In the order of the columns: the measure that was chosen first.
    pub cells: Vec<UsageCell>,
}

pub struct UsageTable {
    pub columns: Vec<UsageMeasure>,
    pub rows: Vec<UsageRow>,
    /// Rows that are not shown, in words, and the page that shows them.
    pub more: Option<(String, Option<String>)>,
    pub count: String,
    pub totals: Vec<UsageCell>,
}

/// Returns the table for lines of usage, which are in their order.
pub fn usage_table(
    asked: &UsageAsked,
    path: &str,
    items: &[UsageItem],
    people: &People,
    times: &PageTimes,
) -> UsageTable {
    let mut columns = vec![asked.measure];
    columns.extend(UsageMeasure::ALL.into_iter().filter(|other| *other != asked.measure));
    let largest = items.iter().map(|item| item.of(asked.measure.of_sums())).max().unwrap_or(0);
    let row = |item: &UsageItem| {
        let is_chosen = match asked.by {
            UsageBy::User => item.id.is_some() && item.id == asked.user_id,
            UsageBy::Token => item.id.is_some() && item.id == asked.token_id,
            UsageBy::Model | UsageBy::Day => false,
        };
        let colour = match class_of(asked.by, item, people) {
            _ if is_chosen => BarColour::Chosen,
            Some(Class::Batch) => BarColour::Batch,
            _ => BarColour::Plain,
        };
        UsageRow {
            name: name(asked.by, item, times),
            owner: item.user.clone().unwrap_or_default(),
            href: href(asked, path, item, is_chosen),
            is_chosen,
            share: rank(item.of(asked.measure.of_sums()) as f64, largest as f64, colour),
            cells: cells(&columns, |measure| item.of(measure.of_sums())),
        }
    };
    let shown = if asked.is_long { ROWS_MAX } else { ROWS };
    // A single row more takes no more place than the words about it.
    let shown = if items.len() == shown + 1 { shown + 1 } else { shown };
    let hidden = items.len().saturating_sub(shown);
    let more = (hidden > 0).then(|| {
        let href = (!asked.is_long).then(|| UsageAsked { is_long: true, ..asked.clone() }.link(path));
        (format!("{} more", count_of(asked.by, hidden)), href)
    });
    let total = |measure: UsageMeasure| items.iter().fold(0, |sum, item| plus(sum, item.of(measure.of_sums())));
    UsageTable {
        rows: items.iter().take(shown).map(row).collect(),
        more,
        count: count_of(asked.by, items.iter().filter(|item| nobody(item).is_none()).count()),
        totals: cells(&columns, total),
        columns,
    }
}

/// Returns a value in the unit of its measure. From a million on, a table has three digits and the whole number as title.
pub fn cell(measure: UsageMeasure, value: i64) -> UsageCell {
    let value = value.max(0).unsigned_abs();
    let (text, exact) = match measure {
        UsageMeasure::Gpu => (coarse(Duration::from_millis(value)), String::new()),
        _ if value < 1_000_000 => (commas(value), String::new()),
        _ => (short(value), commas(value)),
    };
    UsageCell { text, exact, measure, place: "" }
}

/// Returns the values of a row. On a phone the first stands in the corner, the others in two columns.
fn cells(columns: &[UsageMeasure], value: impl Fn(UsageMeasure) -> i64) -> Vec<UsageCell> {
    let places = ["corner", "left", "right", "left", "right"];
    let columns = columns.iter().zip(places);
    columns.map(|(measure, place)| UsageCell { place, ..cell(*measure, value(*measure)) }).collect()
}

fn count_of(by: UsageBy, count: usize) -> String {
    let count = count as u64;
    match by {
        UsageBy::User => counted(count, "person", "people"),
        UsageBy::Token => counted(count, "access token", "access tokens"),
        UsageBy::Model => counted(count, "model", "models"),
        UsageBy::Day => counted(count, "day", "days"),
    }
}

/// Returns what a line is called.
fn name(by: UsageBy, item: &UsageItem, times: &PageTimes) -> String {
    if by == UsageBy::Day
        && let Some(begins) = item.begins_at.as_deref().and_then(Timestamp::parse)
    {
        return times.day(Timestamp(begins.0.saturating_add(crate::store::usage::QUARTER_US - 1))).text;
    }
    nobody(item).map_or_else(|| item.key.clone(), str::to_owned)
}

/// Returns the words for a line that is about no person, access token or model.
fn nobody(item: &UsageItem) -> Option<&'static str> {
    match (item.key.as_str(), &item.id) {
        ("(no token)", None) => Some("Without an access token"),
        ("(no model)", None) => Some("No model"),
        ("(unknown)", None) => Some("Unknown senders"),
        ("(others)", None) => Some("All others"),
        _ => None,
    }
}

fn href(asked: &UsageAsked, path: &str, item: &UsageItem, is_chosen: bool) -> Option<String> {
    let id = item.id.clone();
    let chosen = match asked.by {
        UsageBy::User if id.is_some() => {
            UsageAsked { user_id: id.filter(|_| !is_chosen), token_id: None, ..asked.clone() }
        }
        UsageBy::Token if id.is_some() => UsageAsked { token_id: id.filter(|_| !is_chosen), ..asked.clone() },
        UsageBy::Day => {
            let time = UsageTime::Other { from: item.key.clone(), to: item.key.clone() };
            UsageAsked { time, by: UsageBy::User, ..asked.clone() }
        }
        _ => return None,
    };
    Some(chosen.link(path))
}

/// Returns the class of a row's requests, if it is one person's or one access token's.
fn class_of(by: UsageBy, item: &UsageItem, people: &People) -> Option<Class> {
    let id = item.id.as_deref()?;
    match by {
        UsageBy::User => people.by_public_id(id).map(|user| user.class),
        UsageBy::Token => {
            let token = people.token(id)?;
            token.class.or_else(|| people.by_id(token.user_id).map(|user| user.class))
        }
        UsageBy::Model | UsageBy::Day => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::zone::Zone;

    fn item(key: &str, gpu_ms: i64, requests: i64) -> UsageItem {
        let empty = serde_json::json!({ "key": key, "requests": requests, "failed": 1, "refused": 2, "prompt_tokens": 600_000,
            "answer_tokens": 400_000, "gpu_ms": gpu_ms, "total_ms": 0, "id": key });
        serde_json::from_value(empty).unwrap()
    }

    fn table(query: &str, items: &[UsageItem]) -> UsageTable {
        let asked = UsageAsked::parse(query, UsageBy::User);
        let times = PageTimes::new(Zone::named("UTC").unwrap(), Timestamp(0));
        usage_table(&asked, "/admin/usage", items, &People::default(), &times)
    }

    #[test]
    fn the_measure_comes_first_and_totals_add_up() {
        let told = table("measure=tokens", &[item("ann", 7_200_000, 3), item("bob", 60_000, 4)]);

        assert_eq!(told.columns[0], UsageMeasure::Tokens);
        let texts = |cells: &[UsageCell]| cells.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&told.rows[0].cells), ["1.00 M", "2 h", "3", "2", "1"]);
        assert_eq!(texts(&told.totals), ["2.00 M", "2 h 01 min", "7", "4", "2"]);
        assert_eq!((told.totals[0].exact.as_str(), told.count.as_str()), ("2,000,000", "2 people"));
    }

    #[test]
    fn a_row_chooses_and_a_chosen_one_takes_the_choice_back() {
        let others = UsageItem { id: None, ..item("(others)", 1, 1) };
        let told = table("user_id=ann", &[item("ann", 2, 1), item("bob", 1, 1), others]);

        let hrefs: Vec<&str> = told.rows.iter().map(|row| row.href.as_deref().unwrap_or_default()).collect();
        assert!(told.rows[0].is_chosen && !hrefs[0].contains("user_id"), "{hrefs:?}");
        assert!(hrefs[1].contains("user_id=bob"), "{hrefs:?}");
        assert_eq!((told.rows[2].name.as_str(), hrefs[2], told.count.as_str()), ("All others", "", "2 people"));
    }

    #[test]
    fn the_first_rows_are_shown_and_all_when_asked_for() {
        let items: Vec<UsageItem> = (0..300).map(|at| item(&format!("u{at}"), 300 - at, 1)).collect();

        let shown = |query, count| {
            let told = table(query, &items[..count]);
            (told.rows.len(), told.more.map(|(text, href)| (text, href.is_some())))
        };

        assert_eq!(shown("", 25), (25, None));
        assert_eq!(shown("", 26), (26, None));
        assert_eq!(shown("", 27), (25, Some(("2 people more".into(), true))));
        assert_eq!(shown("rows=all", 300), (200, Some(("100 people more".into(), false))));
    }
}
