//! Numbers, sizes and durations.

use std::time::Duration;

/// From here on tiles and bars show a number in thousands or millions.
const SHORT_FROM: u64 = 100_000;

/// Returns a number with commas between thousands: `1,204`.
pub fn commas(number: u64) -> String {
    commas_in(&number.to_string())
}

/// Puts commas between the thousands of a number that is text already, with a sign or without.
pub fn commas_in(number: &str) -> String {
    let (sign, digits) = number.split_at(number.len() - number.trim_start_matches('-').len());
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.to_owned();
    }
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number for a tile or a bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// With commas, or from 100,000 on with three digits, such as `212 k` and `1.42 M`.
    pub text: String,
    /// The whole number, for the `title`.
    pub exact: String,
}

pub fn figure(number: u64) -> Figure {
    Figure { text: short(number), exact: commas(number) }
}

/// Returns a number with commas, or from 100,000 on with three digits, such as `212 k` and `1.42 M`.
pub fn short(number: u64) -> String {
    if number < SHORT_FROM {
        return commas(number);
    }
    let mut shown = String::new();
    for (unit, size) in [("k", 1_000_u128), ("M", 1_000_000), ("G", 1_000_000_000)] {
        shown = format!("{} {unit}", three_digits(u128::from(number), size));
        if u128::from(number) * 2 < 999_500 * size / 500 {
            break;
        }
    }
    shown
}

/// Returns `number / size`, rounded to three digits, or to a whole number where more of them stand in front of the point.
fn three_digits(number: u128, size: u128) -> String {
    for decimals in [2_usize, 1, 0] {
        let scale = 10_u128.pow(decimals as u32);
        let scaled = (number * scale * 2 + size) / (size * 2);
        if scaled < 1_000 || decimals == 0 {
            let whole = commas_in(&(scaled / scale).to_string());
            return if decimals == 0 { whole } else { format!("{whole}.{:0decimals$}", scaled % scale) };
        }
    }
    String::new()
}

/// Returns a size in B, kB, MB, GB or TB, by 1,000; below ten units with one decimal: `2.1 kB`, `34 MB`.
pub fn bytes(number: u64) -> String {
    if number < 1_000 {
        return format!("{number} B");
    }
    let mut shown = String::new();
    for (unit, size) in [("kB", 1_000_u128), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)] {
        let tenths = (u128::from(number) * 20 + size) / (size * 2);
        let whole = (u128::from(number) * 2 + size) / (size * 2);
        shown = if tenths < 100 {
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        } else {
            format!("{} {unit}", commas_in(&whole.to_string()))
        };
        if whole < 1_000 {
            break;
        }
    }
    shown
}

/// Returns a part of a whole in whole percent; `None` where there is no whole. What is not nothing is not shown as 0 %, and what
/// is not all not as 100 %.
pub fn percent(part: u64, whole: u64) -> Option<String> {
    if whole == 0 {
        return None;
    }
    let (part, whole) = (u128::from(part), u128::from(whole));
    let rounded = (part * 200 + whole) / (whole * 2);
    Some(match rounded {
        0 if part > 0 => "under 1 %".to_owned(),
        100 if part < whole => "99 %".to_owned(),
        rounded => format!("{} %", commas_in(&rounded.to_string())),
    })
}

/// Returns the model tokens of a prompt and its answer: `1,204 → 312`. What is not known is empty.
pub fn model_tokens(prompt: Option<u64>, answer: Option<u64>) -> String {
    match (prompt.map(commas), answer.map(commas)) {
        (None, None) => String::new(),
        (Some(prompt), None) => format!("{prompt} →"),
        (None, Some(answer)) => format!("→ {answer}"),
        (Some(prompt), Some(answer)) => format!("{prompt} → {answer}"),
    }
}

/// Returns a measured time: `4 ms`, `18.4 s`, `3 min 02 s`, `1 h 48 min`.
pub fn duration(time: Duration) -> String {
    let millis = (time.as_nanos() + 500_000) / 1_000_000;
    if millis == 0 && !time.is_zero() {
        return "under 1 ms".to_owned();
    }
    if millis < 1_000 {
        return format!("{millis} ms");
    }
    let tenths = (time.as_nanos() + 50_000_000) / 100_000_000;
    if tenths < 600 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    in_two_units(rounded_seconds(time))
}

/// Returns a time that goes on, in whole seconds that are over: `0 s`, `41 s`, `3 min 02 s`, `1 h 48 min`.
pub fn seconds(time: Duration) -> String {
    in_two_units(time.as_secs())
}

/// Returns a time of use or a limit of it, in one unit where that is enough: `41 s`, `39 min`, `2 h`, `4 h 12 min`.
pub fn coarse(time: Duration) -> String {
    let seconds = rounded_seconds(time);
    if seconds == 0 && !time.is_zero() {
        return "under 1 s".to_owned();
    }
    if seconds < 60 {
        return format!("{seconds} s");
    }
    let minutes = seconds.saturating_add(30) / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{} h", commas(hours)),
        (hours, minutes) => format!("{} h {minutes:02} min", commas(hours)),
    }
}

fn rounded_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() >= 500_000_000))
}

fn in_two_units(seconds: u64) -> String {
    if seconds < 60 {
        return format!("{seconds} s");
    }
    if seconds < 3_600 {
        return format!("{} min {:02} s", seconds / 60, seconds % 60);
    }
    // Of hours the seconds are cut off, so that a minute is shown when it is over.
    let minutes = seconds / 60;
    format!("{} h {:02} min", commas(minutes / 60), minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn thousands_have_commas() {
        assert_eq!([0, 999, 1_000, 99_999, 1_234_567].map(commas), ["0", "999", "1,000", "99,999", "1,234,567"]);
        assert_eq!(commas(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(["-1", "-1234", "", "-", "1234.5", "x"].map(commas_in), ["-1", "-1,234", "", "-", "1234.5", "x"]);
    }

    #[test]
    fn from_a_hundred_thousand_on_a_number_has_three_digits() {
        let cases = [
            (99_999, "99,999"),
            (100_000, "100 k"),
            (212_499, "212 k"),
            (212_500, "213 k"),
            (999_499, "999 k"),
            (999_500, "1.00 M"),
            (1_420_000, "1.42 M"),
            (9_994_999, "9.99 M"),
            (9_995_000, "10.0 M"),
            (41_000_000, "41.0 M"),
            (99_950_000, "100 M"),
            (999_499_999, "999 M"),
            (999_500_000, "1.00 G"),
            (1_000_000_000_000, "1,000 G"),
            (u64::MAX, "18,446,744,074 G"),
        ];
        for (number, shown) in cases {
            assert_eq!(short(number), shown, "{number}");
        }
        assert_eq!(figure(212_345), Figure { text: "212 k".into(), exact: "212,345".into() });
    }

    #[test]
    fn sizes_count_by_a_thousand() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (2_149, "2.1 kB"),
            (2_150, "2.2 kB"),
            (9_949, "9.9 kB"),
            (9_950, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (34_000_000, "34 MB"),
            (1_800_000_000, "1.8 GB"),
            (21_000_000_000, "21 GB"),
            (2_000_000_000_000, "2.0 TB"),
            (u64::MAX, "18,446,744 TB"),
        ];
        for (number, shown) in cases {
            assert_eq!(bytes(number), shown, "{number}");
        }
    }

    #[test]
    fn percents_are_whole_and_say_neither_nothing_nor_all_where_it_is_not_so() {
        let of = |part, whole| percent(part, whole).unwrap_or_default();
        assert_eq!([of(0, 9), of(1, 1_000), of(5, 1_000), of(43, 100)], ["0 %", "under 1 %", "1 %", "43 %"]);
        assert_eq!([of(999, 1_000), of(1_000, 1_000), of(3, 2)], ["99 %", "100 %", "150 %"]);
        assert_eq!((percent(0, 0), percent(1, 0)), (None, None));
        assert_eq!(of(u64::MAX, u64::MAX), "100 %");
    }

    #[test]
    fn model_tokens_go_from_the_prompt_to_the_answer_and_unknown_ones_are_empty() {
        assert_eq!(model_tokens(Some(1_204), Some(312)), "1,204 → 312");
        assert_eq!(model_tokens(Some(1_204), None), "1,204 →");
        assert_eq!(model_tokens(None, Some(0)), "→ 0");
        assert_eq!(model_tokens(None, None), "");
    }

    #[test]
    fn a_measured_time_has_the_unit_that_fits() {
        let cases = [
            (ms(0), "0 ms"),
            (Duration::from_micros(499), "under 1 ms"),
            (Duration::from_micros(500), "1 ms"),
            (ms(4), "4 ms"),
            (ms(999), "999 ms"),
            (Duration::from_micros(999_499), "999 ms"),
            (Duration::from_micros(999_500), "1.0 s"),
            (ms(18_449), "18.4 s"),
            (ms(59_949), "59.9 s"),
            (ms(59_950), "1 min 00 s"),
            (ms(182_000), "3 min 02 s"),
            (ms(3_599_499), "59 min 59 s"),
            (ms(3_599_500), "1 h 00 min"),
            (ms(6_480_000), "1 h 48 min"),
            (ms(166_200_000), "46 h 10 min"),
            (Duration::MAX, "5,124,095,576,030,431 h 00 min"),
        ];
        for (time, shown) in cases {
            assert_eq!(duration(time), shown, "{time:?}");
        }
    }

    #[test]
    fn a_time_that_goes_on_counts_whole_seconds() {
        let cases = [(999, "0 s"), (1_000, "1 s"), (59_999, "59 s"), (60_000, "1 min 00 s"), (3_600_000, "1 h 00 min")];
        for (millis, shown) in cases {
            assert_eq!(seconds(ms(millis)), shown, "{millis}");
        }
    }

    #[test]
    fn a_time_of_use_has_one_unit_where_that_is_enough() {
        let cases = [
            (0, "0 s"),
            (499, "under 1 s"),
            (500, "1 s"),
            (59_499, "59 s"),
            (59_500, "1 min"),
            (2_340_000, "39 min"),
            (3_569_499, "59 min"),
            (3_570_000, "1 h"),
            (7_200_000, "2 h"),
            (15_120_000, "4 h 12 min"),
        ];
        for (millis, shown) in cases {
            assert_eq!(coarse(ms(millis)), shown, "{millis}");
        }
    }
}
