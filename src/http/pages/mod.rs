//! The control plane: pages that the gateway itself serves. They are rendered here, and call the same verbs as the API.
//!
//! A page is a handler in one of the files for a group of pages, a template, and a line in that file's `ROUTES`. Extractors of
//! `visit` say who may see it, as those of `callers` do for the API; `posted` reads forms. A handler returns a `Fault` for
//! whatever it can't show, and `dress` makes a page of that.

pub mod around;
pub mod assets;
pub mod charts;
pub mod check;
pub mod door;
pub mod dress;
pub mod fault;
pub mod filters;
pub mod form_fields;
pub mod format;
pub mod frame;
#[cfg(test)]
mod gallery;
pub mod icons;
pub mod in_queue;
pub mod incident_file;
pub mod incident_page;
pub mod layout;
pub mod live;
pub mod markup;
pub mod models_page;
pub mod overview;
pub mod own;
pub mod people;
pub mod posted;
pub mod problem;
pub mod queue_page;
pub mod record_page;
pub mod route;
pub mod routes;
pub mod settings_page;
pub mod setup;
pub mod tokens;
pub mod usage_page;
pub mod visible;
pub mod visit;
pub mod words;
