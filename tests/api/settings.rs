//! What an admin may change while the gateway runs: felt on the next request, recorded, put back.

use serde_json::{Value, json};

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{Answer, TestGateway, hello};

const PATH: &str = "/api/v1/settings";

async fn set(gateway: &TestGateway, admin: &str, changes: Value) -> Answer {
    gateway.send("PATCH", PATH, Some(admin), changes.to_string().into_bytes()).await
}

fn named(settings: &Answer, name: &str) -> Value {
    assert_eq!(settings.status, 200, "{}", settings.text());
    let all = settings.json();
    all["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap().clone()
}

#[actix_web::test]
async fn a_setting_stands_above_the_file_until_it_is_put_back_and_over_a_restart() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1")]);
    let admin = gateway.admin().await;
    let before = named(&gateway.get(PATH, Some(&admin)).await, "requests_per_minute");
    assert_eq!(
        json!([before["value"], before["of_file"], before["overridden"], before["least"], before["most"]]),
        json!([1, 1, false, 1, 1_000_000])
    );

    let changed = named(&set(&gateway, &admin, json!({ "requests_per_minute": 2 })).await, "requests_per_minute");

    assert_eq!(
        json!([changed["value"], changed["of_file"], changed["overridden"], changed["changed_by"]]),
        json!([2, 1, true, "admin"])
    );
    gateway.kill();
    gateway.restart();
    let chat = async || gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status;
    assert_eq!((chat().await, chat().await, chat().await), (200, 200, 429));
    let put_back = named(&set(&gateway, &admin, json!({ "requests_per_minute": null })).await, "requests_per_minute");
    assert_eq!(json!([put_back["value"], put_back["overridden"], put_back["changed_at"]]), json!([1, false, null]));
    let acts = gateway.get("/api/v1/audit?kind=act", Some(&admin)).await.json();
    let acts = acts["items"].as_array().unwrap().iter().filter(|act| act["act"] == "settings_changed");
    assert_eq!(acts.count(), 2);
}

#[actix_web::test]
async fn each_setting_is_felt_on_the_next_request() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ask = async |message: Value| {
        let body = json!({ "model": "fake", "messages": [message] });
        gateway.post("/v1/chat/completions", Some(&admin), body).await
    };
    let text = |letters: usize| json!({ "role": "user", "content": "x".repeat(letters) });
    let pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let images = |count: usize| {
        let image = json!({ "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{pixel}") } });
        json!({ "role": "user", "content": vec![image; count] })
    };
    let padded = |bytes: usize| {
        use base64::Engine;
        let mut image = base64::engine::general_purpose::STANDARD.decode(pixel).unwrap();
        image.resize(bytes, 0);
        let image = base64::engine::general_purpose::STANDARD.encode(image);
        let url = json!({ "url": format!("data:image/png;base64,{image}") });
        json!({ "role": "user", "content": [{ "type": "image_url", "image_url": url }] })
    };
    set(&gateway, &admin, json!({ "requests_per_minute": 1000 })).await;

    for (changes, most, more, status, param) in [
        (json!({ "prompt_bytes_max": 50 }), text(50), text(51), 413, json!("messages")),
        (json!({ "prompt_bytes_max": null }), text(51), text((1 << 20) + 1), 413, json!("messages")),
        (json!({ "images_per_request_max": 2 }), images(2), images(3), 400, json!("messages[0].content[2].image_url")),
        (
            json!({ "image_bytes_max": 1024 }),
            padded(1024),
            padded(1025),
            400,
            json!("messages[0].content[0].image_url"),
        ),
        (json!({ "body_bytes_max": 1024 }), text(900), text(1024), 413, json!(null)),
    ] {
        assert_eq!(set(&gateway, &admin, changes.clone()).await.status, 200, "{changes}");
        assert_eq!(ask(most).await.status, 200, "{changes}");
        let refused = ask(more).await;
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (status, &param), "{changes}");
    }

    let two = json!({ "model": "fake", "messages": [text(1)], "n": 2 });
    assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), two.clone()).await.status, 200);
    set(&gateway, &admin, json!({ "choices_max": 1 })).await;
    assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), two).await.status, 400);

    set(&gateway, &admin, json!({ "answer_tokens_max": 7 })).await;
    assert_eq!(ask(text(1)).await.status, 200);
    let forwarded: Value = serde_json::from_slice(&fake.chats().last().unwrap().body).unwrap();
    assert_eq!(forwarded["options"]["num_predict"], 7);
    set(&gateway, &admin, json!({ "context_tokens_max": 4 })).await;
    let (fits, refused) = (ask(text(4)).await, ask(text(13)).await);
    assert_eq!((fits.status, refused.status), (200, 400), "three of four are left for the answer, or none");
    set(&gateway, &admin, json!({ "context_tokens_max": null, "answer_tokens_max": null })).await;
    set(&gateway, &admin, json!({ "tokens_per_minute": 1 })).await;
    assert_eq!(ask(text(1)).await.status, 400, "no room for an answer");
    set(&gateway, &admin, json!({ "tokens_per_minute": null, "tokens_per_day": 1 })).await;
    assert_eq!(ask(text(1)).await.status, 429, "more were used before");
    set(&gateway, &admin, json!({ "tokens_per_day": null })).await;
    set(&gateway, &admin, json!({ "requests_per_day": 1 })).await;
    assert_eq!(ask(text(1)).await.status, 429, "more were made before");
    set(&gateway, &admin, json!({ "requests_per_day": null, "gpu_seconds_per_day": 1 })).await;
    assert_eq!(ask(text(1)).await.status, 200);
    set(&gateway, &admin, json!({ "requests_per_minute_total": 1 })).await;
    assert_eq!(ask(text(1)).await.status, 429);
}

#[actix_web::test]
async fn connections_per_address_are_counted_against_the_setting_of_the_moment() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let address = gateway.url.strip_prefix("http://").unwrap().to_owned();
    let answered = || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let sent = stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let read = sent.and_then(|()| stream.read(&mut [0; 12])).unwrap_or(0);
        (stream, read > 0)
    };
    let (kept, served) = answered();
    assert!(served);

    assert_eq!(set(&gateway, &admin, json!({ "connections_per_address_max": 1 })).await.status, 200);

    assert!(!answered().1, "one is open already");
    drop(kept);
}

#[actix_web::test]
async fn what_can_not_be_set_is_named_and_nothing_is_changed() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    assert_eq!(set(&gateway, &ann, json!({ "requests_per_minute": 2 })).await.status, 403);
    assert_eq!(gateway.get(PATH, Some(&ann)).await.status, 403);

    for (changes, param) in [
        (json!({ "requests_per_minute": 0 }), json!("requests_per_minute")),
        (json!({ "requests_per_minute": 1_000_001 }), json!("requests_per_minute")),
        (json!({ "requests_per_minute": 1.5 }), json!("requests_per_minute")),
        (json!({ "requests_per_minute": "5" }), json!("requests_per_minute")),
        (json!({ "answer_tokens_max": 5, "listen": 5 }), json!("listen")),
        (json!({ "body_bytes_max": 1023 }), json!("body_bytes_max")),
    ] {
        let refused = set(&gateway, &admin, changes.clone()).await;
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &param), "{changes}");
    }

    for (changes, param) in [
        (json!({ "repeats_free": 61 }), json!("repeats_free")),
        (json!({ "errors_free": 9, "errors_max": 8 }), json!("errors_free")),
        (json!({ "requests_per_minute": 9, "requests_per_minute_total": 8 }), json!("requests_per_minute")),
        (json!({ "waiting_per_user_max": 9, "waiting_max": 8 }), json!("waiting_per_user_max")),
    ] {
        let refused = set(&gateway, &admin, changes.clone()).await;
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &param), "{changes}");
    }

    let settings = gateway.get(PATH, Some(&admin)).await.json();
    assert!(settings["items"].as_array().unwrap().iter().all(|setting| setting["overridden"] == false));
    assert!(!gateway.get("/api/v1/audit?kind=act", Some(&admin)).await.text().contains("settings_changed"));
}

#[actix_web::test]
async fn a_change_must_not_contradict_what_was_said_before_and_a_default_gives_way() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("QUEUE__WAITING_PER_USER_MAX", "5")]);
    let admin = gateway.admin().await;
    let change = async |changes: Value| set(&gateway, &admin, changes).await;

    assert_eq!(change(json!({ "waiting_max": 4 })).await.status, 200, "a bound can be lowered at any time");
    let refused = change(json!({ "waiting_per_user_max": 6 })).await;
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("waiting_per_user_max")));
    assert!(
        refused.text().contains("`waiting_per_user_max` is 6, more than the 4 of `waiting_max`"),
        "{}",
        refused.text()
    );
    assert_eq!(change(json!({ "waiting_per_user_max": 4 })).await.status, 200);
    let refused = change(json!({ "waiting_per_user_max": null })).await;
    assert_eq!(refused.status, 400, "the file's 5 again, against the 4 of the change");
    assert_eq!(change(json!({ "waiting_per_user_max": 6, "waiting_max": 6 })).await.status, 200, "both at once");
    assert_eq!(change(json!({ "requests_per_minute_total": 1 })).await.status, 200, "10 a person are a default");
    assert_eq!(change(json!({ "repeats_free": 60 })).await.status, 200, "no more than the pause");
    let (good, text) = gateway.command(&["settings", "set", "repeats_max", "59"], "");
    assert!(!good && text.contains("`repeats_free` is 60, more than the 59"), "{text}");
    assert!(gateway.command(&["settings", "set", "repeats_max", "0"], "").0, "0 turns the pause off");
}

#[actix_web::test]
async fn the_keys_of_the_file_are_shown_with_their_sources_and_without_secrets() {
    let fake = FakeOllama::start();
    let secret = "s3cret-of-the-proxy";
    let url = fake.url();
    let settings = [("UPSTREAM__LOCAL__URL", url.as_str()), ("UPSTREAM__LOCAL__SECRET", secret)];
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &settings);
    let admin = gateway.admin().await;
    gateway.send("PATCH", PATH, Some(&admin), br#"{"repeats_max":90}"#.to_vec()).await;

    let answer = gateway.get("/api/v1/settings/file", Some(&admin)).await;

    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains(secret));
    let items = answer.json()["items"].clone();
    let key = |name: &str| items.as_array().unwrap().iter().find(|item| item["key"] == name).unwrap().clone();
    let hidden = key("upstream.local.secret");
    assert_eq!((&hidden["source"], hidden.get("value")), (&json!("environment"), None));
    assert_eq!(key("upstream.local.url")["value"], url.as_str());
    assert_eq!(
        (key("breaker.repeats_max")["value"].clone(), &key("breaker.repeats_max")["changed_to"]),
        (json!(60), &json!(90))
    );
    let (good, table) = gateway.command(&["settings", "file"], "");
    assert!(good && table.contains("(secret)") && table.contains("LGW_UPSTREAM__LOCAL__SECRET"), "{table}");
    assert!(!table.contains(secret));

    let listed = gateway.get(PATH, Some(&admin)).await;
    let repeats = named(&listed, "repeats_max");
    assert_eq!(
        (&repeats["section"], &repeats["default"], &repeats["value"]),
        (&json!("breaker"), &json!(60), &json!(90))
    );
}
