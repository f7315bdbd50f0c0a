//! `lan-gateway doctor`: checks what operators usually ask about, and says what to do.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::text::visible;
use crate::cli::socket::Socket;
use crate::config::{Config, Origin, UpstreamSlots};
use crate::host::backups::BackupFacts;
use crate::host::certificate::{CertificateFacts, OwnCertificate};
use crate::host::files::OpenFiles;
use crate::host::findings::{FindingCode, HostFacts, RecordFacts, bytes, findings, why_down};
use crate::host::machine::Machine;
use crate::http::host_view::HostWarning;
use crate::model::provider_kind::ProviderKind;
use crate::serve::server;
use crate::serve::socket::{SOCKET, is_answered};
use crate::store::{self, FILE};
use crate::upstream::UpstreamClient;

#[derive(Args)]
pub struct DoctorCommand {
    /// Read the whole database and look for damage (SQLite's quick_check), whether or not the gateway runs. Takes about a
    /// second for each 100 MiB; the gateway keeps answering meanwhile, and contents of deleted people are erased later
    #[arg(long)]
    deep: bool,
}

/// Interval of progress messages.
const PROGRESS: Duration = Duration::from_secs(5);

/// How long the running gateway may take to tell what it knows.
const GATEWAY_WAIT_MAX: Duration = Duration::from_secs(10);

/// Prints what was looked at and the findings; returns `false` if something is wrong.
pub async fn run(config: &Config, origin: &Origin, command: &DoctorCommand) -> bool {
    let files = OpenFiles::raised(config, server::workers(config));
    println!("configuration  good; {origin}");
    println!("listens on     {}", listens(config));
    println!("data folder    {}", data_folder(&config.data_dir));
    // A service may have another limit, which its log and the running gateway tell.
    println!("files          {}", files.describe(&config.settings));
    let whole = !command.deep || check_database(&config.data_dir).await;
    let backups = look_at_backups(config);
    let machine = Machine::look(&config.data_dir);
    let down = ask_upstreams(config, &machine).await;
    let certificate = certificate(config);
    let facts = HostFacts {
        config,
        settings: config.settings,
        plain: config.plain_listen(),
        certificate: certificate.clone().unwrap_or_default(),
        machine: &machine,
        files: Some(files),
        down,
        record: RecordFacts::default(),
        backups,
        now: Timestamp::now(),
    };
    let own: Vec<HostWarning> = findings(&facts).into_iter().map(HostWarning::from).collect();
    let warnings = with_those_of_the_gateway(own, asked_gateway(config).await);
    print_warnings(&warnings);
    whole && certificate.is_ok() && !warnings.iter().any(is_failure)
}

fn listens(config: &Config) -> String {
    let plain = config.plain_listen().map(|address| format!("http://{address}"));
    let tls = config.tls.served().map(|address| format!("https://{address}"));
    plain.into_iter().chain(tls).collect::<Vec<_>>().join(" and ")
}

/// Reads the certificate, if there is one, or tells why the gateway could not start with it.
fn certificate(config: &Config) -> Result<Option<CertificateFacts>, ()> {
    let own = config.tls.files.as_ref().map(OwnCertificate::read).transpose();
    own.map(|own| own.map(|own| own.facts)).map_err(|cause| println!("certificate    {cause:#}"))
}

/// Asks the gateway that runs on the data folder for its warnings. `None`: none runs, or none that this user may ask.
async fn asked_gateway(config: &Config) -> Option<Vec<HostWarning>> {
    if !is_answered(&config.data_dir).ok()? {
        return None;
    }
    let socket = Socket::at(&config.data_dir.join(SOCKET));
    let reply = tokio::time::timeout(GATEWAY_WAIT_MAX, socket.ask("GET", "/api/v1/host", None)).await.ok()?.ok()?;
    let view: Value = serde_json::from_slice(&reply.body).ok()?;
    let text = |warning: &Value, field: &str| warning[field].as_str().map(str::to_owned);
    let warning = |warning: &Value| {
        let code = FindingCode::ALL.iter().find(|code| warning["code"] == code.name())?.name();
        Some(HostWarning { code, message: text(warning, "message")?, remedy: text(warning, "remedy")? })
    };
    Some(view["warnings"].as_array()?.iter().filter_map(warning).collect())
}

/// Adds what only the running gateway knows. Its limit of open files counts, not that of this shell.
fn with_those_of_the_gateway(own: Vec<HostWarning>, gateway: Option<Vec<HostWarning>>) -> Vec<HostWarning> {
    let Some(gateway) = gateway else { return own };
    // It also knows the room inside the database.
    let of_gateway_alone = |code| [FindingCode::FewFiles, FindingCode::DiskFull].iter().any(|own| own.name() == code);
    let mut all: Vec<HostWarning> = own.into_iter().filter(|warning| !of_gateway_alone(warning.code)).collect();
    // The upstreams were asked a moment ago, so what the gateway saw before is old.
    let is_known = |all: &[HostWarning], code| {
        code == FindingCode::UpstreamDown.name() || all.iter().any(|warning| warning.code == code)
    };
    let new: Vec<HostWarning> = gateway.into_iter().filter(|warning| !is_known(&all, warning.code)).collect();
    all.extend(new);
    all
}

fn is_failure(warning: &HostWarning) -> bool {
    FindingCode::ALL.iter().any(|code| code.name() == warning.code && code.is_failure())
}

fn print_warnings(warnings: &[HostWarning]) {
    println!();
    if warnings.is_empty() {
        println!("warnings       none");
    }
    for HostWarning { code, message, remedy } in warnings {
        println!("{code:<19} {}", visible(message));
        println!("{:19} {}", "", visible(remedy));
    }
}

/// Reads the whole database; returns `false` if it is damaged or can't be read.
async fn check_database(folder: &Path) -> bool {
    let file = folder.join(FILE);
    if !file.exists() {
        println!("database       there is none to look at");
        return true;
    }
    let begun = Instant::now();
    let mut check = tokio::task::spawn_blocking(move || store::quick_check(&file));
    let checked = loop {
        match tokio::time::timeout(PROGRESS, &mut check).await {
            Ok(checked) => break checked,
            Err(_) => eprintln!("database       still reading, {} s", begun.elapsed().as_secs()),
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    match checked.map_err(anyhow::Error::from).flatten() {
        Ok(damage) if damage.is_empty() => {
            println!("database       whole: quick_check found nothing, in {seconds:.1} s");
            true
        }
        Ok(damage) => {
            println!("database       DAMAGED: stop the gateway, keep a copy, restore a backup. quick_check found:");
            damage.iter().for_each(|line| println!("               {line}"));
            false
        }
        Err(cause) => {
            println!("database       can't be checked, which may be damage: {cause:#}");
            false
        }
    }
}

/// Asks each upstream for its models, and explains its slots; returns the errors of those that are down.
async fn ask_upstreams(config: &Config, machine: &Machine) -> Vec<Option<String>> {
    let client = UpstreamClient::new(config);
    let mut down = Vec::new();
    for (id, upstream) in client.all().zip(&config.upstreams) {
        let models = client.models(id).await;
        println!("\nupstream `{}`   {}: {}", upstream.name, upstream.url, answers(&models.as_ref().map(Vec::len)));
        // Other kinds of upstreams have none to explain.
        if upstream.kind() == ProviderKind::Ollama {
            println!("{}", about_slots(upstream.slots(), machine.parallel.filter(|_| upstream.url.is_loopback())));
        }
        down.push(models.err().map(|error| why_down(&error)));
    }
    down
}

/// Looks into the folder of the scheduled backups, and prints what is there.
fn look_at_backups(config: &Config) -> BackupFacts {
    let schedule = config.backup.schedule.as_ref();
    let facts = BackupFacts::look(schedule.map(|schedule| schedule.folder.as_path()));
    let told = match (schedule, &facts.newest) {
        (None, _) => "none are scheduled; `backup.folder` names a folder for them".to_owned(),
        (Some(schedule), None) => format!("none in {}", schedule.folder.display()),
        (Some(schedule), Some(newest)) => {
            format!("the newest in {} is {}, {}", schedule.folder.display(), newest.file, bytes(newest.bytes))
        }
    };
    println!("backups        {told}");
    facts
}

fn data_folder(folder: &Path) -> String {
    let shown = folder.display();
    match std::fs::metadata(folder.join(FILE)) {
        Err(_) => format!("{shown} has no database yet; the first `lan-gateway serve` makes it"),
        Ok(file) => {
            let runs = std::os::unix::net::UnixStream::connect(folder.join(SOCKET)).is_ok();
            let runs = if runs { "a gateway runs on it" } else { "no gateway runs on it, or none that you may ask" };
            format!("{shown}, {:.1} MiB; {runs}", file.len() as f64 / f64::from(1 << 20))
        }
    }
}

fn answers(models: &Result<usize, &Error>) -> String {
    match models {
        Ok(0) => "it answers, and has no model; `ollama pull llama3.2` fetches one".to_owned(),
        Ok(models) => format!("it answers, with {models} models"),
        Err(error) => format!("down: {}", why_down(error)),
    }
}

/// Explains the slots, since no API of Ollama tells how many requests it runs at once.
fn about_slots(slots: UpstreamSlots, parallel: Option<usize>) -> String {
    let UpstreamSlots { total, per_model, .. } = slots;
    let own = per_model.min(total);
    let mut text = format!(
        "  slots {total}, of these {own} for one model: requests that are sent there at the same time. Others wait in the\n  \
         gateway's fair queue. They should be what Ollama runs at once for a model: OLLAMA_NUM_PARALLEL, 1 by default;\n  \
         Ollama has no API that shows it. With more slots, requests wait inside Ollama, first come, first served; with\n  \
         fewer, Ollama is idle while requests wait."
    );
    if let Some(parallel) = parallel.filter(|parallel| *parallel == own) {
        text += &format!("\n  The Ollama that runs on this host has OLLAMA_NUM_PARALLEL={parallel}, which fits.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_that_fit_are_told() {
        let slots = |total, per_model| UpstreamSlots { total, per_model, models_loaded: 1 };

        assert!(about_slots(slots(4, 1024), Some(4)).contains("which fits"));
        assert!(about_slots(slots(4, 2), Some(2)).contains("which fits"), "what one model gets is what counts");
        assert!(!about_slots(slots(1, 1024), Some(4)).contains("which fits"));
        assert!(!about_slots(slots(1, 1024), None).contains("which fits"));
    }

    #[test]
    fn the_running_gateway_adds_what_it_alone_knows() {
        let warning = |code: FindingCode, message: &str| HostWarning {
            code: code.name(),
            message: message.to_owned(),
            remedy: String::new(),
        };
        let own = vec![
            warning(FindingCode::UpstreamDown, "asked now"),
            warning(FindingCode::DiskLow, "5 bytes"),
            warning(FindingCode::FewFiles, "of the shell"),
        ];
        let gateway = vec![
            warning(FindingCode::CannotRecord, "it can't"),
            warning(FindingCode::UpstreamDown, "seen before"),
            warning(FindingCode::DiskLow, "6 bytes"),
        ];

        assert_eq!(with_those_of_the_gateway(own.clone(), None), own);
        let told: Vec<_> =
            with_those_of_the_gateway(own, Some(gateway)).into_iter().map(|warning| warning.message).collect();

        assert_eq!(told, ["asked now", "5 bytes", "it can't"]);
    }
}
