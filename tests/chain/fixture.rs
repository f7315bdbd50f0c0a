//! A record with all that a chain has to bear: several languages, images, notes, refusals, acts, an interrupted request, a deleted
//! person, contents and rows that are too old.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::copied::Copied;
use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, hello, hello_stream};

const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const CALL: &str = r#"{"model":"fake:latest","created_at":"2026-01-01T00:00:00.1Z","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"get_weather","arguments":{"city":"Rome"}}}]},"done":false}"#;
const THOUGHT: &str = r#"{"model":"fake:latest","created_at":"2026-01-01T00:00:00.1Z","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#;
const LIFTED: [(&str, &str); 4] = [
    ("LIMITS__REQUESTS_PER_MINUTE", "10000"),
    ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "10000"),
    ("LIMITS__OWN_ACTS_PER_MINUTE", "1000"),
    ("AUDIT__SEGMENT_BYTES", "1024"),
];

pub struct Fixture {
    /// Removed with it.
    _root: tempfile::TempDir,
    /// Copies of the data folder, the newest last.
    pub states: Vec<(String, PathBuf)>,
}

impl Fixture {
    /// The newest state.
    pub fn now(&self) -> PathBuf {
        self.states.last().unwrap().1.clone()
    }

    /// An older state.
    pub fn older(&self) -> PathBuf {
        self.states[self.states.len().saturating_sub(2)].1.clone()
    }

    /// The checkpoints of the newest state, as somebody kept them elsewhere.
    pub fn kept_outside(&self) -> PathBuf {
        self.now().join("checkpoints.txt")
    }

    pub async fn small() -> Fixture {
        let mut made = Making::begin();
        let admin = made.gateway.admin().await;
        made.gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
        made.keep("small").await;
        made.done()
    }

    pub async fn make() -> Fixture {
        let mut made = Making::begin();
        let admin = made.gateway.admin().await;
        let (ann, bob) = (made.gateway.user(&admin, "ann").await, made.gateway.user(&admin, "bob").await);
        for person in [&ann, &bob, &ann] {
            made.chat(person, "long ago").await;
        }
        made.refusals().await;
        made.age(400).await;
        made.chat(&bob, "some time ago").await;
        made.look(&ann).await;
        made.look(&bob).await;
        made.refusals().await;
        made.age(60).await;
        made.chat(&bob, "today").await;
        let settings = json!({ "content_days": 30, "record_days": 365 });
        let set = made.gateway.send("PATCH", "/api/v1/settings", Some(&admin), settings.to_string().into_bytes()).await;
        assert_eq!(set.status, 200, "{}", set.text());
        made.until_act("contents_expired").await;
        made.until_act("rows_removed").await;
        until("old rows are gone", async || made.number("SELECT min(log_id) FROM record") > 1).await;
        made.keep("after retention").await;

        made.every_language(&ann).await;
        made.look(&bob).await;
        made.delete(&admin, "ann").await;
        made.until_act("contents_erased").await;
        made.keep("after a deletion").await;

        made.every_language(&bob).await;
        made.look(&bob).await;
        made.refusals().await;
        made.interrupt(&bob).await;
        made.chat(&bob, "at last").await;
        made.keep("as it is").await;
        made.done()
    }
}

/// A fixture that is being made.
struct Making {
    root: tempfile::TempDir,
    gateway: TestGateway,
    fake: FakeOllama,
    states: Vec<(String, PathBuf)>,
}

impl Making {
    fn begin() -> Making {
        let (root, fake) = (tempfile::tempdir().unwrap(), FakeOllama::start());
        let folder = root.path().join("data");
        std::fs::create_dir(&folder).unwrap();
        let gateway = TestGateway::start_in(&folder, &fake.url(), &LIFTED);
        Making { root, gateway, fake, states: Vec::new() }
    }

    fn done(self) -> Fixture {
        Fixture { _root: self.root, states: self.states }
    }

    async fn stop(&mut self) {
        self.gateway.signal("TERM");
        assert_eq!(self.gateway.wait(60).await, Some(0));
    }

    /// Stops the gateway, which then writes a checkpoint, keeps a copy of its folder, and goes on.
    async fn keep(&mut self, name: &str) {
        self.stop().await;
        let copy = self.root.path().join(name);
        copy_folder(self.gateway.data_dir(), &copy);
        self.states.push((name.to_owned(), copy));
        self.gateway.restart();
    }

    /// Makes all rows older, and their links anew.
    async fn age(&mut self, days: i64) {
        self.stop().await;
        let mut folder = Copied::at(self.gateway.data_dir());
        folder.run(&format!("UPDATE record SET at_us = at_us - {}", days * 86_400_000_000));
        let key = folder.own_key();
        folder.chain_anew(Some(&key));
        drop(folder);
        self.gateway.restart();
    }

    fn number(&self, sql: &str) -> i64 {
        self.gateway.text_of(&format!("SELECT CAST(({sql}) AS TEXT)")).parse().unwrap()
    }

    async fn until_act(&self, act: &str) {
        let count = format!("SELECT count(*) FROM record WHERE act = '{act}'");
        until(act, async || self.number(&count) > 0).await;
    }

    async fn send(&self, path: &str, bearer: &str, body: Value) -> Value {
        let answer = self.gateway.post(path, Some(bearer), body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    async fn chat(&self, bearer: &str, about: &str) {
        let mut body = hello();
        body["messages"][0]["content"] = json!(format!("tell me {about}, größer 大 ✓"));
        // It has no effect, so that the intent has a note.
        body["user"] = json!("somebody");
        self.send("/v1/chat/completions", bearer, body).await;
    }

    /// Sends an image.
    async fn look(&self, bearer: &str) {
        let question = json!({ "role": "user", "content": [{ "type": "input_text", "text": "What is this?" },
            { "type": "input_image", "image_url": format!("data:image/png;base64,{PIXEL}") }] });
        self.send("/v1/responses", bearer, json!({ "model": "fake", "input": [question] })).await;
    }

    async fn every_language(&self, bearer: &str) {
        self.send("/v1/chat/completions", bearer, hello_stream()).await;
        let line = |step: Step| match step {
            Step::Send(bytes) => String::from_utf8(bytes).unwrap().trim_end().to_owned(),
            _ => String::new(),
        };
        self.fake.next(Script::lines(&[THOUGHT, &line(text("Let me look.")), CALL, &line(done("stop"))]));
        let tool =
            json!({ "type": "function", "function": { "name": "get_weather", "parameters": { "type": "object" } } });
        let mut body = hello();
        body["tools"] = json!([tool]);
        self.send("/v1/chat/completions", bearer, body).await;
        let long: Vec<Step> = (0..20).map(|part| text(&format!("{part} {}", "long ".repeat(60)))).collect();
        self.fake.next(Script::of(long.into_iter().chain([done("stop")]).collect()));
        self.send("/api/chat", bearer, json!({ "model": "fake", "messages": [{ "role": "user", "content": "hi" }] }))
            .await;
        let message = json!({ "model": "fake", "max_tokens": 50, "messages": [{ "role": "user", "content": "hi" }] });
        self.send("/v1/messages", bearer, message).await;
        self.send("/v1/embeddings", bearer, json!({ "model": "fake", "input": ["one", "two"] })).await;
        self.fake.next(Script::of(vec![text("cut"), done("length")]));
        let first = self.send("/v1/responses", bearer, json!({ "model": "fake", "input": "hi" })).await;
        let next = json!({ "model": "fake", "input": "go on", "previous_response_id": first["id"] });
        self.send("/v1/responses", bearer, next).await;
        // It fails at the upstream.
        self.fake.next(Script::status(500, r#"{"error":"broken"}"#));
        assert!(self.gateway.post("/v1/chat/completions", Some(bearer), hello()).await.status >= 500);
    }

    async fn refusals(&self) {
        for bearer in [None, Some("nonsense")] {
            assert_eq!(self.gateway.post("/v1/chat/completions", bearer, hello()).await.status, 401);
        }
    }

    async fn delete(&self, admin: &str, name: &str) {
        let gateway = &self.gateway;
        let id = gateway.id_of(admin, name).await;
        let export = gateway.export(admin, name, "csv").await;
        let receipt = export.lines().last().and_then(|last| last.split('"').nth(1)).unwrap();
        let receipt = json!({ "receipt": receipt.strip_prefix("receipt:").unwrap() }).to_string();
        let path = format!("/api/v1/users/{id}");
        assert_eq!(gateway.send("DELETE", &path, Some(admin), receipt.into_bytes()).await.status, 202);
    }

    /// Kills the gateway in the middle of an answer.
    async fn interrupt(&mut self, bearer: &str) {
        use futures_util::StreamExt;
        let begun = text(&"begun ".repeat(400));
        self.fake.next(Script::of(vec![begun, Step::Wait, done("stop")]));
        let body = hello_stream().to_string().into_bytes();
        let mut answer = self.gateway.open("POST", "/v1/chat/completions", Some(bearer), body).await;
        answer.next().await.unwrap().unwrap();
        until("a part of it is on disk", async || {
            self.number("SELECT count(*) FROM record_part WHERE body LIKE 'begun begun%'") > 0
        })
        .await;
        self.gateway.kill();
        self.gateway.restart();
    }
}

pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy_folder(&entry.path(), &to),
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), to).unwrap()),
            _ => {}
        }
    }
}
