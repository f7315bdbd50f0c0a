//! `lan-gateway doctor`: checks what operators usually ask about, and says what to do.

mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::base::clock::Timestamp;
use crate::base::text::visible;
use crate::cli::doctor::report::{
    CheckpointReport, DatabaseReport, DoctorFinding, DoctorReport, GatewayState, UpstreamReport,
};
use crate::cli::print_json;
use crate::cli::socket::Socket;
use crate::config::settings::Settings;
use crate::config::{Config, Origin};
use crate::host::backups::BackupFacts;
use crate::host::certificate::OwnCertificate;
use crate::host::files::OpenFiles;
use crate::host::findings::{FindingCode, HostFacts, RecordFacts, UpstreamFacts, findings, why_down};
use crate::host::machine::{HostPlaces, Machine};
use crate::model::model_name::ModelName;
use crate::serve::app::check_remains;
use crate::serve::server;
use crate::serve::socket::{SOCKET, is_answered};
use crate::store::look::{DatabaseLook, Unusable, look};
use crate::store::{self, FILE};
use crate::upstream::UpstreamClient;

#[derive(Args)]
#[command(
    after_help = "Exit code 0: nothing is wrong, or there are only hints. 1: something must be mended: the gateway does not \
    answer, the record can't be written, the database can't be used, the disk is full, an upstream is down, the default model is missing, the certificate \
    can't be used, `admin` still has the first password, others reach the upstream, the data folder or the configuration, or an \
    erasure or a backup is late. 2: the configuration is wrong.\n\nIt changes nothing. While a gateway runs on the data folder, \
    it is asked for what it knows; otherwise its database is read."
)]
pub struct DoctorCommand {
    /// Read the whole database and look for damage (SQLite's quick_check), whether or not the gateway runs. Takes about a
    /// second for each 100 MiB; the gateway keeps answering meanwhile, and contents of deleted people are erased later
    #[arg(long)]
    deep: bool,
    /// Print one JSON object, for scripts; docs/runbook.md lists its fields
    #[arg(long)]
    json: bool,
}

/// Interval of progress messages.
const PROGRESS: Duration = Duration::from_secs(5);

/// How long the running gateway may take to tell what it knows.
const GATEWAY_WAIT_MAX: Duration = Duration::from_secs(5);

/// Prints what was looked at and the findings; returns `false` if something must be mended.
pub async fn run(config: &Config, origin: &Origin, command: &DoctorCommand) -> anyhow::Result<bool> {
    let report = examine(config, origin, command.deep).await;
    match command.json {
        true => print_json(&report)?,
        false => report.lines().iter().for_each(|line| println!("{}", visible(line))),
    }
    Ok(report.ok)
}

async fn examine(config: &Config, origin: &Origin, deep: bool) -> DoctorReport {
    let files = OpenFiles::raised(config, server::workers(config));
    let (gateway, told) = ask_gateway(config).await;
    let database = look_at_database(config, gateway, deep).await;
    let schedule = config.backup.schedule.as_ref();
    let backups = BackupFacts::look(schedule.map(|schedule| schedule.folder.as_path()));
    let machine = Machine::look(&HostPlaces::of(config));
    let upstreams = ask_upstreams(config).await;
    let certificate = config.tls.files.as_ref().map(OwnCertificate::read);
    let settings = database.settings.unwrap_or(config.settings);
    let facts = HostFacts {
        config,
        settings,
        plain: config.plain_listen(),
        certificate: certificate.map(|read| read.map(|own| own.facts).map_err(|cause| format!("{cause:#}"))),
        machine: &machine,
        files: Some(files),
        upstreams: upstreams.clone(),
        is_silent: gateway == GatewayState::Silent,
        record: database.record,
        database: database.unusable,
        backups: backups.clone(),
        now: Timestamp::now(),
    };
    let own = findings(&facts).into_iter().map(DoctorFinding::from).collect();
    let findings = with_those_of_the_gateway(own, told);
    let parallel = machine.parallel;
    let upstreams = config.upstreams.iter().zip(upstreams);
    DoctorReport {
        version: env!("CARGO_PKG_VERSION"),
        ok: !findings.iter().any(|finding| finding.failure),
        configuration: origin.into(),
        listen: listens(config),
        data_folder: std::path::absolute(&config.data_dir)
            .unwrap_or_else(|_| config.data_dir.clone())
            .display()
            .to_string(),
        gateway,
        database: database.report,
        // A service may have another limit, which its log and the running gateway tell.
        open_files: files.describe(&settings),
        backups: describe_backups(config, &backups),
        default_model: config.default_model.as_str().to_owned(),
        upstreams: upstreams.map(|(upstream, facts)| UpstreamReport::of(upstream, facts, parallel)).collect(),
        findings,
    }
}

fn listens(config: &Config) -> Vec<String> {
    let plain = config.plain_listen().map(|address| format!("http://{address}"));
    plain.into_iter().chain(config.tls.served().map(|address| format!("https://{address}"))).collect()
}

/// Asks the gateway that runs on the data folder for its findings. `None`: none runs, or it does not tell.
async fn ask_gateway(config: &Config) -> (GatewayState, Option<Vec<DoctorFinding>>) {
    match is_answered(&config.data_dir) {
        Ok(true) => {}
        Ok(false) => return (GatewayState::Stopped, None),
        Err(_) => return (GatewayState::Unknown, None),
    }
    let socket = Socket::at(&config.data_dir.join(SOCKET));
    let asked = async {
        let reply = tokio::time::timeout(GATEWAY_WAIT_MAX, socket.ask("GET", "/api/v1/host", None)).await.ok()?.ok()?;
        let view: Value = serde_json::from_slice(&reply.body).ok()?;
        let text = |warning: &Value, field: &str| warning[field].as_str().map(str::to_owned);
        let told = |warning: &Value| {
            let code = FindingCode::named(warning["code"].as_str()?)?;
            Some(DoctorFinding::new(code, text(warning, "message")?, text(warning, "remedy")?))
        };
        Some(view["warnings"].as_array()?.iter().filter_map(told).collect())
    };
    match asked.await {
        Some(told) => (GatewayState::Running, Some(told)),
        None => (GatewayState::Silent, None),
    }
}

/// Adds what only the running gateway knows. Its limit of open files counts, not that of this shell.
fn with_those_of_the_gateway(own: Vec<DoctorFinding>, gateway: Option<Vec<DoctorFinding>>) -> Vec<DoctorFinding> {
    let Some(gateway) = gateway else { return own };
    // It also knows the room inside the database.
    let of_gateway_alone = |code: FindingCode| [FindingCode::FewFiles, FindingCode::DiskFull].contains(&code);
    let mut all: Vec<DoctorFinding> = own.into_iter().filter(|finding| !of_gateway_alone(finding.kind)).collect();
    // The upstreams were asked a moment ago, so what the gateway saw before is old.
    let is_old = |code: FindingCode| [FindingCode::UpstreamDown, FindingCode::ModelMissing].contains(&code);
    let new: Vec<DoctorFinding> = gateway
        .into_iter()
        .filter(|finding| !is_old(finding.kind) && !all.iter().any(|own| own.kind == finding.kind))
        .collect();
    all.extend(new);
    all.sort_by_key(|finding| finding.kind);
    all
}

/// What was found in the database, for the report and for the findings.
struct DatabaseFacts {
    report: DatabaseReport,
    record: RecordFacts,
    settings: Option<Settings>,
    unusable: Option<Unusable>,
}

/// Looks into the database. A running gateway has opened it and tells what it knows, so it is read only where `deep` asks for it.
async fn look_at_database(config: &Config, gateway: GatewayState, deep: bool) -> DatabaseFacts {
    let (folder, settings) = (config.data_dir.clone(), config.settings);
    let bytes = std::fs::metadata(folder.join(FILE)).map(|file| file.len()).ok();
    let begun = Instant::now();
    let looked = match gateway {
        GatewayState::Running | GatewayState::Silent if !deep => Ok(None),
        GatewayState::Running | GatewayState::Silent => {
            let file = folder.join(FILE);
            while_telling(move || match store::quick_check(&file) {
                Ok(damage) if damage.is_empty() => Ok(None),
                Ok(damage) => Err(Unusable::Damaged(damage)),
                Err(cause) => Err(Unusable::Damaged(vec![format!("it can't be checked: {cause:#}")])),
            })
            .await
        }
        GatewayState::Stopped | GatewayState::Unknown => {
            while_telling(move || match look(&folder, settings, deep)? {
                DatabaseLook::Absent => match check_remains(&folder) {
                    Ok(()) => Ok(Some(DatabaseLook::Absent)),
                    Err(cause) => Err(Unusable::Missing(format!("{cause:#}"))),
                },
                looked => Ok(Some(looked)),
            })
            .await
        }
    };
    let checked = deep.then(|| begun.elapsed());
    let mut facts = DatabaseFacts {
        report: DatabaseReport {
            bytes,
            state: report::WHOLE,
            checked_seconds: checked.map(|time| time.as_secs_f64()),
            last_checkpoint: None,
        },
        record: RecordFacts::default(),
        settings: None,
        unusable: None,
    };
    match looked {
        Err(unusable) => {
            facts.report.state = report::UNUSABLE;
            facts.unusable = Some(unusable);
        }
        Ok(None) => {}
        Ok(Some(DatabaseLook::Absent)) => {
            facts.report =
                DatabaseReport { bytes: None, state: report::ABSENT, checked_seconds: None, last_checkpoint: None };
        }
        Ok(Some(DatabaseLook::Older)) => facts.report.state = report::OLDER,
        Ok(Some(DatabaseLook::Unread)) => {
            facts.report =
                DatabaseReport { bytes, state: report::UNREAD, checked_seconds: None, last_checkpoint: None };
        }
        Ok(Some(DatabaseLook::Read(found))) => {
            facts.settings = Some(found.settings);
            facts.record = RecordFacts {
                can_record: None,
                growth_per_day: found.growth_per_day,
                first_password: found.first_password,
                late_erasures: found.late_erasures,
                reusable: found.reusable,
                chain_fault: None,
            };
            facts.report.last_checkpoint = found.last_checkpoint.map(CheckpointReport::from);
        }
    }
    facts
}

/// Runs what may take long on a thread of its own, and says on standard error that it still runs.
async fn while_telling<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Unusable> + Send + 'static,
) -> Result<T, Unusable> {
    let begun = Instant::now();
    let mut work = tokio::task::spawn_blocking(work);
    loop {
        match tokio::time::timeout(PROGRESS, &mut work).await {
            Ok(Ok(done)) => return done,
            Ok(Err(panicked)) => return Err(Unusable::Damaged(vec![format!("it can't be checked: {panicked}")])),
            Err(_) => eprintln!("database       still reading, {} s", begun.elapsed().as_secs()),
        }
    }
}

/// Asks each upstream for its models.
async fn ask_upstreams(config: &Config) -> Vec<UpstreamFacts> {
    let client = UpstreamClient::new(config);
    let mut facts = Vec::new();
    for id in client.all() {
        facts.push(match client.models(id).await {
            Ok(models) => UpstreamFacts::Up(models.into_iter().map(|card| card.name).collect::<Vec<ModelName>>()),
            Err(error) => UpstreamFacts::Down(why_down(&error)),
        });
    }
    facts
}

/// Describes what is in the folder of the scheduled backups.
fn describe_backups(config: &Config, facts: &BackupFacts) -> String {
    let schedule = config.backup.schedule.as_ref();
    let shown = |folder: &Path| folder.display().to_string();
    match (schedule, &facts.newest) {
        (None, _) => "none are scheduled; `backup.folder` names a folder for them".to_owned(),
        (Some(schedule), None) => format!("none in {}", shown(&schedule.folder)),
        (Some(schedule), Some(newest)) => {
            let bytes = crate::host::findings::bytes(newest.bytes);
            format!("the newest in {} is {}, {bytes}", shown(&schedule.folder), newest.file)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_gateway_adds_what_it_alone_knows() {
        let finding = |code: FindingCode, message: &str| DoctorFinding::new(code, message.to_owned(), String::new());
        let own = vec![
            finding(FindingCode::UpstreamDown, "asked now"),
            finding(FindingCode::DiskLow, "5 bytes"),
            finding(FindingCode::FewFiles, "of the shell"),
        ];
        let gateway = vec![
            finding(FindingCode::CannotRecord, "it can't"),
            finding(FindingCode::UpstreamDown, "seen before"),
            finding(FindingCode::ModelMissing, "seen before"),
            finding(FindingCode::DiskLow, "6 bytes"),
        ];

        assert_eq!(with_those_of_the_gateway(own.clone(), None), own);
        let told: Vec<_> =
            with_those_of_the_gateway(own, Some(gateway)).into_iter().map(|finding| finding.message).collect();

        assert_eq!(told, ["it can't", "asked now", "5 bytes"]);
    }
}
