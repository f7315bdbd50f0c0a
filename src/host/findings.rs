//! What is wrong on this host and what to do about it: the one place that knows. Pure: what was read is an argument.

use std::net::SocketAddr;
use std::path::Path;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::config::settings::Settings;
use crate::config::{Config, PlainHttp, Upstream};
use crate::host::backups::BackupFacts;
use crate::host::certificate::CertificateFacts;
use crate::host::files::OpenFiles;
use crate::host::machine::Machine;
use crate::host::room::{DiskMarks, Room};
use crate::model::provider_kind::ProviderKind;
use crate::model::words::words_schema;

/// Something that an admin should look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: FindingCode,
    /// What is wrong, with names and numbers.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// The kinds of findings, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingCode {
    CannotRecord,
    DiskFull,
    UpstreamDown,
    DiskLow,
    FirstPassword,
    UpstreamOpen,
    FolderOpen,
    ErasureLate,
    BackupLate,
    SlotsMismatch,
    FewFiles,
    CertificateExpires,
    SettingsContradict,
    NoEffect,
    PlainHttp,
}

words_schema!(impl FindingCode, "What is wrong.", FindingCode::ALL.map(FindingCode::name));

impl FindingCode {
    pub const ALL: [FindingCode; 15] = [
        FindingCode::CannotRecord,
        FindingCode::DiskFull,
        FindingCode::UpstreamDown,
        FindingCode::DiskLow,
        FindingCode::FirstPassword,
        FindingCode::UpstreamOpen,
        FindingCode::FolderOpen,
        FindingCode::ErasureLate,
        FindingCode::BackupLate,
        FindingCode::SlotsMismatch,
        FindingCode::FewFiles,
        FindingCode::CertificateExpires,
        FindingCode::SettingsContradict,
        FindingCode::NoEffect,
        FindingCode::PlainHttp,
    ];

    pub fn name(self) -> &'static str {
        match self {
            FindingCode::CannotRecord => "cannot_record",
            FindingCode::DiskFull => "disk_full",
            FindingCode::UpstreamDown => "upstream_down",
            FindingCode::DiskLow => "disk_low",
            FindingCode::FirstPassword => "first_password",
            FindingCode::UpstreamOpen => "upstream_open",
            FindingCode::FolderOpen => "folder_open",
            FindingCode::ErasureLate => "erasure_late",
            FindingCode::BackupLate => "backup_late",
            FindingCode::SlotsMismatch => "slots_mismatch",
            FindingCode::FewFiles => "few_files",
            FindingCode::CertificateExpires => "certificate_expires",
            FindingCode::SettingsContradict => "settings_contradict",
            FindingCode::NoEffect => "no_effect",
            FindingCode::PlainHttp => "plain_http",
        }
    }

    /// Returns whether requests fail because of it.
    pub fn is_failure(self) -> bool {
        matches!(self, FindingCode::CannotRecord | FindingCode::DiskFull | FindingCode::UpstreamDown)
    }
}

/// What is known. Where something is not, nothing is found.
pub struct HostFacts<'a> {
    pub config: &'a Config,
    /// The settings in force.
    pub settings: Settings,
    /// Where plain HTTP is served.
    pub plain: Option<SocketAddr>,
    pub certificate: Option<CertificateFacts>,
    pub machine: &'a Machine,
    pub files: Option<OpenFiles>,
    /// The error of each upstream that is down, in the order of the configuration.
    pub down: Vec<Option<String>>,
    pub record: RecordFacts,
    pub backups: BackupFacts,
    pub now: Timestamp,
}

/// What is known of the record by a process that has opened it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordFacts {
    pub can_record: Option<bool>,
    pub growth_per_day: Option<u64>,
    /// Whether `admin` still has the first password.
    pub first_password: bool,
    /// Deletions whose contents should have been erased by now.
    pub late_erasures: u64,
    /// Bytes of free pages inside the database; unknown counts as none.
    pub reusable: u64,
}

/// A disk that the record will have filled in fewer days counts as low.
pub const DISK_DAYS_MIN: u64 = 14;

/// A certificate that is valid for fewer days should be replaced.
pub const CERTIFICATE_DAYS_MIN: u64 = 30;

/// Returns every finding, the most urgent first.
pub fn findings(facts: &HostFacts<'_>) -> Vec<Finding> {
    let found = [
        cannot_record(facts),
        disk_full(facts),
        disk_low(facts),
        first_password(facts),
        late_erasures(facts),
        late_backup(facts),
        few_files(facts),
        open_folder(facts),
    ];
    let mut found: Vec<Finding> =
        found.into_iter().flatten().chain(certificate_expires(facts)).chain(plain_http(facts)).collect();
    for (at, upstream) in facts.config.upstreams.iter().enumerate() {
        found.extend(down(upstream, facts.down.get(at).and_then(Option::as_deref)));
        found.extend(open_upstream(upstream, facts.machine));
        found.extend(slots_mismatch(upstream, facts.machine));
    }
    found.extend(contradictions(facts));
    found.sort_by_key(|finding| finding.code);
    found
}

/// Describes why an upstream is down, for admins.
pub fn why_down(error: &Error) -> String {
    match error {
        Error::UpstreamDown { cause } => format!("the model server can't be reached: {cause:#}"),
        error => error.to_string(),
    }
}

fn finding(code: FindingCode, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { code, message: message.into(), remedy: remedy.into() }
}

fn cannot_record(facts: &HostFacts<'_>) -> Option<Finding> {
    if facts.record.can_record != Some(false) {
        return None;
    }
    let free = facts.machine.disk.map(|disk| format!("; {} are free on the data disk", bytes(disk.free)));
    let message = format!("the record can't be written, so nothing is answered{}", free.unwrap_or_default());
    let remedy = format!("free space on the disk of {}, or see the log for the cause", facts.config.data_dir.display());
    Some(finding(FindingCode::CannotRecord, message, remedy))
}

fn down(upstream: &Upstream, error: Option<&str>) -> Option<Finding> {
    let error = error?;
    let message = format!("upstream `{}` at {} is down: {error}", upstream.name, upstream.url);
    let remedy = match upstream.url.is_loopback() && upstream.kind() == ProviderKind::Ollama {
        true => "start it (`systemctl start ollama`), or correct its `url` in the configuration",
        false => "start it, or correct its `url` in the configuration",
    };
    Some(finding(FindingCode::UpstreamDown, message, remedy))
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
    Some(finding(FindingCode::DiskFull, message, remedy))
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
    Some(finding(FindingCode::DiskLow, message, remedy))
}

fn first_password(facts: &HostFacts<'_>) -> Option<Finding> {
    let message = "the password of `admin` must be changed before any account can be approved";
    let remedy = "sign in as `admin` and choose one, or POST /api/v1/password";
    facts.record.first_password.then(|| finding(FindingCode::FirstPassword, message, remedy))
}

/// Ollama has no authentication, so anyone who reaches it can bypass the gateway.
fn open_upstream(upstream: &Upstream, machine: &Machine) -> Option<Finding> {
    if !upstream.url.is_loopback() {
        return None;
    }
    let port = upstream.url.port();
    let address = SocketAddr::from((machine.open_listener(port)?, port));
    let message = format!(
        "the model server of upstream `{}` listens on {address}, which others can reach past this gateway",
        upstream.name
    );
    Some(finding(FindingCode::UpstreamOpen, message, format!("set OLLAMA_HOST=127.0.0.1:{port} for it")))
}

fn open_folder(facts: &HostFacts<'_>) -> Option<Finding> {
    let first = facts.machine.exposed.first()?;
    let more = match facts.machine.exposed.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more files"),
    };
    let message = format!("other users of this host can read or change {}{more}", first.display());
    let remedy = format!("run chmod -R go= {}", facts.config.data_dir.display());
    Some(finding(FindingCode::FolderOpen, message, remedy))
}

fn late_erasures(facts: &HostFacts<'_>) -> Option<Finding> {
    let late = facts.record.late_erasures;
    let people = if late == 1 { "one person".to_owned() } else { format!("{late} people") };
    let message = format!("the prompts and answers of {people} that were deleted are not erased yet");
    let remedy = "it goes on by itself while the gateway runs; if it does not end, see the log for the cause";
    (late > 0).then(|| finding(FindingCode::ErasureLate, message, remedy))
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
    Some(finding(FindingCode::BackupLate, message, remedy))
}

/// Of all upstreams, only those on this host run in the Ollama whose environment was read.
fn slots_mismatch(upstream: &Upstream, machine: &Machine) -> Option<Finding> {
    let parallel = machine.parallel?;
    let slots = upstream.slots();
    let own = slots.per_model.min(slots.total);
    if own == parallel || !upstream.url.is_loopback() || upstream.kind() != ProviderKind::Ollama {
        return None;
    }
    let message = format!(
        "upstream `{}` has {own} slots for one model, and the Ollama that runs on this host has \
         OLLAMA_NUM_PARALLEL={parallel}",
        upstream.name
    );
    let remedy = format!("set slots = {parallel}, or OLLAMA_NUM_PARALLEL={own} for Ollama");
    Some(finding(FindingCode::SlotsMismatch, message, remedy))
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
    Some(finding(FindingCode::FewFiles, message, remedy))
}

fn contradictions(facts: &HostFacts<'_>) -> Vec<Finding> {
    let said = facts.settings.contradictions().into_iter().filter(|found| found.is_said);
    let said = said.map(|found| {
        let remedy = "change one of the two; an admin's change and the configuration file contradict each other";
        finding(FindingCode::SettingsContradict, found.to_string(), remedy)
    });
    let notes = facts.config.notes.iter().map(|note| {
        finding(FindingCode::NoEffect, note.to_string(), "change or remove that line of the configuration")
    });
    said.chain(notes).collect()
}

fn certificate_expires(facts: &HostFacts<'_>) -> Option<Finding> {
    let certificate = facts.certificate.as_ref()?;
    let (file, until) = (certificate.file.display(), certificate.valid_until.rfc3339());
    let message = match certificate.days_left(facts.now) {
        None => format!("the certificate in {file} expired at {until}, so clients refuse https"),
        _ if facts.now < certificate.valid_from => {
            format!(
                "the certificate in {file} is valid from {} on, so clients refuse https",
                certificate.valid_from.rfc3339()
            )
        }
        Some(days) if days < CERTIFICATE_DAYS_MIN => {
            format!("the certificate in {file} expires in {days} days, at {until}; then clients refuse https")
        }
        Some(_) => return None,
    };
    let remedy = "replace the files of `tls.certificate` and `tls.key`, then `systemctl reload lan-gateway` (SIGHUP)";
    Some(finding(FindingCode::CertificateExpires, message, remedy))
}

fn plain_http(facts: &HostFacts<'_>) -> Option<Finding> {
    let message = "this is plain HTTP: passwords and prompts can be read on the network between clients and this host";
    let remedy = match facts.config.tls.files {
        None => {
            "set `certificate` and `key` in [tls] (docs/tls.md has the commands), or use it on a network that you trust alone"
        }
        Some(_) => "once all clients use https, set plain_http = \"loopback\"",
    };
    is_plain(facts.config, facts.plain).then(|| finding(FindingCode::PlainHttp, message, remedy))
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
