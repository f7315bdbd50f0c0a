//! The HTTP server: sockets, layers in order, workers, and a stop that leaves nobody without a record.

use std::any::Any;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App as ActixApp, HttpServer, web};
use anyhow::{Context, bail};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};
use tracing_actix_web::TracingLogger;

use crate::app::App;
use crate::control::Verbs;
use crate::gateway::Gateway;
use crate::http::guard::{AddressQuotas, Connections, Networks, stamp};
use crate::http::hosts::{CameTo, Hosts};
use crate::telemetry::QuietSpan;
use crate::upstream::{Host, Upstream};
use crate::{control, http, upkeep};

/// How long the kernel keeps a connection whose peer takes nothing. Without it a client that never reads is never noticed.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

const BACKLOG: i32 = 1024;

/// After the running answers were closed, how long their last bytes may take.
const LAST_BYTES: Duration = Duration::from_secs(5);

pub async fn run(app: App) -> anyhow::Result<()> {
    let app = Arc::new(app);
    let config = app.config.clone();
    let listener = listen(config.listen)?;
    let address = listener.local_addr()?;
    let control = control::listen(&config.data_dir)?;
    let Some(quotas) = AddressQuotas::new(config.limits.address_requests_per_minute) else {
        bail!("`limits.address_requests_per_minute` can't be made into a quota");
    };
    let connections = Connections::new(app.store.settings().clone());
    let shared = Shared {
        auth: web::Data::from(app.auth.clone()),
        accounts: web::Data::from(app.accounts.clone()),
        tokens: web::Data::from(app.tokens.clone()),
        exports: web::Data::from(app.exports.clone()),
        config: web::Data::from(config.clone()),
        store: web::Data::new(app.store.clone()),
        settings: web::Data::new(app.store.settings().clone()),
        networks: web::Data::new(Networks(config.allow_networks.clone())),
        hosts: web::Data::new(Hosts::of_this_machine(&config.allowed_hosts)),
    };
    let stages = app.stages.clone();
    let mounted = quotas.clone();
    let factory = move || {
        let hosts = config.upstreams.iter().map(Host::new).collect();
        let gateway = Gateway::new(stages.clone(), Upstream::new(hosts, config.upstream.clone()));
        ActixApp::new()
            .app_data(shared.auth.clone())
            .app_data(shared.accounts.clone())
            .app_data(shared.tokens.clone())
            .app_data(shared.exports.clone())
            .app_data(shared.config.clone())
            .app_data(shared.store.clone())
            .app_data(shared.settings.clone())
            .app_data(shared.networks.clone())
            .app_data(shared.hosts.clone())
            .app_data(web::Data::new(gateway))
            .configure(|services| http::mount(services, &mounted))
            .wrap(from_fn(stamp))
            .wrap(TracingLogger::<QuietSpan>::new())
    };
    let workers = match app.config.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        workers => workers,
    };
    let server = HttpServer::new(factory)
        // A client that hangs up ends its request, at any await.
        .h1_allow_half_closed(false)
        .on_connect(move |connection, data| admit(&connections, connection, data))
        .workers(workers)
        .worker_max_blocking_threads(16)
        .shutdown_timeout((app.config.stop_seconds_max + LAST_BYTES + LAST_BYTES).as_secs())
        .disable_signals()
        .listen(listener)
        .context("can't serve")?
        .run();

    let beside = tokio::task::spawn_local(upkeep::run(app.clone(), quotas));
    let following = tokio::task::spawn_local(upkeep::follow(app.clone()));
    let indexing = tokio::task::spawn_local(upkeep::index(app.clone()));
    let erasing = tokio::task::spawn_local(upkeep::erase(app.clone()));
    let talks = tokio::task::spawn_local(control::serve(
        control,
        Verbs {
            accounts: app.accounts.clone(),
            tokens: app.tokens.clone(),
            exports: app.exports.clone(),
            store: app.store.clone(),
        },
    ));
    let stopper = tokio::task::spawn_local(stop_on_signal(app.clone(), server.handle()));
    greet(&app, address);

    let served = server.await.context("the server failed");
    let lost_sync = stopper.is_finished() && stopper.await.unwrap_or(true);
    beside.abort();
    following.abort();
    indexing.abort();
    erasing.abort();
    talks.abort();
    let closing = app.clone();
    tokio::task::spawn_blocking(move || closing.close()).await.context("closing failed")?;
    // Ignored: nothing depends on the socket being gone.
    let _ = std::fs::remove_file(app.config.data_dir.join(control::SOCKET));
    if lost_sync {
        bail!("the disk refused a sync, so what it holds is unknown; look at the disk, then start again");
    }
    info!("stopped");
    served
}

struct Shared {
    auth: web::Data<crate::auth::Auth>,
    accounts: web::Data<crate::accounts::Accounts>,
    tokens: web::Data<crate::tokens::Tokens>,
    exports: web::Data<crate::export::Exports>,
    config: web::Data<crate::config::Config>,
    store: web::Data<crate::store::Store>,
    settings: web::Data<crate::config::settings::Live>,
    networks: web::Data<Networks>,
    hosts: web::Data<Hosts>,
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let open = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // Accepted connections inherit both.
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().with_context(|| format!("can't listen on {address}; is another program there? `listen` chooses the address"))
}

/// Counts the connection with its address, or closes it at once; notes which of our addresses it came to.
fn admit(connections: &Connections, connection: &dyn Any, data: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
    let Ok(peer) = stream.peer_addr() else { return };
    if let Ok(ours) = stream.local_addr() {
        data.insert(CameTo(ours.ip()));
    }
    match connections.enter(peer.ip()) {
        Some(connected) => {
            data.insert(Arc::new(connected));
        }
        None => {
            // The peer sees a closed connection either way.
            let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Both);
        }
    }
}

fn greet(app: &App, address: SocketAddr) {
    upkeep::warn_of_open_upstreams(&app.config);
    if !address.ip().is_loopback() {
        warn!("this is plain HTTP: passwords and prompts can be read on the network between clients and this host");
    }
    if app.accounts.first_admin_waits() {
        warn!("the password of `admin` must be changed before anybody can be let in: POST /api/v1/password");
    }
    info!(version = env!("CARGO_PKG_VERSION"), "listening on http://{address}");
    println!("listening on http://{address}");
}

/// Refuses new work, lets answers end within the bound, closes the rest with a record. `true`: a sync had failed.
async fn stop_on_signal(app: Arc<App>, server: ServerHandle) -> bool {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        error!("signals can't be caught; stop the gateway with SIGKILL");
        return std::future::pending().await;
    };
    let sync_failed = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = app.store.sync_failed() => true,
    };
    info!("stopping: no new work; answers may take {} s more", app.config.stop_seconds_max.as_secs());
    app.stages.stopping.cancel();
    if sync_failed {
        app.stages.stop_now.cancel();
    }
    let stopped = server.stop(true);
    tokio::pin!(stopped);
    tokio::select! {
        () = &mut stopped => return sync_failed,
        () = tokio::time::sleep(app.config.stop_seconds_max) => info!("the time is over; closing the answers that still run"),
        _ = terminate.recv() => info!("a second signal; closing the answers that still run"),
        _ = interrupt.recv() => info!("a second signal; closing the answers that still run"),
    }
    app.stages.stop_now.cancel();
    stopped.await;
    sync_failed
}
