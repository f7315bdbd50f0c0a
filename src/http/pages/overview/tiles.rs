//! The tiles of today: a number, how it was yesterday by this time, and its shape by hour.

use std::time::Duration;

use crate::http::pages::charts::spark;
use crate::http::pages::format::{coarse, short};
use crate::http::pages::markup::Markup;
use crate::rules::usage::UsageItem;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayTile {
    pub label: &'static str,
    pub value: String,
    pub sub: String,
    pub href: &'static str,
    pub spark: Markup,
}

/// What several lines of usage come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DaySums {
    pub requests: u64,
    pub tokens: u64,
    pub gpu_ms: u64,
    pub refused: u64,
    pub failed: u64,
}

impl DaySums {
    pub fn add(&mut self, item: &UsageItem) {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let add = |sum: &mut u64, number: i64| *sum = sum.saturating_add(count(number));
        add(&mut self.requests, item.requests);
        add(&mut self.tokens, item.prompt_tokens);
        add(&mut self.tokens, item.answer_tokens);
        add(&mut self.gpu_ms, item.gpu_ms);
        add(&mut self.refused, item.refused);
        add(&mut self.failed, item.failed);
    }
}

impl<'a> FromIterator<&'a UsageItem> for DaySums {
    fn from_iter<T: IntoIterator<Item = &'a UsageItem>>(items: T) -> Self {
        let mut sums = DaySums::default();
        items.into_iter().for_each(|item| sums.add(item));
        sums
    }
}

/// What a tile shows of the sums.
struct TileKind {
    label: &'static str,
    href: &'static str,
    number: fn(&DaySums) -> u64,
    shown: fn(u64) -> String,
}

const TILES: [TileKind; 5] = [
    TileKind {
        label: "Requests today",
        href: "/admin/usage?time=today&measure=requests&by=user",
        number: |sums| sums.requests,
        shown: short,
    },
    TileKind {
        label: "Model tokens",
        href: "/admin/usage?time=today&measure=tokens&by=user",
        number: |sums| sums.tokens,
        shown: short,
    },
    TileKind {
        label: "GPU time",
        href: "/admin/usage?time=today&measure=gpu&by=user",
        number: |sums| sums.gpu_ms,
        shown: |ms| coarse(Duration::from_millis(ms)),
    },
    TileKind {
        label: "Refused",
        href: "/admin/record?outcome=refused&from=today",
        number: |sums| sums.refused,
        shown: short,
    },
    TileKind {
        label: "Failed",
        href: "/admin/record?outcome=failed&from=today",
        number: |sums| sums.failed,
        shown: short,
    },
];

/// Returns the tiles, of today by hour, of today, and of yesterday by this time.
pub fn tiles(hours: &[DaySums], today: &DaySums, yesterday: &DaySums) -> Vec<DayTile> {
    let tile = |kind: &TileKind| {
        let before = (kind.number)(yesterday);
        let values: Vec<f64> = hours.iter().map(|hour| (kind.number)(hour) as f64).collect();
        DayTile {
            label: kind.label,
            value: (kind.shown)((kind.number)(today)),
            sub: match before {
                0 => "none by this time yesterday".to_owned(),
                before => format!("{} by this time yesterday", (kind.shown)(before)),
            },
            href: kind.href,
            spark: spark(&values),
        }
    };
    TILES.iter().map(tile).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn item() -> UsageItem {
        UsageItem {
            key: "k".into(),
            when: None,
            begins_at: None,
            id: None,
            user: None,
            user_id: None,
            requests: 0,
            failed: 0,
            refused: 0,
            prompt_tokens: 0,
            answer_tokens: 0,
            gpu_ms: 0,
            total_ms: 0,
        }
    }

    #[test]
    fn a_tile_tells_today_and_yesterday_by_this_time() {
        let today = [
            UsageItem { requests: 900, prompt_tokens: 1_090_000, gpu_ms: 4 * 3_600_000, ..item() },
            UsageItem { requests: 27, answer_tokens: 330_000, gpu_ms: 12 * 60_000, refused: 46, ..item() },
        ];
        let yesterday = [UsageItem { requests: 854, failed: 3, ..item() }];
        let today: DaySums = today.iter().collect();

        let tiles = tiles(&[DaySums::default(), today], &today, &yesterday.iter().collect());

        let told: Vec<_> = tiles.iter().map(|tile| (tile.label, &*tile.value, &*tile.sub)).collect();
        assert_eq!(
            told,
            [
                ("Requests today", "927", "854 by this time yesterday"),
                ("Model tokens", "1.42 M", "none by this time yesterday"),
                ("GPU time", "4 h 12 min", "none by this time yesterday"),
                ("Refused", "46", "none by this time yesterday"),
                ("Failed", "0", "3 by this time yesterday"),
            ]
        );
        assert!(tiles.iter().all(|tile| tile.spark.as_str().starts_with("<svg class=\"spark\"")));
    }
}
