//! Access that ends takes the answers with it that it had begun: within two seconds, with a reason in the record.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::eventually::eventually;
use crate::support::fake_ollama::{Ending, FakeOllama, Script, Step, done, text};
use crate::support::gateway::{PASSWORD, TestGateway, hello, hello_stream};

struct Scene {
    fake: FakeOllama,
    gateway: TestGateway,
    admin: String,
    ann: String,
    id: String,
}

impl Scene {
    async fn new() -> Scene {
        let fake = FakeOllama::start();
        let settings = [("LIMITS__REQUESTS_PER_MINUTE", "1000"), ("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "1000")];
        let gateway = TestGateway::start_with(&fake.url(), &settings);
        let admin = gateway.admin().await;
        let ann = gateway.user(&admin, "ann").await;
        let id = gateway.id_of(&admin, "ann").await;
        Scene { fake, gateway, admin, ann, id }
    }

    async fn token(&self, more: Value) -> (String, String) {
        let mut wish = json!({ "name": "ci" });
        wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.gateway.post("/api/v1/tokens", Some(&self.ann), wish).await.json();
        (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    }

    async fn act(&self, what: &str) {
        let path = format!("/api/v1/users/{}/{what}", self.id);
        let done = self.gateway.post(&path, Some(&self.admin), json!({})).await;
        assert_eq!(done.status, 200, "{}", done.text());
    }

    /// Sends a request that hangs in the middle, takes its access away, and says what its client and the record are told.
    async fn is_cut(&self, bearer: &str, body: Value, take_away: impl AsyncFnOnce()) -> (u16, String, Value) {
        let number = self.fake.chats().len();
        self.fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
        let chat = self.gateway.send("POST", "/v1/chat/completions", Some(bearer), body.to_string().into_bytes());
        let ending = async {
            self.fake.until(|chats| chats.len() == number + 1).await;
            take_away().await;
            Instant::now()
        };
        let (answer, ended) = futures_util::future::join(chat, ending).await;
        let took = ended.elapsed();
        assert!(took < Duration::from_secs(2), "cut after {took:?}");
        self.fake.until(|chats| chats[number].ended.is_some()).await;
        assert_eq!(self.fake.chats()[number].ended.unwrap().0, Ending::Cancelled, "the generation ends, too");
        let row = self.gateway.newest_outcome(&self.admin, "refused").await;
        (answer.status, answer.text(), row)
    }
}

#[actix_web::test]
async fn a_stream_and_a_whole_answer_end_when_their_sender_is_disabled() {
    let scene = Scene::new().await;

    let (status, told, row) = scene.is_cut(&scene.ann, hello_stream(), async || scene.act("disable").await).await;
    assert_eq!((status, &row["reason"]), (200, &json!("account_disabled")));
    assert!(told.contains("Hello") && told.contains("has ended") && !told.contains("[DONE]"), "{told}");

    scene.act("enable").await;
    let ann = scene.gateway.token("ann@example.org", PASSWORD).await;
    let (status, told, row) = scene.is_cut(&ann, hello(), async || scene.act("disable").await).await;
    assert_eq!((status, &row["reason"], &row["status"]), (401, &json!("account_disabled"), &json!(401)), "{told}");
}

#[actix_web::test]
async fn a_reset_ends_the_answers_of_people_and_of_their_tokens() {
    let scene = Scene::new().await;
    let (_, token) = scene.token(json!({})).await;

    let (_, _, row) = scene.is_cut(&token, hello_stream(), async || scene.act("reset-password").await).await;
    assert_eq!((&row["reason"], &row["credential"]), (&json!("password_reset"), &json!("token")));

    let change = json!({ "username": "ann@example.org", "current_password": "admin123", "new_password": PASSWORD });
    assert_eq!(scene.gateway.post("/api/v1/password", None, change).await.status, 204);
    let ann = scene.gateway.token("ann@example.org", PASSWORD).await;
    let (_, _, row) = scene.is_cut(&ann, hello_stream(), async || scene.act("reset-password").await).await;
    assert_eq!((&row["reason"], &row["credential"]), (&json!("password_reset"), &json!("jwt")));
}

#[actix_web::test]
async fn a_token_that_is_revoked_ends_its_answers_and_no_others() {
    let scene = Scene::new().await;
    let (id, token) = scene.token(json!({})).await;
    let revoke = async || {
        let queue = scene.gateway.get("/api/v1/queue", Some(&scene.admin)).await.json();
        let item = &queue["items"][0];
        assert_eq!(json!([item["token"], item["token_name"], item["user_id"]]), json!([id, "ci", scene.id]));
        let path = format!("/api/v1/tokens/{id}");
        assert_eq!(scene.gateway.send("DELETE", &path, Some(&scene.ann), Vec::new()).await.status, 204);
    };

    let (_, _, row) = scene.is_cut(&token, hello_stream(), revoke).await;

    assert_eq!((&row["reason"], &row["token"]), (&json!("token_revoked"), &json!("ci")));
    // What its owner asks without it goes on.
    let (other, _) = scene.token(json!({})).await;
    scene.fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let number = scene.fake.chats().len();
    let body = hello().to_string().into_bytes();
    let chat = scene.gateway.send("POST", "/v1/chat/completions", Some(&scene.ann), body);
    let beside = async {
        scene.fake.until(|chats| chats.len() == number + 1).await;
        let path = format!("/api/v1/tokens/{other}");
        assert_eq!(scene.gateway.send("DELETE", &path, Some(&scene.ann), Vec::new()).await.status, 204);
        // Longer than the time within which it would have been cut.
        tokio::time::sleep(Duration::from_millis(600)).await;
        scene.fake.release();
    };
    assert_eq!(futures_util::future::join(chat, beside).await.0.status, 200);
}

#[actix_web::test]
async fn a_changed_password_ends_what_the_old_one_had_begun() {
    let scene = Scene::new().await;
    let change = async || {
        let body =
            json!({ "username": "ann@example.org", "current_password": PASSWORD, "new_password": "another long one!" });
        assert_eq!(scene.gateway.post("/api/v1/password", None, body).await.status, 204);
    };

    let (_, _, row) = scene.is_cut(&scene.ann, hello_stream(), change).await;

    assert_eq!(row["reason"], "password_changed");
}

#[actix_web::test]
async fn whoever_waits_in_the_queue_leaves_it() {
    let scene = Scene::new().await;
    let running = scene.gateway.open("POST", "/v1/chat/completions", Some(&scene.admin), {
        scene.fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
        hello_stream().to_string().into_bytes()
    });
    let _running = running.await;
    let body = hello().to_string().into_bytes();
    let waiting = scene.gateway.send("POST", "/v1/chat/completions", Some(&scene.ann), body);
    let ending = async {
        scene.gateway.until_waiting(&scene.admin, 1).await;
        scene.act("disable").await;
    };

    let (answer, ()) = futures_util::future::join(waiting, ending).await;

    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(scene.fake.chats().len(), 1, "it was never forwarded");
    assert_eq!(scene.gateway.newest_outcome(&scene.admin, "refused").await["reason"], "account_disabled");
}

#[actix_web::test]
async fn an_admin_ends_a_request_that_runs_and_the_host_one_that_waits() {
    let scene = Scene::new().await;
    let queued = async |state: &str| {
        let queue = scene.gateway.get("/api/v1/queue", Some(&scene.admin)).await.json();
        let items = queue["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["state"] == state)
    };
    let end = async |item: &Value| {
        let path = format!("/api/v1/queue/{}", item["request_id"].as_str().unwrap());
        scene.gateway.send("DELETE", &path, Some(&scene.admin), Vec::new()).await.status
    };
    let body = || hello().to_string().into_bytes();
    let end_both = async || {
        let running = queued("running").await.unwrap();
        let waiting = scene.gateway.send("POST", "/v1/chat/completions", Some(&scene.ann), body());
        let end_waiting = async {
            let item = eventually("one waits", async || queued("waiting").await).await;
            let (good, said) = scene.gateway.command(&["queue", "cancel", item["request_id"].as_str().unwrap()], "");
            assert!(good && said.contains("is cancelled"), "{said}");
        };
        let (waiting, ()) = futures_util::future::join(waiting, end_waiting).await;
        assert_eq!((waiting.status, waiting.json()["error"]["code"].clone()), (403, json!("permission_denied")));
        assert_eq!(end(&running).await, 204);
    };

    let (status, told, row) = scene.is_cut(&scene.ann, hello(), end_both).await;

    assert_eq!((status, &row["reason"]), (403, &json!("cancelled")), "{told}");
    assert_eq!(scene.fake.chats().len(), 1, "the one that waited was never forwarded");
    let page = scene.gateway.get("/api/v1/audit?kind=act", Some(&scene.admin)).await.json();
    let acts = page["items"].as_array().unwrap().iter().filter(|item| item["act"] == "request_cancelled");
    let acts: Vec<Value> = acts.map(|act| json!([act["subject"], act["user"]])).collect();
    assert_eq!(
        acts,
        [json!(["ann@example.org", "admin"]), json!(["ann@example.org", null])],
        "the host has no account"
    );
    assert_eq!(end(&json!({ "request_id": row["request_id"] })).await, 404, "it has ended");
}
