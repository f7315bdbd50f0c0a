//! Who used most GPU time today.

use std::time::Duration;

use crate::http::pages::charts::{BarColour, rank};
use crate::http::pages::format::{coarse, percent};
use crate::http::pages::markup::Markup;
use crate::http::pages::words::counted;
use crate::model::people::People;
use crate::model::rights::Class;
use crate::rules::usage::UsageItem;

/// Rows of the ranking.
const ROWS_MAX: usize = 7;

/// By what the GPU time of today is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusiestBy {
    People,
    Tokens,
}

impl BusiestBy {
    pub fn parse(word: Option<&str>) -> BusiestBy {
        if word == Some("tokens") { BusiestBy::Tokens } else { BusiestBy::People }
    }

    pub fn live_path(self) -> &'static str {
        match self {
            BusiestBy::People => "/live/today",
            BusiestBy::Tokens => "/live/today?busiest=tokens",
        }
    }

    /// Returns the word that usage is asked with.
    pub fn key(self) -> &'static str {
        match self {
            BusiestBy::People => "user",
            BusiestBy::Tokens => "token",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusyLine {
    pub name: String,
    /// The owner of the access token; empty for people.
    pub owner: String,
    /// `None`: the account is deleted, or there is no access token.
    pub href: Option<String>,
    pub value: String,
    pub share: String,
    pub bar: Markup,
}

/// Returns those who used most, by the share that they had of everything that was used.
pub fn lines(items: Vec<UsageItem>, by: BusiestBy, people: &People) -> Vec<BusyLine> {
    let gpu = |item: &UsageItem| u64::try_from(item.gpu_ms).unwrap_or(0);
    let all: u64 = items.iter().map(gpu).sum();
    let line = |item: UsageItem| {
        let (used, user) = (gpu(&item), user_of(&item, by).and_then(|id| people.by_public_id(id)));
        let colour = match user {
            Some(user) if user.class == Class::Batch => BarColour::Batch,
            _ => BarColour::Plain,
        };
        let href = item.id.as_ref().map(|id| match by {
            BusiestBy::People => format!("/admin/users/{id}"),
            BusiestBy::Tokens => format!("/admin/record?token_id={id}&from=today"),
        });
        BusyLine {
            name: if item.key == "(no token)" { "Without an access token".to_owned() } else { item.key },
            owner: item.user.unwrap_or_default(),
            href,
            value: coarse(Duration::from_millis(used)),
            share: percent(used, all).unwrap_or_default(),
            bar: rank(used as f64, all as f64, colour),
        }
    };
    items.into_iter().filter(|item| item.gpu_ms > 0).take(ROWS_MAX).map(line).collect()
}

fn user_of(item: &UsageItem, by: BusiestBy) -> Option<&str> {
    match by {
        BusiestBy::People => item.id.as_deref(),
        BusiestBy::Tokens => item.user_id.as_deref(),
    }
}

/// Returns what the link to all of them says; empty when all are shown.
pub fn all(items: &[UsageItem], by: BusiestBy) -> String {
    match (items.iter().filter(|item| item.gpu_ms > 0).count(), by) {
        (0..=ROWS_MAX, _) => String::new(),
        (count, BusiestBy::People) => format!("All {}", counted(count as u64, "person", "people")),
        (count, BusiestBy::Tokens) => format!("All {}", counted(count as u64, "access token", "access tokens")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::pages::overview::tiles::tests::item;

    #[test]
    fn bars_are_shares_of_what_was_used_and_who_used_nothing_is_no_row() {
        let used = |key: &str, gpu_ms| UsageItem { key: key.into(), gpu_ms, ..item() };
        let people = People::new(Vec::new(), std::iter::empty());

        let shown =
            lines(vec![used("ci", 90_000), used("(no token)", 30_000), used("idle", 0)], BusiestBy::Tokens, &people);

        let told: Vec<_> = shown.iter().map(|line| (&*line.name, &*line.value, &*line.share)).collect();
        assert_eq!(told, [("ci", "2 min", "75 %"), ("Without an access token", "30 s", "25 %")]);
        assert!(shown[0].bar.as_str().contains(r#"width="75%""#));
    }

    #[test]
    fn seven_are_shown_and_more_are_linked() {
        let many = |count| vec![UsageItem { gpu_ms: 1, ..item() }; count];
        let people = People::new(Vec::new(), std::iter::empty());

        assert_eq!(lines(many(8), BusiestBy::People, &people).len(), 7);
        assert_eq!(all(&many(7), BusiestBy::People), "");
        assert_eq!(all(&many(11), BusiestBy::People), "All 11 people");
    }
}
