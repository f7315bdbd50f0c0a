//! The page of the queue: what runs and waits, cancelling, and what is held back.

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::fake_ollama::{FakeOllama, Script, Step};
use crate::support::gateway::{TestGateway, hello};

const CHAT: &str = "/v1/chat/completions";

#[actix_web::test]
async fn an_idle_queue_says_so() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    gateway.admin().await;
    let mut admin = Browser::of_admin(&gateway).await;

    let page = admin.get("/admin/queue").await;

    page.says("All slots are free.");
    page.says("Nobody waits.");
    page.says("of at most 64");
    page.says("<title>Queue · lan-gateway</title>");
    assert!(!page.has("Held back") && !page.has("Not sent again"));
    let part = admin.get("/live/queue").await;
    let tag = part.header("etag").unwrap().to_owned();
    assert_eq!(admin.send("GET", "/live/queue", &[("if-none-match", &tag)], String::new()).await.status, 304);
}

#[actix_web::test]
async fn what_runs_and_waits_is_shown_and_cancelled_after_a_question() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin_token = gateway.admin().await;
    let ann = gateway.user(&admin_token, "ann").await;
    let mut admin = Browser::of_admin(&gateway).await;
    let mut member = Browser::of_user(&gateway, "ann").await;
    fake.next(Script { before: vec![Step::Wait], ..Script::hello() });
    let first = gateway.post(CHAT, Some(&ann), hello());
    let second = async {
        fake.until(|chats| chats.len() == 1).await;
        gateway.post(CHAT, Some(&ann), hello()).await
    };
    let looks = async {
        let queue = gateway.until_waiting(&admin_token, 1).await;
        let id = |state: &str| {
            let items = queue["items"].as_array().unwrap();
            items.iter().find(|item| item["state"] == state).unwrap()["request_id"].as_str().unwrap().to_owned()
        };
        let (running, waiting) = (id("running"), id("waiting"));
        let page = admin.get("/admin/queue").await;
        page.says("<title>(1 wait) Queue · lan-gateway</title>");
        page.says("local · slot 1");
        page.says("ann@example.org");
        page.says(&format!("id=\"wait-{waiting}\""));
        page.says("1 of at most 64");
        let part = admin.get("/live/queue").await;
        part.says("data-status=\"1 waits, 1 runs\"");
        part.says(&format!("id=\"slot-{running}\""));

        let cancel = format!("/admin/queue/{waiting}/cancel");
        assert_eq!(member.get(&cancel).await.text, member.get("/admin/nope").await.text);
        assert_eq!(member.post(&cancel, &[]).await.status, 404);
        let question = admin.get(&cancel).await;
        question.says("Cancel the request of ann@example.org");
        question.says("Its sender gets a 403. This is recorded.");
        admin.submit(&cancel, &[]).await.says("The request was cancelled.");
        gateway.until_waiting(&admin_token, 0).await;
        let ended = "/admin/queue/00000000-0000-4000-8000-000000000000/cancel";
        admin.submit(ended, &[]).await.says("That request has ended by itself meanwhile.");
        admin.open(&cancel).await.says("That request has ended by itself meanwhile.");
        assert_eq!(admin.get("/admin/queue/x/cancel").await.status, 404);
        fake.release();
    };

    let (first, second, ()) = futures_util::join!(first, second, looks);

    assert_eq!([first.status, second.status], [200, 403]);
    let acts = gateway.get("/api/v1/audit?kind=act&act=request_cancelled", Some(&admin_token)).await.json();
    assert_eq!(acts["items"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_paused_access_token_is_resumed_and_names_are_shown_as_text() {
    let settings =
        [("BREAKER__REPEATS_FREE", "0"), ("BREAKER__REPEATS_MAX", "2"), ("LIMITS__REQUESTS_PER_MINUTE", "1000")];
    let gateway = TestGateway::start_with(&FakeOllama::start().url(), &settings);
    let admin_token = gateway.admin().await;
    let ann = gateway.user(&admin_token, "ann").await;
    let made = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "<b>docs</b>" })).await.json();
    let (secret, id) = (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned());
    for _ in 0..3 {
        gateway.post(CHAT, Some(&secret), hello()).await;
    }
    let mut admin = Browser::of_admin(&gateway).await;
    let mut member = Browser::of_user(&gateway, "ann").await;

    let page = admin.get("/admin/queue").await;

    page.says("Held back");
    page.says("It sent the same request 2 times in 10 min.");
    page.says("&lt;b&gt;docs&lt;/b&gt;");
    assert!(!page.has("<b>docs</b>"));
    assert_eq!(member.post("/admin/queue/resume", &[("token", &id)]).await.status, 404);
    assert_eq!(admin.post("/admin/queue/resume", &[("token", "lgw_none")]).await.status, 404);
    let page = admin.submit("/admin/queue/resume", &[("token", &id)]).await;
    page.says("goes on.");
    assert!(!page.has("Held back"));
    assert_eq!(gateway.post(CHAT, Some(&secret), hello()).await.status, 200);
}

#[actix_web::test]
async fn a_live_part_keeps_no_session_alive_and_is_for_admins_alone() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin_token = gateway.admin().await;
    gateway.user(&admin_token, "ann").await;
    let mut member = Browser::of_user(&gateway, "ann").await;

    assert_eq!(Browser::new(&gateway).get("/live/queue").await.status, 401);
    assert_eq!(member.get("/live/queue").await.status, 404);
    assert_eq!(member.get("/admin/queue").await.text, member.get("/admin/nope").await.text);
    assert_eq!(Browser::new(&gateway).get("/admin/queue").await.location(), "/sign-in?next=%2Fadmin%2Fqueue");
}
