//! Notices that don't arrive at once: they are tried again, over a restart and while nothing can be written, and hold up no other.

use crate::notices::{Scene, kind_of};
use crate::support::eventually::{eventually, until};
use crate::support::faults::Syncs;
use crate::support::gateway::hello;
use crate::support::mail_sink::Misbehaviour;
use crate::support::webhook_sink::WebhookReply;

/// Waits until the list shows a failure of the channel at this place that has these words in it.
async fn fails(scene: &Scene, at: usize, words: &str) -> String {
    eventually(&format!("a failure is shown: {words}"), async || {
        let all = scene.gateway.get("/api/v1/notice-channels", Some(&scene.admin)).await.json();
        all["items"][at]["failure"].as_str().filter(|failure| failure.contains(words)).map(str::to_owned)
    })
    .await
}

const UNSENT: &str = "SELECT CAST(count(*) AS TEXT) FROM notices_unsent";

#[actix_web::test]
async fn a_receiver_that_fails_gets_the_same_notice_again_and_holds_up_no_other() {
    let scene = Scene::new(&[("NOTICES__SECONDS_MAX", "2"), ("NOTICES__CONNECT_SECONDS_MAX", "2")]).await;
    for reply in [WebhookReply::Status(500), WebhookReply::Close, WebhookReply::Hang] {
        scene.hook.next(reply);
    }

    scene.register("ann").await;

    scene.mails.until("ann@example.org").await;
    assert!(scene.hook.received().len() < 4, "mail waits for no webhook");
    scene.register("ben").await;
    let received = scene.hook.until_count(5).await;
    let ids: Vec<&str> = received.iter().map(|one| one.header("webhook-id")).collect();
    assert!(ids[..4].iter().all(|id| *id == ids[0]) && ids[4] != ids[0], "{ids:?}");
    let channels = async || scene.gateway.get("/api/v1/notice-channels", Some(&scene.admin)).await.json();
    let is_well = async || channels().await["items"][0]["failure"].is_null();
    until("the failure is over", is_well).await;
}

#[actix_web::test]
async fn a_notice_that_is_tried_again_holds_up_no_other_kind() {
    let scene = Scene::new(&[("NOTICES__RETRY_SECONDS", "3600")]).await;
    scene.hook.next(WebhookReply::Status(503));
    scene.register("ann").await;
    scene.hook.until("approval_waits").await;

    scene.register("ben").await;
    scene.mails.until("ben@example.org").await;
    scene.fake.dies().await;
    scene.hook.until("upstream_away").await;

    assert_eq!(scene.hook.kinds(), ["approval_waits", "upstream_away"], "ben comes after ann");
}

#[actix_web::test]
async fn a_mail_that_is_put_off_comes_later_and_an_address_that_is_refused_stops_no_other() {
    let scene = Scene::new(&[]).await;
    scene.mails.misbehaves(Some(Misbehaviour::PutOff));
    scene.register("dia").await;
    fails(&scene, 1, "greylisted").await;
    scene.mails.misbehaves(Some(Misbehaviour::RefuseFirst));

    let mail = scene.mails.until("dia@example.org").await;

    assert_eq!(mail.to, ["ben@example.org"]);
    let failure = fails(&scene, 1, "it refused ann@example.org").await;
    assert!(failure.contains("no such user here"), "{failure}");
    scene.register("eva").await;
    scene.mails.until("eva@example.org").await;
    scene.hook.until_count(2).await;
    scene.assert_told(&["approval_waits", "approval_waits"]);
}

#[actix_web::test]
async fn what_could_not_be_delivered_is_tried_again_after_a_restart_under_the_same_id() {
    let mut scene = Scene::new(&[("NOTICES__RETRY_SECONDS", "3600")]).await;
    scene.hook.next(WebhookReply::Status(503));
    scene.register("ann").await;
    scene.mails.until("ann@example.org").await;
    assert_eq!(fails(&scene, 0, "").await, "it answered 503");
    scene.gateway.until_text(UNSENT, "1").await;

    scene.gateway.kill();
    scene.gateway.restart();

    let received = scene.hook.until_count(2).await;
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    let [first, again] = [&received[0], &received[1]].map(|one| one.json());
    assert_eq!((&first["id"], &first["at"]), (&again["id"], &again["at"]));
    scene.gateway.until_text(UNSENT, "0").await;
    assert_eq!(scene.mails.mails().len(), 1);
}

#[actix_web::test]
async fn what_is_told_while_nothing_can_be_written_leaves_from_memory_and_is_kept_later() {
    let mut scene = Scene::new(&[("NOTICES__RETRY_SECONDS", "3600")]).await;
    scene.hook.next(WebhookReply::Status(503));
    let full = Syncs::without_room(scene.gateway.pid()).await;
    assert_eq!(scene.gateway.post("/v1/chat/completions", Some(&scene.admin), hello()).await.status, 503);
    scene.mails.until("can't be written").await;
    scene.hook.until("record_unwritable").await;
    assert_eq!(scene.gateway.text_of(UNSENT), "0");
    // Meanwhile transactions that had nothing to write have succeeded.
    assert_eq!(scene.gateway.get("/health", None).await.status, 503);

    drop(full);
    let answers = async || scene.gateway.post("/v1/chat/completions", Some(&scene.admin), hello()).await.status == 200;
    until("rows can be written again", answers).await;
    scene.gateway.until_text(UNSENT, "1").await;
    scene.gateway.kill();
    scene.gateway.restart();

    let received = scene.hook.until_count(2).await;
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    scene.register("ann").await;
    scene.hook.until("approval_waits").await;
    scene.mails.until("ann@example.org").await;
    assert_eq!(scene.hook.kinds(), ["record_unwritable", "record_unwritable", "approval_waits"]);
    assert_eq!(scene.mails.mails().iter().map(kind_of).collect::<Vec<_>>(), ["record_unwritable", "approval_waits"]);
}
