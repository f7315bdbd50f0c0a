//! What an admin's list of the record can be asked: acts about a person, several outcomes, what came later, and what is beside
//! a request.

use serde_json::{Value, json};

use crate::support::eventually::eventually;
use crate::support::fake_ollama::{FakeOllama, Script, text};
use crate::support::gateway::{PASSWORD, TestGateway, hello};

async fn page(gateway: &TestGateway, bearer: &str, query: &str) -> Value {
    let page = gateway.get(&format!("/api/v1/audit?{query}"), Some(bearer)).await;
    assert_eq!(page.status, 200, "{query}: {}", page.text());
    page.json()
}

/// One field of each item.
fn column(page: &Value, field: &str) -> Vec<Value> {
    page["items"].as_array().unwrap().iter().map(|item| item[field].clone()).collect()
}

async fn chat(gateway: &TestGateway, bearer: &str) -> String {
    let answer = gateway.post("/v1/chat/completions", Some(bearer), hello()).await;
    answer.header("x-request-id").unwrap().to_owned()
}

#[actix_web::test]
async fn the_history_of_a_person_is_what_was_done_to_them_and_by_them() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.user(&admin, "bob").await;
    let (ann_id, bob_id) = (gateway.id_of(&admin, "ann").await, gateway.id_of(&admin, "bob").await);
    chat(&gateway, &ann).await;
    gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci" })).await;
    let change = json!({ "weight": 3 }).to_string().into_bytes();
    gateway.send("PATCH", &format!("/api/v1/users/{ann_id}"), Some(&admin), change).await;

    let about = page(&gateway, &admin, &format!("subject_id={ann_id}")).await;
    let changes = page(&gateway, &admin, &format!("subject_id={ann_id}&act=user_changed")).await;
    let all_changes = page(&gateway, &admin, "act=user_changed").await;
    let approved = page(&gateway, &admin, "act=user_approved&kind=act").await;
    let history = page(&gateway, &admin, &format!("history_of={ann_id}")).await;
    let by_ann = page(&gateway, &admin, &format!("history_of={ann_id}&user_id={ann_id}")).await;
    let of_bob = page(&gateway, &admin, &format!("history_of={bob_id}&kind=act")).await;

    assert!(column(&about, "subject_id").iter().all(|id| *id == ann_id), "{about}");
    assert_eq!(column(&about, "act")[0], "user_changed");
    let weights: Vec<Value> = column(&changes, "detail")
        .iter()
        .map(|detail| json!([detail["old"]["weight"], detail["new"]["weight"]]))
        .collect();
    assert_eq!(weights, [json!([1, 3])]);
    assert_eq!(column(&all_changes, "subject"), ["ann@example.org"]);
    assert_eq!(column(&approved, "subject"), ["bob@example.org", "ann@example.org"]);
    let acts = column(&history, "act");
    assert_eq!((&acts[0], &acts[1]), (&json!("user_changed"), &json!("token_created")), "{history}");
    assert!(acts.contains(&json!("user_approved")) && column(&history, "kind").iter().all(|kind| kind == "act"));
    assert!(column(&by_ann, "user").iter().all(|name| name == "ann@example.org"), "{by_ann}");
    assert!(column(&by_ann, "act").contains(&json!("token_created")) && !column(&of_bob, "act").is_empty());
    assert!(!column(&of_bob, "act").contains(&json!("token_created")), "{of_bob}");
    // Two rows a page: each row comes once.
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let part = page(&gateway, &admin, &format!("history_of={ann_id}&limit=2{cursor}")).await;
        paged.extend(column(&part, "log_id"));
        let Some(next) = part["next"].as_i64() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, column(&history, "log_id"));
    for none in [format!("subject_id={ann_id}&text=hi"), format!("subject_id={ann_id}&kind=request")] {
        assert!(column(&page(&gateway, &admin, &none).await, "kind").is_empty(), "{none}");
    }
    for wrong in ["act=praised", "subject_id=nobody", "history_of=nobody", "cursor=5&after=5", "outcome=failed,"] {
        let answer = gateway.get(&format!("/api/v1/audit?{wrong}"), Some(&admin)).await;
        assert!([400, 404].contains(&answer.status), "{wrong}: {}", answer.status);
    }
    let csv = json!({ "filter": { "subject_id": ann_id }, "format": "csv" });
    assert_eq!(gateway.post("/api/v1/exports", Some(&admin), csv).await.status, 400);
}

#[actix_web::test]
async fn several_outcomes_are_looked_for_at_once() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    chat(&gateway, &admin).await;
    fake.next(Script::of(vec![text("x")]));
    chat(&gateway, &admin).await;
    let nope = json!({ "model": "nope", "messages": [{ "role": "user", "content": "x" }] });
    gateway.post("/v1/chat/completions", Some(&admin), nope).await;
    let all = async || Some(gateway.record(&admin).await).filter(|rows| rows.len() == 3);
    eventually("the refusal is on record", all).await;

    for (outcomes, expected) in [
        ("failed", vec!["failed"]),
        ("failed,refused", vec!["refused", "failed"]),
        ("refused,failed,refused", vec!["refused", "failed"]),
        ("completed,failed", vec!["failed", "completed"]),
        ("abandoned,interrupted", vec![]),
    ] {
        // Twice: by the rows themselves, and by the index once it has them.
        for _ in 0..2 {
            let found = page(&gateway, &admin, &format!("outcome={outcomes}")).await;
            assert_eq!(column(&found, "outcome"), expected, "{outcomes}");
            crate::search::searchable(&gateway, &admin).await;
        }
    }
}

#[actix_web::test]
async fn what_came_after_a_page_is_told_once_and_in_order() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    chat(&gateway, &admin).await;
    let first = page(&gateway, &admin, "kind=request").await;
    let newest = first["newest"].as_i64().unwrap();
    let none = page(&gateway, &admin, &format!("kind=request&after={newest}")).await;

    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(Value::from(chat(&gateway, &admin).await));
    }
    let two = page(&gateway, &admin, &format!("kind=request&limit=2&after={newest}")).await;
    let rest = page(&gateway, &admin, &format!("kind=request&limit=2&after={}", two["newest"])).await;
    let end = page(&gateway, &admin, &format!("kind=request&limit=2&after={}", rest["newest"])).await;

    assert_eq!((column(&none, "log_id"), none["newest"].as_i64()), (vec![], Some(newest)));
    assert_eq!([column(&two, "request_id"), column(&rest, "request_id")].concat(), sent);
    assert_eq!((two["next"].clone(), column(&end, "log_id")), (Value::Null, vec![]));
    let older = page(&gateway, &admin, &format!("kind=request&cursor={newest}")).await;
    assert!(older.get("newest").is_none(), "{older}");
}

#[actix_web::test]
async fn a_place_below_the_first_row_is_refused() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    for field in ["after", "cursor"] {
        for place in [-1, i64::MIN] {
            let refused = gateway.get(&format!("/api/v1/audit?{field}={place}"), Some(&admin)).await;
            assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(field)), "{place}");
        }
        for place in [0, i64::MAX] {
            page(&gateway, &admin, &format!("{field}={place}")).await;
        }
    }
}

#[actix_web::test]
async fn a_refusal_without_a_user_says_where_it_came_from() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    gateway.post("/auth/token", None, json!({ "username": "nobody@example.org", "password": PASSWORD })).await;
    let ann = gateway.token("ann@example.org", PASSWORD).await;
    gateway.get("/api/v1/users", Some(&ann)).await;

    let both = async || Some(page(&gateway, &admin, "kind=refusal").await).filter(|page| column(page, "at").len() == 2);
    let refusals = eventually("both refusals are on record", both).await;

    for refusal in refusals["items"].as_array().unwrap() {
        let strange = refusal["reason"] == "invalid_api_key";
        assert_eq!(refusal.get("client_address"), strange.then_some(&json!("127.0.0.1")), "{refusal}");
        let id = refusal["request_id"].as_str().unwrap();
        let story = gateway.get(&format!("/api/v1/audit/{id}"), Some(&admin)).await.text();
        assert_eq!(story.matches("\"client_address\"").count(), 1, "{story}");
    }
}

#[actix_web::test]
async fn a_request_names_those_beside_it() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let one = chat(&gateway, &ann).await;
    let of_admin = chat(&gateway, &admin).await;
    let three = chat(&gateway, &ann).await;
    let beside = async |path: &str, bearer: &str, id: &str| {
        let story = gateway.get(&format!("{path}/{id}"), Some(bearer)).await.json();
        json!([story.get("older"), story.get("newer")])
    };

    // Each look of the admin leaves an act, which is not beside.
    for _ in 0..2 {
        assert_eq!(beside("/api/v1/audit", &admin, &of_admin).await, json!([one, three]));
        assert_eq!(beside("/api/v1/audit", &admin, &three).await, json!([of_admin, null]));
    }
    assert_eq!(beside("/api/v1/me/record", &ann, &one).await, json!([null, three]));
    assert_eq!(beside("/api/v1/me/record", &ann, &three).await, json!([one, null]));
    assert_eq!(beside("/api/v1/me/record", &admin, &of_admin).await, json!([null, null]));
}
