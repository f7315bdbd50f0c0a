//! What tools do besides asking for answers: background tasks, people without an account, loops, and ends of access.

use serde_json::{Value, json};

use crate::behalf::{HEADER, Stage, delegating, make, send};
use crate::support::eventually::eventually;
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{PASSWORD, hello, hello_stream};

const TASK: &str = "X-OpenWebUI-Task";
const ANN: (&str, &str) = (HEADER, "ann@example.org");
const BOB: (&str, &str) = (HEADER, "bob@example.org");

#[actix_web::test]
async fn background_tasks_are_counted_apart_as_batch_and_recorded_with_the_person() {
    let fake = FakeOllama::start();
    let settings = [("LIMITS__REQUESTS_PER_MINUTE", "2"), ("DELEGATING__TASKS_PER_MINUTE", "3")];
    let stage = Stage::set(&fake, &settings).await;
    let title = (TASK, "title_generation");
    let status = async |headers: &[(&str, &str)]| stage.chat(headers).await.status;

    // A chat of Open WebUI: the answer, whose header is empty, and three tasks.
    assert_eq!(status(&[ANN, (TASK, "")]).await, 200);
    for task in ["follow_up_generation", "title_generation", "tags_generation"] {
        assert_eq!(status(&[ANN, (TASK, task)]).await, 200, "{task}");
    }
    let fourth = stage.chat(&[ANN, title]).await;
    assert_eq!((fourth.status, fourth.header("x-ratelimit-limit-requests")), (429, Some("3")));
    let second = stage.chat(&[ANN]).await;
    assert_eq!((second.status, second.header("x-ratelimit-remaining-requests")), (200, Some("0")));
    assert_eq!(status(&[BOB, title]).await, 200, "another person has a minute of their own");
    // What is part of an answer, or unclear, is a request like any other.
    for headers in [vec![ANN, (TASK, "query_generation")], vec![ANN, title, title], vec![ANN]] {
        assert_eq!(status(&headers).await, 429, "{headers:?}");
    }
    let rows = stage.gateway.record(&stage.admin).await;
    let of_ann = rows.iter().filter(|row| row["user"] == "ann@example.org" && row["outcome"] == "completed");
    assert_eq!(of_ann.count(), 5);

    // Only a delegating token's tool is believed.
    let own = async |headers: &[(&str, &str)]| {
        send(&stage.gateway, "POST", "/v1/chat/completions", &stage.ann, headers, hello()).await.status
    };
    assert_eq!(own(&[title]).await, 429);
    let off = json!({ "tasks_per_minute": 0 }).to_string().into_bytes();
    assert_eq!(stage.gateway.send("PATCH", "/api/v1/settings", Some(&stage.admin), off).await.status, 200);
    assert_eq!(status(&[ANN, title]).await, 429, "the setting turns it off");
}

#[actix_web::test]
async fn a_background_task_waits_behind_what_people_wait_for() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[]).await;
    fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let (first_headers, task_headers) = ([ANN], [ANN, (TASK, "title_generation")]);
    let first = stage.chat(&first_headers);
    let task = async {
        fake.until(|chats| chats.len() == 1).await;
        stage.chat(&task_headers).await
    };
    let queue = async || {
        let queue = stage.gateway.get("/api/v1/queue", Some(&stage.admin)).await.json();
        let items = queue["items"].as_array().unwrap().clone();
        (items.len() == 2).then_some(items)
    };
    let look = async {
        let items = eventually("both are in the queue", queue).await;
        fake.release();
        items
    };

    let (first, task, items) = futures_util::future::join3(first, task, look).await;

    assert_eq!((first.status, task.status), (200, 200));
    let seen: Vec<Value> = items.iter().map(|item| json!([item["user"], item["token_name"], item["class"]])).collect();
    let item = |class: &str| json!(["ann@example.org", "Open WebUI", class]);
    assert_eq!(seen, [item("interactive"), item("batch")]);
}

#[actix_web::test]
async fn somebody_new_is_registered_where_that_is_set_and_waits_for_approval() {
    let fake = FakeOllama::start();
    let settings = [("ACCOUNTS__DELEGATING_UNKNOWN", "pending"), ("ACCOUNTS__PENDING_PER_ADDRESS_MAX", "2")];
    let stage = Stage::set(&fake, &settings).await;
    let (gateway, admin) = (&stage.gateway, &stage.admin);
    let find = async |name: &str| {
        let found = gateway.get(&format!("/api/v1/users?search={name}"), Some(admin)).await.json();
        found["items"][0].clone()
    };

    let first = stage.chat_for("carl").await;
    assert_eq!(first.status, 403);
    assert!(first.text().contains("approve"), "{}", first.text());
    let carl = find("carl@example.org").await;
    let came = json!([carl["status"], carl["registered_from"], carl["registered_by"]]);
    assert_eq!(came, json!(["pending", "127.0.0.1", "Open WebUI"]));
    let acts = gateway.get("/api/v1/audit?kind=act&act=user_registered", Some(admin)).await.json();
    let act = &acts["items"][0];
    let told = json!([act["user"], act["subject"], act["token"]]);
    assert_eq!(told, json!(["admin", "carl@example.org", "Open WebUI"]));
    assert!(gateway.command(&["user", "list"], "").1.contains("127.0.0.1, by Open WebUI"));

    // Again changes nothing, and a list of models registers as well.
    assert_eq!(stage.chat_for("carl").await.text(), first.text());
    let dora = [(HEADER, "dora@example.org")];
    assert_eq!(send(gateway, "GET", "/v1/models", &stage.token, &dora, Value::Null).await.status, 403);
    assert_eq!(find("dora@example.org").await["status"], "pending");
    assert_eq!(stage.chat_for("emil").await.status, 429, "as many wait from this address as may");
    for number in 0..20 {
        assert_eq!(stage.chat_for(&format!("made-up-{number}")).await.status, 429);
    }
    let waiting = gateway.get("/api/v1/users?status=pending", Some(admin)).await.json();
    assert_eq!(waiting["items"].as_array().map(Vec::len), Some(2));
    // Somebody who was turned down is registered again; a disabled account stays so.
    stage.change("dora", "disable").await;
    assert_eq!(stage.chat_for("dora").await.text(), first.text());
    assert_eq!(find("dora@example.org").await["status"], "disabled");
    for _ in 0..2 {
        assert_eq!(stage.chat_for("emil").await.status, 403);
        let emil = find("emil@example.org").await;
        assert_eq!(emil["status"], "pending");
        let turn_down = format!("/api/v1/users/{}/turn-down", emil["id"].as_str().unwrap());
        assert_eq!(gateway.post(&turn_down, Some(admin), json!({})).await.status, 204);
    }
    // Whoever is disabled is told the same, and none is registered who has no delegating token.
    stage.change("bob", "disable").await;
    assert_eq!(stage.chat_for("bob").await.text(), first.text());
    let (plain, _) = make(gateway, admin, json!({ "name": "plain" })).await;
    let forged = [(HEADER, "frida@example.org")];
    assert_eq!(send(gateway, "POST", "/v1/chat/completions", &plain, &forged, hello()).await.status, 200);
    assert!(find("frida@example.org").await.is_null());

    let approve = format!("/api/v1/users/{}/approve", carl["id"].as_str().unwrap());
    assert_eq!(gateway.post(&approve, Some(admin), json!({})).await.status, 200);
    assert_eq!(stage.chat_for("carl").await.status, 200);
    assert!(find("carl@example.org").await["registered_by"].is_null());
    let sign_in = json!({ "username": "carl@example.org", "password": PASSWORD });
    assert_eq!(gateway.post("/auth/token", None, sign_in).await.status, 401, "there is no password yet");
}

#[actix_web::test]
async fn the_loop_of_one_person_slows_nobody_else_and_pauses_nothing() {
    let fake = FakeOllama::start();
    let settings = [
        ("LIMITS__REQUESTS_PER_MINUTE", "1000"),
        ("BREAKER__REPEATS_FREE", "2"),
        ("BREAKER__REPEATS_MAX", "3"),
        ("BREAKER__SLOWED_SECONDS", "1"),
    ];
    let stage = Stage::set(&fake, &settings).await;
    let held_back = async || {
        let answer = stage.chat(&[ANN]).await;
        let wait = answer.header("retry-after").and_then(|wait| wait.parse::<u64>().ok());
        wait.is_some_and(|wait| wait > 100).then_some(answer)
    };
    let last = eventually("ann waits for more than the second of a slowed token", held_back).await;

    assert_eq!((last.status, last.json()["error"]["code"].as_str()), (429, Some("token_slowed")), "{}", last.text());
    assert_eq!(fake.chats().len(), 3, "as many as pass at all");
    assert_eq!(stage.chat(&[BOB]).await.status, 200);
    let queue = stage.gateway.get("/api/v1/queue", Some(&stage.admin)).await.json();
    let held = &queue["runaways"][0];
    assert_eq!(
        json!([held["state"], held["name"], held["person"]]),
        json!(["slowed", "Open WebUI", "ann@example.org"])
    );
    let token = stage.gateway.get("/api/v1/tokens", Some(&stage.admin)).await.json();
    assert_eq!(token["items"][0]["status"], "active");
}

#[actix_web::test]
async fn an_answer_ends_with_the_access_of_the_person_and_with_the_role_of_the_owner() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[]).await;
    let (gateway, admin) = (&stage.gateway, &stage.admin);
    let boss = gateway.user(admin, "boss").await;
    let path = format!("/api/v1/users/{}", gateway.id_of(admin, "boss@example.org").await);
    let role = async |role: &str| {
        let body = json!({ "role": role }).to_string().into_bytes();
        assert_eq!(gateway.send("PATCH", &path, Some(admin), body).await.status, 200);
    };
    role("admin").await;
    let (token, _) = make(gateway, &boss, delegating()).await;
    let asked = [BOB];
    let hang = || fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let ask = || send(gateway, "POST", "/v1/chat/completions", &token, &asked, hello_stream());
    let reason = async || gateway.newest_outcome(admin, "refused").await["reason"].clone();

    hang();
    let demote = async {
        fake.until(|chats| chats.len() == 1).await;
        role("user").await;
    };
    futures_util::future::join(ask(), demote).await;
    let demoted = reason().await;
    role("admin").await;
    hang();
    let disable = async {
        fake.until(|chats| chats.len() == 2).await;
        stage.change("bob", "disable").await;
    };
    futures_util::future::join(ask(), disable).await;
    let ended = async || (reason().await == "account_disabled").then_some(());
    eventually("bob's answer was cut", ended).await;

    assert_eq!(demoted, "delegation_ended");
}
