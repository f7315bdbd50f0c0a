//! Brings patterns into a normal form: whether the empty string matches, and the other matches.

use crate::provider::ollama::grammar::pattern::COUNT_MAX;
use crate::provider::ollama::grammar::pattern::nonempty::{CharClass, NonEmpty};
use crate::provider::ollama::grammar::pattern::reader::Ast;

/// The most nodes of a normal form. It repeats parts of a pattern, and a malicious pattern doubles them.
const NODES_MAX: usize = 4096;

/// A pattern in two parts: whether the empty string matches, and the matches of at least one character.
pub struct Normal {
    pub may_be_empty: bool,
    core: Option<NonEmpty>,
    /// Both parts in one, for a sequence that may be empty, where that is shorter.
    loose: Option<NonEmpty>,
}

pub struct Form {
    nodes_left: usize,
}

impl Form {
    pub fn new() -> Self {
        Form { nodes_left: NODES_MAX }
    }

    /// Returns the normal form; `None` if it would be too large.
    pub fn of(&mut self, ast: &Ast) -> Option<Normal> {
        self.pays(1)?;
        match ast {
            Ast::CharClass(chars) => {
                let class = CharClass { plain: chars.plain(), escapes: chars.escapes() };
                let is_empty = class.plain.is_empty() && class.escapes.is_empty();
                Some(Normal::of(false, (!is_empty).then_some(NonEmpty::CharClass(class))))
            }
            Ast::Sequence(items) => self.sequence(items),
            Ast::Either(ways) if ways.len() == 1 => self.of(&ways[0]),
            Ast::Either(ways) => {
                let (mut may_be_empty, mut cores) = (false, Vec::new());
                for way in ways {
                    let way = self.of(way)?;
                    may_be_empty |= way.may_be_empty;
                    cores.extend(way.core);
                }
                Some(Normal::of(may_be_empty, NonEmpty::either(cores)))
            }
            Ast::Repeat { what, least, most } => self.repeat(what, *least, *most),
            // Anchors were removed before.
            Ast::Start | Ast::End => None,
        }
    }

    fn repeat(&mut self, what: &Ast, least: u32, most: Option<u32>) -> Option<Normal> {
        let what = self.of(what)?;
        // A part that may be empty can be repeated any number of times up to the maximum.
        let may_be_empty = least == 0 || what.may_be_empty;
        let least = if what.may_be_empty { 1 } else { least.max(1) };
        let core = match (what.core, most) {
            (None, _) | (_, Some(0)) => None,
            (Some(core), Some(1)) => Some(core),
            (Some(core), most) => Some(NonEmpty::Repeat(Box::new(core), least, most)),
        };
        Some(Normal::of(may_be_empty, core))
    }

    fn sequence(&mut self, items: &[Ast]) -> Option<Normal> {
        let mut parts = Vec::with_capacity(items.len());
        for item in items {
            let part = self.of(item)?;
            let whole = part.whole();
            match (part.may_be_empty, part.core.zip(whole)) {
                (may_be_empty, Some((core, whole))) => parts.push((may_be_empty, core, whole)),
                (true, None) => {}
                // A part that nothing matches.
                (false, None) => return Some(Normal::of(false, None)),
            }
        }
        let whole = |parts: &[(bool, NonEmpty, NonEmpty)]| {
            NonEmpty::sequence(parts.iter().map(|part| part.2.clone()).collect())
        };
        if parts.iter().any(|(may_be_empty, ..)| !may_be_empty) {
            return Some(Normal::of(false, Some(whole(&parts))));
        }
        // All may be empty: one of them is the first that is not.
        let mut ways = Vec::with_capacity(parts.len());
        for first in 0..parts.len() {
            self.pays(parts[first..].iter().map(|(_, core, _)| core.nodes()).sum())?;
            let mut rest = parts[first..].to_vec();
            rest[0].2 = rest[0].1.clone();
            ways.push(whole(&rest));
        }
        let loose = (parts.len() > 1).then(|| whole(&parts));
        Some(Normal { may_be_empty: true, core: NonEmpty::either(ways), loose })
    }

    fn pays(&mut self, nodes: usize) -> Option<()> {
        self.nodes_left = self.nodes_left.checked_sub(nodes)?;
        Some(())
    }
}

impl Normal {
    fn of(may_be_empty: bool, core: Option<NonEmpty>) -> Self {
        Normal { may_be_empty, core, loose: None }
    }

    /// Returns a pattern for all matches, the empty string included; `None` if there is no other match.
    pub fn whole(&self) -> Option<NonEmpty> {
        match (&self.loose, &self.core) {
            (Some(loose), _) => Some(loose.clone()),
            (None, Some(core)) if self.may_be_empty => Some(NonEmpty::optional(core.clone())),
            (None, core) => core.clone(),
        }
    }

    /// Adds the bounds of the length to the pattern where that is easy; returns `false` where they are lost.
    pub fn limit_length(&mut self, least: u32, most: Option<u32>) -> bool {
        let Some(core) = &mut self.core else { return least == 0 };
        let (shortest, longest) = core.lengths();
        let shortest = if self.may_be_empty { 0 } else { shortest };
        let fits_most = most.is_none_or(|most| longest.is_some_and(|longest| longest <= most));
        if shortest >= least && fits_most {
            return true;
        }
        let (what, from, to) = match core {
            NonEmpty::Repeat(what, from, to) if matches!(**what, NonEmpty::CharClass(_)) => (what.clone(), *from, *to),
            _ => return false,
        };
        let from = if self.may_be_empty { least } else { from.max(least) };
        let to = match (to, most) {
            (Some(to), Some(most)) => Some(to.min(most)),
            (to, most) => to.or(most),
        };
        if to.is_some_and(|to| to == 0 || from > to || to > COUNT_MAX) || from > COUNT_MAX {
            return false;
        }
        self.may_be_empty = from == 0;
        self.core = Some(NonEmpty::Repeat(what, from.max(1), to));
        true
    }
}
