//! Who may see which page and send which form: the published table, and every route as every visitor.

use std::collections::BTreeSet;

use lan_gateway::http::pages::route::{Audience, PageRoute};
use lan_gateway::http::pages::routes;
use serde_json::json;

use crate::support::browser::{Browser, Page, form};
use crate::support::eventually::until;
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway, hello};

const MATRIX: &str = include_str!("matrix.txt");

/// An id that nothing has.
const NO_ID: &str = "0b7c9a52-3f0e-4a53-9a3e-6f1d3f8c2b11";

fn name_of(who: Audience) -> &'static str {
    match who {
        Audience::Anyone => "anyone",
        Audience::SignedIn => "signed-in",
        Audience::Member => "member",
        Audience::Admin => "admin",
    }
}

#[test]
fn the_published_table_is_what_is_served() {
    let served: BTreeSet<String> =
        routes::all().map(|route| format!("{} {} {}", route.method, route.path, name_of(route.who))).collect();
    let lines = MATRIX.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let stated: BTreeSet<String> = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();

    let (missing, stale): (Vec<_>, Vec<_>) =
        (served.difference(&stated).collect(), stated.difference(&served).collect());
    assert!(missing.is_empty() && stale.is_empty(), "without a line: {missing:#?}\nwithout a route: {stale:#?}");
}

/// Returns the path of a route with ids in it that nothing has.
fn path_of(route: &PageRoute) -> String {
    let steps = route.path.split('/').map(|step| if step.starts_with('{') { NO_ID } else { step });
    steps.collect::<Vec<_>>().join("/")
}

async fn ask(browser: &mut Browser, route: &PageRoute) -> Page {
    let path = path_of(route);
    if route.method == "POST" { browser.post(&path, &[]).await } else { browser.get(&path).await }
}

/// The visitors whose session opens less than a route wants.
struct Strangers {
    nobody: Browser,
    waiting: Browser,
    must_change: Browser,
    member: Browser,
}

impl Strangers {
    async fn of(gateway: &TestGateway, admin: &str) -> Strangers {
        gateway.user(admin, "ann").await;
        gateway.user(admin, "reset").await;
        let register = json!({ "email": "late@example.org", "password": PASSWORD });
        gateway.post("/api/v1/register", None, register).await;
        let id = gateway.id_of(admin, "reset@example.org").await;
        gateway.post(&format!("/api/v1/users/{id}/reset-password"), Some(admin), json!({})).await;
        let mut waiting = Browser::of_user(gateway, "late").await;
        waiting.open("/").await;
        let mut must_change = Browser::of(gateway, "reset@example.org", "admin123").await;
        must_change.open("/").await;
        Strangers {
            nobody: Browser::new(gateway),
            waiting,
            must_change,
            member: Browser::of_user(gateway, "ann").await,
        }
    }
}

#[actix_web::test]
async fn every_page_is_closed_to_whom_the_table_does_not_name() {
    let gateway =
        TestGateway::start_with(&FakeOllama::start().url(), &[("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "100000")]);
    let admin = gateway.admin().await;
    let mut strangers = Strangers::of(&gateway, &admin).await;
    let unknown = strangers.member.get("/admin/nope").await;
    assert_eq!(unknown.status, 404);

    for route in routes::all().filter(|route| route.who != Audience::Anyone) {
        let what = format!("{} {}", route.method, route.path);
        let is_live = route.path.starts_with("/live/");
        let page = ask(&mut strangers.nobody, route).await;
        if is_live {
            assert_eq!(page.status, 401, "{what} of nobody");
        } else {
            assert!(page.location().starts_with("/sign-in"), "{what} of nobody leads to {}", page.location());
        }
        if route.who == Audience::SignedIn {
            continue;
        }
        assert_eq!(ask(&mut strangers.waiting, route).await.location(), "/waiting", "{what} of one who waits");
        let page = ask(&mut strangers.must_change, route).await;
        assert_eq!(page.location(), "/password?must=1", "{what} of one who has to change the password");
        if route.who == Audience::Admin {
            let page = ask(&mut strangers.member, route).await;
            assert_eq!(page.status, 404, "{what} of a member");
            if route.method == "GET" {
                assert_eq!(page.text, unknown.text, "{what}: as an unknown page");
            }
        }
    }
}

#[actix_web::test]
async fn every_page_opens_to_whom_the_table_names() {
    let gateway =
        TestGateway::start_with(&FakeOllama::start().url(), &[("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "100000")]);
    gateway.admin().await;
    let mut admin = Browser::of_admin(&gateway).await;

    for route in routes::all().filter(|route| route.method == "GET") {
        let page = ask(&mut admin, route).await;
        let wanted: &[u16] = if route.path.contains('{') { &[404, 303] } else { &[200, 303, 304] };
        assert!(wanted.contains(&page.status), "{}: {} {}", route.path, page.status, page.text);
        let to_door = page.status == 303 && page.location().starts_with("/sign-in");
        assert!(!to_door, "{} leads to the door", route.path);
        for header in ["content-security-policy", "cross-origin-opener-policy", "permissions-policy"] {
            assert!(page.header(header).is_some(), "{} has no {header}", route.path);
        }
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{}", route.path);
        if !route.path.starts_with("/assets/") {
            assert_eq!(page.header("cache-control"), Some("no-store"), "{}", route.path);
        }
    }
}

#[actix_web::test]
async fn no_form_is_taken_from_elsewhere() {
    let gateway =
        TestGateway::start_with(&FakeOllama::start().url(), &[("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "100000")]);
    let token = gateway.admin().await;
    gateway.user(&token, "ann").await;
    let mut admin = Browser::of_admin(&gateway).await;
    let other = Browser::of_user(&gateway, "ann").await;
    let (own, foreign, origin) = (admin.form_token().to_owned(), other.form_token().to_owned(), gateway.url.clone());
    let acts = async || {
        let page = gateway.get("/api/v1/audit?kind=act&limit=500", Some(&token)).await.json();
        page["items"].as_array().unwrap().len()
    };
    let before = acts().await;

    for route in routes::all().filter(|route| route.method == "POST") {
        let path = path_of(route);
        let has_field = route.who != Audience::Anyone;
        for (headers, field, what) in [
            (vec![("origin", "http://evil.example")], own.as_str(), "a foreign origin"),
            (vec![], own.as_str(), "no origin"),
            (vec![], "", "neither origin nor field"),
            (vec![("origin", origin.as_str()), ("sec-fetch-site", "cross-site")], own.as_str(), "another site"),
            (vec![("origin", origin.as_str())], foreign.as_str(), "somebody else's field"),
            (vec![("origin", origin.as_str()), ("host", "evil.example")], own.as_str(), "a foreign name"),
        ] {
            if what == "somebody else's field" && !has_field {
                continue;
            }
            let page = admin.send("POST", &path, &headers, form(&[("csrf", field)])).await;
            assert!([403, 421].contains(&page.status), "{path} with {what}: {} {}", page.status, page.text);
        }
        if !routes::all().any(|other| other.path == route.path && other.method == "GET") {
            assert_eq!(admin.get(&path).await.status, 405, "GET {path}");
        }
    }

    assert_eq!(acts().await, before, "nothing was done");
    assert_eq!(admin.get("/").await.location(), "/admin", "still signed in");
    let refused = |row: &serde_json::Value| row["reason"] == "permission_denied" && row["user"] == "admin";
    until("the refusals are recorded", async || gateway.record(&token).await.iter().any(refused)).await;
}

#[actix_web::test]
async fn what_is_somebody_else_s_is_an_unknown_page() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.user(&admin, "bob").await;
    let made = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci" })).await.json();
    let token = made["id"].as_str().unwrap().to_owned();
    let answer = gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    let request = answer.header("x-request-id").unwrap().to_owned();
    let mut bob = Browser::of_user(&gateway, "bob").await;
    let unknown = bob.get("/me/nope").await;

    for route in routes::all().filter(|route| route.path.starts_with("/me/") && route.path.contains('{')) {
        for id in [NO_ID, &token, &request] {
            let steps = route.path.split('/').map(|step| if step.starts_with('{') { id } else { step });
            let path = steps.collect::<Vec<_>>().join("/");
            let page = if route.method == "POST" { bob.post(&path, &[]).await } else { bob.get(&path).await };
            assert_eq!((page.status, &page.text), (404, &unknown.text), "{} {path}", route.method);
        }
    }
}

#[actix_web::test]
async fn no_field_of_a_form_gives_a_person_more_than_they_have() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let id = gateway.id_of(&admin, "ann@example.org").await;
    let account = async || {
        let mut account = gateway.get(&format!("/api/v1/users/{id}"), Some(&admin)).await.json();
        // What she does is counted.
        account
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !["left", "open_tokens", "last_request_at"].contains(&name.as_str()));
        account
    };
    let before = account().await;
    let mut browser = Browser::of_user(&gateway, "ann").await;
    let more = [
        ("role", "admin"),
        ("is_admin", "true"),
        ("status", "active"),
        ("approved", "true"),
        ("id", "1"),
        ("user_id", NO_ID),
        ("requests_per_minute", "100000"),
        ("tokens_per_day", ""),
        ("weight", "100"),
        ("class", "interactive"),
        ("models", "fake"),
        ("note", "let me in"),
        ("name", "one more"),
        ("scopes", "models:manage"),
    ];

    for route in routes::all().filter(|route| route.method == "POST" && route.path.starts_with("/me")) {
        let page = browser.post(&path_of(route), &more).await;
        assert_ne!(page.status, 500, "{}: {}", route.path, page.text);
    }
    let in_the_address = browser.get("/me?role=admin&is_admin=true").await;

    assert_eq!(in_the_address.status, 200);
    assert_eq!(account().await, before);
    assert_eq!(browser.get("/admin").await.status, 404);
    let tokens = gateway.get("/api/v1/tokens", Some(&ann)).await.json();
    assert!(!tokens.to_string().contains("models:manage"), "{tokens}");
}
