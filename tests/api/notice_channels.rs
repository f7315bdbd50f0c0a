//! Channels for notices: what can be set, and what is shown of it.

use serde_json::{Value, json};

use crate::notices::{QUICK, add, mail, webhook};
use crate::support::gateway::{Answer, TestGateway};
use crate::support::mail_sink::{MailSink, Misbehaviour, SinkTls};
use crate::support::webhook_sink::WebhookSink;

pub const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATH: &str = "/api/v1/notice-channels";
pub const NOWHERE: &str = "http://127.0.0.1:1";

pub async fn change(gateway: &TestGateway, admin: &str, id: &str, edit: Value) -> Answer {
    gateway.send("PATCH", &format!("{PATH}/{id}"), Some(admin), edit.to_string().into_bytes()).await
}

/// Tries a channel. Returns why it failed; empty when it did not.
pub async fn test(gateway: &TestGateway, admin: &str, id: &str) -> String {
    let tested = gateway.post(&format!("{PATH}/{id}/test"), Some(admin), json!({})).await;
    assert_eq!(tested.status, 200, "{}", tested.text());
    let tested = tested.json();
    assert_eq!(tested["delivered"], tested["failure"].is_null(), "{tested}");
    tested["failure"].as_str().unwrap_or_default().to_owned()
}

fn acts(gateway: &TestGateway) -> String {
    gateway.text_of(
        "SELECT coalesce(group_concat(act, ' '), '') FROM (SELECT act FROM record WHERE act LIKE 'notice%' ORDER BY log_id)",
    )
}

#[actix_web::test]
async fn a_channel_is_added_changed_tested_and_removed_and_each_is_an_act() {
    let gateway = TestGateway::start_with(NOWHERE, &QUICK);
    let admin = gateway.admin().await;
    let (hook, mails) = (WebhookSink::start(), MailSink::start(SinkTls::None));
    let mut wish = webhook(&hook);
    wish["secret"] = json!(KEY);
    wish["notices"] = json!(["disk_low", "upstream_away", "disk_low"]);
    wish["on"] = json!(false);

    let made = gateway.post(PATH, Some(&admin), wish.clone()).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let twice = gateway.post(PATH, Some(&admin), wish).await;
    let mail_id = add(&gateway, &admin, mail(&mails)).await;
    let shown = gateway.get(PATH, Some(&admin)).await.json();

    assert_eq!((twice.status, &twice.json()["error"]["param"]), (400, &json!("name")));
    let shown = shown["items"].as_array().unwrap();
    assert_eq!((made.status, &made.json()), (201, &shown[0]));
    assert_eq!(shown[0]["place"], hook.url(""));
    assert_eq!(shown[0]["notices"], json!(["disk_low", "upstream_away"]));
    assert_eq!(
        (&shown[0]["has_secret"], &shown[0]["on"], &shown[0]["secret_lost"]),
        (&json!(true), &json!(false), &json!(false))
    );
    assert_eq!((&shown[1]["tls"], &shown[1]["from"]), (&json!("none"), &json!("gateway@example.org")));
    assert_eq!(test(&gateway, &admin, &id).await, "", "also while it is off");
    assert_eq!(test(&gateway, &admin, &mail_id).await, "");
    assert_eq!(hook.until("test").await.json()["subject"], "hook");
    assert!(mails.until("test").await.body().contains("Nothing needs to be done"));
    let renamed = change(&gateway, &admin, &id, json!({ "name": "ops", "on": true, "secret": null })).await.json();
    assert_eq!(
        (&renamed["name"], &renamed["has_secret"], &renamed["on"]),
        (&json!("ops"), &json!(false), &json!(true))
    );
    let detail = gateway.detail_of("notice_channel_changed");
    assert_eq!(
        (&detail["old"]["name"], &detail["new"]["name"], &detail["new_secret"]),
        (&json!("hook"), &json!("ops"), &json!(true))
    );
    assert_eq!(change(&gateway, &admin, &id, json!({})).await.status, 200);
    assert_eq!(gateway.send("DELETE", &format!("{PATH}/{id}"), Some(&admin), vec![]).await.status, 204);
    assert_eq!(change(&gateway, &admin, &id, json!({ "on": true })).await.status, 404);
    assert_eq!(gateway.get(PATH, Some(&admin)).await.json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        acts(&gateway),
        "notice_channel_added notice_channel_added notice_channel_tested notice_channel_tested notice_channel_changed \
         notice_channel_removed"
    );
}

#[actix_web::test]
async fn there_are_no_more_channels_than_are_allowed() {
    let gateway = TestGateway::start_with(NOWHERE, &[("NOTICES__CHANNELS_MAX", "2")]);
    let admin = gateway.admin().await;
    let wish = |name: &str| json!({ "name": name, "kind": "webhook", "url": "http://192.0.2.7/" });

    for name in ["one", "two"] {
        add(&gateway, &admin, wish(name)).await;
    }
    let third = gateway.post(PATH, Some(&admin), wish("three")).await;

    assert_eq!(third.status, 409, "{}", third.text());
    assert!(third.text().contains("notices.channels_max"), "{}", third.text());
}

#[actix_web::test]
async fn each_wrong_field_is_a_400_that_names_it_and_repeats_no_secret() {
    let gateway = TestGateway::start(NOWHERE);
    let admin = gateway.admin().await;
    let good = json!({ "name": "m", "kind": "mail", "host": "mail.example.org", "from": "a@example.org", "to": ["b@example.org"] });

    for (field, value) in [
        ("name", json!("")),
        ("name", json!(7)),
        ("kind", json!("pager")),
        ("notices", json!(["gossip"])),
        ("notices", json!([])),
        ("on", json!("yes")),
        ("host", json!("a b")),
        ("port", json!(0)),
        ("port", json!(65_536)),
        ("port", json!(-1)),
        ("tls", json!("ssl")),
        ("username", json!("only a name")),
        ("password", json!("canary-only-a-password")),
        ("from", json!("nobody")),
        ("to", json!([])),
        ("to", json!(["x@example.org\r\nBcc: y@example.org"])),
        ("to", json!(["\"x y\"@example.org"])),
        ("url", json!("https://canary.example.org/")),
        ("secret", json!("canary")),
        ("colour", json!("red")),
    ] {
        let mut wish = good.clone();
        wish[field] = value.clone();
        let refused = gateway.post(PATH, Some(&admin), wish).await;
        assert_eq!(refused.status, 400, "{field} = {value}: {}", refused.text());
        let param = refused.json()["error"]["param"].as_str().unwrap_or_default().to_owned();
        // A password without a name lacks the name, and the other way round.
        let wanted = match field {
            "username" => "password",
            "password" => "username",
            other => other,
        };
        assert!(param.starts_with(wanted) || field == "colour", "{field} = {value}: {}", refused.text());
        assert!(!refused.text().contains("canary"), "{}", refused.text());
    }
    for url in ["ftp://canary.example.org/".to_owned(), format!("https://canary{}.example.org/", "a".repeat(400))] {
        let webhook = json!({ "name": "w", "kind": "webhook", "url": url });
        let refused = gateway.post(PATH, Some(&admin), webhook).await;
        assert!(refused.status == 400 && !refused.text().contains("canary"), "{}", refused.text());
    }
    assert_eq!(gateway.get(PATH, Some(&admin)).await.json()["items"], json!([]));
}

#[actix_web::test]
async fn a_database_without_its_key_says_which_secrets_must_be_set_again() {
    let mut gateway = TestGateway::start_with(NOWHERE, &QUICK);
    let admin = gateway.admin().await;
    let (hook, mails) = (WebhookSink::start(), MailSink::start(SinkTls::None));
    let id = add(&gateway, &admin, webhook(&hook)).await;
    let mail_id = add(&gateway, &admin, mail(&mails)).await;
    gateway.signal("TERM");
    gateway.wait(40).await;
    std::fs::remove_file(gateway.data_dir().join("secrets/master.key")).unwrap();

    gateway.restart();

    let admin = gateway.admin().await;
    let all = gateway.get(PATH, Some(&admin)).await.json();
    assert_eq!((&all["items"][0]["secret_lost"], &all["items"][1]["secret_lost"]), (&json!(true), &json!(false)));
    assert!(test(&gateway, &admin, &id).await.contains("must be set again"));
    assert_eq!(test(&gateway, &admin, &mail_id).await, "", "it has no secret");
    let (good, list) = gateway.command(&["notices", "list"], "");
    assert!(good && list.contains("its secret must be set again"), "{list}");
    assert_eq!(change(&gateway, &admin, &id, json!({ "url": hook.url("/new") })).await.json()["secret_lost"], false);
    assert_eq!(test(&gateway, &admin, &id).await, "");
}

#[actix_web::test]
async fn a_sealed_secret_does_not_open_in_another_row() {
    let mut gateway = TestGateway::start_with(NOWHERE, &QUICK);
    let admin = gateway.admin().await;
    let hooks = [WebhookSink::start(), WebhookSink::start()];
    for (name, hook) in ["one", "two"].iter().zip(&hooks) {
        let mut wish = webhook(hook);
        wish["name"] = json!(name);
        add(&gateway, &admin, wish).await;
    }
    gateway.signal("TERM");
    gateway.wait(40).await;
    gateway.on_the_file("UPDATE notice_channels SET url = (SELECT url FROM notice_channels WHERE name = 'two')");

    gateway.restart();

    let admin = gateway.admin().await;
    let all = gateway.get(PATH, Some(&admin)).await.json();
    assert_eq!((&all["items"][0]["secret_lost"], &all["items"][1]["secret_lost"]), (&json!(true), &json!(false)));
}

#[actix_web::test]
async fn the_command_line_sets_channels_up_and_takes_secrets_from_standard_input() {
    let mut gateway = TestGateway::start_with(NOWHERE, &QUICK);
    gateway.admin().await;
    let (hook, mails) = (WebhookSink::start(), MailSink::start(SinkTls::None));
    let port = mails.port().to_string();

    let url = format!("{}\n{KEY}\n", hook.url("/canary"));
    let (good, text) = gateway.command(&["notices", "add", "hook", "webhook", "--sign", "--notice", "disk_low"], &url);
    assert!(good && text.contains("hook: webhook to http://127.0.0.1") && !text.contains("canary"), "{text}");
    let words = [
        "notices",
        "add",
        "admins",
        "mail",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--tls",
        "none",
        "--from",
        "gateway@example.org",
        "--to",
        "ann@example.org",
    ];
    let (good, text) = gateway.command(&words, "");
    assert!(good, "{text}");
    let (good, text) = gateway.command(&["notices", "test", "hook"], "");
    assert!(good && text.contains("was delivered by hook"), "{text}");
    assert!(!hook.received()[0].header("webhook-signature").is_empty());
    mails.misbehaves(Some(Misbehaviour::Garbage));
    let (good, text) = gateway.command(&["notices", "test", "admins"], "");
    assert!(!good && text.contains("is no SMTP"), "{text}");
    let (good, text) = gateway.command(&["notices", "list"], "");
    assert!(good && text.contains("is no SMTP") && text.contains("admins"), "{text}");
    let (good, text) = gateway.command(&["notices", "change", "hock", "--off"], "");
    assert!(!good && text.contains("did you mean `hook`?"), "{text}");
    let (good, text) = gateway.command(&["notices", "change", "hook", "--off", "--no-secret", "--name", "ops"], "");
    assert!(good && text.contains("ops: webhook") && text.contains(", off"), "{text}");
    let (good, text) = gateway.command(&["notices", "add", "x", "webhook"], "");
    assert!(!good && text.contains("there is no secret on standard input"), "{text}");

    gateway.signal("TERM");
    gateway.wait(40).await;
    let settings = [("LGW_NOTICES__ALLOW_THIS_HOST", "true")];
    let (good, text) = gateway.command_with(&settings, &["notices", "test", "ops"], "");
    assert!(good, "also while no gateway runs: {text}");
    let (good, text) = gateway.command(&["notices", "remove", "ops"], "");
    assert!(good, "{text}");
    let (_, text) = gateway.command(&["notices", "list", "--json"], "");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().len(), 1, "{text}");
}
