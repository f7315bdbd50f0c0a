//! Sends a command's request: to the gateway that runs on the data folder or, if none does, to one without a network that lives
//! as long as the command.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::base::likeness::nearest;
use crate::base::owner;
use crate::cli::socket::{Socket, SocketReply, Stream};
use crate::cli::times::CommandClock;
use crate::config::Config;
use crate::serve::app::App;
use crate::serve::control::Control;
use crate::serve::socket::{SOCKET, is_answered};
use crate::serve::{catch_up, chain};
use crate::store::words::Merge;

/// The socket of a command that has the data folder to itself.
const OWN_SOCKET: &str = "command.sock";

/// Length limit of a list.
pub const LIST_MAX: usize = 10_000;
const PAGE_MAX: usize = 500;

const AS_ITS_USER: &str = "run this as the gateway's user or root";

/// The API as the operator of the host uses it.
pub struct HostApi {
    pub times: CommandClock,
    socket: Socket,
    alone: Option<Alone>,
}

/// The gateway's parts, on the data folder that this process has locked.
struct Alone {
    app: App,
    control: Control,
}

impl HostApi {
    /// Finds the gateway that runs on the data folder, or opens the folder itself.
    pub async fn open(config: &Config) -> anyhow::Result<HostApi> {
        let times = CommandClock::new(config);
        let asked = is_answered(&config.data_dir);
        if asked.context(AS_ITS_USER)? {
            return Ok(HostApi { times, socket: Socket::at(&config.data_dir.join(SOCKET)), alone: None });
        }
        let file = config.data_dir.join(crate::store::FILE);
        if !file
            .try_exists()
            .with_context(|| format!("{AS_ITS_USER}: can't look into {}", config.data_dir.display()))?
        {
            bail!(
                "there is no database at {}; start the gateway once, or name its folder with --data-dir, or its configuration \
                 with --config",
                file.display()
            );
        }
        let app = App::build(config.clone()).await;
        let app = app.map_err(|cause| if is_denied(&cause) { cause.context(AS_ITS_USER) } else { cause })?;
        let control = Control::start(&app, OWN_SOCKET)?;
        Ok(HostApi { times, socket: Socket::at(control.path()), alone: Some(Alone { app, control }) })
    }

    /// Ends what `open` started.
    pub async fn close(self) -> anyhow::Result<()> {
        let Some(Alone { app, control }) = self.alone else { return Ok(()) };
        control.stop().await;
        chain::catch_up(&app).await;
        app.close();
        let folder = &app.config.data_dir;
        owner::hand_over_all(folder).with_context(|| format!("files in {} may belong to root now", folder.display()))
    }

    /// Does the background work of a running gateway: indexes words and chains rows, then erases contents of deleted users.
    pub async fn erase(&self) -> anyhow::Result<()> {
        let Some(Alone { app, .. }) = &self.alone else { return Ok(()) };
        while app.store.follow_words().await? {}
        catch_up::follow_to_end(&app.store, &app.checkpoint_key).await?;
        let mut merge = Merge::Begin;
        while app.store.erase_some(&mut merge).await? {}
        Ok(())
    }

    /// Refuses a command that needs a running gateway.
    pub fn check_running(&self, folder: &Path) -> anyhow::Result<()> {
        match self.alone {
            None => Ok(()),
            Some(_) => bail!("no gateway runs on {}", folder.display()),
        }
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask("POST", path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask("PATCH", path, Some(body)).await
    }

    pub async fn delete(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        self.ask("DELETE", path, body).await
    }

    /// Returns the answer, null if it has no body. A refusal is an error.
    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        read(&self.socket.ask(method, path, body).await?)
    }

    /// Returns the items of a list, page after page.
    pub async fn list(
        &self,
        path: &str,
        asked: &[(&str, Option<&str>)],
        most: Option<usize>,
    ) -> anyhow::Result<Vec<Value>> {
        let most = most.unwrap_or(LIST_MAX);
        let (mut items, mut cursor) = (Vec::new(), None);
        loop {
            let limit = PAGE_MAX.min(most - items.len()).to_string();
            let page = [("limit", Some(limit.as_str())), ("cursor", cursor.as_deref())];
            let mut answer = self.get(&with_query(path, asked.iter().chain(&page).copied())).await?;
            match answer.get_mut("items").map(Value::take) {
                Some(Value::Array(more)) => items.extend(more),
                _ => return Err(unexpected()),
            }
            cursor = match answer.get("next") {
                None | Some(Value::Null) => None,
                Some(Value::String(next)) => Some(next.clone()),
                Some(next) => Some(next.to_string()),
            };
            if cursor.is_none() || items.len() >= most {
                items.truncate(most);
                return Ok(items);
            }
        }
    }

    /// Has a file made, which may take this long, and returns it whole.
    pub async fn make(&self, path: &str, body: &Value, wait_max: Duration) -> anyhow::Result<Bytes> {
        let reply = self.socket.ask_within(wait_max, "POST", path, Some(body)).await?;
        if reply.status == 200 { Ok(reply.body) } else { Err(refusal(&reply)) }
    }

    /// Requests a file.
    pub async fn download(&self, path: &str) -> anyhow::Result<Stream> {
        self.socket.open(path).await?.map_err(|reply| refusal(&reply))
    }

    /// Returns the account with this name, as admins see it.
    pub async fn user(&self, name: &str) -> anyhow::Result<Value> {
        let reply = self.socket.ask("GET", &format!("/host/users/{}", escaped(name)), None).await?;
        let refused = match read(&reply) {
            Err(refused) if reply.status == 404 && !is_unknown_route(&reply) => refused,
            found => return found,
        };
        let users = self.list("/api/v1/users", &[], None).await?;
        match nearest(name, users.iter().filter_map(|user| user["username"].as_str())) {
            Some(near) => bail!("there is no user `{name}`; did you mean `{near}`?"),
            None => bail!("{refused}; `lan-gateway user list` shows all accounts"),
        }
    }

    /// Returns the id of the account with this name.
    pub async fn user_id(&self, name: &str) -> anyhow::Result<String> {
        need(&self.user(name).await?, "id")
    }

    /// Returns the id of the user with this name. An id is returned unchanged: it may belong to a deleted user.
    pub async fn person(&self, name: Option<&str>) -> anyhow::Result<Option<String>> {
        match name {
            Some(name) if uuid::Uuid::parse_str(name).is_err() => self.user_id(name).await.map(Some),
            id => Ok(id.map(str::to_owned)),
        }
    }
}

/// Returns whether a file or folder is another user's.
fn is_denied(cause: &anyhow::Error) -> bool {
    let kinds = cause.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    kinds.into_iter().any(|kind| kind == std::io::ErrorKind::PermissionDenied)
}

/// Returns a path with those parameters that have a value.
pub fn with_query<'a>(path: &str, asked: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let given = asked.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped(value?))));
    let given: Vec<String> = given.collect();
    if given.is_empty() { path.to_owned() } else { format!("{path}?{}", given.join("&")) }
}

/// Escapes typed text for a path or a query.
pub fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Returns the answer, null if it has no body. A refusal is an error.
fn read(reply: &SocketReply) -> anyhow::Result<Value> {
    if !(200..300).contains(&reply.status) {
        return Err(refusal(reply));
    }
    if reply.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&reply.body).map_err(|_| unexpected())
}

/// Returns the message of a refusal. An unknown route can only come from a gateway of another version.
fn refusal(reply: &SocketReply) -> anyhow::Error {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    match body["error"]["message"].as_str() {
        Some(message) if !is_unknown_route(reply) => anyhow!("{message}"),
        _ => unexpected(),
    }
}

fn is_unknown_route(reply: &SocketReply) -> bool {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    body["error"]["code"] == "unknown_url" || body["error"]["message"].is_null()
}

pub fn unexpected() -> anyhow::Error {
    anyhow!("unexpected answer from the running gateway (version mismatch?)")
}

/// Returns a field as text. Every answer has it.
pub fn need(item: &Value, field: &str) -> anyhow::Result<String> {
    match &item[field] {
        Value::Null => Err(unexpected()),
        value => Ok(text(value)),
    }
}

/// Returns a field as text, empty when it is absent or null.
pub fn maybe(item: &Value, field: &str) -> Option<String> {
    match &item[field] {
        Value::Null => None,
        value => Some(text(value)),
    }
}

/// Returns a value as text, lists with their items side by side.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &'static str) -> String {
        refusal(&SocketReply { status, body: Bytes::from_static(body.as_bytes()) }).to_string()
    }

    #[test]
    fn a_refusal_is_its_message_and_what_an_api_never_says_comes_from_another_version() {
        let refused = r#"{"error":{"message":"the last admin stays one","code":"conflict"}}"#;
        assert_eq!(said(409, refused), "the last admin stays one");
        for body in ["", "gone", "{}", r#"{"error":{"message":"no such route","code":"unknown_url"}}"#] {
            assert!(said(404, body).contains("version mismatch?"), "{body}");
        }
    }

    #[test]
    fn what_is_typed_never_changes_the_path() {
        assert_eq!(escaped("a/../b?c#d%"), "a%2F%2E%2E%2Fb%3Fc%23d%25");
        assert_eq!(with_query("/x", [("a", Some("1&b=2")), ("c", None)]), "/x?a=1%26b%3D2");
        assert_eq!(with_query("/x", [("a", None)]), "/x");
    }
}
