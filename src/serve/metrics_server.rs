//! `GET /metrics` at an address of its own, without authentication, and nothing else there.

use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App as ActixApp, HttpResponse, HttpServer, web};
use anyhow::Context;
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::base::error::chain;
use crate::http::metrics::{MetricsText, show_to_all};
use crate::serve::app::App;

/// Connections at a time; further ones wait in the kernel. One or two programs for monitoring read metrics.
const CONNECTIONS_MAX: usize = 16;

/// How long a client may take to send the head of its request, and how long a connection without one stays open.
const HEAD_MAX: Duration = Duration::from_secs(5);
const IDLE_MAX: Duration = Duration::from_secs(90);

/// The service, if the configuration has an address for it.
pub struct MetricsServer(Option<(ServerHandle, JoinHandle<()>)>);

impl MetricsServer {
    pub fn start(app: &App) -> anyhow::Result<MetricsServer> {
        let Some(listen) = app.config.metrics.listen else { return Ok(MetricsServer(None)) };
        let text: web::Data<MetricsText> = web::Data::from(app.metrics.clone());
        let factory = move || {
            // An unknown path and another method are the same here: there is nothing else.
            ActixApp::new()
                .app_data(text.clone())
                .route("/metrics", web::get().to(show_to_all))
                .route("/metrics", web::route().to(HttpResponse::NotFound))
                .default_service(web::to(HttpResponse::NotFound))
        };
        let server = HttpServer::new(factory)
            .workers(1)
            .max_connections(CONNECTIONS_MAX)
            .client_request_timeout(HEAD_MAX)
            .client_disconnect_timeout(HEAD_MAX)
            .keep_alive(IDLE_MAX)
            .h1_allow_half_closed(false)
            .shutdown_timeout(1)
            .disable_signals()
            .bind(listen)
            .with_context(|| format!("can't listen on {listen}; `metrics.listen` chooses the address"))?;
        let address = server.addrs().first().copied().unwrap_or(listen);
        let server = server.run();
        info!("metrics are at http://{address}/metrics, without a sign-in");
        let handle = server.handle();
        let served = tokio::task::spawn_local(async move {
            // People are served without it.
            if let Err(cause) = server.await {
                error!(cause = chain(&cause), "metrics can't be served");
            }
        });
        Ok(MetricsServer(Some((handle, served))))
    }

    pub async fn stop(self) {
        let Some((handle, served)) = self.0 else { return };
        handle.stop(false).await;
        // If it panicked, it has ended, too.
        let _ = served.await;
    }
}
