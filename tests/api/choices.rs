//! Several answers to one request (`n`): each generated, counted and recorded as a request of its own.

use serde_json::{Value, json};

use crate::support::fake_ollama::{Ending, FakeOllama, Script, Step, done, text};
use crate::support::gateway::{Answer, TestGateway, hello, hello_stream};

const CHAT: &str = "/v1/chat/completions";

struct Scene {
    fake: FakeOllama,
    gateway: TestGateway,
    admin: String,
}

impl Scene {
    /// A model server that runs so many requests at once.
    async fn with_slots(slots: &str) -> Scene {
        Scene::with(&[("OLLAMA__SLOTS", slots)]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Scene {
        let fake = FakeOllama::start();
        let gateway = TestGateway::start_with(&fake.url(), settings);
        let admin = gateway.admin().await;
        Scene { fake, gateway, admin }
    }

    async fn ask(&self, body: Value) -> Answer {
        self.gateway.post(CHAT, Some(&self.admin), body).await
    }

    /// The next answer is this word, of so many tokens as it has letters, and three of prompt.
    fn says(&self, word: &str) {
        self.fake.next(Script::of(vec![text(word), done("stop")]));
    }

    fn seeds(&self) -> Vec<Value> {
        let seed = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["options"]["seed"].clone();
        self.fake.chats().iter().map(|chat| seed(&chat.body)).collect()
    }

    /// Returns the rows of the answers, in their order.
    async fn rows(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        for row in self.gateway.record(&self.admin).await {
            let notes = self.notes(&row).await;
            rows.push((notes.split_once(" of ").unwrap().0.to_owned(), row));
        }
        rows.sort_by_key(|(number, _)| number.clone());
        rows.into_iter().map(|(_, row)| row).collect()
    }

    async fn notes(&self, row: &Value) -> String {
        let path = format!("/api/v1/audit/{}", row["request_id"].as_str().unwrap());
        let story = self.gateway.get(&path, Some(&self.admin)).await.json();
        story["notes"].as_str().unwrap().to_owned()
    }
}

fn several(n: u32, more: Value) -> Value {
    let mut body = hello();
    body["n"] = json!(n);
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn streamed(n: u32) -> Value {
    let mut body = hello_stream();
    body["n"] = json!(n);
    body["stream_options"] = json!({ "include_usage": true });
    body
}

fn chunks(answer: &str) -> Vec<Value> {
    let events = answer.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    events.filter(|event| *event != "[DONE]").map(|event| serde_json::from_str(event).unwrap()).collect()
}

#[actix_web::test]
async fn each_answer_is_a_generation_with_a_seed_and_a_row_of_its_own_and_the_usage_is_one() {
    let scene = Scene::with_slots("1").await;
    ["one", "two", "three"].into_iter().for_each(|word| scene.says(word));

    let answer = scene.ask(several(3, json!({ "seed": 7, "user": "u" }))).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    let choices = told["choices"].as_array().unwrap();
    let said: Vec<_> = choices.iter().map(|choice| (&choice["index"], &choice["message"]["content"])).collect();
    assert_eq!(json!(said), json!([[0, "one"], [1, "two"], [2, "three"]]));
    assert_eq!(told["usage"], json!({ "prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14 }));
    assert_eq!(scene.seeds(), [7, 8, 9]);
    assert_eq!(answer.header("x-ignored-parameters"), Some("user"));

    let rows = scene.rows().await;
    let kept: Vec<_> = rows
        .iter()
        .map(|row| (&row["outcome"], &row["status"], &row["prompt_tokens"], &row["answer_tokens"]))
        .collect();
    assert_eq!(json!(kept), json!(vec![("completed", 200, 5, 3); 3]));
    let ids: Vec<_> = rows.iter().map(|row| row["request_id"].as_str().unwrap()).collect();
    assert_eq!(answer.header("x-request-id"), Some(ids[0]));
    let first = scene.notes(&rows[0]).await;
    assert!(first.contains(&format!("answer 1 of 3; the others have the ids {}, {}", ids[1], ids[2])), "{first}");
    let third = scene.notes(&rows[2]).await;
    assert!(third.contains(&format!("answer 3 of 3 to the request {}", ids[0])), "{third}");
    assert!(third.contains("ignored user"), "{third}");
}

#[actix_web::test]
async fn a_stream_has_the_pieces_as_they_come_and_one_end() {
    let scene = Scene::with_slots("2").await;
    // The first answer waits in its middle until the second has ended.
    scene.fake.next(Script::of(vec![text("one"), Step::Wait, text("!"), done("length")]));
    scene.fake.next(Script::of(vec![text("two"), done("stop")]));
    let asking = scene.ask(streamed(2));
    let watching = async {
        scene.gateway.newest_outcome(&scene.admin, "completed").await;
        scene.fake.release();
    };

    let (answer, ()) = futures_util::future::join(asking, watching).await;

    let told = answer.text();
    assert!(told.ends_with("data: [DONE]\n\n") && told.matches("[DONE]").count() == 1, "{told}");
    let chunks = chunks(&told);
    let of = |index: u64| {
        let choices = chunks.iter().map(|chunk| &chunk["choices"][0]).filter(move |choice| choice["index"] == index);
        choices.collect::<Vec<_>>()
    };
    let said = |index| of(index).iter().filter_map(|choice| choice["delta"]["content"].as_str()).collect::<String>();
    let end = |index| of(index).last().unwrap()["finish_reason"].clone();
    assert_eq!((said(0), said(1)), ("one!".to_owned(), "two".to_owned()));
    assert_eq!((end(0), end(1)), (json!("length"), json!("stop")));
    assert!([0, 1].iter().all(|index| of(*index)[0]["delta"]["role"] == "assistant"));
    let last = chunks.last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(6)));
    let finished = |index: u64| {
        let end =
            |chunk: &Value| chunk["choices"][0]["index"] == index && !chunk["choices"][0]["finish_reason"].is_null();
        chunks.iter().position(end).unwrap()
    };
    assert!(finished(1) < finished(0), "no answer waits for another");
}

#[actix_web::test]
async fn if_one_fails_a_whole_answer_is_its_error_and_the_rows_of_the_others_say_so() {
    let scene = Scene::with_slots("2").await;
    scene.says("one");
    scene.fake.next(Script::of(vec![text("two"), Step::Wait, Step::Die]));
    let asking = scene.ask(several(3, json!({})));
    let watching = async {
        // The third one begins when the first has ended, and then runs.
        scene.fake.next(Script::of(vec![text("three"), Step::Wait]));
        scene.fake.until(|chats| chats.len() == 3).await;
        scene.fake.release();
    };

    let (answer, ()) = futures_util::future::join(asking, watching).await;

    assert_eq!(answer.status, 502, "{}", answer.text());
    let rows = scene.rows().await;
    let kept: Vec<_> = rows.iter().map(|row| (&row["outcome"], &row["reason"], &row["status"])).collect();
    assert_eq!(json!(kept), json!(vec![("failed", answer.json()["error"]["code"].as_str().unwrap(), 502); 3]));
    scene.fake.until(|chats| chats[2].ended.is_some_and(|(ending, _)| ending == Ending::Cancelled)).await;
    for row in [&rows[0], &rows[2]] {
        assert!(scene.notes(row).await.contains("ended with another answer to the same request"));
    }
}

#[actix_web::test]
async fn if_one_fails_in_a_stream_what_was_whole_before_stays_so() {
    let scene = Scene::with_slots("1").await;
    scene.says("one");
    scene.fake.next(Script::of(vec![text("two"), Step::Die]));
    scene.says("three");

    let told = scene.ask(streamed(3)).await.text();

    assert!(!told.contains("[DONE]"), "{told}");
    assert!(chunks(&told).last().unwrap()["error"]["code"].is_string(), "{told}");
    let rows = scene.rows().await;
    let ends: Vec<_> = rows.iter().map(|row| &row["outcome"]).collect();
    assert_eq!(ends, ["completed", "failed", "failed"]);
}

#[actix_web::test]
async fn a_client_that_leaves_ends_them_all() {
    let scene = Scene::with_slots("2").await;
    for _ in 0..2 {
        scene.fake.next(Script::of(vec![text("one"), Step::Wait]));
    }
    let body = streamed(3).to_string().into_bytes();
    let answer = scene.gateway.open("POST", CHAT, Some(&scene.admin), body).await;
    scene.fake.until(|chats| chats.len() == 2).await;

    drop(answer);

    scene.fake.until(|chats| chats.iter().all(|chat| chat.ended.is_some())).await;
    let all_left = async || {
        let rows = scene.rows().await;
        rows.len() == 3 && rows.iter().all(|row| row["outcome"] == "abandoned")
    };
    crate::support::eventually::until("all rows are `abandoned`", all_left).await;
}

#[actix_web::test]
async fn each_answer_counts_as_a_request_and_a_refused_request_counts_as_none() {
    let scene = Scene::with(&[("LIMITS__REQUESTS_PER_MINUTE", "5")]).await;

    let first = scene.ask(several(3, json!({}))).await;
    assert_eq!((first.status, first.header("x-ratelimit-remaining-requests")), (200, Some("2")));
    let refused = scene.ask(several(3, json!({}))).await;
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining-requests")), (429, Some("2")));
    assert!(refused.header("retry-after").is_some());
    let second = scene.ask(several(2, json!({}))).await;

    assert_eq!((second.status, second.header("x-ratelimit-remaining-requests")), (200, Some("0")));
    assert_eq!(scene.fake.chats().len(), 5);
    assert_eq!(scene.ask(hello()).await.status, 429);
}

#[actix_web::test]
async fn more_than_the_setting_or_than_ones_limit_are_refused_by_name() {
    let scene = Scene::with(&[("LIMITS__REQUESTS_PER_MINUTE", "100")]).await;
    let refused = async |n: u32| {
        let answer = scene.ask(several(n, json!({}))).await;
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("n")), "{}", answer.text());
        answer.json()["error"]["message"].as_str().unwrap().to_owned()
    };
    let set = async |changes: Value| {
        let body = changes.to_string().into_bytes();
        assert_eq!(scene.gateway.send("PATCH", "/api/v1/settings", Some(&scene.admin), body).await.status, 200);
    };

    assert_eq!(scene.ask(several(4, json!({}))).await.status, 200);
    assert!(refused(5).await.contains("at most 4"));
    set(json!({ "choices_max": 1 })).await;
    assert!(refused(2).await.contains("must be 1"));
    assert_eq!(scene.ask(several(1, json!({}))).await.status, 200);
    set(json!({ "choices_max": 16, "requests_per_day": 8 })).await;
    assert!(refused(9).await.contains("8 at once"), "trying again can't help");
    let used_up = scene.ask(several(8, json!({}))).await;
    assert_eq!((used_up.status, &used_up.json()["error"]["code"]), (429, &json!("insufficient_quota")));

    assert_eq!(scene.fake.chats().len(), 5);
    let refusals = scene.gateway.record(&scene.admin).await;
    assert!(refusals.iter().any(|row| row["kind"] == "refusal" && row["reason"] == "unsupported_parameter"));
}

#[actix_web::test]
async fn if_the_queue_has_no_place_for_one_the_request_is_refused_and_nothing_runs_on() {
    let scene = Scene::with(&[("QUEUE__WAITING_MAX", "1"), ("QUEUE__WAITING_PER_USER_MAX", "1")]).await;
    scene.fake.next(Script { before: vec![Step::Wait], ..Script::hello() });

    let answer = scene.ask(several(3, json!({}))).await;

    assert_eq!((answer.status, &answer.json()["error"]["code"]), (429, &json!("queue_full")), "{}", answer.text());
    let all_closed = async || {
        let rows = scene.rows().await;
        rows.len() == 2
            && rows.iter().all(|row| (&row["outcome"], &row["reason"]) == (&json!("refused"), &json!("queue_full")))
    };
    crate::support::eventually::until("both that had a place are closed", all_closed).await;
    assert_eq!(scene.ask(hello()).await.status, 200, "the slot is free");
}

#[actix_web::test]
async fn completions_have_several_answers_too() {
    let scene = Scene::with_slots("1").await;
    let body = json!({ "model": "fake", "prompt": "The sea is", "n": 2, "seed": -1 });

    let answer = scene.gateway.post("/v1/completions", Some(&scene.admin), body).await;

    let told = answer.json();
    assert_eq!(
        (told["choices"][1]["index"].clone(), told["choices"][1]["text"].clone()),
        (json!(1), json!(" blue and wide"))
    );
    assert_eq!(told["usage"], json!({ "prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10 }));
    assert_eq!(scene.fake.chats().iter().filter(|chat| chat.path == "/api/generate").count(), 2);
}
