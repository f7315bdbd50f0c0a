//! Who may do what: every line of `role_matrix.txt`, sent as every caller.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use lan_gateway::dialect::DIALECTS;
use lan_gateway::http::ROUTES;
use serde_json::{Value, json};

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{ADMIN_PASSWORD, PASSWORD, TestGateway, client_from, hello};

const MATRIX: &str = include_str!("role_matrix.txt");

struct Line {
    method: String,
    /// As in the table of routes.
    path: String,
    /// As it is sent.
    sent: String,
    body: String,
    /// One for each column; `None` where the line does not concern the caller.
    cells: Vec<Option<u16>>,
}

/// The columns, and the lines.
fn matrix() -> (Vec<String>, Vec<Line>) {
    let mut columns = Vec::new();
    let mut lines: Vec<Line> = Vec::new();
    for text in MATRIX.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(more) = text.strip_prefix("  ") {
            let line = lines.last_mut().expect("a route stands above");
            match more.split_once(' ') {
                Some(("as", path)) => line.sent = path.to_owned(),
                Some(("with", body)) => line.body = body.to_owned(),
                _ => panic!("neither `as PATH` nor `with JSON`: {text}"),
            }
            continue;
        }
        let mut words = text.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        if method == "METHOD" {
            columns = words.collect();
            continue;
        }
        let cells: Vec<_> = words.map(|cell| (cell != "-").then(|| cell.parse().expect(text))).collect();
        assert_eq!(cells.len(), columns.len(), "a cell for each column: {text}");
        lines.push(Line { sent: path.clone(), method, path, body: String::new(), cells });
    }
    (columns, lines)
}

#[test]
fn every_route_has_its_line_and_every_line_its_route() {
    let mut served: BTreeSet<(&str, &str)> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
    for dialect in DIALECTS {
        served.extend(dialect.routes().iter().map(|route| (route.method, route.path)));
    }

    let (_, lines) = matrix();
    let stated: BTreeSet<(&str, &str)> = lines.iter().map(|line| (line.method.as_str(), line.path.as_str())).collect();

    let (missing, stale) = (served.difference(&stated), stated.difference(&served));
    assert_eq!(stated, served, "without a line: {missing:?}; without a route: {stale:?}");
    for line in &lines {
        assert!(!line.sent.replace("{USER}", "").contains(":."), "{} needs `as PATH`", line.path);
        let names_nobody = !line.body.contains("{NAME}");
        assert!(names_nobody == line.cells.iter().all(Option::is_some), "cells are left out of {}", line.path);
    }
}

#[actix_web::test]
async fn every_caller_gets_what_the_matrix_says() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake).await;
    let (columns, lines) = matrix();
    assert_eq!(columns, stage.callers.iter().map(|caller| caller.column).collect::<Vec<_>>());

    let mut wrong = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let props = stage.props(number, line).await;
        for (place, (caller, cell)) in stage.callers.iter().zip(&line.cells).enumerate() {
            let Some(wanted) = cell else { continue };
            for &how in caller.ways() {
                // Each from an address of its own: the ladder for wrong passwords is not what is asked here.
                let source = format!("127.1.{number}.{}", place + 1);
                // Whoever may GET may HEAD, and nobody else.
                let methods = if line.method == "GET" { vec!["GET", "HEAD"] } else { vec![line.method.as_str()] };
                for method in methods {
                    let got = stage.send(method, line, &props, caller, how, &source).await;
                    if got != *wanted {
                        let column = caller.column;
                        wrong.push(format!("{method} {} as {column} ({how:?}): {got}, not {wanted}", line.path));
                    }
                }
            }
        }
    }

    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a delegating token gets follows from the tokens with one scope: without a person it lists models, with one it may use
/// them, whoever the person is, and everything else is closed.
#[actix_web::test]
async fn a_delegating_token_opens_models_alone() {
    let fake = FakeOllama::start();
    let stage = Stage::set(&fake).await;
    let (columns, lines) = matrix();
    let place = |column: &str| columns.iter().position(|other| other == column).unwrap();
    let (of_models, of_use) = (place("model"), [place("chat"), place("embed"), place("model")]);

    let mut wrong = Vec::new();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.cells.iter().all(Option::is_some)) {
        let props = stage.props(number, line).await;
        let own_api = line.path.starts_with("/api/v1/");
        let [for_nobody, for_use] =
            [vec![of_models], if own_api { vec![of_models] } else { of_use.to_vec() }].map(|places| {
                places.iter().map(|place| line.cells[*place].unwrap()).find(|cell| *cell != 403).unwrap_or(403)
            });
        for (place, caller) in stage.delegating.iter().enumerate() {
            let wanted = if caller.acts_for.is_some() { for_use } else { for_nobody };
            let source = format!("127.2.{number}.{}", place + 1);
            let got = stage.send(&line.method, line, &props, caller, Shown::Bearer, &source).await;
            if got != wanted {
                wrong.push(format!("{} {} as {}: {got}, not {wanted}", line.method, line.path, caller.column));
            }
        }
    }

    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
}

#[derive(Debug, Clone, Copy)]
enum Shown {
    Bearer,
    ApiKey,
    Nothing,
}

struct Caller {
    column: &'static str,
    username: String,
    password: &'static str,
    /// A JWT or a token.
    bearer: Option<String>,
    /// The person whom a delegating token names.
    acts_for: Option<&'static str>,
}

impl Caller {
    fn ways(&self) -> &'static [Shown] {
        match &self.bearer {
            None => &[Shown::Nothing],
            Some(token) if token.starts_with("lgw_") => &[Shown::Bearer, Shown::ApiKey],
            Some(_) => &[Shown::Bearer],
        }
    }
}

/// The gateway and everybody who calls it.
struct Stage {
    gateway: TestGateway,
    admin: String,
    user: String,
    callers: Vec<Caller>,
    /// One delegating token of an admin: for nobody, for a user, for an admin.
    delegating: [Caller; 3],
}

/// What stands for the words in capitals.
type Props = Vec<(&'static str, String)>;

impl Stage {
    async fn set(fake: &FakeOllama) -> Stage {
        let generous = [
            ("LIMITS__REQUESTS_PER_MINUTE", "10000"),
            ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "10000"),
            ("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "10000"),
            ("LIMITS__OWN_ACTS_PER_MINUTE", "10000"),
            ("ACCOUNTS__PENDING_PER_ADDRESS_MAX", "1000"),
        ];
        let mut gateway = TestGateway::start_with(&fake.url(), &generous);
        let admin = gateway.admin().await;
        let user = gateway.user(&admin, "user").await;
        let other = gateway.user(&admin, "other").await;
        for name in ["must", "shut", "boss"] {
            gateway.user(&admin, name).await;
        }
        let boss = format!("/api/v1/users/{}", gateway.id_of(&admin, "boss").await);
        let promoted =
            gateway.send("PATCH", &boss, Some(&admin), json!({ "role": "admin" }).to_string().into_bytes()).await;
        assert_eq!(promoted.status, 200);
        let pend = json!({ "email": "pend@example.org", "password": PASSWORD });
        assert_eq!(gateway.post("/api/v1/register", None, pend).await.status, 202);
        for (name, act) in [("must", "reset-password"), ("shut", "disable")] {
            let path = format!("/api/v1/users/{}/{act}", gateway.id_of(&admin, name).await);
            assert_eq!(gateway.post(&path, Some(&admin), json!({})).await.status, 200);
        }

        let caller = |column, password, bearer| Caller {
            column,
            username: if column == "admin" { column.into() } else { format!("{column}@example.org") },
            password,
            bearer,
            acts_for: None,
        };
        let mut callers = vec![caller("anon", PASSWORD, None)];
        for (name, password) in [("pend", PASSWORD), ("must", "admin123"), ("shut", PASSWORD)] {
            callers.push(caller(name, password, Some(forged(&gateway, &admin, name, 3600).await)));
        }
        callers.push(caller("user", PASSWORD, Some(user.clone())));
        callers.push(caller("other", PASSWORD, Some(other)));
        callers.push(caller("admin", ADMIN_PASSWORD, Some(admin.clone())));
        for (column, scope) in [
            ("chat", "chat"),
            ("embed", "embeddings"),
            ("model", "models"),
            ("usage", "usage"),
            ("manage", "models:manage"),
            ("meter", "metrics"),
        ] {
            let wish = json!({ "name": column, "scopes": [scope] });
            callers.push(caller(column, PASSWORD, Some(make_token(&gateway, &admin, wish).await.0)));
        }
        callers.push(caller("jwt-ex", PASSWORD, Some(forged(&gateway, &admin, "user", -1).await)));
        let (expired, _) = make_token(&gateway, &admin, json!({ "name": "expired" })).await;
        let (revoked, id) = make_token(&gateway, &admin, json!({ "name": "revoked" })).await;
        let gone = gateway.send("DELETE", &format!("/api/v1/tokens/{id}"), Some(&admin), Vec::new()).await;
        assert_eq!(gone.status, 204);
        callers.push(caller("tok-ex", PASSWORD, Some(expired)));
        callers.push(caller("tok-rv", PASSWORD, Some(revoked)));

        gateway.kill();
        gateway.on_the_file("UPDATE tokens SET expires_at_us = 1 WHERE name = 'expired'");
        gateway.restart();
        let wish = json!({
            "name": "tool",
            "scopes": ["chat", "embeddings", "models"],
            "delegating": true,
            "networks": ["127.0.0.0/8"],
        });
        let tool = make_token(&gateway, &gateway.admin().await, wish).await.0;
        let delegating = |column, acts_for| Caller { acts_for, ..caller(column, PASSWORD, Some(tool.clone())) };
        let delegating = [
            delegating("tool", None),
            delegating("for-user", Some("user@example.org")),
            delegating("for-admin", Some("boss@example.org")),
        ];
        Stage { gateway, admin, user, callers, delegating }
    }

    /// Makes what `line` speaks of.
    async fn props(&self, number: usize, line: &Line) -> Props {
        let (gateway, admin) = (&self.gateway, self.admin.as_str());
        let wants = |word: &str| line.sent.contains(word) || line.body.contains(word);
        let mut props = Props::new();
        let name = |kind: &str| format!("{kind}-{number}");
        if wants("{USER}") || wants("{RECEIPT}") {
            gateway.user(admin, &name("target")).await;
            props.push(("{USER}", gateway.id_of(admin, &name("target")).await));
        }
        if wants("{PENDING}") {
            let email = format!("{}@example.org", name("waiting"));
            let registered = json!({ "email": email, "password": PASSWORD });
            assert_eq!(gateway.post("/api/v1/register", None, registered).await.status, 202);
            props.push(("{PENDING}", gateway.id_of(admin, &email).await));
        }
        if wants("{DISABLED}") {
            gateway.user(admin, &name("closed")).await;
            let id = gateway.id_of(admin, &name("closed")).await;
            gateway.post(&format!("/api/v1/users/{id}/disable"), Some(admin), json!({})).await;
            props.push(("{DISABLED}", id));
        }
        if wants("{RECEIPT}") {
            let export = gateway.export(admin, &name("target"), "jsonl").await;
            let last: Value = serde_json::from_str(export.lines().last().unwrap()).unwrap();
            props.push(("{RECEIPT}", last["receipt"].as_str().unwrap().to_owned()));
        }
        if wants("{TOKEN}") {
            props.push(("{TOKEN}", make_token(gateway, &self.user, json!({ "name": "of user" })).await.1));
        }
        if wants("{REQUEST}") {
            let asked = gateway.post("/v1/chat/completions", Some(&self.user), hello()).await;
            props.push(("{REQUEST}", asked.header("x-request-id").unwrap().to_owned()));
        }
        if wants("{EXPORT}") {
            let user_id = gateway.id_of(admin, "user@example.org").await;
            let made = gateway.post("/api/v1/exports", Some(admin), json!({ "user_id": user_id })).await.json();
            props.push(("{EXPORT}", made["id"].as_str().unwrap().to_owned()));
        }
        props
    }

    async fn send(&self, method: &str, line: &Line, props: &Props, caller: &Caller, how: Shown, source: &str) -> u16 {
        let fresh = format!("{}@example.org", source.replace('.', "-"));
        let own = [("{NAME}", caller.username.clone()), ("{PASSWORD}", caller.password.into()), ("{FRESH}", fresh)];
        let fill = |text: &str| {
            let filled = props.iter().chain(&own).fold(text.to_owned(), |text, (word, with)| text.replace(word, with));
            assert!(!filled.contains("{") || filled.starts_with('{'), "a word is not known: {filled}");
            filled
        };
        let url = format!("{}{}", self.gateway.url, fill(&line.sent));
        let mut request = client_from(source)
            .request(method.parse().unwrap(), url)
            .insert_header(("content-type", "application/json"));
        if let Some(person) = caller.acts_for {
            request = request.insert_header(("x-openwebui-user-email", person));
        }
        if let Some(bearer) = caller.bearer.as_ref().filter(|_| !line.body.contains("{NAME}")) {
            request = match how {
                Shown::Bearer => request.bearer_auth(bearer),
                Shown::ApiKey => request.insert_header(("x-api-key", bearer.as_str())),
                Shown::Nothing => request,
            };
        }
        let answer = request.send_body(fill(&line.body)).await.unwrap();
        if answer.status() == 401 && !line.body.contains("{NAME}") {
            assert!(answer.headers().contains_key("www-authenticate"), "a 401 says how to come in: {}", line.path);
        }
        answer.status().as_u16()
    }
}

/// A token of whoever `jwt` belongs to, and its id.
async fn make_token(gateway: &TestGateway, jwt: &str, wish: Value) -> (String, String) {
    let made = gateway.post("/api/v1/tokens", Some(jwt), wish).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

/// A JWT that the gateway itself would not give `name` (or no longer), under its own key and for the account as it is now.
async fn forged(gateway: &TestGateway, admin: &str, name: &str, expires_in: i64) -> String {
    let public_id = gateway.id_of(admin, &format!("{name}@example.org")).await;
    let version = gateway.version_of(&public_id);
    let text = std::fs::read_to_string(gateway.data_dir().join("secrets/jwt.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let key = &file["keys"][0];
    let now = jiff::Timestamp::now().as_second();
    let header = json!({ "typ": "at+jwt", "alg": "HS256", "kid": key["kid"] });
    let claims = json!({ "iss": "lan-gateway", "aud": file["instance"], "sub": public_id, "ver": version, "jti": "j",
        "iat": now - 60, "nbf": now - 60, "exp": now + expires_in });
    let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let secret = BASE64.decode(key["secret"].as_str().unwrap()).unwrap();
    let signature = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret), message.as_bytes());
    format!("{message}.{}", BASE64.encode(signature))
}
