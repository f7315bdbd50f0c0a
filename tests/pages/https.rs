//! Pages over https, the gateway's own and a trusted proxy's: their cookies, their addresses and their forms.

use crate::support::authority::{Authority, Files};
use crate::support::browser::Browser;
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{ADMIN_PASSWORD, TestGateway};

const LOCK: &str = "This page came over plain HTTP";
const PLAIN: &str = "lgw_session";
const SECURE: &str = "__Host-lgw_session";

#[actix_web::test]
async fn a_session_over_https_has_a_cookie_that_plain_http_can_neither_set_nor_see() {
    let (fake, authority, folder) = (FakeOllama::start(), Authority::new(), tempfile::tempdir().unwrap());
    let Files { certificate, key } = authority.write(folder.path(), 1);
    let settings = [
        ("TLS__CERTIFICATE", certificate.to_str().unwrap()),
        ("TLS__KEY", key.to_str().unwrap()),
        ("TLS__LISTEN", "127.0.0.1:0"),
    ];
    let mut gateway = TestGateway::start_with(&fake.url(), &settings);
    gateway.admin().await;
    let plain = Browser::of_admin(&gateway).await;
    gateway.over_https(authority.trusted_by());
    let mut browser = Browser::new(&gateway);

    let entered = browser.sign_in("admin", ADMIN_PASSWORD).await;

    let cookie = entered.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-lgw_session="), "{cookie}");
    for part in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.split("; ").any(|own| own == part), "no {part} in {cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    browser.get("/me/setup").await.says(&format!("{}/v1", gateway.url));
    // What a page of plain HTTP planted is not read.
    let mut planted = Browser::new(&gateway);
    planted.set_cookie(PLAIN, plain.cookie(PLAIN).unwrap());
    assert_eq!(planted.get("/me").await.status, 303);
    // A form from the plain page of this host comes from another origin.
    let forged = [("origin", gateway.url.replace("https://", "http://"))];
    let forged = forged.each_ref().map(|(name, value)| (*name, value.as_str()));
    let token = browser.form_token().to_owned();
    let sent = browser.send("POST", "/sign-out", &forged, format!("csrf={token}")).await;
    assert_eq!(sent.status, 403);
    assert_eq!(browser.post("/sign-out", &[]).await.status, 303);
    assert_eq!(browser.cookie(SECURE), None, "the browser forgets it");
}

#[actix_web::test]
async fn behind_a_trusted_proxy_pages_are_as_the_browser_sees_them() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("TRUSTED_PROXIES", "[\"127.0.0.1/32\"]")]);
    gateway.admin().await;
    let mut browser = Browser::new(&gateway);
    browser.behind("https", &[("x-forwarded-for", "192.168.1.7"), ("x-forwarded-proto", "https")]);

    assert!(!browser.get("/sign-in").await.has(LOCK));
    let entered = browser.sign_in("admin", ADMIN_PASSWORD).await;

    assert!(entered.header("set-cookie").unwrap().contains("; Secure"));
    assert!(browser.cookie(SECURE).is_some());
    browser.get("/me/setup").await.says(&format!("{}/v1", gateway.url.replace("http://", "https://")));
    browser.get("/me/account").await.says("from 192.168.1.7");
    assert_eq!(browser.post("/me/account/look", &[("theme", "dark"), ("keys", "1")]).await.status, 303);
    let mut plain = Browser::new(&gateway);
    plain.behind("http", &[("x-forwarded-for", "192.168.1.7"), ("x-forwarded-proto", "http")]);
    plain.get("/sign-in").await.says(LOCK);
    assert_eq!(plain.sign_in("admin", ADMIN_PASSWORD).await.status, 303);
    assert!(plain.cookie(PLAIN).is_some() && plain.cookie(SECURE).is_none());
}

#[actix_web::test]
async fn on_this_host_itself_nobody_listens() {
    let gateway = TestGateway::start(&FakeOllama::start().url());

    assert!(!Browser::new(&gateway).get("/sign-in").await.has(LOCK));
}
