//! Builds the parts from the configuration: the only place where they are made, and joined at shutdown.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::auth::Auth;
use crate::auth::jwt::JwtKeys;
use crate::auth::throttle::Throttle;
use crate::base::owner;
use crate::base::sealing::MasterKey;
use crate::config::settings::Live;
use crate::config::{self, Config};
use crate::gateway::Stages;
use crate::host::room::DiskGuard;
use crate::host::watch::HostWatch;
use crate::http;
use crate::http::metrics::MetricsText;
use crate::metrics::Metrics;
use crate::rules::accounts::Accounts;
use crate::rules::audit::Audit;
use crate::rules::breaker::Breaker;
use crate::rules::export::Exports;
use crate::rules::limits::Limits;
use crate::rules::model_changes::ModelChanges;
use crate::rules::notices::Notices;
use crate::rules::policy::Policy;
use crate::rules::quarantine::Quarantine;
use crate::rules::queue::{Queue, Slots};
use crate::rules::routing::Routing;
use crate::rules::tokens::Tokens;
use crate::serve::alive::Loops;
use crate::serve::catch_up;
use crate::serve::disk::Looks;
use crate::serve::notes_file::NotesFile;
use crate::serve::socket;
use crate::store::chain::CheckpointKey;
use crate::store::{self, Store};

/// The locked data folder, and what it held before.
pub struct DataDir {
    found: Found,
    _lock: File,
}

const LOCK: &str = "lan-gateway.lock";

/// File systems on which SQLite's locks and syncs are unreliable, by statfs's numbers.
const NETWORK_FILESYSTEMS: [(i64, &str); 9] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x7461_636F, "OCFS2"),
];

impl DataDir {
    /// Creates the folder if needed and locks it. Without a database, the remains of one are refused.
    pub fn open(config: &Config) -> anyhow::Result<DataDir> {
        let lock = lock(config)?;
        let path = &config.data_dir;
        let found = Found::look(path)?;
        found.refuse_remains(path)?;
        Ok(DataDir { found, _lock: lock })
    }
}

/// Creates the data folder if needed and locks it. A second gateway on it would take running answers for interrupted ones, so it
/// is refused.
pub fn lock(config: &Config) -> anyhow::Result<File> {
    let path = &config.data_dir;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("can't make the data folder {}", path.display()))?;
    if !config.allow_network_filesystem {
        refuse_network_filesystem(path)?;
    }
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path.join(LOCK))
        .with_context(|| format!("can't write in the data folder {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another lan-gateway runs on {}; stop it first", path.display()),
        Err(TryLockError::Error(cause)) => return Err(cause).context("can't lock the data folder"),
    }
    // The lock file may have been removed while a gateway ran; that gateway then holds a lock that no one else can see.
    if socket::is_answered(path)? {
        bail!(
            "another lan-gateway runs on {}, as its {} answers, though its {LOCK} is gone; stop it first",
            path.display(),
            socket::SOCKET
        );
    }
    Ok(lock)
}

/// Refuses a folder whose database is gone while other files of it remain, as a start does. Only for a folder without a database;
/// changes nothing.
pub fn check_remains(folder: &Path) -> anyhow::Result<()> {
    Found::look(folder)?.refuse_remains(folder)
}

/// Files found in the data folder that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    accounts: bool,
    secrets: bool,
    /// Commits that are not in the database file yet.
    wal: bool,
    /// A restore that was interrupted.
    restoring: bool,
}

/// The folder of the keys.
pub const SECRETS: &str = "secrets";

/// A database that a restore is about to put in place.
pub const RESTORING: &str = "lan-gateway.db.restoring";

impl Found {
    fn look(folder: &Path) -> anyhow::Result<Found> {
        let secrets = match fs::read_dir(folder.join(SECRETS)) {
            Ok(mut files) => files.next().is_some(),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => false,
            Err(cause) => return Err(cause).context("can't look into the folder of secrets"),
        };
        let wal = fs::metadata(folder.join(format!("{}-wal", store::FILE))).is_ok_and(|wal| wal.len() > 0);
        // Without the database, SQLite would discard a WAL that belongs to it.
        let restoring = folder.join(RESTORING).exists();
        Ok(Found { wal, secrets, restoring, accounts: store::has_accounts(folder)? })
    }

    /// Refuses to start without the database if other files remain: a lost or moved database must not be replaced by a new one,
    /// without accounts and with a password that everyone knows.
    fn refuse_remains(self, folder: &Path) -> anyhow::Result<()> {
        let file = folder.join(store::FILE);
        let (file, secrets) = (file.display(), folder.join(SECRETS));
        let secrets = secrets.display();
        if self.accounts || !(self.secrets || self.wal || self.restoring) {
            return Ok(());
        }
        if self.restoring {
            bail!(
                "a restore to {} was interrupted; run `lan-gateway restore` again, with the same backup",
                folder.display()
            );
        }
        let left = if self.secrets { format!("secrets in {secrets}") } else { format!("a {file}-wal") };
        bail!(
            "there is {left}, but no database with accounts at {file}: was it moved, lost or not restored? Put it back, with \
             its -wal if there is one. To start again, without accounts and record, move the rest away first: \
             mv {secrets} {secrets}.old; mv {file}-wal {file}-wal.old"
        );
    }
}

fn refuse_network_filesystem(path: &Path) -> anyhow::Result<()> {
    let kind = rustix::fs::statfs(path).context("can't look at the data folder's file system")?.f_type;
    // f_type is 32 bits wide on some systems and signed there.
    let kind = i64::from(kind as u32);
    match NETWORK_FILESYSTEMS.iter().find(|(number, _)| *number == kind) {
        Some((_, name)) => bail!(
            "the data folder {} lies on {name}, where commits can be lost; choose a local disk, or set \
             allow_network_filesystem = true",
            path.display()
        ),
        None => Ok(()),
    }
}

/// All running parts.
pub struct App {
    pub config: Arc<Config>,
    pub store: Store,
    pub auth: Arc<Auth>,
    pub accounts: Arc<Accounts>,
    pub tokens: Arc<Tokens>,
    pub exports: Arc<Exports>,
    pub notices: Arc<Notices>,
    pub stages: Stages,
    pub watch: Arc<HostWatch>,
    pub loops: Loops,
    pub metrics: Arc<MetricsText>,
    pub disk: Arc<DiskGuard>,
    pub checkpoint_key: CheckpointKey,
    pub notes_file: NotesFile,
    _data_dir: DataDir,
}

impl App {
    pub async fn build(config: Config) -> anyhow::Result<App> {
        let data_dir = DataDir::open(&config)?;
        let store = Store::open(&config.data_dir, Live::new(config.settings))?;
        let (auth, accounts) = people(&config, &store)?;
        let master_key = MasterKey::load(&config.data_dir.join(SECRETS))?;
        warn_of_lost_secrets(data_dir.found);
        if accounts.ensure_first_admin().await? {
            info!("created the account `admin` with the password `admin123`, which only allows changing it");
        }
        let checkpoint_key = CheckpointKey::load(&config.data_dir.join(SECRETS), &store).await?;
        let notes_file = NotesFile::at(config.audit.checkpoint_file(&config.data_dir));
        catch_up::at_start(&store, &checkpoint_key, &notes_file).await;
        let names = config.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
        let metrics = Arc::new(Metrics::new(&http::label_values(names))?);
        store.measure_commits(metrics.commits.clone());
        let interrupted = store.close_interrupted().await?;
        metrics.requests.interrupted(interrupted);
        if interrupted > 0 {
            warn!(interrupted, "the last run ended in the middle of answers; they are recorded as interrupted");
        }
        let changes = store.close_model_changes().await?;
        if changes > 0 {
            warn!(changes, "the last run ended in the middle of changes of models; they are recorded as interrupted");
        }
        auth.sessions.load().await?;
        // After the requests of the last run were closed: they count, too.
        let limits = Arc::new(Limits::new(store.settings().clone(), config.timezone.clone()));
        limits.load(&store).await?;
        let tokens = Arc::new(Tokens::new(store.clone(), &config.tokens));
        let exports = Arc::new(Exports::new(store.clone()));
        let notices = Arc::new(Notices::open(store.clone(), config.notices.clone(), master_key).await?);
        // The gateway may have been started as root by mistake; the service's user must be able to use its files.
        owner::hand_over_all(&config.data_dir)?;
        let slots: Vec<Slots> = config.upstreams.iter().map(slots).collect();
        let queue = Queue::new(&slots, config.order, store.settings().clone());
        let granting = queue.clone();
        let kinds: Vec<_> = config.upstreams.iter().map(config::Upstream::kind).collect();
        let routing = Routing::new(kinds.clone(), config.upstream.models_fresh, move |upstream, is_down| {
            granting.set_down(upstream, is_down);
        });
        let disk = Arc::new(DiskGuard::default());
        Looks::default().look(&config, &store, &disk).await;
        let stages = Stages {
            breaker: Breaker::new(store.clone()),
            limits,
            policy: Arc::new(Policy::new(store.settings().clone(), kinds)),
            quarantine: Quarantine::new(store.settings().clone()),
            routing,
            queue,
            audit: Arc::new(Audit::new(store.clone(), config.audit.clone(), metrics.requests.clone(), disk.clone())),
            model_changes: Arc::new(ModelChanges::new(store.clone(), config.models.clone(), config.upstreams.len())),
            running: auth.running.clone(),
            answers: config.answers.clone(),
            stopping: CancellationToken::new(),
            stop_now: CancellationToken::new(),
            readers_over: CancellationToken::new(),
            pumps: TaskTracker::new(),
        };
        let (config, watch, loops): (Arc<Config>, Arc<HostWatch>, _) =
            (Arc::new(config), Arc::default(), Loops::default());
        let metrics = MetricsText::new(
            metrics,
            store.clone(),
            auth.clone(),
            stages.clone(),
            watch.clone(),
            config.clone(),
            disk.clone(),
        );
        let counted = notices.clone();
        metrics.count_notices(move || counted.counts().by_result());
        let metrics = Arc::new(metrics);
        Ok(App {
            config,
            store,
            auth,
            accounts,
            tokens,
            exports,
            notices,
            stages,
            watch,
            loops,
            metrics,
            disk,
            checkpoint_key,
            notes_file,
            _data_dir: data_dir,
        })
    }

    /// Writes the rows that are still in memory.
    pub fn write_what_waits(&self) {
        self.stages.audit.flush_refusals(true);
        self.stages.audit.write_unwritten();
    }

    /// Writes what is still in memory and ends the writer.
    pub fn close(&self) {
        self.write_what_waits();
        self.auth.throttle.save();
        self.store.close();
    }
}

fn warn_of_lost_secrets(found: Found) {
    if found.accounts && !found.secrets {
        warn!(
            "the database was found without its secrets, as after a restore of it alone: new keys for JWTs were created, so \
             everyone has to sign in again; passwords and API tokens are in the database and stay valid"
        );
    }
}

fn slots(upstream: &config::Upstream) -> Slots {
    let slots = upstream.slots();
    Slots { total: slots.total, per_model: slots.per_model, models_loaded: slots.models_loaded }
}

/// Creates the parts for accounts. `App::build` uses it, and a program that fills a folder for measurements.
pub fn people(config: &Config, store: &Store) -> anyhow::Result<(Arc<Auth>, Arc<Accounts>)> {
    let secrets = config.data_dir.join(SECRETS);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&secrets).context("can't make the folder of secrets")?;
    let keys = JwtKeys::load(&secrets, &config.accounts)?;
    let throttle = Throttle::open(&config.data_dir)?;
    let auth = Arc::new(Auth::new(store.clone(), keys, throttle, &config.accounts, &config.delegating)?);
    let accounts = Arc::new(Accounts::new(store.clone(), auth.clone(), &config.accounts));
    Ok((auth, accounts))
}
