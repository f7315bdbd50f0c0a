//! A person's own access tokens: made, shown once, changed, rotated, revoked, resumed.

use serde_json::{Value, json};

use crate::support::browser::{Browser, Page};
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway};

const NEW: &str = "/me/tokens/new";

struct Stage {
    gateway: TestGateway,
    admin: String,
    ann: String,
    browser: Browser,
}

async fn stage() -> Stage {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let browser = Browser::of_user(&gateway, "ann").await;
    Stage { gateway, admin, ann, browser }
}

/// The id in `/me/tokens/{id}/created`.
fn id_of(page: &Page) -> String {
    page.location().split('/').nth(3).unwrap_or_else(|| panic!("no id in {}", page.location())).to_owned()
}

fn secret_of(page: &Page) -> String {
    page.between("<code id=\"secret\" data-private>", "</code>").to_owned()
}

async fn token(stage: &Stage, id: &str) -> Value {
    let list = stage.gateway.get("/api/v1/tokens", Some(&stage.ann)).await.json();
    list["items"].as_array().unwrap().iter().find(|item| item["id"] == id).unwrap().clone()
}

async fn chat(stage: &Stage, secret: &str) -> u16 {
    let body = json!({ "model": "llama3.2:latest", "messages": [{ "role": "user", "content": "hello" }] });
    stage.gateway.post("/v1/chat/completions", Some(secret), body).await.status
}

#[actix_web::test]
async fn a_secret_is_shown_once_with_the_set_up_filled_in() {
    let mut stage = stage().await;
    stage.browser.get("/me/tokens").await.says("No access tokens yet.");
    let form = stage.browser.get(NEW).await;
    form.says("Which machine or pipeline is it for?");
    form.says("value=\"llama3.2:latest\"");
    assert!(!form.has("manage models"), "only an admin's token may");

    let fields = [
        ("name", "nightly <docs>"),
        ("scopes", "chat"),
        ("scopes", "models"),
        ("models", "llama3.2:latest"),
        ("class", "batch"),
        ("requests_per_minute", "20"),
        ("quotas.tokens_per_day", "100,000"),
        ("networks", "127.0.0.0/8\r\n192.168.1.0/24"),
        ("ends", "30"),
    ];
    let made = stage.browser.post(NEW, &fields).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let id = id_of(&made);
    let path = format!("/me/tokens/{id}/created");

    let page = stage.browser.get(&path).await;
    page.says("<dialog class=\"sheet\" open");
    page.says("Your new access token: nightly &#60;docs&#62;");
    page.says("It is shown this once.");
    let host = stage.gateway.url.strip_prefix("http://").unwrap();
    page.says(&format!("curl --fail-with-body -sS http://{host}/v1/chat/completions"));
    page.says("&#34;model&#34;: &#34;llama3.2:latest&#34;");
    for way in ["curl", "PowerShell", "Python", "Node", "n8n", "Open WebUI", "A CI job"] {
        page.says(&format!("<span>{way}</span>"));
    }
    page.says("May: ask models, list models · only llama3.2:latest · class batch · 20 requests a minute · 100 k model tokens a day · from 127.0.0.0/8, 192.168.1.0/24");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let secret = secret_of(&page);
    assert_eq!(page.text.matches(&secret).count(), 9, "the secret itself, and eight ways to set up a client");
    assert_eq!(chat(&stage, &secret).await, 200);

    let again = stage.browser.get(&path).await;
    again.says("It was shown once. Rotate it to get a new secret.");
    assert!(!again.has(&secret) && !again.has("<dialog"));
    let view = token(&stage, &id).await;
    assert_eq!(view["quotas"], json!({ "tokens_per_day": 100_000 }));
    assert_eq!(view["class"], "batch");
    let list = stage.browser.get("/me/tokens").await;
    list.says("nightly &lt;docs&gt;");
    list.says(&format!("lgw_m_{id}"));
    list.says("1 of 20 that one person may have");
    assert!(!list.has(&secret));
}

#[actix_web::test]
async fn making_and_rotating_ask_for_the_password_again_and_keep_what_was_typed() {
    let mut stage = stage().await;
    // A session of before the last restart has not proven its password.
    let id = stage.browser.cookie("lgw_session").unwrap().to_owned();
    stage.gateway.kill();
    stage.gateway.restart();
    let mut browser = Browser::new(&stage.gateway);
    browser.set_cookie("lgw_session", &id);
    browser.get("/me/tokens").await;

    let fields = [("name", "ci"), ("scopes", "chat"), ("ends", "90")];
    let asked = browser.post(NEW, &fields).await;
    assert_eq!(asked.status, 200);
    asked.says("With it you make the access token ci.");
    asked.says("<input type=\"hidden\" name=\"scopes\" value=\"chat\">");
    assert_eq!(stage.gateway.get("/api/v1/tokens", Some(&stage.ann)).await.json()["items"], json!([]));
    let wrong = [&fields[..], &[("password_again", "not the password")]].concat();
    assert_eq!(browser.post(NEW, &wrong).await.status, 400);
    let right = [&fields[..], &[("password_again", PASSWORD)]].concat();
    let made = browser.post(NEW, &right).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let id = id_of(&made);
    browser.get(made.location()).await.says("lgw_m_");

    // Within five minutes it is not asked again.
    let rotated = browser.post(&format!("/me/tokens/{id}/rotate"), &[("old", "later"), ("ends", "")]).await;
    assert_eq!(rotated.status, 303, "{}", rotated.text);
}

#[actix_web::test]
async fn a_form_that_is_wrong_comes_back_filled_in_with_the_field_named() {
    let mut stage = stage().await;
    let fields = [("name", "ci <b>"), ("scopes", "chat"), ("ends", "90"), ("networks", "10.0.0.1\nnowhere")];

    let page = stage.browser.post(NEW, &fields).await;
    assert_eq!(page.status, 400);
    page.says("<title>Problem: New access token");
    page.says("<a href=\"#networks\">Number 2: Must be a network, as in 192.168.1.0/24, or an address.</a>");
    page.says("value=\"ci &#60;b&#62;\"");
    page.says("10.0.0.1\nnowhere</textarea>");
    page.says("aria-describedby=\"networks-error");
    for (field, value, link) in [
        ("name", "", "#name"),
        ("requests_per_minute", "ten", "#requests_per_minute"),
        ("requests_per_minute", "0", "#requests_per_minute"),
        ("quotas.tokens_per_day", "99999999999", "#quotas.tokens_per_day"),
        ("ends_on", "2001-01-01", "#ends_on"),
    ] {
        let ends = if field == "ends_on" { "date" } else { "90" };
        let name = if field == "name" { value } else { "ci" };
        let form = [("name", name), ("scopes", "chat"), ("ends", ends), (field, value)];
        let page = stage.browser.post(NEW, &form).await;
        assert_eq!(page.status, 400, "{field} {value}");
        page.says(&format!("<a href=\"{link}\">"));
    }
    stage.browser.post(NEW, &[("name", "ci"), ("ends", "90")]).await.says("<a href=\"#scopes\">");
    let beyond = [("name", "ci"), ("scopes", "chat"), ("ends", "9999")];
    stage.browser.post(NEW, &beyond).await.says("<a href=\"#ends\">");
    let managing = [("name", "ci"), ("scopes", "models:manage"), ("ends", "90")];
    assert_eq!(stage.browser.post(NEW, &managing).await.status, 400);
    assert_eq!(stage.gateway.get("/api/v1/tokens", Some(&stage.ann)).await.json()["items"], json!([]));
}

#[actix_web::test]
async fn a_token_is_changed_rotated_and_revoked() {
    let mut stage = stage().await;
    let made = stage.browser.post(NEW, &[("name", "ci"), ("scopes", "chat"), ("ends", "30")]).await;
    let id = id_of(&made);
    let first = secret_of(&stage.browser.get(made.location()).await);
    let path = format!("/me/tokens/{id}");

    let page = stage.browser.get(&path).await;
    page.says("value=\"ci\"");
    page.says("What it may do and its models stay as they were made.");
    let fields = [("name", "nightly"), ("class", "batch"), ("networks", "127.0.0.1"), ("requests_per_minute", "5")];
    let saved = stage.browser.submit(&path, &fields).await;
    saved.says("Saved. Felt on the next request.");
    saved.says("<h1>nightly</h1>");
    saved.says("5 requests a minute");
    saved.says("of 5 used");
    let wrong = stage.browser.post(&path, &[("name", "nightly"), ("networks", "x")]).await;
    assert_eq!(wrong.status, 400);
    wrong.says("Number 1: Must be a network");
    // What is not filled in is taken away.
    stage.browser.submit(&path, &[("name", "nightly")]).await;
    let view = token(&stage, &id).await;
    assert!(view["networks"].is_null() && view["requests_per_minute"].is_null() && view["class"].is_null(), "{view}");

    stage.browser.get(&format!("{path}/rotate")).await.says("The secret before works for 1 h more.");
    let rotated = stage.browser.post(&format!("{path}/rotate"), &[("old", "later"), ("ends", "")]).await;
    let page = stage.browser.get(rotated.location()).await;
    page.says("The new secret of nightly");
    page.says("The secret before works until");
    let second = secret_of(&page);
    assert_ne!(first, second);
    assert_eq!([chat(&stage, &first).await, chat(&stage, &second).await], [200, 200]);
    let rotated = stage.browser.post(&format!("{path}/rotate"), &[("old", "now"), ("ends", "")]).await;
    let third = secret_of(&stage.browser.get(rotated.location()).await);
    assert_eq!([chat(&stage, &second).await, chat(&stage, &third).await], [401, 200]);

    stage.browser.get(&format!("{path}/revoke")).await.says("It ends at once. What it has running is cut off.");
    stage.browser.submit(&format!("{path}/revoke"), &[]).await.says("nightly was revoked.");
    assert_eq!(chat(&stage, &third).await, 401);
    stage.browser.get(&path).await.says("It has ended, and nothing can be changed in it any more.");
    assert_eq!(stage.browser.get(&format!("{path}/rotate")).await.location(), path);
    assert_eq!(stage.browser.post(&format!("{path}/rotate"), &[("old", "now")]).await.location(), path);
    stage.browser.get("/me/tokens").await.says("revoked");
}

#[actix_web::test]
async fn a_paused_token_says_why_and_is_resumed_by_its_owner() {
    let mut stage = stage().await;
    let made = stage.browser.post(NEW, &[("name", "loop"), ("scopes", "chat"), ("ends", "30")]).await;
    let (id, secret) = (id_of(&made), secret_of(&stage.browser.get(made.location()).await));
    let session = stage.browser.cookie("lgw_session").unwrap().to_owned();
    stage.gateway.kill();
    stage.gateway.on_the_file(&format!(
        "UPDATE tokens SET suspended_at_us = 1, pause_reason = 'repeats', pause_count = 60, pause_seconds = 600 \
         WHERE public_id = '{id}'"
    ));
    stage.gateway.restart();
    let mut browser = Browser::new(&stage.gateway);
    browser.set_cookie("lgw_session", &session);

    let list = browser.get("/me/tokens").await;
    list.says("<b>loop is paused.</b>");
    list.says("It sent the same request 60 times in 10 min. Nothing of it runs until somebody resumes it.");
    assert_eq!(chat(&stage, &secret).await, 403);
    browser.get(&format!("/me/tokens/{id}")).await.says("<b>It is paused.</b>");
    browser.submit(&format!("/me/tokens/{id}/resume"), &[]).await.says("loop goes on.");
    assert_eq!(chat(&stage, &secret).await, 200);
}

#[actix_web::test]
async fn nobody_elses_token_is_there_for_an_admin_neither() {
    let mut stage = stage().await;
    let made = stage.browser.post(NEW, &[("name", "ci"), ("scopes", "chat"), ("ends", "30")]).await;
    let id = id_of(&made);
    let mut admin = Browser::of_admin(&stage.gateway).await;
    let unknown = admin.get("/admin/nope").await.text;

    for step in ["", "/created", "/rotate", "/revoke"] {
        let page = admin.get(&format!("/me/tokens/{id}{step}")).await;
        assert_eq!((page.status, page.text == unknown), (404, true), "GET {step}");
    }
    for step in ["", "/rotate", "/revoke", "/resume"] {
        let page = admin.post(&format!("/me/tokens/{id}{step}"), &[("name", "mine")]).await;
        assert_eq!((page.status, page.text == unknown), (404, true), "POST {step}");
    }
    // The owner still gets the secret.
    stage.browser.get(made.location()).await.says("lgw_m_");
    assert_eq!(token(&stage, &id).await["status"], "active");
    assert!(stage.gateway.get("/api/v1/audit?kind=act&act=token_revoked", Some(&stage.admin)).await.status < 500);
}

#[actix_web::test]
async fn making_tokens_counts_as_an_own_change() {
    let gateway = TestGateway::start_with(&FakeOllama::start().url(), &[("LIMITS__OWN_ACTS_PER_MINUTE", "1")]);
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut browser = Browser::of_user(&gateway, "ann").await;
    let fields = [("name", "ci"), ("scopes", "chat"), ("ends", "30")];

    assert_eq!(browser.post(NEW, &fields).await.status, 303);
    let page = browser.post(NEW, &fields).await;
    assert_eq!(page.status, 400);
    page.says("try again in");
    page.says("value=\"ci\"");
}

#[actix_web::test]
async fn the_set_up_without_a_secret_reads_it_from_the_environment_and_lists_the_models() {
    let ollama = FakeOllama::start();
    let gateway = TestGateway::start(&ollama.url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut browser = Browser::of_user(&gateway, "ann").await;

    let page = browser.get("/me/setup").await;
    page.says("Authorization: Bearer $LGW_TOKEN");
    page.says("<li class=\"mono\">llama3.2:latest</li>");
    page.says("/v1</span>");

    let id = gateway.id_of(&admin, "ann@example.org").await;
    let changed = gateway
        .send(
            "PATCH",
            &format!("/api/v1/users/{id}"),
            Some(&admin),
            json!({ "models": ["user/other:1b"] }).to_string().into(),
        )
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let page = browser.get("/me/setup").await;
    page.says("&#34;model&#34;: &#34;user/other:1b&#34;");
    assert!(!page.has("llama3.2:latest"), "only what this person may use");
}

#[actix_web::test]
async fn an_admin_makes_one_that_acts_for_the_people_of_a_tool() {
    let mut stage = stage().await;
    assert!(!stage.browser.get(NEW).await.has("Whose requests"), "a member can't");
    let mut admin = Browser::of_admin(&stage.gateway).await;
    admin.get(NEW).await.says("It acts for the people who are signed in to a tool, such as Open WebUI");
    let fields = |networks| {
        [("name", "Open WebUI"), ("scopes", "chat"), ("delegating", "yes"), ("networks", networks), ("ends", "30")]
    };

    let by_a_member = stage.browser.post(NEW, &fields("127.0.0.1")).await;
    by_a_member.says("token may act for other people");
    let refused = admin.post(NEW, &fields("")).await;
    assert_eq!(refused.status, 400);
    refused.says("the addresses of the tool that it is for");
    refused.says("value=\"yes\" checked");
    let made = admin.post(NEW, &fields("127.0.0.1")).await;

    assert_eq!(made.status, 303, "{}", made.text);
    let id = id_of(&made);
    let page = admin.get(&format!("/me/tokens/{id}/created")).await;
    page.says("ENABLE_FORWARD_USER_INFO_HEADERS=true");
    assert!(!page.has("<span>PowerShell</span>"), "other clients name nobody");
    for path in [format!("/me/tokens/{id}"), format!("/admin/tokens/{id}")] {
        let emptied = admin.post(&path, &[("name", "Open WebUI"), ("networks", "")]).await;
        assert_eq!(emptied.status, 400, "{path}");
        emptied.says("the addresses of the tool that it is for");
    }
    let badge = "<span class=\"badge now\">delegating</span>";
    for path in
        ["/me/tokens".to_owned(), format!("/me/tokens/{id}"), "/admin/tokens".into(), format!("/admin/tokens/{id}")]
    {
        admin.get(&path).await.says(badge);
    }
}
