//! What a model server says about its own work is believed up to what can be.

use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, Step, text};
use crate::support::gateway::{TestGateway, hello, hello_stream};

const CHAT: &str = "/v1/chat/completions";

/// "hi" in one piece, and an end mark with these numbers.
fn ends_with(numbers: &str) -> Script {
    let end = format!(
        r#"{{"model":"fake:latest","created_at":"2026-01-01T00:00:00.3Z","message":{{"role":"assistant","content":""}},"done":true,"done_reason":"stop",{numbers}}}"#
    );
    Script::of(vec![text("hi"), Step::Send(format!("{end}\n").into_bytes())])
}

#[actix_web::test]
async fn absurd_numbers_cost_no_answer_and_wrap_no_sum() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1000")]);
    let admin = gateway.admin().await;
    let cases = [
        r#""prompt_eval_count":9223372036854775807,"eval_count":9223372036854775807"#,
        r#""prompt_eval_count":18446744073709551615,"eval_count":18446744073709551615"#,
        r#""prompt_eval_count":-1,"eval_count":-9223372036854775808"#,
        r#""prompt_eval_count":1e400,"eval_count":99999999999999999999"#,
        r#""prompt_eval_count":"many","eval_count":[3]"#,
    ];

    for numbers in cases {
        fake.next(ends_with(numbers));
        let whole = gateway.post(CHAT, Some(&admin), hello()).await;
        assert_eq!(whole.status, 200, "{numbers}: {}", whole.text());
        // The prompt as it was guessed, and the piece that came.
        assert_eq!(whole.json()["usage"]["total_tokens"], 2, "{numbers}");

        fake.next(ends_with(numbers));
        let stream = gateway.post(CHAT, Some(&admin), hello_stream()).await;
        assert!(stream.text().ends_with("data: [DONE]\n\n"), "{numbers}: {}", stream.text());
    }
    fake.next(ends_with(r#""prompt_eval_count":2.9,"eval_count":3.0"#));
    let fractions = gateway.post(CHAT, Some(&admin), hello()).await;
    assert_eq!(fractions.json()["usage"]["total_tokens"], 5, "fractions are dropped");

    let row = gateway.record(&admin).await.remove(1);
    let story = gateway.get(&format!("/api/v1/audit/{}", row["request_id"].as_str().unwrap()), Some(&admin)).await;
    assert!(story.json()["notes"].as_str().unwrap().contains("prompt tokens, which can't be; 1 was taken"));
    let used = gateway.get("/api/v1/me/usage", Some(&admin)).await.json();
    assert!(
        used["items"].as_array().unwrap().iter().all(|item| item["prompt_tokens"].as_i64().unwrap() <= 12),
        "{used}"
    );
}

#[actix_web::test]
async fn durations_beyond_the_time_on_the_slot_are_cut_to_it_and_noted() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__GPU_SECONDS_PER_DAY", "10000")]);
    let admin = gateway.admin().await;
    // From ollama's issue 1893.
    fake.next(ends_with(r#""total_duration":306412003,"load_duration":260310,"eval_duration":516371613757000"#));

    assert_eq!(gateway.post(CHAT, Some(&admin), hello()).await.status, 200);

    let left = gateway.get("/api/v1/me", Some(&admin)).await.json()["left"]["gpu_seconds_per_day"].clone();
    assert!(left["used"].as_u64().unwrap() <= 60, "{left}");
    assert_eq!(gateway.post(CHAT, Some(&admin), hello()).await.status, 200, "the day is not used up");
    let rows = gateway.record(&admin).await;
    let notes = async |row: &Value| {
        let path = format!("/api/v1/audit/{}", row["request_id"].as_str().unwrap());
        gateway.get(&path, Some(&admin)).await.json()["notes"].as_str().unwrap().to_owned()
    };
    let lied = notes(&rows[1]).await;
    assert!(lied.lines().any(|line| line.starts_with("the upstream told 516371614017 microseconds of work")), "{lied}");
    assert!(!notes(&rows[0]).await.contains("can't be"), "what can be is not noted");
    assert_eq!(json!([rows[0]["outcome"], rows[1]["outcome"]]), json!(["completed", "completed"]));
}
