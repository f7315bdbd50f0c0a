//! Search in prompts and answers: what is found, how far it sees, and what it leaves behind.

use serde_json::{Value, json};

use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, done, text};
use crate::support::gateway::{TestGateway, hello};

async fn ask(fake: &FakeOllama, gateway: &TestGateway, bearer: &str, prompt: &str, answer: &str) {
    fake.next(Script::of(vec![text(answer), done("stop")]));
    let mut body = hello();
    body["messages"][0]["content"] = json!(prompt);
    let answered = gateway.post("/v1/chat/completions", Some(bearer), body).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
}

async fn search(gateway: &TestGateway, admin: &str, query: &str) -> Value {
    let page = gateway.get(&format!("/api/v1/audit?{query}"), Some(admin)).await;
    assert_eq!(page.status, 200, "{query}: {}", page.text());
    page.json()
}

/// Waits until the search index has the newest request.
pub async fn searchable(gateway: &TestGateway, admin: &str) {
    let newest = gateway.get("/api/v1/audit?kind=request&limit=1", Some(admin)).await.json();
    let newest = newest["items"][0]["log_id"].as_i64().unwrap_or(0);
    // The result comes after the intent whose number is shown.
    let is_seen = async || search(gateway, admin, "text=x").await["searched_to"]["log_id"].as_i64().unwrap() > newest;
    until("the search index has the newest row", is_seen).await;
}

#[actix_web::test]
async fn prompts_and_answers_are_found_by_their_words() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "100")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    ask(&fake, &gateway, &ann, "Wie groß ist die Brücke?", "Der Träger misst 40 m.").await;
    ask(&fake, &gateway, &ann, "deploy the pump controller", "done: pump deployed").await;
    ask(&fake, &gateway, &admin, "controller of the pump", "it pumps").await;
    let id = gateway.id_of(&admin, "ann").await;
    searchable(&gateway, &admin).await;

    for (query, expected) in [
        ("text=brucke", 1),
        ("text=TR%C3%84GER", 1),
        ("text=pump+controller", 2),
        ("text=%22pump+controller%22", 1),
        ("text=deploy", 1),
        ("text=pump*&limit=500", 2),
        ("text=bridge", 0),
        ("text=user", 0),
        ("text=pump&outcome=failed", 0),
        ("text=pump&outcome=completed&model=fake&api=/v1/chat/completions&kind=request", 2),
        (&format!("text=pump&user_id={id}"), 1),
        ("text=pump&from=2999-01-01T00:00:00Z", 0),
    ] {
        let page = search(&gateway, &admin, query).await;
        assert_eq!(page["items"].as_array().unwrap().len(), expected, "{query}: {page}");
    }
    let first = search(&gateway, &admin, "text=pump&limit=1").await;
    let second = search(&gateway, &admin, &format!("text=pump&limit=1&cursor={}", first["next"])).await;
    assert_eq!((&first["items"][0]["user"], &second["items"][0]["user"]), (&json!("admin"), &json!("ann@example.org")));
    assert_eq!(second["next"], Value::Null);
}

#[actix_web::test]
async fn whatever_is_searched_for_is_words_or_refused() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;

    for (text, expected) in [
        ("%22", 400),
        ("", 400),
        ("*", 400),
        ("%00", 400),
        ("a%00b", 200),
        ("%22open", 200),
        ("said:x+OR+marks:0", 200),
        ("NEAR(a+b,+2)", 200),
        ("a+AND+(", 200),
        ("%E0%A4%BE", 200),
        ("%F0%9F%92%A9+x", 200),
        ("%5Ea", 200),
        ("%FF%FE", 400),
        (&"x".repeat(400), 200),
        (&"x".repeat(401), 400),
        (&"x+".repeat(200), 200),
    ] {
        let page = gateway.get(&format!("/api/v1/audit?text={text}"), Some(&admin)).await;
        assert_eq!(page.status, expected, "{text}: {}", page.text());
    }
}

#[actix_web::test]
async fn a_search_leaves_a_row_without_what_was_searched_for() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    ask(&fake, &gateway, &ann, "about zithers", "yes").await;
    let id = gateway.id_of(&admin, "ann").await;
    searchable(&gateway, &admin).await;

    search(&gateway, &admin, &format!("text=zithers&user_id={id}")).await;

    let acts = search(&gateway, &admin, "kind=act&limit=1").await;
    assert_eq!(
        json!([acts["items"][0]["act"], acts["items"][0]["user"], acts["items"][0]["subject"]]),
        json!(["contents_searched", "admin", "ann@example.org"])
    );
    assert!(acts["searched_to"].is_null());
    assert_eq!(gateway.get("/api/v1/audit?text=zithers", Some(&ann)).await.status, 403);
}

#[actix_web::test]
async fn the_index_goes_on_where_it_was_after_a_crash() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    ask(&fake, &gateway, &admin, "first zither", "yes").await;
    searchable(&gateway, &admin).await;
    ask(&fake, &gateway, &admin, "second zither", "yes").await;

    gateway.kill();
    gateway.restart();

    let admin = gateway.admin().await;
    searchable(&gateway, &admin).await;
    let page = search(&gateway, &admin, "text=zither").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2, "{page}");
}

#[actix_web::test]
async fn a_hit_shows_the_text_around_what_was_found_in_marked_pieces() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "100")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    ask(&fake, &gateway, &ann, "where is the <b>zither</b>?", "In the attic.").await;
    ask(&fake, &gateway, &ann, &"zither ".repeat(100_000), "too long for a snippet").await;
    searchable(&gateway, &admin).await;

    let page = search(&gateway, &admin, "text=zither").await;
    let own = gateway.get("/api/v1/me/record?text=attic", Some(&ann)).await.json();
    let without = search(&gateway, &admin, "kind=request").await;

    assert_eq!(page["items"].as_array().unwrap().len(), 2, "{page}");
    assert!(page["items"][0].get("snippet").is_none(), "{page}");
    let pieces = json!([
        { "text": "where is the <b>", "hit": false },
        { "text": "zither", "hit": true },
        { "text": "</b>?  In the attic.", "hit": false }
    ]);
    assert_eq!(page["items"][1]["snippet"], pieces);
    assert_eq!(own["items"][0]["snippet"][1], json!({ "text": "attic", "hit": true }), "{own}");
    assert!(without["items"].as_array().unwrap().iter().all(|item| item.get("snippet").is_none()));
    let at = page["searched_to"]["at"].as_str().unwrap();
    assert!(at.ends_with('Z') && at.len() >= 20, "{at}");
}
