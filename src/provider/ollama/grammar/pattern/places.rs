//! Which sets of characters of a pattern can follow each other, and whether a match is always at one place only.

use crate::provider::ollama::grammar::pattern::nonempty::{CharClass, NonEmpty};

/// The most sets of characters in a pattern whose places are compared.
const PLACES_MAX: usize = 128;

/// The sets of characters of a pattern, and for each the ones that can follow it, once for each way to get there.
pub struct Places<'a> {
    sets: Vec<&'a CharClass>,
    after: Vec<Vec<usize>>,
    first: Vec<usize>,
}

/// The first and last sets of a part.
struct Ends {
    first: Vec<usize>,
    last: Vec<usize>,
    may_be_empty: bool,
}

impl<'a> Places<'a> {
    pub fn of(core: &'a NonEmpty) -> Self {
        let mut places = Places { sets: Vec::new(), after: Vec::new(), first: Vec::new() };
        places.first = places.add(core).first;
        places
    }

    fn add(&mut self, core: &'a NonEmpty) -> Ends {
        match core {
            // Beyond the bound, sets are not added.
            NonEmpty::CharClass(_) if self.sets.len() > PLACES_MAX => {
                Ends { first: Vec::new(), last: Vec::new(), may_be_empty: false }
            }
            NonEmpty::CharClass(class) => {
                let place = self.sets.len();
                self.sets.push(class);
                self.after.push(Vec::new());
                Ends { first: vec![place], last: vec![place], may_be_empty: false }
            }
            NonEmpty::Sequence(items) => {
                let mut all = Ends { first: Vec::new(), last: Vec::new(), may_be_empty: true };
                for item in items {
                    let next = self.add(item);
                    self.join(&all.last, &next.first);
                    if all.may_be_empty {
                        all.first.extend(&next.first);
                    }
                    if !next.may_be_empty {
                        all.last.clear();
                    }
                    all.last.extend(next.last);
                    all.may_be_empty &= next.may_be_empty;
                }
                all
            }
            NonEmpty::Either(ways) => {
                let mut all = Ends { first: Vec::new(), last: Vec::new(), may_be_empty: false };
                for way in ways {
                    let way = self.add(way);
                    all.first.extend(way.first);
                    all.last.extend(way.last);
                }
                all
            }
            NonEmpty::Repeat(what, ..) => {
                let ends = self.add(what);
                self.join(&ends.last, &ends.first);
                ends
            }
            NonEmpty::Optional(what) => Ends { may_be_empty: true, ..self.add(what) },
        }
    }

    fn join(&mut self, from: &[usize], to: &[usize]) {
        for place in from {
            self.after[*place].extend(to);
        }
    }

    /// Returns whether each character of a match determines the next place.
    pub fn are_plain(&self) -> bool {
        self.sets.len() <= PLACES_MAX && self.after.iter().chain([&self.first]).all(|ways| self.are_apart(ways))
    }

    fn are_apart(&self, ways: &[usize]) -> bool {
        let meet = |one: usize, other: usize| {
            let (one, other) = (self.sets[one], self.sets[other]);
            one.plain.meets(&other.plain) || !(one.escapes.is_empty() || other.escapes.is_empty())
        };
        ways.len() <= PLACES_MAX
            && ways.iter().enumerate().all(|(at, one)| ways[at + 1..].iter().all(|other| !meet(*one, *other)))
    }
}
