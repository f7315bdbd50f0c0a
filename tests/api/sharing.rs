//! The queue from outside: fair, bounded, visible, and nothing of it is lost.

use std::cell::Cell;
use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, join, stream};
use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, Step};
use crate::support::gateway::{Answer, TestGateway, client, client_without_timeout};

const CHAT: &str = "/v1/chat/completions";

/// So many requests that no limit is met, for tests that are about the queue.
const UNLIMITED: [(&str, &str); 2] =
    [("LIMITS__REQUESTS_PER_MINUTE", "1000000"), ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "1000000")];

/// A gateway in front of a model server with one slot, unless its settings say more.
struct Scene {
    fake: FakeOllama,
    gateway: TestGateway,
    admin: String,
}

async fn given(settings: &[(&str, &str)]) -> Scene {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), settings);
    let admin = gateway.admin().await;
    Scene { fake, gateway, admin }
}

impl Scene {
    fn admin(&self) -> Person<'_> {
        Person { gateway: &self.gateway, token: self.admin.clone() }
    }

    async fn person(&self, name: &str) -> Person<'_> {
        Person { gateway: &self.gateway, token: self.gateway.user(&self.admin, name).await }
    }

    /// The next request keeps its slot until `frees_the_slot`.
    fn holds_the_slot(&self) {
        self.fake.next(Script { before: vec![Step::Wait], ..Script::hello() });
    }

    fn frees_the_slot(&self) {
        self.fake.release();
    }

    /// The next request keeps its slot for that long.
    fn works_for(&self, millis: u64) {
        self.fake.next(Script { before: vec![Step::Sleep(Duration::from_millis(millis))], ..Script::hello() });
    }

    /// Waits until so many requests have reached the model server.
    async fn until_begun(&self, count: usize) {
        self.fake.until(|chats| chats.len() >= count).await;
    }

    /// Waits until so many requests wait. Returns the queue as the admin sees it then.
    async fn until_waiting(&self, count: u64) -> Value {
        self.gateway.until_waiting(&self.admin, count).await
    }

    /// Returns the words of the requests that have reached the model server, in their order.
    fn heard(&self) -> Vec<String> {
        let word = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["messages"][0]["content"].clone();
        self.fake.chats().iter().map(|chat| word(&chat.body).as_str().unwrap().to_owned()).collect()
    }

    /// Returns the row of the one request that a user has made.
    async fn row_of(&self, name: &str) -> Value {
        let user = format!("{name}@example.org");
        self.gateway.record(&self.admin).await.into_iter().find(|row| row["user"] == user.as_str()).unwrap()
    }
}

/// A person with an access token.
#[derive(Clone)]
struct Person<'a> {
    gateway: &'a TestGateway,
    token: String,
}

impl Person<'_> {
    async fn asks(&self, word: &str) -> Told {
        self.sends(says(word)).await
    }

    async fn asks_model(&self, model: &str, word: &str) -> Told {
        self.sends(json!({ "model": model, "messages": [{ "role": "user", "content": word }] })).await
    }

    async fn asks_for_a_stream(&self) -> Told {
        self.sends(json!({ "model": "fake", "stream": true, "messages": [{ "role": "user", "content": "hi" }] })).await
    }

    /// Asks in a class of the queue: `interactive` or `batch`.
    async fn asks_in(&self, class: &str, word: &str) -> u16 {
        let request = client().post(format!("{}{CHAT}", self.gateway.url)).bearer_auth(&self.token);
        request.insert_header(("x-queue-class", class)).send_json(&says(word)).await.unwrap().status().as_u16()
    }

    async fn sends(&self, body: Value) -> Told {
        Told::from(self.gateway.post(CHAT, Some(&self.token), body).await)
    }

    async fn sees_the_queue(&self) -> Value {
        self.gateway.get("/api/v1/queue", Some(&self.token)).await.json()
    }
}

fn says(word: &str) -> Value {
    json!({ "model": "fake", "messages": [{ "role": "user", "content": word }] })
}

/// What a client is told: whether it was served, and how it stood in the queue.
#[derive(Debug)]
struct Told {
    status: u16,
    /// The `code` of an error.
    code: Option<String>,
    position: Option<u64>,
    wait_ms: Option<u64>,
    retry_after: Option<u64>,
    text: String,
}

impl From<Answer> for Told {
    fn from(answer: Answer) -> Self {
        let number = |name| answer.header(name).map(|number| number.parse().unwrap());
        let text = answer.text();
        let error: Option<Value> = serde_json::from_str(&text).ok();
        Told {
            status: answer.status,
            code: error.and_then(|error| error["error"]["code"].as_str().map(str::to_owned)),
            position: number("x-queue-position"),
            wait_ms: number("x-queue-wait-ms"),
            retry_after: number("retry-after"),
            text,
        }
    }
}

impl Told {
    /// The status, and the code of an error.
    fn refusal(&self) -> (u16, &str) {
        (self.status, self.code.as_deref().unwrap_or_default())
    }
}

#[actix_web::test]
async fn one_persons_many_requests_do_not_hold_up_anothers_first() {
    let scene = given(&[]).await;
    let (ann, bob) = (scene.person("ann").await, scene.person("bob").await);
    scene.holds_the_slot();

    let (first, _, _, person, (queue, own)) = join!(
        ann.asks("ann 1"),
        async {
            scene.until_begun(1).await;
            ann.asks("ann 2").await
        },
        async {
            scene.until_begun(1).await;
            ann.asks("ann 3").await
        },
        async {
            scene.until_waiting(2).await;
            bob.asks("bob 1").await
        },
        async {
            let queue = scene.until_waiting(3).await;
            let own = bob.sees_the_queue().await;
            scene.frees_the_slot();
            (queue, own)
        }
    );

    let order = scene.heard();
    assert_eq!((order[0].as_str(), order[1].as_str(), order.len()), ("ann 1", "bob 1", 4));
    assert_eq!(first.position, Some(0));
    assert_eq!(person.position, Some(1));
    assert!(person.wait_ms.is_some());

    assert_eq!((&queue["running"], &queue["hosts"][0]["free"]), (&json!(1), &json!(0)));
    let seen = |at: usize, key: &str| queue["items"][at][key].clone();
    assert_eq!(
        (seen(0, "state"), seen(0, "host"), seen(0, "position")),
        (json!("running"), json!("local"), Value::Null)
    );
    assert_eq!(
        (seen(3, "state"), seen(3, "user"), seen(3, "position")),
        (json!("waiting"), json!("bob@example.org"), json!(1))
    );
    assert!(seen(3, "begins_in_ms").as_u64() < seen(3, "ends_in_ms").as_u64());
    assert_eq!(own["items"].as_array().unwrap().len(), 1, "everybody sees their own place alone: {own}");
    assert_eq!((&own["waiting"], &own["items"][0]["user"]), (&json!(3), &json!("bob@example.org")));
}

#[actix_web::test]
async fn a_request_may_ask_to_stand_behind_the_interactive_ones() {
    let scene = given(&[]).await;
    let admin = scene.admin();
    scene.holds_the_slot();

    join!(
        admin.asks_in("interactive", "first"),
        async {
            scene.until_begun(1).await;
            admin.asks_in("batch", "batch").await
        },
        async {
            scene.until_waiting(1).await;
            admin.asks_in("interactive", "interactive").await
        },
        async {
            scene.until_waiting(2).await;
            scene.frees_the_slot();
        }
    );

    assert_eq!(scene.heard(), ["first", "interactive", "batch"]);
    assert_eq!(admin.asks_in("urgent", "wrong").await, 400);
}

#[actix_web::test]
async fn a_full_waiting_room_refuses_its_owner_with_429_and_the_others_with_503() {
    let scene = given(&[("QUEUE__WAITING_MAX", "2"), ("LIMITS__REQUESTS_PER_MINUTE", "100")]).await;
    let narrower = br#"{"waiting_per_user_max":1}"#.to_vec();
    assert_eq!(scene.gateway.send("PATCH", "/api/v1/settings", Some(&scene.admin), narrower).await.status, 200);
    let (ann, bob) = (scene.person("ann").await, scene.person("bob").await);
    scene.holds_the_slot();

    let (_, _, _, (yours, everybodys)) = join!(
        ann.asks("runs"),
        async {
            scene.until_begun(1).await;
            ann.asks("waits").await
        },
        async {
            scene.until_begun(1).await;
            bob.asks("waits").await
        },
        async {
            scene.until_waiting(2).await;
            let refused = (ann.asks("one too many").await, scene.admin().asks("one too many").await);
            scene.frees_the_slot();
            refused
        }
    );

    assert_eq!(yours.refusal(), (429, "queue_full"));
    assert_eq!(everybodys.refusal(), (503, "host_busy"));
    for refused in [yours, everybodys] {
        assert!((1..=120).contains(&refused.retry_after.unwrap()));
    }
}

/// An image of so many bytes as it is held, and a third more in the body.
fn shows_an_image(bytes: usize) -> Value {
    use base64::Engine;
    // What begins like a PNG of one pixel is taken for one.
    let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01".to_vec();
    image.resize(bytes, 0);
    let url = format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(image));
    let part = json!({ "type": "image_url", "image_url": { "url": url } });
    json!({ "model": "fake", "messages": [{ "role": "user", "content": [part] }] })
}

#[actix_web::test]
async fn what_waits_is_bounded_in_bytes_and_images_count_as_they_are_held() {
    let scene = given(&[("QUEUE__WAITING_BYTES_MAX", "4000")]).await;
    let (admin, ann) = (scene.admin(), scene.person("ann").await);
    scene.holds_the_slot();

    let (_, (refused, waited), _) = join!(
        admin.asks("runs"),
        async {
            scene.until_begun(1).await;
            // As text in the body 2,400 bytes, and 1,800 as an image.
            let refused = ann.sends(shows_an_image(1800)).await;
            (refused, ann.asks(&"x".repeat(3000)).await)
        },
        async {
            scene.until_waiting(1).await;
            scene.frees_the_slot();
        }
    );

    assert_eq!(refused.refusal(), (503, "host_busy"));
    assert_eq!(waited.status, 200);
}

#[actix_web::test]
async fn a_stream_and_a_wait_that_was_too_long_tell_how_they_stood_in_the_queue() {
    let scene = given(&[("QUEUE__WAIT_SECONDS_MAX", "1")]).await;
    let (admin, ann) = (scene.admin(), scene.person("ann").await);
    scene.holds_the_slot();

    let (streamed, refused) = join!(admin.asks_for_a_stream(), async {
        scene.until_begun(1).await;
        let refused = ann.asks("waits").await;
        scene.frees_the_slot();
        refused
    });

    assert_eq!((streamed.status, streamed.position), (200, Some(0)));
    assert!(streamed.wait_ms.is_some());
    assert_eq!((refused.refusal(), refused.position), ((503, "host_busy"), Some(1)));
    assert!(refused.wait_ms.unwrap() >= 1000);
    assert!(refused.retry_after.unwrap() >= 1);
    let row = scene.row_of("ann").await;
    assert_eq!(json!([row["outcome"], row["reason"], row["status"]]), json!(["refused", "host_busy", 503]));
}

/// Keeps so many requests outstanding until `is_over`.
async fn keeps_asking(person: &Person<'_>, outstanding: usize, model: &str, word: &str, is_over: &Cell<bool>) {
    let one = async || {
        while !is_over.get() {
            assert_eq!(person.asks_model(model, word).await.status, 200);
        }
    };
    join_all((0..outstanding).map(|_| one())).await;
}

#[actix_web::test]
async fn a_newcomer_to_a_crowded_model_has_turns_though_another_model_has_a_slot_for_somebody_alone() {
    let two_models = [("OLLAMA__SLOTS", "2"), ("OLLAMA__SLOTS_PER_MODEL", "1"), ("OLLAMA__MODELS_LOADED", "2")];
    let scene = given(&[&two_models[..], &UNLIMITED].concat()).await;
    for _ in 0..1000 {
        scene.holds_the_slot();
    }
    let (ann, carl, dora) = (scene.person("ann").await, scene.person("carl").await, scene.person("dora").await);
    let is_over = Cell::new(false);
    // Ends what has run longest, and waits for what begins in its place.
    let goes_on = async || {
        let begun = scene.heard().len();
        scene.frees_the_slot();
        scene.until_begun(begun + 1).await;
    };
    let answered = || {
        let (words, chats) = (scene.heard(), scene.fake.chats());
        words.iter().zip(chats).filter(|(word, chat)| *word == "dora" && chat.ended.is_some()).count()
    };
    let she_waits = |queue: &Value| {
        queue["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["user"] == "dora@example.org" && item["state"] == "waiting")
    };

    let (_, _, anns) = join!(
        keeps_asking(&ann, 6, "fake", "ann", &is_over),
        keeps_asking(&carl, 2, "llama3.2", "carl", &is_over),
        async {
            scene.until_begun(2).await;
            for _ in 0..60 {
                goes_on().await;
            }
            let mut anns = 0;
            for turn in 1..=10 {
                let served = async {
                    scene.gateway.until_queue(&scene.admin, "dora waits", she_waits).await;
                    let before = scene.heard().len();
                    while answered() < turn {
                        goes_on().await;
                    }
                    let heard = scene.heard();
                    let hers = heard.iter().rposition(|word| word == "dora").unwrap();
                    anns += heard[before..hers].iter().filter(|word| *word == "ann").count();
                };
                assert_eq!(join!(dora.asks("dora"), served).0.status, 200);
            }
            is_over.set(true);
            // Those that still run or wait, and ask no more.
            (0..20).for_each(|_| scene.frees_the_slot());
            anns
        }
    );

    assert!(anns <= 11, "ann had {anns} turns while dora had ten");
}

#[actix_web::test]
async fn a_stream_that_waited_has_its_full_time_from_its_turn_on() {
    let scene = given(&[
        ("ANSWERS__ANSWER_SECONDS_MAX", "3"),
        ("ANSWERS__HEAD_START_SECONDS_MAX", "1"),
        ("ANSWERS__HEARTBEAT_SECONDS", "1"),
    ])
    .await;
    let (admin, ann, bob) = (scene.admin(), scene.person("ann").await, scene.person("bob").await);
    [2000, 2000, 500].into_iter().for_each(|millis| scene.works_for(millis));

    let (_, _, streamed) = join!(bob.asks("first"), admin.asks("second"), async {
        scene.until_waiting(1).await;
        ann.asks_for_a_stream().await
    });

    // Its first byte, a heartbeat, came three seconds before its turn, and its answer half a second after that.
    assert!(streamed.text.ends_with("data: [DONE]\n\n"), "{}", streamed.text);
    assert_eq!(scene.row_of("ann").await["outcome"], "completed");
}

/// How many bytes the files of the data folder have.
fn bytes_on_disk(gateway: &TestGateway) -> u64 {
    let files = std::fs::read_dir(gateway.data_dir()).unwrap();
    files.map(|file| file.unwrap().metadata().map_or(0, |file| file.len())).sum()
}

#[actix_web::test]
async fn a_flood_of_refusals_leaves_few_rows() {
    let one_waits = [("QUEUE__WAITING_PER_USER_MAX", "1"), ("QUEUE__WAIT_SECONDS_MAX", "3600")];
    let scene = given(&[&one_waits[..], &UNLIMITED].concat()).await;
    let ann = scene.person("ann").await;
    scene.holds_the_slot();

    let held = async |word: &str| {
        let request = client_without_timeout().post(format!("{}{CHAT}", scene.gateway.url)).bearer_auth(&ann.token);
        assert_eq!(request.send_json(&says(word)).await.unwrap().status(), 200);
    };

    let (_, _, (statuses, grown)) = join!(held("runs"), held("waits"), async {
        scene.until_waiting(1).await;
        let before = bytes_on_disk(&scene.gateway);
        let one = async || ann.asks("one too many").await.status;
        let statuses: Vec<u16> = stream::iter((0..10_000).map(|_| one())).buffer_unordered(32).collect().await;
        let grown = bytes_on_disk(&scene.gateway).saturating_sub(before);
        scene.frees_the_slot();
        (statuses, grown)
    });

    assert!(statuses.iter().all(|status| *status == 429));
    // A row at once and one for the rest, for each minute that the flood took.
    let rows = scene.gateway.record(&scene.admin).await;
    let refusals = rows.into_iter().filter(|row| row["kind"] == "refusal").count();
    assert!(refusals <= 20, "{refusals} rows");
    assert!(grown < 1 << 20, "{grown} bytes");
}

/// How long a client waits before it leaves. Some leave before their request is read, some while they wait, some in the middle
/// of the answer, and seven of ten stay.
fn patience_of(number: usize) -> Duration {
    // A sequence that spreads well enough to choose who leaves.
    let leaves = (number * 7) % 10 < 3;
    if leaves { Duration::from_micros(200 * (number as u64 % 80)) } else { Duration::from_secs(60) }
}

#[actix_web::test]
async fn ten_thousand_requests_of_which_a_third_leave_lose_no_slot_and_cross_no_answer() {
    const REQUESTS: usize = 10_000;
    const NAMES: [&str; 4] = ["ann", "bob", "cid", "dan"];
    let room = [("OLLAMA__SLOTS", "8"), ("QUEUE__WAITING_MAX", "100"), ("QUEUE__WAITING_PER_USER_MAX", "100")];
    let scene = given(&[&room[..], &UNLIMITED].concat()).await;
    scene.fake.echo();
    let mut tokens = Vec::new();
    for name in NAMES {
        tokens.push(scene.person(name).await.token);
    }
    let client = client();
    let send = |number: usize| {
        let request = client.post(format!("{}{CHAT}", scene.gateway.url)).bearer_auth(&tokens[number % NAMES.len()]);
        async move {
            let word = format!("nonce-{number}-");
            let answer = async {
                let mut answer = request.send_json(&says(&word)).await.unwrap();
                (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
            };
            let (status, body) = tokio::time::timeout(patience_of(number), answer).await.ok()?;
            assert_eq!(status, 200, "{body}");
            assert_eq!(body["choices"][0]["message"]["content"], word.as_str(), "somebody else's answer");
            body["id"].as_str().map(str::to_owned)
        }
    };

    let answered: Vec<Option<String>> = stream::iter((0..REQUESTS).map(send)).buffer_unordered(64).collect().await;

    let answered: HashSet<String> = answered.into_iter().flatten().collect();
    assert!((REQUESTS * 7 / 10..REQUESTS).contains(&answered.len()), "{}", answered.len());
    let is_empty = |queue: &Value| queue["waiting"] == 0 && queue["running"] == 0;
    let queue = scene.gateway.until_queue(&scene.admin, "the queue is empty", is_empty).await;
    assert_eq!((&queue["hosts"][0]["free"], &queue["items"]), (&json!(8), &json!([])));

    let (mut abandoned, mut completed) = (0, HashSet::new());
    for name in NAMES {
        let lines = scene.gateway.export(&scene.admin, &format!("{name}@example.org"), "jsonl").await;
        for line in lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            if line["receipt"].is_string() {
                continue;
            }
            match line["outcome"].as_str() {
                Some("completed") => {
                    completed.insert(format!("chatcmpl-{}", line["request_id"].as_str().unwrap().replace('-', "")));
                }
                Some("abandoned") => abandoned += 1,
                _ => panic!("neither completed nor abandoned: {line}"),
            }
        }
    }
    assert!(answered.is_subset(&completed), "each answer has its row");
    assert!(abandoned >= REQUESTS / 10, "too few were cut off to show anything: {abandoned}");
    assert!(scene.fake.chats().len() <= completed.len() + abandoned, "what was forwarded has its row");
}
