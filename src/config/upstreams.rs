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
    pub url: UpstreamUrl,
    /// The secret that the gateway shows it, where it asks for one.
    pub secret: Option<Secret<String>>,
    pub own: KindSettings,
}

/// What only upstreams of one kind are configured with.
#[derive(Debug, Clone)]
pub enum KindSettings {
    Ollama(UpstreamSlots),
}

/// How many requests an upstream runs at once.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamSlots {
    pub total: usize,
    /// Slots that one model may use.
    pub per_model: usize,
    /// Models that it keeps loaded at once.
    pub models_loaded: usize,
}

impl Upstream {
    pub fn kind(&self) -> ProviderKind {
        match self.own {
            KindSettings::Ollama(_) => ProviderKind::Ollama,
        }
    }

    /// Returns how many requests the gateway sends there at once.
    pub fn slots(&self) -> UpstreamSlots {
        match self.own {
            KindSettings::Ollama(slots) => slots,
        }
    }
}

impl KindSettings {
    /// Reads what the section of an upstream of this kind holds beside the keys of all kinds.
    fn read(reader: &mut Reader, kind: ProviderKind, key: impl Fn(&str) -> Key) -> Self {
        match kind {
            ProviderKind::Ollama => KindSettings::Ollama(UpstreamSlots::read(reader, key, ["", "", ""])),
        }
    }
}

impl UpstreamSlots {
    /// Reads the keys of a section. `helps` are their lines in the example file.
    fn read(reader: &mut Reader, key: impl Fn(&str) -> Key, helps: [&'static str; 3]) -> Self {
        let [help, per_model_help, loaded_help] = helps;
        let total = reader.key(key("slots"), "1", help, number(1, SLOTS_MAX));
        let per_model = reader.key(key("slots_per_model"), "1024", per_model_help, number(1, SLOTS_MAX));
        let models_loaded = reader.key(key("models_loaded"), "1", loaded_help, number(1, MODELS_LOADED_MAX));
        if per_model < SLOTS_MAX {
            reader.within((key("slots_per_model"), per_model), (key("slots"), total));
        }
        UpstreamSlots { total: total as usize, per_model: per_model as usize, models_loaded: models_loaded as usize }
    }
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

/// The most models that an upstream keeps loaded.
const MODELS_LOADED_MAX: u64 = 64;

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
    let ollama = |field: &str| Key::of(&["ollama", field]);
    let slots = UpstreamSlots::read(
        reader,
        ollama,
        [
            "Requests that run at this Ollama at once; the others wait here, in turn. Ollama's OLLAMA_NUM_PARALLEL, \
             1 by default, is the number to match; it can't be read from its API.",
            "Of these slots, how many may run the same model; never more than there are slots.",
            "Models that this Ollama keeps loaded at once, as far as its memory goes. Requests for a loaded model may go \
             first for a while, so that two people with two models don't reload it at every turn.",
        ],
    );
    let names = reader.names_under("upstream");
    let mut upstreams: Vec<(Key, Upstream)> = Vec::new();
    // A section [upstream.local] stands for [ollama].
    if !names.iter().any(|name| name == LOCAL) {
        let key = Key::from("ollama.url");
        if let Some(url) = checked(reader, &key, &url, allow_remote) {
            let local = Upstream { name: LOCAL.to_owned(), url, secret: None, own: KindSettings::Ollama(slots) };
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
        let secret = reader.secret_key(key("secret"), "\"\"", "", secret);
        let own = KindSettings::read(reader, kind, key);
        let Some(url) = checked(reader, &key("url"), &url, allow_remote) else { continue };
        let upstream = Upstream { name: name.clone(), url, secret, own };
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
