//! The host in a few facts: model servers, models in memory, the record, the disk.

use askama::Template;
use askama::filters::HtmlSafe;

use crate::base::clock::Timestamp;
use crate::http::host_view::{HostUpstream, HostView, LoadedView};
use crate::http::pages::filters;
use crate::http::pages::format::{PageTimes, bytes};
use crate::http::pages::words::counted;

/// Models that are named.
const LOADED_MAX: usize = 4;

/// A model server.
struct ServerFact {
    name: String,
    /// The class of its dot.
    dot: &'static str,
    text: String,
    sub: String,
}

#[derive(Template)]
#[template(path = "overview/facts.html")]
pub struct HostFactsPart {
    servers: Vec<ServerFact>,
    has_several: bool,
    /// Name, and size if it is known.
    loaded: Vec<(String, String)>,
    loaded_more: usize,
    /// What is said where no model is named.
    none_loaded: &'static str,
    record: String,
    growth: String,
    free: String,
    gateway: String,
}

/// Its template escapes what needs it.
impl HtmlSafe for HostFactsPart {}

impl HostFactsPart {
    pub fn of(view: &HostView, times: &PageTimes) -> HostFactsPart {
        let all: Vec<&LoadedView> = view.hosts.iter().flat_map(|host| host.loaded.iter().flatten()).collect();
        let size = |model: &LoadedView| model.gpu_bytes.or(model.bytes).map(bytes).unwrap_or_default();
        let up = view.started_at.as_deref().and_then(Timestamp::parse);
        let up = up.map(|up| format!(", up since {}", times.minute(up).text)).unwrap_or_default();
        let record = &view.record;
        HostFactsPart {
            servers: view.hosts.iter().map(|host| server(host, times)).collect(),
            has_several: view.hosts.len() > 1,
            loaded: all.iter().take(LOADED_MAX).map(|model| (model.name.clone(), size(model))).collect(),
            loaded_more: all.len().saturating_sub(LOADED_MAX),
            none_loaded: if view.hosts.iter().any(|host| host.loaded.is_some()) { "No model" } else { "Not told" },
            record: record.bytes.map_or_else(|| "size not known".to_owned(), bytes),
            growth: match (record.can_record, record.bytes_per_day) {
                (false, _) => "can't be written".to_owned(),
                (true, Some(0)) => "does not grow".to_owned(),
                (true, Some(growth)) => format!("grows by {} a day", bytes(growth)),
                (true, None) => "younger than a day".to_owned(),
            },
            free: record.disk_free_bytes.map_or_else(|| "not known".to_owned(), bytes),
            gateway: format!("lan-gateway {}{up}", view.version),
        }
    }
}

fn server(host: &HostUpstream, times: &PageTimes) -> ServerFact {
    let down = host.down_since.as_deref().and_then(Timestamp::parse);
    let (dot, text) = match (host.state, host.latency_ms) {
        ("up", Some(latency)) => ("", format!("answers in {latency} ms")),
        ("up", None) => ("", "answers".to_owned()),
        ("down", _) => ("bad", "does not answer".to_owned()),
        _ => ("off", "not asked yet".to_owned()),
    };
    let models = counted(host.models as u64, "model", "models");
    let sub = match down {
        Some(since) => format!("since {}", times.minute(since).text),
        None => format!("{models}, {} of {} free", host.free, counted(host.slots as u64, "slot", "slots")),
    };
    ServerFact { name: host.name.clone(), dot, text, sub }
}
