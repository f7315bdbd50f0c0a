//! Patterns of texts, written anew for the grammar compiler.
//!
//! The compiler reads patterns character by character and checks little: a group that looks ahead ends the whole model
//! server, an escape that it does not know ends the model's runner, and a repetition of something that may be empty
//! sends it into a recursion without an end. So a pattern is read into a tree, brought into a form in which nothing that is
//! repeated can be empty, and written from that form with few constructs: literal letters, `[…]`, `(…|…)` and counts.
//!
//! The compiler also knows nothing of JSON's escapes. A set of characters is written as those that a JSON text holds as
//! they are, and beside them the escapes of the others, so that no quotation mark ends a text too early.

use std::fmt::Write;

use crate::provider::ollama::grammar::chars::Chars;
use reader::Ast;

mod reader;

/// Larger counts are refused by the compiler.
pub const COUNT_MAX: u32 = 2000;

/// States in which a text can be at the same time, where a pattern leaves that open. Each costs a walk through the whole
/// vocabulary for each token.
const STATES_MAX: usize = 256;

/// Sets of characters in a pattern that is looked at more closely because its counts are large.
const PLACES_MAX: usize = 128;

/// Nodes that the normal form may take. It repeats parts of a pattern, and patterns can be made so that it doubles them.
const NODES_MAX: usize = 4096;

/// What a grammar takes in place of a pattern.
#[derive(Debug, PartialEq)]
pub struct Written {
    pub text: String,
    /// Sum of its counts: each makes as many rules.
    pub repeats: usize,
    /// Whether the limits of length hold with it.
    pub keeps_lengths: bool,
}

/// The pattern, written anew; `None` where it can't be said. `least` and `most` are limits of the length of the text.
pub fn rewrite(pattern: &str, least: u32, most: Option<u32>) -> Option<Written> {
    let ast = whole_text(reader::read(pattern)?)?;
    let mut normal = Form { nodes_left: NODES_MAX };
    let mut form = normal.of(&ast)?;
    let keeps_lengths = form.limit_length(least, most);
    match form.whole() {
        Some(whole) if whole.is_cheap() => {
            Some(Written { text: format!("^{whole}$"), repeats: whole.repeats(), keeps_lengths })
        }
        Some(_) => None,
        // Only the empty text matches, or nothing does.
        None => form.may_be_empty.then(|| Written { text: "^$".to_owned(), repeats: 0, keeps_lengths }),
    }
}

/// A pattern matches anywhere in a text, unless `^` and `$` say otherwise. They may stand at the ends of the whole pattern or
/// of one of its ways alone.
fn whole_text(ast: Ast) -> Option<Ast> {
    let ways = match ast {
        Ast::Either(ways) => ways,
        other => vec![other],
    };
    let anything = || Ast::Repeat { what: Box::new(Ast::Class(Chars::any())), least: 0, most: None };
    let mut whole = Vec::with_capacity(ways.len());
    for way in ways {
        let mut items = match way {
            Ast::Sequence(items) => items,
            other => vec![other],
        };
        // One group around everything, with its anchors inside.
        if let [Ast::Sequence(_) | Ast::Either(_)] = &items[..] {
            whole.push(whole_text(items.remove(0))?);
            continue;
        }
        if items.first() == Some(&Ast::Start) {
            items.remove(0);
        } else {
            items.insert(0, anything());
        }
        if items.last() == Some(&Ast::End) {
            items.pop();
        } else {
            items.push(anything());
        }
        whole.push(Ast::Sequence(items));
    }
    let whole = Ast::Either(whole);
    (!has_anchor(&whole)).then_some(whole)
}

fn has_anchor(ast: &Ast) -> bool {
    match ast {
        Ast::Start | Ast::End => true,
        Ast::Class(_) => false,
        Ast::Sequence(items) | Ast::Either(items) => items.iter().any(has_anchor),
        Ast::Repeat { what, .. } => has_anchor(what),
    }
}

/// One or more characters. Only what is in `Optional` may be left out, and what is in it can't be empty itself.
#[derive(Debug, Clone, PartialEq)]
enum Core {
    Class(Class),
    Sequence(Vec<Core>),
    Either(Vec<Core>),
    /// At least once.
    Repeat(Box<Core>, u32, Option<u32>),
    Optional(Box<Core>),
}

/// Characters as a JSON text holds them: plain, or as the letters of escapes. One of them is not empty.
#[derive(Debug, Clone, PartialEq)]
struct Class {
    plain: Chars,
    escapes: Chars,
}

/// A pattern in two parts: whether the empty text matches, and the texts of at least one character that do.
struct Normal {
    may_be_empty: bool,
    core: Option<Core>,
    /// Both parts in one, where that is shorter: of a sequence that may be empty.
    loose: Option<Core>,
}

struct Form {
    nodes_left: usize,
}

impl Form {
    /// `None` when the form would be too large.
    fn of(&mut self, ast: &Ast) -> Option<Normal> {
        self.pays(1)?;
        match ast {
            Ast::Class(chars) => {
                let class = Class { plain: chars.plain(), escapes: chars.escapes() };
                let is_empty = class.plain.is_empty() && class.escapes.is_empty();
                Some(Normal::of(false, (!is_empty).then_some(Core::Class(class))))
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
                Some(Normal::of(may_be_empty, Core::either(cores)))
            }
            Ast::Repeat { what, least, most } => self.repeat(what, *least, *most),
            // They were taken out.
            Ast::Start | Ast::End => None,
        }
    }

    fn repeat(&mut self, what: &Ast, least: u32, most: Option<u32>) -> Option<Normal> {
        let what = self.of(what)?;
        // An empty part counts as often as one likes: then any number up to the most will do.
        let may_be_empty = least == 0 || what.may_be_empty;
        let least = if what.may_be_empty { 1 } else { least.max(1) };
        let core = match (what.core, most) {
            (None, _) | (_, Some(0)) => None,
            (Some(core), Some(1)) => Some(core),
            (Some(core), most) => Some(Core::Repeat(Box::new(core), least, most)),
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
        let whole = |parts: &[(bool, Core, Core)]| Core::sequence(parts.iter().map(|part| part.2.clone()).collect());
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
        Some(Normal { may_be_empty: true, core: Core::either(ways), loose })
    }

    fn pays(&mut self, nodes: usize) -> Option<()> {
        self.nodes_left = self.nodes_left.checked_sub(nodes)?;
        Some(())
    }
}

impl Normal {
    fn of(may_be_empty: bool, core: Option<Core>) -> Self {
        Normal { may_be_empty, core, loose: None }
    }

    /// All texts that match, the empty one among them; `None` where there is no other.
    fn whole(&self) -> Option<Core> {
        match (&self.loose, &self.core) {
            (Some(loose), _) => Some(loose.clone()),
            (None, Some(core)) if self.may_be_empty => Some(Core::optional(core.clone())),
            (None, core) => core.clone(),
        }
    }

    /// Puts the limits of length into the pattern where that is easy; `false` where they are lost.
    fn limit_length(&mut self, least: u32, most: Option<u32>) -> bool {
        let Some(core) = &mut self.core else { return least == 0 };
        let (shortest, longest) = core.lengths();
        let shortest = if self.may_be_empty { 0 } else { shortest };
        let fits_most = most.is_none_or(|most| longest.is_some_and(|longest| longest <= most));
        if shortest >= least && fits_most {
            return true;
        }
        let (what, from, to) = match core {
            Core::Repeat(what, from, to) if matches!(**what, Core::Class(_)) => (what.clone(), *from, *to),
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
        self.core = Some(Core::Repeat(what, from.max(1), to));
        true
    }
}

impl Core {
    fn optional(core: Core) -> Core {
        Core::Optional(Box::new(core))
    }

    fn sequence(mut parts: Vec<Core>) -> Core {
        match parts.pop() {
            Some(part) if parts.is_empty() => part,
            last => Core::Sequence(parts.into_iter().chain(last).collect()),
        }
    }

    fn either(mut ways: Vec<Core>) -> Option<Core> {
        ways.dedup();
        if ways.len() > 1 { Some(Core::Either(ways)) } else { ways.pop() }
    }

    fn nodes(&self) -> usize {
        1 + match self {
            Core::Class(_) => 0,
            Core::Sequence(items) | Core::Either(items) => items.iter().map(Core::nodes).sum(),
            Core::Repeat(what, ..) | Core::Optional(what) => what.nodes(),
        }
    }

    fn repeats(&self) -> usize {
        match self {
            Core::Class(_) => 0,
            Core::Sequence(items) | Core::Either(items) => items.iter().map(Core::repeats).sum(),
            Core::Repeat(what, least, most) => what.repeats() + most.unwrap_or(*least) as usize,
            Core::Optional(what) => what.repeats(),
        }
    }

    /// How many characters a text has at least and at most.
    fn lengths(&self) -> (u32, Option<u32>) {
        let times = |one: Option<u32>, times: Option<u32>| one?.checked_mul(times?);
        match self {
            Core::Class(_) => (1, Some(1)),
            Core::Sequence(items) => items.iter().map(Core::lengths).fold((0, Some(0)), |sum, next| {
                (sum.0.saturating_add(next.0), sum.1.zip(next.1).and_then(|(sum, next)| sum.checked_add(next)))
            }),
            Core::Either(ways) => ways.iter().map(Core::lengths).fold((u32::MAX, Some(0)), |least, next| {
                (least.0.min(next.0), least.1.zip(next.1).map(|(most, next)| most.max(next)))
            }),
            Core::Repeat(what, least, most) => {
                let (shortest, longest) = what.lengths();
                (shortest.saturating_mul(*least), times(longest, *most))
            }
            Core::Optional(what) => (0, what.lengths().1),
        }
    }

    /// Whether a sampler can follow it: counts that the compiler takes, and few states at a time.
    fn is_cheap(&self) -> bool {
        self.counts_fit()
            && (self.states() <= STATES_MAX || (self.nodes() <= NODES_MAX && Places::of(self).are_plain()))
    }

    fn counts_fit(&self) -> bool {
        match self {
            Core::Class(_) => true,
            Core::Sequence(items) | Core::Either(items) => items.iter().all(Core::counts_fit),
            Core::Repeat(what, least, most) => {
                *least <= COUNT_MAX && most.is_none_or(|most| most <= COUNT_MAX) && what.counts_fit()
            }
            Core::Optional(what) => what.counts_fit(),
        }
    }

    /// Sets of characters when every count is written out: as many states a text can be in at most.
    fn states(&self) -> usize {
        match self {
            Core::Class(_) => 1,
            Core::Sequence(items) | Core::Either(items) => {
                items.iter().map(Core::states).fold(0, usize::saturating_add)
            }
            Core::Repeat(what, least, most) => {
                what.states().saturating_mul(most.map_or(*least as usize + 1, |most| most as usize))
            }
            Core::Optional(what) => what.states(),
        }
    }
}

/// The sets of characters of a pattern, and which of them can come after each, once for each way to get there.
struct Places<'a> {
    sets: Vec<&'a Class>,
    after: Vec<Vec<usize>>,
    first: Vec<usize>,
}

/// Where a part begins and ends.
struct Ends {
    first: Vec<usize>,
    last: Vec<usize>,
    may_be_empty: bool,
}

impl<'a> Places<'a> {
    fn of(core: &'a Core) -> Self {
        let mut places = Places { sets: Vec::new(), after: Vec::new(), first: Vec::new() };
        places.first = places.add(core).first;
        places
    }

    fn add(&mut self, core: &'a Core) -> Ends {
        match core {
            // Too many are not looked at any more.
            Core::Class(_) if self.sets.len() > PLACES_MAX => {
                Ends { first: Vec::new(), last: Vec::new(), may_be_empty: false }
            }
            Core::Class(class) => {
                let place = self.sets.len();
                self.sets.push(class);
                self.after.push(Vec::new());
                Ends { first: vec![place], last: vec![place], may_be_empty: false }
            }
            Core::Sequence(items) => {
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
            Core::Either(ways) => {
                let mut all = Ends { first: Vec::new(), last: Vec::new(), may_be_empty: false };
                for way in ways {
                    let way = self.add(way);
                    all.first.extend(way.first);
                    all.last.extend(way.last);
                }
                all
            }
            Core::Repeat(what, ..) => {
                let ends = self.add(what);
                self.join(&ends.last, &ends.first);
                ends
            }
            Core::Optional(what) => Ends { may_be_empty: true, ..self.add(what) },
        }
    }

    fn join(&mut self, from: &[usize], to: &[usize]) {
        for place in from {
            self.after[*place].extend(to);
        }
    }

    /// Whether each character of a text decides alone where it goes on.
    fn are_plain(&self) -> bool {
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

// --- Writing --------------------------------------------------------------------------------------------------------

impl std::fmt::Display for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Core::Class(class) => match literal(class) {
                Some(letter) => f.write_char(letter),
                None => put_class(f, class),
            },
            Core::Sequence(items) => items.iter().try_for_each(|item| write!(f, "{item}")),
            Core::Either(ways) => {
                for (number, way) in ways.iter().enumerate() {
                    write!(f, "{}{way}", if number == 0 { '(' } else { '|' })?;
                }
                f.write_char(')')
            }
            Core::Repeat(what, least, most) => {
                put_atom(f, what)?;
                match (least, most) {
                    (1, None) => f.write_char('+'),
                    (least, None) => write!(f, "{{{least},}}"),
                    (least, Some(most)) => write!(f, "{{{least},{most}}}"),
                }
            }
            Core::Optional(what) => match &**what {
                Core::Repeat(what, 1, most) => {
                    put_atom(f, what)?;
                    match most {
                        None => f.write_char('*'),
                        Some(most) => write!(f, "{{0,{most}}}"),
                    }
                }
                other => {
                    put_atom(f, other)?;
                    f.write_char('?')
                }
            },
        }
    }
}

/// Something that a count can stand behind. The compiler would repeat the last letter of a literal only, or more of it.
fn put_atom(f: &mut std::fmt::Formatter<'_>, core: &Core) -> std::fmt::Result {
    match core {
        Core::Class(class) => put_class(f, class),
        Core::Either(_) => write!(f, "{core}"),
        other => write!(f, "({other})"),
    }
}

/// Letters that mean themselves both in the compiler's patterns and in the grammars that it makes.
fn literal(class: &Class) -> Option<char> {
    match (class.plain.ranges(), class.escapes.is_empty()) {
        ([(from, to)], true) if from == to => {
            char::from_u32(*from).filter(|c| c.is_ascii_alphanumeric() || " _:/@,=%-".contains(*c))
        }
        _ => None,
    }
}

fn put_class(f: &mut std::fmt::Formatter<'_>, class: &Class) -> std::fmt::Result {
    match (class.plain.is_empty(), class.escapes.is_empty()) {
        (false, true) => put_set(f, &class.plain),
        (true, _) => {
            f.write_str("([\\x5C]")?;
            put_set(f, &class.escapes)?;
            f.write_char(')')
        }
        (false, false) => {
            f.write_char('(')?;
            put_set(f, &class.plain)?;
            f.write_str("|[\\x5C]")?;
            put_set(f, &class.escapes)?;
            f.write_char(')')
        }
    }
}

fn put_set(f: &mut std::fmt::Formatter<'_>, chars: &Chars) -> std::fmt::Result {
    f.write_char('[')?;
    for (from, to) in chars.ranges() {
        put_char(f, *from)?;
        if to > from {
            if *to > from + 1 {
                f.write_char('-')?;
            }
            put_char(f, *to)?;
        }
    }
    f.write_char(']')
}

fn put_char(f: &mut std::fmt::Formatter<'_>, c: u32) -> std::fmt::Result {
    match char::from_u32(c) {
        Some(letter) if letter.is_ascii_alphanumeric() => f.write_char(letter),
        _ if c <= 0xFF => write!(f, "\\x{c:02X}"),
        _ if c <= 0xFFFF => write!(f, "\\u{c:04X}"),
        _ => write!(f, "\\U{c:08X}"),
    }
}

#[cfg(test)]
mod tests;
