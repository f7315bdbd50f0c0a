//! What `doctor` reports: a JSON object with stable names, and the same as text.

use serde::Serialize;

use crate::config::{Origin, Upstream, UpstreamSlots};
use crate::host::findings::{Finding, FindingCode, UpstreamFacts, bytes};
use crate::model::provider_kind::ProviderKind;
use crate::store::look::SeenCheckpoint;

/// Everything that was looked at. docs/runbook.md names the fields; scripts rely on them.
#[derive(Debug, Serialize)]
pub struct DoctorReport {
    pub version: &'static str,
    /// Whether nothing must be mended, as the exit code says.
    pub ok: bool,
    pub configuration: ConfigurationReport,
    pub listen: Vec<String>,
    pub data_folder: String,
    pub gateway: GatewayState,
    pub database: DatabaseReport,
    pub open_files: String,
    pub backups: String,
    pub default_model: String,
    pub upstreams: Vec<UpstreamReport>,
    /// The most urgent first: failures, then hints.
    pub findings: Vec<DoctorFinding>,
}

/// Where the configuration was read from.
#[derive(Debug, Serialize)]
pub struct ConfigurationReport {
    /// Null: there is none.
    file: Option<String>,
    /// Names of the variables of the environment that override it.
    variables: Vec<String>,
    #[serde(skip)]
    told: String,
}

impl From<&Origin> for ConfigurationReport {
    fn from(origin: &Origin) -> Self {
        ConfigurationReport {
            file: origin.file.as_ref().map(|file| file.display().to_string()),
            variables: origin.variables.clone(),
            told: origin.to_string(),
        }
    }
}

/// Whether a gateway runs on the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayState {
    Running,
    /// It runs, and did not say what it knows.
    Silent,
    Stopped,
    /// This user may not ask.
    Unknown,
}

pub const WHOLE: &str = "usable";
pub const ABSENT: &str = "absent";
pub const OLDER: &str = "older";
pub const UNREAD: &str = "unread";
pub const UNUSABLE: &str = "unusable";

#[derive(Debug, Serialize)]
pub struct DatabaseReport {
    /// Null: there is none.
    pub bytes: Option<u64>,
    /// `usable`, `absent`, `older` (the next start brings it up to date), `unread` (only a start can read it) or `unusable`.
    pub state: &'static str,
    /// How long reading all of it took; null: only the beginning was read.
    pub checked_seconds: Option<f64>,
    /// The newest checkpoint; null: there is none, or the database was not read.
    pub last_checkpoint: Option<CheckpointReport>,
}

#[derive(Debug, Serialize)]
pub struct CheckpointReport {
    /// The last row of the record that it covers.
    log_id: i64,
    at: String,
}

impl From<SeenCheckpoint> for CheckpointReport {
    fn from(seen: SeenCheckpoint) -> Self {
        CheckpointReport { log_id: seen.log_id, at: seen.at.rfc3339() }
    }
}

#[derive(Debug, Serialize)]
pub struct UpstreamReport {
    name: String,
    kind: &'static str,
    url: String,
    up: bool,
    /// Why it is down.
    error: Option<String>,
    models: Vec<String>,
    slots: usize,
    #[serde(skip)]
    about_slots: Option<String>,
}

impl UpstreamReport {
    /// `parallel` is how many requests this host's Ollama runs at once.
    pub fn of(upstream: &Upstream, facts: UpstreamFacts, parallel: Option<usize>) -> UpstreamReport {
        let (up, error, models) = match facts {
            UpstreamFacts::Unknown => (false, None, Vec::new()),
            UpstreamFacts::Down(error) => (false, Some(error), Vec::new()),
            UpstreamFacts::Up(models) => (true, None, models),
        };
        // Other kinds of upstreams have none to explain.
        let explains = upstream.kind() == ProviderKind::Ollama;
        let parallel = parallel.filter(|_| upstream.url.is_loopback());
        UpstreamReport {
            name: upstream.name.clone(),
            kind: upstream.kind().name(),
            url: upstream.url.to_string(),
            up,
            error,
            models: models.iter().map(|model| model.as_str().to_owned()).collect(),
            slots: upstream.slots().total,
            about_slots: explains.then(|| about_slots(upstream.slots(), parallel)),
        }
    }

    fn lines(&self, default_model: &str) -> Vec<String> {
        let answers = match (&self.error, self.models.len()) {
            (Some(error), _) => format!("down: {error}"),
            (None, 0) => format!("it answers, and has no model; `ollama pull {default_model}` fetches one"),
            (None, 1) => "it answers, with one model".to_owned(),
            (None, models) => format!("it answers, with {models} models"),
        };
        let first = format!("upstream `{}`   {}: {answers}", self.name, self.url);
        let slots = self.about_slots.iter().flat_map(|text| text.lines().map(str::to_owned));
        [String::new(), first].into_iter().chain(slots).collect()
    }
}

/// A finding, as scripts read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DoctorFinding {
    code: &'static str,
    pub message: String,
    remedy: String,
    /// Whether it must be mended; else it is a hint.
    pub failure: bool,
    #[serde(skip)]
    pub kind: FindingCode,
}

impl DoctorFinding {
    pub fn new(kind: FindingCode, message: String, remedy: String) -> DoctorFinding {
        DoctorFinding { code: kind.name(), message, remedy, failure: kind.is_failure(), kind }
    }
}

impl From<Finding> for DoctorFinding {
    fn from(finding: Finding) -> Self {
        DoctorFinding::new(finding.code, finding.message, finding.remedy)
    }
}

impl DoctorReport {
    /// Returns the report for a terminal.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("configuration  good; {}", self.configuration.told),
            format!("listens on     {}", self.listen.join(" and ")),
            format!("data folder    {}", self.folder()),
            format!("files          {}", self.open_files),
        ];
        lines.extend(self.database());
        let checkpoint = self.database.last_checkpoint.as_ref();
        lines.extend(checkpoint.map(|last| format!("checkpoint     of {}, up to row {}", last.at, last.log_id)));
        lines.push(format!("backups        {}", self.backups));
        lines.extend(self.upstreams.iter().flat_map(|upstream| upstream.lines(&self.default_model)));
        if self.findings.is_empty() {
            lines.extend([String::new(), "findings       none".to_owned()]);
        }
        for (failure, title) in [(true, "TO MEND"), (false, "HINTS")] {
            let mut found = self.findings.iter().filter(|finding| finding.failure == failure).peekable();
            if found.peek().is_some() {
                lines.extend([String::new(), title.to_owned()]);
            }
            for DoctorFinding { code, message, remedy, .. } in found {
                lines.push(format!("{code:<20} {message}"));
                lines.push(format!("{:20} {remedy}", ""));
            }
        }
        lines
    }

    fn folder(&self) -> String {
        let folder = &self.data_folder;
        if self.database.state == ABSENT {
            return format!("{folder} has no database yet; the first `lan-gateway serve` makes it");
        }
        let size = self.database.bytes.map_or("of unknown size".to_owned(), bytes);
        let runs = match self.gateway {
            GatewayState::Running => "a gateway runs on it",
            GatewayState::Silent => "a gateway runs on it, and does not answer; see its log, or restart it",
            GatewayState::Stopped => "no gateway runs on it",
            GatewayState::Unknown => "this user can't see whether a gateway runs on it; run this as root",
        };
        format!("{folder}, {size}; {runs}")
    }

    fn database(&self) -> Option<String> {
        let told = match (self.database.state, self.database.checked_seconds) {
            (ABSENT, _) => return None,
            (UNREAD, _) => "not read: its last commits are in a log that only a start can read".to_owned(),
            (OLDER, _) => "of an older version; the next start brings it up to date".to_owned(),
            (UNUSABLE, _) => "UNUSABLE; see below".to_owned(),
            (_, Some(seconds)) => format!("whole: quick_check found nothing, in {seconds:.1} s"),
            (_, None) => "usable; --deep reads all of it and looks for damage".to_owned(),
        };
        Some(format!("database       {told}"))
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
}
