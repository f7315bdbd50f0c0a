//! What was looked at and found to be well, and facts about the host.

use crate::base::clock::Timestamp;
use crate::config::Config;
use crate::host::findings::{CERTIFICATE_DAYS_MIN, FindingCode};
use crate::http::checkpoints::CheckpointView;
use crate::http::host_view::HostView;
use crate::http::pages::format::{PageTimes, bytes};
use crate::http::pages::words::counted;

/// A fact about the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFact {
    pub label: String,
    pub value: String,
    /// Whether the value stands below its label.
    pub is_long: bool,
}

/// Returns a sentence for everything that was looked at and of which nothing was found.
pub fn fine(view: &HostView, config: &Config) -> Vec<String> {
    let is_found = |code: &FindingCode| view.warnings.iter().any(|warning| warning.code == code.name());
    FindingCode::ALL.iter().filter(|code| !is_found(code)).filter_map(|code| sentence_of(*code, view, config)).collect()
}

/// Returns what is well; `None` where nothing is known.
fn sentence_of(code: FindingCode, view: &HostView, config: &Config) -> Option<String> {
    Some(match code {
        FindingCode::GatewaySilent => "The gateway responds.".to_owned(),
        FindingCode::CannotRecord => "The record is written.".to_owned(),
        FindingCode::DatabaseUnusable => "The database is one of this version.".to_owned(),
        FindingCode::RecordUnproven => "The newest part of the record was not changed.".to_owned(),
        FindingCode::DiskFull => {
            let min = view.record.disk_free_bytes_min?;
            format!("Requests are answered as long as {} of the data disk are free.", bytes(min))
        }
        FindingCode::UpstreamDown => {
            let up = view.hosts.iter().filter(|host| host.state == "up").count();
            if up == 0 || up < view.hosts.len() {
                return None;
            }
            match up {
                1 => "The model server answers.".to_owned(),
                up => format!("All {up} model servers answer."),
            }
        }
        FindingCode::ModelMissing => {
            let is_asked = view.hosts.iter().any(|host| host.state == "up");
            is_asked.then(|| format!("A model server has the default model, `{}`.", config.default_model))?
        }
        FindingCode::CertificateUnusable => match &view.https {
            Some(_) => "The certificate is valid.".to_owned(),
            None => return None,
        },
        FindingCode::DiskLow => format!("{} are free on the data disk.", bytes(view.record.disk_free_bytes?)),
        FindingCode::FirstPassword => "The first password of `admin` was changed.".to_owned(),
        FindingCode::UpstreamOpen => "No model server of this host was seen to be open on the network.".to_owned(),
        FindingCode::FolderOpen => "No other user of the host can read the data folder.".to_owned(),
        FindingCode::ConfigOpen => match &config.file {
            Some(_) => {
                "No other user of the host can change the configuration file, or read a secret in it.".to_owned()
            }
            None => return None,
        },
        FindingCode::ErasureLate => "No deletion is late.".to_owned(),
        FindingCode::BackupLate => {
            let backup = view.last_backup.as_ref()?;
            format!("A backup was made, of {}.", bytes(backup.bytes))
        }
        FindingCode::SlotsMismatch => "`slots` was not seen to differ from `OLLAMA_NUM_PARALLEL`.".to_owned(),
        FindingCode::FewFiles => "The limit of open files is high enough for the connections.".to_owned(),
        FindingCode::SettingsContradict => "No settings contradict each other.".to_owned(),
        FindingCode::NoEffect => "Every line of the configuration has an effect.".to_owned(),
        FindingCode::CertificateExpires => match &view.https {
            Some(_) => format!("The certificate is valid for {CERTIFICATE_DAYS_MIN} more days at least."),
            None => "The gateway shows no certificate itself.".to_owned(),
        },
        FindingCode::PlainHttp => match &view.https {
            Some(https) => format!("On the network it is used over https alone, at {https}."),
            None => format!("It listens on {}, which only this host may use without encryption.", view.listen),
        },
    })
}

/// Returns facts about the host that `doctor` tells, too.
pub fn facts(view: &HostView, config: &Config, times: &PageTimes) -> Vec<CheckFact> {
    let fact = |label: &str, value: String| CheckFact { label: label.to_owned(), value, is_long: false };
    let up = view.started_at.as_deref().and_then(Timestamp::parse);
    let mut facts = vec![
        fact("Version", view.version.to_owned()),
        fact("Machine", view.name.clone()),
        fact("Listens on", view.listen.clone()),
    ];
    facts.extend(view.https.clone().map(|https| fact("Serves https on", https)));
    facts.extend(up.map(|up| fact("Runs since", times.minute(up).text)));
    facts.extend(view.timezone.clone().map(|zone| fact("Time zone", zone)));
    facts.push(fact("Data folder", config.data_dir.display().to_string()));
    facts.extend(view.record.bytes.map(|size| fact("The record", bytes(size))));
    facts.extend(view.record.bytes_per_day.map(|growth| fact("Grows a day by", bytes(growth))));
    if let Some((free, total)) = view.record.disk_free_bytes.zip(view.record.disk_total_bytes) {
        facts.push(fact("Free on its disk", format!("{} of {}", bytes(free), bytes(total))));
    }
    if let Some(backup) = &view.last_backup {
        let at = Timestamp::parse(&backup.at).map(|at| times.minute(at).text).unwrap_or_default();
        let value = format!("{at}: {}, {}", backup.file, bytes(backup.bytes));
        facts.push(CheckFact { is_long: true, ..fact("The last backup", value) });
    }
    if let Some(CheckpointView { log_id, at, head, .. }) = &view.last_checkpoint {
        let at = Timestamp::parse(at).map(|at| times.minute(at).text).unwrap_or_default();
        let value = format!("{at}: up to row {log_id}, {head}");
        facts.push(CheckFact { is_long: true, ..fact("The last checkpoint", value) });
    }
    for host in &view.hosts {
        let state = match (host.state, host.latency_ms) {
            ("up", Some(latency)) => format!("answers in {latency} ms"),
            ("up", None) => "answers".to_owned(),
            ("down", _) => "does not answer".to_owned(),
            _ => "not asked yet".to_owned(),
        };
        let models = counted(host.models as u64, "model", "models");
        let slots = counted(host.slots as u64, "slot", "slots");
        let loaded = host.loaded.as_ref().map_or(0, Vec::len);
        let value = format!("{}: {state}, {models}, {loaded} of them loaded, {slots}", host.url);
        facts.push(CheckFact { is_long: true, ..fact(&format!("Model server {}", host.name), value) });
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::host_view::{HostRecord, HostUpstream, HostWarning, LastBackup};

    fn view(found: &[FindingCode], state: &'static str) -> HostView {
        let warning = |code: &FindingCode| HostWarning { code: code.name(), message: "m".into(), remedy: "r".into() };
        HostView {
            name: "gpu-box".into(),
            version: "0.3.0",
            started_at: None,
            listen: "127.0.0.1:7000".into(),
            https: None,
            plain_http: false,
            timezone: None,
            retention_days: None,
            record_days: None,
            record: HostRecord {
                can_record: true,
                bytes: None,
                bytes_per_day: None,
                disk_free_bytes: Some(21_000_000_000),
                disk_total_bytes: None,
                reusable_bytes: None,
                disk_free_bytes_min: Some(1 << 30),
                disk_free_bytes_warn: None,
            },
            last_backup: Some(LastBackup { at: "2026-11-29T03:00:00Z".into(), bytes: 1000, file: "b.db".into() }),
            last_checkpoint: None,
            hosts: vec![HostUpstream {
                name: "local".into(),
                kind: "ollama",
                url: "http://127.0.0.1:11434".into(),
                state,
                down_since: None,
                last_error: None,
                latency_ms: Some(3),
                slots: 2,
                free: 2,
                models: 4,
                loaded: None,
            }],
            warnings: found.iter().map(warning).collect(),
        }
    }

    #[test]
    fn what_is_well_is_told_unless_it_was_found_to_be_wrong_or_is_not_known() {
        let config = Config::resolve("", []).unwrap();
        let fine = |view: &HostView| super::fine(view, &config);
        let https = HostView { https: Some("0.0.0.0:7443".into()), ..view(&[], "up") };
        let of_file = Config { file: Some("lan-gateway.toml".into()), ..config.clone() };
        assert_eq!(super::fine(&https, &of_file).len(), FindingCode::ALL.len());
        assert_eq!(fine(&view(&[], "up")).len(), FindingCode::ALL.len() - 2, "no certificate and no file");
        assert_eq!(fine(&view(&FindingCode::ALL, "up")), [""; 0]);
        assert!(fine(&view(&[], "up")).contains(&"21 GB are free on the data disk.".to_owned()));
        assert!(!fine(&view(&[], "unknown")).iter().any(|text| text.contains("answers") || text.contains("default")));
        assert!(fine(&view(&[], "up")).iter().all(|text| text.ends_with('.')));
    }
}
