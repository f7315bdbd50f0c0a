//! A request's story: its contents as text, its images and files, and that each look is recorded.

use base64::Engine;
use serde_json::{Value, json};

use crate::record::acts;
use crate::support::browser::Browser;
use crate::support::eventually::eventually;
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, hello};

/// Returns the id of the newest request or refusal.
async fn newest(gateway: &TestGateway, admin: &str) -> String {
    gateway.record(admin).await[0]["request_id"].as_str().unwrap().to_owned()
}

async fn ask(gateway: &TestGateway, bearer: &str, messages: Value) {
    let body = json!({ "model": "fake", "messages": messages });
    let answer = gateway.post("/v1/chat/completions", Some(bearer), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[actix_web::test]
async fn a_story_shows_contents_as_text_and_that_it_was_opened_is_recorded() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    fake.next(Script::of(vec![text("Hold <img src=x onerror=alert(2)>\n  still."), done("stop")]));
    let said = "file: \u{202e}gnp.elif\nI tried <script>alert(1)</script>.";
    ask(&gateway, &ann, json!([{ "role": "system", "content": "Be kind." }, { "role": "user", "content": said }]))
        .await;
    let id = newest(&gateway, &admin).await;
    let mut browser = Browser::of_admin(&gateway).await;

    let page = browser.get(&format!("/admin/record/{id}")).await;

    assert_eq!(page.status, 200, "{}", page.text);
    for said in [
        "ann@example.org asked fake",
        "This page shows what ann@example.org wrote. That you opened it is on the record.",
        "signed in by a client (JWT), from 127.0.0.1",
        "Where the time went",
        "Be kind.",
        "I tried &lt;script&gt;alert(1)&lt;/script&gt;.",
        "U+202E</span>gnp.elif",
        "Hold &lt;img src=x onerror=alert(2)&gt;\n  still.",
        "Exactly what was forwarded",
        "What ann@example.org sent today",
        "Everything to fake today",
        &id,
    ] {
        page.says(said);
    }
    assert!(!page.has("<script>alert") && !page.has("<img") && !page.has('\u{202e}'.to_string().as_str()));
    assert_eq!(acts(&gateway, &admin, "contents_viewed").await, 1);
    let file = browser.get(&format!("/admin/record/{id}/files/forwarded.json")).await;
    assert!(file.has("I tried <script>") && file.header("content-type") == Some("application/json"));
    assert!(file.header("content-disposition").unwrap().starts_with("attachment; filename=\""));
    assert!(file.header("content-security-policy").unwrap().contains("sandbox"));
    assert_eq!(acts(&gateway, &admin, "contents_viewed").await, 2, "a download is a look, too");
    for nothing in ["files/other.txt", "files/reasoning.txt", "images/1", "images/x"] {
        assert_eq!(browser.get(&format!("/admin/record/{id}/{nothing}")).await.status, 404, "{nothing}");
    }
}

#[actix_web::test]
async fn failed_and_refused_requests_say_why_where_the_answer_would_be() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    fake.next(Script::status(500, r#"{"error":"out of memory"}"#));
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    let failed = newest(&gateway, &admin).await;
    gateway.post("/v1/chat/completions", Some(&ann), json!({ "model": "none", "messages": [] })).await;
    let refused =
        eventually("the refusal", async || Some(newest(&gateway, &admin).await).filter(|id| *id != failed)).await;
    let mut browser = Browser::of_admin(&gateway).await;

    browser.get(&format!("/admin/record/{failed}")).await.says("The model server gave up.");
    let page = browser.get(&format!("/admin/record/{refused}")).await;
    page.says("Refused");
    assert!(!page.has("Where the time went") && !page.has("This page shows what"), "it has no contents");
    page.says(&format!("href=\"/admin/record/{failed}\" title=\"Older\" data-key=\"]\""));
    browser.get(&format!("/admin/record/{failed}")).await.says("data-key=\"[\"");
    let mut own = Browser::of_user(&gateway, "ann").await;
    own.get(&format!("/me/record/{failed}")).await.says("The model server gave up. Send it again later.");
}

#[actix_web::test]
async fn a_running_request_leads_to_the_queue() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    fake.next(Script::of(vec![text("a"), Step::Wait, done("stop")]));
    let mut body = hello();
    body["stream"] = json!(true);
    let answer = gateway.open("POST", "/v1/chat/completions", Some(&ann), body.to_string().into_bytes()).await;
    let id = newest(&gateway, &admin).await;
    let mut browser = Browser::of_admin(&gateway).await;

    let page = browser.get(&format!("/admin/record/{id}")).await;

    page.says("It runs: see the <a href=\"/admin/queue\">queue</a>.");
    page.says("Running");
    fake.release();
    drop(answer);
}

#[actix_web::test]
async fn a_page_of_a_long_request_stays_small_and_all_of_it_is_a_download() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    ask(&gateway, &ann, json!([{ "role": "user", "content": "\u{202e}<&".repeat(200_000) }])).await;
    let id = newest(&gateway, &admin).await;
    let mut browser = Browser::of_admin(&gateway).await;

    let page = browser.get(&format!("/admin/record/{id}")).await;

    assert!(page.text.len() < 500_000, "{}", page.text.len());
    page.says("more characters: <a href=");
    let file = browser.get(&format!("/admin/record/{id}/files/forwarded.json")).await;
    assert!(file.text.len() > 1_000_000);
}

#[actix_web::test]
async fn an_image_is_shown_behind_a_press_alone_and_can_do_nothing() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let png = base64::engine::general_purpose::STANDARD.decode(PNG).unwrap();
    let url = format!("data:image/png;base64,{PNG}");
    let parts = json!([{ "type": "text", "text": "look" }, { "type": "image_url", "image_url": { "url": url } }]);
    let body = json!({ "model": "fake", "messages": [{ "role": "user", "content": parts }] });
    let answer = gateway.post("/v1/chat/completions", Some(&ann), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = newest(&gateway, &admin).await;
    let mut browser = Browser::of_user(&gateway, "ann").await;

    let page = browser.get(&format!("/me/record/{id}")).await;
    page.says("Image 1, PNG, ");
    assert!(!page.has("<img"));
    let path = format!("/me/record/{id}/images/1");
    let mut response = crate::support::gateway::client()
        .get(format!("{}{path}", gateway.url))
        .insert_header(("cookie", format!("lgw_session={}", browser.cookie("lgw_session").unwrap())))
        .send()
        .await
        .unwrap();

    assert_eq!(response.status().as_u16(), 200);
    let head = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(head("content-type"), "image/png");
    assert_eq!(head("content-security-policy"), "default-src 'none'; sandbox");
    assert_eq!((head("x-content-type-options"), head("cache-control")), ("nosniff".to_owned(), "no-store".to_owned()));
    assert_eq!(response.body().await.unwrap(), png);
    assert_eq!(browser.get(&format!("/me/record/{id}/images/2")).await.status, 404);
}

/// One transparent pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

#[actix_web::test]
async fn ones_own_story_is_no_act_and_that_of_somebody_else_does_not_exist() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.user(&admin, "bob").await;
    ask(&gateway, &ann, json!([{ "role": "user", "content": "a secret of ann" }])).await;
    let id = newest(&gateway, &admin).await;

    let page = Browser::of_user(&gateway, "ann").await.get(&format!("/me/record/{id}")).await;
    page.says("You asked fake");
    page.says("a secret of ann");
    assert!(!page.has("on the record") && !page.has("/admin"));
    let mut bob = Browser::of_user(&gateway, "bob").await;
    let unknown = bob.get("/admin/nope").await;
    for path in ["", "/files/forwarded.json", "/images/1"] {
        for list in ["/me/record", "/admin/record"] {
            let page = bob.get(&format!("{list}/{id}{path}")).await;
            assert_eq!((page.status, page.text == unknown.text), (404, true), "{list} {path}");
        }
    }
    assert_eq!(acts(&gateway, &admin, "contents_viewed").await, 0);
    let mut browser = Browser::of_admin(&gateway).await;
    assert_eq!(browser.get("/admin/record/nonsense").await.status, 404);
    let act = gateway.get("/api/v1/audit?kind=act&limit=1", Some(&admin)).await.json();
    let act = act["items"][0]["request_id"].as_str().unwrap().to_owned();
    assert_eq!(browser.get(&format!("/admin/record/{act}")).await.status, 404, "an act has no story");
}
