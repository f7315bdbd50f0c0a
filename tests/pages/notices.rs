//! The tab Notices of the settings: channels are added, changed, tested and removed, and secrets are never shown.

use crate::people::forget_proof;
use crate::support::browser::{Browser, Page};
use crate::support::gateway::{ADMIN_PASSWORD, TestGateway};
use crate::support::mail_sink::{MailSink, Misbehaviour, SinkTls};
use crate::support::webhook_sink::WebhookSink;

const LIST: &str = "/admin/settings/notices";
const NEW: &str = "/admin/settings/notices/new";
const KINDS: [(&str, &str); 2] = [("notices", "disk_low"), ("notices", "approval_waits")];

fn start() -> TestGateway {
    TestGateway::start_with("http://127.0.0.1:1", &[("NOTICES__ALLOW_THIS_HOST", "true")])
}

/// The id of the only channel on a page.
fn id_of(page: &Page) -> String {
    page.between("id=\"channel-", "\"").to_owned()
}

#[actix_web::test]
async fn a_webhook_is_added_after_the_password_and_its_url_is_never_shown() {
    let mut gateway = start();
    gateway.admin().await;
    let browser = Browser::of_admin(&gateway).await;
    let mut browser = forget_proof(&mut gateway, &browser);
    let hook = WebhookSink::start();
    browser.get(LIST).await.says("No notices are sent yet.");
    browser.get("/admin/settings/notices/new?kind=webhook").await.says("Your own password");
    let url = hook.url("/canary-path");
    let fields = [&[("kind", "webhook"), ("name", "<ops>"), ("url", &url), ("on", "yes")][..], &KINDS].concat();

    let page = browser.post(NEW, &fields).await;
    assert_eq!(page.status, 400, "not without the password");
    page.says("Your own password is needed, too.");
    assert!(page.has("&lt;ops&gt;") || page.has("&#60;ops&#62;"), "{}", page.text);
    assert!(!page.has("canary"), "a secret is never filled in");
    let page = browser.post(NEW, &[&fields[..], &[("password_again", "wrong")]].concat()).await;
    page.says("href=\"#password_again\"");
    let page = browser.submit(NEW, &[&fields[..], &[("password_again", ADMIN_PASSWORD)]].concat()).await;

    page.says("was added. Test it.");
    page.says("webhook to http://127.0.0.1");
    page.says("Tells of people who wait for approval; a data disk that is nearly full.");
    page.says("Nothing was sent by it yet.");
    assert!(!page.has("canary") && !page.has("<ops>"), "{}", page.text);
    let id = id_of(&page);
    let page = browser.submit(&format!("{LIST}/{id}/test"), &[]).await;
    page.says("The test was delivered by");
    page.says("Last delivered today at");
    assert_eq!(hook.received().len(), 1);
    let page = browser.get(&format!("{LIST}/{id}")).await;
    page.says("Empty: it stays as it is.");
    assert!(!page.has("canary") && !page.has("Your own password"), "it was given a moment ago");
    let rename = [&[("name", "ops"), ("url", "")][..], &KINDS[..1]].concat();
    let page = browser.submit(&format!("{LIST}/{id}"), &rename).await;
    page.says("ops was saved.");
    page.says("off");
    browser.get(&format!("{LIST}/{id}/remove")).await.says("Nobody is told by it any more");
    browser.submit(&format!("{LIST}/{id}/remove"), &[]).await.says("No notices are sent yet.");
}

#[actix_web::test]
async fn each_wrong_field_of_mail_is_named_and_what_was_typed_stays() {
    let gateway = start();
    gateway.admin().await;
    let mut browser = Browser::of_admin(&gateway).await;
    let mails = MailSink::start(SinkTls::None);
    let port = mails.port().to_string();
    let good = [
        ("kind", "mail"),
        ("name", "admins"),
        ("host", "127.0.0.1"),
        ("port", &port),
        ("tls", "none"),
        ("username", ""),
        ("password", ""),
        ("from", "gateway@example.org"),
        ("to", "ann@example.org\r\nben@example.org"),
        ("notices", "disk_low"),
        ("on", "yes"),
        ("password_again", ADMIN_PASSWORD),
    ];
    let with =
        |name: &'static str, value: &'static str| good.map(|field| if field.0 == name { (name, value) } else { field });

    for (name, value, at_fault) in [
        ("name", "", "name"),
        ("host", "a b", "host"),
        ("port", "none", "port"),
        ("port", "70000", "port"),
        ("port", "99999999999", "port"),
        ("tls", "ssl", "tls"),
        ("username", "gateway", "password"),
        ("password", "canary", "username"),
        ("from", "nobody", "from"),
        ("to", "", "to"),
        ("to", "nobody", "to"),
        ("notices", "gossip", "notices"),
    ] {
        // Once it was given, the password is not asked for again.
        let page = browser.post(NEW, &with(name, value)).await;
        assert_eq!(page.status, 400, "{name}={value}: {}", page.text);
        page.says(&format!("href=\"#{at_fault}\""));
        page.says("Problem: ");
        assert!(!page.has("canary"));
        browser.get(LIST).await;
    }
    let page = browser.submit(NEW, &good).await;
    page.says("mail to 127.0.0.1:");
    let id = id_of(&page);
    let test = format!("{LIST}/{id}/test");
    browser.submit(&test, &[]).await.says("The test was delivered by admins.");
    assert_eq!(mails.mails()[0].to, ["ann@example.org", "ben@example.org"]);
    mails.misbehaves(Some(Misbehaviour::Garbage));
    let page = browser.submit(&test, &[]).await;
    assert_eq!(page.status, 400);
    page.says("The test was not delivered by admins: What it said is no SMTP");
    page.says("Not delivered today at");
}

#[actix_web::test]
async fn when_notices_are_sent_is_set_on_the_same_tab() {
    let gateway = start();
    let admin = gateway.admin().await;
    let mut browser = Browser::of_admin(&gateway).await;

    let form =
        [("quiet_minutes", "0"), ("was_quiet_minutes", "15"), ("away_seconds", "60"), ("was_away_seconds", "60")];
    browser.submit(LIST, &form).await.says("Saved. Felt on the next request.");

    let items = gateway.get("/api/v1/settings", Some(&admin)).await.json()["items"].as_array().unwrap().clone();
    let quiet = items.iter().find(|item| item["name"] == "quiet_minutes").unwrap();
    assert_eq!(quiet["value"], 0);
}
