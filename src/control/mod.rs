//! The command line's door: the same verbs as behind the API, over a Unix socket that only the service's user can open.
//!
//! One line of JSON asks, one line answers; an export answers in pieces. When no gateway runs, the command line calls
//! `perform` on the file itself.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use crate::base::error::Error;
use crate::model::people::Actor;
use crate::rules::accounts::Accounts;
use crate::rules::export::Exports;
use crate::rules::tokens::Tokens;
use crate::rules::usage::{self, Question, UsageItem};
use crate::store::Store;

pub mod export;
pub mod settings;
pub mod tokens;
pub mod users;

use export::{ExportAsk, Incoming};
use settings::{SettingLine, SettingsAsk};
use tokens::{TokenAsk, TokenLine, named};
use users::{UserAsk, UserLine};

pub const SOCKET: &str = "control.sock";

/// No question is longer.
const LINE_BYTES_MAX: u64 = 64 * 1024;
const TALK_SECONDS_MAX: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    User(UserAsk),
    Token(TokenAsk),
    Settings(SettingsAsk),
    /// People and tokens as they are called on the host.
    Usage(Question),
    Export(ExportAsk),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Users {
        users: Vec<UserLine>,
    },
    User {
        user: UserLine,
    },
    Reset {
        user: UserLine,
        code: Option<String>,
        minutes: i64,
    },
    /// So many registrations are gone.
    TurnedDown {
        count: usize,
    },
    /// The account is gone; its contents go in the background.
    Deleting {
        user: String,
    },
    Tokens {
        tokens: Vec<TokenLine>,
    },
    Token {
        token: TokenLine,
    },
    TokenMade {
        token: TokenLine,
        secret: String,
    },
    Settings {
        settings: Vec<SettingLine>,
    },
    Usage {
        items: Vec<UsageItem>,
    },
    /// So many bytes of an export follow this line; so many requests, refusals and acts stand in it by now.
    Piece {
        bytes: u64,
        lines: i64,
    },
    /// The export is complete.
    Exported,
    Refused {
        code: String,
        message: String,
    },
}

impl Answer {
    fn refused(error: &Error) -> Answer {
        Answer::Refused { code: error.code().to_owned(), message: error.to_string() }
    }
}

/// On the host, whoever may open the socket or the file acts without an account.
const HOST: Actor = Actor(None);

/// The longest list that is printed.
const LIST_MAX: usize = 10_000;

/// The verbs that are called from the host.
#[derive(Clone)]
pub struct Verbs {
    pub accounts: Arc<Accounts>,
    pub tokens: Arc<Tokens>,
    pub exports: Arc<Exports>,
    pub store: Store,
}

pub async fn perform(verbs: &Verbs, ask: Ask) -> Answer {
    match try_perform(verbs, ask).await {
        Ok(answer) => answer,
        Err(error) => Answer::refused(&error),
    }
}

async fn try_perform(verbs: &Verbs, ask: Ask) -> Result<Answer, Error> {
    match ask {
        Ask::User(ask) => users::perform(&verbs.accounts, ask).await,
        Ask::Token(ask) => tokens::perform(&verbs.accounts, &verbs.tokens, ask).await,
        Ask::Settings(ask) => settings::perform(&verbs.store, ask).await,
        Ask::Usage(asked) => {
            let user_id = asked.user_id.map(|name| person(&verbs.accounts, name)).transpose()?;
            let token_id = asked.token_id.map(|token| named(&token).to_owned());
            // Beside the command line, nobody follows the record.
            while verbs.store.follow_usage().await? {}
            let items = usage::lines(&verbs.store, Question { user_id, token_id, ..asked }).await?;
            Ok(Answer::Usage { items })
        }
        Ask::Export(_) => Err(Error::invalid("ask", "an export is answered in pieces")),
    }
}

/// The id of whoever is called so on the host. An id stands for itself: it may be that of somebody who was deleted.
fn person(accounts: &Accounts, name: String) -> Result<String, Error> {
    match uuid::Uuid::parse_str(&name) {
        Ok(_) => Ok(name),
        Err(_) => accounts.find(&name).map(|user| user.public_id.clone()),
    }
}

/// Whether a gateway answers at the socket of `data_dir`. One that a killed gateway left behind answers nobody.
pub fn somebody_answers(data_dir: &Path) -> anyhow::Result<bool> {
    let path = data_dir.join(SOCKET);
    // Without blocking: a gateway that hangs, and whose queue of connections is full, is one, too.
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).context("can't make a socket")?;
    let connected = SockAddr::unix(&path).and_then(|address| socket.connect(&address));
    match connected.map_err(|cause| (cause.kind(), cause)) {
        Ok(()) | Err((ErrorKind::WouldBlock, _)) => Ok(true),
        Err((ErrorKind::NotFound | ErrorKind::ConnectionRefused, _)) => Ok(false),
        Err((_, cause)) => {
            Err(cause).with_context(|| format!("can't ask whether a gateway runs, at {}", path.display()))
        }
    }
}

/// Opens the socket, readable and writable by this user alone.
pub fn listen(data_dir: &Path) -> anyhow::Result<UnixListener> {
    let path = data_dir.join(SOCKET);
    // The lock on the folder and the socket itself were asked: no other gateway runs, so it was left behind.
    match std::fs::remove_file(&path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            return Err(cause).context("can't remove the old control socket");
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path).with_context(|| format!("can't open {}", path.display()))?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until it is dropped.
pub async fn serve(listener: UnixListener, verbs: Verbs) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let verbs = verbs.clone();
                tokio::task::spawn_local(async move {
                    if let Err(cause) = talk(stream, &verbs).await {
                        warn!(%cause, "a talk on the control socket broke off");
                    }
                });
            }
            Err(cause) => {
                warn!(%cause, "the control socket can't accept");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn talk(stream: UnixStream, verbs: &Verbs) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let asked = async { BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut line).await };
    tokio::time::timeout(TALK_SECONDS_MAX, asked).await.context("no question came")??;
    match serde_json::from_str(&line) {
        // It takes as long as it takes; each of its pieces has its time.
        Ok(Ask::Export(ask)) => export::answer(&mut write, verbs, ask).await,
        Ok(ask) => {
            let answered = async { say(&mut write, &perform(verbs, ask).await).await };
            tokio::time::timeout(TALK_SECONDS_MAX, answered).await.context("the answer took too long")?
        }
        Err(_) => {
            let message = "the running gateway does not know this command; is it another version?";
            say(&mut write, &Answer::Refused { code: "invalid_request".into(), message: message.into() }).await
        }
    }
}

async fn say(write: &mut OwnedWriteHalf, what: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(what)?;
    text.push(b'\n');
    Ok(write.write_all(&text).await?)
}

async fn hear(read: &mut BufReader<OwnedReadHalf>) -> anyhow::Result<Answer> {
    let mut line = String::new();
    if read.read_line(&mut line).await? == 0 {
        bail!("the gateway went away");
    }
    serde_json::from_str(&line).context("the gateway's answer can't be read")
}

/// Asks the gateway that runs on `data_dir`; `None` when none does.
pub async fn ask(data_dir: &Path, ask: &Ask) -> anyhow::Result<Option<Answer>> {
    let Some((mut read, mut write)) = connect(data_dir).await? else { return Ok(None) };
    let talk = async {
        say(&mut write, ask).await?;
        hear(&mut read).await
    };
    tokio::time::timeout(TALK_SECONDS_MAX, talk).await.context("the gateway did not answer")?.map(Some)
}

/// Asks for an export; `None` when no gateway runs on `data_dir`.
pub async fn ask_for_export(data_dir: &Path, ask: ExportAsk) -> anyhow::Result<Option<Incoming>> {
    let Some((read, mut write)) = connect(data_dir).await? else { return Ok(None) };
    say(&mut write, &Ask::Export(ask)).await?;
    Ok(Some(Incoming(read)))
}

async fn connect(data_dir: &Path) -> anyhow::Result<Option<(BufReader<OwnedReadHalf>, OwnedWriteHalf)>> {
    let path: PathBuf = data_dir.join(SOCKET);
    match UnixStream::connect(&path).await {
        Ok(stream) => {
            let (read, write) = stream.into_split();
            Ok(Some((BufReader::new(read), write)))
        }
        Err(cause) if matches!(cause.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(cause) => {
            Err(cause).with_context(|| format!("can't open {}; run this as the gateway's user or root", path.display()))
        }
    }
}
