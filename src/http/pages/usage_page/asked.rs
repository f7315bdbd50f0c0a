//! What a page of usage is asked, as its address has it.

use crate::base::clock::Timestamp;
use crate::http::pages::format::PageTimes;
use crate::rules::usage::Question;
use crate::rules::usage::timeline::Span;
use crate::store::usage::Measure;

/// What the bars and the table measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageMeasure {
    Gpu,
    Requests,
    Tokens,
    Refused,
    Failed,
}

impl UsageMeasure {
    pub const ALL: [UsageMeasure; 5] =
        [UsageMeasure::Gpu, UsageMeasure::Requests, UsageMeasure::Tokens, UsageMeasure::Refused, UsageMeasure::Failed];

    /// Returns the word of the address, which is that of the API's `sort`.
    pub fn name(self) -> &'static str {
        match self {
            UsageMeasure::Gpu => "gpu",
            UsageMeasure::Requests => "requests",
            UsageMeasure::Tokens => "tokens",
            UsageMeasure::Refused => "refused",
            UsageMeasure::Failed => "failed",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            UsageMeasure::Gpu => "GPU time",
            UsageMeasure::Requests => "Requests",
            UsageMeasure::Tokens => "Model tokens",
            UsageMeasure::Refused => "Refused",
            UsageMeasure::Failed => "Failed",
        }
    }

    pub fn of_sums(self) -> Measure {
        match self {
            UsageMeasure::Gpu => Measure::Gpu,
            UsageMeasure::Requests => Measure::Requests,
            UsageMeasure::Tokens => Measure::Tokens,
            UsageMeasure::Refused => Measure::Refused,
            UsageMeasure::Failed => Measure::Failed,
        }
    }
}

/// What makes a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageBy {
    User,
    Token,
    Model,
    Day,
}

impl UsageBy {
    /// Returns the word of the address, which is that of the API.
    pub fn name(self) -> &'static str {
        match self {
            UsageBy::User => "user",
            UsageBy::Token => "token",
            UsageBy::Model => "model",
            UsageBy::Day => "day",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            UsageBy::User => "Person",
            UsageBy::Token => "Access token",
            UsageBy::Model => "Model",
            UsageBy::Day => "Day",
        }
    }
}

/// The time for which usage is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageTime {
    Today,
    /// So many days, today included.
    Days(u16),
    /// From one time to another, as they were typed; empty where nothing was.
    Other {
        from: String,
        to: String,
    },
}

/// The days in the choice.
pub const SOME_DAYS: [u16; 2] = [7, 30];

/// More days are not shown at once: bars would be thinner than they can be told apart.
const DAYS_MAX: i64 = 366;

/// A time in which usage is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageRange {
    pub from: Timestamp,
    /// Before this time.
    pub to: Timestamp,
    /// Where the last bar ends: with the day.
    pub ends: Timestamp,
    /// Whether it is told by hours, since it is one day.
    pub is_hourly: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageAsked {
    pub time: UsageTime,
    pub measure: UsageMeasure,
    pub by: UsageBy,
    /// The person who is chosen.
    pub user_id: Option<String>,
    /// The access token that is chosen.
    pub token_id: Option<String>,
    /// Whether all rows of the table are wanted.
    pub is_long: bool,
    /// The story of the GPU: of how long, and until when.
    pub span: Option<Span>,
    pub until: Option<String>,
    /// A time that the story is to show in its middle, as it was typed.
    pub at: Option<String>,
}

impl UsageAsked {
    /// Reads an address. What is no word of it is as if it were not there.
    pub fn parse(query: &str, by: UsageBy) -> UsageAsked {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let value = |name: &str| {
            let found = pairs.iter().find(|(field, _)| field == name).map(|(_, value)| value.trim());
            found.filter(|value| !value.is_empty())
        };
        let owned = |name: &str| value(name).map(str::to_owned);
        let (from, to) = (owned("from").unwrap_or_default(), owned("to").unwrap_or_default());
        let time = match (value("time").unwrap_or_default(), from.as_str()) {
            ("today", _) | ("", "today") => UsageTime::Today,
            ("7d", _) | ("", "-7d") => UsageTime::Days(7),
            ("30d", _) | ("", "-30d") => UsageTime::Days(30),
            ("other", _) => UsageTime::Other { from, to },
            _ if !from.is_empty() || !to.is_empty() => UsageTime::Other { from, to },
            _ => UsageTime::Days(30),
        };
        let measure = value("measure").or(value("sort"));
        let bys = [UsageBy::User, UsageBy::Token, UsageBy::Model, UsageBy::Day];
        UsageAsked {
            time,
            measure: UsageMeasure::ALL
                .into_iter()
                .find(|known| Some(known.name()) == measure)
                .unwrap_or(UsageMeasure::Gpu),
            by: bys.into_iter().find(|known| Some(known.name()) == value("by")).unwrap_or(by),
            user_id: owned("user_id"),
            token_id: owned("token_id"),
            is_long: value("rows") == Some("all"),
            span: value("story").and_then(|word| Span::parse(word).ok()),
            until: owned("until"),
            at: owned("at"),
        }
    }

    /// Returns the fields of the address.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        match &self.time {
            UsageTime::Today => fields.push(("time", "today".to_owned())),
            UsageTime::Days(days) => fields.push(("time", format!("{days}d"))),
            UsageTime::Other { from, to } => {
                fields.push(("time", "other".to_owned()));
                let typed = [("from", from), ("to", to)].into_iter().filter(|(_, text)| !text.is_empty());
                fields.extend(typed.map(|(name, text)| (name, text.clone())));
            }
        }
        fields.push(("measure", self.measure.name().to_owned()));
        fields.push(("by", self.by.name().to_owned()));
        let rows = self.is_long.then(|| "all".to_owned());
        let span = self.span.map(|span| span.name().to_owned());
        let more = [
            ("user_id", self.user_id.clone()),
            ("token_id", self.token_id.clone()),
            ("rows", rows),
            ("story", span),
            ("until", self.until.clone()),
            ("at", self.at.clone()),
        ];
        fields.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
        fields
    }

    /// Returns the address of a page that is asked this.
    pub fn link(&self, path: &str) -> String {
        format!("{path}?{}", query_of(self.fields().iter().map(|(name, value)| (*name, value.as_str()))))
    }

    /// Returns whether the story of the GPU was asked for by itself, and comes first.
    pub fn is_about_the_story(&self) -> bool {
        self.span.is_some() || self.until.is_some() || self.at.is_some()
    }

    /// Returns the time, or what is wrong with what was typed: the field and a sentence.
    pub fn range(&self, times: &PageTimes) -> Result<UsageRange, (&'static str, String)> {
        let (zone, now) = (times.zone(), times.now());
        let last_days = |days: u16| zone.day_before(now, days.saturating_sub(1)).begins;
        let (from, to) = match &self.time {
            UsageTime::Today => (zone.day_of(now).begins, now),
            UsageTime::Days(days) => (last_days(*days), now),
            UsageTime::Other { from, to } => {
                let from = match from.as_str() {
                    "" => last_days(30),
                    typed => typed_time(typed, times).ok_or(("from", NO_TIME.to_owned()))?,
                };
                let to = match to.as_str() {
                    "" => now,
                    typed => {
                        let to = typed_time(typed, times).ok_or(("to", NO_TIME.to_owned()))?;
                        // A day is meant with all its hours.
                        if is_day(typed) { zone.day_of(to).ends } else { to }
                    }
                };
                (from, to)
            }
        };
        if from >= to {
            return Err(("to", "It ends before it begins.".to_owned()));
        }
        let last = Timestamp(to.0 - 1);
        let days = zone.local(from).days_before(&zone.local(last)) + 1;
        if days > DAYS_MAX {
            return Err(("from", format!("That is more than a year: {DAYS_MAX} days are shown at once.")));
        }
        Ok(UsageRange { from, to, ends: zone.day_of(last).ends, is_hourly: days == 1 })
    }

    /// Returns the question that the table answers. A choice is shown among the others where it is a row of the table; where it
    /// can't be one, the table is about it alone.
    pub fn question(&self, range: &UsageRange) -> Question {
        let of_one = |chosen: &Option<String>, own: UsageBy| chosen.clone().filter(|_| self.by != own);
        Question {
            user_id: of_one(&self.user_id, UsageBy::User),
            token_id: of_one(&self.token_id, UsageBy::Token),
            from: Some(range.from.rfc3339()),
            to: Some(range.to.rfc3339()),
            by: Some(self.by.name().to_owned()),
            sort: Some(self.measure.name().to_owned()),
        }
    }
}

const NO_TIME: &str = "That is no time. Write it as in 2026-01-31 or 2026-01-31 14:05.";

/// Reads a time as it was typed, or with an offset, as links have it.
pub fn typed_time(text: &str, times: &PageTimes) -> Option<Timestamp> {
    times.zone().parse_local(text).or_else(|| Timestamp::parse(text))
}

fn is_day(text: &str) -> bool {
    !text.trim().contains([':', 'T', ' '])
}

/// Writes the fields of an address.
pub fn query_of<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::zone::Zone;

    fn times() -> PageTimes {
        let now = Timestamp::parse("2026-11-29T14:05:00Z").unwrap();
        PageTimes::new(Zone::named("Europe/Berlin").unwrap(), now)
    }

    fn asked(query: &str) -> UsageAsked {
        UsageAsked::parse(query, UsageBy::User)
    }

    fn range(query: &str) -> Result<(String, String, bool), (&'static str, String)> {
        let range = asked(query).range(&times())?;
        Ok((range.from.rfc3339(), range.to.rfc3339(), range.is_hourly))
    }

    #[test]
    fn an_address_is_read_back_as_it_was_written() {
        for query in [
            "time=30d&measure=gpu&by=user",
            "time=today&measure=failed&by=model&user_id=u",
            "time=other&from=2026-11-01&to=2026-11-02T10%3A00&measure=tokens&by=token&token_id=t&rows=all",
            "time=7d&measure=requests&by=day&story=week&until=2026-11-02T10%3A00%3A00Z",
        ] {
            assert_eq!(asked(query).link("/admin/usage"), format!("/admin/usage?{query}"));
        }
    }

    #[test]
    fn what_is_no_word_of_the_address_is_as_if_it_were_not_there() {
        let plain = asked("");

        assert_eq!(asked("time=never&measure=hope&by=colour&story=year&user_id=&x=%FF"), plain);
        assert_eq!((&plain.time, plain.measure, plain.by), (&UsageTime::Days(30), UsageMeasure::Gpu, UsageBy::User));
        assert_eq!(asked("from=today").time, UsageTime::Today);
        assert_eq!(asked("from=-7d").time, UsageTime::Days(7));
    }

    #[test]
    fn times_are_those_of_the_zone_and_a_day_that_was_typed_is_a_whole_one() {
        let is = |from: &str, to: &str, hourly| Ok((from.to_owned(), to.to_owned(), hourly));

        assert_eq!(range("time=today"), is("2026-11-28T23:00:00Z", "2026-11-29T14:05:00Z", true));
        assert_eq!(range("time=7d"), is("2026-11-22T23:00:00Z", "2026-11-29T14:05:00Z", false));
        let day = is("2026-11-04T23:00:00Z", "2026-11-05T23:00:00Z", true);
        assert_eq!(range("from=2026-11-05&to=2026-11-05"), day);
        assert_eq!(range("from=2026-11-05&to=2026-11-06").map(|(_, _, hourly)| hourly), Ok(false));
        let times = is("2026-11-05T09:00:00Z", "2026-11-05T11:30:00Z", true);
        assert_eq!(range("from=2026-11-05+10:00&to=2026-11-05T11:30:00Z"), times);
    }

    #[test]
    fn a_time_that_is_none_or_ends_before_it_begins_or_is_too_long_is_told() {
        let field = |query| range(query).map_err(|(field, _)| field).unwrap_err();

        assert_eq!(field("from=yesterday&to=2026-11-05"), "from");
        assert_eq!(field("from=2026-11-05&to=31.12."), "to");
        assert_eq!(field("from=2026-11-05&to=2026-11-04"), "to");
        assert_eq!(field("from=2026-11-05+10:00&to=2026-11-05+10:00"), "to");
        assert!(range("from=2025-11-05&to=2026-11-05").is_ok(), "366 days");
        assert_eq!(field("from=2025-11-04&to=2026-11-05"), "from");
        assert_eq!(field("from=0001-01-01&to=9999-12-30"), "from");
    }

    #[test]
    fn a_choice_is_a_row_of_the_table_or_what_the_table_is_about() {
        let question = |query: &str| {
            let asked = asked(query);
            let question = asked.question(&asked.range(&times()).unwrap());
            (question.user_id, question.token_id)
        };

        assert_eq!(question("by=user&user_id=u"), (None, None));
        assert_eq!(question("by=token&user_id=u"), (Some("u".into()), None));
        assert_eq!(question("by=token&token_id=t"), (None, None));
        assert_eq!(question("by=model&token_id=t"), (None, Some("t".into())));
    }
}
