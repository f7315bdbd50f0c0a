//! The list of models in Anthropic's format, in pages.

use serde::Serialize;
use utoipa::ToSchema;

use crate::base::error::Error;
use crate::dialect::{Head, Lookup, Reply, models, wire};
use crate::model::catalog::ModelCard;

pub const LOOKUP: Lookup = Lookup { name: models::name, found };

/// Anthropic's own sizes of a page.
const PAGE_DEFAULT: usize = 20;
const PAGE_MAX: usize = 1000;

pub fn list(head: &dyn Head, cards: &[ModelCard]) -> Result<Reply, Error> {
    let (page, has_more) = Page::read(head.query())?.of(cards)?;
    let data: Vec<_> = page.iter().map(AnthropicModel::of).collect();
    let id = |card: Option<&ModelCard>| card.map(|card| card.name.as_str().to_owned());
    Ok(wire::json_reply(&AnthropicModels { data, has_more, first_id: id(page.first()), last_id: id(page.last()) }))
}

fn found(_: &dyn Head, card: &ModelCard) -> Result<Reply, Error> {
    Ok(wire::json_reply(&AnthropicModel::of(card)))
}

/// A page of the list of models, for clients that send the header `anthropic-version`.
#[derive(Serialize, ToSchema)]
pub struct AnthropicModels {
    data: Vec<AnthropicModel>,
    /// There are more in the direction in which the pages are read.
    has_more: bool,
    #[schema(required = true)]
    first_id: Option<String>,
    #[schema(required = true)]
    last_id: Option<String>,
}

/// A model, for clients that send the header `anthropic-version`.
#[derive(Serialize, ToSchema)]
pub struct AnthropicModel {
    #[schema(example = "model")]
    r#type: &'static str,
    #[schema(example = "llama3.2:latest")]
    id: String,
    #[schema(example = "llama3.2:latest")]
    display_name: String,
    /// RFC 3339.
    #[schema(example = "2026-01-01T00:00:00Z")]
    created_at: String,
}

impl AnthropicModel {
    fn of(card: &ModelCard) -> Self {
        let id = card.name.as_str().to_owned();
        AnthropicModel { r#type: "model", display_name: id.clone(), id, created_at: card.modified_at.rfc3339() }
    }
}

/// The part of the list that a client asks for.
#[derive(Debug)]
struct Page {
    limit: usize,
    edge: Edge,
}

#[derive(Debug)]
enum Edge {
    Start,
    After(String),
    Before(String),
}

impl Page {
    /// Reads the query. Other parameters in it have no effect.
    fn read(query: &str) -> Result<Page, Error> {
        let (mut limit, mut after, mut before) = (PAGE_DEFAULT, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "limit" => limit = read_limit(&value)?,
                "after_id" => after = Some(value.into_owned()),
                "before_id" => before = Some(value.into_owned()),
                _ => {}
            }
        }
        let edge = match (after, before) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("before_id", "`before_id` and `after_id` are both there; send one of them"));
            }
            (Some(id), None) => Edge::After(id),
            (None, Some(id)) => Edge::Before(id),
            (None, None) => Edge::Start,
        };
        Ok(Page { limit, edge })
    }

    /// Returns these models, and whether there are more behind them, or before them if the pages are read backwards.
    fn of<'a>(&self, cards: &'a [ModelCard]) -> Result<(&'a [ModelCard], bool), Error> {
        let place = |field: &str, id: &str| {
            let found = cards.iter().position(|card| card.name.as_str() == id);
            found.ok_or_else(|| Error::invalid(field, format!("`{field}` names no model of this list")))
        };
        let start = match &self.edge {
            Edge::Start => 0,
            Edge::After(id) => place("after_id", id)? + 1,
            Edge::Before(id) => {
                let end = place("before_id", id)?;
                let start = end.saturating_sub(self.limit);
                return Ok((&cards[start..end], start > 0));
            }
        };
        let end = start.saturating_add(self.limit).min(cards.len());
        Ok((&cards[start..end], end < cards.len()))
    }
}

fn read_limit(text: &str) -> Result<usize, Error> {
    let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    limit.ok_or_else(|| Error::invalid("limit", format!("`limit` must be from 1 to {PAGE_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::model::model_name::ModelName;

    /// The names on the page of a query, and whether there are more.
    fn page(query: &str) -> Result<(String, bool), Error> {
        let card = |name: &str| ModelCard {
            name: ModelName::parse(name).unwrap(),
            canonical: name.into(),
            modified_at: Timestamp(0),
            skills: None,
            bytes: None,
            details: Default::default(),
        };
        let cards: Vec<_> = ["a", "b:1", "c", "d"].map(card).into();
        let (page, has_more) = Page::read(query)?.of(&cards)?;
        Ok((page.iter().map(|card| card.name.as_str()).collect::<Vec<_>>().join(" "), has_more))
    }

    #[test]
    fn pages_are_read_forwards_and_backwards() {
        for (query, names, has_more) in [
            ("", "a b:1 c d", false),
            ("limit=1000&beta=true", "a b:1 c d", false),
            ("limit=4", "a b:1 c d", false),
            ("limit=3", "a b:1 c", true),
            ("limit=2&after_id=b%3A1", "c d", false),
            ("limit=1&after_id=b:1", "c", true),
            ("after_id=d", "", false),
            ("limit=2&before_id=d", "b:1 c", true),
            ("limit=2&before_id=c", "a b:1", false),
            ("before_id=a", "", false),
        ] {
            assert_eq!(page(query).unwrap(), (names.to_owned(), has_more), "{query}");
        }
    }

    #[test]
    fn a_wrong_page_is_refused_by_name() {
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=-1", "limit"),
            ("limit=", "limit"),
            ("after_id=nope", "after_id"),
            ("before_id=", "before_id"),
            ("after_id=a&before_id=d", "before_id"),
        ] {
            assert_eq!(page(query).unwrap_err().field(), Some(field), "{query}");
        }
    }
}
