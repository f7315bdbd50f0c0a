//! Removes the anchors of a pattern: without `^` and `$`, anything may be before and after it.

use crate::provider::ollama::grammar::chars::Chars;
use crate::provider::ollama::grammar::pattern::reader::Ast;

/// Returns a pattern for the whole string. A pattern matches anywhere in it, except at the anchors, which may be at the ends of
/// the whole pattern or of one alternative. `None`: there are anchors elsewhere.
pub fn whole_text(ast: Ast) -> Option<Ast> {
    let ways = match ast {
        Ast::Either(ways) => ways,
        other => vec![other],
    };
    let anything = || Ast::Repeat { what: Box::new(Ast::CharClass(Chars::any())), least: 0, most: None };
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
        Ast::CharClass(_) => false,
        Ast::Sequence(items) | Ast::Either(items) => items.iter().any(has_anchor),
        Ast::Repeat { what, .. } => has_anchor(what),
    }
}
