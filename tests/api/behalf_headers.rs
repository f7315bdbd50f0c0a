//! What headers can't do: name somebody for another credential, name two people, or say where a delegating token is used from.

use serde_json::{Value, json};

use crate::behalf::{HEADER, Stage, delegating, make, send};
use crate::support::browser::Browser;
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, client, hello};

const ANN: (&str, &str) = (HEADER, "ann@example.org");
const CHAT: &str = "/v1/chat/completions";

/// A chat with `/chat`, which has the credentials of a person in its body.
fn chat_of(name: &str) -> Value {
    let mut body = hello();
    body["auth"] = json!({ "username": format!("{name}@example.org"), "password": PASSWORD });
    body
}

/// Sends a POST with these headers and no others. Returns the status.
async fn post(stage: &Stage, path: &str, headers: &[(&str, &str)], body: Value) -> u16 {
    let mut request =
        client().post(format!("{}{path}", stage.gateway.url)).insert_header(("content-type", "application/json"));
    for header in headers {
        request = request.append_header(*header);
    }
    request.send_body(body.to_string()).await.unwrap().status().as_u16()
}

/// Returns whose the requests are that reached a model, the newest first, and by whose delegating token each came.
async fn asked(stage: &Stage) -> Vec<(Value, Value)> {
    let rows = stage.gateway.record(&stage.admin).await;
    let rows = rows.into_iter().filter(|row| row["outcome"] == "completed");
    rows.map(|row| (row["user"].clone(), row["via"].clone())).collect()
}

#[actix_web::test]
async fn the_header_changes_nothing_for_any_other_credential() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[("LIMITS__REQUESTS_PER_MINUTE", "100")]).await;
    let (gateway, admin) = (&stage.gateway, &stage.admin);
    let (plain, _) = make(gateway, &stage.ann, json!({ "name": "plain" })).await;
    let (of_admin, _) = make(gateway, admin, json!({ "name": "of admin", "networks": ["127.0.0.1"] })).await;
    let mut browser = Browser::of_user(gateway, "ann").await;

    for forged in ["bob@example.org", "nobody@example.org", "", "a@x, b@x"] {
        for bearer in [&stage.ann, &plain, &of_admin] {
            let answer = send(gateway, "POST", CHAT, bearer, &[(HEADER, forged)], hello()).await;
            assert_eq!(answer.status, 200, "{forged}: {}", answer.text());
        }
        assert_eq!(post(&stage, CHAT, &[("x-api-key", &plain), (HEADER, forged)], hello()).await, 200, "{forged}");
        assert_eq!(post(&stage, "/chat", &[(HEADER, forged)], chat_of("ann")).await, 200, "{forged}");
        // What is no credential of this route stays none.
        for none in [("authorization", "Basic YW5uOmFubg=="), ("cookie", &*cookie(&browser)), ("accept", "*/*")] {
            assert_eq!(post(&stage, CHAT, &[none, (HEADER, forged)], hello()).await, 401, "{forged}: {none:?}");
        }
    }
    let twice = [(HEADER, "bob@example.org"), (HEADER, "bob@example.org")];
    assert_eq!(send(gateway, "POST", CHAT, &stage.ann, &twice, hello()).await.status, 200);
    browser.behind("http", &[(HEADER, "bob@example.org")]);
    browser.get("/me").await.says("ann@example.org");
    let made = browser.post("/me/tokens/new", &[("name", "by page"), ("scopes", "chat"), ("ends", "30")]).await;
    assert_eq!(made.status, 303, "{}", made.text);

    let asked = asked(&stage).await;
    assert_eq!(asked.len(), 21);
    assert!(asked.iter().all(|(user, via)| user != "bob@example.org" && via.is_null()), "{asked:?}");
    let owners = gateway.get("/api/v1/tokens?all=true", Some(admin)).await.json();
    let by_page = owners["items"].as_array().unwrap().iter().find(|token| token["name"] == "by page").unwrap();
    assert_eq!(by_page["user"], "ann@example.org");
}

fn cookie(browser: &Browser) -> String {
    format!("lgw_session={}", browser.cookie("lgw_session").unwrap())
}

#[actix_web::test]
async fn beside_a_delegating_token_no_other_credential_counts() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[]).await;
    let mut bob = Browser::of_user(&stage.gateway, "bob").await;
    let bearer = format!("Bearer {}", stage.token);
    let token = ("authorization", &*bearer);

    assert_eq!(post(&stage, CHAT, &[token, ANN, ("cookie", &cookie(&bob))], hello()).await, 200);
    assert_eq!(post(&stage, "/chat", &[token, ANN], chat_of("bob")).await, 200);
    assert_eq!(post(&stage, CHAT, &[("x-api-key", &stage.token), ANN], hello()).await, 200);
    assert_eq!(post(&stage, CHAT, &[token, ("x-api-key", &stage.ann), ANN], hello()).await, 401, "two credentials");
    // Pages take a session alone, and are those of its person.
    let page = send(&stage.gateway, "GET", "/me", &stage.token, &[ANN], Value::Null).await;
    assert_eq!((page.status, page.header("location").map(|to| to.starts_with("/sign-in"))), (303, Some(true)));
    bob.send("GET", "/me", &[token, ANN], String::new()).await.says("bob@example.org");

    assert_eq!(asked(&stage).await, vec![("ann@example.org".into(), "admin".into()); 3]);
}

#[actix_web::test]
async fn no_other_header_names_somebody() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[]).await;

    for other in [
        "X_OpenWebUI_User_Email",
        "X-OpenWebUI_User-Email",
        "X-OpenWebUI-User-Id",
        "X-OpenWebUI-User-Name",
        "X-OpenWebUI-User-Jwt",
        "X-Forwarded-Email",
        "X-Forwarded-User",
        "Remote-User",
        "From",
    ] {
        let bob = (other, "bob@example.org");
        let refused = stage.chat(&[bob]).await;
        assert_eq!((refused.status, refused.text().contains("names none")), (403, true), "{other}");
        let answer = stage.chat(&[bob, ANN]).await;
        assert_eq!(answer.status, 200, "{other}: {}", answer.text());
    }
    assert!(asked(&stage).await.iter().all(|(user, _)| user == "ann@example.org"));
}

#[actix_web::test]
async fn a_header_that_can_be_read_in_two_ways_is_refused() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[]).await;
    let ann = "ann@example.org";
    let long = format!("{}@example.org", "a".repeat(255));

    for same in [
        [(HEADER, ann)],
        [("x-openwebui-user-email", " Ann@Example.ORG ")],
        [("X-OPENWEBUI-USER-EMAIL", "ａｎｎ@example.org")],
    ] {
        let answer = stage.chat(&same).await;
        assert_eq!(answer.status, 200, "{same:?}: {}", answer.text());
    }
    for bad in [
        vec![(HEADER, ann), (HEADER, ann)],
        vec![(HEADER, ann), ("x-openwebui-user-email", "bob@example.org")],
        vec![(HEADER, "ann@example.org,bob@example.org")],
        vec![(HEADER, "ann%40example.org")],
        vec![(HEADER, "=?utf-8?q?ann?=@example.org")],
        vec![(HEADER, "")],
        vec![(HEADER, "ann")],
        vec![(HEADER, "admin")],
        vec![(HEADER, &long)],
    ] {
        let refused = stage.chat(&bad).await;
        let told = (refused.status, refused.json()["error"]["param"].clone());
        assert_eq!(told, (400, json!(HEADER)), "{bad:?}: {}", refused.text());
    }
    let rows = stage.gateway.record(&stage.admin).await;
    assert!(rows.iter().filter(|row| row["outcome"] == "completed").all(|row| row["user"] == ann));
    assert_eq!(fake.chats().len(), 3);
}

#[actix_web::test]
async fn behind_a_trusted_proxy_a_token_is_for_the_networks_of_its_clients() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake, &[("TRUSTED_PROXIES", "[\"127.0.0.0/8\"]")]).await;
    let mut wish = delegating();
    wish["networks"] = json!(["192.168.1.7"]);
    let (token, _) = make(&stage.gateway, &stage.admin, wish.clone()).await;
    let through = async |headers: &[(&str, &str)]| {
        send(&stage.gateway, "POST", CHAT, &token, &[&[ANN], headers].concat(), hello()).await.status
    };
    let (tool, other) = (("x-forwarded-for", "192.168.1.7"), ("x-forwarded-for", "192.168.1.8"));

    assert_eq!(through(&[tool]).await, 200);
    assert_eq!(through(&[("x-forwarded-for", "192.168.1.8, 192.168.1.7")]).await, 200);
    for refused in [
        &[other][..],
        &[],
        // The words of a client, to which the proxy has added its address.
        &[("x-forwarded-for", "192.168.1.7, 192.168.1.8")],
        &[other, ("x-real-ip", "192.168.1.7")],
        &[other, ("x-client-ip", "192.168.1.7"), ("x-forwarded-host", "192.168.1.7")],
    ] {
        assert_eq!(through(refused).await, 403, "{refused:?}");
    }
    for unclear in [&[tool, other][..], &[other, tool], &[tool, ("forwarded", "for=192.168.1.7")]] {
        assert_eq!(through(unclear).await, 400, "{unclear:?}");
    }

    let direct = Stage::set(&fake, &[]).await;
    let (token, _) = make(&direct.gateway, &direct.admin, wish).await;
    let forged = send(&direct.gateway, "POST", CHAT, &token, &[ANN, tool], hello()).await;
    assert_eq!(forged.status, 403, "no proxy is trusted: {}", forged.text());
}
