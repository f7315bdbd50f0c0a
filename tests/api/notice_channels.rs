//! Channels for notices: what can be set, what is shown of it, and what becomes of receivers that misbehave.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::notices::{QUICK, add, mail, webhook};
use crate::support::gateway::{Answer, TestGateway};
use crate::support::mail_sink::{MailSink, Misbehaviour, SinkTls};
use crate::support::tls_front::{self, Certificate};
use crate::support::webhook_sink::{WebhookReply, WebhookSink};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATH: &str = "/api/v1/notice-channels";
const NOWHERE: &str = "http://127.0.0.1:1";

async fn change(gateway: &TestGateway, admin: &str, id: &str, edit: Value) -> Answer {
    gateway.send("PATCH", &format!("{PATH}/{id}"), Some(admin), edit.to_string().into_bytes()).await
}

/// Tries a channel. Returns why it failed; empty when it did not.
async fn test(gateway: &TestGateway, admin: &str, id: &str) -> String {
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
async fn requests_are_signed_as_standard_webhooks_has_it() {
    let gateway = TestGateway::start_with(NOWHERE, &QUICK);
    let admin = gateway.admin().await;
    let hook = WebhookSink::start();
    let mut wish = webhook(&hook);
    wish["secret"] = json!(KEY);
    let id = add(&gateway, &admin, wish).await;

    assert_eq!(test(&gateway, &admin, &id).await, "");

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD as BASE64;
    let got = &hook.received()[0];
    let (id, at) = (got.header("webhook-id"), got.header("webhook-timestamp"));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &BASE64.decode(&KEY[6..]).unwrap());
    let signed = ring::hmac::sign(&key, format!("{id}.{at}.{}", got.body).as_bytes());
    assert_eq!(got.header("webhook-signature"), format!("v1,{}", BASE64.encode(signed)));
    let age = jiff::Timestamp::now().as_second() - at.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "{at}");
    assert!(got.header("authorization").is_empty() && got.header("user-agent").starts_with("lan-gateway/"));
}

#[actix_web::test]
async fn a_webhook_that_misbehaves_is_told_in_words_and_never_followed() {
    let settings = [("NOTICES__SECONDS_MAX", "1"), ("NOTICES__CONNECT_SECONDS_MAX", "1")];
    let gateway = TestGateway::start_with(NOWHERE, &[&QUICK[..], &settings].concat());
    let admin = gateway.admin().await;
    let (hook, elsewhere) = (WebhookSink::start(), WebhookSink::start());
    let id = add(&gateway, &admin, webhook(&hook)).await;

    for (reply, words) in [
        (WebhookReply::Status(500), "it answered 500"),
        (WebhookReply::Status(404), "is the URL still right?"),
        (WebhookReply::Redirect(elsewhere.url("/x")), "leads elsewhere"),
        (WebhookReply::Hang, "did not answer within 1 s"),
        (WebhookReply::Garbage, "no HTTP"),
        (WebhookReply::Close, "closed the connection"),
        (WebhookReply::Endless, ""),
        (WebhookReply::Status(204), ""),
    ] {
        hook.next(reply.clone());
        let failure = test(&gateway, &admin, &id).await;
        assert!(failure.contains(words) && failure.is_empty() == words.is_empty(), "{reply:?}: {failure}");
    }
    assert_eq!(elsewhere.received().len(), 0);
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, words) in [
        (format!("http://{unused}/"), "no connection"),
        ("http://no-such-host.invalid/".to_owned(), "is not known"),
        (format!("https://localhost:{}/", hook.address.port()), "no connection"),
        (format!("https://localhost:{}/", tls_front::start(Certificate::Good, hook.address)), "is not trusted"),
    ] {
        assert_eq!(change(&gateway, &admin, &id, json!({ "url": url })).await.status, 200);
        let failure = test(&gateway, &admin, &id).await;
        assert!(failure.contains(words), "{url}: {failure}");
    }
}

#[actix_web::test]
async fn a_webhook_whose_certificate_is_trusted_is_reached_by_its_name() {
    let trusted = format!("SSL_CERT_FILE={}", Certificate::Good.file().display());
    let gateway = TestGateway::start_under(&["env", &trusted], NOWHERE, &QUICK);
    let admin = gateway.admin().await;
    let hook = WebhookSink::start();
    let url = format!("https://localhost:{}/x", tls_front::start(Certificate::Good, hook.address));
    let id = add(&gateway, &admin, json!({ "name": "hook", "kind": "webhook", "url": url })).await;

    assert_eq!(test(&gateway, &admin, &id).await, "");
    assert_eq!(hook.received()[0].header("host"), url.split('/').nth(2).unwrap());
}

#[actix_web::test]
async fn nothing_on_this_host_is_reached_unless_the_operator_allows_it() {
    let gateway = TestGateway::start(NOWHERE);
    let admin = gateway.admin().await;
    let (hook, mails) = (WebhookSink::start(), MailSink::start(SinkTls::None));
    let port = hook.address.port();
    let id = add(&gateway, &admin, webhook(&hook)).await;
    let mail_id = add(&gateway, &admin, mail(&mails)).await;

    for host in ["127.0.0.1", "localhost", "127.1", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"] {
        let changed = change(&gateway, &admin, &id, json!({ "url": format!("http://{host}:{port}/x") })).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        let failure = test(&gateway, &admin, &id).await;
        assert!(failure.contains("notices.allow_this_host") || failure.contains("is not known"), "{host}: {failure}");
    }
    for host in ["0.0.0.0", "[::]", "169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"] {
        change(&gateway, &admin, &id, json!({ "url": format!("http://{host}:{port}/x") })).await;
        let failure = test(&gateway, &admin, &id).await;
        assert!(failure.contains("never go to"), "{host}: {failure}");
    }
    assert!(test(&gateway, &admin, &mail_id).await.contains("notices.allow_this_host"));
    assert_eq!((hook.received().len(), mails.connections()), (0, 0));
}

#[actix_web::test]
async fn a_mail_server_that_misbehaves_is_told_in_words() {
    let settings = [("NOTICES__SECONDS_MAX", "1"), ("NOTICES__CONNECT_SECONDS_MAX", "1")];
    let gateway = TestGateway::start_with(NOWHERE, &[&QUICK[..], &settings].concat());
    let admin = gateway.admin().await;
    let mails = MailSink::start(SinkTls::None);
    let id = add(&gateway, &admin, mail(&mails)).await;

    for (how, words) in [
        (Misbehaviour::Garbage, "is no SMTP"),
        (Misbehaviour::EndlessLine, "said too much"),
        (Misbehaviour::Hang, "within 1 s; it did not greet"),
        (Misbehaviour::Close, "did not greet"),
        (Misbehaviour::Busy, "it refused the connection"),
        (Misbehaviour::RefuseReceivers, "it refused an address"),
        (Misbehaviour::CloseAfterMail, "may have arrived"),
    ] {
        mails.misbehaves(Some(how));
        let failure = test(&gateway, &admin, &id).await;
        assert!(failure.contains(words), "{how:?}: {failure}");
    }
    mails.misbehaves(None);
    let plain = json!({ "tls": "starttls" });
    assert_eq!(change(&gateway, &admin, &id, plain).await.status, 200);
    assert!(test(&gateway, &admin, &id).await.contains("offers no STARTTLS"));
    let count = mails.mails().len();
    change(&gateway, &admin, &id, json!({ "tls": "implicit" })).await;
    let failure = test(&gateway, &admin, &id).await;
    assert!(failure.contains("does not speak TLS") || failure.contains("TLS"), "{failure}");
    assert_eq!(mails.mails().len(), count, "nothing was sent without TLS");
}

#[actix_web::test]
async fn mail_is_sent_over_tls_with_a_password_to_a_server_that_is_trusted_alone() {
    let trusted = format!("SSL_CERT_FILE={}", Certificate::Good.file().display());
    let gateway = TestGateway::start_under(&["env", &trusted], NOWHERE, &QUICK);
    let admin = gateway.admin().await;
    for (number, tls, sink, is_trusted) in [
        (1, "starttls", SinkTls::Starttls(Certificate::Good), true),
        (2, "implicit", SinkTls::Implicit(Certificate::Good), true),
        (3, "starttls", SinkTls::Starttls(Certificate::Expired), false),
        (4, "implicit", SinkTls::Implicit(Certificate::Expired), false),
    ] {
        let mails = MailSink::start(sink);
        mails.wants("correct horse");
        let id = add(
            &gateway,
            &admin,
            json!({ "name": format!("mail {number}"), "kind": "mail", "host": "localhost", "port": mails.port(), "tls": tls,
                "username": "gateway", "password": "correct horse", "from": "gateway@example.org", "to": ["ann@example.org"] }),
        )
        .await;

        let failure = test(&gateway, &admin, &id).await;

        if !is_trusted {
            assert!(failure.contains("certificate"), "{failure}");
            assert_eq!(mails.mails().len(), 0);
            continue;
        }
        assert_eq!(failure, "");
        let mail = &mails.mails()[0];
        assert_eq!((mail.login.clone(), mail.was_encrypted), (Some(("gateway".into(), "correct horse".into())), true));
        assert_eq!(change(&gateway, &admin, &id, json!({ "password": "hunter2 of mail" })).await.status, 200);
        let failure = test(&gateway, &admin, &id).await;
        assert!(failure.contains("did not accept the user name or the password"), "{failure}");
        assert!(failure.contains("(secret)") && !failure.contains("hunter2"), "{failure}");
        assert_eq!(mails.mails().len(), 1);
    }
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
    let webhook = json!({ "name": "w", "kind": "webhook", "url": "ftp://canary.example.org/" });
    let refused = gateway.post(PATH, Some(&admin), webhook).await;
    assert!(refused.status == 400 && !refused.text().contains("canary"), "{}", refused.text());
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
