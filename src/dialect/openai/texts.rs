//! A text or a list of texts, as embeddings and completions take it.

use serde::Deserialize;

/// Lists of token numbers are recognised, so that they can be refused by name.
#[derive(Deserialize)]
pub enum Texts {
    #[serde(rename = "a string")]
    One(String),
    #[serde(rename = "an array of strings")]
    Several(Vec<Item>),
}

#[derive(Deserialize)]
pub enum Item {
    #[serde(rename = "a string")]
    Text(String),
    #[serde(rename = "(a number)")]
    Token,
    #[serde(rename = "(an array)")]
    Tokens,
}

impl Texts {
    pub fn has_tokens(&self) -> bool {
        match self {
            Texts::One(_) => false,
            Texts::Several(items) => items.iter().any(|item| matches!(item, Item::Token | Item::Tokens)),
        }
    }
}

impl Item {
    pub fn text(self) -> Option<String> {
        match self {
            Item::Text(text) => Some(text),
            Item::Token | Item::Tokens => None,
        }
    }
}
