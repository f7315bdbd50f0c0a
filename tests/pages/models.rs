//! The models, and the self-check of the settings.

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::eventually::until;
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{TestGateway, hello};

#[actix_web::test]
async fn models_tell_who_may_use_them_and_how_much_they_are_used() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin_token = gateway.admin().await;
    let ann = gateway.user(&admin_token, "ann").await;
    let id = gateway.id_of(&admin_token, "ann@example.org").await;
    let limits = json!({ "models": ["fake"] }).to_string().into_bytes();
    let path = format!("/api/v1/users/{id}");
    assert_eq!(gateway.send("PATCH", &path, Some(&admin_token), limits).await.status, 200);
    assert_eq!(gateway.post("/v1/chat/completions", Some(&ann), hello()).await.status, 200);
    let mut admin = Browser::of_admin(&gateway).await;
    let mut member = Browser::of_user(&gateway, "ann").await;

    let page = admin.get("/admin/models").await;

    page.says("<b>fake:latest</b>");
    page.says("everybody");
    assert!(page.between("<b>user/other:1b</b>", "</tr>").contains(">admin</td>"), "{}", page.text);
    until("its use is summed up", async || {
        let page = admin.get("/admin/models").await;
        page.between("<b>fake:latest</b>", "</tr>").contains("data-unit=\"requests in 7 days\">1</td>")
    })
    .await;
    assert_eq!(member.get("/admin/models").await.text, member.get("/admin/nope").await.text);
}

#[actix_web::test]
async fn a_model_server_that_does_not_answer_is_told_in_place_of_its_models() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;
    let mut admin = Browser::of_admin(&gateway).await;

    let page = admin.get("/admin/models").await;

    assert_eq!(page.status, 200);
    page.says("/admin/settings/check");
}

#[actix_web::test]
async fn the_self_check_tells_what_is_well_and_what_is_not_with_a_remedy() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("LIMITS__REQUESTS_PER_MINUTE", "300")]);
    gateway.admin().await;
    let mut admin = Browser::of_admin(&gateway).await;
    until("the model server is found to be down", async || {
        admin.get("/admin/settings/check").await.has("A model server does not answer")
    })
    .await;

    let page = admin.get("/admin/settings/check").await;

    page.says("<a href=\"/admin/settings/check\" aria-current=\"page\">Self-check</a>");
    page.says("<code>systemctl start ollama</code>");
    page.says("A line of the configuration has no effect");
    page.says("The record is written.");
    page.says("Data folder");
    assert!(!page.has("The model server answers."));
}
