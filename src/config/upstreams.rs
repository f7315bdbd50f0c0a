//! The upstreams, their slots and the waits for them: `[ollama]` and `[upstream.NAME]`.

use std::time::Duration;

use toml::Value;

use crate::base::secret::Secret;
use crate::config::reader::{Key, Reader, same_variable};
use crate::config::values::{number, one_of, seconds, text};
use crate::model::provider_kind::ProviderKind;

mod url;

pub use url::UpstreamUrl;

/// A server that serves models.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub name: String,
    pub kind: ProviderKind,
    pub url: UpstreamUrl,
    /// What the gateway shows it, where it asks for something.
    pub secret: Option<Secret<String>>,
    /// Requests that run there at once.
    pub slots: usize,
    /// Slots that one model may use.
    pub slots_per_model: usize,
    /// Models that it keeps loaded at once.
    pub models_loaded: usize,
}

#[derive(Debug, Clone)]
pub struct UpstreamLimits {
    pub connect_timeout: Duration,
    pub first_byte_timeout: Duration,
    pub idle_timeout: Duration,
    pub models_fresh: Duration,
}

/// The most slots. As `slots_per_model` it sets no bound, so it may be more than `slots`.
const SLOTS_MAX: u64 = 1024;

/// The name of the upstream that `[ollama]` describes.
const LOCAL: &str = "local";

/// Letters of an upstream's secret, at most. It goes into a header.
pub const SECRET_LETTERS_MAX: usize = 4096;

/// Letters of an upstream's name, which each request's row in the record holds.
pub const UPSTREAM_NAME_LETTERS_MAX: usize = 64;

impl UpstreamLimits {
    pub fn read(reader: &mut Reader) -> Self {
        UpstreamLimits {
            connect_timeout: reader.key(
                "ollama.connect_seconds_max",
                "5",
                "The longest wait for a connection to an upstream.",
                seconds(1, 600),
            ),
            first_byte_timeout: reader.key(
                "ollama.first_byte_seconds_max",
                "300",
                "The longest wait for the first byte of an answer: the model is loaded and the prompt read before it.",
                seconds(1, 3600),
            ),
            idle_timeout: reader.key(
                "ollama.idle_seconds_max",
                "120",
                "The longest silence inside an answer.",
                seconds(1, 3600),
            ),
            models_fresh: reader.key(
                "ollama.models_seconds_max",
                "30",
                "How old the list of models may be before it is asked for again.",
                seconds(1, 3600),
            ),
        }
    }
}

/// Reads the text of a secret; empty stands for none. Messages don't show it.
fn secret(value: &Value) -> Result<Option<Secret<String>>, String> {
    let text = value.as_str().ok_or("must be a text in quotes")?;
    if text.len() > SECRET_LETTERS_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("must be of at most {SECRET_LETTERS_MAX} ASCII letters, digits and signs, without spaces"));
    }
    Ok((!text.is_empty()).then(|| Secret::new(text.to_owned())))
}

pub fn read(reader: &mut Reader, allow_remote: bool) -> Vec<Upstream> {
    let url = reader.key(
        "ollama.url",
        "\"http://127.0.0.1:11434\"",
        "Where Ollama listens; https:// where a proxy in front of it has a certificate that this host trusts. Short for [upstream.local] with kind = \"ollama\".\n\
         More hosts go into sections of their own: [upstream.NAME] with kind, url, slots, slots_per_model, models_loaded, and\n\
         secret where a proxy in front of it asks for one (sent as `Authorization: Bearer`).\n\
         A NAME with a dot takes quotes, as in [upstream.\"gpu1.lan\"]; the environment writes it with _ instead, as in\n\
         LGW_UPSTREAM__GPU1_LAN__URL.",
        text,
    );
    let slots = reader.key(
        "ollama.slots",
        "1",
        "Requests that run at this Ollama at once; the others wait here, in turn. Ollama's OLLAMA_NUM_PARALLEL, \
         1 by default, is the number to match; it can't be read from its API.",
        number(1, 1024),
    );
    let slots_per_model = reader.key(
        "ollama.slots_per_model",
        "1024",
        "Of these slots, how many may run the same model; never more than there are slots.",
        number(1, SLOTS_MAX),
    );
    let models_loaded = reader.key(
        "ollama.models_loaded",
        "1",
        "Models that this Ollama keeps loaded at once, as far as its memory goes. Requests for a loaded model may go \
         first for a while, so that two people with two models don't reload it at every turn.",
        number(1, 64),
    );
    check_slots_per_model(
        reader,
        Key::from("ollama.slots_per_model"),
        slots_per_model,
        (Key::from("ollama.slots"), slots),
    );
    let names = reader.names_under("upstream");
    let mut upstreams: Vec<(Key, Upstream)> = Vec::new();
    // A section [upstream.local] stands for [ollama].
    if !names.iter().any(|name| name == LOCAL) {
        let key = Key::from("ollama.url");
        if let Some(url) = checked(reader, &key, &url, allow_remote) {
            let local = Upstream {
                name: LOCAL.to_owned(),
                kind: ProviderKind::Ollama,
                url,
                secret: None,
                slots: slots as usize,
                slots_per_model: slots_per_model as usize,
                models_loaded: models_loaded as usize,
            };
            upstreams.push((key, local));
        }
    }
    for (at, name) in names.iter().enumerate() {
        let section = Key::of(&["upstream", name]).to_string();
        if let Err(message) = check_upstream_name(name) {
            reader.problem(&section, message);
        }
        if let Some(other) = names[..at].iter().find(|other| same_variable(other, name)) {
            reader.problem(&section, format!("can't be told from `{other}` in the environment; choose another name"));
        }
        let key = |field: &str| Key::of(&["upstream", name, field]);
        let kind = reader.key(key("kind"), "\"ollama\"", "", one_of(ProviderKind::NAMED));
        let url = reader.key(key("url"), "\"http://127.0.0.1:11434\"", "", text);
        let secret = reader.key(key("secret"), "\"\"", "", secret);
        let slots = reader.key(key("slots"), "1", "", number(1, SLOTS_MAX));
        let slots_per_model = reader.key(key("slots_per_model"), "1024", "", number(1, SLOTS_MAX));
        let models_loaded = reader.key(key("models_loaded"), "1", "", number(1, 64));
        check_slots_per_model(reader, key("slots_per_model"), slots_per_model, (key("slots"), slots));
        let Some(url) = checked(reader, &key("url"), &url, allow_remote) else { continue };
        let upstream = Upstream {
            name: name.clone(),
            kind,
            url,
            secret,
            slots: slots as usize,
            slots_per_model: slots_per_model as usize,
            models_loaded: models_loaded as usize,
        };
        upstreams.push((key("url"), upstream));
    }
    for (at, (key, upstream)) in upstreams.iter().enumerate() {
        if let Some((other, _)) = upstreams[..at].iter().find(|(_, other)| other.url == upstream.url) {
            let message = format!(
                "`{}` is `{other}`, too, so requests beyond its slots would go there; a section [upstream.local] stands \
                 for [ollama]",
                upstream.url
            );
            reader.problem(key.to_string(), message);
        }
    }
    upstreams.into_iter().map(|(_, upstream)| upstream).collect()
}

fn checked(reader: &mut Reader, key: &Key, url: &str, allow_remote: bool) -> Option<UpstreamUrl> {
    UpstreamUrl::parse(url, allow_remote).map_err(|message| reader.problem(key.to_string(), message)).ok()
}

fn check_slots_per_model(reader: &mut Reader, key: Key, slots_per_model: u64, slots: (Key, u64)) {
    if slots_per_model < SLOTS_MAX {
        reader.within((key, slots_per_model), slots);
    }
}

fn check_upstream_name(name: &str) -> Result<(), String> {
    let well_formed = !name.is_empty()
        && !name.contains("__")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    if !well_formed {
        return Err("the name must be of letters, digits and -._: , without two _ in a row".into());
    }
    if name.len() > UPSTREAM_NAME_LETTERS_MAX {
        return Err(format!("the name has {} letters; at most {UPSTREAM_NAME_LETTERS_MAX} are kept", name.len()));
    }
    Ok(())
}
