//! The incident report: the founding incident replayed, tools, an evenly busy time, and what is refused.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::behalf::{HEADER, Stage, send};
use crate::deletion::receipt;
use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{ADMIN_PASSWORD, Answer, TestGateway, hello};

const CHAT: &str = "/v1/chat/completions";
const REPORTS: &str = "/api/v1/incident-reports";

fn ask(words: &str) -> Value {
    json!({ "model": "fake", "messages": [{ "role": "user", "content": words }] })
}

/// The gateway's own clock, as the record has it.
async fn now(gateway: &TestGateway) -> String {
    gateway.text_of("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")
}

async fn report(gateway: &TestGateway, admin: &str, asked: Value) -> Answer {
    gateway.post(REPORTS, Some(admin), asked).await
}

/// Returns a report as a reader sees it: without markup, white space as single blanks.
fn read(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let html = answer.text();
    let body = html.split("<body>").nth(1).unwrap();
    let mut text = String::new();
    let mut in_tag = false;
    for character in body.chars() {
        match character {
            '<' => {
                in_tag = true;
                text.push(' ');
            }
            '>' => in_tag = false,
            other if !in_tag => text.push(other),
            _ => {}
        }
    }
    let text = text.replace("&#39;", "'").replace("&quot;", "\"").replace("&amp;", "&");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace(" ,", ",").replace(" .", ".").replace(" :", ":").replace("( ", "(").replace(" )", ")")
}

/// Returns the first sentence.
fn headline(answer: &Answer) -> String {
    let html = answer.text();
    let line = html.split("<p class=\"headline\">").nth(1).unwrap().split("</p>").next().unwrap();
    line.replace("<b>", "").replace("</b>", "")
}

async fn token(gateway: &TestGateway, owner: &str, name: &str) -> String {
    let made = gateway.post("/api/v1/tokens", Some(owner), json!({ "name": name })).await.json();
    made["token"].as_str().unwrap().to_owned()
}

/// A pipeline whose workers send the same request again at once, whatever the answer says, until the team has its answers.
async fn runs_wild(gateway: &TestGateway, bearer: &str, rounds: usize) {
    for _ in 0..rounds {
        gateway.post(CHAT, Some(bearer), ask("Sort this ticket: the printer is on fire")).await;
    }
}

#[actix_web::test]
async fn the_founding_incident_is_found_out() {
    let fake = FakeOllama::start();
    let settings = [
        ("LIMITS__REQUESTS_PER_MINUTE", "60"),
        ("QUEUE__WAITING_PER_USER_MAX", "1000"),
        ("QUEUE__WAITING_MAX", "1000"),
        ("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "100000"),
        ("BREAKER__REPEATS_FREE", "0"),
        ("BREAKER__REPEATS_MAX", "0"),
    ];
    let gateway = TestGateway::start_with(&fake.url(), &settings);
    let admin = gateway.admin().await;
    let mut team = Vec::new();
    for name in ["ann", "bob", "cem", "dora"] {
        team.push(gateway.user(&admin, name).await);
    }
    let owner = gateway.user(&admin, "ops").await;
    let pipeline = token(&gateway, &owner, "ticket sorter").await;
    let chats = async |round: usize| {
        for (at, person) in team.iter().enumerate() {
            let words = "What is new? ".repeat(at + round + 1);
            assert_eq!(gateway.post(CHAT, Some(person), ask(&words)).await.status, 200);
        }
    };
    for round in 0..3 {
        chats(round).await;
    }
    let from = now(&gateway).await;

    // Its first hundred are let in and wait for the one slot; then it comes back at once, again and again.
    let slow = || Script::of(vec![text("hardware"), Step::Sleep(Duration::from_millis(20)), done("stop")]);
    (0..60).for_each(|_| fake.next(slow()));
    let workers = join_all((0..100).map(|_| runs_wild(&gateway, &pipeline, 4)));
    let people = async {
        for round in 3..5 {
            chats(round).await;
        }
    };
    futures_util::future::join(workers, people).await;
    let told = report(&gateway, &admin, json!({ "from": from })).await;

    let first = headline(&told);
    assert!(first.starts_with("The access token ticket sorter of ops@example.org sent 4"), "{first}");
    assert!(first.contains(" of the ") && first.contains(" requests (9"), "{first}");
    assert!(first.contains("of the GPU time"), "{first}");
    assert!(first.contains("; no requests in the "), "{first}");
    let text = read(&told);
    for expected in [
        "It tries again at once",
        "The access token ticket sorter of ops@example.org was told 3",
        "5 senders sent 4",
        "the access token ticket sorter of ops@example.org stands out.",
        "The access token ticket sorter of ops@example.org: it asked fake in ",
        "How often? 4",
        "`Retry-After`",
        "Very many requests at once",
        "Nearly the same prompt each time",
        "No limit of its own",
        "It waits in line with people",
        "the requests for 60 s were used up rate_limit_exceeded",
        "127.0.0.1 The access token ticket sorter of ops@example.org",
        "/v1/chat/completions",
        "Model server local: worked",
    ] {
        let expected = expected.replace('`', "");
        assert!(text.contains(&expected), "{expected} in {text}");
    }
    for others in ["ann@example.org was told", "dora@example.org was told", "printer"] {
        assert!(!text.contains(others), "{others} in {text}");
    }
    let detail = gateway.detail_of("incident_report_made");
    assert_eq!((&detail["from"].as_str().unwrap()[..19], &detail["contents"]), (&from[..19], &json!(false)));

    let with = report(&gateway, &admin, json!({ "from": from, "contents": true })).await;
    assert!(read(&with).contains("Sort this ticket: the printer is on fire"), "{}", read(&with));
    assert_eq!(gateway.detail_of("incident_report_made")["contents"], json!(true));
}

#[actix_web::test]
async fn a_tool_is_named_with_the_person_whose_requests_it_brought() {
    let fake = FakeOllama::start();
    let settings =
        [("LIMITS__REQUESTS_PER_MINUTE", "25"), ("BREAKER__REPEATS_FREE", "0"), ("BREAKER__REPEATS_MAX", "0")];
    let stage = Stage::set(&fake, &settings).await;
    let (gateway, admin) = (&stage.gateway, &stage.admin);
    gateway.user(admin, "dora").await;
    let from = now(gateway).await;
    fake.next(Script::of(vec![text("it breaks off")]));
    for _ in 0..30 {
        stage.chat_for("ann").await;
    }
    for _ in 0..3 {
        stage.chat_for("bob").await;
    }
    // None of her requests is let into the queue.
    let unknown = json!({ "model": "fakee", "messages": [{ "role": "user", "content": "Hello" }] });
    let dora = [(HEADER, "dora@example.org")];
    assert_eq!(send(gateway, "POST", CHAT, &stage.token, &dora, unknown).await.status, 404);

    let told = report(gateway, admin, json!({ "from": from })).await;

    let first = headline(&told);
    let ann = "ann@example.org (through the access token Open WebUI of admin)";
    assert!(first.starts_with(&format!("{ann} sent 30 of the 34 requests (88 %)")), "{first}");
    let text = read(&told);
    for expected in [
        &format!("{ann} 30 24 5 1 0 "),
        "bob@example.org (through the access token Open WebUI of admin) 3 3 0 0 0 ",
        "dora@example.org (through the access token Open WebUI of admin) 1 0 1 0 0 ",
        "The tool with the access token Open WebUI of admin, in which ann@example.org was signed in: it asked fake in 25",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    // A limit or class of the token would be everybody's who uses the tool.
    assert!(!text.contains("No limit of its own") && !text.contains("It waits in line"), "{text}");
    let used = async || {
        let used = gateway.get("/api/v1/usage", Some(admin)).await.json();
        let of_ann = used["items"].as_array()?.iter().find(|item| item["key"] == "ann@example.org")?.clone();
        Some(json!([of_ann["requests"], of_ann["refused"], of_ann["failed"]]))
    };
    until("usage has the same numbers", async || used().await == Some(json!([25, 5, 1]))).await;

    let from = now(gateway).await;
    for name in ["bob", "dora"].repeat(6) {
        assert_eq!(stage.chat_for(name).await.status, 200);
    }
    let told = report(gateway, admin, json!({ "from": from })).await;
    let all = "All 12 requests came through the access token Open WebUI of admin.";
    assert!(headline(&told).starts_with("Nobody stands out: 2 senders sent 12 requests in "), "{}", headline(&told));
    assert!(
        headline(&told).ends_with(all) && read(&told).contains(&format!("Which pipeline? {all}")),
        "{}",
        read(&told)
    );
}

#[actix_web::test]
async fn the_checkpoint_that_covers_a_time_is_in_its_report_or_it_says_that_there_is_none_yet() {
    let mut gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    // The first checkpoint is written soon after the start, and the next one in an hour or at the stop.
    gateway.until_text("SELECT CAST(count(*) > 0 AS TEXT) FROM checkpoints", "1").await;
    let from = now(&gateway).await;
    assert_eq!(gateway.post(CHAT, Some(&ann), hello()).await.status, 200);
    let asked = json!({ "from": from, "to": now(&gateway).await });

    let open = read(&report(&gateway, &admin, asked.clone()).await);
    gateway.signal("TERM");
    gateway.wait(20).await;
    gateway.restart();
    let admin = gateway.token("admin", ADMIN_PASSWORD).await;
    let covered = report(&gateway, &admin, asked).await;

    assert!(
        open.contains("The last one before") && open.contains("No checkpoint covers all of these rows yet"),
        "{open}"
    );
    assert!(!open.contains("The first that covers all"), "{open}");
    assert!(read(&covered).contains("The first that covers all"), "{}", read(&covered));
    let result = "SELECT max(log_id) FROM record WHERE kind = 'result'";
    let note =
        gateway.text_of(&format!("SELECT note FROM checkpoints WHERE log_id >= ({result}) ORDER BY log_id LIMIT 1"));
    assert!(covered.text().contains(&format!("<pre>{note}</pre>")), "{note} in {}", covered.text());
}

#[actix_web::test]
async fn a_person_who_was_deleted_has_neither_name_nor_prompts_in_a_report() {
    let settings =
        [("LIMITS__REQUESTS_PER_MINUTE", "1000"), ("BREAKER__REPEATS_FREE", "0"), ("BREAKER__REPEATS_MAX", "0")];
    let gateway = TestGateway::start_with(&FakeOllama::start().url(), &settings);
    let admin = gateway.admin().await;
    let dee = gateway.user(&admin, "dee").await;
    let ann = gateway.user(&admin, "ann").await;
    let bearer = token(&gateway, &dee, "moonshot").await;
    let from = now(&gateway).await;
    for _ in 0..20 {
        assert_eq!(gateway.post(CHAT, Some(&bearer), ask("Where is the treasure?")).await.status, 200);
    }
    assert_eq!(gateway.post(CHAT, Some(&ann), ask("Where is the map?")).await.status, 200);
    let id = gateway.id_of(&admin, "dee@example.org").await;
    gateway.post(&format!("/api/v1/users/{id}/disable"), Some(&admin), json!({})).await;
    let code = receipt(&gateway.export(&admin, "dee@example.org", "csv").await);
    let body = json!({ "receipt": code }).to_string().into_bytes();
    let deleted = gateway.send("DELETE", &format!("/api/v1/users/{id}"), Some(&admin), body).await;
    assert_eq!(deleted.status, 202, "{}", deleted.text());

    let told = report(&gateway, &admin, json!({ "from": from, "contents": true })).await;

    let first = headline(&told);
    assert!(first.starts_with("An access token of (deleted "), "{first}");
    assert!(first.contains("(whose account was deleted) sent 20 of the 21 requests (95 %)"), "{first}");
    let html = told.text();
    for gone in ["dee@example.org", "moonshot", "treasure"] {
        assert!(!html.contains(gone), "{gone} in {html}");
    }
    assert!(html.contains("Where is the map?"), "{html}");
}

#[actix_web::test]
async fn an_evenly_busy_time_names_nobody_and_an_empty_one_says_so() {
    let gateway = TestGateway::start_with(&FakeOllama::start().url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1000")]);
    let admin = gateway.admin().await;
    let from = now(&gateway).await;
    let empty = report(&gateway, &admin, json!({ "from": from })).await;
    for name in ["ann", "bob", "cem", "dora"] {
        let person = gateway.user(&admin, name).await;
        for _ in 0..12 {
            gateway.post(CHAT, Some(&person), hello()).await;
        }
    }

    let told = report(&gateway, &admin, json!({ "from": from })).await;

    assert!(headline(&empty).starts_with("Nobody sent a request in this time ("), "{}", headline(&empty));
    let text = read(&empty);
    for answer in [
        "Was anything misconfigured? Nothing that the record shows",
        "Who sent the requests? Nobody: no request",
        "Which pipeline? None: no request",
        "How often? Not once: no request",
    ] {
        assert!(text.contains(answer), "{answer} in {text}");
    }
    let first = headline(&told);
    assert!(first.starts_with("Nobody stands out: 4 senders sent 48 requests in "), "{first}");
    assert!(first.contains("ann@example.org the most with 12 (25 %)."), "{first}");
    let text = read(&told);
    for answer in
        ["Who sent the requests? 4 senders sent 48 requests; nobody stands out.", "Which pipeline? None stands out."]
    {
        assert!(text.contains(answer), "{answer} in {text}");
    }
}

#[actix_web::test]
async fn what_is_no_time_is_refused_and_leaves_no_act() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("INCIDENTS__WINDOW_HOURS_MAX", "24")]);
    let admin = gateway.admin().await;

    for (asked, field) in [
        (json!({}), "from"),
        (json!({ "from": "yesterday" }), "from"),
        (json!({ "from": "2026-01-31T12:00:00Z", "to": "noon" }), "to"),
        (json!({ "from": "2026-01-31T12:00:00Z", "to": "2026-01-31T12:00:00Z" }), "from"),
        (json!({ "from": "2026-01-31T12:00:01Z", "to": "2026-01-31T12:00:00Z" }), "from"),
        (json!({ "from": "2026-01-30T11:59:59Z", "to": "2026-01-31T12:00:00Z" }), "from"),
        (json!({ "from": "2999-01-31T12:00:00Z", "to": "2999-01-31T13:00:00Z" }), "from"),
        (json!({ "from": "2026-01-31T12:00:00Z", "with": "contents" }), "with"),
    ] {
        let refused = report(&gateway, &admin, asked.clone()).await;
        assert_eq!(refused.status, 400, "{asked}: {}", refused.text());
        assert!(refused.text().contains(field), "{asked}: {}", refused.text());
    }
    let acts = gateway.text_of("SELECT CAST(count(*) AS TEXT) FROM record WHERE act = 'incident_report_made'");
    assert_eq!(acts, "0");

    let old = report(&gateway, &admin, json!({ "from": "2020-01-31T12:00:00Z", "to": "2020-01-31T13:00:00Z" })).await;
    let text = read(&old);
    assert!(text.contains("The record begins at") && text.contains("No row of the record was written"), "{text}");
}

#[actix_web::test]
async fn names_of_others_are_never_markup_and_the_file_reaches_nothing() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let bearer = token(&gateway, &ann, "<img src=//evil.example onerror=alert(1)>").await;
    let from = now(&gateway).await;
    gateway.post(CHAT, Some(&bearer), ask("<script>alert(1)</script>\u{202e}")).await;
    gateway.post(CHAT, Some(&bearer), json!({ "model": "</style><script>", "messages": [] })).await;

    let told = report(&gateway, &admin, json!({ "from": from, "contents": true })).await;

    let html = told.text();
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;<span class=\"chip-char\""), "{html}");
    for foreign in ["<script", "<img", "<link", "<iframe", "src=\"", "href=", "url(", "@import", "javascript:"] {
        assert!(!html.contains(foreign), "{foreign} in {html}");
    }
    assert!(
        html.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'")
    );
    let policy = told.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
    assert_eq!(told.header("cache-control"), Some("no-store"));
    assert!(told.header("content-disposition").unwrap().starts_with("attachment; filename=\"incident-20"));
}

#[actix_web::test]
async fn the_command_line_writes_the_file_whether_the_gateway_runs_or_not() {
    let mut gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.post(CHAT, Some(&ann), hello()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();

    for running in [true, false] {
        if !running {
            gateway.signal("TERM");
            gateway.wait(10).await;
        }
        let path = file(&format!("{running}.html"));
        let (good, text) = gateway.command(&["incident", "--from", "1h", "--to", "today", "--output", &path], "");
        assert!(good, "{text}");
        let html = std::fs::read_to_string(&path).unwrap();
        assert!(html.contains("ann@example.org") && html.trim_end().ends_with("</html>"), "{html}");
        let (good, text) = gateway.command(&["incident", "--from", "1h", "--output", &path], "");
        assert!(!good && text.contains("is there already"), "{text}");
    }
    for (words, said) in [
        (vec!["incident", "--from", "1h", "--to", "2h"], "before `to`"),
        (vec!["incident", "--from", "+1h", "--to", "+2h"], "future"),
        (vec!["incident", "--from", "60d"], "longer than 168 hours"),
        (vec!["incident", "--from", "noon"], "2026-01-31"),
        (vec!["incident"], "--from"),
    ] {
        let (good, text) = gateway.command(&words, "");
        assert!(!good && text.contains(said), "{words:?}: {text}");
    }
}
