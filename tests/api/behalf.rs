//! Delegating tokens: requests of people who are signed in to a tool, governed and recorded as theirs.

use serde_json::{Value, json};

use crate::support::eventually::{eventually, until};
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{Answer, PASSWORD, TestGateway, client, hello};

pub const HEADER: &str = "X-OpenWebUI-User-Email";

/// A gateway with the people ann and bob, and the delegating token of an admin.
pub struct Stage {
    pub gateway: TestGateway,
    pub admin: String,
    pub ann: String,
    pub token: String,
}

impl Stage {
    pub async fn set(fake: &FakeOllama, settings: &[(&str, &str)]) -> Stage {
        let gateway = TestGateway::start_with(&fake.url(), settings);
        let admin = gateway.admin().await;
        let ann = gateway.user(&admin, "ann").await;
        gateway.user(&admin, "bob").await;
        let (token, _) = make(&gateway, &admin, delegating()).await;
        Stage { gateway, admin, ann, token }
    }

    /// Sends a chat with the delegating token and these headers.
    pub async fn chat(&self, headers: &[(&str, &str)]) -> Answer {
        send(&self.gateway, "POST", "/v1/chat/completions", &self.token, headers, hello()).await
    }

    pub async fn chat_for(&self, name: &str) -> Answer {
        self.chat(&[(HEADER, &format!("{name}@example.org"))]).await
    }

    pub async fn change(&self, name: &str, act: &str) {
        let id = self.gateway.id_of(&self.admin, &format!("{name}@example.org")).await;
        let done = self.gateway.post(&format!("/api/v1/users/{id}/{act}"), Some(&self.admin), json!({})).await;
        assert_eq!(done.status, 200, "{}", done.text());
    }
}

pub fn delegating() -> Value {
    json!({ "name": "Open WebUI", "delegating": true, "networks": ["127.0.0.1"], "scopes": ["chat", "embeddings", "models"] })
}

pub async fn make(gateway: &TestGateway, jwt: &str, wish: Value) -> (String, String) {
    let made = gateway.post("/api/v1/tokens", Some(jwt), wish).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

pub async fn send(
    gateway: &TestGateway,
    method: &str,
    path: &str,
    bearer: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> Answer {
    let mut request = client().request(method.parse().unwrap(), format!("{}{path}", gateway.url)).bearer_auth(bearer);
    for (name, value) in headers {
        request = request.append_header((*name, value.as_bytes()));
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut response = request.send_body(body).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.body().await.unwrap().to_vec() }
}

#[actix_web::test]
async fn only_an_admin_makes_one_with_networks_and_for_models_alone() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let wish = |change: Value| {
        let mut wish = delegating();
        wish.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        wish
    };
    let ask = async |jwt: &str, wish: Value| gateway.post("/api/v1/tokens", Some(jwt), wish).await;

    let by_a_member = ask(&ann, delegating()).await;
    assert_eq!((by_a_member.status, by_a_member.json()["error"]["code"].as_str()), (403, Some("permission_denied")));
    for (change, param) in [
        (json!({ "networks": null }), "networks"),
        (json!({ "networks": [] }), "networks"),
        (json!({ "networks": ["0.0.0.0/0"] }), "networks"),
        (json!({ "networks": ["10.0.0.1", "::/0"] }), "networks"),
        (json!({ "scopes": ["chat", "usage"] }), "scopes"),
        (json!({ "scopes": ["models:manage"] }), "scopes"),
        (json!({ "scopes": ["metrics"] }), "scopes"),
    ] {
        let refused = ask(&admin, wish(change.clone())).await;
        assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some(param)), "{change}");
    }
    let made = ask(&admin, delegating()).await.json();
    let plain = ask(&admin, json!({ "name": "plain" })).await.json();

    assert_eq!((&made["delegating"], &plain["delegating"]), (&json!(true), &json!(false)));
    assert_eq!(gateway.detail_of("token_created")["delegating"], false);
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    for (networks, status) in [(json!(null), 400), (json!(["::/0"]), 400), (json!(["127.0.0.2"]), 200)] {
        let body = json!({ "networks": networks }).to_string().into_bytes();
        assert_eq!(gateway.send("PATCH", &path, Some(&admin), body).await.status, status, "{networks}");
    }
    let list = gateway.get("/api/v1/tokens", Some(&admin)).await.json();
    assert_eq!(list["items"][1]["delegating"], true);

    let (_, by_host) = gateway
        .command(&["token", "create", "admin", "by host", "--delegating", "--network", "10.0.0.1", "--json"], "");
    assert_eq!(serde_json::from_str::<Value>(&by_host).unwrap()["delegating"], true, "{by_host}");
    for words in [
        &["token", "create", "ann@example.org", "x", "--delegating", "--network", "10.0.0.1"][..],
        &["token", "create", "admin", "x", "--delegating"],
    ] {
        let (done, said) = gateway.command(words, "");
        assert!(!done, "{said}");
    }
    assert!(gateway.command(&["token", "list"], "").1.contains("delegating"));
}

#[actix_web::test]
async fn two_people_have_their_own_limits_and_rows_through_one_token() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[("LIMITS__REQUESTS_PER_MINUTE", "2")]).await;
    let (gateway, admin) = (&stage.gateway, &stage.admin);

    let anns: Vec<u16> = [stage.chat_for("ann").await, stage.chat_for("ann").await, stage.chat_for("ann").await]
        .map(|a| a.status)
        .into();
    let bobs = stage.chat_for("bob").await;

    assert_eq!(anns, [200, 200, 429]);
    assert_eq!((bobs.status, bobs.header("x-ratelimit-remaining-requests")), (200, Some("1")));
    // Her own credential counts with it.
    assert_eq!(gateway.post("/v1/chat/completions", Some(&stage.ann), hello()).await.status, 429);
    let rows = gateway.until_recorded(admin, "rate_limit_exceeded").await;
    let by_token = rows.iter().filter(|row| row["credential"] == "token");
    let seen: Vec<Value> = by_token.map(|row| json!([row["user"], row["via"], row["token"], row["outcome"]])).collect();
    let row = |name: &str, outcome| json!([format!("{name}@example.org"), "admin", "Open WebUI", outcome]);
    let all = [row("bob", "completed"), row("ann", "refused"), row("ann", "completed"), row("ann", "completed")];
    assert!(all.iter().all(|one| seen.contains(one)), "{seen:?}");
    assert!(rows.iter().filter(|row| row["credential"] == "jwt").all(|row| row["via"].is_null()));

    let own = gateway.get("/api/v1/me/record", Some(&stage.ann)).await.json();
    let own = own["items"].as_array().unwrap().clone();
    assert!(own.iter().all(|row| row["user"] == "ann@example.org"));
    let mine = own.iter().find(|row| row["via"] == "admin" && row["outcome"] == "completed").unwrap();
    let path = format!("/api/v1/me/record/{}", mine["request_id"].as_str().unwrap());
    let story = gateway.get(&path, Some(&stage.ann)).await.json();
    assert_eq!((&story["via"], &story["token"]), (&json!("admin"), &json!("Open WebUI")));
    let of_ann = gateway.export(admin, "ann", "jsonl").await;
    let lines = of_ann.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(lines.filter(|line| line["via"] == "admin").count(), 3);
    let intents = "SELECT CAST(count(*) AS TEXT) FROM record WHERE kind = 'intent' AND via_user_id = 1";
    assert_eq!(gateway.text_of(intents), "3");

    let used = async |by: &str| {
        let from = format!("/api/v1/usage?by={by}");
        gateway.get(&from, Some(admin)).await.json()["items"].as_array().cloned().unwrap_or_default()
    };
    let requests = async |by: &str, name: &str| {
        let of = used(by).await.into_iter().find(|sum| sum.to_string().contains(name))?;
        of["requests"].as_i64()
    };
    for (by, name, wanted) in
        [("user", "ann@example.org", 2), ("user", "bob@example.org", 1), ("token", "Open WebUI", 3)]
    {
        until(&format!("{name} has {wanted} requests"), async || requests(by, name).await == Some(wanted)).await;
    }
}

#[actix_web::test]
async fn a_request_that_names_nobody_is_refused_in_the_words_of_its_client() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[]).await;
    let (gateway, token) = (&stage.gateway, &stage.token);
    let chat = json!({ "model": "fake", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });

    for (path, message) in [
        ("/v1/chat/completions", "/error/message"),
        ("/v1/messages", "/error/message"),
        ("/api/chat", "/error"),
        ("/chat", "/error"),
    ] {
        let refused = send(gateway, "POST", path, token, &[], chat.clone()).await;
        let told = refused.json().pointer(message).unwrap().as_str().unwrap().to_owned();
        assert_eq!(refused.status, 403, "{path}");
        assert!(told.contains(HEADER), "{path}: {told}");
    }
    assert_eq!(gateway.get("/api/v1/queue", Some(token)).await.status, 403);
    let list = gateway.get("/v1/models", Some(token)).await;
    assert!(list.status == 200 && list.text().contains("fake"), "{}", list.text());
    assert!(fake.chats().is_empty());
}

#[actix_web::test]
async fn people_who_have_no_account_that_can_be_used_are_refused_alike() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[]).await;
    let (gateway, admin) = (&stage.gateway, &stage.admin);
    for name in ["shut", "must", "gone"] {
        gateway.user(admin, name).await;
    }
    let pend = json!({ "email": "pend@example.org", "password": PASSWORD });
    assert_eq!(gateway.post("/api/v1/register", None, pend).await.status, 202);
    stage.change("shut", "disable").await;
    stage.change("must", "reset-password").await;
    stage.change("gone", "disable").await;
    let gone = gateway.id_of(admin, "gone@example.org").await;
    let export = gateway.export(admin, "gone", "jsonl").await;
    let receipt: Value = serde_json::from_str(export.lines().last().unwrap()).unwrap();
    let body = json!({ "receipt": receipt["receipt"] }).to_string().into_bytes();
    let deleted = gateway.send("DELETE", &format!("/api/v1/users/{gone}"), Some(admin), body).await;
    assert!(deleted.status < 300, "{}", deleted.text());

    let unknown = stage.chat_for("nobody").await;
    assert_eq!(unknown.status, 403);
    for name in ["shut", "must", "gone", "pend"] {
        let refused = stage.chat_for(name).await;
        assert_eq!((refused.status, refused.text()), (403, unknown.text()), "{name}");
        assert_eq!(
            send(gateway, "GET", "/v1/models", &stage.token, &[(HEADER, &format!("{name}@example.org"))], Value::Null)
                .await
                .status,
            403
        );
    }

    let named = async || {
        let rows = gateway.record(admin).await;
        let shut = rows.iter().find(|row| row["user"] == "shut@example.org")?;
        Some(json!([shut["via"], shut["token"], shut["outcome"]]))
    };
    assert_eq!(eventually("the refusal names both", named).await, json!(["admin", "Open WebUI", "refused"]));
    // A pending account has no rows, so it can be turned down.
    assert!(gateway.record(admin).await.iter().all(|row| row["user"] != "pend@example.org"));
    let pend = gateway.id_of(admin, "pend@example.org").await;
    let turned_down = gateway.post(&format!("/api/v1/users/{pend}/turn-down"), Some(admin), json!({})).await;
    assert_eq!(turned_down.status, 204);
    assert!(fake.chats().is_empty());
}

#[actix_web::test]
async fn the_role_of_an_admin_is_never_lent_and_its_owner_must_keep_it() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[("LIMITS__OWN_ACTS_PER_MINUTE", "1")]).await;
    let (gateway, admin) = (&stage.gateway, &stage.admin);
    let boss = gateway.user(admin, "boss").await;
    let role = async |role: &str| {
        let id = gateway.id_of(admin, "boss@example.org").await;
        let body = json!({ "role": role }).to_string().into_bytes();
        assert_eq!(gateway.send("PATCH", &format!("/api/v1/users/{id}"), Some(admin), body).await.status, 200);
    };
    role("admin").await;
    let (of_boss, id) = make(gateway, &boss, delegating()).await;
    let as_boss = [(HEADER, "boss@example.org")];

    for path in ["/api/v1/users", "/api/v1/audit", "/api/v1/settings", "/api/v1/queue", "/metrics", "/api/v1/me"] {
        assert_eq!(send(gateway, "GET", path, &stage.token, &as_boss, Value::Null).await.status, 403, "{path}");
    }
    let pull = json!({ "model": "fake" });
    assert_eq!(send(gateway, "POST", "/api/pull", &stage.token, &as_boss, pull).await.status, 403);
    assert_eq!(stage.chat(&as_boss).await.status, 200);
    // Acts of a person whom a tool names are limited, also those of an admin.
    let response = async || {
        let made =
            send(gateway, "POST", "/v1/responses", &stage.token, &as_boss, json!({ "model": "fake", "input": "hi" }))
                .await;
        let path = format!("/v1/responses/{}", made.json()["id"].as_str().unwrap());
        send(gateway, "DELETE", &path, &stage.token, &as_boss, Value::Null).await.status
    };
    assert_eq!((response().await, response().await), (200, 429));

    let chat = async || {
        send(gateway, "POST", "/v1/chat/completions", &of_boss, &[(HEADER, "ann@example.org")], hello()).await.status
    };
    assert_eq!(chat().await, 200);
    role("user").await;
    assert_eq!(chat().await, 403, "its owner is no admin any more");
    assert_eq!(send(gateway, "GET", "/v1/models", &of_boss, &[], Value::Null).await.status, 403);
    role("admin").await;
    assert_eq!(chat().await, 200);
    stage.change("boss", "disable").await;
    assert_eq!(chat().await, 401);
    let list = gateway.get("/api/v1/tokens?all=true", Some(admin)).await.json();
    assert!(
        list["items"].as_array().unwrap().iter().any(|one| one["id"] == id.as_str() && one["status"] == "suspended")
    );
}

#[actix_web::test]
async fn the_token_bounds_what_its_people_may() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[]).await;
    let (gateway, admin) = (&stage.gateway, &stage.admin);
    let wish = |change: Value| {
        let mut wish = delegating();
        wish.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        wish
    };
    let ann = [(HEADER, "ann@example.org")];
    let bob = [(HEADER, "bob@example.org")];
    let chat = async |token: &str, who| send(gateway, "POST", "/v1/chat/completions", token, who, hello()).await.status;
    let (elsewhere, _) = make(gateway, admin, wish(json!({ "networks": ["10.9.9.9"] }))).await;
    let (embeds, _) = make(gateway, admin, wish(json!({ "scopes": ["embeddings"] }))).await;
    let (other, _) = make(gateway, admin, wish(json!({ "models": ["llama3.2"] }))).await;
    let (slow, _) = make(gateway, admin, wish(json!({ "requests_per_minute": 2 }))).await;

    assert_eq!((chat(&elsewhere, &ann).await, chat(&embeds, &ann).await, chat(&other, &ann).await), (403, 403, 404));
    let unknown =
        send(gateway, "POST", "/v1/chat/completions", &elsewhere, &[(HEADER, "x@example.org")], hello()).await;
    let known = send(gateway, "POST", "/v1/chat/completions", &elsewhere, &ann, hello()).await;
    assert_eq!(unknown.text(), known.text(), "from elsewhere it tells nothing of accounts");
    // Its own limit is for all of them together.
    assert_eq!((chat(&slow, &ann).await, chat(&slow, &bob).await, chat(&slow, &ann).await), (200, 200, 429));
    assert_eq!(chat(&stage.token, &ann).await, 200);

    // And a person's models bound it from the other side.
    let id = gateway.id_of(admin, "bob@example.org").await;
    let body = json!({ "models": ["llama3.2"] }).to_string().into_bytes();
    assert_eq!(gateway.send("PATCH", &format!("/api/v1/users/{id}"), Some(admin), body).await.status, 200);
    let list =
        async |who: &[(&str, &str)]| send(gateway, "GET", "/v1/models", &stage.token, who, Value::Null).await.text();
    assert!(list(&ann).await.contains("fake") && list(&[]).await.contains("fake"));
    assert!(!list(&bob).await.contains("fake"));
    assert_eq!(chat(&stage.token, &bob).await, 404);
}

#[actix_web::test]
async fn answers_that_are_kept_belong_to_the_person() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[]).await;
    let ask = async |name: &str, method: &str, path: &str, body: Value| {
        let who = format!("{name}@example.org");
        send(&stage.gateway, method, path, &stage.token, &[(HEADER, &who)], body).await
    };
    let made = ask("ann", "POST", "/v1/responses", json!({ "model": "fake", "input": "hi" })).await.json();
    let id = made["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/responses/{id}");
    let more = json!({ "model": "fake", "input": "and?", "previous_response_id": id });

    assert_eq!(ask("ann", "GET", &path, Value::Null).await.status, 200);
    assert_eq!(ask("bob", "GET", &path, Value::Null).await.status, 404);
    assert_eq!(ask("ann", "POST", "/v1/responses", more.clone()).await.status, 200);
    assert_eq!(ask("bob", "POST", "/v1/responses", more).await.status, 404);
    assert_eq!(ask("bob", "DELETE", &path, Value::Null).await.status, 404);
    assert_eq!(ask("ann", "DELETE", &path, Value::Null).await.status, 200);
}
