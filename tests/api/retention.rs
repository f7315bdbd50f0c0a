//! Retention from outside: settings that are felt without a restart, and how what was erased is shown.

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::eventually::{eventually, until};
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{TestGateway, hello};

async fn set(gateway: &TestGateway, admin: &str, changes: Value) -> u16 {
    gateway.send("PATCH", "/api/v1/settings", Some(admin), changes.to_string().into_bytes()).await.status
}

async fn ask(gateway: &TestGateway, token: &str, word: &str) {
    let body = json!({ "model": hello()["model"], "messages": [{ "role": "user", "content": word }] });
    assert_eq!(gateway.post("/v1/chat/completions", Some(token), body).await.status, 200);
}

/// Makes every row that there is older by so many days.
fn age(gateway: &TestGateway, days: i64) {
    gateway.on_the_file(&format!("UPDATE record SET at_us = at_us - {}", days * 86_400_000_000));
}

/// Gives a request an id with the time of its rows, by which it is found; returns it.
fn make_as_old_as_its_rows(gateway: &TestGateway, id: &str) -> String {
    let bytes = id.replace('-', "");
    let sql = format!("SELECT printf('%012x', min(at_us) / 1000 - 1) FROM record WHERE request_id = x'{bytes}'");
    let new = format!("{}{}", gateway.text_of(&sql), &bytes[12..]);
    gateway.on_the_file(&format!("UPDATE record SET request_id = x'{new}' WHERE request_id = x'{bytes}'"));
    new
}

async fn act(gateway: &TestGateway, admin: &str, act: &str) -> Value {
    eventually(act, async || {
        let page = gateway.get(&format!("/api/v1/audit?act={act}"), Some(admin)).await.json();
        page["items"].get(0).cloned()
    })
    .await
}

#[actix_web::test]
async fn what_is_old_is_erased_once_a_setting_says_so_and_is_shown_as_erased() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    ask(&gateway, &ann, "zebra").await;
    age(&gateway, 31);
    ask(&gateway, &ann, "walrus").await;
    let found = async |word: &str| {
        let page = gateway.get(&format!("/api/v1/audit?text={word}"), Some(&admin)).await.json();
        page["items"].as_array().unwrap().len()
    };
    until("both are indexed", async || found("zebra").await + found("walrus").await == 2).await;
    let mut guest = Browser::new(&gateway);
    guest.get("/register").await.says("Until an admin deletes your account.");

    assert_eq!(set(&gateway, &admin, json!({ "content_days": 31, "record_days": 30 })).await, 400);
    assert_eq!(set(&gateway, &admin, json!({ "content_days": 30, "record_days": 30 })).await, 200);
    let told = act(&gateway, &admin, "contents_expired").await;
    act(&gateway, &admin, "rows_removed").await;

    assert_eq!((&told["detail"]["days"], told["user"].is_null()), (&json!(30), true));
    // The acts are receipts: they come first.
    until("it is erased", async || found("zebra").await == 0).await;
    assert_eq!(found("walrus").await, 1);
    let rows = async || gateway.record(&admin).await.len();
    until("the old row is gone", async || rows().await == 1).await;
    let host = gateway.get("/api/v1/host", Some(&admin)).await.json();
    assert_eq!((&host["retention_days"], &host["record_days"]), (&json!(30), &json!(30)));
    guest.get("/register").await.says("For 30 days.");
    gateway.token("ann@example.org", crate::support::gateway::PASSWORD).await;

    // With a longer life of rows, a request stays as a line without contents.
    assert_eq!(set(&gateway, &admin, json!({ "record_days": 365 })).await, 200);
    age(&gateway, 31);
    assert_eq!(set(&gateway, &admin, json!({ "content_days": 29 })).await, 200);
    let is_erased = async || {
        let items = gateway.get("/api/v1/audit?kind=request", Some(&admin)).await.json()["items"].clone();
        (items[0]["erased"] == "retention").then(|| items[0].clone())
    };
    let item = eventually("the second one is erased", is_erased).await;
    let id = make_as_old_as_its_rows(&gateway, item["request_id"].as_str().unwrap());
    let story = gateway.get(&format!("/api/v1/audit/{id}"), Some(&admin)).await;
    let story = story.json();
    assert_eq!((&story["request"], &story["erased"]), (&json!(""), &json!("retention")));
    let mut browser = Browser::of_admin(&gateway).await;
    browser.get(&format!("/admin/record/{id}")).await.says("Prompt and answer were erased for their age (retention).");
    assert!(gateway.export(&admin, "ann@example.org", "jsonl").await.contains("\"erased\":\"retention\""));
}

#[actix_web::test]
async fn the_page_says_plainly_what_a_lower_number_does() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let mut browser = Browser::of_admin(&gateway).await;
    let page = browser.get("/admin/settings/record").await;
    page.says("What is older is erased for good");
    page.says("nothing brings that back");

    let form = [("content_days", "30"), ("was_content_days", "0")];
    browser.submit("/admin/settings/record", &form).await.says("Saved.");

    let changed = gateway.detail_of("settings_changed");
    assert_eq!(changed, json!({ "old": { "content_days": 0 }, "new": { "content_days": 30 } }));
    let host = gateway.get("/api/v1/host", Some(&admin)).await.json();
    assert_eq!((&host["retention_days"], &host["record_days"]), (&json!(30), &Value::Null));
}
