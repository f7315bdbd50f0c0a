//! The door: signing in and out, asking for an account, waiting, passwords.

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{ADMIN_PASSWORD, PASSWORD, TestGateway};

const NEW: &str = "another long password of mine";

#[actix_web::test]
async fn the_first_page_leads_to_the_door_and_is_no_json_error() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let mut browser = Browser::new(&gateway);

    let home = browser.get("/").await;
    assert_eq!((home.status, home.location()), (303, "/sign-in"));
    assert_eq!(browser.send("HEAD", "/", &[], String::new()).await.status, 200);

    let page = browser.get("/sign-in").await;
    assert_eq!(page.status, 200);
    page.says("Sign in");
}

#[actix_web::test]
async fn the_first_sign_in_of_the_admin_opens_nothing_but_the_choice_of_a_password() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let mut browser = Browser::new(&gateway);

    let signed_in = browser.sign_in("admin", "admin123").await;
    assert_eq!(signed_in.status, 303);
    let page = browser.open("/").await;
    page.says("Choose the first password");
    page.says("nobody can be let in");
    for path in ["/admin", "/me"] {
        assert_eq!(browser.get(path).await.location(), "/password?must=1", "{path}");
    }

    let page = browser.post("/password", &[("new_password", "short"), ("repeated", "short")]).await;
    assert_eq!(page.status, 400);
    page.says("12 characters");
    page.says("<title>Problem:");
    let page = browser.post("/password", &[("new_password", NEW), ("repeated", "other")]).await;
    page.says("The two passwords differ");

    let page = browser.submit("/password", &[("new_password", NEW), ("repeated", NEW)]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(browser.get("/").await.location(), "/admin");
    assert_eq!(gateway.token("admin", NEW).await.split('.').count(), 3);
}

#[actix_web::test]
async fn a_registration_waits_for_approval_and_is_then_led_in() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let mut browser = Browser::new(&gateway);

    let form = [("email", "ann@example.org"), ("password", PASSWORD), ("repeated", PASSWORD)];
    let page = browser.submit("/register", &form).await;
    page.says("An admin lets you in");
    // The same for an address that is known.
    let again = browser.submit("/register", &form).await;
    assert_eq!(page.text, again.text);

    let wrong = browser.sign_in("ann@example.org", "not the password at all").await;
    assert_eq!(wrong.status, 401);
    wrong.says("Wrong e-mail address or password.");
    assert!(!wrong.has("not the password at all"), "a password is never filled in");

    assert_eq!(browser.sign_in("ann@example.org", PASSWORD).await.status, 303);
    let page = browser.open("/").await;
    page.says("Waiting for approval");
    assert_eq!(browser.get("/live/waiting").await.status, 304);
    for path in ["/me", "/admin"] {
        assert_eq!(browser.get(path).await.location(), "/waiting", "{path}");
    }

    let id = gateway.id_of(&admin, "ann@example.org").await;
    assert_eq!(gateway.post(&format!("/api/v1/users/{id}/approve"), Some(&admin), json!({})).await.status, 200);
    let part = browser.get("/live/waiting").await;
    part.says("data-go=\"/\"");
    assert_eq!(browser.get("/").await.location(), "/me");
}

#[actix_web::test]
async fn a_form_that_has_to_be_corrected_is_filled_in_but_for_its_passwords() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let mut browser = Browser::new(&gateway);

    let form = [("email", "no address <b>"), ("password", PASSWORD), ("repeated", PASSWORD)];
    let page = browser.post("/register", &form).await;

    assert_eq!(page.status, 400);
    page.says("aria-invalid=\"true\"");
    page.says("no address &#60;b&#62;");
    assert!(!page.has(PASSWORD));
}

#[actix_web::test]
async fn whoever_was_signed_out_goes_on_where_they_were() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut browser = Browser::new(&gateway);

    let away = browser.get("/me?outcome=failed").await;
    assert_eq!(away.location(), "/sign-in?next=%2Fme%3Foutcome%3Dfailed");
    let page = browser.open("/me?outcome=failed").await;
    page.says("name=\"next\" value=\"/me?outcome=failed\"");
    let name = [("username", "ann@example.org"), ("password", PASSWORD)];
    let back = browser.post("/sign-in", &[name[0], name[1], ("next", "/me?outcome=failed")]).await;
    assert_eq!(back.location(), "/me?outcome=failed");

    let mut other = Browser::new(&gateway);
    let abroad = other.post("/sign-in", &[name[0], name[1], ("next", "//evil.example/")]).await;
    assert_eq!(abroad.location(), "/");
}

#[actix_web::test]
async fn a_reset_password_opens_one_session_that_only_changes_it() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut before = Browser::of_user(&gateway, "ann").await;
    let id = gateway.id_of(&admin, "ann@example.org").await;
    let reset = gateway.post(&format!("/api/v1/users/{id}/reset-password"), Some(&admin), json!({})).await;
    assert_eq!(reset.status, 200);
    assert_eq!(before.get("/me").await.location(), "/sign-in?next=%2Fme", "the old session has ended");

    let mut first = Browser::new(&gateway);
    assert_eq!(first.sign_in("ann@example.org", "admin123").await.status, 303);
    let mut second = Browser::new(&gateway);
    let page = second.sign_in("ann@example.org", "admin123").await;
    assert_eq!(page.status, 403);
    page.says("good for one sign-in");

    first.open("/").await.says("Choose a new password");
    first.submit("/password", &[("new_password", NEW), ("repeated", NEW)]).await;
    assert_eq!(first.get("/").await.location(), "/me");
    assert_eq!(second.sign_in("ann@example.org", "admin123").await.status, 401);
}

#[actix_web::test]
async fn a_password_is_changed_by_whoever_knows_the_one_before() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    gateway.admin().await;
    let mut other = Browser::of_admin(&gateway).await;
    let mut browser = Browser::new(&gateway);
    let form = |now| [("username", "admin"), ("current_password", now), ("new_password", NEW), ("repeated", NEW)];

    browser.post("/password", &form("a wrong one of mine")).await.says("Wrong e-mail address or password.");
    let page = browser.submit("/password", &form(ADMIN_PASSWORD)).await;

    assert_eq!(page.status, 200);
    assert_eq!(browser.get("/").await.location(), "/admin");
    assert_eq!(other.get("/").await.location(), "/sign-in", "other sessions have ended");
}

#[actix_web::test]
async fn a_form_larger_than_any_is_refused_with_a_page() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let mut browser = Browser::new(&gateway);
    let name = |bytes: usize| "a".repeat(bytes);

    let page = browser.post("/register", &[("email", &name(60 << 10)), ("password", PASSWORD)]).await;
    assert_eq!(page.status, 400, "it is read");
    page.says("Ask for an account");
    let page = browser.post("/register", &[("email", &name(1 << 20)), ("password", PASSWORD)]).await;

    assert_eq!(page.status, 413);
    page.says("<html");
    page.says("65536 bytes");
    assert!(page.text.len() < 10_000, "nothing of it is repeated");
}
