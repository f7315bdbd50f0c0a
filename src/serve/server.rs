//! The HTTP server: sockets, layers in order, workers, and a stop after which every request has its record.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_server::Server;
use actix_web::App as ActixApp;
use actix_web::middleware::from_fn;
use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use tracing_actix_web::TracingLogger;

use crate::base::clock::Timestamp;
use crate::config::Config;
use crate::host::files::{self, OpenFiles};
use crate::host::machine::host_name;
use crate::host::watch::Served;
use crate::http;
use crate::http::address_quotas::AddressQuotas;
use crate::http::connections::Connections;
use crate::http::stamp::stamp;
use crate::serve::app::App;
use crate::serve::chain;
use crate::serve::control::Control;
use crate::serve::greeting;
use crate::serve::listeners::{ServedApp, listen};
use crate::serve::metrics_server::MetricsServer;
use crate::serve::notices;
use crate::serve::parts::Parts;
use crate::serve::socket;
use crate::serve::systemd;
use crate::serve::telemetry::QuietSpan;
use crate::serve::tls::Certificates;
use crate::serve::upkeep;

/// Bounds of the time that closed answers have for their last bytes; see `last_bytes`.
const LAST_BYTES_MIN: Duration = Duration::from_millis(500);
const LAST_BYTES_MAX: Duration = Duration::from_secs(2);

/// How long unread answers may take to hand over their rows, once they were told to.
const ROWS_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long data in memory may take to reach the disk.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(30);

pub async fn run(app: App) -> anyhow::Result<()> {
    let app = Arc::new(app);
    let config = app.config.clone();
    // From here on SIGHUP, which a closed terminal sends, too, doesn't end the gateway.
    let hangup = signal(SignalKind::hangup()).context("can't catch SIGHUP")?;
    let certificates = config.tls.files.clone().map(|files| Certificates::read(files, app.watch.clone()));
    let certificates = certificates.transpose()?.map(Arc::new);
    if let Some(certificates) = certificates.clone() {
        app.metrics.watch_certificate(move || certificates.valid_until());
    }
    let plain = config.plain_listen().map(|address| listen("listen", address)).transpose()?;
    let tls = config.tls.served().map(|address| listen("tls.listen", address)).transpose()?;
    let workers = workers(&config);
    let files = OpenFiles::raised(&config, workers);
    let room = files.room;
    let address = |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
    let serves = Served { since: Timestamp::now(), plain: address(&plain)?, tls: address(&tls)?, files };
    app.watch.serves(serves);
    app.notices.served_at(link_base(&serves));
    let control = Control::start(&app, socket::SOCKET)?;
    let monitoring = MetricsServer::start(&app)?;
    let Some(quotas) = AddressQuotas::new(config.limits.address_requests_per_minute) else {
        bail!("`limits.address_requests_per_minute` can't be made into a quota");
    };
    let parts = Parts::of(&app);
    let mounted = quotas.clone();
    let factory = move || {
        ActixApp::new()
            .configure(|services| parts.install(services))
            .configure(|services| http::mount(services, &mounted))
            .wrap(from_fn(stamp))
            .wrap(TracingLogger::<QuietSpan>::new())
    };
    let builder = Server::build()
        .workers(workers)
        // Further ones wait in the kernel: every accepted connection uses a file, even if it is closed at once.
        .max_concurrent_connections((room + files::PASSING).div_ceil(workers))
        .worker_max_blocking_threads(16)
        .shutdown_timeout((config.stop_seconds_max + LAST_BYTES_MAX + ROWS_WAIT_MAX).as_secs())
        .disable_signals();
    let connections = Connections::new(app.store.settings().clone(), room)
        .trusting(&config.trusted_proxies)
        .metered(app.metrics.metrics.connections.clone());
    let served = ServedApp::new(factory, connections, builder.graceful_shutdown_signal());
    let mut builder = builder;
    if let Some(listener) = plain {
        builder = served.plain(builder, listener).context("can't serve")?;
    }
    if let (Some(listener), Some(certificates)) = (tls, &certificates) {
        builder = served.tls(builder, listener, certificates.server_config()?).context("can't serve https")?;
    }
    let server = builder.run();

    let mut signals = Signals::catch().context("signals can't be caught")?;
    let hangups = tokio::task::spawn_local(reload(hangup, certificates));
    let background = upkeep::start(&app, quotas, control.ended());
    greeting::serves(&app, &serves).await;
    let model = tokio::task::spawn_local(greeting::tells_of_the_default_model(app.clone()));
    systemd::ready(&app, &serves);

    let handle = server.handle();
    tokio::pin!(server);
    let vitals = app.store.vitals();
    let ended = tokio::select! {
        served = &mut server => {
            vitals.fail(format!("the server ended{}", served.err().map(|cause| format!(": {cause}")).unwrap_or_default()));
            true
        }
        () = signals.stop() => false,
        _ = vitals.failed() => false,
    };
    vitals.may_end();
    systemd::stopping(
        config.stop_seconds_max + LAST_BYTES_MAX + ROWS_WAIT_MAX + chain::FINISH_WAIT_MAX + CLOSE_WAIT_MAX,
    );
    app.stages.stopping.cancel();
    if !ended {
        drain(&app, async { tokio::join!(server, handle.stop(true)) }, &mut signals).await;
    }
    if vitals.reason().is_some() {
        notices::last_notices(&app).await;
    }
    background.stop();
    control.stop().await;
    monitoring.stop().await;
    hangups.abort();
    model.abort();
    close(&app).await;
    match vitals.reason() {
        Some(reason) => bail!("{reason}"),
        None => info!("stopped"),
    }
    Ok(())
}

/// Refuses new requests and lets answers finish, then closes the rest with a record and lets their readers take the last bytes,
/// all of it within the time limit. A reader who doesn't read doesn't delay the stop.
async fn drain<T>(app: &App, stopped: impl Future<Output = T>, signals: &mut Signals) {
    tokio::pin!(stopped);
    let (vitals, stages) = (app.store.vitals(), &app.stages);
    let last_bytes = last_bytes(app.config.stop_seconds_max);
    let for_answers = app.config.stop_seconds_max.saturating_sub(last_bytes);
    if vitals.reason().is_none() {
        info!("stopping: no new work; answers may take {} s more", for_answers.as_secs_f32());
    }
    tokio::select! {
        biased;
        _ = vitals.failed() => {}
        _ = &mut stopped => return,
        () = tokio::time::sleep(for_answers) => info!("the time is over; closing the answers that still run"),
        () = signals.stop() => info!("a second signal; closing the answers that still run"),
    }
    stages.stop_now.cancel();
    if tokio::time::timeout(last_bytes, stopped).await.is_ok() {
        return;
    }
    stages.readers_over.cancel();
    stages.pumps.close();
    match tokio::time::timeout(ROWS_WAIT_MAX, stages.pumps.wait()).await {
        Ok(()) => info!("closing the connections that are still open"),
        Err(_) => {
            warn!(answers = stages.pumps.len(), "some answers are left for the next start to record as interrupted")
        }
    }
}

/// Returns where links lead from outside: the name of this host, with https where it is served.
fn link_base(serves: &Served) -> String {
    let (scheme, address) = match (serves.tls, serves.plain) {
        (Some(tls), _) => ("https", Some(tls)),
        (None, plain) => ("http", plain),
    };
    let port = address.map(|address| format!(":{}", address.port())).unwrap_or_default();
    format!("{scheme}://{}{port}", host_name())
}

/// Returns how much of the time for a stop is left for the last bytes of answers that were closed: a quarter, within bounds.
fn last_bytes(stop_max: Duration) -> Duration {
    (stop_max / 4).clamp(LAST_BYTES_MIN, LAST_BYTES_MAX)
}

/// Ends the chain, then closes the app on a detached thread: a disk that hangs must not keep the process alive.
async fn close(app: &Arc<App>) {
    app.write_what_waits();
    chain::finish(app).await;
    let (closed, wait) = tokio::sync::oneshot::channel();
    let closing = app.clone();
    std::thread::spawn(move || {
        closing.close();
        // The receiver may have given up.
        let _ = closed.send(());
    });
    match tokio::time::timeout(CLOSE_WAIT_MAX, wait).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => app.store.vitals().fail("closing the record panicked"),
        Err(_) => app.store.vitals().fail("the disk did not take the end of the record in time"),
    }
}

/// Reads the certificate again at each SIGHUP. Runs until it is aborted.
async fn reload(mut hangup: Signal, certificates: Option<Arc<Certificates>>) {
    while hangup.recv().await.is_some() {
        match &certificates {
            Some(certificates) => certificates.read_again().await,
            None => {
                info!("SIGHUP was ignored: nothing is reloaded; restart the gateway to read its configuration again")
            }
        }
    }
}

/// Signals that stop the gateway.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Returns the number of threads that serve connections.
pub fn workers(config: &Config) -> usize {
    match config.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        workers => workers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_a_stop_is_for_last_bytes_but_at_least_some_and_at_most_enough() {
        let shares = [0, 1, 2, 3, 4, 8, 9, 3600].map(|seconds| last_bytes(Duration::from_secs(seconds)).as_millis());

        assert_eq!(shares, [500, 500, 500, 750, 1000, 2000, 2000, 2000]);
    }
}
