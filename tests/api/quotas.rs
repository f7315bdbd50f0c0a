//! How much: quotas of a person and of a token, changed at run time, held, given back, and kept over a restart.

use std::time::Instant;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{Answer, TestGateway, hello, hello_stream};

struct Stage {
    fake: FakeOllama,
    gateway: TestGateway,
    admin: String,
    ann: String,
    ann_id: String,
}

impl Stage {
    async fn set() -> Stage {
        Stage::set_with(&[]).await
    }

    async fn set_with(settings: &[(&str, &str)]) -> Stage {
        let fake = FakeOllama::start();
        let zone = zone_at_noon();
        let mut all = vec![("LIMITS__REQUESTS_PER_MINUTE", "1000"), ("OLLAMA__SLOTS", "4"), ("TIMEZONE", &zone)];
        all.extend(settings);
        let gateway = TestGateway::start_with(&fake.url(), &all);
        let admin = gateway.admin().await;
        let ann = gateway.user(&admin, "ann").await;
        let ann_id = gateway.id_of(&admin, "ann").await;
        Stage { fake, gateway, admin, ann, ann_id }
    }

    /// Changes Ann's quotas.
    async fn grant(&self, quotas: Value) {
        let path = format!("/api/v1/users/{}", self.ann_id);
        let changed = self.gateway.send("PATCH", &path, Some(&self.admin), of(quotas)).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
    }

    async fn ask(&self) -> Answer {
        self.gateway.post("/v1/chat/completions", Some(&self.ann), hello()).await
    }

    async fn ask_for(&self, max_tokens: u64) -> Answer {
        let mut body = hello();
        body["max_tokens"] = json!(max_tokens);
        self.gateway.post("/v1/chat/completions", Some(&self.ann), body).await
    }

    /// What is left to Ann of one quota: limit, used, reserved, left.
    async fn left(&self, quota: &str) -> Value {
        let me = self.gateway.get("/api/v1/me", Some(&self.ann)).await.json();
        let left = &me["left"][quota];
        json!([left["limit"], left["used"], left["reserved"], left["left"]])
    }

    async fn until_left(&self, quota: &str, wanted: Value) {
        until(&format!("{quota} is {wanted}"), async || self.left(quota).await == wanted).await;
    }

    fn forwarded(&self) -> Value {
        serde_json::from_slice(&self.fake.chats().last().unwrap().body).unwrap()
    }
}

/// A zone in which no day ends while a test runs.
fn zone_at_noon() -> String {
    let hour = i32::from(jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).hour());
    // In these names the sign says how far UTC is from there.
    format!("Etc/GMT{:+}", hour - 12)
}

fn of(quotas: Value) -> Vec<u8> {
    json!({ "quotas": quotas }).to_string().into_bytes()
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn insufficient() -> (u16, String) {
    (429, "insufficient_quota".to_owned())
}

#[actix_web::test]
async fn requests_of_a_day_are_counted_and_the_next_one_is_told_when_to_come_back() {
    let stage = Stage::set().await;
    stage.grant(json!({ "requests_per_day": 2 })).await;
    assert_eq!((stage.ask().await.status, stage.ask().await.status), (200, 200));

    let refused = stage.ask().await;

    assert_eq!(code(&refused), insufficient());
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=25 * 3600).contains(&wait), "{wait}");
    assert_eq!(stage.left("requests_per_day").await, json!([2, 2, 0, 0]));
    let chat = stage.gateway.post("/chat", Some(&stage.ann), hello()).await;
    assert_eq!((chat.status, stage.fake.chats().len()), (429, 2), "on every route");
    // Felt on the next request, and nobody else is touched.
    stage.grant(json!({ "requests_per_day": 3 })).await;
    assert_eq!(stage.ask().await.status, 200);
    assert_eq!(stage.gateway.post("/chat", Some(&stage.admin), hello()).await.status, 200);
}

#[actix_web::test]
async fn a_request_that_is_refused_later_costs_nothing_of_the_day() {
    let stage = Stage::set().await;
    stage.grant(json!({ "requests_per_day": 1, "tokens_per_day": 1000 })).await;
    let mut wrong = hello();
    wrong["model"] = json!("nobody-has-this");

    assert_eq!(stage.gateway.post("/v1/chat/completions", Some(&stage.ann), wrong).await.status, 404);
    let broken = stage.gateway.post("/v1/chat/completions", Some(&stage.ann), json!({ "model": 5 })).await;
    assert_eq!(broken.status, 400);

    assert_eq!(stage.left("requests_per_day").await, json!([1, 0, 0, 1]));
    assert_eq!(stage.left("tokens_per_day").await, json!([1000, 0, 0, 1000]));
    assert_eq!(stage.ask().await.status, 200);
}

#[actix_web::test]
async fn tokens_are_held_while_a_request_runs_and_what_it_did_not_use_comes_back() {
    let stage = Stage::set().await;
    stage.grant(json!({ "tokens_per_day": 100 })).await;
    stage.fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let running = stage.ask_for(60);
    let watching = async {
        stage.fake.until(|chats| chats.len() == 1).await;
        // One for "hi", sixty for its answer.
        assert_eq!(stage.left("tokens_per_day").await, json!([100, 0, 61, 39]));
        let next = stage.ask_for(60).await;
        assert_eq!(
            (next.status, stage.forwarded()["options"]["num_predict"].clone()),
            (200, json!(38)),
            "cut to the rest"
        );
        stage.fake.release();
    };

    let (answered, ()) = tokio::join!(running, watching);

    assert_eq!(answered.status, 200);
    // Two times five tokens of prompt and three of answer, as the model counted them.
    assert_eq!(stage.left("tokens_per_day").await, json!([100, 16, 0, 84]));
}

#[actix_web::test]
async fn what_is_held_by_others_is_asked_for_again_soon_and_what_is_used_up_tomorrow() {
    let stage = Stage::set().await;
    stage.grant(json!({ "tokens_per_day": 10 })).await;
    stage.fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let running = stage.ask();
    let watching = async {
        stage.fake.until(|chats| chats.len() == 1).await;
        let held = stage.ask().await;
        assert_eq!(code(&held), (429, "rate_limit_exceeded".to_owned()));
        assert_eq!((held.header("retry-after"), held.header("x-should-retry")), (Some("5"), None));
        stage.fake.release();
    };
    assert_eq!(tokio::join!(running, watching).0.status, 200);
    assert_eq!(stage.left("tokens_per_day").await, json!([10, 8, 0, 2]));

    assert_eq!(stage.ask().await.status, 200, "one token of prompt, one of answer");
    assert_eq!(stage.forwarded()["options"]["num_predict"], 1);

    let newest = stage.gateway.newest_outcome(&stage.admin, "completed").await;
    let story = format!("/api/v1/audit/{}", newest["request_id"].as_str().unwrap());
    let story = stage.gateway.get(&story, Some(&stage.admin)).await.text();
    assert!(story.contains("clamped max_tokens to 1: that many are left of `tokens_per_day`"), "{story}");
    assert_eq!(code(&stage.ask().await), insufficient());
}

#[actix_web::test]
async fn a_client_that_leaves_is_charged_what_came_and_what_it_held_is_free() {
    let mut stage = Stage::set().await;
    stage.grant(json!({ "tokens_per_day": 1000, "gpu_seconds_per_day": 1000 })).await;
    stage.fake.next(Script::of(vec![text("one"), text(" two"), text(" three"), Step::Wait]));
    let body = hello_stream().to_string().into_bytes();
    let mut answer = stage.gateway.open("POST", "/v1/chat/completions", Some(&stage.ann), body).await;
    let mut seen = String::new();
    while !seen.contains("three") {
        seen.push_str(&String::from_utf8_lossy(&answer.next().await.unwrap().unwrap()));
    }

    drop(answer);

    // One token for the prompt, as guessed, and a piece each for what came.
    stage.until_left("tokens_per_day", json!([1000, 4, 0, 996])).await;
    assert_eq!(stage.left("requests_per_day").await, json!([null, 1, 0, null]));
    let row = stage.gateway.newest_outcome(&stage.admin, "abandoned").await;
    assert_eq!((&row["answer_tokens"], &row["prompt_tokens"]), (&json!(3), &json!(1)));
    stage.gateway.kill();
    stage.gateway.restart();
    assert_eq!(stage.left("tokens_per_day").await, json!([1000, 4, 0, 996]), "the same after a restart");
    assert_eq!(stage.left("requests_per_day").await, json!([null, 1, 0, null]));
}

#[actix_web::test]
async fn gpu_seconds_of_a_day_are_what_the_model_server_says() {
    let stage = Stage::set().await;
    stage.grant(json!({ "gpu_seconds_per_day": 1 })).await;
    let end = r#"{"model":"fake","created_at":"2026-01-01T00:00:00.3Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","load_duration":500000000,"prompt_eval_count":5,"prompt_eval_duration":300000000,"eval_count":3,"eval_duration":200000000}"#;
    let took = Step::Sleep(std::time::Duration::from_millis(1100));
    stage.fake.next(Script { before: vec![took], ..Script::lines(&[end]) });

    assert_eq!(stage.ask().await.status, 200);

    assert_eq!(stage.left("gpu_seconds_per_day").await, json!([1, 1, 0, 0]));
    assert_eq!(code(&stage.ask().await), insufficient());
}

#[actix_web::test]
async fn tokens_per_minute_are_told_in_the_heads_that_sdks_read() {
    let stage = Stage::set().await;
    let without = stage.ask().await;
    assert_eq!(without.header("x-ratelimit-limit-tokens"), None);
    // One comes back each second.
    stage.grant(json!({ "tokens_per_minute": 60 })).await;

    let began = Instant::now();
    let first = stage.ask_for(50).await;
    let second = stage.ask_for(60).await;
    let seconds = began.elapsed().as_secs();

    let head = |answer: &Answer, name: &str| -> String {
        answer.header(&format!("x-ratelimit-{name}-tokens")).unwrap().to_owned()
    };
    assert_eq!((first.status, head(&first, "limit"), head(&first, "remaining")), (200, "60".into(), "9".into()));
    assert_eq!(head(&first, "reset"), "51s", "51 of 60 tokens");
    // The first used eight of the 51 that it held; the second asks for all 60.
    assert_eq!(code(&second), (429, "rate_limit_exceeded".to_owned()));
    let number = |text: &str| text.parse::<u64>().unwrap();
    let (remaining, retry_after) = (number(&head(&second, "remaining")), number(second.header("retry-after").unwrap()));
    assert!((52..=52 + seconds).contains(&remaining), "{remaining} after {seconds} s");
    assert!((8 - seconds..=8).contains(&retry_after), "{retry_after} after {seconds} s");
    assert_eq!(stage.ask_for(50).await.status, 200);
}

#[actix_web::test]
async fn answer_and_context_have_quotas_too() {
    let stage = Stage::set().await;
    stage.grant(json!({ "answer_tokens_max": 20 })).await;
    assert_eq!(stage.ask_for(21).await.status, 200);
    assert_eq!(stage.forwarded()["options"]["num_predict"], 20);

    stage.grant(json!({ "answer_tokens_max": null, "context_tokens_max": 10 })).await;

    assert_eq!(stage.ask().await.status, 200);
    assert_eq!(stage.forwarded()["options"]["num_predict"], 9, "beside the prompt's one");
    let said =
        |letters: usize| json!({ "model": "fake", "messages": [{ "role": "user", "content": "x".repeat(letters) }] });
    assert_eq!(stage.gateway.post("/v1/chat/completions", Some(&stage.ann), said(36)).await.status, 200);
    let refused = stage.gateway.post("/v1/chat/completions", Some(&stage.ann), said(37)).await;
    assert_eq!(code(&refused), (400, "context_length_exceeded".to_owned()));
    assert_eq!(refused.json()["error"]["param"], "messages");
    let texts = |letters: usize| json!({ "model": "fake", "input": ["x".repeat(letters), "y".repeat(letters)] });
    assert_eq!(stage.gateway.post("/v1/embeddings", Some(&stage.ann), texts(40)).await.status, 200, "each alone");
    assert_eq!(stage.gateway.post("/v1/embeddings", Some(&stage.ann), texts(41)).await.status, 400);
}

#[actix_web::test]
async fn a_restart_does_not_begin_the_day_anew() {
    let mut stage = Stage::set().await;
    let made = stage.gateway.post("/api/v1/tokens", Some(&stage.ann), json!({ "name": "ci" })).await.json();
    let token = made["token"].as_str().unwrap();
    for _ in 0..2 {
        assert_eq!(stage.gateway.post("/v1/chat/completions", Some(token), hello()).await.status, 200);
    }
    assert_eq!(stage.ask().await.status, 200);
    stage.grant(json!({ "requests_per_day": 10, "tokens_per_day": 1000 })).await;
    let today = async |stage: &Stage| (stage.left("requests_per_day").await, stage.left("tokens_per_day").await);
    let before = today(&stage).await;
    assert_eq!(before, (json!([10, 3, 0, 7]), json!([1000, 24, 0, 976])));
    let wait_for_sums = async |stage: &Stage| {
        let requests = async || {
            let usage = stage.gateway.get("/api/v1/me/usage", Some(&stage.ann)).await.json();
            usage["items"][0]["requests"].clone()
        };
        until("the sums are up to date", async || requests().await == 3).await;
    };

    // From the sums, from the record alone, and from both.
    wait_for_sums(&stage).await;
    for behind in [
        "",
        "DELETE FROM usage; DELETE FROM watermark WHERE name = 'usage'",
        "DELETE FROM usage; UPDATE watermark SET log_id = (SELECT max(log_id) FROM record WHERE kind = 'result') - 1 WHERE name = 'usage'; \
         INSERT INTO usage SELECT at_us - at_us % 900000000, user_id, ifnull(token_id, 0), model_asked, count(*), 0, 0, sum(prompt_tokens), sum(answer_tokens), sum(gpu_us), sum(total_us) \
         FROM record WHERE kind = 'result' AND log_id < (SELECT max(log_id) FROM record WHERE kind = 'result') GROUP BY 1, 2, 3, 4",
    ] {
        stage.gateway.kill();
        stage.gateway.on_the_file(behind);
        stage.gateway.restart();
        assert_eq!(today(&stage).await, before, "{behind}");
        wait_for_sums(&stage).await;
    }
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    let patch = of(json!({ "requests_per_day": 2 }));
    assert_eq!(stage.gateway.send("PATCH", &path, Some(&stage.ann), patch).await.status, 200);
    let refused = stage.gateway.post("/v1/chat/completions", Some(token), hello()).await;
    assert_eq!(code(&refused), insufficient(), "the token's own day, too");

    // What was yesterday's is not today's.
    stage.gateway.kill();
    stage.gateway.on_the_file(
        "DELETE FROM usage; DELETE FROM watermark WHERE name = 'usage'; UPDATE record SET at_us = at_us - 172800000000",
    );
    stage.gateway.restart();
    assert_eq!(stage.left("requests_per_day").await, json!([10, 0, 0, 10]));
}

#[actix_web::test]
async fn a_tokens_quotas_are_set_when_it_is_made_and_changed_by_its_owner_or_an_admin() {
    let stage = Stage::set().await;
    let bob = stage.gateway.user(&stage.admin, "bob").await;
    let wish = json!({ "name": "ci", "scopes": ["chat", "usage"], "quotas": { "requests_per_day": 1 } });
    let made = stage.gateway.post("/api/v1/tokens", Some(&stage.ann), wish).await.json();
    let (token, path) = (made["token"].as_str().unwrap(), format!("/api/v1/tokens/{}", made["id"].as_str().unwrap()));
    assert_eq!(made["quotas"], json!({ "requests_per_day": 1 }));
    let ask = async || stage.gateway.post("/v1/chat/completions", Some(token), hello()).await;
    let change =
        async |by: &str, body: Value| stage.gateway.send("PATCH", &path, Some(by), body.to_string().into_bytes()).await;
    assert_eq!((ask().await.status, code(&ask().await)), (200, insufficient()));
    assert_eq!(stage.ask().await.status, 200, "its owner may go on");

    let raised = change(&stage.ann, json!({ "quotas": { "requests_per_day": 2 }, "class": "batch" })).await;
    assert_eq!((raised.status, &raised.json()["class"]), (200, &json!("batch")));
    assert_eq!((ask().await.status, code(&ask().await)), (200, insufficient()));
    assert_eq!(change(&bob, json!({ "quotas": { "requests_per_day": 9 } })).await.status, 404);
    let by_admin = json!({ "quotas": { "requests_per_day": null, "tokens_per_day": 500 }, "requests_per_minute": 3 });
    let changed = change(&stage.admin, by_admin).await;
    assert_eq!(changed.json()["quotas"], json!({ "tokens_per_day": 500 }));
    assert_eq!((ask().await.status, code(&ask().await)), (200, (429, "rate_limit_exceeded".to_owned())));

    let left = stage.gateway.get("/api/v1/me/quotas", Some(token)).await.json();
    assert_eq!(
        (&left["token"]["tokens_per_day"]["used"], &left["token"]["tokens_per_day"]["left"]),
        (&json!(24), &json!(476))
    );
    assert_eq!(left["person"]["requests_per_day"]["used"], 4);
    let told = stage.gateway.detail_of("token_changed");
    assert_eq!(
        told["old"],
        json!({
            "name": told["new"]["name"],
            "networks": null,
            "requests_per_minute": null,
            "quotas": { "requests_per_day": 2 },
            "class": "batch",
        })
    );
    assert_eq!(
        json!([told["new"]["requests_per_minute"], told["new"]["quotas"], told["new"]["class"]]),
        json!([3, { "tokens_per_day": 500 }, "batch"])
    );
}

#[actix_web::test]
async fn an_admin_sees_what_is_left_and_each_change_is_on_record() {
    let stage = Stage::set().await;
    stage.grant(json!({ "tokens_per_day": 100, "requests_per_day": 5 })).await;
    stage.ask().await;

    stage.grant(json!({ "tokens_per_day": 50 })).await;

    let detail = stage.gateway.get(&format!("/api/v1/users/{}", stage.ann_id), Some(&stage.admin)).await.json();
    assert_eq!(detail["quotas"], json!({ "tokens_per_day": 50, "requests_per_day": 5 }));
    assert_eq!(
        (&detail["left"]["tokens_per_day"]["left"], &detail["left"]["requests_per_day"]["left"]),
        (&json!(42), &json!(4))
    );
    let told = stage.gateway.detail_of("user_changed");
    assert_eq!(told["old"]["quotas"], json!({ "tokens_per_day": 100, "requests_per_day": 5 }));
    assert_eq!(told["new"]["quotas"], json!({ "tokens_per_day": 50, "requests_per_day": 5 }));
    let path = format!("/api/v1/users/{}", stage.ann_id);
    for (quotas, param) in [
        (json!({ "tokens_per_day": 0 }), "quotas.tokens_per_day"),
        (json!({ "tokens_per_day": 1.5 }), "quotas.tokens_per_day"),
        (json!({ "tokens_per_year": 5 }), "quotas.tokens_per_year"),
    ] {
        let refused = stage.gateway.send("PATCH", &path, Some(&stage.admin), of(quotas.clone())).await;
        assert_eq!((refused.status, refused.json()["error"]["param"].clone()), (400, json!(param)), "{quotas}");
    }
}

#[actix_web::test]
async fn the_gateways_quotas_are_for_whoever_has_none_of_their_own() {
    let stage = Stage::set_with(&[("LIMITS__REQUESTS_PER_DAY", "1")]).await;
    stage.grant(json!({ "requests_per_day": 2 })).await;
    let bob = stage.gateway.user(&stage.admin, "bob").await;
    let bobs = async || stage.gateway.post("/v1/chat/completions", Some(&bob), hello()).await;
    assert_eq!((stage.ask().await.status, stage.ask().await.status, stage.ask().await.status), (200, 200, 429));
    assert_eq!((bobs().await.status, code(&bobs().await)), (200, insufficient()));

    let lifted = json!({ "requests_per_day": 0 }).to_string().into_bytes();
    assert_eq!(stage.gateway.send("PATCH", "/api/v1/settings", Some(&stage.admin), lifted).await.status, 200);

    assert_eq!((bobs().await.status, stage.ask().await.status), (200, 429));
}
