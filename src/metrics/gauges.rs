//! What is looked at when the metrics are read. A new gauge is a field of `Gauges` and one of `MetricsLook`.

use prometheus::{Counter, Gauge, GaugeVec, IntCounter, IntCounterVec, Result};

use crate::metrics::making::Maker;

/// The state of the gateway at one moment. `None`: not known.
#[derive(Debug, Default)]
pub struct MetricsLook {
    pub waiting: usize,
    /// In the order of the configuration.
    pub upstreams: Vec<UpstreamLook>,
    pub can_record: bool,
    /// Bytes of requests and answers that wait for the disk.
    pub record_waiting_bytes: usize,
    /// How many rows the sums of usage and the index of words are behind the record.
    pub rows_behind: Option<[(&'static str, u64); 2]>,
    pub database_bytes: Option<u64>,
    pub wal_bytes: Option<u64>,
    pub disk_free_bytes: Option<u64>,
    pub disk_size_bytes: Option<u64>,
    /// Below these marks admins are warned, and requests to models are refused.
    pub disk_free_warn_bytes: Option<u64>,
    pub disk_free_min_bytes: Option<u64>,
    /// Requests to models are refused for lack of room.
    pub disk_full: bool,
    /// When the certificate that clients are shown ends, in seconds since 1970.
    pub certificate_ends: Option<u64>,
    /// The scheduled backups, if there are any.
    pub backups: Option<BackupLook>,
    /// Accounts by status.
    pub accounts: [(&'static str, usize); 3],
    pub tokens_paused: usize,
    /// Counted since the start, like all fields below.
    pub auth_failures: [(&'static str, u64); 3],
    pub breaker_trips: [(&'static str, u64); 2],
    pub log_lines_dropped: u64,
    /// Notices by how they ended, counted for each channel.
    pub notices: [(&'static str, u64); 3],
    pub process: Option<ProcessUse>,
}

/// The scheduled backups.
#[derive(Debug, Clone, Copy, Default)]
pub struct BackupLook {
    /// When the newest was begun, in seconds since 1970; 0: there is none.
    pub newest_at: u64,
    pub interval_seconds: u64,
    /// The last try failed.
    pub failed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct UpstreamLook {
    pub slots: usize,
    pub running: usize,
    pub is_up: bool,
}

/// What this process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessUse {
    pub resident_bytes: u64,
    pub cpu_seconds: f64,
    pub open_files: u64,
    pub open_files_max: u64,
    /// In seconds since 1970.
    pub started_at: f64,
}

pub struct Gauges {
    waiting: Gauge,
    upstreams: Vec<UpstreamGauges>,
    can_record: Gauge,
    record_waiting_bytes: Gauge,
    rows_behind: GaugeVec,
    database_bytes: Gauge,
    wal_bytes: Gauge,
    disk_free_bytes: Gauge,
    disk_size_bytes: Gauge,
    disk_free_warn_bytes: Gauge,
    disk_free_min_bytes: Gauge,
    disk_full: Gauge,
    certificate_ends: Gauge,
    backup_newest: Gauge,
    backup_interval: Gauge,
    backup_failed: Gauge,
    accounts: GaugeVec,
    tokens_paused: Gauge,
    auth_failures: IntCounterVec,
    breaker_trips: IntCounterVec,
    log_lines_dropped: IntCounter,
    notices: IntCounterVec,
    resident_bytes: Gauge,
    cpu_seconds: Counter,
    open_files: Gauge,
    open_files_max: Gauge,
    started_at: Gauge,
}

struct UpstreamGauges {
    slots: Gauge,
    running: Gauge,
    up: Gauge,
}

impl Gauges {
    pub fn new(maker: &Maker<'_>, upstreams: &[String]) -> Result<Gauges> {
        let about = "The version that runs; the value is always 1.";
        maker
            .gauges("build_info", about, &["version"])?
            .get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?
            .set(1.0);
        let of_upstream = |name, about| maker.gauges(name, about, &["upstream"]);
        let slots = of_upstream("upstream_slots", "Requests that an upstream is sent at the same time at most.")?;
        let running = of_upstream("queue_running", "Requests that an upstream works on now.")?;
        let up = of_upstream("upstream_up", "1 if the last check found the upstream up, else 0.")?;
        let upstreams = upstreams.iter().map(|name| {
            let of = |gauges: &GaugeVec| gauges.get_metric_with_label_values(&[name.as_str()]);
            Ok(UpstreamGauges { slots: of(&slots)?, running: of(&running)?, up: of(&up)? })
        });
        Ok(Gauges {
            upstreams: upstreams.collect::<Result<_>>()?,
            waiting: maker.gauge("queue_waiting", "Requests that wait for their turn now.")?,
            can_record: maker.gauge("can_record", "1 if the record can be written, else 0; then nothing is served.")?,
            record_waiting_bytes: maker.gauge(
                "record_waiting_bytes",
                "Bytes of requests and answers that wait for the disk, or are reserved for it.",
            )?,
            rows_behind: maker.gauges(
                "record_rows_behind",
                "Rows of the record that the sums of usage and the index of words have not taken in yet.",
                &["follower"],
            )?,
            database_bytes: maker.gauge("database_bytes", "Size of the database file.")?,
            wal_bytes: maker.gauge("wal_bytes", "Size of the database's write-ahead log.")?,
            disk_free_bytes: maker
                .gauge("disk_free_bytes", "Bytes that the gateway may still write on the disk of its data folder.")?,
            disk_size_bytes: maker.gauge("disk_size_bytes", "Size of the disk of the data folder.")?,
            disk_free_warn_bytes: maker.gauge(
                "disk_free_warn_bytes",
                "With fewer free bytes admins are warned; `disk.free_bytes_warn` of the configuration.",
            )?,
            disk_free_min_bytes: maker.gauge(
                "disk_free_min_bytes",
                "With fewer free bytes requests to models are refused; `disk.free_bytes_min` of the configuration.",
            )?,
            disk_full: maker.gauge(
                "disk_full",
                "1 while requests to models are refused because the disk is nearly full, else 0.",
            )?,
            certificate_ends: maker.gauge(
                "certificate_ends_timestamp_seconds",
                "When the certificate that clients are shown ends, in seconds since 1970; NaN without one.",
            )?,
            backup_newest: maker.gauge(
                "backup_newest_timestamp_seconds",
                "When the newest scheduled backup was begun, in seconds since 1970; 0: there is none, NaN: none are scheduled.",
            )?,
            backup_interval: maker.gauge(
                "backup_interval_seconds",
                "The time between two scheduled backups; NaN: none are scheduled.",
            )?,
            backup_failed: maker.gauge("backup_failed", "1 if the last scheduled backup failed, else 0.")?,
            accounts: maker.gauges("accounts", "Accounts by status.", &["status"])?,
            tokens_paused: maker.gauge("tokens_paused", "API tokens that ran away and are paused.")?,
            auth_failures: maker.counters(
                "auth_failures_total",
                "Credentials that were not accepted, by kind: wrong, ended, or of an account that may not enter.",
                &["kind"],
            )?,
            breaker_trips: maker.counters(
                "breaker_trips_total",
                "API tokens that were paused because they ran away, by the way in which they did.",
                &["way"],
            )?,
            log_lines_dropped: maker.counter(
                "log_lines_dropped_total",
                "Lines of the log that were dropped because whoever reads it was too slow.",
            )?,
            notices: maker.counters(
                "notices_total",
                "Notices by how they ended, counted for each channel: delivered, failed for good, or dropped.",
                &["result"],
            )?,
            resident_bytes: maker.of_process("resident_memory_bytes", "Memory of the process, in bytes.")?,
            cpu_seconds: maker.sum_of_process("cpu_seconds_total", "CPU time of the process, in seconds.")?,
            open_files: maker.of_process("open_fds", "Open files of the process, connections included.")?,
            open_files_max: maker.of_process("max_fds", "Files that the process may have open.")?,
            started_at: maker.of_process("start_time_seconds", "When the process started, in seconds since 1970.")?,
        })
    }

    /// Takes over what was looked at.
    pub fn take(&self, look: &MetricsLook) {
        let known = |gauge: &Gauge, value: Option<u64>| gauge.set(value.map_or(f64::NAN, |value| value as f64));
        let flag = |gauge: &Gauge, is_so: bool| gauge.set(if is_so { 1.0 } else { 0.0 });
        self.waiting.set(look.waiting as f64);
        for (gauges, upstream) in self.upstreams.iter().zip(&look.upstreams) {
            gauges.slots.set(upstream.slots as f64);
            gauges.running.set(upstream.running as f64);
            flag(&gauges.up, upstream.is_up);
        }
        flag(&self.can_record, look.can_record);
        self.record_waiting_bytes.set(look.record_waiting_bytes as f64);
        match look.rows_behind {
            Some(behind) => behind.iter().for_each(|(follower, rows)| set(&self.rows_behind, follower, *rows as f64)),
            None => self.rows_behind.reset(),
        }
        known(&self.database_bytes, look.database_bytes);
        known(&self.wal_bytes, look.wal_bytes);
        known(&self.disk_free_bytes, look.disk_free_bytes);
        known(&self.disk_size_bytes, look.disk_size_bytes);
        known(&self.disk_free_warn_bytes, look.disk_free_warn_bytes);
        known(&self.disk_free_min_bytes, look.disk_free_min_bytes);
        flag(&self.disk_full, look.disk_full);
        known(&self.certificate_ends, look.certificate_ends);
        known(&self.backup_newest, look.backups.map(|backups| backups.newest_at));
        known(&self.backup_interval, look.backups.map(|backups| backups.interval_seconds));
        flag(&self.backup_failed, look.backups.is_some_and(|backups| backups.failed));
        look.accounts.iter().for_each(|(status, count)| set(&self.accounts, status, *count as f64));
        self.tokens_paused.set(look.tokens_paused as f64);
        look.auth_failures.iter().for_each(|(kind, count)| raise(&self.auth_failures, kind, *count));
        look.breaker_trips.iter().for_each(|(way, count)| raise(&self.breaker_trips, way, *count));
        raise_to(&self.log_lines_dropped, look.log_lines_dropped);
        look.notices.iter().for_each(|(result, count)| raise(&self.notices, result, *count));
        if let Some(process) = look.process {
            self.resident_bytes.set(process.resident_bytes as f64);
            self.cpu_seconds.inc_by((process.cpu_seconds - self.cpu_seconds.get()).max(0.0));
            self.open_files.set(process.open_files as f64);
            self.open_files_max.set(process.open_files_max as f64);
            self.started_at.set(process.started_at);
        }
    }
}

fn set(gauges: &GaugeVec, value: &str, number: f64) {
    // It can't fail: each of these has one label.
    if let Ok(gauge) = gauges.get_metric_with_label_values(&[value]) {
        gauge.set(number);
    }
}

fn raise(counters: &IntCounterVec, value: &str, total: u64) {
    if let Ok(counter) = counters.get_metric_with_label_values(&[value]) {
        raise_to(&counter, total);
    }
}

/// Raises a counter to a sum that is kept elsewhere.
fn raise_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
