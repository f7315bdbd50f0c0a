//! An upstream that dies, stalls or lies: a clear error, never a false end mark, always a row.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, hello, hello_stream};

const LIFTED: [(&str, &str); 2] =
    [("LIMITS__REQUESTS_PER_MINUTE", "10000"), ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "10000")];

fn send(bytes: &[u8]) -> Step {
    Step::Send(bytes.to_vec())
}

#[actix_web::test]
async fn an_answer_that_breaks_off_is_an_error_with_its_text_on_record() {
    let cases = [
        ("garbage", vec![text("ab"), send(b"this is not JSON\n")], "upstream_error", 502),
        ("an error line", vec![text("ab"), send(b"{\"error\":\"an error was encountered\"}\n")], "upstream_error", 502),
        ("no end mark", vec![text("ab")], "upstream_error", 502),
        ("half a line", vec![text("ab"), send(b"{\"model\":\"fake\",\"mess")], "upstream_error", 502),
        ("a cut connection", vec![text("ab"), Step::Die], "upstream_error", 502),
    ];
    assert_errors(&LIFTED, &cases).await;
}

#[actix_web::test]
async fn an_answer_that_stalls_is_an_error_with_its_text_on_record() {
    let stall = Step::Sleep(Duration::from_secs(20));
    let impatient = [&LIFTED[..], &[("OLLAMA__IDLE_SECONDS_MAX", "1")]].concat();
    assert_errors(&impatient, &[("a stall", vec![text("ab"), stall, done("stop")], "upstream_timeout", 504)]).await;
}

/// Asserts that an answer of such steps is such an error, in every form.
async fn assert_errors(settings: &[(&str, &str)], cases: &[(&str, Vec<Step>, &str, u16)]) {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), settings);
    let admin = gateway.admin().await;
    for (name, steps, code, status) in cases {
        fake.next(Script::of(steps.clone()));
        let whole = gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
        assert_eq!((whole.status, &whole.json()["error"]["code"]), (*status, &json!(code)), "{name}");
        let row = gateway.newest_outcome(&admin, "failed").await;
        assert_eq!((&row["reason"], &row["status"]), (&json!(code), &json!(status)), "{name}");

        for path in ["/v1/chat/completions", "/chat"] {
            fake.next(Script::of(steps.clone()));
            let stream = gateway.post(path, Some(&admin), hello_stream()).await;
            let text = stream.text();
            assert_eq!(stream.status, 200, "{name}");
            assert!(text.contains("ab") && text.contains("\"error\""), "{name}: {text}");
            assert!(
                !text.contains("[DONE]")
                    && !text.contains("\"finish_reason\":\"stop\"")
                    && !text.contains("\"done\":true"),
                "{name}: {text}"
            );
        }
    }
    let export = gateway.export(&admin, "admin", "jsonl").await;
    for line in export.lines().filter(|line| !line.contains("\"receipt\"")) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["outcome"], &line["response"]), (&json!("failed"), &json!("ab")));
    }
}

#[actix_web::test]
async fn errors_before_the_first_event_have_their_own_status_in_streams_too() {
    let fake = FakeOllama::start();
    let settings = [&LIFTED[..], &[("ANSWERS__QUARANTINE_SECONDS", "0")]].concat();
    let gateway = TestGateway::start_with(&fake.url(), &settings);
    let admin = gateway.admin().await;
    let cases = [
        (500, r#"{"error":"model runner has unexpectedly stopped"}"#, 502, "upstream_died"),
        (404, r#"{"error":"model 'fake' not found"}"#, 404, "model_not_found"),
        (400, r#"{"error":"\"fake\" does not support tools"}"#, 400, "invalid_request"),
        (503, r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#, 503, "host_busy"),
        (403, "", 502, "upstream_error"),
        (302, "", 502, "upstream_error"),
    ];

    for (upstream, body, status, code) in cases {
        for request in [hello(), hello_stream()] {
            fake.next(Script::status(upstream, body));
            let answer = gateway.post("/v1/chat/completions", Some(&admin), request).await;
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{upstream} {body}");
        }
    }
}

#[actix_web::test]
async fn lines_may_be_split_anywhere() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let (Step::Send(mut bytes), Step::Send(end)) = (text("naïve \u{1F600} text"), done("stop")) else {
        unreachable!()
    };
    bytes.extend(end);
    fake.next(Script::of(bytes.iter().map(|byte| send(&[*byte])).collect()));

    let answer = gateway.post("/v1/chat/completions", Some(&admin), hello()).await;

    assert_eq!(answer.json()["choices"][0]["message"]["content"], "naïve \u{1F600} text");
}

#[actix_web::test]
async fn an_answer_that_forges_an_end_mark_stays_content() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![text("a\n\ndata: [DONE]\n\nb"), done("stop")]));

    let answer = gateway.post("/v1/chat/completions", Some(&admin), hello_stream()).await.text();

    assert_eq!(answer.matches("\ndata: [DONE]\n").count(), 1);
    assert!(answer.contains(r"a\n\ndata: [DONE]\n\nb"));
}

#[actix_web::test]
async fn the_gateway_serves_sign_in_while_ollama_is_down() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;

    assert_eq!(gateway.get("/health", None).await.json(), json!({ "status": "ok" }));
    assert_eq!(gateway.get("/health/live", None).await.status, 200);
    assert_eq!(gateway.get("/health/ready", None).await.status, 503);
    let details = gateway.get("/health", Some(&admin)).await.json();
    assert_eq!(details["details"]["can_record"], true);
    let answer = gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("upstream_unreachable")));
}

#[actix_web::test]
async fn no_answer_runs_for_ever() {
    let fake = FakeOllama::start();
    let drip = (0..100).flat_map(|_| [text("x"), Step::Sleep(Duration::from_millis(50))]).collect();
    let cases = [
        (("ANSWERS__ANSWER_SECONDS_MAX", "1"), drip, (504, "upstream_timeout")),
        (("ANSWERS__ANSWER_BYTES_MAX", "2000"), vec![text(&"x".repeat(3000)), done("stop")], (502, "upstream_error")),
    ];

    for (bound, steps, (status, code)) in cases {
        let gateway = TestGateway::start_with(&fake.url(), &[bound]);
        let admin = gateway.admin().await;
        fake.next(Script::of(steps));
        let answer = gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{bound:?}");
    }
}
