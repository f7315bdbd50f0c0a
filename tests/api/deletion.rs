//! Deletion: only after a complete export, and then for good.

use serde_json::{Value, json};

use crate::search::searchable;
use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, hello, hello_stream};

pub fn receipt(export: &str) -> String {
    let last = export.lines().last().unwrap();
    last.split('"')
        .nth(1)
        .unwrap()
        .strip_prefix("receipt:")
        .unwrap_or_else(|| panic!("no receipt in {last}"))
        .to_owned()
}

fn holds(folder: &std::path::Path, text: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && memchr::memmem::find(&std::fs::read(&path).unwrap(), text.as_bytes()).is_some() {
            found.push(path);
        }
    }
    found
}

#[actix_web::test]
async fn contents_are_gone_from_every_file_after_a_complete_export_and_not_before() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let id = gateway.id_of(&admin, "ann").await;
    let path = format!("/api/v1/users/{id}");
    let delete = async |receipt: &str| {
        gateway.send("DELETE", &path, Some(&admin), json!({ "receipt": receipt }).to_string().into_bytes()).await
    };
    let ask = async |secret: &str| {
        fake.next(Script::of(vec![text(&format!("the answer about {secret}")), done("stop")]));
        let mut body = hello();
        body["messages"][0]["content"] = json!(format!("tell me about {secret}"));
        let answer = gateway.post("/v1/chat/completions", Some(&ann), body).await;
        assert_eq!(answer.status, 200);
        answer.header("x-request-id").unwrap().to_owned()
    };
    let secrets = ["0081547114", "xylophones-in-winter", "zithers-in-spring"];
    ask(secrets[0]).await;
    let request_id = ask("xylophones-in-winter").await;

    let refused = delete("nonsense").await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (409, &json!("conflict")));
    let old = receipt(&gateway.export(&admin, "ann", "csv").await);
    ask("zithers-in-spring").await;
    assert_eq!(delete(&old).await.status, 409, "the record has grown");
    let others = receipt(&gateway.export(&admin, "admin", "csv").await);
    assert_eq!(delete(&others).await.status, 409, "somebody else's receipt");
    let good = receipt(&gateway.export(&admin, "ann", "csv").await);
    assert!(!holds(gateway.data_dir(), "xylophones-in-winter").is_empty());
    searchable(&gateway, &admin).await;
    let found = async |text: &str| {
        let page = gateway.get(&format!("/api/v1/audit?text={text}"), Some(&admin)).await.json();
        page["items"].as_array().unwrap_or_else(|| panic!("{page}")).len()
    };
    assert_eq!(found("xylophones").await, 1);

    assert_eq!(delete(&good).await.status, 202);

    assert_eq!(gateway.get("/api/v1/me", Some(&ann)).await.status, 401);
    let is_erased = async || {
        gateway.get("/api/v1/audit", Some(&admin)).await.text().contains("contents_erased")
            && secrets.iter().all(|text| holds(gateway.data_dir(), text).is_empty())
    };
    until("the contents are erased", is_erased).await;
    assert_eq!(delete(&good).await.status, 404);
    for word in ["0081547114", "xylophones", "winter", "zithers"] {
        assert_eq!(found(word).await, 0, "{word}");
        let files = holds(gateway.data_dir(), word);
        assert!(files.is_empty(), "the index still holds {word}: {files:?}");
    }
    // What was asked is gone; that something was asked stays.
    let story = gateway.get(&format!("/api/v1/audit/{request_id}"), Some(&admin)).await.json();
    assert_eq!((&story["request"], &story["outcome"]), (&json!(""), &json!("completed")));
    // The address is free again, for a new account.
    let again = gateway.user(&admin, "ann").await;
    assert_eq!(gateway.get("/api/v1/me", Some(&again)).await.status, 200);
    assert_ne!(gateway.id_of(&admin, "ann").await, id);
}

#[actix_web::test]
async fn whoever_is_deleted_is_drained_first_and_what_they_leave_must_be_exported_too() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let path = format!("/api/v1/users/{}", gateway.id_of(&admin, "ann").await);
    let delete = async |receipt: &str| {
        gateway.send("DELETE", &path, Some(&admin), json!({ "receipt": receipt }).to_string().into_bytes()).await
    };
    fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let mut running =
        gateway.open("POST", "/v1/chat/completions", Some(&ann), hello_stream().to_string().into_bytes()).await;
    let early = receipt(&gateway.export(&admin, "ann", "csv").await);

    assert_eq!(delete("nonsense").await.status, 409);
    assert!(gateway.get("/api/v1/me", Some(&ann)).await.status == 200, "a wrong receipt shuts nobody out");
    assert_eq!(delete(&early).await.status, 409, "the end of the answer is in no export yet");

    let told = String::from_utf8(running.body().await.unwrap().to_vec()).unwrap();
    assert!(told.contains("Hello") && told.contains("invalid_api_key") && !told.contains("[DONE]"), "{told}");
    let late = gateway.export(&admin, "ann", "csv").await;
    assert!(late.contains("account_disabled"), "{late}");
    assert_eq!(delete(&receipt(&late)).await.status, 202);
}

#[actix_web::test]
async fn an_account_that_was_disabled_can_be_exported_and_deleted_at_once() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let path = format!("/api/v1/users/{}", gateway.id_of(&admin, "ann").await);
    fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    // It is never read, so it is recorded without its reader.
    let _running =
        gateway.open("POST", "/v1/chat/completions", Some(&ann), hello_stream().to_string().into_bytes()).await;

    let disabled = gateway.post(&format!("{path}/disable"), Some(&admin), json!({})).await;
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    let code = receipt(&gateway.export(&admin, "ann", "csv").await);
    let deleted =
        gateway.send("DELETE", &path, Some(&admin), json!({ "receipt": code }).to_string().into_bytes()).await;

    assert_eq!(deleted.status, 202, "{}", deleted.text());
}

#[actix_web::test]
async fn the_last_admin_is_never_deleted() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let code = receipt(&gateway.export(&admin, "admin", "csv").await);
    let path = format!("/api/v1/users/{}", gateway.id_of(&admin, "admin").await);

    let refused =
        gateway.send("DELETE", &path, Some(&admin), json!({ "receipt": code }).to_string().into_bytes()).await;

    assert_eq!(refused.status, 409, "{}", refused.text());
}

#[actix_web::test]
async fn a_download_that_was_cut_off_has_no_receipt() {
    use futures_util::StreamExt;
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__PROMPT_BYTES_MAX", "16777216")]);
    let admin = gateway.admin().await;
    let mut body = hello();
    body["messages"][0]["content"] = json!("x".repeat(4 << 20));
    for _ in 0..5 {
        assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), body.clone()).await.status, 200);
    }
    let id = gateway.id_of(&admin, "admin").await;
    let made = gateway.post("/api/v1/exports", Some(&admin), json!({ "user_id": id })).await.json();

    let mut cut = gateway.open("GET", made["url"].as_str().unwrap(), Some(&admin), Vec::new()).await;
    cut.next().await.unwrap().unwrap();
    drop(cut);

    let acts = gateway.get("/api/v1/audit", Some(&admin)).await.text();
    assert!(acts.contains("export_created") && !acts.contains("export_finished"), "{acts}");
}

#[actix_web::test]
async fn a_look_at_somebodys_contents_leaves_a_row() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let answer = gateway.post("/v1/chat/completions", Some(&ann), hello()).await;

    let story =
        gateway.get(&format!("/api/v1/audit/{}", answer.header("x-request-id").unwrap()), Some(&admin)).await.json();

    let asked: Value = serde_json::from_str(story["request"].as_str().unwrap()).unwrap();
    assert_eq!((&asked["messages"][0]["content"], &story["answer"]), (&json!("hi"), &json!("Hello world!")));
    assert_eq!((&story["user"], &story["outcome"]), (&json!("ann@example.org"), &json!("completed")));
    let page = gateway.get("/api/v1/audit", Some(&admin)).await.json();
    let view = page["items"].as_array().unwrap().iter().find(|item| item["act"] == "contents_viewed").unwrap().clone();
    assert_eq!((&view["user"], &view["subject"]), (&json!("admin"), &json!("ann@example.org")));
    for unknown in ["nonsense", "01a20b5a-82ed-7234-b18b-5accc5bc9ce2"] {
        assert_eq!(gateway.get(&format!("/api/v1/audit/{unknown}"), Some(&admin)).await.status, 404);
    }
}

#[actix_web::test]
async fn everybody_sees_and_exports_their_own_record_and_no_other() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;

    let own = gateway.get("/api/v1/me/record", Some(&ann)).await.json();
    let others = gateway.get("/api/v1/me/record", Some(&bob)).await.text();
    let file = gateway.get("/api/v1/me/export?format=csv", Some(&ann)).await.text();

    assert!(own["items"].as_array().unwrap().iter().any(|item| item["api"] == "/v1/chat/completions"));
    assert!(!others.contains("/v1/chat/completions"), "{others}");
    assert!(file.contains("Hello world!"));
    let path = format!("/api/v1/users/{}", gateway.id_of(&admin, "ann").await);
    let body = json!({ "receipt": receipt(&file) }).to_string().into_bytes();
    let refused = gateway.send("DELETE", &path, Some(&admin), body).await;
    assert_eq!(refused.status, 409, "one's own receipt opens nothing: {}", refused.text());
}
