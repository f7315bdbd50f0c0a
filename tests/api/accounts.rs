//! Accounts: from registration to a reset, and what a password opens at each point.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{ADMIN_PASSWORD, Answer, PASSWORD, TestGateway, client_from, hello};

#[actix_web::test]
async fn the_first_admin_opens_nothing_before_the_password_is_changed() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());

    let token = gateway.post("/auth/token", None, json!({ "username": "admin", "password": "admin123" })).await;
    let mut chat = hello();
    chat["auth"] = json!({ "username": "admin", "password": "admin123" });
    let chat = gateway.post("/chat", None, chat).await;

    assert_eq!((token.status, &token.json()["error"]), (401, &json!("invalid_grant")));
    assert!(token.text().contains("POST /api/v1/password"));
    assert_eq!(chat.status, 403);
    assert!(fake.chats().is_empty());
    let admin = gateway.admin().await;
    assert_eq!(gateway.get("/api/v1/me", Some(&admin)).await.json()["role"], "admin");
    let old = json!({ "username": "admin", "current_password": "admin123", "new_password": "yet another one" });
    assert_eq!(gateway.post("/api/v1/password", None, old).await.status, 401);
}

#[actix_web::test]
async fn a_registered_person_waits_for_approval() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = json!({ "email": "Ann@Example.org", "password": PASSWORD });

    let first = gateway.post("/api/v1/register", None, ann.clone()).await;
    let again = gateway.post("/api/v1/register", None, ann).await;

    assert_eq!((first.status, first.text()), (202, again.text()));
    let credentials = json!({ "username": "ann@example.org", "password": PASSWORD });
    assert_eq!(gateway.post("/auth/token", None, credentials.clone()).await.status, 401);
    let id = gateway.id_of(&admin, "ann@example.org").await;
    let approved = gateway.post(&format!("/api/v1/users/{id}/approve"), Some(&admin), json!({})).await;
    assert_eq!(approved.json()["status"], "active");
    assert_eq!(gateway.post("/auth/token", None, credentials).await.status, 200);
}

#[actix_web::test]
async fn credentials_come_as_json_or_as_an_oauth2_form() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;
    let form_of = |kind: &'static str, body: String| {
        let url = format!("{}/auth/token", gateway.url);
        async move {
            crate::support::gateway::client()
                .post(url)
                .insert_header(("content-type", kind))
                .send_body(body)
                .await
                .unwrap()
                .status()
                .as_u16()
        }
    };

    let form = |body| form_of("application/x-www-form-urlencoded", body);

    let right = || "grant_type=password&username=admin&password=an+admin%27s%20password".to_owned();
    assert_eq!(form(right()).await, 200);
    for kind in ["Application/X-WWW-Form-URLEncoded", "application/x-www-form-urlencoded ; Charset=UTF-8"] {
        assert_eq!(form_of(kind, right()).await, 200, "{kind}");
    }
    assert_eq!(form_of("application/x-www-form-urlencodedx", right()).await, 400);
    assert_eq!(form("grant_type=client_credentials&username=admin&password=x".into()).await, 400);
    assert_eq!(form("username=admin".into()).await, 400);
    assert_eq!(form(r#"{"username":"admin","password":"an admin's password"}"#.into()).await, 200);
    assert_eq!(form("grant_type=password&username=admin&password=wrong".into()).await, 401);
}

#[actix_web::test]
async fn unknown_wrong_pending_disabled_and_reset_look_the_same() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "dora").await;
    let disable = format!("/api/v1/users/{}/disable", gateway.id_of(&admin, "dora").await);
    gateway.post(&disable, Some(&admin), json!({})).await;
    gateway.user(&admin, "mona").await;
    let reset = format!("/api/v1/users/{}/reset-password", gateway.id_of(&admin, "mona").await);
    gateway.post(&reset, Some(&admin), json!({})).await;
    for name in ["penny", "peter"] {
        let account = json!({ "email": format!("{name}@example.org"), "password": PASSWORD });
        gateway.post("/api/v1/register", None, account).await;
    }
    // Each name fails three times, and all of them less than twenty times, which the ladder lets pass.
    let cases = [
        ("nobody@example.org", PASSWORD),
        ("admin", "wrong"),
        ("penny@example.org", PASSWORD),
        ("peter@example.org", "wrong"),
        ("dora@example.org", PASSWORD),
        ("mona@example.org", "wrong"),
    ];
    let seen = |answer: Answer| {
        let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        (answer.status, headers, answer.text())
    };

    let mut answers = Vec::new();
    for (username, password) in cases {
        let token = gateway.post("/auth/token", None, json!({ "username": username, "password": password })).await;
        let mut body = hello();
        body["auth"] = json!({ "username": username, "password": password });
        let chat = gateway.post("/chat", None, body).await;
        let change =
            json!({ "username": username, "current_password": password, "new_password": "a new long password" });
        let change = gateway.post("/api/v1/password", None, change).await;
        answers.push([seen(token), seen(chat), seen(change)]);
    }

    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let [token, chat, change] = &answers[0];
    assert_eq!((token.0, chat.0, change.0), (401, 403, 401));
    assert_eq!(serde_json::from_str::<Value>(&chat.2).unwrap(), json!({ "error": "unauthorized" }));
}

#[actix_web::test]
async fn a_token_dies_with_the_password_and_with_the_account() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let me = async |token: &str| gateway.get("/api/v1/me", Some(token)).await.status;

    let token = gateway.user(&admin, "ann").await;
    assert_eq!(me(&token).await, 200);
    let change =
        json!({ "username": "ann@example.org", "current_password": PASSWORD, "new_password": "another long one" });
    assert_eq!(gateway.post("/api/v1/password", None, change).await.status, 204);
    assert_eq!(me(&token).await, 401);

    let ann = gateway.id_of(&admin, "ann").await;
    let token = gateway.token("ann@example.org", "another long one").await;
    gateway.post(&format!("/api/v1/users/{ann}/disable"), Some(&admin), json!({})).await;
    assert_eq!(me(&token).await, 401);
    gateway.post(&format!("/api/v1/users/{ann}/enable"), Some(&admin), json!({})).await;
    assert_eq!(me(&token).await, 401);

    let token = gateway.token("ann@example.org", "another long one").await;
    gateway.post(&format!("/api/v1/users/{ann}/reset-password"), Some(&admin), json!({})).await;
    assert_eq!(me(&token).await, 401);
}

#[actix_web::test]
async fn a_reset_password_only_lets_its_owner_set_a_new_one() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let reset = format!("/api/v1/users/{}/reset-password", gateway.id_of(&admin, "ann").await);

    for mode in ["initial", "code"] {
        let done = gateway.post(&reset, Some(&admin), json!({ "mode": mode })).await;
        assert_eq!(done.status, 200, "{}", done.text());
        let password = done.json()["one_time_code"].as_str().unwrap_or("admin123").to_owned();
        assert_eq!(mode == "initial", password == "admin123");

        let token =
            gateway.post("/auth/token", None, json!({ "username": "ann@example.org", "password": password })).await;
        assert_eq!(token.status, 401);
        let mut body = hello();
        body["auth"] = json!({ "username": "ann@example.org", "password": password });
        assert_eq!(gateway.post("/chat", None, body).await.status, 403);

        let change =
            |new: &str| json!({ "username": "ann@example.org", "current_password": password, "new_password": new });
        assert_eq!(gateway.post("/api/v1/password", None, change("admin123")).await.status, 400);
        let new = format!("a fresh one, {mode}");
        assert_eq!(gateway.post("/api/v1/password", None, change(&new)).await.status, 204);
        assert_eq!(gateway.post("/api/v1/password", None, change("once more with it")).await.status, 401);
        gateway.token("ann@example.org", &new).await;
    }
    assert!(fake.chats().is_empty());
}

#[actix_web::test]
async fn a_reset_is_over_after_its_hour_and_its_code_is_never_taken_again() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let reset = format!("/api/v1/users/{}/reset-password", gateway.id_of(&admin, "ann").await);
    let code = async |gateway: &TestGateway, admin: &str| {
        let done = gateway.post(&reset, Some(admin), json!({ "mode": "code" })).await.json();
        done["one_time_code"].as_str().unwrap().to_owned()
    };
    let change = async |gateway: &TestGateway, current: &str, new: &str| {
        let body = json!({ "username": "ann@example.org", "current_password": current, "new_password": new });
        gateway.post("/api/v1/password", None, body).await
    };
    let (good, said) = gateway.command(&["user", "reset", "ann@example.org"], "");
    assert!(good && said.contains("valid for 60 minutes"), "{said}");
    let first = code(&gateway, &admin).await;

    gateway.kill();
    gateway.on_the_file("UPDATE users SET reset_until_us = 1 WHERE must_change");
    gateway.restart();

    assert_eq!(change(&gateway, &first, "a new long password").await.status, 401, "its hour is over");
    let admin = gateway.admin().await;
    let second = code(&gateway, &admin).await;
    for earlier in [&first, &second] {
        let refused = change(&gateway, &second, earlier).await;
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("new_password")), "{earlier}");
    }
    assert_eq!(change(&gateway, &second, "a new long password").await.status, 204);
}

#[actix_web::test]
async fn a_new_password_is_long_and_not_a_known_one() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;
    for (password, field) in [("short one", "password"), ("password1234", "password"), ("ann@example.org", "password")]
    {
        let answer =
            gateway.post("/api/v1/register", None, json!({ "email": "ann@example.org", "password": password })).await;
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(field)), "{password}");
    }
    let answer = gateway.post("/api/v1/register", None, json!({ "email": "no address", "password": PASSWORD })).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("email")));
}

#[actix_web::test]
async fn the_last_admin_stays() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;

    let own = gateway.id_of(&admin, "admin").await;
    let refused = gateway.post(&format!("/api/v1/users/{own}/disable"), Some(&admin), json!({})).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (409, &json!("conflict")));
    assert_eq!(gateway.get("/api/v1/users/00000000-0000-0000-0000-000000000000", Some(&admin)).await.status, 404);
    gateway.token("admin", ADMIN_PASSWORD).await;
}

#[actix_web::test]
async fn lists_come_in_pages() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    for name in ["a", "b", "c"] {
        gateway
            .post("/api/v1/register", None, json!({ "email": format!("{name}@example.org"), "password": PASSWORD }))
            .await;
    }

    let mut names = Vec::new();
    let mut path = "/api/v1/users?limit=2".to_owned();
    loop {
        let page = gateway.get(&path, Some(&admin)).await.json();
        names
            .extend(page["items"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/users?limit=2&cursor={next}");
    }

    assert_eq!(names, ["c@example.org", "b@example.org", "a@example.org", "admin"]);
    assert_eq!(gateway.get("/api/v1/users?limit=0", Some(&admin)).await.status, 400);
    assert_eq!(gateway.get("/api/v1/users?status=asleep", Some(&admin)).await.status, 400);
    assert_eq!(gateway.get("/api/v1/users?nonsense=1", Some(&admin)).await.status, 400);
}

#[actix_web::test]
async fn people_are_found_by_part_of_a_name_in_any_spelling_and_by_status() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    for name in ["anna", "joanna"] {
        gateway.user(&admin, name).await;
    }
    gateway.post("/api/v1/register", None, json!({ "email": "hannah@example.org", "password": PASSWORD })).await;
    let found = async |query: &str| {
        let page = gateway.get(&format!("/api/v1/users?{query}"), Some(&admin)).await.json();
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
        let names: Vec<String> = items.iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect();
        (names.join(" ").replace("@example.org", ""), page["next"].clone())
    };

    for (query, expected) in [
        ("search=ANNA", "hannah joanna anna"),
        // Full-width letters, as some keyboards write them.
        ("search=%EF%BD%81%EF%BD%8E%EF%BD%8E%EF%BD%81", "hannah joanna anna"),
        ("search=anna&status=active", "joanna anna"),
        ("search=anna&status=pending", "hannah"),
        ("search=anna&status=disabled", ""),
        ("search=nobody", ""),
        ("search=%25", ""),
    ] {
        assert_eq!(found(query).await, (expected.to_owned(), Value::Null), "{query}");
    }
}

#[actix_web::test]
async fn a_list_of_people_tells_who_let_them_in_and_when_they_last_asked() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for name in ["carl", "ann", "bob"] {
        gateway.user(&admin, name).await;
    }
    gateway.post("/api/v1/register", None, json!({ "email": "dora@example.org", "password": PASSWORD })).await;
    let ann = gateway.token("ann@example.org", PASSWORD).await;
    let carl = gateway.token("carl@example.org", PASSWORD).await;
    for jwt in [&carl, &ann] {
        assert_eq!(gateway.post("/v1/chat/completions", Some(jwt), hello()).await.status, 200);
    }
    let made = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci" })).await.json();
    gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "old" })).await;
    let revoked = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    gateway.send("DELETE", &revoked, Some(&ann), Vec::new()).await;
    let page = async |query: &str| gateway.get(&format!("/api/v1/users?{query}"), Some(&admin)).await.json();
    let names = |page: &Value| {
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
        items.iter().map(|user| user["username"].as_str().unwrap().split('@').next().unwrap().to_owned()).collect()
    };

    let by_name = page("sort=name").await;

    let of_ann = &by_name["items"][1];
    assert_eq!(json!([of_ann["username"], of_ann["approved_by"]]), json!(["ann@example.org", "admin"]));
    assert_eq!((&of_ann["open_tokens"], of_ann["last_request_at"].is_string()), (&json!(1), true));
    assert_eq!(
        (&by_name["items"][2]["open_tokens"], &by_name["items"][2]["last_request_at"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(by_name["counts"], json!({ "pending": 1, "active": 4, "disabled": 0 }));
    assert_eq!(page("status=pending").await["counts"]["active"], 4, "of all, whatever the page shows");
    assert_eq!(page("search=ann&status=disabled").await["counts"], json!({ "pending": 0, "active": 1, "disabled": 0 }));
    for (sort, expected) in [
        ("created", ["dora", "bob", "ann", "carl", "admin"]),
        ("name", ["admin", "ann", "bob", "carl", "dora"]),
        ("last_request", ["ann", "carl", "dora", "bob", "admin"]),
    ] {
        let mut all: Vec<String> = Vec::new();
        let mut query = format!("sort={sort}&limit=2");
        loop {
            let found = page(&query).await;
            all.extend::<Vec<String>>(names(&found));
            let Some(next) = found["next"].as_str() else { break };
            query = format!("sort={sort}&limit=2&cursor={next}");
        }
        assert_eq!(all, expected, "{sort}");
    }
    for bad in ["sort=age", "sort=last_request&cursor=x", "sort=last_request&cursor=1.x", "cursor=ann@example.org"] {
        assert_eq!(gateway.get(&format!("/api/v1/users?{bad}"), Some(&admin)).await.status, 400, "{bad}");
    }
    let one = gateway.get(&format!("/api/v1/users/{}", of_ann["id"].as_str().unwrap()), Some(&admin)).await.json();
    assert_eq!(
        json!([one["approved_by"], one["open_tokens"], one["last_request_at"]]),
        json!(["admin", 1, of_ann["last_request_at"]])
    );
}

#[actix_web::test]
async fn a_page_of_people_goes_on_after_one_who_was_deleted_meanwhile() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    for name in ["a", "b"] {
        gateway.user(&admin, name).await;
    }
    let first = gateway.get("/api/v1/users?limit=1", Some(&admin)).await.json();
    let last = first["next"].as_str().unwrap().to_owned();

    let export = gateway.export(&admin, "b@example.org", "jsonl").await;
    let receipt: Value = serde_json::from_str(export.lines().last().unwrap()).unwrap();
    let body = json!({ "receipt": receipt["receipt"] }).to_string().into_bytes();
    assert_eq!(gateway.send("DELETE", &format!("/api/v1/users/{last}"), Some(&admin), body).await.status, 202);

    let next = gateway.get(&format!("/api/v1/users?limit=1&cursor={last}"), Some(&admin)).await.json();
    assert_eq!(next["items"][0]["username"], "a@example.org", "{next}");
    let nonsense = gateway.get("/api/v1/users?cursor=nonsense", Some(&admin)).await;
    assert_eq!((nonsense.status, &nonsense.json()["error"]["param"]), (400, &json!("cursor")));
}

#[actix_web::test]
async fn a_reset_lets_tokens_sleep_or_ends_them_for_good() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let reset = format!("/api/v1/users/{}/reset-password", gateway.id_of(&admin, "ann").await);
    let token = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci" })).await.json();
    let chat = async || gateway.post("/v1/chat/completions", token["token"].as_str(), hello()).await.status;

    for (revoke, expected) in [(false, 200), (true, 401)] {
        let done = gateway.post(&reset, Some(&admin), json!({ "mode": "code", "revoke_tokens": revoke })).await;
        assert_eq!(done.status, 200, "{}", done.text());
        assert_eq!(chat().await, 401);
        let change = json!({ "username": "ann@example.org", "current_password": done.json()["one_time_code"],
            "new_password": format!("a fresh one, {revoke}") });
        assert_eq!(gateway.post("/api/v1/password", None, change).await.status, 204);
        assert_eq!(chat().await, expected, "revoked: {revoke}");
    }
    let acts = gateway.get("/api/v1/audit?kind=act", Some(&admin)).await.text();
    assert!(acts.contains("token_revoked"), "{acts}");
    let unknown = gateway.post(&reset, Some(&admin), json!({ "mode": "code", "revoke": true })).await;
    assert_eq!(unknown.status, 400);
}

/// Tries wrong passwords until one has to wait, at the latest when the wait has grown beyond what a hash takes here. Returns a
/// moment before which no further one is let through.
async fn slowed(gateway: &TestGateway, name: &str) -> Instant {
    for _ in 0..8 {
        let asked = Instant::now();
        let answer = gateway.post("/auth/token", None, json!({ "username": name, "password": "wrong" })).await;
        if answer.status == 429 {
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            // It was rounded up.
            return asked + Duration::from_secs(wait.saturating_sub(1));
        }
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
    panic!("nobody has to wait");
}

#[actix_web::test]
async fn wrong_passwords_come_ever_more_slowly_until_the_host_unlocks() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    slowed(&gateway, "nobody@example.org").await;
    // The right password must wait as well, or the answer would tell that it is right.
    let right = json!({ "username": "ann@example.org", "password": PASSWORD });
    let mut until = slowed(&gateway, "ann@example.org").await;
    while gateway.post("/auth/token", None, right.clone()).await.status != 429 {
        assert!(Instant::now() > until, "the right password did not have to wait");
        until = slowed(&gateway, "ann@example.org").await;
    }

    let (good, text) = gateway.command(&["user", "unlock", "ann@example.org"], "");

    assert!(good, "{text}");
    gateway.token("ann@example.org", PASSWORD).await;
}

/// A registration from `source`, an address of 127.0.0.0/8.
async fn register_from(gateway: &TestGateway, source: &str, name: &str) -> (u16, Option<String>) {
    let body = json!({ "email": format!("{name}@example.org"), "password": PASSWORD }).to_string();
    let answer = client_from(source).post(format!("{}/api/v1/register", gateway.url)).send_body(body).await.unwrap();
    let wait = answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
    (answer.status().as_u16(), wait)
}

#[actix_web::test]
async fn the_registrations_of_one_address_leave_room_for_others() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("ACCOUNTS__PENDING_PER_ADDRESS_MAX", "2")]);
    let admin = gateway.admin().await;
    let full = (429, Some("3600".to_owned()));
    for name in ["one", "two"] {
        assert_eq!(register_from(&gateway, "127.0.3.1", name).await.0, 202);
    }

    assert_eq!(register_from(&gateway, "127.0.3.1", "three").await, full);
    assert_eq!(register_from(&gateway, "127.0.3.1", "one").await, full, "a name that is taken looks the same");
    assert_eq!(register_from(&gateway, "127.0.3.2", "three").await.0, 202);
    let one = gateway.get("/api/v1/users?search=one", Some(&admin)).await.json()["items"][0].clone();
    assert_eq!(one["registered_from"], "127.0.3.1");
    let path = format!("/api/v1/users/{}/approve", one["id"].as_str().unwrap());
    let approved = gateway.post(&path, Some(&admin), json!({})).await.json();
    assert_eq!(approved["registered_from"], json!(null), "who was let in is kept without it");
    assert_eq!(register_from(&gateway, "127.0.3.1", "four").await.0, 202, "an approval makes room");
    assert_eq!(register_from(&gateway, "127.0.3.1", "five").await, full);
}

#[actix_web::test]
async fn a_registration_is_turned_down_without_an_export() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    register_from(&gateway, "127.0.3.1", "bob").await;
    let (ann, bob) = (gateway.id_of(&admin, "ann").await, gateway.id_of(&admin, "bob").await);
    let turn_down =
        async |id: &str| gateway.post(&format!("/api/v1/users/{id}/turn-down"), Some(&admin), json!({})).await.status;

    assert_eq!(turn_down(&bob).await, 204);

    assert_eq!((turn_down(&bob).await, turn_down(&ann).await), (404, 409), "gone, and somebody who was let in");
    assert_eq!(gateway.get(&format!("/api/v1/users/{bob}"), Some(&admin)).await.status, 404);
    let acts = gateway.get("/api/v1/audit?kind=act&limit=1", Some(&admin)).await.json();
    assert_eq!(acts["items"][0]["act"], "user_turned_down");
    assert_eq!(register_from(&gateway, "127.0.3.1", "bob").await.0, 202, "the name is free again");
    gateway.token("ann@example.org", PASSWORD).await;
}

#[actix_web::test]
async fn a_flood_of_registrations_is_turned_down_in_one_go() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    for (source, name) in [("127.0.3.1", "x1"), ("127.0.3.2", "x2"), ("127.0.4.1", "real"), ("127.0.4.2", "late")] {
        assert_eq!(register_from(&gateway, source, name).await.0, 202);
    }
    let waiting = async || {
        let page = gateway.get("/api/v1/users?status=pending", Some(&admin)).await.json();
        let items = page["items"].as_array().unwrap().clone();
        items.into_iter().map(|item| item["username"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let late = gateway.get("/api/v1/users?search=late", Some(&admin)).await.json()["items"][0].clone();
    let turn_down = async |body: Value| gateway.post("/api/v1/users/turn-down", Some(&admin), body).await;

    for wrong in [json!({}), json!({ "network": "everywhere" }), json!({ "from": "noon" }), json!({ "all": true })] {
        assert_eq!(turn_down(wrong.clone()).await.status, 400, "{wrong}");
    }
    let none = turn_down(json!({ "network": "127.0.3.0/24", "to": "2020-01-01T00:00:00Z" })).await;
    assert_eq!(none.json(), json!({ "turned_down": 0 }), "all conditions hold together");
    let flood = turn_down(json!({ "network": "127.0.3.0/24" })).await;
    assert_eq!(flood.json(), json!({ "turned_down": 2 }));
    assert_eq!(waiting().await, ["late@example.org", "real@example.org"]);
    let ann = gateway.id_of(&admin, "ann").await;
    let named = turn_down(json!({ "ids": [ann, gateway.id_of(&admin, "real").await] })).await;
    assert_eq!(named.json(), json!({ "turned_down": 1 }), "who was let in stays");
    let later = turn_down(json!({ "from": late["created_at"] })).await;
    assert_eq!(later.json(), json!({ "turned_down": 1 }));
    assert!(waiting().await.is_empty());
    gateway.token("ann@example.org", PASSWORD).await;
}

#[actix_web::test]
async fn an_admin_who_must_change_the_password_is_no_other_admin() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let (ann, own) = (gateway.id_of(&admin, "ann").await, gateway.id_of(&admin, "admin").await);
    let role = async |id: &str, role: &str| {
        let body = json!({ "role": role }).to_string().into_bytes();
        gateway.send("PATCH", &format!("/api/v1/users/{id}"), Some(&admin), body).await.status
    };
    assert_eq!(role(&ann, "admin").await, 200);
    let reset = json!({ "mode": "code" });
    let reset = gateway.post(&format!("/api/v1/users/{ann}/reset-password"), Some(&admin), reset).await.json();

    let disable =
        async |id: &str| gateway.post(&format!("/api/v1/users/{id}/disable"), Some(&admin), json!({})).await.status;
    assert_eq!((role(&own, "user").await, disable(&own).await), (409, 409));
    let change = json!({ "username": "ann@example.org", "current_password": reset["one_time_code"],
        "new_password": "another set of words" });
    assert_eq!(gateway.post("/api/v1/password", None, change).await.status, 204);
    assert_eq!(role(&own, "user").await, 200);
}

#[actix_web::test]
async fn a_password_is_the_same_from_every_keyboard() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let (nfc, nfd) = ("m\u{f6}wen fliegen \u{fc}bers wasser", "mo\u{308}wen fliegen u\u{308}bers wasser");
    for (name, registered) in [("ann", nfc), ("bob", nfd)] {
        let email = format!("{name}@example.org");
        let body = json!({ "email": email, "password": registered });
        assert_eq!(gateway.post("/api/v1/register", None, body).await.status, 202);
        let id = gateway.id_of(&admin, &email).await;
        gateway.post(&format!("/api/v1/users/{id}/approve"), Some(&admin), json!({})).await;

        gateway.token(&email, nfc).await;
        gateway.token(&email, nfd).await;
    }
    let same = json!({ "username": "ann@example.org", "current_password": nfc, "new_password": nfd });
    assert_eq!(
        gateway.post("/api/v1/password", None, same).await.status,
        400,
        "a new one differs in more than its form"
    );
}
