//! The command line's door: the same verbs as behind the API, over a Unix socket that only the service's user can open.
//!
//! One line of JSON asks, one line answers. When no gateway runs, the command line calls `perform` on the file itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use crate::accounts::{Accounts, ResetMode};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::secret::Secret;
use crate::store::users::{Actor, User};
use crate::tokens::Tokens;

pub mod tokens;

use tokens::{TokenAsk, TokenLine};

pub const SOCKET: &str = "control.sock";

/// No question is longer.
const LINE_BYTES_MAX: u64 = 64 * 1024;
const TALK_SECONDS_MAX: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// The name, and the password that an account made on the host begins with.
    UserAdd {
        email: String,
        password: String,
    },
    UserList {
        search: Option<String>,
    },
    UserApprove {
        user: String,
    },
    UserDisable {
        user: String,
    },
    UserEnable {
        user: String,
    },
    UserReset {
        user: String,
        code: bool,
    },
    UserUnlock {
        user: String,
    },
    Token(TokenAsk),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Users { users: Vec<UserLine> },
    User { user: UserLine },
    Reset { user: UserLine, code: Option<String>, minutes: i64 },
    Tokens { tokens: Vec<TokenLine> },
    Token { token: TokenLine },
    TokenMade { token: TokenLine, secret: String },
    Refused { code: String, message: String },
}

#[derive(Serialize, Deserialize)]
pub struct UserLine {
    pub id: String,
    pub username: String,
    pub role: String,
    pub status: String,
    pub must_change_password: bool,
    pub created_at: String,
}

impl From<&User> for UserLine {
    fn from(user: &User) -> Self {
        UserLine {
            id: user.public_id.clone(),
            username: user.name().to_owned(),
            role: user.role.clone(),
            status: user.status.clone(),
            must_change_password: user.must_change,
            created_at: Timestamp(user.created_at_us).rfc3339(),
        }
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
}

pub async fn perform(verbs: &Verbs, ask: Ask) -> Answer {
    match try_perform(verbs, ask).await {
        Ok(answer) => answer,
        Err(error) => Answer::Refused { code: error.code().to_owned(), message: error.to_string() },
    }
}

async fn try_perform(verbs: &Verbs, ask: Ask) -> Result<Answer, Error> {
    let accounts = &verbs.accounts;
    let one = |user: User| Answer::User { user: UserLine::from(&user) };
    match ask {
        Ask::UserAdd { email, password } => {
            if accounts.first_admin_waits() {
                return Err(Error::conflict("nobody can be let in before the password of `admin` has been changed"));
            }
            if accounts.find(&email).is_ok() {
                return Err(Error::conflict(format!("there is an account `{email}` already")));
            }
            accounts.register(&email, Secret::new(password)).await?;
            let user = accounts.find(&email)?;
            accounts.approve(HOST, &user.public_id).await.map(one)
        }
        Ask::UserList { search } => {
            let users = accounts.list(search.as_deref(), None, None, LIST_MAX).await?;
            Ok(Answer::Users { users: users.iter().map(|user| UserLine::from(&**user)).collect() })
        }
        Ask::UserApprove { user } => accounts.approve(HOST, &accounts.find(&user)?.public_id).await.map(one),
        Ask::UserDisable { user } => accounts.disable(HOST, &accounts.find(&user)?.public_id).await.map(one),
        Ask::UserEnable { user } => accounts.enable(HOST, &accounts.find(&user)?.public_id).await.map(one),
        Ask::UserUnlock { user } => accounts.unlock(&user).map(|user| one(User::clone(&user))),
        Ask::Token(ask) => tokens::perform(accounts, &verbs.tokens, ask).await,
        Ask::UserReset { user, code } => {
            let mode = if code { ResetMode::Code } else { ResetMode::Initial };
            let (user, code) = accounts.reset_password(HOST, &accounts.find(&user)?.public_id, mode, false).await?;
            Ok(Answer::Reset { user: UserLine::from(&user), code, minutes: accounts.reset_minutes() })
        }
    }
}

/// Opens the socket, readable and writable by this user alone.
pub fn listen(data_dir: &Path) -> anyhow::Result<UnixListener> {
    let path = data_dir.join(SOCKET);
    // The lock on the folder says that no other gateway runs, so a socket that is there was left behind.
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
                    match tokio::time::timeout(TALK_SECONDS_MAX, talk(stream, &verbs)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(cause)) => warn!(%cause, "a talk on the control socket broke off"),
                        Err(_) => warn!("a talk on the control socket took too long"),
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
    BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(ask) => perform(verbs, ask).await,
        Err(_) => {
            let message = "the running gateway does not know this command; is it another version?";
            Answer::Refused { code: "invalid_request".into(), message: message.into() }
        }
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    Ok(())
}

/// Asks the gateway that runs on `data_dir`; `None` when none does.
pub async fn ask(data_dir: &Path, ask: &Ask) -> anyhow::Result<Option<Answer>> {
    let path: PathBuf = data_dir.join(SOCKET);
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(cause) if matches!(cause.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(cause) => {
            return Err(cause)
                .with_context(|| format!("can't open {}; run this as the gateway's user or root", path.display()));
        }
    };
    let talk = async {
        let (read, mut write) = stream.into_split();
        let mut text = serde_json::to_vec(ask)?;
        text.push(b'\n');
        write.write_all(&text).await?;
        let mut line = String::new();
        BufReader::new(read).read_line(&mut line).await?;
        serde_json::from_str(&line).context("the gateway's answer can't be read")
    };
    tokio::time::timeout(TALK_SECONDS_MAX, talk).await.context("the gateway did not answer")?.map(Some)
}
