//! A token that runs away is slowed, then paused, until somebody lets it in again; nobody else is touched.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, Step};
use crate::support::gateway::{Answer, TestGateway};

const CHAT: &str = "/v1/chat/completions";

struct Scene {
    fake: FakeOllama,
    gateway: TestGateway,
    admin: String,
    ann: String,
    /// The token, and its id.
    pipeline: (String, String),
}

impl Scene {
    async fn new(settings: &[(&str, &str)]) -> Scene {
        let fake = FakeOllama::start();
        let mut all = vec![("LIMITS__REQUESTS_PER_MINUTE", "1000")];
        all.extend(settings);
        let gateway = TestGateway::start_with(&fake.url(), &all);
        let admin = gateway.admin().await;
        let ann = gateway.user(&admin, "ann").await;
        let pipeline = token(&gateway, &ann, "pipeline").await;
        Scene { fake, gateway, admin, ann, pipeline }
    }

    async fn ask(&self, bearer: &str, text: &str) -> Answer {
        let body = json!({ "model": "fake", "messages": [{ "role": "user", "content": text }] });
        self.gateway.post(CHAT, Some(bearer), body).await
    }

    /// A request of the pipeline.
    async fn asks(&self, text: &str) -> Answer {
        self.ask(&self.pipeline.0, text).await
    }

    /// One that can't be understood.
    async fn errs(&self) -> Answer {
        self.gateway.post(CHAT, Some(&self.pipeline.0), json!({ "model": "fake", "messages": [] })).await
    }

    /// Whoever is slowed may go on once in so many seconds, from now on.
    async fn set_pace(&self, seconds: u64) {
        let change = json!({ "slowed_seconds": seconds }).to_string().into_bytes();
        assert_eq!(self.gateway.send("PATCH", "/api/v1/settings", Some(&self.admin), change).await.status, 200);
    }

    async fn resume(&self, bearer: &str) -> Answer {
        self.gateway.post(&format!("/api/v1/tokens/{}/resume", self.pipeline.1), Some(bearer), json!({})).await
    }

    async fn runaways(&self, bearer: &str) -> Value {
        self.gateway.get("/api/v1/queue", Some(bearer)).await.json()["runaways"].clone()
    }

    /// Acts on tokens, the oldest first.
    async fn acts(&self) -> Vec<Value> {
        let page = self.gateway.get("/api/v1/audit?kind=act", Some(&self.admin)).await.json();
        let acts = page["items"].as_array().unwrap().iter().rev();
        acts.filter(|act| act["act"].as_str().unwrap().starts_with("token_")).cloned().collect()
    }
}

async fn token(gateway: &TestGateway, owner: &str, name: &str) -> (String, String) {
    let made = gateway.post("/api/v1/tokens", Some(owner), json!({ "name": name })).await.json();
    (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

const SLOWED: (u16, &str) = (429, "token_slowed");
const PAUSED: (u16, &str) = (403, "token_paused");

fn assert_code(answer: &Answer, (status, word): (u16, &str)) {
    assert_eq!(code(answer), (status, word.to_owned()), "{}", answer.text());
}

#[actix_web::test]
async fn a_token_that_repeats_itself_is_slowed_and_its_other_requests_are_not() {
    let scene = Scene::new(&[("BREAKER__REPEATS_FREE", "2"), ("BREAKER__SLOWED_SECONDS", "600")]).await;
    for _ in 0..2 {
        assert_eq!(scene.asks("again").await.status, 200);
    }

    let slowed = scene.asks("again").await;

    assert_code(&slowed, SLOWED);
    assert!((500..=600).contains(&slowed.header("retry-after").unwrap().parse::<u64>().unwrap()));
    let told = slowed.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(told.contains("`pipeline` sent the same request 2 times in 600 s"), "{told}");
    assert_eq!(scene.asks("something else").await.status, 200);
    let (other, _) = token(&scene.gateway, &scene.ann, "other").await;
    assert_eq!(scene.ask(&other, "again").await.status, 200, "the owner's other token");
    for _ in 0..4 {
        assert_eq!(scene.ask(&scene.ann, "again").await.status, 200, "a person's own sign-in is not watched");
    }
    let shown = scene.runaways(&scene.ann).await;
    assert_eq!(
        json!([
            shown[0]["token"],
            shown[0]["state"],
            shown[0]["reason"],
            shown[0]["count"],
            shown[0]["window_seconds"]
        ]),
        json!([scene.pipeline.1, "slowed", "repeats", 2, 600])
    );
    let rows = scene.gateway.record(&scene.admin).await;
    let sent = rows.iter().any(|row| row["request_id"] == shown[0]["request_id"] && row["token"] == "pipeline");
    assert!(sent, "{shown} shows one of its requests");
    scene.set_pace(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.asks("again").await.status, 200);
    let rows = scene.gateway.record(&scene.admin).await;
    let row = rows.iter().find(|row| row["reason"] == "token_slowed").unwrap();
    assert_eq!(json!([row["kind"], row["user"], row["status"]]), json!(["refusal", "ann@example.org", 429]));
    assert!(scene.acts().await.iter().all(|act| act["act"] == "token_created"), "slowed is not paused");
}

#[actix_web::test]
async fn a_token_that_goes_on_is_paused_over_a_restart_until_its_owner_resumes_it() {
    let mut scene = Scene::new(&[("BREAKER__REPEATS_FREE", "0"), ("BREAKER__REPEATS_MAX", "2")]).await;
    let (other, _) = token(&scene.gateway, &scene.ann, "other").await;
    for _ in 0..2 {
        assert_eq!(scene.asks("again").await.status, 200);
    }

    let paused = scene.asks("again").await;

    assert_code(&paused, PAUSED);
    let told = paused.json()["error"]["message"].as_str().unwrap().to_owned();
    for words in [
        "its owner or an admin",
        &format!("POST /api/v1/tokens/{}/resume", scene.pipeline.1),
        "lan-gateway token resume",
    ] {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(scene.fake.chats().len(), 2, "the one too many was not forwarded");
    let legacy = json!({ "model": "fake", "messages": [{ "role": "user", "content": "hi" }] });
    assert_eq!(scene.gateway.post("/chat", Some(&scene.pipeline.0), legacy).await.status, 403);
    assert_eq!(scene.gateway.get("/v1/models", Some(&scene.pipeline.0)).await.status, 403);
    assert_eq!(scene.ask(&other, "again").await.status, 200, "the owner's other token");
    assert_eq!(scene.ask(&scene.ann, "again").await.status, 200, "the owner");

    scene.gateway.kill();
    scene.gateway.restart();
    assert_code(&scene.asks("anything").await, PAUSED);
    let listed = scene.gateway.get("/api/v1/tokens", Some(&scene.ann)).await.json();
    let listed = listed["items"].as_array().unwrap().iter().find(|token| token["name"] == "pipeline").unwrap().clone();
    assert_eq!(json!([listed["status"], listed["pause_reason"]]), json!(["paused", "repeats"]));
    assert!(listed["suspended_at"].is_string());
    let bob = scene.gateway.user(&scene.admin, "bob").await;
    assert_eq!(scene.resume(&bob).await.status, 404, "it is not there for others");
    assert_eq!(scene.runaways(&bob).await, json!([]));
    let shown = scene.runaways(&scene.admin).await;
    assert_eq!(
        json!([shown[0]["name"], shown[0]["user"], shown[0]["state"], shown[0]["reason"]]),
        json!(["pipeline", "ann@example.org", "paused", "repeats"])
    );
    assert_eq!(json!([shown[0]["count"], shown[0]["window_seconds"]]), json!([2, 600]));
    let rows = scene.gateway.record(&scene.admin).await;
    assert!(rows.iter().any(|row| row["request_id"] == shown[0]["request_id"] && row["token"] == "pipeline"));
    let me = scene.gateway.get("/api/v1/me", Some(&scene.ann)).await.json();
    assert_eq!(shown[0]["user_id"], me["id"]);

    let resumed = scene.resume(&scene.ann).await;

    assert_eq!((resumed.status, &resumed.json()["status"]), (200, &json!("active")));
    let off = json!({ "repeats_max": 0 }).to_string().into_bytes();
    assert_eq!(scene.gateway.send("PATCH", "/api/v1/settings", Some(&scene.admin), off).await.status, 200);
    for _ in 0..4 {
        assert_eq!(scene.asks("again").await.status, 200, "it is turned off");
    }
    assert_eq!(scene.runaways(&scene.admin).await, json!([]));
    let acts = scene.acts().await;
    let told = acts.iter().map(|act| json!([act["act"], act["user"], act["subject"], act["token"], act["reason"]]));
    let pause = json!(["token_paused", null, "ann@example.org", "pipeline", "repeats"]);
    let resume = json!(["token_resumed", "ann@example.org", "ann@example.org", "pipeline", null]);
    assert_eq!(told.collect::<Vec<_>>()[2..], [pause, resume]);
}

#[actix_web::test]
async fn a_storm_of_errors_is_slowed_then_paused_and_an_admin_resumes_it_from_the_host() {
    let pace = ("BREAKER__SLOWED_SECONDS", "600");
    let scene = Scene::new(&[("BREAKER__ERRORS_FREE", "2"), ("BREAKER__ERRORS_MAX", "3"), pace]).await;
    assert_eq!(scene.errs().await.status, 400);
    assert_eq!(scene.errs().await.status, 400);
    let slowed = scene.asks("a good one").await;
    assert_code(&slowed, SLOWED);
    assert!(slowed.text().contains("2 requests fail, one after the other"), "{}", slowed.text());
    assert_eq!(scene.runaways(&scene.admin).await[0]["reason"], "errors");
    scene.set_pace(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.errs().await.status, 400);

    assert_code(&scene.asks("a good one").await, PAUSED);

    let (good, listed) = scene.gateway.command(&["token", "list"], "");
    assert!(good && listed.contains("paused since 20") && listed.contains("its requests failed"), "{listed}");
    let (good, told) = scene.gateway.command(&["token", "resume", &scene.pipeline.1], "");
    assert!(good && told.contains("is active"), "{told}");
    for _ in 0..3 {
        assert_eq!(scene.asks("a good one").await.status, 200);
        assert_eq!(scene.errs().await.status, 400, "an answer in between, so it is no storm");
    }
}

#[actix_web::test]
async fn an_answer_that_the_model_server_refuses_counts_and_one_that_can_not_be_reached_does_not() {
    let scene = Scene::new(&[("BREAKER__ERRORS_MAX", "2"), ("BREAKER__ERRORS_FREE", "0")]).await;
    for number in 0..2 {
        scene.fake.next(Script::status(500, r#"{"error":"llama runner process has terminated"}"#));
        assert_eq!(scene.asks(&format!("crashes it {number}")).await.status, 502);
    }
    assert_code(&scene.asks("a good one").await, PAUSED);

    let settings =
        [("BREAKER__ERRORS_MAX", "1"), ("BREAKER__REPEATS_MAX", "1"), ("LIMITS__REQUESTS_PER_MINUTE", "1000")];
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &settings);
    let admin = gateway.admin().await;
    let (machine, _) = token(&gateway, &admin, "pipeline").await;
    let body = || json!({ "model": "fake", "messages": [{ "role": "user", "content": "again" }] });
    for _ in 0..4 {
        assert_eq!(gateway.post(CHAT, Some(&machine), body()).await.status, 502);
    }
}

#[actix_web::test]
async fn what_a_paused_token_has_waiting_and_running_ends() {
    let scene = Scene::new(&[("BREAKER__REPEATS_MAX", "2"), ("BREAKER__REPEATS_FREE", "0")]).await;
    scene.fake.next(Script { before: vec![Step::Wait], ..Script::hello() });
    let (running, rest) = futures_util::join!(scene.asks("again"), async {
        scene.fake.until(|chats| chats.len() == 1).await;
        futures_util::join!(scene.asks("again"), async {
            scene.gateway.until_waiting(&scene.admin, 1).await;
            scene.asks("again").await
        })
    });

    let (waiting, one_too_many) = rest;
    assert_code(&one_too_many, PAUSED);
    assert_eq!((running.status, waiting.status), (401, 401));
    let rows = scene.gateway.record(&scene.admin).await;
    let ended = rows.iter().filter(|row| row["reason"] == "token_paused" && row["outcome"] == "refused");
    assert_eq!(ended.filter(|row| row["kind"] == "request").count(), 2, "{rows:?}");
}
