//! A gateway in a process of its own, on a fresh data folder and a free port.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use awc::{Client, ClientResponse};
use diesel::connection::SimpleConnection;
use serde_json::{Value, json};
use tokio_rustls::rustls::ClientConfig;

use super::declared::check_declared;
use super::eventually::{eventually, until, within};

pub const ADMIN_PASSWORD: &str = "an admin's password";
pub const PASSWORD: &str = "correct horse battery";

pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_lan-gateway")
}

pub struct TestGateway {
    /// The first address that it serves.
    pub url: String,
    /// Where it serves https, if it serves plain HTTP, too.
    pub https_url: Option<String>,
    /// How https is trusted; see `over_https`.
    trusts: Option<Arc<ClientConfig>>,
    child: Child,
    folder: Folder,
    settings: Vec<(String, String)>,
    /// In front of the binary: `strace …`.
    wrapper: Vec<String>,
}

/// The data folder, removed at the end unless the test owns it.
enum Folder {
    Ours(tempfile::TempDir),
    Theirs(PathBuf),
}

pub struct Answer {
    pub status: u16,
    pub headers: awc::http::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl TestGateway {
    pub fn start(upstream: &str) -> Self {
        Self::start_with(upstream, &[])
    }

    /// `settings`: environment variables without the prefix, as in `LIMITS__REQUESTS_PER_MINUTE`.
    pub fn start_with(upstream: &str, settings: &[(&str, &str)]) -> Self {
        Self::launch(Folder::Ours(tempfile::tempdir().unwrap()), upstream, settings, &[])
    }

    pub fn start_in(folder: &Path, upstream: &str, settings: &[(&str, &str)]) -> Self {
        Self::launch(Folder::Theirs(folder.to_owned()), upstream, settings, &[])
    }

    pub fn start_under(wrapper: &[&str], upstream: &str, settings: &[(&str, &str)]) -> Self {
        Self::launch(Folder::Ours(tempfile::tempdir().unwrap()), upstream, settings, wrapper)
    }

    pub fn start_in_under(folder: &Path, wrapper: &[&str], upstream: &str, settings: &[(&str, &str)]) -> Self {
        Self::launch(Folder::Theirs(folder.to_owned()), upstream, settings, wrapper)
    }

    fn launch(folder: Folder, upstream: &str, settings: &[(&str, &str)], wrapper: &[&str]) -> Self {
        let mut all = vec![("LISTEN".to_owned(), "127.0.0.1:0".to_owned()), ("OLLAMA__URL".into(), upstream.into())];
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let wrapper: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
        let (child, url, https_url) = spawn(folder.path(), &all, &wrapper);
        TestGateway { url, https_url, trusts: None, child, folder, settings: all, wrapper }
    }

    /// From now on, requests go to the https address with a client that trusts it.
    pub fn over_https(&mut self, trusts: ClientConfig) {
        self.url = self.https_url.clone().unwrap_or_else(|| self.url.clone());
        self.trusts = Some(Arc::new(trusts));
    }

    /// A client that trusts the certificate, if it was told to.
    pub fn client(&self) -> Client {
        self.trusts.clone().map_or_else(client, client_of_https)
    }

    pub fn trusts(&self) -> Option<Arc<ClientConfig>> {
        self.trusts.clone()
    }

    /// The address and port of its https.
    pub fn https_address(&self) -> SocketAddr {
        let url = self.https_url.as_ref().unwrap_or(&self.url);
        url.strip_prefix("https://").expect("the gateway serves https").parse().unwrap()
    }

    /// Starts again on the same folder, after `kill` or `terminate`.
    pub fn restart(&mut self) {
        (self.child, self.url, self.https_url) = spawn(self.folder.path(), &self.settings, &self.wrapper);
    }

    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As a power cut for the process: SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap().success());
    }

    /// Waits for the end, as many seconds at most; the exit code.
    pub async fn wait(&mut self, seconds: u64) -> Option<i32> {
        let ended = async || self.child.try_wait().unwrap();
        within(Duration::from_secs(seconds), "the gateway has ended", ended).await.code()
    }

    /// Waits until new connections are refused, as from the beginning of a stop on.
    pub async fn until_closed(&self) {
        let address = self.url.strip_prefix("http://").unwrap();
        let is_refused = async || tokio::net::TcpStream::connect(address).await.is_err();
        until("the gateway takes no more connections", is_refused).await;
    }

    /// Runs SQL on the gateway's file, whether it runs or not. It keeps accounts and tokens in memory: start it again.
    pub fn on_the_file(&self, sql: &str) {
        self.file().batch_execute(&format!("PRAGMA busy_timeout=5000; {sql}")).unwrap();
    }

    /// Makes all rows older by so many days, and their chain anew, while the gateway is stopped.
    pub fn make_rows_older(&self, days: i64) {
        self.on_the_file(&format!(
            "UPDATE record SET at_us = at_us - {}; DELETE FROM chain; DELETE FROM checkpoints; UPDATE chain_tip SET note = NULL",
            days * 86_400_000_000
        ));
        let _ = std::fs::remove_file(self.data_dir().join("checkpoints.txt"));
    }

    /// What a question about one text says.
    pub fn text_of(&self, sql: &str) -> String {
        use diesel::prelude::*;
        diesel::dsl::sql::<diesel::sql_types::Text>(sql).get_result(&mut self.file()).unwrap()
    }

    /// The version of an account, which a JWT has to name.
    pub fn version_of(&self, public_id: &str) -> i64 {
        use diesel::prelude::*;
        let version = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT version FROM users WHERE public_id = ")
            .bind::<diesel::sql_types::Text, _>(public_id);
        version.get_result(&mut self.file()).unwrap()
    }

    /// What the newest act of this name tells, which no route shows.
    pub fn detail_of(&self, act: &str) -> Value {
        use diesel::prelude::*;
        let detail = diesel::dsl::sql::<diesel::sql_types::Text>(
            "SELECT CAST(body AS TEXT) FROM record JOIN record_part USING (log_id) WHERE record_part.kind = 'detail' AND act = ",
        );
        let detail = detail.bind::<diesel::sql_types::Text, _>(act).sql(" ORDER BY log_id DESC LIMIT 1");
        serde_json::from_str(&detail.get_result::<String>(&mut self.file()).unwrap()).unwrap()
    }

    fn file(&self) -> diesel::SqliteConnection {
        diesel::Connection::establish(self.data_dir().join("lan-gateway.db").to_str().unwrap()).unwrap()
    }

    /// Runs the command line on this gateway's folder.
    pub fn command(&self, words: &[&str], input: &str) -> (bool, String) {
        command(self.folder.path(), words, input)
    }

    /// The same with environment variables.
    pub fn command_with(&self, variables: &[(&str, &str)], words: &[&str], input: &str) -> (bool, String) {
        command_with(self.folder.path(), variables, words, input)
    }

    pub async fn post(&self, path: &str, bearer: Option<&str>, body: Value) -> Answer {
        self.send("POST", path, bearer, body.to_string().into_bytes()).await
    }

    pub async fn get(&self, path: &str, bearer: Option<&str>) -> Answer {
        self.send("GET", path, bearer, Vec::new()).await
    }

    pub async fn send(&self, method: &str, path: &str, bearer: Option<&str>, body: Vec<u8>) -> Answer {
        let mut response = self.open(method, path, bearer, body).await;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = response.body().limit(64 << 20).await.unwrap().to_vec();
        Answer { status, headers, body }
    }

    /// Sends a request and returns when the head of its answer is here.
    pub async fn open(
        &self,
        method: &str,
        path: &str,
        bearer: Option<&str>,
        body: Vec<u8>,
    ) -> ClientResponse<impl futures_util::Stream<Item = Result<bytes::Bytes, awc::error::PayloadError>> + Unpin + use<>>
    {
        let mut request = self
            .client()
            .request(method.parse().unwrap(), format!("{}{path}", self.url))
            .insert_header(("content-type", "application/json"));
        if let Some(token) = bearer {
            request = request.bearer_auth(token);
        }
        let response = request.send_body(body).await.unwrap_or_else(|cause| panic!("{method} {path}: {cause}"));
        check_declared(method, path, response.status().as_u16());
        response
    }

    /// Changes the admin's password and signs in.
    pub async fn admin(&self) -> String {
        let change = json!({ "username": "admin", "current_password": "admin123", "new_password": ADMIN_PASSWORD });
        let changed = self.post("/api/v1/password", None, change).await;
        assert!([204, 401].contains(&changed.status), "{}", changed.text());
        self.token("admin", ADMIN_PASSWORD).await
    }

    pub async fn token(&self, username: &str, password: &str) -> String {
        let answer = self.post("/auth/token", None, json!({ "username": username, "password": password })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// Registers, approves and signs in `name@example.org`.
    pub async fn user(&self, admin: &str, name: &str) -> String {
        let email = format!("{name}@example.org");
        let registered = self.post("/api/v1/register", None, json!({ "email": email, "password": PASSWORD })).await;
        assert_eq!(registered.status, 202, "{}", registered.text());
        let approved = self
            .post(&format!("/api/v1/users/{}/approve", self.id_of(admin, &email).await), Some(admin), json!({}))
            .await;
        assert_eq!(approved.status, 200, "{}", approved.text());
        self.token(&email, PASSWORD).await
    }

    pub async fn id_of(&self, admin: &str, username: &str) -> String {
        let found = self.get(&format!("/api/v1/users?search={username}"), Some(admin)).await.json();
        found["items"][0]["id"].as_str().unwrap_or_else(|| panic!("no {username} in {found}")).to_owned()
    }

    /// The record, newest first, without acts.
    pub async fn record(&self, admin: &str) -> Vec<Value> {
        let page = self.get("/api/v1/audit?limit=500", Some(admin)).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let items = page.json()["items"].as_array().unwrap().clone();
        items.into_iter().filter(|item| item["kind"] != "act").collect()
    }

    /// Waits for the newest request that has ended to have `outcome`: a row that nobody waits for is written a moment later.
    pub async fn newest_outcome(&self, admin: &str, outcome: &str) -> Value {
        let newest = async || {
            let newest = self.record(admin).await.into_iter().find(|row| row["outcome"].is_string())?;
            (newest["outcome"] == outcome).then_some(newest)
        };
        eventually(&format!("the newest row is `{outcome}`"), newest).await
    }

    /// Waits for a row with `reason`, which nobody waits for when it is written. Returns the record as it is then.
    pub async fn until_recorded(&self, admin: &str, reason: &str) -> Vec<Value> {
        let rows = async || {
            let rows = self.record(admin).await;
            rows.iter().any(|row| row["reason"] == reason).then_some(rows)
        };
        eventually(&format!("a row `{reason}`"), rows).await
    }

    /// Waits until so many requests wait in the queue. Returns the queue as `token` sees it then.
    pub async fn until_waiting(&self, token: &str, count: u64) -> Value {
        self.until_queue(token, &format!("{count} requests wait"), |queue| queue["waiting"] == count).await
    }

    /// Waits until the queue, as `token` sees it, is as wanted. `what` says how.
    pub async fn until_queue(&self, token: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let queue = async || Some(self.get("/api/v1/queue", Some(token)).await.json()).filter(|queue| is_so(queue));
        eventually(what, queue).await
    }

    /// Waits until a question about one text has this answer.
    pub async fn until_text(&self, sql: &str, wanted: &str) {
        until(sql, async || self.text_of(sql) == wanted).await;
    }

    pub async fn export(&self, admin: &str, username: &str, format: &str) -> String {
        let id = self.id_of(admin, username).await;
        let made = self.post("/api/v1/exports", Some(admin), json!({ "user_id": id, "format": format })).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let file = self.get(made.json()["url"].as_str().unwrap(), Some(admin)).await;
        assert_eq!(file.status, 200, "{}", file.text());
        file.text()
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if !self.wrapper.is_empty() {
            // A killed strace would leave the gateway behind.
            let children = format!("/proc/{0}/task/{0}/children", self.pid());
            for pid in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
                let _ = Command::new("kill").args(["-KILL", pid]).status();
            }
        }
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Folder::Ours(folder) => folder.path(),
            Folder::Theirs(path) => path,
        }
    }
}

fn spawn(folder: &Path, settings: &[(String, String)], wrapper: &[String]) -> (Child, String, Option<String>) {
    let mut command = match wrapper {
        [] => Command::new(binary()),
        [program, words @ ..] => {
            let mut command = Command::new(program);
            command.args(words).arg(binary());
            command
        }
    };
    command.arg("serve").current_dir(folder).env("LGW_DATA_DIR", folder).env("LGW_LOG__LEVEL", log_level());
    for (name, value) in settings {
        command.env(format!("LGW_{name}"), value);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut url = || {
        let line = lines.next().and_then(Result::ok).unwrap_or_default();
        let url = line.strip_prefix("listening on ").map(str::to_owned);
        url.unwrap_or_else(|| panic!("the gateway did not start: {line:?}"))
    };
    let has = |name: &str| settings.iter().any(|(key, _)| key == name);
    let first = url();
    let https = (has("TLS__CERTIFICATE") && first.starts_with("http:")).then(url);
    (child, first, https)
}

fn log_level() -> String {
    std::env::var("TEST_LOG").unwrap_or_else(|_| "off".into())
}

pub fn command(folder: &Path, words: &[&str], input: &str) -> (bool, String) {
    command_with(folder, &[], words, input)
}

fn command_with(folder: &Path, variables: &[(&str, &str)], words: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(binary())
        .args(words)
        .envs(variables.iter().copied())
        .current_dir(folder)
        .env("LGW_DATA_DIR", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// Runs a command that is expected to end, with these variables.
pub fn command_in(folder: &Path, variables: &[(&str, &str)], words: &[&str]) -> (bool, String) {
    command_with(folder, variables, words, "")
}

pub fn client() -> Client {
    Client::builder().timeout(Duration::from_secs(60)).disable_redirects().finish()
}

/// For a request that is held for as long as a test needs.
pub fn client_without_timeout() -> Client {
    Client::builder().disable_timeout().disable_redirects().finish()
}

/// A client whose address is `source`, one of 127.0.0.0/8.
pub fn client_from(source: &str) -> Client {
    let source = source.parse().unwrap();
    Client::builder().timeout(Duration::from_secs(60)).local_address(source).disable_redirects().finish()
}

pub fn client_of_https(trusts: Arc<ClientConfig>) -> Client {
    let connector = awc::Connector::new().rustls_0_23(trusts).timeout(Duration::from_secs(20));
    Client::builder().connector(connector).timeout(Duration::from_secs(60)).disable_redirects().finish()
}

pub fn hello() -> Value {
    json!({ "model": "fake", "messages": [{ "role": "user", "content": "hi" }] })
}

pub fn hello_stream() -> Value {
    json!({ "model": "fake", "stream": true, "messages": [{ "role": "user", "content": "hi" }] })
}
