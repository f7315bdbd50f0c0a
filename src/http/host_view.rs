//! This host, as admins see it: the gateway's process, its record, its upstreams, and what is wrong.

use actix_web::{HttpRequest, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::clock::zone::Zone;
use crate::base::error::chain;
use crate::config::{Config, Upstream};
use crate::gateway::Gateway;
use crate::host::backups::KeptBackup;
use crate::host::findings::{Finding, FindingCode, HostFacts, RecordFacts, UpstreamFacts, findings, is_plain};
use crate::host::machine::{Machine, host_name};
use crate::host::room::DiskMarks;
use crate::host::watch::HostWatch;
use crate::http::callers::Admin;
use crate::http::checkpoints::CheckpointView;
use crate::http::queue::HostState;
use crate::http::reply::{ApiResult, answer};
use crate::model::catalog::LoadedModel;
use crate::rules::accounts::Accounts;
use crate::rules::queue::UpstreamLoad;
use crate::rules::routing::{Condition, UpstreamState};
use crate::store::backup::BackupNote;
use crate::store::retention::RetentionDays;
use crate::store::{RecordSize, Store};

/// The gateway and the machine it runs on. What is not known is left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostView {
    /// The name of the machine.
    #[schema(example = "gpu-box")]
    pub name: String,
    #[schema(example = "0.3.0")]
    pub version: &'static str,
    /// When the gateway began to listen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    /// Where the gateway listens: for plain HTTP, or for https if plain HTTP is off.
    #[schema(example = "0.0.0.0:7000")]
    pub listen: String,
    /// Where https is served by the gateway itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0.0.0.0:7443")]
    pub https: Option<String>,
    /// Whether clients on the network may talk to it without encryption.
    pub plain_http: bool,
    /// The IANA name of the zone in which a day ends. Absent: the host's own zone has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/Berlin")]
    pub timezone: Option<String>,
    /// How many days prompts and answers are kept; null: until the person is deleted.
    pub retention_days: Option<u64>,
    /// How many days rows of the record are kept; null: for ever.
    pub record_days: Option<u64>,
    pub record: HostRecord,
    /// The newest backup: a scheduled one that still lies in its folder, or one that `lan-gateway backup` made; null: none is known.
    pub last_backup: Option<LastBackup>,
    /// The newest checkpoint of the record; null: there is none yet.
    pub last_checkpoint: Option<CheckpointView>,
    /// The upstreams, in the order of the configuration.
    pub hosts: Vec<HostUpstream>,
    /// What is wrong or could be better, the most urgent first.
    pub warnings: Vec<HostWarning>,
}

/// The record on the disk.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostRecord {
    pub can_record: bool,
    /// Size of the database and its write-ahead log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Estimated growth per day, from the last days. Absent while the record is younger than a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_day: Option<u64>,
    /// Bytes that the gateway can still write on the disk of the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_total_bytes: Option<u64>,
    /// Free pages inside the database, which are used before it grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reusable_bytes: Option<u64>,
    /// With fewer free bytes, requests to models are refused (503).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes_min: Option<u64>,
    /// With fewer free bytes, admins are warned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes_warn: Option<u64>,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LastBackup {
    /// The time of its state: everything committed before is in it.
    #[schema(format = DateTime)]
    pub at: String,
    pub bytes: u64,
    /// The name of the file, without its folder.
    #[schema(example = "lan-gateway-20261129T030000Z.db")]
    pub file: String,
}

impl LastBackup {
    /// Returns the newer one of a scheduled backup and of one that the record tells of.
    fn of(kept: Option<KeptBackup>, noted: Option<BackupNote>) -> Option<LastBackup> {
        let noted = noted.and_then(|note| Some(KeptBackup { at: note.made_at()?, file: note.file, bytes: note.bytes }));
        let newest = kept.into_iter().chain(noted).max_by_key(|backup| backup.at)?;
        Some(LastBackup { at: newest.at.rfc3339(), bytes: newest.bytes, file: newest.file })
    }
}

/// An upstream, as its last check found it.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostUpstream {
    #[schema(example = "local")]
    pub name: String,
    #[schema(example = "ollama")]
    pub kind: &'static str,
    #[schema(example = "http://127.0.0.1:11434")]
    pub url: String,
    #[schema(value_type = HostState)]
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub down_since: Option<String>,
    /// The error of the last check, while it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How long the last check took, in milliseconds, while it is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    pub slots: usize,
    pub free: usize,
    /// Number of models that it serves.
    pub models: usize,
    /// Models in its memory, some seconds ago. Absent: the upstream did not report them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded: Option<Vec<LoadedView>>,
}

/// A model in the memory of an upstream.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoadedView {
    #[schema(example = "llama3.2:latest")]
    pub name: String,
    /// Bytes of memory, of the host and the GPU together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Bytes of these in the memory of the GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_bytes: Option<u64>,
    /// When it is unloaded unless another request comes. Absent: it stays, or the upstream does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub until: Option<String>,
}

/// Something that an admin should look into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HostWarning {
    /// What must be mended: `gateway_silent` (told by `doctor` alone), `cannot_record`, `database_unusable`,
    /// `record_unproven` (the record or a checkpoint does not verify), `disk_full` (requests to models are refused), `upstream_down`,
    /// `model_missing` (no upstream has the default model), `certificate_unusable`, `first_password`, `upstream_open` (others reach
    /// it without the gateway), `folder_open` (others on this host can read the data folder), `config_open` (others can change the
    /// configuration file or read its secrets), `erasure_late` or `backup_late`. Hints: `disk_low`, `certificate_expires`,
    /// `slots_mismatch`, `few_files`, `settings_contradict`, `no_effect` (a line of the configuration has none) or `plain_http`.
    #[schema(value_type = FindingCode)]
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Returns the state of the gateway and its host.
///
/// It shows the process, the record, the upstreams with the models in their memory, and what is wrong.
#[utoipa::path(get, path = "/api/v1/host", operation_id = "get_host", tag = "host",
    responses((status = 200, body = HostView)))]
pub async fn host(
    _: Admin,
    request: HttpRequest,
    gateway: web::Data<Gateway>,
    store: web::Data<Store>,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
    watch: web::Data<HostWatch>,
) -> ApiResult {
    answer(&request, Ok(HostView::look(&gateway, &store, &accounts, &config, &watch).await))
}

impl HostView {
    /// Looks at everything. Each part has a time limit, and what can't be read is left out.
    pub async fn look(
        gateway: &Gateway,
        store: &Store,
        accounts: &Accounts,
        config: &Config,
        watch: &HostWatch,
    ) -> HostView {
        let (machine, (size, record), loaded, noted, checkpoint) = tokio::join!(
            watch.machine(config),
            record_facts(store, accounts),
            gateway.loaded(),
            store.last_backup(),
            store.last_checkpoint()
        );
        let backups = watch.backups.now();
        // What the guard saw is newer, and what it refuses requests by.
        let disk = gateway.audit().disk().or(machine.disk);
        let machine = Machine { disk, ..Machine::clone(&machine) };
        let (served, states) = (watch.served(), gateway.routing().seen());
        let plain = served.map_or(config.plain_listen(), |served| served.plain);
        let tls = served.map_or(config.tls.served(), |served| served.tls);
        let found = findings(&HostFacts {
            config,
            settings: store.settings().now(),
            plain,
            certificate: watch.certificate().map(Ok),
            machine: &machine,
            files: served.map(|served| served.files),
            upstreams: states.iter().map(facts_of).collect(),
            is_silent: false,
            record,
            database: None,
            backups: backups.clone(),
            now: Timestamp::now(),
        });
        let kept = RetentionDays::of(&store.settings().now());
        let marks = machine.disk.map(|disk| DiskMarks::of(&config.disk, disk));
        let loads = gateway.queue().upstreams();
        let upstreams = config.upstreams.iter().zip(states).zip(loads).zip(loaded);
        HostView {
            name: host_name(),
            version: env!("CARGO_PKG_VERSION"),
            started_at: served.map(|served| served.since.rfc3339()),
            listen: plain.or(tls).map(|address| address.to_string()).unwrap_or_default(),
            https: tls.map(|address| address.to_string()),
            plain_http: is_plain(config, plain),
            timezone: Some(config.timezone.name()).filter(|name| Zone::named(name).is_some()).map(str::to_owned),
            retention_days: kept.of_contents().map(u64::from),
            record_days: kept.of_rows().map(u64::from),
            record: HostRecord {
                can_record: store.can_write(),
                bytes: size.map(|size| size.bytes),
                bytes_per_day: size.and_then(|size| size.growth_per_day),
                disk_free_bytes: machine.disk.map(|disk| disk.free),
                disk_total_bytes: machine.disk.map(|disk| disk.total),
                reusable_bytes: size.map(|size| size.reusable),
                disk_free_bytes_min: marks.map(|marks| marks.min),
                disk_free_bytes_warn: marks.map(|marks| marks.warn),
            },
            // A row that can't be read tells of none.
            last_backup: LastBackup::of(backups.newest, noted.unwrap_or_default()),
            last_checkpoint: checkpoint.unwrap_or_default().map(CheckpointView::from),
            hosts: upstreams
                .map(|(((own, state), load), loaded)| HostUpstream::of(own, state, &load, loaded))
                .collect(),
            warnings: found.into_iter().map(HostWarning::from).collect(),
        }
    }
}

/// Returns the size of the record and what findings need to know of it. What can't be read is unknown.
pub async fn record_facts(store: &Store, accounts: &Accounts) -> (Option<RecordSize>, RecordFacts) {
    let (size, late) = tokio::join!(store.record_size(), store.late_erasures());
    let unread = |error| tracing::warn!(cause = chain(&error), "the size of the record can't be read");
    let size = size.map_err(unread).ok();
    let record = RecordFacts {
        can_record: Some(store.can_write()),
        growth_per_day: size.and_then(|size| size.growth_per_day),
        first_password: accounts.first_admin_waits(),
        late_erasures: late.unwrap_or_default(),
        reusable: size.map_or(0, |size| size.reusable),
        chain_fault: store.chain_fault(),
    };
    (size, record)
}

/// Returns what an upstream's last check found.
pub fn facts_of(state: &UpstreamState) -> UpstreamFacts {
    match &state.condition {
        Condition::Unknown => UpstreamFacts::Unknown,
        Condition::Down { error, .. } => UpstreamFacts::Down(error.clone()),
        Condition::Up => UpstreamFacts::Up(state.models.clone()),
    }
}

fn error_of(state: &UpstreamState) -> Option<String> {
    match &state.condition {
        Condition::Down { error, .. } => Some(error.clone()),
        Condition::Up | Condition::Unknown => None,
    }
}

impl HostUpstream {
    fn of(own: &Upstream, state: UpstreamState, load: &UpstreamLoad, loaded: Option<Vec<LoadedModel>>) -> Self {
        let last_error = error_of(&state);
        let (name, down_since) = match state.condition {
            Condition::Unknown => ("unknown", None),
            Condition::Up => ("up", None),
            Condition::Down { since, .. } => ("down", Some(since.rfc3339())),
        };
        HostUpstream {
            name: own.name.clone(),
            kind: own.kind().name(),
            url: own.url.to_string(),
            state: name,
            down_since,
            last_error,
            latency_ms: state.latency.and_then(|latency| u64::try_from(latency.as_millis()).ok()),
            slots: load.slots,
            free: load.free,
            models: state.models.len(),
            loaded: loaded.map(|models| models.into_iter().map(LoadedView::from).collect()),
        }
    }
}

impl From<LoadedModel> for LoadedView {
    fn from(model: LoadedModel) -> Self {
        LoadedView {
            name: model.name.as_str().to_owned(),
            bytes: model.bytes,
            gpu_bytes: model.gpu_bytes,
            until: model.until.map(Timestamp::rfc3339),
        }
    }
}

impl From<Finding> for HostWarning {
    fn from(finding: Finding) -> Self {
        HostWarning { code: finding.code.name(), message: finding.message, remedy: finding.remedy }
    }
}
