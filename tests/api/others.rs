//! Other people's things, and other people's rights: neither is to be had by naming them.

use lan_gateway::dialect::DIALECTS;
use lan_gateway::http::{ROUTES, Who};
use serde_json::{Value, json};

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{Answer, PASSWORD, TestGateway, client, hello};

/// All that a client sees of an answer, but for what differs between any two.
fn seen(answer: Answer) -> (u16, Vec<(String, String)>, String) {
    let text = answer.text();
    // Whether the connection stays open depends on whether an unread body had arrived by then.
    let own = ["x-request-id", "date", "openai-processing-ms", "connection"];
    let mut headers: Vec<_> =
        answer.headers.iter().map(|(name, value)| (name.to_string(), format!("{value:?}"))).collect();
    headers.retain(|(name, _)| !own.contains(&name.as_str()));
    headers.sort();
    (answer.status, headers, text)
}

#[actix_web::test]
async fn what_is_somebody_elses_looks_as_if_it_did_not_exist() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    let other_admin = gateway.user(&admin, "carl").await;
    let carl = format!("/api/v1/users/{}", gateway.id_of(&admin, "carl").await);
    gateway.send("PATCH", &carl, Some(&admin), json!({ "role": "admin" }).to_string().into_bytes()).await;
    let token = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci" })).await.json()["id"].clone();
    let asked = gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    let ann_id = gateway.id_of(&admin, "ann").await;
    let export = gateway.post("/api/v1/exports", Some(&admin), json!({ "user_id": ann_id })).await.json()["id"].clone();
    let (nobody, nothing) = ("7d1f0c1e-52a5-4b0e-9c55-0d6c8a7b1f11", "01a20b5a-82ed-7234-b18b-5accc5bc9ce2");
    // For each parameter of a path: one that is Ann's (or the first admin's), and one of nobody.
    let pair = |path: &str| match path {
        _ if path.starts_with("/api/v1/tokens/") => (token.as_str().unwrap().to_owned(), "0123456789"),
        _ if path.starts_with("/api/v1/users/") => (ann_id.clone(), nobody),
        _ if path.starts_with("/api/v1/exports/") => (export.as_str().unwrap().to_owned(), nobody),
        _ => (asked.header("x-request-id").unwrap().to_owned(), nothing),
    };

    let mut compared = 0;
    for route in ROUTES.iter().filter(|route| route.path.contains("id}")) {
        let (anns, random) = pair(route.path);
        let ask = async |bearer: &str, id: &str| {
            let (before, after) = (route.path.find('{').unwrap(), route.path.find('}').unwrap() + 1);
            let path = format!("{}{id}{}", &route.path[..before], &route.path[after..]);
            seen(gateway.send(route.method, &path, Some(bearer), b"{}".to_vec()).await)
        };
        let (hers, none) = (ask(&bob, &anns).await, ask(&bob, random).await);
        assert_eq!(hers, none, "{} {}", route.method, route.path);
        assert_eq!(hers.0, if route.who == Who::Admin { 403 } else { 404 }, "{} {}", route.method, route.path);
        compared += 1;
        // What an admin may see of everybody is no secret among admins; an export is its maker's alone.
        if route.path.starts_with("/api/v1/exports/") {
            let (others, none) = (ask(&other_admin, &anns).await, ask(&other_admin, random).await);
            assert_eq!((others.0, &others), (404, &none));
        }
    }
    assert!(compared >= 12, "{compared}");
    for list in
        ["/api/v1/tokens?user_id=", "/api/v1/me/usage?user_id=", "/api/v1/usage?user_id=", "/api/v1/audit?user_id="]
    {
        let ask = async |id: &str| seen(gateway.get(&format!("{list}{id}"), Some(&bob)).await);
        let (hers, none) = (ask(&ann_id).await, ask(nobody).await);
        assert!(hers == none && [400, 403].contains(&hers.0), "{list}: {hers:?} {none:?}");
    }
}

/// The table of people and tokens, but for what everybody may change of their own.
fn rights(gateway: &TestGateway) -> Vec<String> {
    let people = "SELECT coalesce(group_concat(id || public_id || coalesce(username, '') || role || status || must_change || \
        coalesce(requests_per_minute, '-') || coalesce(models, '-') || coalesce(note, '-') || weight || class, x'0a'), '') FROM users";
    let tokens = "SELECT coalesce(group_concat(id || user_id || name || scopes || coalesce(models, '-') || \
        coalesce(requests_per_minute, '-') || coalesce(class, '-'), x'0a'), '') FROM tokens";
    [people, tokens].map(|sql| gateway.text_of(sql)).to_vec()
}

#[actix_web::test]
async fn nobody_raises_themselves_by_naming_what_only_an_admin_may_change() {
    let fake = FakeOllama::start();
    let generous = [
        ("LIMITS__REQUESTS_PER_MINUTE", "10000"),
        ("LIMITS__OWN_ACTS_PER_MINUTE", "10000"),
        ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "10000"),
        ("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "10000"),
    ];
    let gateway = TestGateway::start_with(&fake.url(), &generous);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let ann_id = gateway.id_of(&admin, "ann").await;
    let fields: [(&str, Value); 12] = [
        ("role", json!("admin")),
        ("is_admin", json!(true)),
        ("status", json!("active")),
        ("approved", json!(true)),
        ("approved_at_us", json!(1)),
        ("id", json!("1")),
        ("public_id", json!(ann_id)),
        ("must_change", json!(false)),
        ("requests_per_minute", json!(1_000_000)),
        ("models", json!(null)),
        ("weight", json!(100)),
        ("class", json!("interactive")),
    ];
    // Each with what it needs to be taken, so that the field more is all that could be wrong with it.
    let bodies: [(&str, Value); 4] = [
        ("/auth/token", json!({ "username": "ann@example.org", "password": PASSWORD })),
        (
            "/api/v1/password",
            json!({ "username": "ann@example.org", "current_password": PASSWORD, "new_password": PASSWORD }),
        ),
        ("/chat", hello()),
        ("/v1/chat/completions", hello()),
    ];
    let own: Vec<(&str, &str)> = ROUTES
        .iter()
        .filter(|route| route.who != Who::Admin && route.path != "/api/v1/register" && route.path != "/api/v1/tokens")
        .map(|route| (route.method, route.path))
        .chain(DIALECTS.iter().flat_map(|dialect| dialect.routes()).map(|route| (route.method, route.path)))
        .filter(|(_, path)| !path.contains('{'))
        .collect();
    let before = rights(&gateway);

    let mut sent = 0;
    for (field, value) in &fields {
        for (method, path) in &own {
            let mut body = bodies.iter().find(|(of, _)| of == path).map_or(json!({}), |(_, body)| body.clone());
            let text = body.to_string();
            let twice =
                format!("{},\"{field}\":{value},\"{field}\":{value}}}", &text[..text.len() - 1]).replace("{,", "{");
            body[field] = value.clone();
            let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let form = format!(
                "grant_type=password&username=ann%40example.org&password={}&{field}={plain}",
                PASSWORD.replace(' ', "+")
            );
            for (kind, query, body) in [
                ("application/json", String::new(), body.to_string()),
                ("application/json", String::new(), twice),
                ("application/x-www-form-urlencoded", String::new(), form),
                ("application/json", format!("?{field}={plain}"), text),
            ] {
                let request = client()
                    .request(method.parse().unwrap(), format!("{}{path}{query}", gateway.url))
                    .insert_header(("content-type", kind));
                let answer = request.bearer_auth(&ann).send_body(body).await.unwrap();
                assert!(answer.status().as_u16() < 500, "{method} {path} {field}: {}", answer.status());
                sent += 1;
            }
        }
    }
    assert!(sent > 500, "{sent}");
    assert_eq!(rights(&gateway), before);

    // What makes something new makes no more than it should.
    for (number, (field, value)) in fields.iter().enumerate() {
        let mut wish = json!({ "email": format!("eve-{number}@example.org"), "password": PASSWORD });
        wish[field] = value.clone();
        gateway.post("/api/v1/register", None, wish).await;
        let mut wish = json!({ "name": "ci" });
        wish[field] = value.clone();
        let made = gateway.post("/api/v1/tokens", Some(&ann), wish).await;
        let offered = ["requests_per_minute", "models", "class"].contains(field);
        assert_eq!(made.status, if offered { 201 } else { 400 }, "{field}: {}", made.text());
    }
    let people = gateway.get("/api/v1/users?search=eve", Some(&admin)).await.json();
    for person in people["items"].as_array().unwrap() {
        let ordinary = json!([person["role"], person["status"], person["requests_per_minute"], person["weight"]]);
        assert_eq!(ordinary, json!(["user", "pending", null, 1]), "{person}");
    }
    let me = gateway.get("/api/v1/me", Some(&ann)).await.json();
    assert_eq!(json!([me["role"], me["requests_per_minute"]]), json!(["user", null]));
    let tokens = gateway.get("/api/v1/tokens", Some(&ann)).await.text();
    assert!(!tokens.contains("manage"), "{tokens}");
}
