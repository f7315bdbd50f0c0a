//! What callers and upstreams talk about, without any wire format.

pub mod catalog;
pub mod chain;
pub mod chat;
pub mod checkpoint;
pub mod commitment;
pub mod complete;
pub mod credential;
pub mod embed;
pub mod kept;
pub mod kept_notes;
pub mod manage;
pub mod model_name;
pub mod notice;
pub mod people;
pub mod provider_kind;
pub mod record;
pub mod rights;
pub mod runaway;
pub mod token;
pub mod too_long;
pub mod words;
pub mod work;
