//! A request that ends the model server is not sent again, and nobody else is held up for long.

use futures_util::join;
use serde_json::{Value, json};

use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, Step, text};
use crate::support::gateway::{Answer, TestGateway, hello};

const CHAT: &str = "/v1/chat/completions";

fn says(word: &str) -> Value {
    json!({ "model": "fake", "messages": [{ "role": "user", "content": word }] })
}

fn crash() -> Script {
    Script { before: vec![Step::Crash], ..Script::hello() }
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

async fn back(gateway: &TestGateway, fake: &FakeOllama) {
    fake.comes_back().await;
    until("the upstream's return is seen", async || gateway.get("/health/ready", None).await.status == 200).await;
}

#[actix_web::test]
async fn a_request_that_ended_the_server_is_refused_with_a_reason_and_others_are_served() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1000")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    // Before the head, and in the middle of the answer.
    for (word, script) in [("one", crash()), ("two", Script::of(vec![text("ab"), Step::Crash]))] {
        fake.next(script);
        let died = gateway.post(CHAT, Some(&ann), says(word)).await;
        assert_eq!(told(&died), (502, "upstream_died".to_owned()), "{word}");
        back(&gateway, &fake).await;
    }

    for word in ["one", "two", "one"] {
        let again = gateway.post(CHAT, Some(&ann), says(word)).await;
        assert_eq!(told(&again), (400, "request_quarantined".to_owned()), "{word}");
        assert!(again.text().contains("it is not sent again for"), "{}", again.text());
    }
    assert_eq!(gateway.post(CHAT, Some(&ann), says("three")).await.status, 200);
    assert_eq!(fake.chats().len(), 3);

    let rows = gateway.until_recorded(&admin, "request_quarantined").await;
    let died = rows.iter().filter(|row| row["reason"] == "upstream_died").count();
    let refused = rows.iter().find(|row| row["reason"] == "request_quarantined").unwrap();
    assert_eq!((died, &refused["kind"], &refused["status"]), (2, &json!("refusal"), &json!(400)));
    let queue = gateway.get("/api/v1/queue", Some(&admin)).await.json();
    let quarantined = queue["quarantined"].as_array().unwrap();
    assert_eq!(quarantined.len(), 2);
    for one in quarantined {
        assert_eq!(
            (&one["state"], &one["deaths"], &one["model"]),
            (&json!("refused"), &json!(1), &json!("fake:latest"))
        );
        assert_eq!(one["digest"].as_str().unwrap().len(), 16);
        assert!(one["until"].as_str().unwrap().ends_with('Z'));
    }
    assert_eq!(gateway.get("/api/v1/queue", Some(&ann)).await.json()["quarantined"], Value::Null);

    // Felt at once.
    let off = br#"{"quarantine_seconds":0}"#.to_vec();
    assert_eq!(gateway.send("PATCH", "/api/v1/settings", Some(&admin), off).await.status, 200);
    assert_eq!(gateway.post(CHAT, Some(&ann), says("one")).await.status, 200);
}

#[actix_web::test]
async fn each_dialect_says_so_in_its_own_shape() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1000")]);
    let admin = gateway.admin().await;
    let embeddings = json!({ "model": "fake", "input": "hi" });
    let completion = json!({ "model": "fake", "prompt": "hi" });

    for (path, body) in [("/chat", hello()), ("/v1/embeddings", embeddings), ("/v1/completions", completion)] {
        fake.next(crash());
        assert_eq!(gateway.post(path, Some(&admin), body.clone()).await.status, 502, "{path}");
        back(&gateway, &fake).await;

        let refused = gateway.post(path, Some(&admin), body).await;

        let error = refused.json()["error"].clone();
        let message = error.as_str().or(error["message"].as_str()).unwrap();
        assert_eq!(refused.status, 400, "{path}");
        assert!(message.starts_with("a model server died while it worked on this very request"), "{path}: {message}");
        assert_eq!(error.is_string(), path == "/chat", "{path}");
        assert_eq!(refused.header("retry-after"), None, "{path}");
    }
}

#[actix_web::test]
async fn a_request_that_ended_its_model_is_refused_too() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let stopped = r#"{"error":"model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details"}"#;
    fake.next(Script::status(500, stopped));

    let died = gateway.post(CHAT, Some(&admin), hello()).await;
    let again = gateway.post(CHAT, Some(&admin), hello()).await;

    assert_eq!((told(&died).0, told(&died).1.as_str()), (502, "upstream_died"));
    assert_eq!((told(&again).0, told(&again).1.as_str()), (400, "request_quarantined"));
    assert_eq!(fake.chats().len(), 1);
}

#[actix_web::test]
async fn a_connection_that_a_living_server_closed_blames_nobody() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for steps in [vec![text("ab"), Step::Die], vec![text("ab")]] {
        fake.next(Script::of(steps));
        assert_eq!(told(&gateway.post(CHAT, Some(&admin), hello()).await).1, "upstream_error");
    }

    assert_eq!(gateway.post(CHAT, Some(&admin), hello()).await.status, 200);
    assert_eq!(gateway.get("/api/v1/queue", Some(&admin)).await.json()["quarantined"], json!([]));
}

#[actix_web::test]
async fn one_that_ran_beside_it_is_tried_again_and_cleared_by_its_answer() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("OLLAMA__SLOTS", "2")]);
    let admin = gateway.admin().await;
    fake.next(Script { before: vec![Step::Wait], ..Script::hello() });
    let innocent = gateway.post(CHAT, Some(&admin), says("innocent"));
    let poison = async {
        fake.until(|chats| chats.len() == 1).await;
        fake.next(crash());
        gateway.post(CHAT, Some(&admin), says("poison")).await
    };
    let (innocent, poison) = join!(innocent, poison);
    for died in [innocent, poison] {
        assert_eq!((told(&died).0, told(&died).1.as_str()), (502, "upstream_died"));
    }
    back(&gateway, &fake).await;
    let suspects = gateway.get("/api/v1/queue", Some(&admin)).await.json()["quarantined"].clone();
    assert_eq!(json!([suspects[0]["state"], suspects[1]["state"]]), json!(["suspect", "suspect"]));

    assert_eq!(gateway.post(CHAT, Some(&admin), says("innocent")).await.status, 200);
    fake.next(crash());
    assert_eq!(told(&gateway.post(CHAT, Some(&admin), says("poison")).await).1, "upstream_died");
    back(&gateway, &fake).await;

    assert_eq!(told(&gateway.post(CHAT, Some(&admin), says("poison")).await).1, "request_quarantined");
    assert_eq!(gateway.post(CHAT, Some(&admin), says("innocent")).await.status, 200);
}

#[actix_web::test]
async fn those_who_wait_outlast_a_server_that_comes_back() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script { before: vec![Step::Wait, Step::Crash], ..Script::hello() });
    let poison = gateway.post(CHAT, Some(&admin), says("poison"));
    let waiting = async {
        fake.until(|chats| chats.len() == 1).await;
        gateway.post(CHAT, Some(&admin), says("waiting")).await
    };
    let play = async {
        gateway.until_waiting(&admin, 1).await;
        fake.release();
        gateway.until_queue(&admin, "the upstream is down", |queue| queue["hosts"][0]["state"] == "down").await;
        back(&gateway, &fake).await;
    };

    let (poison, waiting, ()) = join!(poison, waiting, play);

    assert_eq!(told(&poison).1, "upstream_died");
    assert_eq!(waiting.status, 200, "{}", waiting.text());
}
