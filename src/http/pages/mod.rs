//! The control plane: pages that the gateway itself serves. They are rendered here, and call the same verbs as the API.

pub mod charts;
pub mod filters;
pub mod format;
pub mod frame;
#[cfg(test)]
mod gallery;
pub mod icons;
pub mod layout;
pub mod markup;
pub mod visible;
pub mod words;
