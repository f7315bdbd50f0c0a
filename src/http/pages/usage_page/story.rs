//! The story of the GPU: who used it in an hour, a day or a week, and when others had to wait for it.

use std::cmp::Reverse;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::http::pages::charts::{Interval, TimelineChart, timeline};
use crate::http::pages::format::{Moment, PageTimes, coarse, duration, percent};
use crate::http::pages::markup::Markup;
use crate::http::pages::usage_page::asked::{UsageAsked, query_of};
use crate::http::pages::words::counted;
use crate::rules::usage::timeline::{Span, Timeline, TimelineInterval};

/// Where the story is told: the page, and the record that its intervals lead to.
#[derive(Debug, Clone, Copy)]
pub struct StoryPaths<'a> {
    pub page: &'a str,
    pub record: &'a str,
}

/// What the story is about.
#[derive(Debug, Clone, Copy)]
pub struct StoryQuestion<'a> {
    pub asked: &'a UsageAsked,
    pub span: Span,
    pub paths: StoryPaths<'a>,
    /// What all slots together can do at once.
    pub slots: usize,
    /// Whether it is told to one person about their own requests.
    pub is_own: bool,
}

pub struct GpuStory {
    pub chart: Markup,
    /// The time that is shown: `Sunday 29 November, 14:00 to 15:00`.
    pub when: String,
    pub spans: Vec<(String, &'static str, bool)>,
    pub earlier: String,
    /// Empty when it ends now.
    pub later: String,
    /// Who used most, or who is chosen; `None`: nobody used anything.
    pub highlighted: Option<StoryPerson>,
    /// GPU time of everybody.
    pub used: String,
    pub peak: Option<StoryPeak>,
    pub people: Vec<StoryPerson>,
    pub lines: Vec<StoryLine>,
    /// Whether it is known who waited.
    pub knows_waits: bool,
    pub step: &'static str,
    pub slots: String,
    pub is_own: bool,
    /// The fields of the address that the form for a time keeps.
    pub kept: Vec<(&'static str, String)>,
    /// The time in the form.
    pub at: String,
    /// The form for a report about this time.
    pub incident: String,
}

pub struct StoryPerson {
    pub name: String,
    pub used: String,
    /// The share of all GPU time; empty where there is none.
    pub share: String,
    /// The page on which this person is chosen.
    pub href: Option<String>,
    pub is_highlighted: bool,
    pub is_chosen: bool,
}

/// When most requests waited.
pub struct StoryPeak {
    pub when: String,
    pub href: String,
    pub waited: String,
    pub longest: String,
}

/// One interval in numbers.
pub struct StoryLine {
    pub when: String,
    pub href: String,
    pub used: String,
    /// The three who used most, in words.
    pub who: String,
    pub waited: String,
    pub longest: String,
}

/// Returns the story. `own` is the chosen person's use alone, if they are not among the people of `told`.
pub fn gpu_story(question: StoryQuestion<'_>, told: &Timeline, own: Option<&Timeline>, times: &PageTimes) -> GpuStory {
    let StoryQuestion { asked, span, paths, slots, is_own } = question;
    let chosen = told.people.iter().position(|person| person.id.is_some() && person.id == asked.user_id);
    let most = (0..told.people.len()).filter(|at| told.people[*at].id.is_some());
    let most = most.max_by_key(|at| (told.people[*at].gpu_ms, Reverse(*at)));
    let highlighted = if asked.user_id.is_some() { chosen } else { most };
    let of_chosen = |at: usize, interval: &TimelineInterval| match (highlighted, own) {
        (Some(place), _) => interval.gpu_ms.get(place).copied().unwrap_or(0),
        (None, Some(own)) => own.intervals.get(at).map_or(0, |interval| interval.gpu_ms.iter().sum()),
        (None, None) => 0,
    };
    let all: i64 = told.people.iter().map(|person| person.gpu_ms).sum();
    let mut order: Vec<usize> = (0..told.people.len()).collect();
    order.sort_by_key(|at| (told.people[*at].id.is_none(), Reverse(told.people[*at].gpu_ms)));
    let person = |at: &usize| {
        let one = &told.people[*at];
        let is_chosen = one.id.is_some() && one.id == asked.user_id;
        let choose = |id: &String| {
            let user_id = Some(id.clone()).filter(|_| !is_chosen);
            format!(
                "{}#story",
                UsageAsked { user_id, token_id: None, span: Some(span), ..asked.clone() }.link(paths.page)
            )
        };
        StoryPerson {
            name: if one.name == "(others)" { "all others".to_owned() } else { one.name.clone() },
            used: in_words(one.gpu_ms),
            share: percent(one.gpu_ms.max(0).unsigned_abs(), all.max(0).unsigned_abs()).unwrap_or_default(),
            href: one.id.as_ref().filter(|_| !is_own).map(choose),
            is_highlighted: highlighted == Some(*at),
            is_chosen,
        }
    };
    let place = |at: usize| Place::of(told, at, span, paths, times);
    let intervals: Vec<Interval> = told
        .intervals
        .iter()
        .enumerate()
        .map(|(at, interval)| Interval {
            busy_s: interval.gpu_ms.iter().sum::<i64>() as f64 / 1000.0,
            highlighted_s: of_chosen(at, interval) as f64 / 1000.0,
            waited: interval.waited.unwrap_or(0),
            title: title(&place(at).when, interval, told),
            label: place(at).label,
            href: Some(place(at).href),
        })
        .collect();
    let (from, to) = (at_of(&told.from), at_of(&told.to));
    let shift =
        |until: Timestamp| UsageAsked { until: Some(until.rfc3339()), at: None, span: Some(span), ..asked.clone() };
    let fields = UsageAsked { span: Some(span), until: None, at: None, ..asked.clone() };
    let at = asked.at.clone().unwrap_or_default();
    GpuStory {
        chart: timeline(&TimelineChart {
            name: "GPU time in each interval, and requests that waited",
            intervals: &intervals,
            // Of one's own use the host's whole capacity says nothing.
            capacity_s: slots as f64 * told.interval_seconds as f64,
        }),
        when: time_in_words(from, to, span, times),
        spans: [(Span::Hour, "Hour"), (Span::Day, "Day"), (Span::Week, "Week")]
            .map(|(other, label)| {
                let link = UsageAsked { span: Some(other), ..asked.clone() }.link(paths.page);
                (format!("{link}#story"), label, other == span)
            })
            .into(),
        earlier: format!("{}#story", shift(from).link(paths.page)),
        later: if to < times.now() {
            let length = to.0 - from.0;
            format!("{}#story", shift(Timestamp(to.0 + length)).link(paths.page))
        } else {
            String::new()
        },
        highlighted: highlighted.map(|at| person(&at)),
        used: in_words(all),
        peak: peak(told, place),
        people: order.iter().map(person).collect(),
        lines: lines(told, place),
        knows_waits: told.intervals.iter().any(|interval| interval.waited.is_some()),
        step: match told.interval_seconds {
            60 => "minute",
            900 => "quarter of an hour",
            _ => "hour",
        },
        slots: counted(slots as u64, "slot", "slots"),
        is_own,
        kept: fields.fields(),
        at,
        incident: format!("/admin/incident?{}", query_of([("from", told.from.as_str()), ("to", told.to.as_str())])),
    }
}

/// An interval's time in words, and its rows of the record.
struct Place {
    when: String,
    label: String,
    href: String,
}

impl Place {
    fn of(told: &Timeline, at: usize, span: Span, paths: StoryPaths<'_>, times: &PageTimes) -> Place {
        let begins = at_of(&told.from).plus_seconds(told.interval_seconds * at as i64);
        let ends = begins.plus_seconds(told.interval_seconds);
        let local = times.zone().local(begins);
        let minute = local.minute();
        let (when, label) = match span {
            Span::Hour if minute.ends_with('0') => (minute.clone(), minute),
            Span::Hour => (minute, String::new()),
            Span::Day if local.hour().is_multiple_of(4) && minute.ends_with(":00") => (minute.clone(), minute),
            Span::Day => (minute, String::new()),
            Span::Week => {
                let day = local.weekday();
                (format!("{day} {minute}"), if local.hour() == 0 { day } else { String::new() })
            }
        };
        let (from, to) = (begins.rfc3339(), ends.rfc3339());
        Place {
            when,
            label,
            href: format!("{}?{}", paths.record, query_of([("from", from.as_str()), ("to", to.as_str())])),
        }
    }
}

fn at_of(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap_or(Timestamp(0))
}

fn in_words(ms: i64) -> String {
    coarse(Duration::from_millis(ms.max(0).unsigned_abs()))
}

fn time_in_words(from: Timestamp, to: Timestamp, span: Span, times: &PageTimes) -> String {
    let day = |at: Timestamp| -> Moment { times.day(at) };
    let clock = |at: Timestamp| times.zone().local(at).minute();
    match span {
        Span::Hour if times.are_on_one_day(from, to) => format!("{}, {} to {}", day(from).text, clock(from), clock(to)),
        _ => format!("{}, {}, to {}, {}", times.date(from).text, clock(from), times.date(to).text, clock(to)),
    }
}

/// Returns who used an interval, those first who used most, as many as `most`.
fn who(interval: &TimelineInterval, told: &Timeline, most: usize) -> String {
    let mut used: Vec<(i64, &str)> =
        interval.gpu_ms.iter().copied().zip(told.people.iter().map(|one| one.name.as_str())).collect();
    used.retain(|(ms, _)| *ms > 0);
    used.sort_by_key(|(ms, _)| Reverse(*ms));
    let others = used.len().saturating_sub(most);
    let mut words: Vec<String> = used.iter().take(most).map(|(ms, name)| format!("{name} {}", in_words(*ms))).collect();
    if others > 0 {
        words.push(format!("{others} more"));
    }
    words.join(", ")
}

fn longest(interval: &TimelineInterval) -> String {
    let wait = interval.longest_wait_ms.filter(|wait| *wait > 0);
    wait.map(|wait| duration(Duration::from_millis(wait.unsigned_abs()))).unwrap_or_default()
}

fn title(when: &str, interval: &TimelineInterval, told: &Timeline) -> String {
    let used: i64 = interval.gpu_ms.iter().sum();
    let mut title = match used {
        0 => format!("{when}: no GPU time"),
        used => format!("{when}: {} of GPU time, {}", in_words(used), who(interval, told, 3)),
    };
    if let Some(waited @ 1..) = interval.waited {
        let verb = if waited == 1 { "request waited" } else { "requests waited" };
        title += &format!(". {waited} {verb}, the longest {}", longest(interval));
    }
    title
}

/// Returns the interval in which most requests waited; of several the one with the longest wait.
fn peak(told: &Timeline, place: impl Fn(usize) -> Place) -> Option<StoryPeak> {
    let waited = |interval: &TimelineInterval| (interval.waited.unwrap_or(0), interval.longest_wait_ms);
    let (at, most) = told.intervals.iter().enumerate().rev().max_by_key(|(_, interval)| waited(interval))?;
    let count = most.waited.filter(|count| *count > 0)?;
    let Place { when, href, .. } = place(at);
    Some(StoryPeak { when, href, waited: counted(count, "request", "requests"), longest: longest(most) })
}

/// Returns the numbers of the intervals in which something happened, the newest first.
fn lines(told: &Timeline, place: impl Fn(usize) -> Place) -> Vec<StoryLine> {
    let is_something = |interval: &TimelineInterval| {
        interval.gpu_ms.iter().any(|ms| *ms > 0) || interval.waited.is_some_and(|count| count > 0)
    };
    let line = |(at, interval): (usize, &TimelineInterval)| {
        let Place { when, href, .. } = place(at);
        StoryLine {
            when,
            href,
            used: in_words(interval.gpu_ms.iter().sum()),
            who: who(interval, told, 3),
            waited: interval.waited.filter(|count| *count > 0).map(|count| count.to_string()).unwrap_or_default(),
            longest: longest(interval),
        }
    };
    told.intervals.iter().enumerate().rev().filter(|(_, interval)| is_something(interval)).map(line).collect()
}
