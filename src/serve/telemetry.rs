//! Logs, to standard error. They contain no prompt, answer, password, token or address of a person.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use anyhow::Context;
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::fmt;

use crate::config::{Log, LogFormat};

/// Lines that may wait for whoever reads standard error; further ones are dropped and counted. A line has some hundred bytes.
const LINES_MAX: usize = 8_192;

/// The thread that writes the log. Dropping it writes what still waits, for a second at most.
pub struct LogWriter {
    dropped: ErrorCounter,
    _guard: WorkerGuard,
}

impl LogWriter {
    /// Returns what counts the lines that were dropped.
    pub fn dropped(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let dropped = self.dropped.clone();
        move || dropped.dropped_lines() as u64
    }
}

/// Starts to log. Lines are written by a thread of their own: a slow reader of the log must not hold up a worker.
pub fn init(config: &Log) -> anyhow::Result<LogWriter> {
    let filter = EnvFilter::try_new(with_silence(&config.level))
        .with_context(|| format!("`log.level` = `{}` is not a filter", config.level))?;
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).thread_name("log");
    let (lines, guard) = builder.finish(std::io::stderr());
    let dropped = lines.error_counter();
    let logs = fmt().with_env_filter(filter).with_writer(lines).with_target(false);
    // Tests may call this twice; the first call wins.
    let _ = match config.format {
        LogFormat::Text => logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    Ok(LogWriter { dropped, _guard: guard })
}

/// Adds to a filter that the parser of HTTP says nothing, unless the filter names it: it writes an error for each connection that
/// sends no HTTP, without its address and without a bound. `listeners` has a line for these.
fn with_silence(level: &str) -> String {
    const PARSER: &str = "actix_http";
    if level.contains(PARSER) { level.to_owned() } else { format!("{level},{PARSER}=off") }
}

/// A span with few fields around each request: no path, which may hold a name, and no header.
pub struct QuietSpan;

impl RootSpanBuilder for QuietSpan {
    fn on_request_start(_: &ServiceRequest) -> Span {
        Span::none()
    }

    fn on_request_end<B: MessageBody>(_: Span, _: &Result<ServiceResponse<B>, Error>) {}
}
