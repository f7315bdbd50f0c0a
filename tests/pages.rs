//! The control plane from outside: one gateway per test, asked as a browser asks.

#[path = "support/mod.rs"]
mod support;

#[path = "pages/door.rs"]
mod door;
#[path = "pages/https.rs"]
mod https;
#[path = "pages/incident.rs"]
mod incident;
#[path = "pages/matrix.rs"]
mod matrix;
#[path = "pages/models.rs"]
mod models;
#[path = "pages/notices.rs"]
mod notices;
#[path = "pages/overview.rs"]
mod overview;
#[path = "pages/own.rs"]
mod own;
#[path = "pages/people.rs"]
mod people;
#[path = "pages/queue_page.rs"]
mod queue_page;
#[path = "pages/record.rs"]
mod record;
#[path = "pages/sessions.rs"]
mod sessions;
#[path = "pages/settings.rs"]
mod settings;
#[path = "pages/story.rs"]
mod story;
#[path = "pages/tokens.rs"]
mod tokens;
#[path = "pages/usage.rs"]
mod usage;
