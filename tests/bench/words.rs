//! Texts whose words are as common and as rare as those of people, so that an index of them has the shape of a real one.
//!
//! How often a word occurs falls with its rank (Zipf and Mandelbrot): the first ones stand in nearly every text, half of the
//! vocabulary in a few.

/// The commonest come first and are real; the rest is made of syllables.
const COMMON: &str = "the of and to a in is it you that for on with as be this are or not have from by can at an if we \
    your will one all when which there what how use do more has but only set line file error value time model server \
    data test code name first out list check system request change output input user table state process run build";

const ONSETS: [&str; 20] =
    ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "br", "cl", "dr", "pl", "st", "tr", "w"];
const VOWELS: [&str; 6] = ["a", "e", "i", "o", "u", "ea"];
const CODAS: [&str; 8] = ["", "", "", "n", "r", "s", "l", "ck"];

const VOCABULARY: usize = 30_000;

/// Numbers that look random and are the same in every run (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.unit() * end as f64) as usize
    }

    pub fn chance(&mut self, of: f64) -> bool {
        self.unit() < of
    }

    /// Waiting times of what happens at random.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Lengths of texts: most near the median, a few very long.
    pub fn around(&mut self, median: f64, spread: f64) -> f64 {
        let normal: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        median * (spread * normal).exp()
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
        bytes
    }

    /// An index of `weights`, each as likely as its weight.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        weights
            .iter()
            .position(|weight| {
                left -= weight;
                left < 0.0
            })
            .unwrap_or(weights.len() - 1)
    }
}

pub struct Words {
    words: Vec<String>,
    /// Of each word: how likely it or one before it is.
    upto: Vec<f64>,
}

impl Words {
    pub fn new() -> Self {
        let mut dice = Dice::new(7);
        let mut words: Vec<String> = COMMON.split_whitespace().map(str::to_owned).collect();
        let mut known: std::collections::HashSet<String> = words.iter().cloned().collect();
        while words.len() < VOCABULARY {
            let word: String = (0..2 + dice.below(3))
                .flat_map(|_| [ONSETS[dice.below(20)], VOWELS[dice.below(6)], CODAS[dice.below(8)]])
                .collect();
            if known.insert(word.clone()) {
                words.push(word);
            }
        }
        let mut sum = 0.0;
        let upto: Vec<f64> = (0..words.len())
            .map(|rank| {
                sum += (rank as f64 + 2.7).powf(-1.07);
                sum
            })
            .collect();
        Words { words, upto: upto.into_iter().map(|likely| likely / sum).collect() }
    }

    /// Sentences of `count` words together.
    pub fn text(&self, dice: &mut Dice, count: usize) -> String {
        let mut text = String::with_capacity(count * 6);
        let mut left = 0;
        for number in 0..count {
            let drawn = dice.unit();
            let word = &self.words[self.upto.partition_point(|upto| *upto < drawn).min(self.words.len() - 1)];
            if left == 0 {
                left = 5 + dice.below(15);
                text.push_str(&word[..1].to_ascii_uppercase());
                text.push_str(&word[1..]);
            } else {
                text.push_str(word);
            }
            left -= 1;
            text.push_str(if left == 0 || number + 1 == count { ". " } else { " " });
        }
        text.pop();
        text
    }
}
