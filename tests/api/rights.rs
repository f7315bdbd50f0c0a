//! What an admin may change in an account, and how soon it is felt.

use serde_json::{Value, json};

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{Answer, TestGateway, hello};

async fn patch(gateway: &TestGateway, jwt: &str, name: &str, admin: &str, changes: Value) -> Answer {
    let path = format!("/api/v1/users/{}", gateway.id_of(admin, name).await);
    gateway.send("PATCH", &path, Some(jwt), changes.to_string().into_bytes()).await
}

#[actix_web::test]
async fn a_limit_is_felt_on_the_next_request() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let chat = async || gateway.post("/v1/chat/completions", Some(&ann), hello()).await.status;
    assert_eq!((chat().await, chat().await), (200, 429));

    let raised = patch(&gateway, &admin, "ann", &admin, json!({ "requests_per_minute": 2 })).await;

    assert_eq!((raised.status, &raised.json()["requests_per_minute"]), (200, &json!(2)));
    assert_eq!((chat().await, chat().await), (200, 429));
    let taken_away = patch(&gateway, &admin, "ann", &admin, json!({ "requests_per_minute": null })).await;
    assert_eq!(taken_away.json()["requests_per_minute"], Value::Null);
}

#[actix_web::test]
async fn a_model_outside_a_persons_list_does_not_exist_for_them_nor_their_tokens() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let wish = json!({ "name": "ci", "models": ["fake", "llama3.2"] });
    let token = gateway.post("/api/v1/tokens", Some(&ann), wish).await.json()["token"].as_str().unwrap().to_owned();
    let ask = async |bearer: &str, model: &str| {
        let body = json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] });
        gateway.post("/v1/chat/completions", Some(bearer), body).await
    };
    assert_eq!(ask(&token, "fake").await.status, 200);

    let changes = json!({ "models": ["Llama3.2", "user/other:1b"] });
    assert_eq!(patch(&gateway, &admin, "ann", &admin, changes).await.status, 200);

    for (bearer, allowed) in [(&ann, vec!["llama3.2:latest", "user/other:1b"]), (&token, vec!["llama3.2:latest"])] {
        let (hidden, missing) = (ask(bearer, "fake").await, ask(bearer, "none").await);
        assert_eq!((hidden.status, hidden.text().replace("fake", "none")), (404, missing.text()));
        let list = gateway.get("/v1/models", Some(bearer)).await.json();
        let names: Vec<_> = list["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
        assert_eq!(names, allowed);
        assert_eq!(gateway.get("/v1/models/fake", Some(bearer)).await.status, 404);
    }
    assert_eq!((ask(&ann, "user/other:1b").await.status, ask(&token, "user/other:1b").await.status), (200, 404));
    assert_eq!(gateway.get("/v1/models/fake", Some(&admin)).await.status, 200);
    patch(&gateway, &admin, "ann", &admin, json!({ "models": null })).await;
    assert_eq!(ask(&token, "fake").await.status, 200);
}

#[actix_web::test]
async fn a_role_is_given_and_taken_and_the_last_admin_keeps_it() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let own = json!({ "role": "admin" });
    assert_eq!(patch(&gateway, &ann, "ann", &admin, own.clone()).await.status, 403, "nobody raises themselves");
    let last = patch(&gateway, &admin, "admin", &admin, json!({ "role": "user" })).await;
    assert_eq!((last.status, &last.json()["error"]["code"]), (409, &json!("conflict")));

    let manage = json!({ "name": "manager", "scopes": ["models:manage"] });
    assert_eq!(patch(&gateway, &admin, "ann", &admin, own).await.json()["role"], "admin");
    assert_eq!(gateway.get("/api/v1/users", Some(&ann)).await.status, 200, "felt with the same JWT");
    assert_eq!(gateway.post("/api/v1/tokens", Some(&ann), manage.clone()).await.status, 201);
    assert_eq!(patch(&gateway, &ann, "admin", &ann, json!({ "role": "user" })).await.status, 200);
    assert_eq!(gateway.get("/api/v1/users", Some(&admin)).await.status, 403);
    assert_eq!(gateway.post("/api/v1/tokens", Some(&admin), manage).await.status, 403);
}

#[actix_web::test]
async fn a_change_is_checked_recorded_and_leaves_the_rest_alone() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let first = patch(&gateway, &admin, "ann", &admin, json!({ "note": "works at night", "models": ["fake"] })).await;
    assert_eq!(first.status, 200, "{}", first.text());

    for (changes, field) in [
        (json!({ "role": "root" }), "role"),
        (json!({ "role": 1 }), "role"),
        (json!({ "requests_per_minute": 0 }), "requests_per_minute"),
        (json!({ "requests_per_minute": 1_000_001 }), "requests_per_minute"),
        (json!({ "models": [] }), "models"),
        (json!({ "models": ["a b"] }), "models[0]"),
        (json!({ "note": "x".repeat(1001) }), "note"),
        (json!({ "weight": 0 }), "weight"),
        (json!({ "weight": 101 }), "weight"),
        (json!({ "class": "urgent" }), "class"),
        (json!({ "status": "active" }), "status"),
        (json!({ "username": "eve@example.org" }), "username"),
    ] {
        let refused = patch(&gateway, &admin, "ann", &admin, changes.clone()).await;
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(field)), "{changes}");
    }
    let second = patch(&gateway, &admin, "ann", &admin, json!({ "requests_per_minute": 7 })).await.json();

    assert_eq!(
        json!([second["note"], second["models"], second["requests_per_minute"], second["role"], second["status"]]),
        json!(["works at night", ["fake"], 7, "user", "active"])
    );
    let me = gateway.get("/api/v1/me", Some(&ann)).await;
    assert!(!me.text().contains("works at night"), "a note is for admins");
    let acts = gateway.get("/api/v1/audit?kind=act", Some(&admin)).await.json();
    let changed = acts["items"].as_array().unwrap().iter().filter(|act| act["act"] == "user_changed");
    assert_eq!(changed.clone().count(), 2);
    assert!(changed.clone().all(|act| act["user"] == "admin" && act["subject"] == "ann@example.org"));
    let newest = changed.into_iter().next().unwrap();
    let told =
        |act: &Value| json!([act["detail"]["old"]["requests_per_minute"], act["detail"]["new"]["requests_per_minute"]]);
    assert_eq!(told(newest), json!([null, 7]));
    assert!(!acts.to_string().contains("works at night"), "a note may be taken away for good");
    // The act's own story is the same, and to look at it is no look at contents.
    let path = format!("/api/v1/audit/{}", newest["request_id"].as_str().unwrap());
    let story = gateway.get(&path, Some(&admin)).await.json();
    assert_eq!((told(&story), &story["act"]), (json!([null, 7]), &json!("user_changed")));
    let after = gateway.get("/api/v1/audit?kind=act", Some(&admin)).await.text();
    assert!(!after.contains("contents_viewed"), "{after}");
}

#[actix_web::test]
async fn a_share_and_a_class_are_given_by_an_admin_and_a_token_may_have_a_class_of_its_own() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let me = gateway.get("/api/v1/me", Some(&ann)).await.json();
    assert_eq!(json!([me["weight"], me["class"]]), json!([1, "interactive"]));

    let given = patch(&gateway, &admin, "ann", &admin, json!({ "weight": 100, "class": "batch" })).await.json();
    let wish = json!({ "name": "nightly", "class": "interactive" });
    let own = gateway.post("/api/v1/tokens", Some(&ann), wish).await.json();
    let (made, from_the_host) = gateway.command(&["token", "create", "ann@example.org", "ci", "--class", "batch"], "");

    assert_eq!(json!([given["weight"], given["class"]]), json!([100, "batch"]));
    assert_eq!(own["class"], "interactive");
    assert!(made, "{from_the_host}");
    let list = gateway.get("/api/v1/tokens", Some(&ann)).await.json();
    assert_eq!(json!([list["items"][0]["class"], list["items"][1]["class"]]), json!(["batch", "interactive"]));
}
