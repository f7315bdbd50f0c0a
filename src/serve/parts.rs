//! The parts that routes need, given to each server.

use std::sync::Arc;

use actix_web::web::{self, ServiceConfig};

use crate::auth::Auth;
use crate::config::Config;
use crate::config::settings::Live;
use crate::gateway::{Gateway, Stages};
use crate::host::watch::HostWatch;
use crate::http::entrance::Entrance;
use crate::http::metrics::MetricsText;
use crate::rules::accounts::Accounts;
use crate::rules::export::Exports;
use crate::rules::incident::IncidentDesk;
use crate::rules::limits::bodies::Bodies;
use crate::rules::notices::Notices;
use crate::rules::tokens::Tokens;
use crate::serve::alive::Loops;
use crate::serve::app::App;
use crate::store::Store;
use crate::upstream::UpstreamClient;

/// The parts of an app that its routes use, shared by all workers.
#[derive(Clone)]
pub struct Parts {
    auth: web::Data<Auth>,
    accounts: web::Data<Accounts>,
    tokens: web::Data<Tokens>,
    exports: web::Data<Exports>,
    incidents: web::Data<IncidentDesk>,
    notices: web::Data<Notices>,
    config: web::Data<Config>,
    store: web::Data<Store>,
    settings: web::Data<Live>,
    bodies: web::Data<Bodies>,
    entrance: web::Data<Entrance>,
    watch: web::Data<HostWatch>,
    loops: Loops,
    metrics: web::Data<MetricsText>,
    stages: Stages,
}

impl Parts {
    pub fn of(app: &App) -> Parts {
        let https_port = app.watch.served().and_then(|served| served.tls).map(|address| address.port());
        let config: &Arc<Config> = &app.config;
        Parts {
            auth: web::Data::from(app.auth.clone()),
            accounts: web::Data::from(app.accounts.clone()),
            tokens: web::Data::from(app.tokens.clone()),
            exports: web::Data::from(app.exports.clone()),
            incidents: web::Data::default(),
            notices: web::Data::from(app.notices.clone()),
            config: web::Data::from(config.clone()),
            store: web::Data::new(app.store.clone()),
            settings: web::Data::new(app.store.settings().clone()),
            bodies: web::Data::new(Bodies::new(app.store.settings().clone())),
            entrance: web::Data::new(Entrance::new(config, https_port)),
            watch: web::Data::from(app.watch.clone()),
            loops: app.loops.clone(),
            metrics: web::Data::from(app.metrics.clone()),
            stages: app.stages.clone(),
        }
    }

    /// Registers the parts with the services of one worker. Each worker has its own connections to the upstreams, and its loop
    /// is watched.
    pub fn install(&self, services: &mut ServiceConfig) {
        self.loops.watch_here();
        let gateway = Gateway::new(self.stages.clone(), UpstreamClient::new(&self.config));
        services
            .app_data(self.auth.clone())
            .app_data(self.accounts.clone())
            .app_data(self.tokens.clone())
            .app_data(self.exports.clone())
            .app_data(self.incidents.clone())
            .app_data(self.notices.clone())
            .app_data(self.config.clone())
            .app_data(self.store.clone())
            .app_data(self.settings.clone())
            .app_data(self.bodies.clone())
            .app_data(self.entrance.clone())
            .app_data(self.watch.clone())
            .app_data(self.metrics.clone())
            .app_data(web::Data::from(self.metrics.metrics.clone()))
            .app_data(web::Data::new(gateway));
    }
}
