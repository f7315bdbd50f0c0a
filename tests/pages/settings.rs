//! Settings: saved all or none, put back, by two admins at once; and the keys of the file.

use serde_json::{Value, json};

use crate::support::browser::{Browser, Page};
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway};

const LIMITS: &str = "/admin/settings/limits";

async fn value_of(gateway: &TestGateway, admin: &str, name: &str) -> u64 {
    let items = gateway.get("/api/v1/settings", Some(admin)).await.json()["items"].as_array().unwrap().clone();
    let item = items.iter().find(|item| item["name"] == name).unwrap();
    item["value"].as_u64().unwrap()
}

/// Returns the input of a setting.
fn field<'a>(page: &'a Page, name: &str) -> &'a str {
    page.between(&format!("id=\"{name}\""), ">")
}

async fn second_admin(gateway: &TestGateway, admin: &str) -> Browser {
    gateway.user(admin, "maria").await;
    let id = gateway.id_of(admin, "maria@example.org").await;
    let body = json!({ "role": "admin" }).to_string().into_bytes();
    let changed = gateway.send("PATCH", &format!("/api/v1/users/{id}"), Some(admin), body).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    Browser::of(gateway, "maria@example.org", PASSWORD).await
}

#[actix_web::test]
async fn a_saved_setting_is_felt_and_says_who_set_it() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let mut browser = Browser::of_admin(&gateway).await;
    assert_eq!(browser.get("/admin/settings").await.location(), LIMITS);
    let page = browser.get(LIMITS).await;
    page.says("Requests a minute");
    assert!(field(&page, "requests_per_minute").contains("value=\"10\""));
    assert!(!page.has("Put back") && !page.has("class=\"set own\""));

    let form = [("requests_per_minute", "20"), ("was_requests_per_minute", "10")];
    let page = browser.submit(LIMITS, &form).await;

    page.says("Saved. Felt on the next request.");
    page.says("admin set this");
    page.says("the file says 10.");
    page.says("class=\"set own\"");
    assert_eq!(value_of(&gateway, &admin, "requests_per_minute").await, 20);
    let acts = gateway.detail_of("settings_changed");
    assert_eq!((&acts["old"]["requests_per_minute"], &acts["new"]["requests_per_minute"]), (&json!(10), &json!(20)));

    let page = browser.submit(LIMITS, &[("put_back", "requests_per_minute")]).await;
    page.says("is 10 again, as the file has it.");
    assert!(!page.has("class=\"set own\""));
    // The undo of the flash is the same form the other way round.
    let page = browser.submit(LIMITS, &[("requests_per_minute", "20"), ("was_requests_per_minute", "10")]).await;
    page.says("value=\"10\"><input type=\"hidden\" name=\"was_requests_per_minute\" value=\"20\">");
    let undo = [("requests_per_minute", "10"), ("was_requests_per_minute", "20")];
    assert!(!browser.submit(LIMITS, &undo).await.has("class=\"set own\""));
}

#[actix_web::test]
async fn all_are_saved_or_none_and_each_wrong_field_says_what_it_takes() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let mut browser = Browser::of_admin(&gateway).await;

    let form = [
        ("requests_per_minute", "20"),
        ("was_requests_per_minute", "10"),
        ("tokens_per_day", "many <b>"),
        ("was_tokens_per_day", "0"),
        ("answer_tokens_max", "0"),
        ("was_answer_tokens_max", "8192"),
    ];
    let page = browser.post(LIMITS, &form).await;

    assert_eq!(page.status, 400);
    page.says("<title>Problem:");
    page.says("<a href=\"#tokens_per_day\">Model tokens a day: Must be a whole number from 0 to 1,000,000,000.</a>");
    page.says("<a href=\"#answer_tokens_max\">Longest answer: Must be a whole number from 1 to 10,000,000.</a>");
    assert!(field(&page, "tokens_per_day").contains("value=\"many &#60;b&#62;\""));
    assert!(field(&page, "requests_per_minute").contains("value=\"20\""), "what was typed is kept");
    page.says("3 changes, not saved yet: Requests a minute, Model tokens a day, Longest answer");
    assert_eq!(value_of(&gateway, &admin, "requests_per_minute").await, 10);

    // Contradictions are the API's, in the words of the page.
    let form = [("waiting_per_user_max", "65"), ("was_waiting_per_user_max", "32"), ("waiting_max", "64")];
    let page = browser.post("/admin/settings/queue", &[form[0], form[1], form[2], ("was_waiting_max", "63")]).await;
    assert_eq!(page.status, 409, "somebody else set it to 64, as far as this form knows");
    let page = browser.post("/admin/settings/queue", &[form[0], form[1], ("waiting_max", "60")]).await;
    assert_eq!(page.status, 400);
    page.says("Is 65, more than the 60 of “Requests that may wait”");
    assert_eq!(value_of(&gateway, &admin, "waiting_max").await, 64);
}

#[actix_web::test]
async fn of_two_admins_at_once_the_second_is_told_and_loses_nothing() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let mut one = Browser::of_admin(&gateway).await;
    let mut other = second_admin(&gateway, &admin).await;
    let other_form = [("requests_per_minute", "30"), ("was_requests_per_minute", "10")];
    assert_eq!(other.post(LIMITS, &other_form).await.status, 303);

    let form = [
        ("requests_per_minute", "20"),
        ("was_requests_per_minute", "10"),
        ("requests_per_day", "500"),
        ("was_requests_per_day", "0"),
    ];
    let page = one.post(LIMITS, &form).await;

    assert_eq!(page.status, 409);
    page.says("<title>Problem:");
    page.says("maria@example.org set it to 30 today at");
    page.says("Save again to set it to 20.");
    assert!(field(&page, "requests_per_minute").contains("value=\"20\""));
    assert!(field(&page, "requests_per_day").contains("value=\"500\""));
    page.says("name=\"was_requests_per_minute\" value=\"30\"");
    assert_eq!(value_of(&gateway, &admin, "requests_per_minute").await, 30);
    assert_eq!(value_of(&gateway, &admin, "requests_per_day").await, 0);

    let form = [form[0], ("was_requests_per_minute", "30"), form[2], form[3]];
    one.submit(LIMITS, &form).await.says("Saved.");
    assert_eq!(value_of(&gateway, &admin, "requests_per_minute").await, 20);

    // What only the other one changed is left as it is.
    let form = [
        ("requests_per_minute", "10"),
        ("was_requests_per_minute", "10"),
        ("tokens_per_day", "7"),
        ("was_tokens_per_day", "0"),
    ];
    one.submit(LIMITS, &form).await.says("Saved.");
    assert_eq!(value_of(&gateway, &admin, "requests_per_minute").await, 20);
}

#[actix_web::test]
async fn putting_one_back_keeps_what_else_was_typed() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let mut browser = Browser::of_admin(&gateway).await;
    browser.submit(LIMITS, &[("requests_per_minute", "20"), ("was_requests_per_minute", "10")]).await;

    let form = [
        ("put_back", "requests_per_minute"),
        ("requests_per_minute", "20"),
        ("was_requests_per_minute", "20"),
        ("tokens_per_day", "300000"),
        ("was_tokens_per_day", "0"),
    ];
    let page = browser.post(LIMITS, &form).await;

    assert_eq!(page.status, 200);
    assert!(field(&page, "tokens_per_day").contains("value=\"300000\""));
    assert!(field(&page, "requests_per_minute").contains("value=\"10\""));
    page.says("1 change, not saved yet: Model tokens a day");
    assert_eq!(value_of(&gateway, &admin, "tokens_per_day").await, 0);
    assert_eq!(browser.post(LIMITS, &[("put_back", "waiting_max")]).await.status, 404, "it is on another tab");
}

#[actix_web::test]
async fn every_setting_is_on_a_tab_and_the_file_shows_no_secret() {
    let settings = [("UPSTREAM__FAR__URL", "http://127.0.0.1:9"), ("UPSTREAM__FAR__SECRET", "never-shown-0815")];
    let gateway = TestGateway::start_with(&FakeOllama::start().url(), &settings);
    let admin = gateway.admin().await;
    let mut browser = Browser::of_admin(&gateway).await;
    let mut all = String::new();
    for tab in ["limits", "queue", "runaways", "sizes", "record", "notices"] {
        all += &browser.get(&format!("/admin/settings/{tab}")).await.text;
    }

    let known: Vec<Value> =
        gateway.get("/api/v1/settings", Some(&admin)).await.json()["items"].as_array().unwrap().clone();
    for setting in known {
        let name = setting["name"].as_str().unwrap();
        assert_eq!(all.matches(&format!("id=\"{name}\"")).count(), 1, "{name}");
    }
    let page = browser.get("/admin/settings/file").await;
    page.says("limits.requests_per_minute");
    page.says("a secret");
    page.says("LGW_UPSTREAM__FAR__SECRET");
    assert!(!page.has("never-shown-0815"));
}

#[actix_web::test]
async fn settings_are_for_admins_and_forms_of_this_gateway_alone() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut ann = Browser::of_user(&gateway, "ann").await;
    let form = [("requests_per_minute", "20"), ("was_requests_per_minute", "10")];

    let nowhere = ann.get("/admin/nope").await;
    for tab in ["limits", "queue", "runaways", "sizes", "record", "file"] {
        let page = ann.get(&format!("/admin/settings/{tab}")).await;
        assert_eq!((page.status, &page.text), (404, &nowhere.text), "{tab}");
    }
    assert_eq!(ann.post(LIMITS, &form).await.status, 404);
    assert_eq!(Browser::new(&gateway).get(LIMITS).await.location(), "/sign-in?next=%2Fadmin%2Fsettings%2Flimits");
    let mut browser = Browser::of_admin(&gateway).await;
    let origin = gateway.url.clone();
    let body = crate::support::browser::form(&form);
    assert_eq!(browser.send("POST", LIMITS, &[("origin", &origin)], body).await.status, 403);
    assert_eq!(value_of(&gateway, &admin, "requests_per_minute").await, 10);
}
