//! Exports by filter: what they hold, what they open, and what they leave behind.

use serde_json::{Value, json};

use crate::support::eventually::eventually;
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{Answer, TestGateway, hello, hello_stream};

async fn create(gateway: &TestGateway, jwt: &str, asked: Value) -> Answer {
    gateway.post("/api/v1/exports", Some(jwt), asked).await
}

async fn export(gateway: &TestGateway, jwt: &str, asked: Value) -> String {
    let made = create(gateway, jwt, asked).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let file = gateway.get(made.json()["url"].as_str().unwrap(), Some(jwt)).await;
    assert_eq!(file.status, 200, "{}", file.text());
    file.text()
}

/// The lines of a JSON Lines export, and its receipt.
fn lines(file: &str) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let receipt = lines.pop().unwrap();
    assert!(receipt["receipt"].is_string(), "{receipt}");
    (lines, receipt)
}

async fn ask(fake: &FakeOllama, gateway: &TestGateway, bearer: &str, prompt: &str, answer: &str) {
    fake.next(Script::of(vec![text(answer), done("stop")]));
    let mut body = hello();
    body["messages"][0]["content"] = json!(prompt);
    assert_eq!(gateway.post("/v1/chat/completions", Some(bearer), body).await.status, 200);
}

#[actix_web::test]
async fn a_filter_finds_lines_of_everybody_and_each_names_its_person_and_token() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "100")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let made = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "nightly" })).await.json();
    ask(&fake, &gateway, &ann, "about pumps", "pumps pump").await;
    ask(&fake, &gateway, made["token"].as_str().unwrap(), "about zithers", "zithers sound").await;
    ask(&fake, &gateway, &admin, "about zithers too", "they do").await;
    fake.next(Script::of(vec![text("cut")]));
    gateway.post("/chat", Some(&ann), hello()).await;
    let id = gateway.id_of(&admin, "ann").await;
    let found = async |filter: Value| {
        let (lines, receipt) = lines(&export(&gateway, &admin, json!({ "filter": filter, "format": "jsonl" })).await);
        assert_eq!(receipt["lines"], lines.len(), "{filter}");
        let what = |line: &Value| json!([line["user"], line["token"]["name"], line["response"]]);
        lines.iter().map(what).collect::<Vec<_>>()
    };
    let pumps = json!(["ann@example.org", null, "pumps pump"]);
    let nightly = json!(["ann@example.org", "nightly", "zithers sound"]);
    let admins = json!(["admin", null, "they do"]);
    let cut = json!(["ann@example.org", null, "cut"]);

    for (filter, expected) in [
        (json!({ "kind": "request" }), vec![&pumps, &nightly, &admins, &cut]),
        (json!({ "user_id": id, "kind": "request" }), vec![&pumps, &nightly, &cut]),
        (json!({ "token_id": made["id"], "kind": "request" }), vec![&nightly]),
        (json!({ "outcome": "failed" }), vec![&cut]),
        (json!({ "api": "/chat" }), vec![&cut]),
        (json!({ "model": "fake", "outcome": "completed" }), vec![&pumps, &nightly, &admins]),
        (json!({ "model": "other" }), vec![]),
        (json!({ "from": "2999-01-01T00:00:00Z" }), vec![]),
        (json!({ "to": "2020-01-01T00:00:00Z" }), vec![]),
        // Written a moment ago, and found all the same.
        (json!({ "text": "zithers" }), vec![&nightly, &admins]),
        (json!({ "text": "zithers", "user_id": id }), vec![&nightly]),
    ] {
        assert_eq!(found(filter.clone()).await.iter().collect::<Vec<_>>(), expected, "{filter}");
    }
    let csv = export(&gateway, &admin, json!({ "filter": { "kind": "request" } })).await;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let users: Vec<&str> = rows.iter().map(|row| &row[5]).collect();
    assert_eq!(users, ["ann@example.org", "ann@example.org", "admin", "ann@example.org", ""]);
    assert!(rows[4][0].starts_with("receipt:"));
}

#[actix_web::test]
async fn what_a_filter_found_opens_no_deletion_even_if_it_is_the_whole() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    ask(&fake, &gateway, &ann, "hi", "hello").await;
    let id = gateway.id_of(&admin, "ann").await;
    let delete = async |receipt: &Value| {
        let body = json!({ "receipt": receipt }).to_string().into_bytes();
        gateway.send("DELETE", &format!("/api/v1/users/{id}"), Some(&admin), body).await
    };

    let (found, receipt) = lines(
        &export(&gateway, &admin, json!({ "filter": { "user_id": id, "kind": "request" }, "format": "jsonl" })).await,
    );
    assert_eq!(found.len(), 1);
    let refused = delete(&receipt["receipt"]).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (409, &json!("conflict")));

    let (_, receipt) = lines(&export(&gateway, &admin, json!({ "user_id": id, "format": "jsonl" })).await);
    assert_eq!(delete(&receipt["receipt"]).await.status, 202);
}

#[actix_web::test]
async fn words_that_are_searched_for_stand_in_no_file_and_are_forgotten_with_the_process() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    ask(&fake, &gateway, &admin, "hi", "hello").await;
    let asked = json!({ "filter": { "text": "xylophone", "model": "fake" }, "format": "jsonl" });
    let made = create(&gateway, &admin, asked).await.json();
    let url = made["url"].as_str().unwrap().to_owned();

    for _ in 0..2 {
        assert_eq!(gateway.get(&url, Some(&admin)).await.status, 200);
    }

    let acts = gateway.get("/api/v1/audit?kind=act", Some(&admin)).await;
    let finished = acts.json()["items"][0].clone();
    assert_eq!(
        json!([
            finished["act"],
            finished["detail"]["filter"],
            finished["detail"]["lines"],
            finished["detail"]["export"]
        ]),
        json!(["export_finished", { "model": "fake", "text": "(not kept)" }, 0, made["id"]])
    );
    assert!(!acts.text().contains("xylophone"));
    gateway.kill();
    for entry in std::fs::read_dir(gateway.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let held = path.is_file() && memchr::memmem::find(&std::fs::read(&path).unwrap(), b"xylophone").is_some();
        assert!(!held, "{path:?}");
    }
    gateway.restart();
    let gone = gateway.get(&url, Some(&gateway.admin().await)).await;
    assert_eq!((gone.status, &gone.json()["error"]["code"]), (409, &json!("conflict")));
}

#[actix_web::test]
async fn acts_stand_in_json_lines_with_what_was_and_what_is_and_never_in_a_csv() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let path = format!("/api/v1/users/{}", gateway.id_of(&admin, "ann").await);
    gateway.send("PATCH", &path, Some(&admin), json!({ "requests_per_minute": 7 }).to_string().into_bytes()).await;

    let (acts, _) = lines(&export(&gateway, &admin, json!({ "filter": { "kind": "act" }, "format": "jsonl" })).await);
    let csv = export(&gateway, &admin, json!({ "filter": {} })).await;

    let changed = acts.iter().find(|act| act["act"] == "user_changed").unwrap_or_else(|| panic!("{acts:?}"));
    let detail = &changed["detail"];
    assert_eq!(
        json!([changed["kind"], changed["user"], changed["subject"]]),
        json!(["act", "admin", "ann@example.org"])
    );
    assert_eq!(json!([detail["old"]["requests_per_minute"], detail["new"]["requests_per_minute"]]), json!([null, 7]));
    assert_eq!(csv.lines().count(), 2, "the head and the receipt: {csv}");
}

#[actix_web::test]
async fn an_export_is_for_its_maker_and_is_asked_for_in_one_way() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let id = gateway.id_of(&admin, "ann").await;

    for (asked, status) in [
        (json!({}), 400),
        (json!({ "user_id": id, "filter": {} }), 400),
        (json!({ "filter": { "nonsense": 1 } }), 400),
        (json!({ "filter": {}, "nonsense": 1 }), 400),
        (json!({ "filter": { "text": "*" } }), 400),
        (json!({ "filter": { "outcome": "great" } }), 400),
        // {"model":"…"} around it.
        (json!({ "filter": { "model": "x".repeat(4000 - 12) } }), 201),
        (json!({ "filter": { "model": "x".repeat(4000 - 11) } }), 400),
        (json!({ "filter": { "kind": "act" }, "format": "csv" }), 400),
        (json!({ "filter": {}, "format": "xml" }), 400),
        (json!({ "filter": { "user_id": "nobody" } }), 404),
        (json!({ "filter": { "token_id": "nothing" } }), 404),
        (json!({ "user_id": "nobody" }), 404),
    ] {
        let refused = create(&gateway, &admin, asked.clone()).await;
        assert_eq!(refused.status, status, "{asked}: {}", refused.text());
    }
    let made = create(&gateway, &admin, json!({ "filter": {} })).await.json();
    let path = format!("/api/v1/users/{id}");
    gateway.send("PATCH", &path, Some(&admin), json!({ "role": "admin" }).to_string().into_bytes()).await;
    assert_eq!(gateway.get(made["url"].as_str().unwrap(), Some(&ann)).await.status, 404, "another admin's");
}

#[actix_web::test]
async fn a_request_that_runs_is_in_an_export_without_an_end_and_one_after_its_begin_is_not() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("OLLAMA__SLOTS", "2")]);
    let admin = gateway.admin().await;
    ask(&fake, &gateway, &admin, "first", "ended").await;
    fake.next(Script::of(vec![text("begun"), Step::Wait, done("stop")]));
    let _running =
        gateway.open("POST", "/v1/chat/completions", Some(&admin), hello_stream().to_string().into_bytes()).await;

    for asked in [json!({ "filter": { "kind": "request" }, "format": "jsonl" }), {
        json!({ "user_id": gateway.id_of(&admin, "admin").await, "format": "jsonl" })
    }] {
        let (found, _) = lines(&export(&gateway, &admin, asked).await);
        let outcomes: Vec<&Value> = found.iter().map(|line| &line["outcome"]).collect();
        assert_eq!(outcomes, [&json!("completed"), &json!("")]);
    }
    fake.release();
}

/// Somebody with so much on record that no buffer between the gateway and a reader holds all of it.
async fn much(gateway: &TestGateway, admin: &str, name: &str) -> String {
    let jwt = gateway.user(admin, name).await;
    for number in 0..6 {
        let mut body = hello();
        body["messages"][0]["content"] = json!(format!("number{number} {}", "x".repeat(4 << 20)));
        assert_eq!(gateway.post("/v1/chat/completions", Some(&jwt), body).await.status, 200);
    }
    gateway.id_of(admin, name).await
}

fn receipt_of(export: &str) -> String {
    let last = export.lines().last().unwrap();
    let code = last.split("receipt").nth(1).unwrap_or_else(|| panic!("no receipt in {last}"));
    code.trim_start_matches([':', '"'])[..16].to_owned()
}

async fn delete(gateway: &TestGateway, admin: &str, id: &str, receipt: &str) {
    let body = json!({ "receipt": receipt }).to_string().into_bytes();
    let deleted = gateway.send("DELETE", &format!("/api/v1/users/{id}"), Some(admin), body).await;
    assert_eq!(deleted.status, 202, "{}", deleted.text());
}

#[actix_web::test]
async fn an_export_under_way_breaks_off_without_a_receipt_when_somebody_in_it_is_deleted() {
    use futures_util::StreamExt;
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__PROMPT_BYTES_MAX", "8388608")]);
    let admin = gateway.admin().await;
    for (name, format, whole) in
        [("ann", "csv", true), ("bob", "jsonl", true), ("cem", "csv", false), ("dee", "jsonl", false)]
    {
        let id = much(&gateway, &admin, name).await;
        let asked = match whole {
            true => json!({ "user_id": id, "format": format }),
            false => json!({ "filter": { "kind": "request" }, "format": format }),
        };
        let made = create(&gateway, &admin, asked).await.json();
        let mut under_way = gateway.open("GET", made["url"].as_str().unwrap(), Some(&admin), Vec::new()).await;
        let first = under_way.next().await.unwrap().unwrap();
        assert!(!first.is_empty());
        let receipt = receipt_of(&export(&gateway, &admin, json!({ "user_id": id, "format": format })).await);

        delete(&gateway, &admin, &id, &receipt).await;

        let mut read = first.to_vec();
        // The client may take a body that was cut for one that has ended: the next test looks at the bytes.
        while let Some(Ok(piece)) = under_way.next().await {
            read.extend_from_slice(&piece);
        }
        let read = String::from_utf8_lossy(&read);
        assert!(read.matches("number").count() < 6, "{name}: all of it was in some buffer");
        assert!(!read.contains("receipt"), "{name}");
        let acts = gateway.get("/api/v1/audit?kind=act&limit=500", Some(&admin)).await.json();
        let finished = |act: &&Value| act["act"] == "export_finished" && act["detail"]["export"] == made["id"];
        assert_eq!(acts["items"].as_array().unwrap().iter().filter(finished).count(), 0, "{name}");
        let later = gateway.get(made["url"].as_str().unwrap(), Some(&admin)).await;
        let expected = if whole { 404 } else { 200 };
        assert_eq!(later.status, expected, "{name}: {}", later.text());
        if !whole {
            assert!(later.text().contains("receipt") && !later.text().contains("number"), "{name} has no contents");
        }
    }
}

#[actix_web::test]
async fn an_export_that_breaks_off_ends_its_connection_without_the_last_chunk() {
    use std::io::{Read, Write};
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__PROMPT_BYTES_MAX", "8388608")]);
    let admin = gateway.admin().await;
    let id = much(&gateway, &admin, "ann").await;
    let made = create(&gateway, &admin, json!({ "user_id": id })).await.json();
    let receipt = receipt_of(&export(&gateway, &admin, json!({ "user_id": id })).await);
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let url = made["url"].as_str().unwrap();
    write!(socket, "GET {url} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {admin}\r\n\r\n").unwrap();
    let mut read = vec![0; 1024];
    socket.read_exact(&mut read).unwrap();

    delete(&gateway, &admin, &id, &receipt).await;

    // However it ends: with a close, or with a reset.
    let _ = socket.read_to_end(&mut read);
    assert!(read.starts_with(b"HTTP/1.1 200") && memchr::memmem::find(&read, b"chunked").is_some());
    assert!(!read.ends_with(b"0\r\n\r\n"), "the body says that it is whole");
    assert!(memchr::memmem::find(&read, b"receipt:").is_none());
}

#[actix_web::test]
async fn who_was_deleted_before_an_export_began_ends_none() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    ask(&fake, &gateway, &ann, "about pumps", "pumps pump").await;
    ask(&fake, &gateway, &admin, "about zithers", "they sound").await;
    let id = gateway.id_of(&admin, "ann").await;
    let receipt = receipt_of(&export(&gateway, &admin, json!({ "user_id": id })).await);
    delete(&gateway, &admin, &id, &receipt).await;

    let all = json!({ "filter": { "kind": "request" }, "format": "jsonl" });
    let (found, receipt) = lines(&export(&gateway, &admin, all).await);

    let answers: Vec<&Value> = found.iter().map(|line| &line["response"]).collect();
    assert_eq!(answers, [&json!(""), &json!("they sound")], "also while contents are still being erased");
    assert_eq!(receipt["lines"], 2);
}

#[actix_web::test]
async fn a_csv_has_a_byte_order_mark_when_one_is_asked_for_and_no_other_file_has() {
    const MARK: &[u8] = "\u{feff}\"".as_bytes();
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let get = async |path: &str| gateway.get(path, Some(&admin)).await;
    let made = create(&gateway, &admin, json!({ "filter": {}, "bom": true })).await.json();
    let url = made["url"].as_str().unwrap();

    for path in
        [url, "/api/v1/me/export?bom=true", "/api/v1/usage?format=csv&bom=true", "/api/v1/me/usage?format=csv&bom=true"]
    {
        let (with, without) = (get(path).await, get(&path.replace("bom=true", "bom=false")).await);
        assert!(with.body.starts_with(MARK), "{path}: {}", with.text());
        assert!(without.body.starts_with(b"\""), "{path}: {}", without.text());
    }
    let file = get(url).await.text();
    let (rest, last) = file[..file.len() - 2].rsplit_once("\r\n").unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{rest}\r\n").as_bytes());
    let told = last.rsplit('"').nth(1).unwrap();
    assert_eq!(told, digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>(), "the mark counts");
    for path in ["/api/v1/me/export?format=jsonl&bom=true", "/api/v1/usage?bom=true"] {
        let refused = get(path).await;
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("bom")), "{path}");
    }
    assert_eq!(get("/api/v1/me/export?bom=yes").await.status, 400);
    let refused = create(&gateway, &admin, json!({ "filter": {}, "format": "jsonl", "bom": true })).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[actix_web::test]
async fn exports_are_listed_with_what_they_open_and_how_far_an_erasure_is() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let id = gateway.id_of(&admin, "ann").await;
    ask(&fake, &gateway, &ann, "hello", "there").await;
    let list = async |query: &str| gateway.get(&format!("/api/v1/exports?{query}"), Some(&admin)).await.json();
    export(&gateway, &admin, json!({ "filter": {}, "format": "jsonl" })).await;
    let made = create(&gateway, &admin, json!({ "user_id": id, "format": "jsonl" })).await.json();

    let unread = list(&format!("user_id={id}")).await["items"][0].clone();
    let receipt = receipt_of(&gateway.get(made["url"].as_str().unwrap(), Some(&admin)).await.text());
    let read = list(&format!("user_id={id}")).await;

    assert_eq!(json!([unread["id"], unread["whole"], unread["running"]]), json!([made["id"], true, false]));
    assert!(["lines", "finished_at", "opens_deletion_until"].iter().all(|field| unread[*field].is_null()), "{unread}");
    let one = &read["items"][0];
    let told = json!([one["by"], one["user"], one["user_id"], one["lines"], one["format"]]);
    assert_eq!(told, json!(["admin", "ann@example.org", id, 1, "jsonl"]));
    assert!(one["finished_at"].as_str().unwrap() < one["opens_deletion_until"].as_str().unwrap(), "{one}");
    assert_eq!(read["erasure"], Value::Null);
    let all = list("").await;
    let found = json!([all["items"][1]["whole"], all["items"][1]["user"], all["items"][1]["opens_deletion_until"]]);
    assert_eq!(found, json!([false, null, null]), "{all}");
    let first = list("limit=1").await;
    let rest = list(&format!("cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((&rest["items"][0], &rest["next"]), (&all["items"][1], &Value::Null));
    let (good, table) = gateway.command(&["record", "exports", "ann@example.org"], "");
    assert!(good && table.contains(made["id"].as_str().unwrap()), "{table}");

    delete(&gateway, &admin, &id, &receipt).await;

    let erased = async || (list(&format!("user_id={id}")).await["erasure"] == "done").then_some(());
    eventually("the contents are erased", erased).await;
    assert_eq!(list(&format!("user_id={id}")).await["items"][0]["opens_deletion_until"], Value::Null);
    assert_eq!(gateway.get("/api/v1/exports?user_id=nobody", Some(&admin)).await.status, 404);
    assert_eq!(gateway.get("/api/v1/exports", Some(&ann)).await.status, 401);
}
