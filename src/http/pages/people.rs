//! People: the list, a person, and what admins do about them.

pub mod acts;
pub mod deletion;
pub mod exports;
pub mod history;
pub mod left;
pub mod limits;
mod limits_form;
pub mod list;
pub mod person;
pub mod reset;
pub mod shown;
pub mod tokens;
