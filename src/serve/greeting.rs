//! What the log says at the start: version, files, addresses, who is served, and whether the default model is there.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::base::clock::Timestamp;
use crate::config::Config;
use crate::host::findings::{
    Finding, FindingCode, HostFacts, RecordFacts, UpstreamFacts, bytes, findings, has_default_model,
};
use crate::host::machine::{Disk, Machine};
use crate::host::watch::Served;
use crate::http::host_view::{facts_of, record_facts};
use crate::serve::app::App;

/// How long the upstreams have for their first answer until the log says nothing of the default model.
const FIRST_ANSWERS_MAX: Duration = Duration::from_secs(15);
const FIRST_ANSWERS_LOOK: Duration = Duration::from_millis(100);

/// Logs what the gateway starts with.
pub fn starts(config: &Config) {
    let version = env!("CARGO_PKG_VERSION");
    let folder = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    // A folder that is not there yet has no disk.
    let disk = Disk::of(&config.data_dir);
    let free = disk.map(|disk| format!("; {} are free for its data", bytes(disk.free))).unwrap_or_default();
    info!(
        version,
        data_dir = %folder.display(),
        disk_free_bytes = disk.map(|disk| disk.free),
        "lan-gateway {version} starts{free}"
    );
    let file = config.file.as_ref().map(|file| file.display().to_string());
    let variables: Vec<&str> = config.keys.iter().filter_map(|key| key.source.variable()).collect();
    let variables = variables.join(" ");
    let read = match (&file, variables.as_str()) {
        (Some(_), "") => "the configuration was read from a file",
        (Some(_), _) => "the configuration was read from a file, and variables of the environment override it",
        (None, "") => "there is no configuration, so the defaults hold",
        (None, _) => "the configuration was read from the environment; there is no file",
    };
    info!(config.file = file, config.variables = variables, "{read}");
    let networks: Vec<String> = config.allow_networks.iter().map(ToString::to_string).collect();
    let (networks, zone) = (networks.join(" "), config.timezone.name());
    info!(
        allow_networks = networks,
        timezone = zone,
        "clients of these networks are served; a day ends at midnight in {zone}"
    );
    for upstream in &config.upstreams {
        info!(
            upstream.name = upstream.name,
            upstream.url = %upstream.url,
            slots = upstream.slots().total,
            "upstream `{}` is asked whether it answers",
            upstream.name
        );
    }
}

/// Logs the findings and the addresses, and prints the addresses.
pub async fn serves(app: &App, served: &Served) {
    let (config, settings) = (&app.config, app.store.settings().now());
    let (machine, (_, record)) = tokio::join!(app.watch.machine(config), record_facts(&app.store, &app.accounts));
    info!("files: {}", served.files.describe(&settings));
    // The upstreams are asked from now on; what comes of it is logged by the one who asks.
    let found = found(app, served, &machine, record, Vec::new());
    found.iter().for_each(tell);
    let mut lines = String::new();
    for url in served.urls() {
        info!(version = env!("CARGO_PKG_VERSION"), url, "listening on {url}");
        lines.push_str(&format!("listening on {url}\n"));
    }
    for (url, address) in served.urls().iter().zip(served.addresses()) {
        if let Some(lan) = lan_url(url, address) {
            info!(url = lan, "listening on every address of this host; other machines reach it at {lan}");
        }
    }
    // The log has it, too, so a closed standard output is no reason not to start.
    let _ = std::io::stdout().write_all(lines.as_bytes());
}

fn found(
    app: &App,
    served: &Served,
    machine: &Machine,
    record: RecordFacts,
    upstreams: Vec<UpstreamFacts>,
) -> Vec<Finding> {
    findings(&HostFacts {
        config: &app.config,
        settings: app.store.settings().now(),
        plain: served.plain,
        certificate: app.watch.certificate().map(Ok),
        machine,
        files: Some(served.files),
        upstreams,
        is_silent: false,
        record,
        database: None,
        backups: app.watch.backups.now(),
        now: Timestamp::now(),
    })
}

fn tell(found: &Finding) {
    warn!(finding.code = found.code.name(), remedy = found.remedy, "{}", found.message);
}

/// Says whether the default model is there, once each upstream was asked.
pub async fn tells_of_the_default_model(app: Arc<App>) {
    let config = &app.config;
    let asked = async {
        loop {
            let facts: Vec<UpstreamFacts> = app.stages.routing.seen().iter().map(facts_of).collect();
            if !facts.iter().any(|facts| matches!(facts, UpstreamFacts::Unknown)) {
                return facts;
            }
            tokio::time::sleep(FIRST_ANSWERS_LOOK).await;
        }
    };
    let Ok(facts) = tokio::time::timeout(FIRST_ANSWERS_MAX, asked).await else { return };
    let Some(served) = app.watch.served() else { return };
    let found = found(&app, &served, &Machine::default(), RecordFacts::default(), facts.clone());
    found.iter().filter(|found| found.code == FindingCode::ModelMissing).for_each(tell);
    for (upstream, facts) in config.upstreams.iter().zip(&facts) {
        if let UpstreamFacts::Up(models) = facts
            && has_default_model(config, upstream, models)
        {
            let model = config.default_model.as_str();
            info!(model, upstream.name = upstream.name, "upstream `{}` has the default model `{model}`", upstream.name);
        }
    }
}

/// Returns the URL by which other machines reach an address that stands for all of this host. `None`: it stands for one, or this
/// host is on no network.
fn lan_url(url: &str, address: SocketAddr) -> Option<String> {
    if !address.ip().is_unspecified() {
        return None;
    }
    let own = own_address()?;
    let scheme = url.split("://").next()?;
    Some(format!("{scheme}://{}", SocketAddr::new(own, address.port())))
}

/// Returns the address that this host has on its network. Connecting a datagram socket chooses it; nothing is sent.
fn own_address() -> Option<IpAddr> {
    const ANYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ANYWHERE).ok()?;
    socket.local_addr().ok().map(|own| own.ip()).filter(|own| !own.is_loopback() && !own.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_its_own_needs_no_other_and_that_of_all_keeps_its_port() {
        assert_eq!(lan_url("http://127.0.0.1:7000", "127.0.0.1:7000".parse().unwrap()), None);
        // A machine without a network has none.
        if let Some(url) = lan_url("https://0.0.0.0:7443", "0.0.0.0:7443".parse().unwrap()) {
            assert!(url.starts_with("https://") && url.ends_with(":7443") && !url.contains("0.0.0.0"), "{url}");
        }
    }
}
