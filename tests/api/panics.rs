//! A panic on purpose, wherever a request passes or something runs beside it: nothing stays open, and nobody waits in vain.

use serde_json::json;

use crate::notices::{QUICK, add, register, webhook};
use crate::support::fake_ollama::FakeOllama;
use crate::support::faults::Panics;
use crate::support::gateway::{TestGateway, hello, hello_stream};
use crate::support::webhook_sink::WebhookSink;

fn start(fake: &FakeOllama, panics: &Panics) -> TestGateway {
    let (name, file) = panics.setting();
    // More requests than a person has in a minute.
    TestGateway::start_with(&fake.url(), &[(name, &file), ("LIMITS__REQUESTS_PER_MINUTE", "100")])
}

#[actix_web::test]
async fn a_panic_on_the_way_of_an_answer_is_an_error_and_closes_its_row() {
    let fake = FakeOllama::start();
    let panics = Panics::none();
    let gateway = start(&fake, &panics);
    let admin = gateway.admin().await;

    for (place, body) in [
        ("pump", hello()),
        ("pump", hello_stream()),
        ("record", hello()),
        ("record", hello_stream()),
        ("handler", hello()),
        ("handler", hello_stream()),
        ("stream", hello_stream()),
        ("result", hello()),
        ("result", hello_stream()),
    ] {
        panics.at(place);
        let answer = gateway.post("/v1/chat/completions", Some(&admin), body.clone()).await;
        panics.at("");

        let (status, text) = (answer.status, answer.text());
        assert!(text.contains("internal_error") && !text.contains("[DONE]"), "{place}: {status} {text}");
        assert!(status == 500 || body["stream"] == true, "{place}: {status}");
        // A row that nobody waits for is written a moment later.
        let row = gateway.newest_outcome(&admin, "failed").await;
        assert_eq!(row["reason"], "internal_error", "{place}: {row}");
        assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200, "{place}");
        let record = gateway.record(&admin).await;
        assert!(record.iter().all(|row| row["outcome"].is_string()), "{place}: {record:?}");
    }
    let results = gateway.text_of("SELECT group_concat(n) FROM (SELECT DISTINCT count(*) AS n FROM record WHERE kind = 'result' GROUP BY intent_id)");
    assert_eq!(results, "1", "each intent has one result");
}

#[actix_web::test]
async fn the_end_of_a_part_ends_the_gateway_with_a_status() {
    let fake = FakeOllama::start();
    let panics = Panics::none();
    let mut gateway = start(&fake, &panics);
    let admin = gateway.admin().await;

    for part in [
        "writer",
        "checkpoints",
        "mailbox",
        "the upkeep",
        "the watch over the disk",
        "the sums of usage",
        "the index of words",
        "the watch over the upstreams",
        "erasing",
        "the control socket",
    ] {
        panics.at(part);
        if ["writer", "checkpoints", "mailbox"].contains(&part) {
            // These have to have something to do. There may be no answer any more.
            let client = crate::support::gateway::client();
            let request = client.post(format!("{}/v1/chat/completions", gateway.url)).bearer_auth(&admin);
            let _ = request.send_body(hello().to_string()).await;
        }

        assert_eq!(gateway.wait(60).await, Some(1), "{part}");
        panics.at("");
        gateway.restart();
        let record = gateway.record(&admin).await;
        assert!(record.iter().all(|row| row["outcome"].is_string()), "{part}: {record:?}");
    }
    gateway.signal("TERM");
    assert_eq!(gateway.wait(60).await, Some(0), "a stop that was asked for is no failure");
}

#[actix_web::test]
async fn a_panic_while_admins_are_told_ends_nothing_and_they_are_told_later() {
    let fake = FakeOllama::start();
    let panics = Panics::none();
    panics.at("notices");
    let (name, file) = panics.setting();
    let gateway = TestGateway::start_with(&fake.url(), &[&QUICK[..], &[(name, &file)]].concat());
    let admin = gateway.admin().await;
    let hook = WebhookSink::start();
    add(&gateway, &admin, webhook(&hook)).await;

    register(&gateway, "ann").await;
    assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);
    assert_eq!(hook.received().len(), 0);
    panics.at("");

    assert_eq!(hook.until_count(1).await[0].kind(), "approval_waits");
    assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);
}

#[actix_web::test]
async fn a_panic_in_a_route_of_the_gateways_own_is_an_error() {
    let fake = FakeOllama::start();
    let panics = Panics::none();
    let gateway = start(&fake, &panics);
    panics.at("route");

    let answer = gateway.get("/health/live", None).await;

    assert_eq!((answer.status, &answer.json()["error"]["code"]), (500, &json!("internal_error")));
}
