//! The configuration: read from the file and the environment, checked, and turned into types.
//!
//! Every key has a default. `Config::resolve` reports every problem at once, each with its key and what to do. `settings` has
//! the keys that an admin may change while the gateway runs; the file has their start values. Each section is a file: a key is
//! one field there and one `reader.key(…)` below it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::Table;

use crate::base::clock::zone::Zone;
use crate::model::model_name::ModelName;

mod accounts;
mod answers;
mod audit;
mod backup;
mod delegating;
mod disk;
mod flags;
mod incidents;
mod keys;
mod limits;
mod log;
mod log_level;
mod metrics;
mod models;
mod notices;
mod origin;
mod queue;
mod reader;
pub mod settings;
mod tls;
mod tokens;
mod upstreams;
mod values;

pub use accounts::{AccountsSection, UnknownPerson};
pub use answers::Answers;
pub use audit::{AuditSection, CHECKPOINTS};
pub use backup::{BackupSchedule, BackupSection};
pub use delegating::DelegatingSection;
pub use disk::DiskSection;
pub use flags::ConfigFlags;
pub use incidents::IncidentsSection;
pub use keys::{ConfigKey, KeySource};
pub use limits::LimitsSection;
pub use log::{Log, LogFormat};
pub use metrics::MetricsSection;
pub use models::ModelsSection;
pub use notices::NoticesSection;
pub use origin::Origin;
pub use queue::Order;
pub use reader::Problem;
use reader::{Key, Reader};
use settings::Settings;
use tls::PLAIN_HTTP;
pub use tls::{PlainHttp, TlsFiles, TlsSection};
pub use tokens::TokensSection;
pub use upstreams::{KindSettings, Upstream, UpstreamLimits, UpstreamSlots, UpstreamUrl};
use values::{flag, host, list, network, number, one_of, parsed, seconds, text, zone};

#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub default_model: ModelName,
    pub stop_seconds_max: Duration,
    pub workers: usize,
    /// The zone in which a day begins and ends.
    pub timezone: Zone,
    pub allow_networks: Vec<IpNet>,
    /// Names in lower case, and addresses.
    pub allowed_hosts: Vec<String>,
    pub trusted_proxies: Vec<IpNet>,
    pub plain_http: PlainHttp,
    pub allow_network_filesystem: bool,
    pub upstreams: Vec<Upstream>,
    pub upstream: UpstreamLimits,
    /// Start values.
    pub settings: Settings,
    pub limits: LimitsSection,
    pub order: Order,
    pub answers: Answers,
    pub audit: AuditSection,
    pub backup: BackupSection,
    pub disk: DiskSection,
    pub models: ModelsSection,
    pub notices: NoticesSection,
    pub accounts: AccountsSection,
    pub tokens: TokensSection,
    pub delegating: DelegatingSection,
    pub tls: TlsSection,
    pub log: Log,
    pub metrics: MetricsSection,
    pub incidents: IncidentsSection,
    /// Values that have no effect, as notes for the operator.
    pub notes: Vec<Problem>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Every key, with where its value was read from.
    pub keys: Vec<ConfigKey>,
}

/// The name of the file that is read if it exists and no other is named; see `origin::default_file`.
pub const DEFAULT_FILE: &str = "lan-gateway.toml";

const INTRO: &str = "Configuration of lan-gateway: every key with its default. A file is only needed to change one.
Remove the # in front of a key to change it. Environment variables override the file:
LGW_LIMITS__REQUESTS_PER_MINUTE=20 sets requests_per_minute in [limits].
`lan-gateway config check` reports every problem of a file at once.";

impl Config {
    /// Loads `file`, or the default file if it exists, with the environment on top, and the flags on top of that.
    pub fn load(file: Option<&Path>, flags: &ConfigFlags) -> (Origin, Result<Config, Vec<Problem>>) {
        let file = file.map(Path::to_owned).or_else(origin::default_file);
        let mut problems = Vec::new();
        let read = |file: &PathBuf| {
            std::fs::read_to_string(file).map_err(|cause| Problem {
                key: file.display().to_string(),
                message: format!("can't be read: {cause}"),
            })
        };
        let text = match file.as_ref().map(read) {
            Some(Ok(text)) => text,
            Some(Err(problem)) => {
                problems.push(problem);
                String::new()
            }
            None => String::new(),
        };
        let mut env = Vec::new();
        for (name, value) in std::env::vars_os() {
            // The gateway's variables have ASCII names.
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
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let origin = Origin { file: file.map(absolute), variables, flags: flags.names() };
        let config = match Config::resolve_with(&text, env, flags) {
            Ok(config) if problems.is_empty() => Ok(Config { file: origin.file.clone(), ..config }),
            Ok(_) => Err(problems),
            Err(more) => Err(problems.into_iter().chain(more).collect()),
        };
        (origin, config)
    }

    /// Checks the text of a file with variables on top. Returns every problem, or the configuration.
    pub fn resolve(toml: &str, env: impl IntoIterator<Item = (String, String)>) -> Result<Config, Vec<Problem>> {
        Config::resolve_with(toml, env, &ConfigFlags::default())
    }

    fn resolve_with(
        toml: &str,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &ConfigFlags,
    ) -> Result<Config, Vec<Problem>> {
        let table: Table = match toml.parse::<Table>() {
            Ok(table) => table,
            Err(cause) => {
                let unread = Problem { key: "the file".into(), message: format!("is not TOML: {cause}") };
                let mut reader = Reader::new(Table::new(), env);
                Config::read(&mut reader);
                return Err(std::iter::once(unread).chain(reader.finish_environment()).collect());
            }
        };
        let mut reader = Reader::new(table, env);
        let mut config = Config::read(&mut reader);
        flags.apply(&mut reader, &mut config);
        check_together(&mut reader, &config);
        config.notes = reader.take_notes();
        config.keys = reader.keys();
        let problems = reader.finish();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Returns where plain HTTP is served.
    pub fn plain_listen(&self) -> Option<SocketAddr> {
        (self.plain_http != PlainHttp::Off).then_some(self.listen)
    }

    /// Returns whether the file holds the secret of an upstream.
    pub fn file_holds_secret(&self) -> bool {
        // The values of secrets are not among the keys.
        let is_in_file = self.keys.iter().any(|key| key.value.is_none() && key.source == KeySource::File);
        is_in_file && self.upstreams.iter().any(|upstream| upstream.secret.is_some())
    }

    /// Returns a file in which every key is commented out with its default.
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
            "How long a stop may take after a SIGTERM. Answers that still run are closed, with a record, shortly before, so that \
             their clients can take the last bytes; what is not taken by then is dropped.",
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
            list(network),
        );
        let trusted_proxies = reader.key(
            "trusted_proxies",
            "[]",
            "Networks of proxies, as in [\"127.0.0.1/32\"]. From these alone the gateway believes `X-Forwarded-For` (who the client \
             is) and `X-Forwarded-Proto` (whether it speaks https), so they must set both; see deploy/nginx.conf.",
            list(tls::proxies),
        );
        let plain_http = reader.key(
            "plain_http",
            "\"on\"",
            "Who may use plain HTTP at `listen`: \"on\": everybody; \"loopback\": this host, and proxies that are trusted and are \
             themselves asked over https; \"off\": nobody, `listen` is not opened. The last needs `[tls]`.",
            one_of(PLAIN_HTTP),
        );
        let allowed_hosts = reader.key(
            "allowed_hosts",
            "[]",
            "More names and addresses that clients may use for the gateway, as in \"ai.example.org\": those of a proxy, or of a \
             machine that forwards its port.\n\
             The host's own are allowed without: its name, also with .local and with its search domains, and its addresses. \
             A request with any other Host header gets a 421, against DNS rebinding.",
            list(host),
        );
        let allow_network_filesystem = reader.key(
            "allow_network_filesystem",
            "false",
            "SQLite's locks don't work reliably on NFS, SMB and the like, so such a data_dir is refused unless this is true.",
            flag,
        );
        let allow_remote_upstream = reader.key(
            "allow_remote_upstream",
            "false",
            "Prompts stay on this host unless this is true: an upstream whose address is not loopback is refused.",
            flag,
        );
        let upstreams = upstreams::read(reader, allow_remote_upstream);
        Config {
            listen,
            data_dir,
            default_model,
            stop_seconds_max,
            workers: workers as usize,
            timezone,
            allow_networks,
            allowed_hosts,
            trusted_proxies,
            plain_http,
            allow_network_filesystem,
            upstreams,
            upstream: UpstreamLimits::read(reader),
            settings: Settings::read(reader),
            limits: LimitsSection::read(reader),
            order: Order::read(reader),
            answers: Answers::read(reader),
            audit: AuditSection::read(reader),
            backup: BackupSection::read(reader),
            disk: DiskSection::read(reader),
            models: ModelsSection::read(reader),
            notices: NoticesSection::read(reader),
            accounts: AccountsSection::read(reader),
            tokens: TokensSection::read(reader),
            delegating: DelegatingSection::read(reader),
            tls: TlsSection::read(reader),
            log: Log::read(reader),
            metrics: MetricsSection::read(reader),
            incidents: IncidentsSection::read(reader),
            notes: Vec::new(),
            file: None,
            keys: Vec::new(),
        }
    }
}

/// Checks values that are valid alone but contradict each other. `settings` checks its own.
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
    reader.within(
        seconds("models.change_idle_seconds_max", config.models.change_idle),
        seconds("models.change_seconds_max", config.models.change_time_max),
    );
    reader.within(
        seconds("notices.connect_seconds_max", config.notices.connect_timeout),
        seconds("notices.seconds_max", config.notices.time_max),
    );
    if config.backup.schedule.as_ref().is_some_and(|schedule| schedule.is_inside(&config.data_dir)) {
        let message = "is in `data_dir`: a backup must not be lost with what it is a backup of; name another folder";
        reader.problem("backup.folder", message);
    }
    let own = [("listen", config.plain_listen()), ("tls.listen", config.tls.served())];
    let own = own.into_iter().filter_map(|(key, address)| Some((key, address?)));
    for ((key, address), upstream) in own.flat_map(|own| config.upstreams.iter().map(move |upstream| (own, upstream))) {
        if upstream.url.port() == address.port() && upstream.url.may_be_at(address.ip()) {
            let message = format!("is the address of upstream `{}`, so the gateway would ask itself", upstream.name);
            reader.problem(key, message);
        }
    }
    if config.plain_http == PlainHttp::Off && config.tls.files.is_none() {
        let message =
            "nobody could reach the gateway: set `certificate` and `key` in [tls], or plain_http = \"loopback\"";
        reader.problem("plain_http", message);
    }
    // Port 0 takes a free one for each.
    if config.tls.served().is_some() && config.tls.served() == config.plain_listen() && config.listen.port() != 0 {
        reader.problem("tls.listen", "is the same as `listen`; https needs an address or port of its own");
    }
}

#[cfg(test)]
mod tests;
