//! What the operator may set, checked and turned into what it means.
//!
//! Defaults need no file. `Config::resolve` reports every problem at once, each with its key and what to do. For what an
//! admin may change while the gateway runs, the file has the start value: `settings`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::{Table, Value};

use crate::base::clock::zone::Zone;
use crate::model::model_name::ModelName;

mod log_level;
mod reader;
pub mod settings;

pub use reader::Problem;
use reader::{Key, Reader, flag, list, number, one_of, same_variable, text};
use settings::Settings;

#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub default_model: ModelName,
    pub stop_seconds_max: Duration,
    pub workers: usize,
    /// Where a day ends.
    pub timezone: Zone,
    pub allow_networks: Vec<IpNet>,
    /// Names in lower case, and addresses.
    pub allowed_hosts: Vec<String>,
    pub allow_network_filesystem: bool,
    pub upstreams: Vec<Upstream>,
    pub upstream: UpstreamLimits,
    /// Start values.
    pub settings: Settings,
    pub limits: Limits,
    pub order: Order,
    pub answers: Answers,
    pub audit: Audit,
    pub accounts: Accounts,
    pub tokens: Tokens,
    pub log: Log,
    /// Values that have no effect, for the operator to read.
    pub notes: Vec<Problem>,
}

/// Where a configuration came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `None`: there was none.
    file: Option<PathBuf>,
    /// Names of variables of the environment.
    variables: Vec<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "read from {}", file.display())?,
            None => {
                let looked_at = std::path::absolute(DEFAULT_FILE).unwrap_or_else(|_| DEFAULT_FILE.into());
                write!(f, "no file was read: {} does not exist, and --config names none", looked_at.display())?;
            }
        }
        match self.variables.as_slice() {
            [] => Ok(()),
            variables => write!(f, "; over it the environment: {}", variables.join(", ")),
        }
    }
}

/// A host that serves models.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub name: String,
    /// `http://host:port`, without a path.
    pub url: String,
    /// Requests running there at once.
    pub slots: usize,
    /// Of these, requests to one model.
    pub slots_per_model: usize,
    /// Models that the host keeps loaded at once.
    pub models_loaded: usize,
}

#[derive(Debug, Clone)]
pub struct UpstreamLimits {
    pub connect_timeout: Duration,
    pub first_byte_timeout: Duration,
    pub idle_timeout: Duration,
    pub models_fresh: Duration,
}

#[derive(Debug, Clone)]
pub struct Limits {
    pub address_requests_per_minute: u32,
    pub body_timeout: Duration,
}

/// Who is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Who has had the least GPU time, for their weight.
    Fair,
    /// Who came first. For comparison.
    Arrival,
}

#[derive(Debug, Clone)]
pub struct Answers {
    pub time_max: Duration,
    pub bytes_max: usize,
    pub head_start: Duration,
    pub heartbeat: Duration,
}

#[derive(Debug, Clone)]
pub struct Audit {
    pub queue_bytes_max: usize,
    pub segment_time: Duration,
    pub segment_bytes: usize,
}

#[derive(Debug, Clone)]
pub struct Accounts {
    pub password_length_min: usize,
    pub token_lifetime: Duration,
    pub reset_lifetime: Duration,
    pub pending_max: u64,
    pub pending_per_address_max: u64,
    pub hashing_threads: usize,
    pub hashing_waiting_max: usize,
    pub credential_cache_lifetime: Duration,
    pub credential_cache_max: u64,
}

/// Tokens of machines.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub per_user_max: u32,
    pub lifetime_days: u32,
    pub lifetime_days_max: u32,
    pub grace_seconds: u32,
    pub grace_seconds_max: u32,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "lan-gateway.toml";

const INTRO: &str = "Configuration of lan-gateway. Every key stands here with its default, which needs no file.
Remove the # in front of a key to change it. The environment stands above the file:
LGW_LIMITS__REQUESTS_PER_MINUTE=20 sets requests_per_minute in [limits].
`lan-gateway config check` reports every problem of a file at once.";

impl Config {
    /// Reads `file`, or `lan-gateway.toml` when it exists, or nothing; then the environment.
    pub fn load(file: Option<&Path>) -> (Origin, Result<Config, Vec<Problem>>) {
        let default = Path::new(DEFAULT_FILE);
        // What can't be looked at counts as there: reading it says why.
        let file = file.or_else(|| default.try_exists().unwrap_or(true).then_some(default));
        let mut problems = Vec::new();
        let text = match file.map(std::fs::read_to_string) {
            Some(Ok(text)) => text,
            Some(Err(cause)) => {
                let key = file.unwrap_or(default).display().to_string();
                problems.push(Problem { key, message: format!("can't be read: {cause}") });
                String::new()
            }
            None => String::new(),
        };
        let mut env = Vec::new();
        for (name, value) in std::env::vars_os() {
            // A name that is not text can't be ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => env.push((name, value)),
                Err(_) if name.starts_with(reader::ENV_PREFIX) => {
                    problems.push(Problem { key: name, message: "is not text in UTF-8".into() });
                }
                Err(_) => {}
            }
        }
        let variables = Reader::new(Table::new(), env.clone()).variables();
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let origin = Origin { file: file.map(absolute), variables };
        let config = match Config::resolve(&text, env) {
            Ok(config) if problems.is_empty() => Ok(config),
            Ok(_) => Err(problems),
            Err(more) => Err(problems.into_iter().chain(more).collect()),
        };
        (origin, config)
    }

    pub fn resolve(toml: &str, env: impl IntoIterator<Item = (String, String)>) -> Result<Config, Vec<Problem>> {
        let table: Table = toml.parse().map_err(|cause: toml::de::Error| {
            vec![Problem { key: "the file".into(), message: format!("is not TOML: {cause}") }]
        })?;
        let mut reader = Reader::new(table, env);
        let mut config = Config::read(&mut reader);
        check_together(&mut reader, &config);
        config.notes = reader.take_notes();
        let problems = reader.finish();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// The commented file with every key and its default.
    pub fn example() -> String {
        let mut reader = Reader::new(Table::new(), []);
        Config::read(&mut reader);
        reader.example(INTRO)
    }

    fn read(reader: &mut Reader) -> Config {
        let listen = reader.key(
            "listen",
            "\"0.0.0.0:7000\"",
            "Address and port. Port 0 takes a free one and prints it.",
            parsed("an address and port, as in \"0.0.0.0:7000\""),
        );
        let data_dir = reader.key(
            "data_dir",
            "\"data\"",
            "The folder of the database, the secrets and the control socket. It belongs on a local disk.",
            |value| text(value).map(PathBuf::from),
        );
        let default_model =
            reader.key("default_model", "\"llama3.2:latest\"", "The model of a POST /chat that names none.", |value| {
                ModelName::parse(&text(value)?).map_err(|error| error.to_string())
            });
        let stop_seconds_max = reader.key(
            "stop_seconds_max",
            "30",
            "How long running answers may take after a SIGTERM before they are closed, with a record.",
            seconds(0, 3600),
        );
        let workers =
            reader.key("workers", "0", "Threads that serve connections; 0 means one per core.", number(0, 256));
        let timezone = reader.key(
            "timezone",
            "\"host\"",
            "Where a day ends, for quotas per day: an IANA name, as in \"Europe/Berlin\", or \"host\" for the host's own.",
            zone,
        );
        let allow_networks = reader.key(
            "allow_networks",
            "[\"127.0.0.0/8\", \"::1/128\", \"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\", \"169.254.0.0/16\", \
             \"fc00::/7\", \"fe80::/10\"]",
            "Client addresses that are served; all others get a 403. The default is loopback, private and link-local.",
            list(|item| item.parse().map_err(|_| format!("`{item}` must be a network, as in \"192.168.1.0/24\""))),
        );
        let allowed_hosts = reader.key(
            "allowed_hosts",
            "[]",
            "More names and addresses under which clients come here, as in \"ai.example.org\": those of a proxy, or of a host \
             that passes its port on.\n\
             The machine's own work without: its host name, also with .local and with the domains that it searches, and its \
             addresses. A request for any other host gets a 421, so that no web page can lead a browser here.",
            list(host),
        );
        let allow_network_filesystem = reader.key(
            "allow_network_filesystem",
            "false",
            "SQLite's locks are not dependable on NFS, SMB and the like, so such a data_dir is refused unless this is true.",
            flag,
        );
        let allow_remote_upstream = reader.key(
            "allow_remote_upstream",
            "false",
            "Prompts stay on this host unless this is true: an upstream whose address is not loopback is refused.",
            flag,
        );
        let upstreams = read_upstreams(reader, allow_remote_upstream);
        Config {
            listen,
            data_dir,
            default_model,
            stop_seconds_max,
            workers: workers as usize,
            timezone,
            allow_networks,
            allowed_hosts,
            allow_network_filesystem,
            upstreams,
            upstream: UpstreamLimits::read(reader),
            settings: Settings::read(reader),
            limits: Limits::read(reader),
            order: read_order(reader),
            answers: Answers::read(reader),
            audit: Audit::read(reader),
            accounts: Accounts::read(reader),
            tokens: Tokens::read(reader),
            log: Log::read(reader),
            notes: Vec::new(),
        }
    }
}

/// Values that are good each, and contradict each other. Those of settings are checked where they are.
fn check_together(reader: &mut Reader, config: &Config) {
    let Config { answers, upstream, .. } = config;
    let seconds = |key: &str, time: Duration| (Key::from(key), time.as_secs());
    let answer = seconds("answers.answer_seconds_max", answers.time_max);
    for part in [
        seconds("answers.head_start_seconds_max", answers.head_start),
        seconds("answers.heartbeat_seconds", answers.heartbeat),
        seconds("ollama.first_byte_seconds_max", upstream.first_byte_timeout),
        seconds("ollama.idle_seconds_max", upstream.idle_timeout),
    ] {
        reader.within(part, answer.clone());
    }
    for upstream in &config.upstreams {
        if let Some(port) = upstream.port()
            && port == config.listen.port()
            && upstream.may_be_at(config.listen.ip())
        {
            let message = format!("is the address of upstream `{}`, so the gateway would ask itself", upstream.name);
            reader.problem("listen", message);
        }
    }
}

fn read_upstreams(reader: &mut Reader, allow_remote: bool) -> Vec<Upstream> {
    let url = reader.key(
        "ollama.url",
        "\"http://127.0.0.1:11434\"",
        "Where Ollama listens. Short for [upstream.local] with kind = \"ollama\".\n\
         More hosts go into sections of their own: [upstream.NAME] with kind, url, slots, slots_per_model, models_loaded.\n\
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
    let local = Upstream {
        name: "local".into(),
        url,
        slots: slots as usize,
        slots_per_model: slots_per_model as usize,
        models_loaded: models_loaded as usize,
    };
    check_slots_per_model(
        reader,
        Key::from("ollama.slots_per_model"),
        slots_per_model,
        (Key::from("ollama.slots"), slots),
    );
    let mut upstreams = vec![(Key::from("ollama.url"), local)];
    let names = reader.names_under("upstream");
    for (at, name) in names.iter().enumerate() {
        let section = Key::of(&["upstream", name]).to_string();
        if let Err(message) = check_upstream_name(name) {
            reader.problem(&section, message);
        }
        if let Some(other) = names[..at].iter().find(|other| same_variable(other, name)) {
            reader.problem(&section, format!("can't be told from `{other}` in the environment; choose another name"));
        }
        let key = |field: &str| Key::of(&["upstream", name, field]);
        reader.key(key("kind"), "\"ollama\"", "", one_of(&[("ollama", ())]));
        let url = reader.key(key("url"), "\"http://127.0.0.1:11434\"", "", text);
        let slots = reader.key(key("slots"), "1", "", number(1, SLOTS_MAX));
        let slots_per_model = reader.key(key("slots_per_model"), "1024", "", number(1, SLOTS_MAX));
        let models_loaded = reader.key(key("models_loaded"), "1", "", number(1, 64));
        check_slots_per_model(reader, key("slots_per_model"), slots_per_model, (key("slots"), slots));
        let upstream = Upstream {
            name: name.clone(),
            url,
            slots: slots as usize,
            slots_per_model: slots_per_model as usize,
            models_loaded: models_loaded as usize,
        };
        if name == "local" {
            upstreams.remove(0);
        }
        upstreams.push((key("url"), upstream));
    }
    for (key, upstream) in &mut upstreams {
        match check_url(&upstream.url, allow_remote) {
            Ok(url) => upstream.url = url,
            Err(message) => reader.problem(key.to_string(), message),
        }
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

/// As many slots of one model as there can be mean that it has no bound of its own.
const SLOTS_MAX: u64 = 1024;

fn check_slots_per_model(reader: &mut Reader, key: Key, slots_per_model: u64, slots: (Key, u64)) {
    if slots_per_model < SLOTS_MAX {
        reader.within((key, slots_per_model), slots);
    }
}

/// Letters of an upstream's name, which each request's row in the record holds.
const UPSTREAM_NAME_LETTERS_MAX: usize = 64;

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

impl Upstream {
    /// The port of its URL, which was checked.
    fn port(&self) -> Option<u16> {
        let authority = self.url.strip_prefix("http://")?;
        match authority.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse().ok(),
            _ => Some(80),
        }
    }

    /// Whether its URL leads to this address of the machine, or to any that a listener on all of them takes.
    fn may_be_at(&self, address: IpAddr) -> bool {
        let authority = self.url.strip_prefix("http://").unwrap_or(&self.url);
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => authority,
        };
        let named = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let loopback = host == "localhost" || named.as_ref().is_ok_and(IpAddr::is_loopback);
        match named {
            Ok(named) if named == address => true,
            _ => loopback && (address.is_unspecified() || (host == "localhost" && address.is_loopback())),
        }
    }
}

/// A host name, or an address, as it stands in `Host` but without a port.
fn host(item: &str) -> Result<String, String> {
    let host = item.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_canonical().to_string()),
        Err(_) if is_name => Ok(host),
        Err(_) => Err(format!("`{item}` must be a host name or an address, without a port, as in \"ai.example.org\"")),
    }
}

/// `http://host:port` without a path. Prompts leave this host only when the operator says so.
fn check_url(url: &str, allow_remote: bool) -> Result<String, String> {
    const SCHEME: &str = "http://";
    let Some((_, rest)) = url.split_at_checked(SCHEME.len()).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
    else {
        return Err(format!("`{url}` must begin with http://"));
    };
    let authority = rest.trim_end_matches('/');
    let well_formed =
        !authority.is_empty() && !authority.contains(['/', '?', '#', '@']) && !authority.contains(char::is_whitespace);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
        _ => (authority, Some(80)),
    };
    if !well_formed || host.is_empty() || port.is_none() {
        return Err(format!("`{url}` must be http://HOST:PORT, without a path"));
    }
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if !loopback && !allow_remote {
        return Err(format!(
            "`{url}` is not on this host; prompts would leave it. Use a loopback address, or set allow_remote_upstream = true"
        ));
    }
    Ok(format!("http://{authority}"))
}

impl UpstreamLimits {
    fn read(reader: &mut Reader) -> Self {
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

impl Limits {
    fn read(reader: &mut Reader) -> Self {
        Limits {
            address_requests_per_minute: reader.key(
                "limits.address_requests_per_minute",
                "300",
                "Requests per address to sign-in and registration, and as many to /chat. Generous: many people may share one.",
                number(1, 1_000_000),
            ) as u32,
            body_timeout: reader.key(
                "limits.body_seconds_max",
                "30",
                "The longest time that a request body may take to arrive.",
                seconds(1, 3600),
            ),
        }
    }
}

fn read_order(reader: &mut Reader) -> Order {
    reader.key(
        "queue.order",
        "\"fair\"",
        "Who is next when a slot comes free: \"fair\", whoever has had the least GPU time for their weight, or \
         \"arrival\", whoever came first.",
        one_of(&[("fair", Order::Fair), ("arrival", Order::Arrival)]),
    )
}

impl Answers {
    fn read(reader: &mut Reader) -> Self {
        Answers {
            time_max: reader.key(
                "answers.answer_seconds_max",
                "900",
                "The longest time that one answer may run at an upstream.",
                seconds(1, 86_400),
            ),
            bytes_max: reader.key(
                "answers.answer_bytes_max",
                "16777216",
                "The largest answer, in bytes; it is held in memory until its record is on disk.",
                number(1024, 1 << 30),
            ) as usize,
            head_start: reader.key(
                "answers.head_start_seconds_max",
                "10",
                "How long a stream waits for its first event, so that an error can still have its own status code.",
                seconds(0, 600),
            ),
            heartbeat: reader.key(
                "answers.heartbeat_seconds",
                "15",
                "The pause between signs of life on a silent stream, where the client's protocol has one.",
                seconds(1, 600),
            ),
        }
    }
}

impl Audit {
    fn read(reader: &mut Reader) -> Self {
        Audit {
            queue_bytes_max: reader.key(
                "audit.queue_bytes_max",
                "67108864",
                "Bytes that may wait for the disk; when they are used up, new requests wait.",
                number(1 << 20, 1 << 32),
            ) as usize,
            segment_time: reader.key(
                "audit.segment_ms",
                "250",
                "A running answer goes to disk at least this often.",
                |value| number(10, 60_000)(value).map(Duration::from_millis),
            ),
            segment_bytes: reader.key(
                "audit.segment_bytes",
                "16384",
                "… and whenever this many bytes have come together.",
                number(1024, 1 << 20),
            ) as usize,
        }
    }
}

impl Accounts {
    fn read(reader: &mut Reader) -> Self {
        Accounts {
            password_length_min: reader.key(
                "accounts.password_length_min",
                "12",
                "Characters that a new password must have.",
                number(8, 128),
            ) as usize,
            token_lifetime: reader.key(
                "accounts.access_token_seconds",
                "3600",
                "How long an access token (JWT) from /auth/token is valid.",
                seconds(60, 86_400),
            ),
            reset_lifetime: reader.key(
                "accounts.reset_seconds_max",
                "3600",
                "How long a password that an admin has reset may be used to set a new one.",
                seconds(60, 86_400),
            ),
            pending_max: reader.key(
                "accounts.pending_max",
                "1000",
                "Registrations that may wait for approval; further ones get a 503.",
                number(1, 1_000_000),
            ),
            pending_per_address_max: reader.key(
                "accounts.pending_per_address_max",
                "50",
                "Of these, registrations from one address; further ones get a 429. Raise it where a proxy stands in front of \
                 the gateway and many people register at once.",
                number(1, 1_000_000),
            ),
            hashing_threads: reader.key(
                "accounts.hashing_threads",
                "1",
                "Passwords that are hashed at once (19 MiB and about 20 ms of one core each).",
                number(1, 64),
            ) as usize,
            hashing_waiting_max: reader.key(
                "accounts.hashing_waiting_max",
                "32",
                "Passwords that may wait for that; further ones get a 503.",
                number(1, 10_000),
            ) as usize,
            credential_cache_lifetime: reader.key(
                "accounts.credential_cache_seconds",
                "300",
                "How long a verified password on /chat need not be hashed again.",
                seconds(1, 3600),
            ),
            credential_cache_max: reader.key(
                "accounts.credential_cache_max",
                "1024",
                "Verified credentials that are remembered.",
                number(1, 100_000),
            ),
        }
    }
}

impl Tokens {
    fn read(reader: &mut Reader) -> Self {
        let tokens = Tokens {
            per_user_max: reader.key(
                "tokens.per_user_max",
                "20",
                "Tokens for machines that one person may have at a time.",
                number(1, 1000),
            ) as u32,
            lifetime_days: reader.key(
                "tokens.lifetime_days",
                "90",
                "How long a token is valid when its maker does not say.",
                number(1, 365),
            ) as u32,
            lifetime_days_max: reader.key(
                "tokens.lifetime_days_max",
                "365",
                "The longest lifetime that may be asked for.",
                number(1, 365),
            ) as u32,
            grace_seconds: reader.key(
                "tokens.grace_seconds",
                "3600",
                "After a rotation, how long the secret before is taken too when nothing is said.",
                number(0, 2_592_000),
            ) as u32,
            grace_seconds_max: reader.key(
                "tokens.grace_seconds_max",
                "604800",
                "The longest such time that may be asked for.",
                number(0, 2_592_000),
            ) as u32,
        };
        if tokens.lifetime_days > tokens.lifetime_days_max {
            reader.problem("tokens.lifetime_days", "must not be more than `tokens.lifetime_days_max`");
        }
        if tokens.grace_seconds > tokens.grace_seconds_max {
            reader.problem("tokens.grace_seconds", "must not be more than `tokens.grace_seconds_max`");
        }
        tokens
    }
}

impl Log {
    fn read(reader: &mut Reader) -> Self {
        Log {
            format: reader.key(
                "log.format",
                "\"text\"",
                "\"text\" or \"json\". Logs go to standard error and never hold a prompt, an answer or a secret.",
                one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            ),
            level: reader.key(
                "log.level",
                "\"info,actix_server=warn\"",
                "\"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a filter as in \"info,lan_gateway=debug\".",
                log_level::filter,
            ),
        }
    }
}

fn seconds(least: u64, most: u64) -> impl Fn(&Value) -> Result<Duration, String> {
    move |value| number(least, most)(value).map(Duration::from_secs)
}

fn zone(value: &Value) -> Result<Zone, String> {
    let name = text(value)?;
    if name == "host" {
        return Ok(Zone::of_host());
    }
    let unknown = || format!("`{name}` must be the IANA name of a time zone, as in \"Europe/Berlin\", or \"host\"");
    Zone::named(&name).ok_or_else(unknown)
}

fn parsed<T: std::str::FromStr>(what: &'static str) -> impl Fn(&Value) -> Result<T, String> {
    move |value| text(value)?.parse().map_err(|_| format!("{value} must be {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn defaults_need_no_file() {
        let config = Config::resolve("", []).unwrap();

        assert_eq!(config.listen.port(), 7000);
        assert_eq!(config.settings.requests_per_minute, 10);
        assert_eq!(config.upstreams[0].url, "http://127.0.0.1:11434");
    }

    #[test]
    fn the_example_file_says_what_the_defaults_are() {
        let uncommented: String = Config::example()
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");

        let config = Config::resolve(&uncommented, []).unwrap();

        let told = |config: &Config| {
            let text = format!("{config:?}");
            let (before, after) = text.split_once("said: ").unwrap();
            // What was said is no value.
            (before.to_owned(), after.trim_start_matches(|letter: char| letter.is_ascii_digit()).to_owned())
        };
        assert_eq!(told(&config), told(&Config::resolve("", []).unwrap()));
    }

    #[test]
    fn the_environment_stands_above_the_file() {
        let file = "listen = \"127.0.0.1:1\"\n[limits]\nrequests_per_minute = 3\n";
        let vars =
            env(&[("LGW_LISTEN", "127.0.0.1:2"), ("LGW_LIMITS__REQUESTS_PER_MINUTE", "4"), ("LGW_PASSWORD", "x")]);

        let config = Config::resolve(file, vars).unwrap();

        assert_eq!((config.listen.port(), config.settings.requests_per_minute), (2, 4));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let file = "listen = 7\nlisen = \"x\"\n[limits]\nrequests_per_minute = 0\nbody_bytes = 5\n";

        let problems = Config::resolve(file, env(&[("LGW_QUEUE__NONSENSE", "1")])).unwrap_err();

        let mut keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["LGW_QUEUE__NONSENSE", "limits.body_bytes", "limits.requests_per_minute", "lisen", "listen"]);
        assert!(problems.iter().any(|problem| problem.message.contains("limits.body_bytes_max")));
    }

    #[test]
    fn a_time_zone_that_is_none_is_a_problem() {
        assert!(Config::resolve("timezone = \"Europe/Berlin\"", []).is_ok());
        assert!(Config::resolve("timezone = \"host\"", []).is_ok());

        let problems = Config::resolve("timezone = \"Berlin\"", []).unwrap_err();

        assert_eq!(problems[0].key, "timezone");
        assert!(problems[0].message.contains("`Berlin` must be the IANA name"), "{}", problems[0]);
    }

    #[test]
    fn an_allowed_host_is_a_name_or_an_address_without_a_port() {
        let allow = |host: &str| Config::resolve(&format!("allowed_hosts = [\"{host}\"]"), []);

        for (given, kept) in [("AI.Example.org.", "ai.example.org"), ("[2001:DB8::1]", "2001:db8::1"), ("a", "a")] {
            assert_eq!(allow(given).unwrap().allowed_hosts, [kept]);
        }
        for wrong in ["", "*", "http://a", "a:7000", "a/b", "a b", "größe"] {
            assert_eq!(allow(wrong).unwrap_err()[0].key, "allowed_hosts", "{wrong}");
        }
    }

    #[test]
    fn an_upstream_off_this_host_needs_leave() {
        let remote = "[ollama]\nurl = \"http://192.168.1.5:11434\"\n";

        assert_eq!(Config::resolve(remote, []).unwrap_err()[0].key, "ollama.url");
        assert!(Config::resolve(&format!("allow_remote_upstream = true\n{remote}"), []).is_ok());
        for local in ["http://localhost:1", "HTTP://localhost:1", "http://[::1]:1", "http://127.0.0.9:1/"] {
            assert!(Config::resolve(&format!("[ollama]\nurl = \"{local}\"\n"), []).is_ok(), "{local}");
        }
        for bad in
            ["https://localhost:1", "http://localhost:1/api", "http://u@localhost:1", "http://localhost:x", "http://"]
        {
            assert!(Config::resolve(&format!("[ollama]\nurl = \"{bad}\"\n"), []).is_err(), "{bad}");
        }
    }

    fn keys(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.key.as_str()).collect()
    }

    #[test]
    fn a_variable_with_our_prefix_that_no_key_has_is_a_problem_with_the_nearest_key() {
        for (name, meant) in [
            ("LGW_DEFAULT_MODLE", "LGW_DEFAULT_MODEL"),
            ("LGW_LISTENN", "LGW_LISTEN"),
            ("LGW_ALOW_NETWORKS", "LGW_ALLOW_NETWORKS"),
            ("LGW_LIMITS_REQUESTS_PER_MINUTE", "LGW_LIMITS__REQUESTS_PER_MINUTE"),
            ("LGW_REQUESTS_PER_MINUTE", "LGW_LIMITS__REQUESTS_PER_MINUTE"),
            ("LGW_OLLAMA_URL", "LGW_OLLAMA__URL"),
            ("LGW_OLLAMA__SLOT", "LGW_OLLAMA__SLOTS"),
            ("LGW_listen", "LGW_LISTEN"),
            ("LGW_PORT", "config example"),
            ("LGW_LIMITS__X", "config example"),
            ("LGW_UPSTREAM__URL", ""),
        ] {
            let problems = Config::resolve("", env(&[(name, "1")])).unwrap_err();

            assert_eq!(keys(&problems), [name]);
            assert!(problems[0].message.contains(meant), "{}", problems[0]);
        }
        for documented in ["LGW_CONFIG", "LGW_URL", "LGW_USER", "LGW_PASSWORD", "LGW_DEBUG_SYNCHRONOUS_OFF", "LGWX"] {
            assert!(Config::resolve("", env(&[(documented, "x")])).is_ok(), "{documented}");
        }
    }

    #[test]
    fn a_misspelt_key_of_the_file_is_named_with_the_nearest() {
        for (file, key, meant) in [
            ("default_modle = \"x\"", "default_modle", "`default_model`"),
            ("requests_per_minute = 1", "requests_per_minute", "`limits.requests_per_minute`"),
            ("[limit]\nrequests_per_minute = 1", "limit.requests_per_minute", "`limits.requests_per_minute`"),
            ("[upstream]\nurl = \"x\"", "upstream.url", "did you mean"),
            ("[[upstream]]\nurl = \"x\"", "upstream", "no such key"),
            ("[upstream.a]\nurl = \"http://127.0.0.1:2\"\nslot = 1", "upstream.a.slot", "slots`"),
            ("[upstream.a]\nurl = \"http://127.0.0.1:2\"\nnonsense = 1", "upstream.a.nonsense", "config example"),
        ] {
            let problems = Config::resolve(file, []).unwrap_err();

            assert_eq!(keys(&problems), [key]);
            assert!(problems[0].message.contains(meant), "{}", problems[0]);
        }
    }

    #[test]
    fn every_bad_entry_of_a_list_is_a_problem() {
        let file =
            "allow_networks = [\"192.168.1.0/33\", \"10.0.0.0/8\", \"lan\", 5]\nallowed_hosts = [\"a:1\", \"b/c\"]";

        let problems = Config::resolve(file, []).unwrap_err();

        let networks = ["allow_networks"; 3];
        assert_eq!(keys(&problems), [&networks[..], &["allowed_hosts"; 2]].concat());
        for (problem, bad) in problems.iter().zip(["192.168.1.0/33", "lan", "5", "a:1", "b/c"]) {
            assert!(problem.message.contains(bad), "{problem}");
        }
        let from_env = Config::resolve("", env(&[("LGW_ALLOW_NETWORKS", "[\"x\", \"y\"]")])).unwrap_err();
        assert_eq!(keys(&from_env), ["allow_networks"; 2]);
    }

    #[test]
    fn an_upstream_may_have_a_dotted_name_and_the_environment_writes_it_with_underscores() {
        let file = "[upstream.\"gpu1.lan\"]\nkind = \"ollama\"\nurl = \"http://127.0.0.1:7448\"\nslots = 7\n";
        let hosts = |vars: &[(&str, &str)]| {
            let config = Config::resolve(file, env(vars)).unwrap();
            config.upstreams.iter().map(|u| (u.name.clone(), u.url.clone(), u.slots)).collect::<Vec<_>>()
        };
        let gpu1 = |slots| ("gpu1.lan".to_owned(), "http://127.0.0.1:7448".to_owned(), slots);

        assert_eq!(hosts(&[])[1..], [gpu1(7)]);
        assert_eq!(hosts(&[("LGW_UPSTREAM__GPU1_LAN__SLOTS", "3")])[1..], [gpu1(3)]);
        assert_eq!(hosts(&[("LGW_UPSTREAM__GPU1.LAN__SLOTS", "4")])[1..], [gpu1(4)]);
        let two = hosts(&[("LGW_UPSTREAM__B.LAN__URL", "http://127.0.0.1:9"), ("LGW_UPSTREAM__B.LAN__SLOTS", "2")]);
        assert!(two.contains(&("b.lan".to_owned(), "http://127.0.0.1:9".to_owned(), 2)), "{two:?}");
        let problems = Config::resolve(&format!("{file}nonsense = 1"), []).unwrap_err();
        assert_eq!(keys(&problems), ["upstream.\"gpu1.lan\".nonsense"]);
        let twice = "[upstream.\"a.b\"]\nurl = \"http://127.0.0.1:2\"\n[upstream.a-b]\nurl = \"http://127.0.0.1:3\"\n";
        assert_eq!(keys(&Config::resolve(twice, []).unwrap_err()).len(), 1, "one variable would set both");
    }

    #[test]
    fn an_upstream_has_a_name_that_the_record_can_hold() {
        let named = |name: &str| Config::resolve(&format!("[upstream.\"{name}\"]\nurl = \"http://127.0.0.1:2\""), []);

        for good in [&"h".repeat(64)[..], "gpu1.lan:11434", "a_b-c"] {
            assert_eq!(named(good).unwrap().upstreams[1].name, good);
        }
        for bad in [&"h".repeat(65)[..], "", "a b", "a__b", "größe"] {
            assert_eq!(named(bad).unwrap_err().len(), 1, "{bad}");
        }
        let table = include_str!("../../migrations/sqlite/2026-11-24-000000_initial/up.sql");
        assert!(table.contains(&format!("host TEXT CHECK (length(host) <= {UPSTREAM_NAME_LETTERS_MAX})")));
    }

    #[test]
    fn values_that_contradict_each_other_are_problems_and_a_default_gives_way() {
        for (file, key) in [
            ("[breaker]\nrepeats_free = 40\nrepeats_max = 39", "breaker.repeats_free"),
            ("[breaker]\nerrors_free = 41", "breaker.errors_free"),
            ("[limits]\nrequests_per_minute = 9\nrequests_per_minute_total = 8", "limits.requests_per_minute"),
            ("[queue]\nwaiting_per_user_max = 9\nwaiting_max = 8", "queue.waiting_per_user_max"),
            ("[answers]\nhead_start_seconds_max = 9\nanswer_seconds_max = 8", "answers.head_start_seconds_max"),
            ("[answers]\nheartbeat_seconds = 9\nanswer_seconds_max = 8", "answers.heartbeat_seconds"),
            ("[ollama]\nidle_seconds_max = 9\n[answers]\nanswer_seconds_max = 8", "ollama.idle_seconds_max"),
            (
                "[ollama]\nfirst_byte_seconds_max = 9\n[answers]\nanswer_seconds_max = 8",
                "ollama.first_byte_seconds_max",
            ),
            ("[ollama]\nslots = 8\nslots_per_model = 9", "ollama.slots_per_model"),
            ("listen = \"0.0.0.0:11434\"", "listen"),
            ("listen = \"127.0.0.1:11434\"", "listen"),
            ("[upstream.gpu]\nurl = \"http://127.0.0.1:11434/\"", "upstream.gpu.url"),
        ] {
            assert_eq!(keys(&Config::resolve(file, []).unwrap_err()), [key], "{file}");
            let equal = file.replace('9', "8").replace("= 4", "= 3").replace("11434", "11435");
            let config = Config::resolve(&equal, []).unwrap_or_else(|problems| panic!("{equal}: {problems:?}"));
            assert_eq!(config.notes, [], "{equal}");
        }
        let config =
            Config::resolve("[limits]\nrequests_per_minute = 1000\n[answers]\nanswer_seconds_max = 2", []).unwrap();
        assert_eq!(keys(&config.notes), ["limits.requests_per_minute"], "the other two are defaults that give way");
        assert!(Config::resolve("listen = \"192.168.1.5:11434\"", []).is_ok(), "another address of this machine");
    }

    #[test]
    fn more_hosts_have_sections_of_their_own() {
        let file = "[upstream.big]\nkind = \"ollama\"\nurl = \"http://127.0.0.1:2\"\nslots = 3\n";

        let config = Config::resolve(file, []).unwrap();

        let names: Vec<_> = config.upstreams.iter().map(|u| (u.name.as_str(), u.slots)).collect();
        assert_eq!(names, [("local", 1), ("big", 3)]);
    }
}
