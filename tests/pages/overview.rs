//! The first page of admins: right now, what needs them, today, and the host.

use serde_json::json;

use crate::support::browser::{Browser, Page};
use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, Step, text};
use crate::support::gateway::{PASSWORD, TestGateway, hello};

const CHAT: &str = "/v1/chat/completions";

/// An end mark after 5 ms of work.
const WORKED: &str = "{\"model\":\"fake:latest\",\"created_at\":\"2026-01-01T00:00:00.3Z\",\"message\":{\"role\":\"assistant\",\
    \"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":5,\"prompt_eval_duration\":3000000,\
    \"eval_count\":3,\"eval_duration\":2000000}\n";

/// The whole page, however long its parts take on a busy machine.
const WHOLE: &str = "/admin?whole=1";

#[actix_web::test]
async fn an_idle_gateway_says_so() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    gateway.admin().await;
    let mut admin = Browser::of_admin(&gateway).await;

    let page = admin.get(WHOLE).await;

    for text in [
        "Nothing runs. The model server is free.",
        "Nothing needs you.",
        "none by this time yesterday",
        "No GPU time was used yet today.",
        "Nothing was refused, and nothing failed.",
        "lan-gateway 0.",
        "younger than a day",
    ] {
        page.says(text);
    }
    // What is not ready in time has a frame that the script fills.
    for part in ["id=\"now\"", "id=\"needs\"", "id=\"today\"", "id=\"facts\""] {
        admin.get("/admin").await.says(part);
    }
}

#[actix_web::test]
async fn whoever_runs_waits_and_needs_an_admin_is_shown() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin_token = gateway.admin().await;
    let ann = gateway.user(&admin_token, "ann").await;
    gateway.post("/api/v1/register", None, json!({ "email": "lena@example.org", "password": PASSWORD })).await;
    let mut admin = Browser::of_admin(&gateway).await;
    fake.next(Script { before: vec![Step::Wait], ..Script::of(vec![text("Hello"), Step::Send(WORKED.into())]) });
    let first = gateway.post(CHAT, Some(&ann), hello());
    let second = async {
        fake.until(|chats| chats.len() == 1).await;
        gateway.post(CHAT, Some(&ann), hello()).await
    };
    let looks = async {
        gateway.until_waiting(&admin_token, 1).await;
        let page = admin.get(WHOLE).await;
        page.says("<title>(1 wait) Overview · lan-gateway</title>");
        page.says("1 of 1 slot busy, 1 waits.");
        page.says("1 person waits for approval");
        page.says("lena@example.org, since ");
        let part = admin.get("/live/now").await;
        part.says("data-title=\"(1 wait) Overview · lan-gateway\"");
        part.says("Longest: ann@example.org, ");
        fake.release();
    };

    let (first, second, ()) = futures_util::join!(first, second, looks);

    assert_eq!([first.status, second.status], [200, 200]);
    let model = json!({ "model": "none", "messages": [{ "role": "user", "content": "hi" }] });
    assert_eq!(gateway.post(CHAT, Some(&ann), model).await.status, 404);
    let mut today = None;
    until("today is summed up", async || {
        let part = admin.get("/live/today").await;
        let is_summed = part.has("no such model for this person") && !part.has("No GPU time was used");
        today = Some(part);
        is_summed
    })
    .await;
    let today: Page = today.unwrap();
    today.says("100 %");
    today.says("/admin/record?outcome=refused,failed");
    admin.get("/live/today?busiest=tokens").await.says("Without an access token");
}

#[actix_web::test]
async fn a_model_server_that_is_down_needs_an_admin() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;
    let mut admin = Browser::of_admin(&gateway).await;

    until("it is found", async || admin.get("/live/needs").await.has("A model server does not answer")).await;

    let part = admin.get("/live/needs").await;
    part.says("<code>local</code>");
    part.says("/admin/settings/check");
    part.says("does not answer</span>");
    admin.get("/live/now").await.says("Nothing runs. The model server does not answer.");
}

#[actix_web::test]
async fn plain_http_may_be_hidden_for_thirty_days() {
    let mut gateway = TestGateway::start_with(&FakeOllama::start().url(), &[("LISTEN", "0.0.0.0:0")]);
    gateway.url = gateway.url.replace("0.0.0.0", "127.0.0.1");
    let admin_token = gateway.admin().await;
    gateway.user(&admin_token, "ann").await;
    let mut admin = Browser::of_admin(&gateway).await;
    let mut member = Browser::of_user(&gateway, "ann").await;
    const TITLE: &str = "Passwords cross the network unencrypted";

    admin.get(WHOLE).await.says(TITLE);
    assert_eq!(member.post("/admin/needs/hide", &[]).await.status, 404);
    let hidden = admin.post("/admin/needs/hide", &[]).await;

    let cookie = hidden.header("set-cookie").unwrap();
    assert!(cookie.contains("Max-Age=2592000") && cookie.contains("HttpOnly"), "{cookie}");
    assert_eq!(hidden.location(), "/admin");
    let page = admin.get(WHOLE).await;
    page.says("Hidden for 30 days.");
    assert!(!page.has(TITLE));
    let mut other = Browser::of_admin(&gateway).await;
    other.set_cookie("lgw_plain_http", "somebody-else");
    other.get(WHOLE).await.says(TITLE);
}
