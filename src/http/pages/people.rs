//! People: the list, a person, and what admins do about them.

pub mod acts;
mod left;
pub mod list;
pub mod person;
mod shown;
