//! Sets of characters, as in a pattern and as in a JSON string.

/// Characters as ordered ranges that don't touch each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chars(Vec<(u32, u32)>);

const LAST: u32 = 0x10_FFFF;

/// Surrogates are no characters: no text in UTF-8 holds one, so a model could never write it.
const SURROGATES: (u32, u32) = (0xD800, 0xDFFF);

/// `\s`: white space and ends of lines of ECMA-262.
const SPACES: &[(u32, u32)] = &[
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
];

/// Letters after the backslash of a JSON escape, and what they stand for.
const ESCAPES: &[(u32, char)] =
    &[(0x22, '"'), (0x5C, '\\'), (0x08, 'b'), (0x0C, 'f'), (0x0A, 'n'), (0x0D, 'r'), (0x09, 't')];

impl Chars {
    pub fn of(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|(from, to)| from <= to).collect();
        ranges.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match joined.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        Chars(joined)
    }

    pub fn one(c: u32) -> Self {
        Chars(vec![(c, c)])
    }

    pub fn any() -> Self {
        Chars(vec![(0, LAST)])
    }

    /// Returns the set of `.`: everything but line ends.
    pub fn dot() -> Self {
        Chars::of([(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)]).inverted()
    }

    pub fn digits() -> Self {
        Chars(vec![(0x30, 0x39)])
    }

    pub fn word() -> Self {
        Chars(vec![(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)])
    }

    pub fn spaces() -> Self {
        Chars(SPACES.to_vec())
    }

    pub fn inverted(&self) -> Self {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut next = 0;
        for (from, to) in &self.0 {
            if next < *from {
                gaps.push((next, from - 1));
            }
            next = to + 1;
        }
        if next <= LAST {
            gaps.push((next, LAST));
        }
        Chars(gaps)
    }

    pub fn united(self, other: &Chars) -> Self {
        Chars::of(self.0.into_iter().chain(other.0.iter().copied()))
    }

    pub fn without(&self, other: &Chars) -> Self {
        self.inverted().united(other).inverted()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, c: u32) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&c))
    }

    pub fn meets(&self, other: &Chars) -> bool {
        let (mut one, mut two) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some((from, to)), Some((other_from, other_to))) = (one.peek(), two.peek()) {
            if from <= other_to && other_from <= to {
                return true;
            }
            if to < other_to {
                one.next()
            } else {
                two.next()
            };
        }
        false
    }

    /// Returns those that are not escaped in a JSON string. DEL is left out, as in the compiler's own rule for characters.
    pub fn plain(&self) -> Chars {
        self.without(&Chars::of([(0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F), SURROGATES]))
    }

    /// Returns the letters of the short escapes of those that are escaped in a JSON string.
    pub fn escapes(&self) -> Chars {
        Chars::of(ESCAPES.iter().filter(|(c, _)| self.contains(*c)).map(|(_, letter)| {
            let letter = *letter as u32;
            (letter, letter)
        }))
    }

    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }
}
