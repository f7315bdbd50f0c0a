//! Sessions: their cookie, what ends them, and forms from elsewhere.

use crate::support::browser::{Browser, form};
use crate::support::eventually::until;
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{ADMIN_PASSWORD, PASSWORD, TestGateway};

#[actix_web::test]
async fn the_cookie_is_strict_hidden_from_scripts_and_new_at_each_sign_in() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut browser = Browser::new(&gateway);
    browser.set_cookie("lgw_session", "chosen-by-somebody-else");

    let page = browser.sign_in("ann@example.org", PASSWORD).await;

    let cookie = page.header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.contains("Path=/"), "{cookie}");
    assert!(!cookie.contains("Max-Age") && !cookie.contains("Domain"), "{cookie}");
    let id = browser.cookie("lgw_session").unwrap().to_owned();
    assert_eq!(id.len(), 43);
    browser.sign_in("ann@example.org", PASSWORD).await;
    assert_ne!(browser.cookie("lgw_session"), Some(id.as_str()));
    let file = std::fs::read(gateway.data_dir().join("lan-gateway.db-wal")).unwrap();
    assert!(!file.windows(id.len()).any(|part| part == id.as_bytes()), "only a digest of the id is kept");
}

#[actix_web::test]
async fn a_session_opens_pages_alone_and_a_bearer_the_api_alone() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let mut browser = Browser::of_user(&gateway, "ann").await;

    assert_eq!(browser.get("/api/v1/me").await.status, 401);
    let mut stranger = Browser::new(&gateway);
    let shown = stranger.send("GET", "/me", &[("authorization", &format!("Bearer {ann}"))], String::new()).await;
    assert_eq!(shown.location(), "/sign-in?next=%2Fme");
}

#[actix_web::test]
async fn signing_out_ends_the_session_for_good() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut browser = Browser::of_user(&gateway, "ann").await;
    let id = browser.cookie("lgw_session").unwrap().to_owned();

    let page = browser.submit("/sign-out", &[]).await;

    page.says("Signed out.");
    assert_eq!(browser.cookie("lgw_session"), None);
    let mut thief = Browser::new(&gateway);
    thief.set_cookie("lgw_session", &id);
    assert_eq!(thief.get("/me").await.location(), "/sign-in?next=%2Fme");
}

#[actix_web::test]
async fn sessions_outlive_a_restart_and_end_with_the_account() {
    let mut gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let browser = Browser::of_user(&gateway, "ann").await;
    let id = browser.cookie("lgw_session").unwrap().to_owned();

    gateway.kill();
    gateway.restart();

    let mut browser = Browser::new(&gateway);
    browser.set_cookie("lgw_session", &id);
    assert_eq!(browser.get("/").await.location(), "/me");
    let admin = gateway.token("admin", crate::support::gateway::ADMIN_PASSWORD).await;
    let user = gateway.id_of(&admin, "ann@example.org").await;
    gateway.post(&format!("/api/v1/users/{user}/disable"), Some(&admin), serde_json::json!({})).await;
    assert_eq!(browser.get("/").await.location(), "/sign-in");
}

#[actix_web::test]
async fn forms_from_elsewhere_change_nothing_and_are_recorded() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut ann = Browser::of_user(&gateway, "ann").await;
    let other = Browser::of_admin(&gateway).await;
    let origin = gateway.url.clone();
    let body = |token: &str| form(&[("csrf", token)]);
    let own = ann.form_token().to_owned();

    let foreign = other.form_token().to_owned();
    for (headers, token, what) in [
        (vec![("origin", "http://evil.example")], own.as_str(), "a foreign origin"),
        (vec![("origin", "null")], own.as_str(), "an opaque origin"),
        (vec![], own.as_str(), "no origin"),
        (vec![("origin", origin.as_str()), ("sec-fetch-site", "cross-site")], own.as_str(), "another site"),
        (vec![("origin", origin.as_str()), ("sec-fetch-site", "same-site")], own.as_str(), "a neighbour"),
        (vec![("origin", origin.as_str())], "", "no field"),
        (vec![("origin", origin.as_str())], foreign.as_str(), "the field of another session"),
    ] {
        let page = ann.send("POST", "/sign-out", &headers, body(token)).await;
        assert_eq!(page.status, 403, "{what}");
        assert_eq!(ann.get("/").await.location(), "/me", "{what}: still signed in");
    }
    let of_ann = |row: &serde_json::Value| row["reason"] == "permission_denied" && row["user"] == "ann@example.org";
    until("the refusals are recorded", async || gateway.record(&admin).await.iter().any(of_ann)).await;
    assert_eq!(ann.get("/sign-out").await.status, 405);
    assert_eq!(ann.send("POST", "/sign-out", &[("origin", origin.as_str())], body(&own)).await.status, 303);
}

#[actix_web::test]
async fn an_act_that_asks_for_the_password_again_is_done_after_it_without_starting_over() {
    let mut gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let register = serde_json::json!({ "email": "ann@example.org", "password": PASSWORD });
    gateway.post("/api/v1/register", None, register).await;
    let id = gateway.id_of(&admin, "ann@example.org").await;
    let browser = Browser::of_admin(&gateway).await;
    let session = browser.cookie("lgw_session").unwrap().to_owned();
    // After a restart nobody has given a password lately.
    gateway.kill();
    gateway.restart();
    let mut browser = Browser::new(&gateway);
    browser.set_cookie("lgw_session", &session);
    browser.open("/admin/users").await;
    let path = format!("/admin/users/{id}/approve");

    let page = browser.post(&path, &[("search", "ann")]).await;
    page.says("Your password again");
    page.says("name=\"search\" value=\"ann\"");
    page.says(&format!("action=\"{path}\""));
    let wrong = browser.post(&path, &[("search", "ann"), ("password_again", "not the one")]).await;
    assert_eq!(wrong.status, 400);
    wrong.says("Wrong user name or password.");
    let done = browser.post(&path, &[("search", "ann"), ("password_again", ADMIN_PASSWORD)]).await;

    assert_eq!(done.status, 303, "{}", done.text);
    assert_ne!(browser.cookie("lgw_session"), Some(session.as_str()), "the id is new");
    let location = done.location().to_owned();
    browser.open(&location).await.says("ann@example.org may sign in now.");
    assert_eq!(gateway.token("ann@example.org", PASSWORD).await.split('.').count(), 3);
}

#[actix_web::test]
async fn the_third_wrong_password_given_again_signs_out() {
    let mut gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let register = serde_json::json!({ "email": "ann@example.org", "password": PASSWORD });
    gateway.post("/api/v1/register", None, register).await;
    let id = gateway.id_of(&admin, "ann@example.org").await;
    let session = Browser::of_admin(&gateway).await.cookie("lgw_session").unwrap().to_owned();
    gateway.kill();
    gateway.restart();
    let mut browser = Browser::new(&gateway);
    browser.set_cookie("lgw_session", &session);
    browser.open("/admin/users").await;
    let path = format!("/admin/users/{id}/approve");

    for _ in 0..2 {
        browser.post(&path, &[("password_again", "not the one")]).await.says("Wrong user name or password.");
    }
    let third = browser.post(&path, &[("password_again", "not the one")]).await;

    assert_eq!(third.location(), "/sign-in?done=wrong");
    browser.open("/sign-in?done=wrong").await.says("signed out after three wrong passwords");
    assert_eq!(browser.get("/admin").await.location(), "/sign-in?next=%2Fadmin");
}
