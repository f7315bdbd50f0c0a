//! Logs, to standard error. They contain no prompt, answer, password, token or address of a person.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use anyhow::Context;
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::fmt;

use crate::config::{Log, LogFormat};

pub fn init(config: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.level)
        .with_context(|| format!("`log.level` = `{}` is not a filter", config.level))?;
    let logs = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Tests may call this twice; the first call wins.
    let _ = match config.format {
        LogFormat::Text => logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    Ok(())
}

/// A span with few fields around each request: no path, which may hold a name, and no header.
pub struct QuietSpan;

impl RootSpanBuilder for QuietSpan {
    fn on_request_start(_: &ServiceRequest) -> Span {
        Span::none()
    }

    fn on_request_end<B: MessageBody>(_: Span, _: &Result<ServiceResponse<B>, Error>) {}
}
