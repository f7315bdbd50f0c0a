//! How tokens and times are named on the command line.

use serde_json::{Value, json};

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{Answer, TestGateway, hello};

fn run(gateway: &TestGateway, words: &str) -> (bool, String) {
    gateway.command(&words.split(' ').collect::<Vec<_>>(), "")
}

#[track_caller]
fn good(gateway: &TestGateway, words: &str) -> String {
    let (good, text) = run(gateway, words);
    assert!(good, "{words}: {text}");
    text
}

async fn token(gateway: &TestGateway, owner: &str, name: &str) -> Value {
    let made: Answer = gateway.post("/api/v1/tokens", Some(owner), json!({ "name": name })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

#[actix_web::test]
async fn a_token_is_named_by_its_name_its_owner_and_name_or_its_beginning_in_every_command() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    let n8n = token(&gateway, &ann, "n8n").await;
    let prefix = n8n["prefix"].as_str().unwrap().to_owned();
    let asked = gateway.post("/v1/chat/completions", n8n["token"].as_str(), hello()).await;
    let id = asked.header("x-request-id").unwrap().to_owned();

    for named in ["n8n", "ann@example.org/n8n", "Ann@Example.org/n8n", &prefix, n8n["token"].as_str().unwrap()] {
        for (words, says) in [
            (format!("token limit {named} 7"), "requests_per_minute 7"),
            (format!("token quota {named} tokens_per_day 9"), "tokens_per_day 9"),
            (format!("token class {named} batch"), "class batch"),
            (format!("token networks {named} 127.0.0.1"), "networks 127.0.0.1/32"),
            (format!("token networks {named} --any"), "class batch"),
            (format!("token rename {named} n8n"), "n8n of ann@example.org"),
            (format!("record list --token {named}"), &id),
            (format!("usage --token {named} --by token"), "n8n (ann@example.org)"),
            (format!("export --token {named} --from today --format jsonl"), &id),
        ] {
            let text = good(&gateway, &words);
            assert!(text.contains(says), "{words}: {text}");
        }
    }

    token(&gateway, &bob, "n8n").await;
    for words in ["token revoke n8n", "record list --token n8n", "usage --token n8n", "export --token n8n"] {
        let (good, text) = run(&gateway, words);
        assert!(!good && text.contains("2 tokens are named `n8n`"), "{words}: {text}");
        assert!(
            text.contains(&format!("`ann@example.org/n8n` ({prefix})")) && text.contains("`bob@example.org/n8n`"),
            "{text}"
        );
    }
    assert!(good(&gateway, "token revoke bob@example.org/n8n").contains("n8n of bob@example.org) is revoked"));
    // What was revoked doesn't stand in the way.
    assert!(good(&gateway, "token rotate n8n --grace-seconds 0").contains(&prefix));
    for (typed, says) in
        [("n9n", "did you mean `n8n`?"), ("ann@example.org/n88", "`ann@example.org/n8n`?"), ("zzz", "token list")]
    {
        let (good, text) = run(&gateway, &format!("token revoke {typed}"));
        assert!(!good && text.contains(&format!("there is no token `{typed}`")) && text.contains(says), "{text}");
    }
    gateway.signal("TERM");
    gateway.wait(10).await;
    assert!(good(&gateway, "token revoke n8n").contains("n8n of ann@example.org) is revoked"));
}

#[actix_web::test]
async fn a_day_is_that_of_the_gateway_s_zone_in_every_command_that_takes_a_time() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let asked = gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    let id = asked.header("x-request-id").unwrap().to_owned();
    gateway
        .post("/api/v1/register", None, json!({ "email": "eve@example.org", "password": "correct horse battery" }))
        .await;
    gateway.signal("TERM");
    gateway.wait(10).await;
    // 23:30 on the last of January in Berlin, and 22:30 in UTC.
    gateway.on_the_file("UPDATE record SET at_us = unixepoch('2026-01-31T22:30:00Z') * 1000000");
    gateway.on_the_file("UPDATE users SET created_at_us = unixepoch('2026-01-31T22:30:00Z') * 1000000");
    let in_zone = |zone: &str, words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        gateway.command_with(&[("LGW_TIMEZONE", zone)], &words, "")
    };

    for (zone, words, is_in) in [
        ("Europe/Berlin", "--from 2026-01-31 --to 2026-01-31", true),
        ("Europe/Berlin", "--from 2026-02-01", false),
        ("Europe/Berlin", "--to 2026-01-30", false),
        ("Asia/Tokyo", "--from 2026-02-01 --to 2026-02-01", true),
        ("Asia/Tokyo", "--to 2026-01-31", false),
        ("UTC", "--from 2026-01-31T22:30 --to 2026-01-31T22:31", true),
        ("UTC", "--to 2026-01-31T22:30", false),
        ("Europe/Berlin", "--from 2026-01-31T23:30", true),
        ("Europe/Berlin", "--from 2026-01-31T23:30:01", false),
        ("Asia/Tokyo", "--from 2026-01-31T23:30:00+01:00", true),
        ("UTC", "--from today", false),
        ("UTC", "--to yesterday", true),
        ("UTC", "--from 7d", false),
        ("UTC", "--to 1h", true),
    ] {
        for command in ["record list", "export --all --format jsonl"] {
            let (good, text) = in_zone(zone, &format!("{command} {words}"));
            assert!(good && text.contains(&id) == is_in, "{zone} {command} {words}: {text}");
        }
    }
    let (good, text) = in_zone("UTC", "usage --from 2026-01-31 --to 2026-01-31");
    assert!(good, "{text}");
    for command in ["record list", "usage", "export", "user turn-down", "token list"] {
        let option = if command == "token list" { "--expiring-before" } else { "--from" };
        let (good, text) = in_zone("UTC", &format!("{command} {option} 31.01.2026"));
        let says =
            ["invalid value '31.01.2026'", "2026-01-31, today, yesterday", "2026-01-31T12:00:00Z", "30m, 12h, 7d"];
        assert!(!good && says.iter().all(|says| text.contains(says)), "{command}: {text}");
        let (good, text) = in_zone("UTC", &format!("{command} --help"));
        assert!(good && text.contains("2026-01-31, today, yesterday"), "{command}: {text}");
    }
    let (_, none) = in_zone("Asia/Tokyo", "user turn-down --to 2026-01-31");
    assert!(none.contains("0 registrations"), "{none}");
    let (_, one) = in_zone("Europe/Berlin", "user turn-down --from 2026-01-31 --to 2026-01-31");
    assert!(one.contains("1 registration turned down"), "{one}");
}
