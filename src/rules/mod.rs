//! The stages of a request and the rules about people. Each is described in one sentence, and none knows another.

pub mod accounts;
pub mod audit;
pub mod breaker;
pub mod export;
pub mod incident;
pub mod limits;
pub mod model_changes;
pub mod notices;
pub mod policy;
pub mod pulse;
pub mod quarantine;
pub mod queue;
pub mod retention;
pub mod routing;
pub mod tokens;
pub mod usage;
