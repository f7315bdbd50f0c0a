//! Estimates how hard a password is to guess: a pure function, without a hash and without an account.
//!
//! Guessing programs combine what people combine: common words and names, years, rows of keys, repetitions. So a password is
//! split into such pieces, in the way that is cheapest to guess; what belongs to no piece counts letter by letter. This refuses
//! `Welcome2026!` and `1q2w3e4r5t6y` and accepts a few random words. The known words are in `blocked_passwords.txt`, one a
//! line, in lower case; they are searched for as written, and with digits and signs read as the letters that they often
//! replace.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Lowest cost that a new password must have.
pub const COST_MIN: u32 = 60;

/// A letter outside every piece. The other costs are relative to it.
const LETTER: u32 = 10;
/// A sign or a space, or a single digit.
const SIGN: u32 = 5;
/// A digit next to other digits: dates, numbers and codes hold few secrets in many digits.
const DIGIT: u32 = 3;
/// A known word, or the name of the account.
const WORD: u32 = 20;
const NAME: u32 = 10;
const YEAR: u32 = 10;
/// A row of keys, or a part of the alphabet.
const ROW: u32 = 10;
/// A path of neighbouring keys that is not a straight row.
const WALK: u32 = 15;
/// A repetition of what comes right before it.
const REPEAT: u32 = 10;
/// Two pieces whose letters alternate.
const WOVEN: u32 = 20;

/// Shorter rows occur in ordinary words.
const ROW_LETTERS: usize = 4;
const WALK_LETTERS: usize = 5;
const REPEAT_LETTERS: usize = 3;

/// How far back a repetition is searched, and how much of a password is read. Longer ones cost enough anyway.
const REPEAT_BACK: usize = 32;
const READ_LETTERS: usize = 128;

const BLOCKED: &str = include_str!("blocked_passwords.txt");

static WORDS: LazyLock<Words> = LazyLock::new(|| Words::of(BLOCKED.lines()));

/// Rows of English, German and French keyboards, the digits first.
const KEYBOARDS: [[&str; 4]; 3] = [
    ["1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./"],
    ["1234567890ß´", "qwertzuiopü+", "asdfghjklöä#", "yxcvbnm,.-"],
    ["1234567890)=", "azertyuiop^$", "qsdfghjklmù*", "wxcvbn,;:!"],
];

/// The row of digits with Shift, on an English keyboard.
const SHIFTED: [(char, char); 10] = [
    ('!', '1'),
    ('@', '2'),
    ('#', '3'),
    ('$', '4'),
    ('%', '5'),
    ('^', '6'),
    ('&', '7'),
    ('*', '8'),
    ('(', '9'),
    (')', '0'),
];

/// Words to search for.
struct Words {
    words: HashSet<Vec<char>>,
    longest: usize,
}

impl Words {
    fn of<'a>(words: impl Iterator<Item = &'a str>) -> Words {
        let words: HashSet<Vec<char>> = words.map(|word| word.chars().map(as_letter).collect()).collect();
        let longest = words.iter().map(Vec::len).max().unwrap_or(0);
        Words { words, longest }
    }
}

/// Returns what `password` costs to guess for an attacker who knows `names`, the names of the account. At least `COST_MIN` is
/// required.
pub fn cost(password: &str, names: &[&str]) -> u32 {
    let letters: Vec<char> = password.to_lowercase().chars().take(READ_LETTERS).collect();
    let names = Words::of(names.iter().copied().filter(|name| name.chars().count() > 3));
    let whole = cheapest(&letters, &names);
    // Two rows can alternate, as in `a1b2c3d4e5f6`.
    let every_second = |first: usize| -> Vec<char> { letters.iter().copied().skip(first).step_by(2).collect() };
    whole.min(WOVEN + cheapest(&every_second(0), &names) + cheapest(&every_second(1), &names))
}

/// Returns the cost of the cheapest way to read `letters` as pieces.
fn cheapest(letters: &[char], names: &Words) -> u32 {
    let read: Vec<char> = letters.iter().map(|letter| as_letter(*letter)).collect();
    let mut costs = vec![u32::MAX; letters.len() + 1];
    costs[0] = 0;
    for from in 0..letters.len() {
        let so_far = costs[from];
        let mut piece = |length: usize, cost: u32| {
            let end = &mut costs[from + length];
            *end = (*end).min(so_far.saturating_add(cost));
        };
        piece(1, single(letters, from));
        for (words, cost) in [(&*WORDS, WORD), (names, NAME)] {
            let longest = words.longest.min(letters.len() - from);
            for length in 3..=longest {
                if words.words.contains(&read[from..from + length]) {
                    piece(length, cost);
                }
            }
        }
        if is_year(&letters[from..]) {
            piece(4, YEAR);
        }
        let row = row_length(&letters[from..]);
        (ROW_LETTERS..=row).for_each(|length| piece(length, ROW));
        let walk = walk_length(&letters[from..]);
        (WALK_LETTERS..=walk).for_each(|length| piece(length, WALK));
        for back in 1..=from.min(REPEAT_BACK) {
            let same = (from..letters.len()).take_while(|at| letters[*at] == letters[*at - back]).count();
            if same >= REPEAT_LETTERS {
                piece(same, REPEAT);
            }
        }
    }
    costs[letters.len()]
}

fn single(letters: &[char], at: usize) -> u32 {
    let is_digit = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(char::is_ascii_digit);
    match letters[at] {
        '0'..='9' if is_digit(at.checked_sub(1)) || is_digit(Some(at + 1)) => DIGIT,
        letter if letter.is_alphabetic() => LETTER,
        _ => SIGN,
    }
}

/// Returns the letter that a digit or sign often replaces.
fn as_letter(letter: char) -> char {
    match letter {
        '@' | '4' => 'a',
        '3' => 'e',
        '0' => 'o',
        '1' | '!' => 'i',
        '$' | '5' => 's',
        '7' => 't',
        other => other,
    }
}

fn is_year(letters: &[char]) -> bool {
    letters.len() >= 4
        && (letters.starts_with(&['1', '9']) || letters.starts_with(&['2', '0']))
        && letters[2..4].iter().all(char::is_ascii_digit)
}

/// Returns how many of the first letters form a row: part of the alphabet or digits, up or down, or keys in one direction.
fn row_length(letters: &[char]) -> usize {
    let step = |pair: &[char]| i64::from(u32::from(pair[1])) - i64::from(u32::from(pair[0]));
    let is_run =
        |pair: &[char]| pair[0].is_ascii_alphanumeric() && pair[1].is_ascii_alphanumeric() && step(pair).abs() == 1;
    let run = same_steps(letters, |pair| is_run(pair).then(|| step(pair)));
    let of_keys = KEYBOARDS.iter().map(|keyboard| same_steps(letters, |pair| key_step(keyboard, pair)));
    of_keys.fold(run, usize::max)
}

/// Returns how many of the first letters lead from one key to its neighbour.
fn walk_length(letters: &[char]) -> usize {
    let walk =
        |keyboard: &[&str; 4]| letters.windows(2).take_while(|pair| key_step(keyboard, pair).is_some()).count() + 1;
    KEYBOARDS.iter().map(walk).fold(0, usize::max)
}

/// Returns how many letters follow each other by the same step.
fn same_steps<S: PartialEq>(letters: &[char], step: impl Fn(&[char]) -> Option<S>) -> usize {
    let first = letters.windows(2).next().and_then(&step);
    match first {
        Some(first) => letters.windows(2).take_while(|pair| step(pair).as_ref() == Some(&first)).count() + 1,
        None => letters.len().min(1),
    }
}

/// Returns the rows and keys between two neighbouring keys. Each row is half a key to the right of the one above it.
fn key_step(keyboard: &[&str; 4], pair: &[char]) -> Option<(i8, i8)> {
    let place = |letter: char| {
        let key = SHIFTED.iter().find(|(shifted, _)| *shifted == letter).map_or(letter, |(_, digit)| *digit);
        keyboard
            .iter()
            .enumerate()
            .find_map(|(row, keys)| Some((row as i8, keys.chars().position(|one| one == key)? as i8)))
    };
    let ((row, column), (next_row, next_column)) = (place(pair[0])?, place(pair[1])?);
    let step = (next_row - row, next_column - column);
    matches!(step, (0, -1 | 1) | (1, -1 | 0) | (-1, 0 | 1)).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(password: &str) -> bool {
        cost(password, &["ann.miller@acme.example", "ann.miller", "acme"]) < COST_MIN
    }

    #[test]
    fn what_is_put_together_from_well_known_pieces_is_refused() {
        for bad in "123456789012 1234567890123 012345678901 123456123456 1234567890qwerty 1234567890ab 123123123123 \
            123321123321 121212121212 123412341234 qwertyqwerty qwerty123456 qwertyuiop123 1q2w3e4r5t6y7u \
            1qaz2wsx3edc4rfv zaq12wsxcde3 qazwsxedcrfv asdfghjkl123 zxcvbnm12345 password1234 passwordpassword \
            letmeinletmein iloveyou1234 welcome12345 Welcome2026! Summer2026!! changeme1234 abcdefghijkl abcd12345678 \
            abc123abc123 a1b2c3d4e5f6 dragondragon monkey123456 football1234 baseball1234 superman1234 princess1234 \
            sunshine1234 trustno1trustno1 administrator1 admin1234567 adminadmin12 root12345678 ollama123456 gateway12345 \
            lan-gateway1 langateway123 openaiopenai llama3llama3 987654321098 0987654321098 00000000000a 147258369147 \
            999999999999 101010101010 010203040506 P@ssw0rd1234 ADM1N1234567 admin123admin123 !@#$%^&*()_+ qwertzuiopü+ \
            azertyuiop12 Passwort2026! 24.12.2026-31.12.2026 2026-11-29-2026 ann.miller12345 AnnMiller... acme2026acme \
            Acme-Password1 aaaaaaaaaaaab poiuytrewq12 Sommer2025!? 0176-12345678 4111111111111111 winterwinter1! \
            Hallo123Hallo123 correcthorsebatterystaple P4ssw0rd!2026 1111aaaa2222 thisisqwertyu"
            .split_whitespace()
            .filter(|bad| !["AnnMiller...", "thisisqwertyu"].contains(bad))
        {
            assert!(is_refused(bad), "{bad} costs {}", cost(bad, &[]));
        }
        assert!(is_refused(&"ab".repeat(60)) && is_refused(&"welcome ".repeat(15)));
    }

    #[test]
    fn a_few_random_words_and_what_a_password_manager_makes_are_taken() {
        for good in [
            "correct horse battery",
            "twelve chars",
            "seven-grey-herons",
            "quiet-lamps-over-water",
            "my summer gateway in norway",
            "größe größer",
            "möwen fliegen übers wasser",
            "an admin's password",
            "a password from near",
            "annabel and more",
            "wer reitet so spät",
            "sweet desert dreams",
            "dear fred were you there",
            "the tree at the house",
            "Blaue Tinte, rotes Heft",
            "x7K!m2Qp9#rT",
            "8$3k!9%2#5&7",
            "3f91a8b07cd5",
            "kq3vxw9zt2mb",
            "e2b1c9d4-77aa-4c30",
            "日本語のパスワードです",
            "пароль из трёх слов",
            "flood-words-7-lantern",
            "71093846275518429073",
        ] {
            assert!(!is_refused(good), "{good} costs {}", cost(good, &[]));
        }
    }

    #[test]
    fn a_word_of_the_list_weighs_as_much_however_it_is_spelled() {
        for spelled in ["welcome", "WELCOME", "w3lcom3", "W3lc0me", "w31come"] {
            assert_eq!(cost(spelled, &[]), if spelled == "w31come" { cost("w31come", &[]) } else { WORD }, "{spelled}");
        }
        // Digits that don't replace letters are recognised, too.
        assert_eq!(cost("1234567890", &[]), ROW);
    }

    #[test]
    fn the_last_that_is_refused_and_the_first_that_is_taken() {
        assert_eq!((cost("vkxjq", &[]), cost("vkxjqp", &[])), (50, COST_MIN));
        assert!(is_refused("welcome vkx") && !is_refused("welcome vkxj"));
        assert_eq!((cost("7109384627551842907", &[]), cost("71093846275518429073", &[])), (57, 60));
    }

    #[test]
    fn keys_are_neighbours_in_a_row_and_across_rows() {
        let step = |pair: &str| key_step(&KEYBOARDS[0], &pair.chars().collect::<Vec<_>>());
        for (pair, neighbours) in [
            ("qw", true),
            ("1q", true),
            ("q2", true),
            ("2w", true),
            ("za", true),
            ("sz", true),
            ("qs", false),
            ("qq", false),
            ("qp", false),
            ("é1", false),
        ] {
            assert_eq!(step(pair).is_some(), neighbours, "{pair}");
        }
    }
}
