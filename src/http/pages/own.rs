//! A person's own page: what is left, what runs and waits, the last refusal, and the latest requests.

use std::time::Duration;

use askama::Template;

use crate::base::clock::Timestamp;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::me::own_rows;
use crate::http::pages::charts::{self, Bar, BarChart, BarColour, BarUnit, bars};
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::format::{self, Moment, PageTimes};
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::in_queue::{self, RunningLine, WaitingLine};
use crate::http::pages::live;
use crate::http::pages::markup::Markup;
use crate::http::pages::people::left::{LeftLine, left_lines};
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::visible;
use crate::http::pages::visit::Member;
use crate::http::pages::words::{self, Word, counted, reasons, with_code};
use crate::http::queue;
use crate::http::record_items::{AuditItem, PageQuery, own_page};
use crate::rules::export::filter::Filter;
use crate::rules::usage::{Question, lines};
use crate::store::Store;

pub mod account;
pub mod browsers;
pub mod export;

page_routes! {
    "GET" "/me" Member me_page;
    "GET" "/live/me" Member me_part;
}

/// Days in the chart.
const DAYS: u16 = 14;

/// Rows of the latest requests.
const LATEST: usize = 8;

/// An older refusal is no news.
const REFUSAL_HOURS: i64 = 24;

#[derive(Template)]
#[template(path = "own/page.html")]
struct OwnPage {
    frame: Frame,
    live_text: String,
    part: OwnNow,
    chart: Markup,
    /// GPU time of all days in the chart.
    in_all: String,
}

#[derive(Template)]
#[template(path = "own/part.html")]
struct OwnPart {
    part: OwnNow,
}

/// What changes while one looks.
struct OwnNow {
    /// For example `6 requests left`.
    requests_left: String,
    requests_about: String,
    requests_meter: Markup,
    running: Vec<RunningLine>,
    waiting: Vec<WaitingLine>,
    left: Vec<LeftLine>,
    refusal: Option<OwnRefusal>,
    latest: Vec<LatestRow>,
}

/// The last refusal, in words.
struct OwnRefusal {
    at: Moment,
    times: String,
    reason: Word,
    remedy: Option<Markup>,
}

/// A row of the latest requests.
struct LatestRow {
    id: String,
    href: String,
    at: Moment,
    /// The record's word, or `running` or `waiting`.
    outcome: String,
    word: Word,
    asked: Option<String>,
    reason: Option<Word>,
    token: Option<String>,
    model: Option<String>,
    took: String,
}

async fn me_page(visit: Member) -> PageResult {
    let (part, (chart, in_all)) = (own_now(&visit).await?, gpu_chart(&visit).await?);
    let (frame, times) = (visit.frame("My page", NavEntry::MyPage), visit.times()?);
    let live_text = format!("Live · {}", times.second(times.now()).text);
    visit.page(&OwnPage { frame, live_text, part, chart, in_all })
}

async fn me_part(visit: Member) -> PageResult {
    live::part(&visit, &OwnPart { part: own_now(&visit).await? })
}

async fn own_now(visit: &Member) -> Result<OwnNow, Fault> {
    let (gateway, store, times) = (visit.part::<Gateway>()?, visit.part::<Store>()?, visit.times()?);
    let account = gateway.limits().account_of(visit.who().user());
    let minute = &account.requests_per_minute;
    let back = if minute.used > 0 {
        format!("; all back in {}", format::seconds(minute.resets_in + Duration::from_millis(999)))
    } else {
        String::new()
    };
    let mut own = queue::view(Some(visit.who()), gateway, store);
    // Admins see everybody's.
    own.items.retain(|item| item.user_id.as_ref() == Some(&visit.who().user().public_id));
    let waiting = in_queue::waiting(&own, &times);
    let latest = latest(visit, store, &times, &waiting).await?;
    // Requests of this minute are told at large.
    let left = left_lines(&account).split_off(1);
    Ok(OwnNow {
        requests_left: match minute.left() {
            Some(left) => format!("{} left", counted(left, "request", "requests")),
            None => "No limit".to_owned(),
        },
        requests_about: match minute.limit {
            Some(limit) => format!("of {} in any 60 seconds{back}.", format::commas(limit)),
            None => format!("{} in the last 60 seconds.", counted(minute.used, "request", "requests")),
        },
        requests_meter: charts::lane(minute.used as f64, minute.limit.map(|limit| limit as f64), BarColour::Now),
        running: in_queue::running(&own, &times),
        waiting,
        left,
        refusal: last_refusal(visit, store, &times).await?,
        latest,
    })
}

impl OwnNow {
    /// Returns the place of a waiting request: `4th`.
    fn place(&self, line: &WaitingLine) -> String {
        words::ordinal(line.place as u64)
    }
}

async fn last_refusal(visit: &Member, store: &Store, times: &PageTimes) -> Result<Option<OwnRefusal>, Fault> {
    let from = times.now().plus_seconds(-REFUSAL_HOURS * 3_600).rfc3339();
    let asked = Filter { outcome: Some("refused".into()), from: Some(from), ..Filter::default() };
    let found = own_items(visit, store, asked, 1).await?;
    let Some(item) = found.into_iter().next() else { return Ok(None) };
    let code = item.reason.unwrap_or_default();
    let at = item.until.as_deref().unwrap_or(&item.at);
    Ok(Some(OwnRefusal {
        at: times.in_sentence(Timestamp::parse(at).unwrap_or(times.now())),
        times: match item.repeat.and_then(|times| u64::try_from(times).ok()) {
            Some(times) if times > 1 => format!(", {}", counted(times, "time", "times")),
            _ => String::new(),
        },
        reason: words::reason(&code),
        remedy: reasons::remedy(&code).map(with_code),
    }))
}

async fn latest(
    visit: &Member,
    store: &Store,
    times: &PageTimes,
    waiting: &[WaitingLine],
) -> Result<Vec<LatestRow>, Fault> {
    let mut items = Vec::new();
    for kind in ["request", "refusal"] {
        let asked = Filter { kind: Some(kind.into()), ..Filter::default() };
        items.extend(own_items(visit, store, asked, LATEST).await?);
    }
    items.sort_by(|one, other| (other.outcome.is_none(), &other.at).cmp(&(one.outcome.is_none(), &one.at)));
    items.truncate(LATEST);
    Ok(items.into_iter().map(|item| LatestRow::of(item, times, waiting)).collect())
}

async fn own_items(visit: &Member, store: &Store, asked: Filter, limit: usize) -> Result<Vec<AuditItem>, Fault> {
    let wanted = own_rows(store, visit.who().user_id(), &asked).await?;
    Ok(own_page(store, wanted, PageQuery { limit: Some(limit), ..PageQuery::default() }).await?.items)
}

impl LatestRow {
    fn of(item: AuditItem, times: &PageTimes, waiting: &[WaitingLine]) -> LatestRow {
        let id = item.request_id.unwrap_or_default();
        let waits = |one: &WaitingLine| one.request_id == id;
        let (outcome, word) = match &item.outcome {
            Some(outcome) => (outcome.clone(), words::outcome(Some(outcome)).word),
            None if waiting.iter().any(waits) => ("waiting".to_owned(), words::states::WAITING.word),
            None => ("running".to_owned(), words::outcome(None).word),
        };
        let millis = item.total_ms.and_then(|millis| u64::try_from(millis).ok());
        LatestRow {
            href: if id.is_empty() { String::new() } else { format!("/me/record/{id}") },
            id,
            at: times.minute(Timestamp::parse(&item.at).unwrap_or(times.now())),
            outcome,
            word,
            asked: item.prompt_start,
            reason: item.reason.as_deref().map(words::reason),
            token: item.token,
            model: item.model_served.or(item.model_asked),
            took: millis.map(|millis| format::duration(Duration::from_millis(millis))).unwrap_or_default(),
        }
    }

    /// Returns what was asked, or why it was refused.
    fn title(&self) -> Markup {
        match (&self.asked, &self.reason) {
            (Some(asked), _) => visible(asked),
            (None, Some(reason)) if self.outcome == "refused" => Markup::of_html(reason.to_string()),
            _ => visible("No text to show"),
        }
    }

    /// Returns the second line: why it failed, the access token and the model.
    fn more(&self) -> Markup {
        let is_told = self.asked.is_none() && self.outcome == "refused";
        let reason = self.reason.as_ref().filter(|_| !is_told).map(ToString::to_string);
        let others = [&self.token, &self.model].into_iter().flatten().map(|text| visible(text).to_string());
        Markup::of_html(reason.into_iter().chain(others).collect::<Vec<_>>().join(" · "))
    }
}

/// Returns bars of the GPU time of the last days, and their sum in words.
async fn gpu_chart(visit: &Member) -> Result<(Markup, String), Fault> {
    let (store, times) = (visit.part::<Store>()?, visit.times()?);
    let zone = &visit.part::<Config>()?.timezone;
    let days: Vec<_> = (0..DAYS).rev().map(|days| zone.day_before(times.now(), days).begins).collect();
    let question = Question {
        user_id: Some(visit.who().user().public_id.clone()),
        from: days.first().map(|day| day.rfc3339()),
        by: Some("day".into()),
        ..Question::default()
    };
    let used = lines(store, zone, question).await?;
    let gpu = |day: Timestamp| {
        let date = zone.date_of(day);
        let of_day = used.iter().filter(|line| line.key == date).map(|line| line.gpu_ms).sum::<i64>();
        Duration::from_millis(u64::try_from(of_day).unwrap_or(0))
    };
    let last = days.len().saturating_sub(1);
    let bar = |(at, day): (usize, &Timestamp)| {
        let (time, date) = (gpu(*day), times.date(*day).text);
        let value = time.as_secs_f64();
        let label = match at {
            0 => date.clone(),
            _ if at == last => "today".to_owned(),
            _ if at == last / 2 => zone.local(*day).day_of_month(),
            _ => String::new(),
        };
        let highlighted = if at == last { value } else { 0.0 };
        Bar { value, highlighted, title: format!("{date}: {}", format::coarse(time)), label, href: None }
    };
    let shown: Vec<Bar> = days.iter().enumerate().map(bar).collect();
    let in_all = format::coarse(days.iter().map(|day| gpu(*day)).sum());
    let chart = BarChart { name: "GPU time per day", bars: &shown, unit: BarUnit::Seconds, has_axis: false };
    Ok((bars(&chart), in_all))
}
