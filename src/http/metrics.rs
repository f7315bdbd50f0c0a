//! `GET /metrics`: what monitoring reads.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use tokio::sync::{Mutex, Semaphore};

use crate::auth::Auth;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, chain};
use crate::config::Config;
use crate::gateway::Stages;
use crate::host::machine::Disk;
use crate::host::process;
use crate::host::room::{DiskGuard, DiskMarks};
use crate::host::watch::HostWatch;
use crate::http::callers::MetricsReader;
use crate::http::reply::ApiError;
use crate::metrics::{BackupLook, Metrics, MetricsLook, ProcessUse, UpstreamLook};
use crate::model::people::UserStatus;
use crate::rules::routing::Condition;
use crate::store::Store;

/// A text younger than this is given to the next who asks.
const FRESH: Duration = Duration::from_secs(1);

/// How long a look at the disk may take. After that its values are not known.
const LOOK_MAX: Duration = Duration::from_secs(2);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Notices by how they ended.
type NoticeTotals = [(&'static str, u64); 3];

/// Reads the metrics, one caller at a time.
pub struct MetricsText {
    pub metrics: Arc<Metrics>,
    pub store: Store,
    pub auth: Arc<Auth>,
    pub stages: Stages,
    pub watch: Arc<HostWatch>,
    pub config: Arc<Config>,
    pub disk: Arc<DiskGuard>,
    notices: OnceLock<Box<dyn Fn() -> NoticeTotals + Send + Sync>>,
    dropped_lines: OnceLock<Box<dyn Fn() -> u64 + Send + Sync>>,
    certificate: OnceLock<Box<dyn Fn() -> Timestamp + Send + Sync>>,
    last: Mutex<Option<(Instant, Bytes)>>,
    /// A look that hangs is not joined by further ones.
    looking: Arc<Semaphore>,
}

/// What is read from the disk and the kernel.
struct FilesLook {
    database: Option<u64>,
    wal: Option<u64>,
    process: Option<ProcessUse>,
}

impl MetricsText {
    pub fn new(
        metrics: Arc<Metrics>,
        store: Store,
        auth: Arc<Auth>,
        stages: Stages,
        watch: Arc<HostWatch>,
        config: Arc<Config>,
        disk: Arc<DiskGuard>,
    ) -> Self {
        let (last, looking) = (Mutex::default(), Arc::new(Semaphore::new(1)));
        let (dropped_lines, certificate, notices) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        MetricsText {
            metrics,
            store,
            auth,
            stages,
            watch,
            config,
            disk,
            notices,
            dropped_lines,
            certificate,
            last,
            looking,
        }
    }

    /// Counts the lines of the log that were dropped, by what `dropped` returns. Only the first call counts.
    pub fn count_dropped_lines(&self, dropped: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.dropped_lines.set(Box::new(dropped));
    }

    /// Tells when the certificate ends that clients are shown. Only the first call counts.
    pub fn watch_certificate(&self, ends: impl Fn() -> Timestamp + Send + Sync + 'static) {
        let _ = self.certificate.set(Box::new(ends));
    }

    /// Counts notices by how they ended. Only the first call counts.
    pub fn count_notices(&self, count: impl Fn() -> NoticeTotals + Send + Sync + 'static) {
        let _ = self.notices.set(Box::new(count));
    }

    /// Returns how many lines of the log were dropped since the start.
    pub fn dropped_lines(&self) -> u64 {
        self.dropped_lines.get().map_or(0, |dropped| dropped())
    }

    /// Returns the metrics, at most a second old.
    pub async fn read(&self) -> Result<Bytes, Error> {
        let mut last = self.last.lock().await;
        if let Some((at, text)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let look = self.look().await;
        let metrics = self.metrics.clone();
        let text = tokio::task::spawn_blocking(move || metrics.text(&look)).await;
        let text = Bytes::from(text.map_err(Error::internal)?.map_err(Error::internal)?);
        *last = Some((Instant::now(), text.clone()));
        Ok(text)
    }

    async fn look(&self) -> MetricsLook {
        let (disk, files, behind) = tokio::join!(self.look_at_disk(), self.look_at_files(), self.rows_behind());
        let marks = disk.map(|disk| DiskMarks::of(&self.config.disk, disk));
        let files = files.unwrap_or(FilesLook { database: None, wal: None, process: None });
        let Stages { queue, routing, audit, breaker, .. } = &self.stages;
        let conditions = routing.seen().into_iter().map(|seen| seen.condition);
        let upstreams = queue.upstreams().into_iter().zip(conditions).map(|(load, condition)| UpstreamLook {
            slots: load.slots,
            running: load.slots.saturating_sub(load.free),
            is_up: condition == Condition::Up,
        });
        let people = self.store.people();
        let count = |status: UserStatus| (status.name(), people.all().filter(|user| user.status == status).count());
        MetricsLook {
            waiting: queue.waiting(),
            upstreams: upstreams.collect(),
            can_record: audit.can_record(),
            record_waiting_bytes: audit.waiting_bytes(),
            rows_behind: behind,
            database_bytes: files.database,
            wal_bytes: files.wal,
            disk_free_bytes: disk.map(|disk| disk.free),
            disk_size_bytes: disk.map(|disk| disk.total),
            disk_free_warn_bytes: marks.map(|marks| marks.warn),
            disk_free_min_bytes: marks.map(|marks| marks.min),
            disk_full: self.disk.is_full(),
            certificate_ends: self.certificate.get().and_then(|ends| u64::try_from(ends().seconds()).ok()),
            backups: self.look_at_backups(),
            accounts: [UserStatus::Active, UserStatus::Pending, UserStatus::Disabled].map(count),
            tokens_paused: people.tokens().filter(|token| token.paused.is_some()).count(),
            auth_failures: self.auth.failures.counts(),
            breaker_trips: breaker.trips(),
            notices: self.notices.get().map(|count| count()).unwrap_or_default(),
            log_lines_dropped: self.dropped_lines(),
            process: files.process,
        }
    }

    /// Returns the disk as the guard saw it, or looks, as long as the guard has seen nothing.
    async fn look_at_disk(&self) -> Option<Disk> {
        match self.disk.disk() {
            Some(disk) => Some(disk),
            None => self.watch.machine(&self.config).await.disk,
        }
    }

    /// Returns what is known of the scheduled backups. `None`: there are none.
    fn look_at_backups(&self) -> Option<BackupLook> {
        let schedule = self.config.backup.schedule.as_ref()?;
        let facts = self.watch.backups.now();
        let newest = facts.newest.and_then(|newest| u64::try_from(newest.at.seconds()).ok());
        Some(BackupLook {
            newest_at: newest.unwrap_or(0),
            interval_seconds: schedule.every.as_secs(),
            failed: facts.failed.is_some(),
        })
    }

    async fn look_at_files(&self) -> Option<FilesLook> {
        let place = self.looking.clone().try_acquire_owned().ok()?;
        let store = self.store.clone();
        let look = tokio::task::spawn_blocking(move || {
            let (database, wal) = store.file_sizes();
            drop(place);
            FilesLook { database, wal, process: process::look() }
        });
        tokio::time::timeout(LOOK_MAX, look).await.ok()?.ok()
    }

    async fn rows_behind(&self) -> Option<[(&'static str, u64); 2]> {
        tokio::time::timeout(LOOK_MAX, self.store.rows_behind()).await.ok()?.ok()
    }
}

/// Returns metrics in Prometheus' text format.
///
/// For admins, and for tokens with the scope `metrics`. The values are at most a second old. No metric tells people apart;
/// `GET /api/v1/usage` does.
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "host",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn show(
    _: MetricsReader,
    request: HttpRequest,
    text: web::Data<MetricsText>,
) -> Result<HttpResponse, ApiError> {
    let text = text.read().await.map_err(|error| ApiError::new(error, &request))?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, TEXT)).body(text))
}

/// The same at an address of its own, where there are no callers.
pub async fn show_to_all(text: web::Data<MetricsText>) -> HttpResponse {
    match text.read().await {
        Ok(text) => HttpResponse::Ok().insert_header((CONTENT_TYPE, TEXT)).body(text),
        Err(error) => {
            tracing::error!(cause = chain(&error), "the metrics can't be read");
            HttpResponse::InternalServerError().finish()
        }
    }
}
