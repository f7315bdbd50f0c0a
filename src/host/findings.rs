//! What is wrong on this host and what to do about it: the one place that knows. Pure: what was read is an argument.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::config::settings::Settings;
use crate::config::{Config, PlainHttp};
use crate::host::backups::BackupFacts;
use crate::host::certificate::CertificateFacts;
use crate::host::exposed::{ConfigExposure, OpenConfig};
use crate::host::files::OpenFiles;
use crate::host::machine::Machine;
use crate::host::room::{DiskMarks, Room};
use crate::store::FILE;
use crate::store::look::Unusable;

mod code;
mod upstreams;

pub use code::{Finding, FindingCode};
use upstreams::of_upstreams;
pub use upstreams::{UpstreamFacts, has_default_model, how_to_start, why_down};

/// What is known. Where something is not, nothing is found.
pub struct HostFacts<'a> {
    pub config: &'a Config,
    /// The settings in force.
    pub settings: Settings,
    /// Where plain HTTP is served.
    pub plain: Option<SocketAddr>,
    /// The gateway's own certificate, or why it can't start with it.
    pub certificate: Option<Result<CertificateFacts, String>>,
    pub machine: &'a Machine,
    pub files: Option<OpenFiles>,
    /// The upstreams, in the order of the configuration.
    pub upstreams: Vec<UpstreamFacts>,
    /// Whether another process serves the data folder and does not answer.
    pub is_silent: bool,
    pub record: RecordFacts,
    /// Why no gateway can start with the database.
    pub database: Option<Unusable>,
    pub backups: BackupFacts,
    pub now: Timestamp,
}

/// What is known of the record by a process that has opened it, or has looked into it.
#[derive(Debug, Clone, Default)]
pub struct RecordFacts {
    pub can_record: Option<bool>,
    pub growth_per_day: Option<u64>,
    /// Whether `admin` still has the first password.
    pub first_password: bool,
    /// Deletions whose contents should have been erased by now.
    pub late_erasures: u64,
    /// Bytes of free pages inside the database; unknown counts as none.
    pub reusable: u64,
    /// Why the chain of the record or a checkpoint does not verify.
    pub chain_fault: Option<Arc<str>>,
}

/// A disk that the record will have filled in fewer days counts as low.
pub const DISK_DAYS_MIN: u64 = 14;

/// A certificate that is valid for fewer days should be replaced.
pub const CERTIFICATE_DAYS_MIN: u64 = 30;

/// Returns every finding, the most urgent first.
pub fn findings(facts: &HostFacts<'_>) -> Vec<Finding> {
    let found = [
        silent_gateway(facts),
        cannot_record(facts),
        facts.database.as_ref().map(|unusable| unusable_database(unusable, &facts.config.data_dir)),
        unproven_record(facts),
        disk_full(facts),
        disk_low(facts),
        first_password(facts),
        late_erasures(facts),
        late_backup(facts),
        few_files(facts),
        open_folder(facts),
        facts.machine.open_config.as_ref().map(open_config),
    ];
    let mut found: Vec<Finding> =
        found.into_iter().flatten().chain(certificate(facts)).chain(plain_http(facts)).collect();
    found.extend(of_upstreams(facts.config, &facts.upstreams, facts.machine));
    found.extend(contradictions(facts));
    found.sort_by_key(|finding| finding.code);
    found
}

fn silent_gateway(facts: &HostFacts<'_>) -> Option<Finding> {
    let folder = facts.config.data_dir.display();
    let message = format!("a gateway runs on {folder}, and does not answer on its control socket");
    let remedy = "see the end of its log, and restart it: `systemctl restart lan-gateway`";
    facts.is_silent.then(|| Finding::new(FindingCode::GatewaySilent, message, remedy))
}

fn cannot_record(facts: &HostFacts<'_>) -> Option<Finding> {
    if facts.record.can_record != Some(false) {
        return None;
    }
    let free = facts.machine.disk.map(|disk| format!("; {} are free on the data disk", bytes(disk.free)));
    let message = format!("the record can't be written, so nothing is answered{}", free.unwrap_or_default());
    let remedy = format!("free space on the disk of {}, or see the log for the cause", facts.config.data_dir.display());
    Some(Finding::new(FindingCode::CannotRecord, message, remedy))
}

fn unproven_record(facts: &HostFacts<'_>) -> Option<Finding> {
    let fault = facts.record.chain_fault.as_ref()?;
    let message = format!("the record does not verify, so no checkpoint is signed: {fault}");
    let remedy = "keep a copy of the data folder as it is, and compare it with a checkpoint that was kept elsewhere: \
        `lan-gateway verify --checkpoint FILE`";
    Some(Finding::new(FindingCode::RecordUnproven, message, remedy))
}

/// Returns the room on the data disk, and its marks.
fn room(facts: &HostFacts<'_>) -> Option<(Room, DiskMarks)> {
    let disk = facts.machine.disk?;
    Some((Room { disk, reusable: facts.record.reusable }, DiskMarks::of(&facts.config.disk, disk)))
}

/// Describes the room for admins: `900.0 MiB are free on the disk of /opt/data`.
pub fn describe_room(room: &Room, folder: &Path) -> String {
    let inside = match room.reusable {
        0 => String::new(),
        reusable => format!(", and {} inside the database", bytes(reusable)),
    };
    format!("{} are free on the disk of {}{inside}", bytes(room.disk.free), folder.display())
}

fn disk_full(facts: &HostFacts<'_>) -> Option<Finding> {
    let (room, marks) = room(facts).filter(|(room, marks)| room.is_full(*marks))?;
    let message = format!(
        "requests to models are refused: {}, less than the {} that must stay free",
        describe_room(&room, &facts.config.data_dir),
        bytes(marks.min)
    );
    let remedy = "free space there, or set retention to fewer days; it goes on by itself within seconds";
    Some(Finding::new(FindingCode::DiskFull, message, remedy))
}

fn disk_low(facts: &HostFacts<'_>) -> Option<Finding> {
    let (room, marks) = room(facts)?;
    let growth = facts.record.growth_per_day.filter(|growth| *growth > 0);
    let days = growth.map(|growth| room.bytes() / growth).filter(|days| *days < DISK_DAYS_MIN);
    let free = describe_room(&room, &facts.config.data_dir);
    let message = match days {
        Some(days) => {
            format!("{free}; at {} a day the record fills it in about {days} days", bytes(growth.unwrap_or_default()))
        }
        None if room.is_low(marks) => {
            format!("{free}; below {} requests to models are refused", bytes(marks.min))
        }
        None => return None,
    };
    let remedy = "free space there, set retention to fewer days, or move the data folder to a larger disk";
    Some(Finding::new(FindingCode::DiskLow, message, remedy))
}

fn first_password(facts: &HostFacts<'_>) -> Option<Finding> {
    let message = "`admin` still has the first password, admin123; no account can be approved before it is changed";
    let remedy = "run `lan-gateway user password admin` on the host, or sign in as `admin` and choose one";
    facts.record.first_password.then(|| Finding::new(FindingCode::FirstPassword, message, remedy))
}

fn open_folder(facts: &HostFacts<'_>) -> Option<Finding> {
    let first = facts.machine.exposed.first()?;
    let more = match facts.machine.exposed.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more files"),
    };
    let message = format!("other users of this host can read or change {}{more}", first.display());
    let remedy = format!("run chmod -R go= {}", facts.config.data_dir.display());
    Some(Finding::new(FindingCode::FolderOpen, message, remedy))
}

fn open_config(open: &OpenConfig) -> Finding {
    let file = open.file.display();
    let (message, remedy) = match open.how {
        ConfigExposure::Owner(owner) => (
            format!(
                "the configuration file {file} belongs to user {owner}, who can change it and so govern the gateway"
            ),
            format!("run chown root {file}"),
        ),
        ConfigExposure::Changed => (
            format!("other users of this host can change the configuration file {file}, and so govern the gateway"),
            format!("run chmod go-w {file}"),
        ),
        ConfigExposure::Read => (
            format!("other users of this host can read {file}, which holds the secret of an upstream"),
            format!("run chmod 600 {file}, or 640 with the group of the gateway's user"),
        ),
    };
    Finding::new(FindingCode::ConfigOpen, message, remedy)
}

fn unusable_database(unusable: &Unusable, folder: &Path) -> Finding {
    let file = folder.join(FILE);
    let file = file.display();
    let restore =
        "stop the gateway, keep a copy of the file, and put a backup in its place: `lan-gateway restore BACKUP`";
    let (message, remedy) = match unusable {
        Unusable::Unreadable(cause) => (
            format!("the database {file} can't be opened: {cause}"),
            "run this as root or as the gateway's user; if it fails then, too, put a backup in its place".to_owned(),
        ),
        Unusable::Foreign(cause) => (
            format!("{file} is not a database of this gateway, or it is damaged: {cause}"),
            format!("{restore}; or correct `data_dir`"),
        ),
        Unusable::Newer(schema) => (
            format!("{file} was written by a newer lan-gateway, or by one before 0.2.0 (schema {schema})"),
            "install that version, or put a backup in its place: `lan-gateway restore BACKUP`".to_owned(),
        ),
        Unusable::Damaged(damage) => {
            let first = damage.first().map_or("", String::as_str);
            let more = match damage.len().saturating_sub(1) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            (format!("the database {file} is damaged: {first}{more}"), restore.to_owned())
        }
        Unusable::Missing(what) => (what.clone(), "put the database back, or move the rest away".to_owned()),
    };
    Finding::new(FindingCode::DatabaseUnusable, message, remedy)
}

fn late_erasures(facts: &HostFacts<'_>) -> Option<Finding> {
    let late = facts.record.late_erasures;
    let people = if late == 1 { "one person".to_owned() } else { format!("{late} people") };
    let message = format!("the prompts and answers of {people} that were deleted are not erased yet");
    let remedy =
        "start the gateway: it goes on by itself while that runs; if it does not end, see the log for the cause";
    (late > 0).then(|| Finding::new(FindingCode::ErasureLate, message, remedy))
}

/// A scheduled backup is late after twice its interval.
fn late_backup(facts: &HostFacts<'_>) -> Option<Finding> {
    let schedule = facts.config.backup.schedule.as_ref()?;
    let BackupFacts { newest, failed, looked_at } = &facts.backups;
    let age = newest.as_ref().map(|newest| looked_at.since(newest.at));
    if failed.is_none() && age.is_none_or(|age| age <= 2 * schedule.every) {
        return None;
    }
    let newest = match (newest, age) {
        (Some(newest), Some(age)) => format!("the newest is {}, {} hours old", newest.file, age.as_secs() / 3600),
        _ => "there is none".to_owned(),
    };
    let message = match failed {
        Some(cause) => format!("the last scheduled backup to {} failed: {cause}; {newest}", schedule.folder.display()),
        None => format!("there is no current backup in {}: {newest}", schedule.folder.display()),
    };
    let remedy = "it is tried again within an hour; mend the cause, or make one with `lan-gateway backup FILE`";
    Some(Finding::new(FindingCode::BackupLate, message, remedy))
}

fn few_files(facts: &HostFacts<'_>) -> Option<Finding> {
    let files = facts.files.filter(|files| files.are_few(&facts.settings))?;
    let Settings { connections_max, connections_per_address_max, .. } = facts.settings;
    let message = format!(
        "the limit of open files, {}, is too low for connections_max = {connections_max} and \
         connections_per_address_max = {connections_per_address_max}",
        files.limit
    );
    let remedy = "raise it (LimitNOFILE= of the service, `ulimit -Hn` of a shell)";
    Some(Finding::new(FindingCode::FewFiles, message, remedy))
}

fn contradictions(facts: &HostFacts<'_>) -> Vec<Finding> {
    let said = facts.settings.contradictions().into_iter().filter(|found| found.is_said);
    let said = said.map(|found| {
        let remedy = "change one of the two; an admin's change and the configuration file contradict each other";
        Finding::new(FindingCode::SettingsContradict, found.to_string(), remedy)
    });
    let notes = facts.config.notes.iter().map(|note| {
        Finding::new(FindingCode::NoEffect, note.to_string(), "change or remove that line of the configuration")
    });
    said.chain(notes).collect()
}

fn certificate(facts: &HostFacts<'_>) -> Option<Finding> {
    let of_gateway = match facts.certificate.as_ref()? {
        Ok(certificate) => certificate,
        Err(cause) => {
            let remedy =
                "mend or replace the files of `tls.certificate` and `tls.key`: the gateway does not start with them";
            return Some(Finding::new(FindingCode::CertificateUnusable, cause, remedy));
        }
    };
    let (file, until) = (of_gateway.file.display(), of_gateway.valid_until.rfc3339());
    let (code, message) = match of_gateway.days_left(facts.now) {
        None => (
            FindingCode::CertificateUnusable,
            format!("the certificate in {file} expired at {until}, so clients refuse https"),
        ),
        _ if facts.now < of_gateway.valid_from => {
            let from = of_gateway.valid_from.rfc3339();
            let message = format!("the certificate in {file} is valid from {from} on, so clients refuse https");
            (FindingCode::CertificateUnusable, message)
        }
        Some(days) if days < CERTIFICATE_DAYS_MIN => (
            FindingCode::CertificateExpires,
            format!("the certificate in {file} expires in {days} days, at {until}; then clients refuse https"),
        ),
        Some(_) => return None,
    };
    let remedy = "replace the files of `tls.certificate` and `tls.key`, then `systemctl reload lan-gateway` (SIGHUP)";
    Some(Finding::new(code, message, remedy))
}

fn plain_http(facts: &HostFacts<'_>) -> Option<Finding> {
    let message = "this is plain HTTP: passwords and prompts can be read on the network between clients and this host";
    let remedy = match facts.config.tls.files {
        None => {
            "set `certificate` and `key` in [tls] (docs/tls.md has the commands), or use it on a network that you trust alone"
        }
        Some(_) => "once all clients use https, set plain_http = \"loopback\"",
    };
    is_plain(facts.config, facts.plain).then(|| Finding::new(FindingCode::PlainHttp, message, remedy))
}

/// Returns whether clients on the network may talk to the gateway without encryption. `plain` is where plain HTTP is served.
pub fn is_plain(config: &Config, plain: Option<SocketAddr>) -> bool {
    config.plain_http == PlainHttp::On && plain.is_some_and(|address| !address.ip().to_canonical().is_loopback())
}

/// Writes a number of bytes for people.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests;
