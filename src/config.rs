//! What the operator may set, checked and turned into what it means.
//!
//! Defaults need no file. `Config::resolve` reports every problem at once, each with its key and what to do. For what an
//! admin may change while the gateway runs, the file has the start value: `settings`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::{Table, Value};

use crate::chat::ModelName;
use crate::clock::zone::Zone;

mod reader;
pub mod settings;

pub use reader::Problem;
use reader::{Reader, flag, list, number, one_of, text};
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
    pub fn load(file: Option<&Path>) -> Result<Config, Vec<Problem>> {
        let default = Path::new(DEFAULT_FILE);
        let file = file.or_else(|| default.exists().then_some(default));
        let text = match file {
            Some(path) => std::fs::read_to_string(path).map_err(|cause| {
                vec![Problem { key: path.display().to_string(), message: format!("can't be read: {cause}") }]
            })?,
            None => String::new(),
        };
        // Variables that are not text can't be ours: their names are ASCII.
        let env =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Config::resolve(&text, env)
    }

    pub fn resolve(toml: &str, env: impl IntoIterator<Item = (String, String)>) -> Result<Config, Vec<Problem>> {
        let table: Table = toml.parse().map_err(|cause: toml::de::Error| {
            vec![Problem { key: "the file".into(), message: format!("is not TOML: {cause}") }]
        })?;
        let mut reader = Reader::new(table, env);
        let config = Config::read(&mut reader);
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
        }
    }
}

fn read_upstreams(reader: &mut Reader, allow_remote: bool) -> Vec<Upstream> {
    let url = reader.key(
        "ollama.url",
        "\"http://127.0.0.1:11434\"",
        "Where Ollama listens. Short for [upstream.local] with kind = \"ollama\".\n\
         More hosts go into sections of their own: [upstream.NAME] with kind, url, slots, slots_per_model, models_loaded.",
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
        number(1, 1024),
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
    let mut upstreams = vec![("ollama.url".to_owned(), local)];
    for name in reader.names_under("upstream") {
        let key = |field: &str| format!("upstream.{name}.{field}");
        reader.key(key("kind"), "\"ollama\"", "", one_of(&[("ollama", ())]));
        let url = reader.key(key("url"), "\"http://127.0.0.1:11434\"", "", text);
        let slots = reader.key(key("slots"), "1", "", number(1, 1024));
        let slots_per_model = reader.key(key("slots_per_model"), "1024", "", number(1, 1024));
        let models_loaded = reader.key(key("models_loaded"), "1", "", number(1, 64));
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
            Err(message) => reader.problem(key.clone(), message),
        }
    }
    upstreams.into_iter().map(|(_, upstream)| upstream).collect()
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
                "\"error\", \"warn\", \"info\", \"debug\", or a filter as in \"info,lan_gateway=debug\".",
                text,
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

        assert_eq!(format!("{config:?}"), format!("{:?}", Config::resolve("", []).unwrap()));
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

    #[test]
    fn more_hosts_have_sections_of_their_own() {
        let file = "[upstream.big]\nkind = \"ollama\"\nurl = \"http://127.0.0.1:2\"\nslots = 3\n";

        let config = Config::resolve(file, []).unwrap();

        let names: Vec<_> = config.upstreams.iter().map(|u| (u.name.as_str(), u.slots)).collect();
        assert_eq!(names, [("local", 1), ("big", 3)]);
    }
}
