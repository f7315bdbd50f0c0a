//! Today: the tiles, who was busiest, and what was refused or failed.

use askama::Template;
use askama::filters::HtmlSafe;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::http::pages::filters;
use crate::http::pages::format::PageTimes;
use crate::http::pages::overview::busiest::{self, BusiestBy, BusyLine};
use crate::http::pages::overview::refusals::{self, RefusalLine};
use crate::http::pages::overview::tiles::{self, DaySums, DayTile};
use crate::http::record_items::{PageQuery, audit_page};
use crate::rules::export::filter::Filter;
use crate::rules::usage::{Question, UsageItem, lines};
use crate::store::Store;

/// Rows of the record that are looked through for the latest refusals and failures: many are equal.
const LOOKED_THROUGH: usize = 100;

#[derive(Template)]
#[template(path = "overview/today.html")]
pub struct TodayPart {
    by: BusiestBy,
    tiles: Vec<DayTile>,
    choice: [(&'static str, &'static str, bool); 2],
    busy: Vec<BusyLine>,
    busy_all: String,
    refusals: Vec<RefusalLine>,
}

/// Its template escapes what needs it.
impl HtmlSafe for TodayPart {}

impl TodayPart {
    pub async fn of(store: &Store, times: &PageTimes, by: BusiestBy) -> Result<TodayPart, Error> {
        let (today, same_time) = bounds(times);
        let used = async |from: Timestamp, to: Option<Timestamp>, by: &str, sort: Option<&str>| {
            let question = Question {
                from: Some(from.rfc3339()),
                to: to.map(Timestamp::rfc3339),
                by: Some(by.to_owned()),
                sort: sort.map(str::to_owned),
                ..Question::default()
            };
            lines(store, times.zone(), question).await
        };
        let yesterday = times.zone().day_before(times.now(), 1).begins;
        let (hours, before, busy, rows) = tokio::try_join!(
            used(today, None, "hour", None),
            used(yesterday, Some(same_time), "day", None),
            used(today, None, by.key(), Some("gpu")),
            latest(store),
        )?;
        let busy_all = busiest::all(&busy, by);
        Ok(TodayPart {
            by,
            tiles: tiles::tiles(
                &by_hour(&hours, today, times.now()),
                &hours.iter().collect::<DaySums>(),
                &before.iter().collect(),
            ),
            choice: [
                ("/admin", "People", by == BusiestBy::People),
                ("/admin?busiest=tokens", "Access tokens", by == BusiestBy::Tokens),
            ],
            busy: busiest::lines(busy, by, &store.people()),
            busy_all,
            refusals: refusals::lines(&rows, times),
        })
    }
}

/// Returns when today began, and the same time of yesterday.
fn bounds(times: &PageTimes) -> (Timestamp, Timestamp) {
    let today = times.zone().day_of(times.now()).begins;
    let yesterday = times.zone().day_before(times.now(), 1);
    // A day on which the clocks change has another length.
    (today, yesterday.begins.plus(times.now().since(today)).min(yesterday.ends))
}

async fn latest(store: &Store) -> Result<Vec<crate::http::record_items::AuditItem>, Error> {
    let filter = Filter { outcome: Some("refused,failed".to_owned()), ..Filter::default() };
    let place = PageQuery { limit: Some(LOOKED_THROUGH), ..PageQuery::default() };
    Ok(audit_page(store, filter.wanted(store).await?, place).await?.items)
}

/// Returns the sums of each hour since the day began, also of those without any use.
fn by_hour(items: &[UsageItem], begins: Timestamp, now: Timestamp) -> Vec<DaySums> {
    const HOUR_US: i64 = 3_600_000_000;
    let hour_of = |time: Timestamp| time.0.saturating_sub(begins.0).div_euclid(HOUR_US).max(0) as usize;
    let mut hours = vec![DaySums::default(); hour_of(now).min(30) + 1];
    for item in items {
        let at = item.begins_at.as_deref().and_then(Timestamp::parse).map_or(0, hour_of);
        if let Some(hour) = hours.get_mut(at) {
            hour.add(item);
        }
    }
    hours
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::zone::Zone;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn yesterday_is_looked_at_until_the_same_time_of_day() {
        let times = |now: &str| PageTimes::new(Zone::named("Europe/Berlin").unwrap(), at(now));

        assert_eq!(bounds(&times("2026-11-27T13:30:00Z")), (at("2026-11-26T23:00:00Z"), at("2026-11-26T13:30:00Z")));
        // Yesterday had 23 hours.
        assert_eq!(bounds(&times("2026-03-30T21:59:00Z")).1, at("2026-03-29T22:00:00Z"));
    }

    #[test]
    fn each_hour_of_today_has_its_sums() {
        let item =
            |begins: &str, requests| UsageItem { begins_at: Some(begins.into()), requests, ..tiles::tests::item() };
        let items = [item("2026-11-26T23:00:00Z", 1), item("2026-11-27T01:00:00Z", 5)];

        let hours = by_hour(&items, at("2026-11-26T23:00:00Z"), at("2026-11-27T02:59:00Z"));

        assert_eq!(hours.iter().map(|hour| hour.requests).collect::<Vec<_>>(), [1, 0, 5, 0]);
        // In a zone that is half an hour off, the first hour of usage begins before the day does.
        let hours = by_hour(&items, at("2026-11-26T23:30:00Z"), at("2026-11-27T00:00:00Z"));
        assert_eq!(hours.iter().map(|hour| hour.requests).collect::<Vec<_>>(), [1]);
    }
}
