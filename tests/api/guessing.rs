//! Guessing passwords, and what it does to those who know theirs.

use serde_json::json;

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway, client, client_from, hello};

/// One try at `username` from `source`, an address of 127.0.0.0/8.
async fn sign_in(gateway: &TestGateway, source: &str, username: &str, password: &str) -> u16 {
    let body = json!({ "username": username, "password": password }).to_string();
    client_from(source).post(format!("{}/auth/token", gateway.url)).send_body(body).await.unwrap().status().as_u16()
}

/// `count` wrong passwords, each from an address of its own: how many were compared, the others being turned away.
async fn guess(gateway: &TestGateway, username: &str, first: usize, count: usize) -> usize {
    let mut compared = 0;
    for number in first..first + count {
        let source = format!("127.7.{}.{}", number / 250, number % 250 + 1);
        match sign_in(gateway, &source, username, &format!("guess {number}")).await {
            401 => compared += 1,
            429 => {}
            other => panic!("{other}"),
        }
    }
    compared
}

#[actix_web::test]
async fn a_thousand_addresses_have_a_hundred_guesses_and_the_owner_still_comes_in() {
    let fake = FakeOllama::start();
    // The job sends the same request fifty times.
    let lifted = [("LIMITS__REQUESTS_PER_MINUTE", "1000"), ("BREAKER__REPEATS_FREE", "0")];
    let gateway = TestGateway::start_with(&fake.url(), &lifted);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let job = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci" })).await.json();
    let job = job["token"].as_str().unwrap();

    let (mut compared, mut owner, mut machine) = (0, 0, 0);
    for round in 0..50 {
        compared += guess(&gateway, "ann@example.org", round * 20, 20).await;
        owner += usize::from(sign_in(&gateway, "127.0.0.1", "ann@example.org", PASSWORD).await == 200);
        machine += usize::from(gateway.post("/v1/chat/completions", Some(job), hello()).await.status == 200);
    }

    assert_eq!((compared, owner, machine), (100, 50, 50));
    assert_eq!(
        guess(&gateway, "nobody@example.org", 0, 101).await,
        100,
        "a name without an account is guessed as long"
    );
}

#[actix_web::test]
async fn a_restart_forgets_neither_the_guesses_nor_the_owner() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    guess(&gateway, "ann@example.org", 0, 100).await;
    gateway.signal("TERM");
    gateway.wait(10).await;
    let (unlock, text) = gateway.command(&["user", "unlock", "nobody@example.org"], "");
    assert!(!unlock, "{text}");

    gateway.restart();

    assert_eq!(guess(&gateway, "ann@example.org", 200, 1).await, 0);
    assert_eq!(sign_in(&gateway, "127.0.0.1", "ann@example.org", PASSWORD).await, 200);
    gateway.signal("TERM");
    gateway.wait(10).await;
    assert!(gateway.command(&["user", "unlock", "ann@example.org"], "").0, "the host unlocks a gateway that stands");
    gateway.restart();
    assert_eq!(guess(&gateway, "ann@example.org", 300, 1).await, 1);
}

#[actix_web::test]
async fn guesses_through_chat_and_the_change_of_a_password_climb_the_same_ladder() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;
    let mut statuses = Vec::new();
    for number in 0..6 {
        let (username, guess) = ("ann@example.org", format!("guess {number}"));
        let mut chat = hello();
        chat["auth"] = json!({ "username": username, "password": guess });
        let change = json!({ "username": username, "current_password": guess, "new_password": "a long new password" });
        let (path, body) = if number % 2 == 0 { ("/chat", chat) } else { ("/api/v1/password", change) };
        statuses
            .push(client().post(format!("{}{path}", gateway.url)).send_json(&body).await.unwrap().status().as_u16());
    }

    assert_eq!(statuses[..3], [403, 401, 403]);
    assert!(statuses[3..].contains(&429), "{statuses:?}");
}
