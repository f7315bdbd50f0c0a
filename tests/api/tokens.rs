//! Tokens for machines: what they open, what they don't, and when they stop.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::eventually::{eventually, until};
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{Answer, PASSWORD, TestGateway, client, hello};

/// Makes a token of whoever `jwt` belongs to: its text and its id.
async fn make(gateway: &TestGateway, jwt: &str, wish: Value) -> (String, String) {
    let made = gateway.post("/api/v1/tokens", Some(jwt), wish).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

async fn chat(gateway: &TestGateway, token: &str) -> Answer {
    gateway.post("/v1/chat/completions", Some(token), hello()).await
}

async fn delete(gateway: &TestGateway, jwt: &str, id: &str) -> Answer {
    gateway.send("DELETE", &format!("/api/v1/tokens/{id}"), Some(jwt), Vec::new()).await
}

/// Files anywhere under `folder` that hold `text`.
fn holding(folder: &Path, text: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if path.is_file() && memchr::memmem::find(&std::fs::read(&path).unwrap(), text.as_bytes()).is_some() {
            found.push(path);
        }
    }
    found
}

#[actix_web::test]
async fn a_token_opens_chats_in_both_headers_and_the_record_names_it() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let (token, id) = make(&gateway, &ann, json!({ "name": "nightly build" })).await;

    let bearer = chat(&gateway, &token).await;
    let legacy = gateway.post("/chat", Some(&token), hello()).await;
    let api_key = client()
        .post(format!("{}/v1/chat/completions", gateway.url))
        .insert_header(("x-api-key", token.as_str()))
        .send_body(hello().to_string())
        .await
        .unwrap();

    assert_eq!((bearer.status, legacy.status, api_key.status().as_u16()), (200, 200, 200));
    let rows = gateway.record(&admin).await;
    assert_eq!(rows.len(), 3);
    for row in &rows {
        let named = json!([row["user"], row["credential"], row["token"]]);
        assert_eq!(named, json!(["ann@example.org", "token", "nightly build"]));
    }
    let export = gateway.export(&admin, "ann", "csv").await;
    assert!(export.lines().nth(1).unwrap().contains("\"token\""), "{export}");
    let acts = gateway.get("/api/v1/audit", Some(&admin)).await.json();
    let made = acts["items"].as_array().unwrap().iter().find(|item| item["act"] == "token_created").unwrap();
    assert_eq!((&made["token"], &made["subject"]), (&json!("nightly build"), &json!("ann@example.org")));
    // The name stays in the record when the token is gone.
    assert_eq!(delete(&gateway, &ann, &id).await.status, 204);
    assert_eq!(gateway.record(&admin).await[0]["token"], "nightly build");
}

#[actix_web::test]
async fn a_secret_is_shown_once_and_stands_in_no_file() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let (token, id) = make(&gateway, &admin, json!({ "name": "ci" })).await;
    assert_eq!(chat(&gateway, &token).await.status, 200);
    let rotated = gateway.post(&format!("/api/v1/tokens/{id}/rotate"), Some(&admin), json!({})).await.json();

    let list = gateway.get("/api/v1/tokens", Some(&admin)).await;

    assert_eq!(list.json()["items"][0]["prefix"], token[..16]);
    for text in [&token, rotated["token"].as_str().unwrap()] {
        let secret = &text[17..60];
        assert!(!list.text().contains(secret));
        assert_eq!(holding(gateway.data_dir(), secret), Vec::<std::path::PathBuf>::new());
    }
    assert!(!holding(gateway.data_dir(), &id).is_empty(), "the public id is there, so the search works");
}

#[actix_web::test]
async fn a_revoked_expired_or_damaged_token_opens_nothing_on_the_next_request() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let (revoked, id) = make(&gateway, &admin, json!({ "name": "one" })).await;
    let (expired, _) = make(&gateway, &admin, json!({ "name": "two", "expires_in_days": 1 })).await;
    assert_eq!((chat(&gateway, &revoked).await.status, chat(&gateway, &expired).await.status), (200, 200));

    assert_eq!(delete(&gateway, &admin, &id).await.status, 204);
    assert_eq!(delete(&gateway, &admin, &id).await.status, 204, "again changes nothing");
    assert_eq!(chat(&gateway, &revoked).await.status, 401);
    gateway.kill();
    gateway.on_the_file("UPDATE tokens SET expires_at_us = 1 WHERE name = 'two'");
    gateway.restart();
    let mut damaged = expired.clone();
    damaged.replace_range(30..31, if &damaged[30..31] == "a" { "b" } else { "a" });

    for token in [&revoked, &expired, &damaged, &expired[..60], "lgw_m_0123456789_", "lgw_"] {
        let refused = chat(&gateway, token).await;
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (401, &json!("invalid_api_key")), "{token}");
        let legacy = gateway.post("/chat", Some(token), hello()).await;
        assert_eq!((legacy.status, legacy.json()), (403, json!({ "error": "unauthorized" })));
    }
    let list = gateway.get("/api/v1/tokens", Some(&gateway.admin().await)).await.json();
    assert_eq!((&list["items"][0]["status"], &list["items"][1]["status"]), (&json!("expired"), &json!("revoked")));
    assert_eq!(fake.chats().len(), 2);
}

#[actix_web::test]
async fn a_token_that_has_ended_is_named_in_the_record_and_a_wrong_secret_never() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let (revoked, id) = make(&gateway, &ann, json!({ "name": "old pipeline" })).await;
    assert_eq!(delete(&gateway, &admin, &id).await.status, 204);
    let guessed = lan_gateway::auth::api_token::mint(&id).text.expose().clone();

    let told = chat(&gateway, &revoked).await;
    let own_routes = gateway.get("/v1/models", Some(&revoked)).await;
    let wrong = chat(&gateway, &guessed).await;

    assert_eq!((told.status, own_routes.status, wrong.status), (401, 401, 401));
    assert_eq!(told.text(), wrong.text(), "the answer does not tell whether the secret was right");
    let (named, nobody) = (json!(["ann@example.org", "old pipeline", id, "token"]), json!([null, null, null, null]));
    // Nobody waits for the row of a refusal, so it may come a moment later.
    let both = async || {
        let rows = gateway.record(&admin).await;
        let who = |row: &Value| json!([row["user"], row["token"], row["token_id"], row["credential"]]);
        let seen: Vec<Value> = rows.iter().map(who).collect();
        (seen.contains(&named) && seen.contains(&nobody)).then_some(seen)
    };
    let seen = eventually("both refusals are on record", both).await;
    assert!(seen.iter().all(|row| *row == named || *row == nobody), "{seen:?}");
}

#[actix_web::test]
async fn a_scope_opens_its_own_routes() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for (scopes, chats, models, usage) in [
        (json!(["chat"]), 200, 200, 403),
        (json!(["models"]), 403, 200, 403),
        (json!(["usage"]), 403, 403, 200),
        (json!(["embeddings"]), 403, 403, 403),
        (json!(["models:manage"]), 403, 403, 403),
    ] {
        let (token, _) = make(&gateway, &admin, json!({ "name": "ci", "scopes": scopes })).await;

        assert_eq!(chat(&gateway, &token).await.status, chats, "{scopes}");
        assert_eq!(gateway.get("/v1/models", Some(&token)).await.status, models, "{scopes}");
        assert_eq!(gateway.get("/v1/models/fake", Some(&token)).await.status, models, "{scopes}");
        assert_eq!(gateway.get("/api/v1/me/usage", Some(&token)).await.status, usage, "{scopes}");
    }
    let refusals: Vec<Value> = gateway.record(&admin).await;
    assert!(refusals.iter().any(|row| row["kind"] == "refusal" && row["token"] == "ci" && row["user"] == "admin"));
    assert_eq!(gateway.get("/api/v1/me", Some(&admin)).await.status, 200);
}

#[actix_web::test]
async fn a_model_outside_a_tokens_list_does_not_exist_for_it() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let (token, _) = make(&gateway, &admin, json!({ "name": "ci", "models": ["FAKE:latest"] })).await;
    let ask = |model: &str| json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] });

    let hidden = gateway.post("/v1/chat/completions", Some(&token), ask("llama3.2")).await;
    let missing = gateway.post("/v1/chat/completions", Some(&token), ask("llama3.9")).await;

    assert_eq!((hidden.status, missing.status), (404, 404));
    assert_eq!(hidden.text().replace("3.2", "3.9"), missing.text());
    assert_eq!(chat(&gateway, &token).await.status, 200);
    let list = gateway.get("/v1/models", Some(&token)).await.json();
    let names: Vec<_> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["fake:latest"]);
    assert_eq!(gateway.get("/v1/models/llama3.2", Some(&token)).await.status, 404);
    assert_eq!(gateway.get("/v1/models/llama3.2", Some(&admin)).await.status, 200);
}

#[actix_web::test]
async fn a_token_is_used_from_its_networks_alone() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let (near, _) = make(&gateway, &admin, json!({ "name": "near", "networks": ["127.0.0.1"] })).await;
    let (far, _) = make(&gateway, &admin, json!({ "name": "far", "networks": ["10.0.0.0/8", "fe80::/10"] })).await;

    assert_eq!(chat(&gateway, &near).await.status, 200);
    assert_eq!(chat(&gateway, &far).await.status, 403);
    assert_eq!(gateway.get("/v1/models", Some(&far)).await.status, 403);
    let row = gateway.newest_outcome(&admin, "refused").await;
    assert_eq!(json!([row["api"], row["token"], row["user"]]), json!(["/v1/chat/completions", "far", "admin"]));
}

#[actix_web::test]
async fn a_tokens_name_and_networks_are_changed_and_felt_on_its_next_request() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let (token, id) = make(&gateway, &admin, json!({ "name": "ci" })).await;
    let change = async |change: Value| {
        let path = format!("/api/v1/tokens/{id}");
        gateway.send("PATCH", &path, Some(&admin), change.to_string().into_bytes()).await
    };

    let changed = change(json!({ "networks": ["10.0.0.7/8"], "name": " night build " })).await.json();
    assert_eq!(json!([changed["name"], changed["networks"]]), json!(["night build", ["10.0.0.0/8"]]));
    assert_eq!(chat(&gateway, &token).await.status, 403);
    let told = gateway.detail_of("token_changed");
    assert_eq!(json!([told["old"]["name"], told["old"]["networks"]]), json!(["ci", null]));
    assert_eq!(json!([told["new"]["name"], told["new"]["networks"]]), json!(["night build", "10.0.0.0/8"]));
    assert_eq!(change(json!({ "requests_per_minute": 50 })).await.json()["networks"], json!(["10.0.0.0/8"]));
    assert_eq!(change(json!({ "networks": null })).await.json()["networks"], Value::Null);
    assert_eq!(chat(&gateway, &token).await.status, 200);
    assert_eq!(gateway.record(&admin).await[0]["token"], "night build");
    for (bad, field) in [
        (json!({ "networks": [] }), "networks"),
        (json!({ "networks": ["here"] }), "networks[0]"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": "a\u{202e}b" }), "name"),
        (json!({ "scopes": ["usage"] }), "scopes"),
    ] {
        let refused = change(bad.clone()).await;
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(field)), "{bad}");
    }
}

#[actix_web::test]
async fn an_admin_lists_everybodys_tokens_by_what_they_are_and_by_when_they_end() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    make(&gateway, &ann, json!({ "name": "ci", "expires_in_days": 4 })).await;
    make(&gateway, &bob, json!({ "name": "docs", "expires_in_days": 40 })).await;
    let (_, old) = make(&gateway, &bob, json!({ "name": "old", "expires_in_days": 4 })).await;
    assert_eq!(delete(&gateway, &bob, &old).await.status, 204);
    let list = async |jwt: &str, query: &str| {
        let page = gateway.get(&format!("/api/v1/tokens?{query}"), Some(jwt)).await.json();
        page["items"].as_array().unwrap_or_else(|| panic!("{page}")).clone()
    };
    let names = |items: &[Value]| items.iter().map(|item| item["name"].clone()).collect::<Value>();

    let all = list(&admin, "all=true").await;

    assert_eq!(names(&all), json!(["old", "docs", "ci"]));
    assert_eq!(
        json!([all[2]["user"], all[2]["user_id"]]),
        json!(["ann@example.org", gateway.id_of(&admin, "ann").await])
    );
    assert!(all[0]["revoked_at"].is_string() && all[1]["revoked_at"].is_null());
    assert_eq!(names(&list(&admin, "").await), json!([]), "an admin's own, unless asked otherwise");
    assert_eq!(names(&list(&admin, "all=true&status=revoked").await), json!(["old"]));
    assert_eq!(names(&list(&admin, "all=true&status=active&limit=1").await), json!(["docs"]));
    let before = all[1]["expires_at"].as_str().unwrap().replace('+', "%2B");
    assert_eq!(names(&list(&admin, &format!("all=true&expiring_before={before}")).await), json!(["ci"]));
    assert_eq!(names(&list(&bob, "status=active").await), json!(["docs"]));
    for (jwt, query, status) in [
        (&ann, "all=true", 403),
        (&admin, "all=true&user_id=x", 400),
        (&admin, "all=yes", 400),
        (&admin, "status=sleepy", 400),
        (&admin, "expiring_before=soon", 400),
    ] {
        assert_eq!(gateway.get(&format!("/api/v1/tokens?{query}"), Some(jwt)).await.status, status, "{query}");
    }
}

#[actix_web::test]
async fn a_tokens_own_limit_and_its_owners_must_both_let_it_pass() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "3")]);
    let admin = gateway.admin().await;
    let (slow, _) = make(&gateway, &admin, json!({ "name": "slow", "requests_per_minute": 1 })).await;
    let (fast, _) = make(&gateway, &admin, json!({ "name": "fast" })).await;

    let first = chat(&gateway, &slow).await;
    assert_eq!((first.status, first.header("x-ratelimit-limit-requests")), (200, Some("1")));
    assert_eq!(chat(&gateway, &slow).await.status, 429, "its own is used up");
    assert_eq!((chat(&gateway, &fast).await.status, chat(&gateway, &admin).await.status), (200, 200));
    let refused = chat(&gateway, &fast).await;
    assert_eq!((refused.status, refused.header("x-ratelimit-limit-requests")), (429, Some("3")), "the owner's, too");
}

#[actix_web::test]
async fn after_a_rotation_both_secrets_open_until_the_grace_is_over() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(
        &fake.url(),
        &[("TOKENS__GRACE_SECONDS_MAX", "3600"), ("LIMITS__REQUESTS_PER_MINUTE", "1000")],
    );
    let admin = gateway.admin().await;
    let (first, id) = make(&gateway, &admin, json!({ "name": "ci" })).await;
    let rotate = async |wish: Value| {
        let rotated = gateway.post(&format!("/api/v1/tokens/{id}/rotate"), Some(&admin), wish).await;
        assert_eq!(rotated.status, 200, "{}", rotated.text());
        rotated.json()["token"].as_str().unwrap().to_owned()
    };

    let second = rotate(json!({ "grace_seconds": 3600 })).await;
    assert_eq!((chat(&gateway, &first).await.status, chat(&gateway, &second).await.status), (200, 200));
    let rotated = Instant::now();
    let third = rotate(json!({ "grace_seconds": 2 })).await;
    until("the grace is over", async || gateway.get("/v1/models", Some(&second)).await.status == 401).await;
    assert!(rotated.elapsed() >= Duration::from_secs(2), "over after {:?}", rotated.elapsed());
    assert_eq!(chat(&gateway, &third).await.status, 200);

    let fourth = rotate(json!({ "grace_seconds": 0 })).await;
    assert_eq!((chat(&gateway, &third).await.status, chat(&gateway, &fourth).await.status), (401, 200));
    // Of three secrets two are taken at most.
    let fifth = rotate(json!({})).await;
    rotate(json!({})).await;
    assert_eq!((chat(&gateway, &fourth).await.status, chat(&gateway, &fifth).await.status), (401, 200));
    let path = format!("/api/v1/tokens/{id}/rotate");
    let too_long = gateway.post(&path, Some(&admin), json!({ "grace_seconds": 3601 })).await;
    assert_eq!(too_long.json()["error"]["param"], "grace_seconds");
    delete(&gateway, &admin, &id).await;
    let revoked = gateway.post(&path, Some(&admin), json!({})).await;
    assert_eq!((revoked.status, chat(&gateway, &fifth).await.status), (409, 401));
}

#[actix_web::test]
async fn a_token_falls_with_its_owner_and_wakes_when_it_is_resumed() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let user = format!("/api/v1/users/{}", gateway.id_of(&admin, "ann").await);
    let (token, id) = make(&gateway, &ann, json!({ "name": "ci" })).await;
    let resume = format!("/api/v1/tokens/{id}/resume");
    let act = async |path: String, body: Value| gateway.post(&path, Some(&admin), body).await;

    assert_eq!(act(format!("{user}/disable"), json!({})).await.status, 200);
    assert_eq!(chat(&gateway, &token).await.status, 401);
    assert_eq!(act(resume.clone(), json!({})).await.status, 409, "its owner is still disabled");
    assert_eq!(act(format!("{user}/enable"), json!({})).await.status, 200);
    let asleep = chat(&gateway, &token).await;
    assert!(asleep.status == 401 && asleep.text().contains("suspended"), "{}", asleep.text());
    assert_eq!(act(resume.clone(), json!({})).await.json()["status"], "active");
    assert_eq!(chat(&gateway, &token).await.status, 200);

    let reset = act(format!("{user}/reset-password"), json!({ "mode": "code" })).await.json();
    assert_eq!(chat(&gateway, &token).await.status, 401);
    assert_eq!(act(resume, json!({})).await.status, 409, "the password must be changed first");
    let change = json!({ "username": "ann@example.org", "current_password": reset["one_time_code"],
        "new_password": "a password of her own" });
    assert_eq!(gateway.post("/api/v1/password", None, change).await.status, 204);
    assert_eq!(chat(&gateway, &token).await.status, 200, "the owner is back, and so is the token");
}

#[actix_web::test]
async fn others_tokens_are_not_there_and_an_admin_ends_but_never_takes_them() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let bob = gateway.user(&admin, "bob").await;
    let ann_id = gateway.id_of(&admin, "ann").await;
    let (_, id) = make(&gateway, &ann, json!({ "name": "ci" })).await;

    for (method, end) in [("DELETE", ""), ("POST", "/rotate"), ("POST", "/resume")] {
        let send = async |id: &str| {
            gateway.send(method, &format!("/api/v1/tokens/{id}{end}"), Some(&bob), b"{}".to_vec()).await
        };
        let (others, random) = (send(&id).await, send("0123456789").await);
        assert_eq!((others.status, others.text()), (404, random.text()), "{method} {end}");
    }
    assert_eq!(gateway.get(&format!("/api/v1/tokens?user_id={ann_id}"), Some(&bob)).await.status, 403);
    assert_eq!(gateway.get("/api/v1/tokens", Some(&bob)).await.json()["items"], json!([]));
    let seen = gateway.get(&format!("/api/v1/tokens?user_id={ann_id}"), Some(&admin)).await.json();
    assert_eq!(json!([seen["items"][0]["id"], seen["items"][0]["user"]]), json!([id, "ann@example.org"]));
    // A secret of Ann's in an admin's hands would let the admin speak as Ann.
    assert_eq!(gateway.post(&format!("/api/v1/tokens/{id}/rotate"), Some(&admin), json!({})).await.status, 404);
    assert_eq!(delete(&gateway, &admin, &id).await.status, 204);
}

#[actix_web::test]
async fn a_wish_is_checked_and_what_is_not_known_is_refused() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    for (wish, field) in [
        (json!({}), "name"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": "x", "scopes": ["all"] }), "scopes"),
        (json!({ "name": "x", "scopes": [] }), "scopes"),
        (json!({ "name": "x", "models": [] }), "models"),
        (json!({ "name": "x", "models": ["a b"] }), "models[0]"),
        (json!({ "name": "x", "model": ["fake"] }), "model"),
        (json!({ "name": "x", "networks": ["here"] }), "networks[0]"),
        (json!({ "name": "x", "requests_per_minute": 0 }), "requests_per_minute"),
        (json!({ "name": "x", "requests_per_minute": -1 }), "requests_per_minute"),
        (json!({ "name": "x", "class": "first" }), "class"),
        (json!({ "name": "x", "expires_in_days": 0 }), "expires_in_days"),
        (json!({ "name": "x", "expires_in_days": 366 }), "expires_in_days"),
        (json!({ "name": "x", "user_id": "y" }), "user_id"),
    ] {
        let refused = gateway.post("/api/v1/tokens", Some(&ann), wish.clone()).await;
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(field)), "{wish}");
    }
    let manage = json!({ "name": "x", "scopes": ["models:manage"] });
    assert_eq!(gateway.post("/api/v1/tokens", Some(&ann), manage.clone()).await.status, 403);
    assert_eq!(gateway.post("/api/v1/tokens", Some(&admin), manage).await.status, 201);
}

#[actix_web::test]
async fn a_person_has_twenty_tokens_at_most_and_they_come_in_pages() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(make(&gateway, &admin, json!({ "name": format!("token {number}") })).await.1);
    }

    let one_more = json!({ "name": "one more" });
    assert_eq!(gateway.post("/api/v1/tokens", Some(&admin), one_more.clone()).await.status, 409);
    delete(&gateway, &admin, &ids[0]).await;
    ids.push(make(&gateway, &admin, one_more).await.1);

    let mut seen = Vec::new();
    let mut path = "/api/v1/tokens?limit=8".to_owned();
    loop {
        let page = gateway.get(&path, Some(&admin)).await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/tokens?limit=8&cursor={next}");
    }
    ids.reverse();
    assert_eq!(seen, ids);
    let unknown = gateway.get("/api/v1/tokens?cursor=nonsense", Some(&admin)).await.json();
    assert_eq!(unknown["items"], json!([]));
}

#[actix_web::test]
async fn the_last_use_is_seen_and_a_token_lives_ninety_days_unless_told() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let (token, _) = make(&gateway, &admin, json!({ "name": "ci" })).await;
    let newest = async || gateway.get("/api/v1/tokens", Some(&admin)).await.json()["items"][0].clone();
    let unused = newest().await;
    assert_eq!(unused.get("last_used_at"), None);
    let at = |field: &str| unused[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(at("expires_at").duration_since(at("created_at")).as_hours(), 90 * 24);

    chat(&gateway, &token).await;

    until("the use is noted", async || newest().await["last_used_at"].is_string()).await;
}

#[actix_web::test]
async fn a_deleted_persons_tokens_are_gone() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let id = gateway.id_of(&admin, "ann").await;
    let (token, token_id) = make(&gateway, &ann, json!({ "name": "a pipeline of ann's" })).await;
    let export = gateway.export(&admin, "ann", "jsonl").await;
    let receipt = serde_json::from_str::<Value>(export.lines().last().unwrap()).unwrap()["receipt"].clone();
    let body = json!({ "receipt": receipt }).to_string().into_bytes();

    assert_eq!(gateway.send("DELETE", &format!("/api/v1/users/{id}"), Some(&admin), body).await.status, 202);

    assert_eq!(chat(&gateway, &token).await.status, 401);
    assert_eq!(delete(&gateway, &admin, &token_id).await.status, 404);
}

#[actix_web::test]
async fn tokens_are_governed_from_the_host() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    gateway.post("/api/v1/register", None, json!({ "email": "bob@example.org", "password": PASSWORD })).await;
    gateway.user(&admin, "ann").await;
    for running in [true, false] {
        if !running {
            gateway.signal("TERM");
            gateway.wait(10).await;
        }
        let run = |words: &[&str]| {
            let (good, text) = gateway.command(words, "");
            assert!(good, "{words:?}: {text}");
            text
        };
        let made = run(&["token", "create", "ann@example.org", "night job", "--model", "fake", "--days", "7"]);
        let token = made.lines().find(|line| line.starts_with("lgw_")).unwrap().to_owned();
        let prefix = token[..16].to_owned();
        assert!(run(&["token", "list", "ann@example.org"]).contains(&prefix));
        assert!(run(&["token", "list"]).contains("night job"));
        assert!(run(&["token", "list", "--status", "active"]).contains("night job"));
        assert!(!run(&["token", "list", "--status", "paused"]).contains("night job"));
        assert!(run(&["token", "rename", &prefix, "late job"]).contains("late job"));
        assert!(run(&["token", "networks", &prefix, "10.0.0.0/8", "127.0.0.1"]).contains("10.0.0.0/8 127.0.0.1/32"));
        assert!(!run(&["token", "networks", &prefix, "--any"]).contains("networks"));
        assert!(run(&["token", "resume", &prefix]).contains("active"));
        let rotated = run(&["token", "rotate", &prefix, "--grace-seconds", "0"]);
        assert!(rotated.contains(&prefix) && !rotated.contains(&token), "{rotated}");
        if running {
            let fresh = rotated.lines().find(|line| line.starts_with("lgw_")).unwrap();
            assert_eq!((chat(&gateway, fresh).await.status, chat(&gateway, &token).await.status), (200, 401));
        }
        assert!(run(&["token", "revoke", &prefix]).contains("revoked"));
        let (good, text) = gateway.command(&["token", "create", "bob@example.org", "job"], "");
        assert!(!good && text.contains("active"), "a pending account has no tokens: {text}");
        let (good, text) = gateway.command(&["token", "revoke", "0123456789"], "");
        assert!(!good && text.contains("there is no token `0123456789`"), "{text}");
    }
}

#[actix_web::test]
async fn a_name_that_looks_like_another_or_runs_on_a_terminal_is_refused() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    for name in ["\u{1b}[31mred", "a\nb", "a\tb", "a\u{202e}b", "a\u{200b}b", "a\u{2028}b", "a\u{85}b", "\u{feff}", " "]
    {
        let refused = gateway.post("/api/v1/tokens", Some(&admin), json!({ "name": name })).await;
        assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some("name")), "{name:?}");
    }
    make(&gateway, &admin, json!({ "name": "größer, 日本 🛠" })).await;
}

#[actix_web::test]
async fn what_leaves_rows_is_done_so_often_in_a_minute_by_a_person_and_as_often_as_needed_by_an_admin() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("LIMITS__OWN_ACTS_PER_MINUTE", "1")]);
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    let (_, id) = make(&gateway, &ann, json!({ "name": "ci" })).await;
    let path = format!("/api/v1/tokens/{id}");
    let (rotate, resume) = (format!("{path}/rotate"), format!("{path}/resume"));

    for (method, path) in [
        ("POST", "/api/v1/tokens"),
        ("PATCH", &path),
        ("POST", &rotate),
        ("POST", &resume),
        ("DELETE", &path),
        ("GET", "/api/v1/me/export"),
    ] {
        let body = json!({ "name": "one more" }).to_string().into_bytes();
        let refused = gateway.send(method, path, Some(&ann), body).await;
        assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (429, Some("rate_limit_exceeded")));
        assert!((1..=60).contains(&refused.header("retry-after").unwrap().parse::<u64>().unwrap()), "{path}");
    }
    assert_eq!(gateway.get("/api/v1/tokens", Some(&ann)).await.status, 200, "reading leaves no row");
    make(&gateway, &bob, json!({ "name": "of bob" })).await;
    for number in 0..10 {
        make(&gateway, &admin, json!({ "name": format!("of admin {number}") })).await;
    }
    let change = json!({ "own_acts_per_minute": 1000 }).to_string().into_bytes();
    assert_eq!(gateway.send("PATCH", "/api/v1/settings", Some(&admin), change).await.status, 200);
    make(&gateway, &ann, json!({ "name": "felt at once" })).await;
}

#[actix_web::test]
async fn a_password_is_changed_so_often_in_a_minute_whatever_else_was_done() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("LIMITS__OWN_ACTS_PER_MINUTE", "1")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    while gateway.get("/api/v1/me/export", Some(&ann)).await.status == 200 {}
    let words = [PASSWORD, "another set of words", "one more set of words"];
    let mut statuses = Vec::new();
    for pair in words.windows(2) {
        let change = json!({ "username": "ann@example.org", "current_password": pair[0], "new_password": pair[1] });
        statuses.push(gateway.post("/api/v1/password", None, change).await.status);
    }

    assert_eq!(statuses, [204, 429]);
}
