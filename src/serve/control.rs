//! The API on a Unix socket that only the service's user can open, for the command line.

use std::path::PathBuf;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App as ActixApp, HttpServer};
use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::base::error::chain;
use crate::http::stamp::stamp;
use crate::http::{host, idle_reader};
use crate::serve::app::App;
use crate::serve::parts::Parts;
use crate::serve::socket;

/// The service behind the control socket, until it is stopped.
pub struct Control {
    path: PathBuf,
    handle: ServerHandle,
    served: JoinHandle<()>,
    ended: CancellationToken,
}

impl Control {
    /// Serves `app` at the socket `name` in its data folder.
    pub fn start(app: &App, name: &str) -> anyhow::Result<Control> {
        let path = app.config.data_dir.join(name);
        let listener = socket::listen(&path)?;
        let parts = Parts::of(app);
        let factory = move || {
            ActixApp::new().configure(|services| parts.install(services)).configure(host::mount).wrap(from_fn(stamp))
        };
        let server = HttpServer::new(factory)
            .on_connect(idle_reader::on_connect)
            // A command that is interrupted ends its request.
            .h1_allow_half_closed(false)
            .workers(1)
            .shutdown_timeout(1)
            .disable_signals()
            .listen_uds(listener)
            .context("can't serve the control socket")?
            .run();
        let (handle, ended) = (server.handle(), CancellationToken::new());
        let at_the_end = ended.clone().drop_guard();
        let served = tokio::task::spawn_local(async move {
            if let Err(cause) = server.await {
                warn!(cause = chain(&cause), "the control socket can't be served");
            }
            drop(at_the_end);
        });
        Ok(Control { path, handle, served, ended })
    }

    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Waits for the end of the service.
    pub fn ended(&self) -> impl Future<Output = ()> + use<> {
        self.ended.clone().cancelled_owned()
    }

    /// Ends the service and the requests that it is answering.
    pub async fn stop(self) {
        self.handle.stop(false).await;
        // If it panicked, it has ended, too.
        let _ = self.served.await;
        // Ignored: nothing depends on the socket being gone.
        let _ = std::fs::remove_file(&self.path);
    }
}
