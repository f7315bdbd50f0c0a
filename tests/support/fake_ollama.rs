//! A scripted Ollama for what a real one can't do on demand: splits anywhere, stalls, error lines, a death mid-stream.
//!
//! It lives on a thread of its own and keeps what it saw, and how each answer ended.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::eventually::until;

#[derive(Clone)]
pub enum Step {
    /// Bytes of the body, as one chunk.
    Send(Vec<u8>),
    Sleep(Duration),
    /// Waits until the test says `release`.
    Wait,
    /// Closes the connection without the end of the body.
    Die,
    /// The whole server dies, as in `dies`.
    Crash,
}

/// Who is behind the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// Connections are refused.
    Shut,
    /// Requests are taken and not answered.
    Hung,
}

#[derive(Clone)]
pub struct Script {
    pub status: u16,
    /// Steps before the head of the answer.
    pub before: Vec<Step>,
    pub steps: Vec<Step>,
}

impl Script {
    pub fn of(steps: Vec<Step>) -> Self {
        Script { status: 200, before: Vec::new(), steps }
    }

    /// Lines as they are, one chunk each.
    pub fn lines(lines: &[&str]) -> Self {
        Script::of(lines.iter().map(|line| Step::Send(format!("{line}\n").into_bytes())).collect())
    }

    pub fn status(status: u16, body: &str) -> Self {
        Script { status, ..Script::of(vec![Step::Send(body.as_bytes().to_vec())]) }
    }

    /// An answer in one piece.
    pub fn json(body: serde_json::Value) -> Self {
        Script::of(vec![Step::Send(body.to_string().into_bytes())])
    }

    /// A completion: " blue and wide" in two pieces.
    pub fn rest() -> Self {
        let line = |text: &str, end: &str| {
            format!(r#"{{"model":"fake:latest","created_at":"2026-01-01T00:00:00.1Z","response":"{text}",{end}}}"#)
        };
        let end = r#""done":true,"done_reason":"stop","context":[1,2],"prompt_eval_count":4,"eval_count":3"#;
        let lines = [line(" blue", "\"done\":false"), line(" and wide", "\"done\":false"), line("", end)];
        Script::lines(&lines.each_ref().map(String::as_str))
    }

    /// A change of models in three steps.
    pub fn changed() -> Self {
        Script::lines(&[
            r#"{"status":"pulling manifest"}"#,
            r#"{"status":"pulling b179c9523d0e","digest":"sha256:b179","total":100,"completed":60}"#,
            r#"{"status":"success"}"#,
        ])
    }

    /// "Hello world!" in three pieces.
    pub fn hello() -> Self {
        Script::of(vec![text("Hello"), text(" world"), text("!"), done("stop")])
    }
}

pub fn text(text: &str) -> Step {
    let text = serde_json::to_string(text).unwrap();
    Step::Send(format!("{{\"model\":\"fake:latest\",\"created_at\":\"2026-01-01T00:00:00.1Z\",\"message\":{{\"role\":\"assistant\",\"content\":{text}}},\"done\":false}}\n").into_bytes())
}

/// An end mark. Its durations are shorter than any answer takes.
pub fn done(reason: &str) -> Step {
    Step::Send(format!("{{\"model\":\"fake:latest\",\"created_at\":\"2026-01-01T00:00:00.3Z\",\"message\":{{\"role\":\"assistant\",\"content\":\"\"}},\"done\":true,\"done_reason\":\"{reason}\",\"total_duration\":9000,\"load_duration\":1000,\"prompt_eval_count\":5,\"prompt_eval_duration\":3000,\"eval_count\":3,\"eval_duration\":2000}}\n").into_bytes())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Served,
    /// The gateway closed the connection first.
    Cancelled,
    Died,
}

#[derive(Debug, Clone)]
pub struct Chat {
    pub path: String,
    pub body: Vec<u8>,
    pub began: Instant,
    pub ended: Option<(Ending, Instant)>,
}

#[derive(Default)]
struct Seen {
    chats: Vec<Chat>,
    /// Names of models besides those that it always has.
    pulled: Vec<String>,
    shown: usize,
    other_paths: Vec<String>,
    /// The `Authorization` header of each request, empty where there was none.
    credentials: Vec<String>,
    scripts: VecDeque<Script>,
    echo: bool,
}

impl Seen {
    fn script(&mut self, path: &str, body: &[u8]) -> Script {
        let default = || match path {
            "/api/generate" => Script::rest(),
            "/api/embed" => embeddings(body),
            "/api/pull" | "/api/push" | "/api/create" => Script::changed(),
            "/api/copy" | "/api/delete" => Script::of(vec![]),
            path if path.starts_with(BLOBS) => Script { status: 201, ..Script::of(vec![]) },
            _ if self.echo => echo(body),
            _ => Script::hello(),
        };
        self.scripts.pop_front().unwrap_or_else(default)
    }
}

/// Paths that change models.
const CHANGES: [&str; 5] = ["/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete"];

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// The path of uploaded files, before their digest.
const BLOBS: &str = "/api/blobs/";

/// What a change does to the list of models, when it was answered with its own script.
fn change_models(seen: &mut Seen, path: &str, body: &[u8]) {
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    let name = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    match path {
        "/api/pull" | "/api/create" => seen.pulled.push(name("model")),
        "/api/copy" => seen.pulled.push(name("destination")),
        "/api/delete" => seen.pulled.retain(|model| *model != name("model")),
        _ => {}
    }
}

/// Two numbers per text.
fn embeddings(body: &[u8]) -> Script {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let texts = body["input"].as_array().unwrap().len();
    Script::json(serde_json::json!({ "embeddings": vec![[0.6, -0.8]; texts], "prompt_eval_count": 2 * texts }))
}

/// The prompt's last text, after a moment, in two pieces.
fn echo(body: &[u8]) -> Script {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let said = body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned();
    let (one, other) = said.split_at(said.len() / 2);
    Script::of(vec![text(one), Step::Sleep(Duration::from_millis(2)), text(other), done("stop")])
}

pub struct FakeOllama {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    changed: watch::Receiver<u64>,
    gate: Arc<Semaphore>,
    door: watch::Sender<Door>,
}

struct Shared {
    seen: Arc<Mutex<Seen>>,
    changes: watch::Sender<u64>,
    gate: Arc<Semaphore>,
    door: watch::Sender<Door>,
}

impl Shared {
    async fn until_it_works(&self) {
        self.door.subscribe().wait_for(|door| *door != Door::Hung).await.unwrap();
    }

    fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let result = change(&mut self.seen.lock().unwrap());
        self.changes.send_modify(|count| *count += 1);
        result
    }
}

/// A socket at this address, which it shares with others that are made here.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

impl FakeOllama {
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0")
    }

    pub fn start_on(address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let socket = bound(address.parse().unwrap());
        let address = socket.local_addr().unwrap();
        // It never listens: it keeps the port from other programs while the listener is closed.
        let keeper = bound(address);
        let mut listener = {
            let _guard = runtime.enter();
            socket.listen(BACKLOG).unwrap()
        };
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (changes, changed) = watch::channel(0);
        let gate = Arc::new(Semaphore::new(0));
        let door = watch::Sender::new(Door::Open);
        let shared = Arc::new(Shared { seen: seen.clone(), changes, gate: gate.clone(), door: door.clone() });
        std::thread::spawn(move || {
            let _keeper = keeper;
            runtime.block_on(async move {
                let mut door = shared.door.subscribe();
                let mut connections = JoinSet::new();
                loop {
                    if *door.borrow_and_update() == Door::Shut {
                        // First the old ones: where a new one is refused, an old one must take no request.
                        connections.shutdown().await;
                        drop(listener);
                        door.wait_for(|door| *door != Door::Shut).await.unwrap();
                        listener = bound(address).listen(BACKLOG).unwrap();
                        continue;
                    }
                    tokio::select! {
                        accepted = listener.accept() => {
                            let (stream, _) = accepted.unwrap();
                            stream.set_nodelay(true).unwrap();
                            connections.spawn(serve(stream, shared.clone()));
                        }
                        changed = door.changed() => changed.unwrap(),
                    }
                }
            });
        });
        FakeOllama { address, seen, changed, gate, door }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends as a process does: all its connections break off, and new ones are refused.
    pub async fn dies(&self) {
        self.door.send_replace(Door::Shut);
        self.until_it(false).await;
    }

    /// The same from now on as a server that hangs.
    pub fn hangs(&self) {
        self.door.send_replace(Door::Hung);
    }

    /// Serves again, on the same port.
    pub async fn comes_back(&self) {
        self.door.send_replace(Door::Open);
        self.until_it(true).await;
    }

    async fn until_it(&self, listens: bool) {
        until("the fake has changed", async || TcpStream::connect(self.address).await.is_ok() == listens).await;
    }

    /// From now on it has this model, too.
    pub fn pull(&self, model: &str) {
        self.seen.lock().unwrap().pulled.push(model.to_owned());
    }

    /// The answer to the next chat that has none yet; without one a chat is answered with "Hello world!".
    pub fn next(&self, script: Script) {
        self.seen.lock().unwrap().scripts.push_back(script);
    }

    /// From now on a chat without a script is answered with what it said.
    pub fn echo(&self) {
        self.seen.lock().unwrap().echo = true;
    }

    /// Lets one `Wait` go on.
    pub fn release(&self) {
        self.gate.add_permits(1);
    }

    pub fn chats(&self) -> Vec<Chat> {
        self.seen.lock().unwrap().chats.clone()
    }

    /// How often it was asked about one model. `user/other:1b` thinks.
    pub fn shown(&self) -> usize {
        self.seen.lock().unwrap().shown
    }

    /// Returns the `Authorization` header of each request, empty where there was none.
    pub fn credentials(&self) -> Vec<String> {
        self.seen.lock().unwrap().credentials.clone()
    }

    /// Requests that were neither a chat nor a list of models.
    pub fn other_paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().other_paths.clone()
    }

    /// Waits until the chats satisfy `condition`, ten seconds at most.
    pub async fn until(&self, condition: impl Fn(&[Chat]) -> bool) {
        let mut changed = self.changed.clone();
        let wait = async {
            loop {
                changed.borrow_and_update();
                if condition(&self.chats()) {
                    return;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the fake saw it within ten seconds");
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = read_request(&mut stream, &mut buffer).await {
        shared.until_it_works().await;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let credential = head.lines().filter_map(|line| line.split_once(": "));
        let credential = credential.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let credential = credential.map(|(_, value)| value).next().unwrap_or_default();
        shared.change(|seen| seen.credentials.push(credential.to_owned()));
        match path.as_str() {
            "/api/tags" => {
                let pulled = shared.seen.lock().unwrap().pulled.clone();
                let models: Vec<_> = ["fake:latest", "llama3.2:latest", "user/other:1b", "big:cloud"]
                    .into_iter()
                    .chain(pulled.iter().map(String::as_str))
                    .map(|name| serde_json::json!({ "name": name, "model": name, "modified_at": "2026-01-01T00:00:00Z", "size": 1, "digest": "d", "details": { "parent_model": "/models/blobs/sha256-1", "family": "fake" } }))
                    .collect();
                whole(&mut stream, 200, &serde_json::json!({ "models": models }).to_string()).await;
            }
            "/api/chat" | "/api/generate" | "/api/embed" => {
                let (number, script) = shared.change(|seen| {
                    let script = seen.script(&path, &body);
                    seen.chats.push(Chat { path, body, began: Instant::now(), ended: None });
                    (seen.chats.len() - 1, script)
                });
                let ending = perform(&mut stream, script, &shared).await;
                shared.change(|seen| seen.chats[number].ended = Some((ending, Instant::now())));
                if ending != Ending::Served {
                    return;
                }
            }
            path if head.starts_with("HEAD ") && path.starts_with(BLOBS) => {
                let has = shared.seen.lock().unwrap().chats.iter().any(|chat| chat.path == path);
                let head = format!("HTTP/1.1 {} X\r\n\r\n", if has { 200 } else { 404 });
                let _ = stream.write_all(head.as_bytes()).await;
            }
            path if CHANGES.contains(&path) || path.starts_with(BLOBS) => {
                let path = path.to_owned();
                let (number, script) = shared.change(|seen| {
                    let is_scripted = !seen.scripts.is_empty();
                    if !is_scripted {
                        change_models(seen, &path, &body);
                    }
                    let script = seen.script(&path, &body);
                    seen.chats.push(Chat { path, body, began: Instant::now(), ended: None });
                    (seen.chats.len() - 1, script)
                });
                let ending = perform(&mut stream, script, &shared).await;
                shared.change(|seen| seen.chats[number].ended = Some((ending, Instant::now())));
                if ending != Ending::Served {
                    return;
                }
            }
            "/api/ps" => {
                let loaded = serde_json::json!({ "name": "fake:latest", "model": "fake:latest", "size": 3_000_000, "digest": "d",
                    "details": {}, "expires_at": "2100-01-01T01:00:00+01:00", "size_vram": 2_000_000,
                    "context_length": 4096 });
                whole(&mut stream, 200, &serde_json::json!({ "models": [loaded] }).to_string()).await;
            }
            "/api/show" => {
                shared.change(|seen| seen.shown += 1);
                // One model thinks, the others see.
                let thinks = String::from_utf8_lossy(&body).contains("user/other:1b");
                let capabilities = ["completion", if thinks { "thinking" } else { "vision" }];
                let shown = serde_json::json!({
                    "license": "a licence", "modelfile": "FROM /models/blobs/sha256-1", "system": "a private prompt",
                    "messages": [{ "role": "user", "content": "a private prompt" }], "parameters": "num_ctx 2048",
                    "template": "{{ .Prompt }}", "details": { "parent_model": "/models/blobs/sha256-1" },
                    "model_info": { "fake.context_length": 8192 }, "capabilities": capabilities,
                });
                whole(&mut stream, 200, &shown.to_string()).await;
            }
            "/api/version" => whole(&mut stream, 200, r#"{"version":"0.24.0"}"#).await,
            other => {
                shared.change(|seen| seen.other_paths.push(other.to_owned()));
                whole(&mut stream, 404, "404 page not found").await;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).ok()?;
            if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
                let mut rest = buffer.split_off(end + 4);
                let body = read_chunks(stream, &mut rest).await?;
                *buffer = rest;
                return Some((head, body));
            }
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length:").map(|value| value.trim().to_owned())
                })
                .map_or(0, |value| value.parse::<usize>().unwrap());
            if buffer.len() >= end + 4 + length {
                let rest = buffer.split_off(end + 4 + length);
                let body = buffer[end + 4..].to_vec();
                *buffer = rest;
                return Some((head, body));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Reads a body in chunks. `buffer` holds its beginning, and then what follows it.
async fn read_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            match buffer.windows(2).position(|window| window == b"\r\n") {
                Some(end) => break end,
                None => read_more(stream, buffer).await?,
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&buffer[..end]).ok()?, 16).ok()?;
        while buffer.len() < end + 2 + size + 2 {
            read_more(stream, buffer).await?;
        }
        body.extend_from_slice(&buffer[end + 2..end + 2 + size]);
        buffer.drain(..end + 2 + size + 2);
        if size == 0 {
            return Some(body);
        }
    }
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(buffer).await.ok()? > 0).then_some(())
}

async fn whole(stream: &mut TcpStream, status: u16, body: &str) {
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

async fn perform(stream: &mut TcpStream, script: Script, shared: &Shared) -> Ending {
    for step in script.before {
        if let Some(ending) = step_one(stream, step, shared).await {
            return ending;
        }
    }
    let head = format!(
        "HTTP/1.1 {} X\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
        script.status
    );
    if stream.write_all(head.as_bytes()).await.is_err() {
        return Ending::Cancelled;
    }
    for step in script.steps {
        if let Some(ending) = step_one(stream, step, shared).await {
            return ending;
        }
    }
    match stream.write_all(b"0\r\n\r\n").await {
        Ok(()) => Ending::Served,
        Err(_) => Ending::Cancelled,
    }
}

async fn step_one(stream: &mut TcpStream, step: Step, shared: &Shared) -> Option<Ending> {
    match step {
        Step::Send(bytes) => {
            let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
            chunk.extend_from_slice(&bytes);
            chunk.extend_from_slice(b"\r\n");
            stream.write_all(&chunk).await.err().map(|_| Ending::Cancelled)
        }
        Step::Sleep(time) => unless_closed(stream, tokio::time::sleep(time)).await,
        Step::Wait => unless_closed(stream, async { shared.gate.acquire().await.unwrap().forget() }).await,
        Step::Die => Some(Ending::Died),
        Step::Crash => {
            shared.door.send_replace(Door::Shut);
            // It ends with all other connections.
            std::future::pending().await
        }
    }
}

async fn unless_closed(stream: &mut TcpStream, wait: impl Future<Output = ()>) -> Option<Ending> {
    let mut byte = [0];
    tokio::select! {
        () = wait => None,
        // The gateway sends nothing more on this connection, so whatever is read is its end.
        _ = stream.read(&mut byte) => Some(Ending::Cancelled),
    }
}
