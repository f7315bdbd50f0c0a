//! Receivers of notices: what they get, where they may be, and what becomes of those that misbehave.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::notice_channels::{KEY, NOWHERE, change, test};
use crate::notices::{QUICK, add, mail, webhook};
use crate::support::gateway::TestGateway;
use crate::support::mail_sink::{MailSink, Misbehaviour, SinkTls};
use crate::support::tls_front::{self, Certificate};
use crate::support::webhook_sink::{WebhookReply, WebhookSink};

/// For receivers that do not answer. To others it would be unfair: a busy machine may take a second.
const IMPATIENT: [(&str, &str); 2] = [("NOTICES__SECONDS_MAX", "1"), ("NOTICES__CONNECT_SECONDS_MAX", "1")];

/// A gateway with one channel.
struct Sender {
    gateway: TestGateway,
    admin: String,
    id: String,
}

impl Sender {
    async fn new(settings: &[(&str, &str)], channel: Value) -> Sender {
        let gateway = TestGateway::start_with(NOWHERE, &[&QUICK[..], settings].concat());
        let admin = gateway.admin().await;
        let id = add(&gateway, &admin, channel).await;
        Sender { gateway, admin, id }
    }

    /// Sends a test by the channel. Returns why it failed.
    async fn test(&self) -> String {
        test(&self.gateway, &self.admin, &self.id).await
    }
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
    let (hook, elsewhere) = (WebhookSink::start(), WebhookSink::start());
    let sender = Sender::new(&[], webhook(&hook)).await;
    let impatient = Sender::new(&IMPATIENT, webhook(&hook)).await;

    for (reply, words) in [
        (WebhookReply::Status(500), "it answered 500"),
        (WebhookReply::Status(404), "is the URL still right?"),
        (WebhookReply::Redirect(elsewhere.url("/x")), "leads elsewhere"),
        (WebhookReply::Hang, "did not answer within 1 s"),
        (WebhookReply::Garbage, "no HTTP"),
        (WebhookReply::Close, "closed the connection"),
        (WebhookReply::SlowHead, "did not answer within 1 s"),
        (WebhookReply::EndlessHead, "no HTTP"),
        (WebhookReply::Endless, ""),
        (WebhookReply::Status(204), ""),
    ] {
        let waits = matches!(reply, WebhookReply::Hang | WebhookReply::SlowHead);
        hook.next(reply.clone());
        let failure = if waits { impatient.test().await } else { sender.test().await };
        assert!(failure.contains(words) && failure.is_empty() == words.is_empty(), "{reply:?}: {failure}");
    }
    assert_eq!(elsewhere.received().len(), 0);
    let Sender { gateway, admin, id } = sender;
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
    let mails = MailSink::start(SinkTls::None);
    let sender = Sender::new(&[], mail(&mails)).await;
    let impatient = Sender::new(&IMPATIENT, mail(&mails)).await;

    for (how, words) in [
        (Misbehaviour::Garbage, "is no SMTP"),
        (Misbehaviour::EndlessLine, "said too much"),
        (Misbehaviour::Hang, "within 1 s; it did not greet"),
        (Misbehaviour::Close, "did not greet"),
        (Misbehaviour::Busy, "it refused the connection"),
        (Misbehaviour::RefuseReceivers, "it refused the addresses"),
        (Misbehaviour::RefuseFirst, "it refused ann@example.org, and the others got it: "),
        (Misbehaviour::PutOff, "it refused the mail: "),
        (Misbehaviour::CloseAfterMail, "may have arrived"),
        (Misbehaviour::HangAtQuit, ""),
    ] {
        let waits = matches!(how, Misbehaviour::Hang | Misbehaviour::HangAtQuit);
        mails.misbehaves(Some(how));
        let failure = if waits { impatient.test().await } else { sender.test().await };
        assert!(failure.contains(words) && failure.is_empty() == words.is_empty(), "{how:?}: {failure}");
        assert!(how == Misbehaviour::CloseAfterMail || !failure.contains("may have arrived"), "{how:?}: {failure}");
    }
    mails.misbehaves(None);
    let Sender { gateway, admin, id } = sender;
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
        if tls == "starttls" {
            mails.misbehaves(Some(Misbehaviour::Injected));
            let failure = test(&gateway, &admin, &id).await;
            assert!(failure.contains("does not speak TLS"), "{failure}");
            mails.misbehaves(None);
        }
        let mail = &mails.mails()[0];
        assert_eq!((mail.login.clone(), mail.was_encrypted), (Some(("gateway".into(), "correct horse".into())), true));
        assert_eq!(change(&gateway, &admin, &id, json!({ "password": "hunter2 of mail" })).await.status, 200);
        let failure = test(&gateway, &admin, &id).await;
        assert!(failure.contains("did not accept the user name or the password"), "{failure}");
        assert!(failure.contains("(secret)") && !failure.contains("hunter2"), "{failure}");
        assert_eq!(mails.mails().len(), 1);
    }
}
