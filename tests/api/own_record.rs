//! A person's own record: filters, how prompts begin, and single requests in full.

use serde_json::{Value, json};

use crate::search::searchable;
use crate::support::fake_ollama::{FakeOllama, Script, done, text};
use crate::support::gateway::{TestGateway, hello};

async fn ask(fake: &FakeOllama, gateway: &TestGateway, bearer: &str, prompt: &str, answer: &str) -> String {
    fake.next(Script::of(vec![text(answer), done("stop")]));
    let mut body = hello();
    body["messages"][0]["content"] = json!(prompt);
    let answered = gateway.post("/v1/chat/completions", Some(bearer), body).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    answered.header("x-request-id").unwrap().to_owned()
}

fn acts(gateway: &TestGateway) -> String {
    gateway.text_of("SELECT CAST(count(*) AS TEXT) FROM record WHERE kind = 'act'")
}

async fn own(gateway: &TestGateway, bearer: &str, query: &str) -> Vec<Value> {
    let page = gateway.get(&format!("/api/v1/me/record?{query}"), Some(bearer)).await;
    assert_eq!(page.status, 200, "{query}: {}", page.text());
    page.json()["items"].as_array().unwrap().clone()
}

#[actix_web::test]
async fn an_own_request_is_shown_in_full_and_the_look_is_not_recorded() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let asked = ask(&fake, &gateway, &ann, "how deep is the lake?", "40 m").await;
    let of_admin = ask(&fake, &gateway, &admin, "secret", "yes").await;
    let before = acts(&gateway);

    let story = gateway.get(&format!("/api/v1/me/record/{asked}"), Some(&ann)).await;
    let foreign = gateway.get(&format!("/api/v1/me/record/{of_admin}"), Some(&ann)).await;
    let anns_to_the_admin = gateway.get(&format!("/api/v1/me/record/{asked}"), Some(&admin)).await;

    let told = story.json();
    assert_eq!(
        json!([told["request_id"], told["answer"], told["outcome"], told["user"]]),
        json!([asked, "40 m", "completed", "ann@example.org"])
    );
    assert!(told["request"].as_str().unwrap().contains("how deep is the lake?"), "{told}");
    assert_eq!(acts(&gateway), before);
    for unknown in ["01a20b5a-82ed-7234-b18b-5accc5bc9ce2", "nonsense", "%00"] {
        let none = gateway.get(&format!("/api/v1/me/record/{unknown}"), Some(&ann)).await;
        assert_eq!((none.status, none.text()), (404, foreign.text()), "{unknown}");
    }
    assert_eq!((foreign.status, anns_to_the_admin.status), (404, 404));
}

#[actix_web::test]
async fn the_own_list_shows_how_prompts_begin_and_the_admins_list_does_not() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    ask(&fake, &gateway, &ann, &format!("How\n\n  deep {}", "x".repeat(300)), "40 m").await;

    let mine = own(&gateway, &ann, "kind=request").await;
    let theirs = gateway.record(&admin).await;

    assert_eq!(mine[0]["prompt_start"], format!("How deep {}", "x".repeat(111)));
    assert_eq!((theirs[0]["user"].as_str(), theirs[0].get("prompt_start")), (Some("ann@example.org"), None));
    assert_eq!(theirs[0]["user_id"], gateway.id_of(&admin, "ann").await);
}

#[actix_web::test]
async fn the_own_record_is_filtered_and_searched_and_holds_nobody_elses_rows() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "100")]);
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    let token = async |bearer: &str| {
        let wish = json!({ "name": "nightly", "scopes": ["chat"] });
        gateway.post("/api/v1/tokens", Some(bearer), wish).await.json()
    };
    let (anns, bobs) = (token(&ann).await, token(&bob).await);
    ask(&fake, &gateway, &ann, "about zithers", "yes").await;
    ask(&fake, &gateway, anns["token"].as_str().unwrap(), "about lutes", "no").await;
    ask(&fake, &gateway, &bob, "about zithers, too", "yes").await;
    let wrong = json!({ "model": "nope", "messages": [{ "role": "user", "content": "x" }] });
    gateway.post("/v1/chat/completions", Some(&ann), wrong).await;
    searchable(&gateway, &admin).await;
    let before = acts(&gateway);

    for (query, expected) in [
        ("kind=request".to_owned(), 2),
        ("kind=refusal".into(), 1),
        ("kind=refusal&outcome=refused&model=nope&api=/v1/chat/completions".into(), 1),
        (format!("kind=request&token_id={}", anns["id"].as_str().unwrap()), 1),
        ("text=zithers".into(), 1),
        ("text=about".into(), 2),
        ("kind=request&from=2020-01-01T00:00:00Z".into(), 2),
        ("kind=request&to=2020-01-01T00:00:00Z".into(), 0),
    ] {
        let rows = own(&gateway, &ann, &query).await;
        assert_eq!(rows.len(), expected, "{query}: {rows:?}");
        assert!(rows.iter().all(|row| row["user"] == "ann@example.org"), "{query}: {rows:?}");
    }
    assert_eq!(acts(&gateway), before);
    let foreign =
        gateway.get(&format!("/api/v1/me/record?token_id={}", bobs["id"].as_str().unwrap()), Some(&ann)).await;
    let unknown = gateway.get("/api/v1/me/record?token_id=0123456789", Some(&ann)).await;
    assert_eq!((foreign.status, foreign.text()), (404, unknown.text()));
    for wrong in ["user_id=x", "kind=thing", "outcome=bad", "from=yesterday", "text="] {
        let answer = gateway.get(&format!("/api/v1/me/record?{wrong}"), Some(&ann)).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }
}
