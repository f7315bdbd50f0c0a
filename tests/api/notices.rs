//! Notices by webhook and mail: each of what admins are told arrives once on both, and not again after a restart.

use serde_json::{Value, json};

use crate::support::eventually::until;
use crate::support::fake_ollama::FakeOllama;
use crate::support::faults::Syncs;
use crate::support::gateway::{PASSWORD, TestGateway, hello};
use crate::support::mail_sink::{MailSink, SinkTls, SunkMail};
use crate::support::webhook_sink::WebhookSink;

/// The receivers are on this host, and nothing is waited for longer than a test needs.
pub const QUICK: [(&str, &str); 5] = [
    ("OLLAMA__MODELS_SECONDS_MAX", "1"),
    ("NOTICES__ALLOW_THIS_HOST", "true"),
    ("NOTICES__RETRY_SECONDS", "1"),
    ("NOTICES__QUIET_MINUTES", "0"),
    ("LIMITS__REQUESTS_PER_MINUTE", "1000"),
];

const UNSENT: &str = "SELECT CAST(count(*) AS TEXT) FROM notices_unsent";

pub async fn add(gateway: &TestGateway, admin: &str, wish: Value) -> String {
    let made = gateway.post("/api/v1/notice-channels", Some(admin), wish).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["id"].as_str().unwrap().to_owned()
}

pub fn webhook(sink: &WebhookSink) -> Value {
    json!({ "name": "hook", "kind": "webhook", "url": sink.url("/in/secret-path") })
}

pub fn mail(sink: &MailSink) -> Value {
    json!({ "name": "admins", "kind": "mail", "host": "127.0.0.1", "port": sink.port(), "tls": "none",
        "from": "gateway@example.org", "to": ["ann@example.org", "ben@example.org"] })
}

/// A gateway with both kinds of channels.
pub struct Scene {
    pub fake: FakeOllama,
    pub gateway: TestGateway,
    pub admin: String,
    pub hook: WebhookSink,
    pub mails: MailSink,
}

impl Scene {
    pub async fn new(settings: &[(&str, &str)]) -> Scene {
        let fake = FakeOllama::start();
        let away_soon = ("NOTICES__AWAY_SECONDS", "1");
        let gateway = TestGateway::start_with(&fake.url(), &[&QUICK[..], &[away_soon], settings].concat());
        let admin = gateway.admin().await;
        let (hook, mails) = (WebhookSink::start(), MailSink::start(SinkTls::None));
        add(&gateway, &admin, webhook(&hook)).await;
        add(&gateway, &admin, mail(&mails)).await;
        Scene { fake, gateway, admin, hook, mails }
    }

    pub async fn register(&self, name: &str) {
        register(&self.gateway, name).await;
    }

    async fn set(&self, changes: Value) {
        let changed =
            self.gateway.send("PATCH", "/api/v1/settings", Some(&self.admin), changes.to_string().into()).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
    }

    /// Asserts that these notices came, and no other: each once by the webhook, and once by mail.
    pub fn assert_told(&self, kinds: &[&str]) {
        assert_told(&self.hook, &self.mails, kinds);
    }

    /// The subjects of all mails, without the name of the host.
    fn subjects(&self) -> Vec<String> {
        let bare = |subject: String| subject.split_once("] ").map_or(subject.clone(), |(_, bare)| bare.to_owned());
        self.mails.mails().iter().map(|mail| bare(mail.header("Subject"))).collect()
    }
}

pub async fn register(gateway: &TestGateway, name: &str) {
    let wish = json!({ "email": format!("{name}@example.org"), "password": PASSWORD });
    let registered = gateway.post("/api/v1/register", None, wish).await;
    assert_eq!(registered.status, 202, "{}", registered.text());
}

fn assert_told(hook: &WebhookSink, mails: &MailSink, kinds: &[&str]) {
    let sorted = |mut kinds: Vec<String>| {
        kinds.sort_unstable();
        kinds
    };
    let kinds = sorted(kinds.iter().map(|kind| (*kind).to_owned()).collect());
    assert_eq!(sorted(hook.kinds()), kinds, "by the webhook");
    assert_eq!(sorted(mails.mails().iter().map(kind_of).collect()), kinds, "by mail");
}

/// The kind of a notice, as its mail tells it.
pub fn kind_of(mail: &SunkMail) -> String {
    let body = mail.body();
    let known = [
        ("approval_waits", "for approval"),
        ("token_paused", "was paused, because it ran away"),
        ("disk_low", "The data disk is nearly full"),
        ("record_unwritable", "can't be written"),
        ("upstream_away", "does not answer"),
        ("upstream_back", "answers again"),
        ("checkpoint_invalid", "does not verify"),
    ];
    let found = known.iter().find(|(_, words)| body.contains(words));
    found.unwrap_or_else(|| panic!("a mail about something else: {body}")).0.to_owned()
}

/// Sends the same request with a token until the breaker pauses it.
async fn run_away(gateway: &TestGateway, owner: &str) {
    let made = gateway.post("/api/v1/tokens", Some(owner), json!({ "name": "nightly <!channel>" })).await.json();
    let token = made["token"].as_str().unwrap().to_owned();
    until("the token is paused", async || {
        gateway.post("/v1/chat/completions", Some(&token), hello()).await.json()["error"]["code"] == "token_paused"
    })
    .await;
}

const PAUSES_SOON: [(&str, &str); 2] = [("BREAKER__REPEATS_FREE", "2"), ("BREAKER__REPEATS_MAX", "2")];

#[actix_web::test]
async fn each_thing_is_told_once_on_both_ways_with_what_to_do_and_without_contents() {
    let scene = Scene::new(&PAUSES_SOON).await;
    // She never waits for approval.
    let (good, text) = scene.gateway.command(&["user", "add", "ann@example.org", "--keep-password"], PASSWORD);
    assert!(good, "{text}");
    let ann = scene.gateway.token("ann@example.org", PASSWORD).await;
    scene.register("dia").await;
    scene.hook.until("approval_waits").await;

    run_away(&scene.gateway, &ann).await;
    scene.hook.until("token_paused").await;
    scene.fake.dies().await;
    scene.hook.until("upstream_away").await;
    scene.fake.comes_back().await;
    scene.hook.until("upstream_back").await;
    scene.mails.until("answers again").await;

    assert_eq!(scene.hook.kinds(), ["approval_waits", "token_paused", "upstream_away", "upstream_back"]);
    scene.assert_told(&["approval_waits", "token_paused", "upstream_away", "upstream_back"]);
    let subjects = scene.subjects();
    assert_eq!(subjects[0], "dia@example.org waits for approval");
    // It is not in ASCII, so it is encoded.
    assert!(subjects[1].contains("=?utf-8?"), "{subjects:?}");
    assert_eq!(subjects[2..], ["The model server local does not answer", "The model server local answers again"]);
    let first = &scene.hook.received()[0];
    let body = first.json();
    assert_eq!((first.path.as_str(), body["subject"].as_str()), ("/in/secret-path", Some("dia@example.org")));
    assert_eq!(
        (first.header("content-type"), first.header("webhook-id")),
        ("application/json", body["id"].as_str().unwrap())
    );
    let port = scene.gateway.url.rsplit(':').next().unwrap();
    let url = body["url"].as_str().unwrap();
    assert!(url.ends_with(&format!(":{port}/admin/users")), "{url}");
    assert!(body["text"].as_str().unwrap().contains(url) && body["count"] == 1, "{body}");
    let paused = scene.hook.received()[1].json();
    assert!(!paused["text"].as_str().unwrap().contains('<'), "{paused}");
    for received in scene.hook.received() {
        assert!(!received.body.contains("\"hi\"") && !received.body.contains("Hello"), "{}", received.body);
    }
    let mail = &scene.mails.mails()[0];
    assert_eq!((mail.from.as_str(), mail.to.len()), ("gateway@example.org", 2));
    assert!(mail.body().contains("/admin/users") && mail.body().contains("Let them in"), "{}", mail.text);
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    // One counts when its receiver has said so.
    until("eight are counted", async || {
        let told = scene.gateway.get("/metrics", Some(&scene.admin)).await.text();
        told.contains("lan_gateway_notices_total{result=\"delivered\"} 8")
    })
    .await;
}

#[actix_web::test]
async fn a_disk_that_is_low_is_told_once_also_over_a_restart() {
    let mut scene = Scene::new(&[("DISK__FREE_BYTES_WARN", "1125899906842624")]).await;
    let told = scene.hook.until("disk_low").await.json();
    scene.mails.until("nearly full").await;
    assert!(told["text"].as_str().unwrap().contains("are free on the disk of"), "{told}");
    scene.register("ann").await;
    scene.hook.until("approval_waits").await;
    scene.mails.until("waits for approval").await;
    until("it is kept", async || scene.gateway.text_of("SELECT CAST(count(*) AS TEXT) FROM notices_told") == "4").await;

    for ends_well in [true, false] {
        // What was delivered just before the end is sent again, under the same id.
        scene.gateway.until_text(UNSENT, "0").await;
        if ends_well {
            scene.gateway.signal("TERM");
            scene.gateway.wait(40).await;
        } else {
            scene.gateway.kill();
        }
        scene.gateway.restart();
        scene.register(if ends_well { "ben" } else { "cem" }).await;
        let count = if ends_well { 3 } else { 4 };
        scene.hook.until_count(count).await;
    }
    scene.mails.until("cem@").await;

    scene.assert_told(&["disk_low", "approval_waits", "approval_waits", "approval_waits"]);
    assert_eq!(scene.hook.received()[3].json()["subject"], "cem@example.org");
}

#[actix_web::test]
async fn that_nothing_can_be_recorded_is_told_although_nothing_can_be_written() {
    let mut scene = Scene::new(&[]).await;
    scene.register("ann").await;
    scene.hook.until("approval_waits").await;
    scene.mails.until("waits for approval").await;
    let delivered = "SELECT CAST(coalesce(sum(delivered_at_us > 0), 0) AS TEXT) FROM notice_channels";
    scene.gateway.until_text(delivered, "2").await;

    let syncs = Syncs::tampered(scene.gateway.pid(), "error=EIO").await;
    scene.gateway.post("/v1/chat/completions", Some(&scene.admin), hello()).await;
    assert_eq!(scene.gateway.wait(40).await, Some(1), "the gateway ends, since it is unknown what the disk holds");
    drop(syncs);

    let told = scene.hook.until("record_unwritable").await.json();
    scene.mails.until("can't be written").await;
    assert!(told["text"].as_str().unwrap().contains("nothing is answered"), "{told}");
    scene.gateway.restart();
    scene.register("ben").await;
    scene.hook.until_count(3).await;
    scene.mails.until("ben@example.org").await;
    scene.assert_told(&["approval_waits", "record_unwritable", "approval_waits"]);
}

#[actix_web::test]
async fn a_disk_that_fills_is_told_although_it_was_told_to_be_low() {
    const ALL_OF_IT: &str = "1125899906842624";
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeOllama::start());
    let start =
        |mark: &str| TestGateway::start_in(folder.path(), &fake.url(), &[&QUICK[..], &[(mark, ALL_OF_IT)]].concat());
    let mut gateway = start("DISK__FREE_BYTES_WARN");
    let admin = gateway.admin().await;
    let (hook, mails) = (WebhookSink::start(), MailSink::start(SinkTls::None));
    add(&gateway, &admin, webhook(&hook)).await;
    add(&gateway, &admin, mail(&mails)).await;
    hook.until("disk_low").await;
    mails.until("nearly full").await;
    gateway.until_text(UNSENT, "0").await;
    gateway.signal("TERM");
    gateway.wait(40).await;

    let gateway = start("DISK__FREE_BYTES_MIN");

    let full = hook.until_count(2).await[1].json();
    assert!(full["text"].as_str().unwrap().contains("so requests to models are refused"), "{full}");
    until("both mails came", async || mails.mails().len() == 2).await;
    register(&gateway, "ann").await;
    hook.until("approval_waits").await;
    mails.until("ann@example.org").await;
    assert_told(&hook, &mails, &["disk_low", "disk_low", "approval_waits"]);
}

#[actix_web::test]
async fn a_record_that_does_not_verify_is_told_once_also_over_a_restart() {
    let mut scene = Scene::new(&[]).await;
    scene.gateway.on_the_file("UPDATE chain SET head = zeroblob(32)");
    scene.register("ann").await;
    let told = scene.hook.until("checkpoint_invalid").await.json();
    scene.mails.until("does not verify").await;
    assert!(told["text"].as_str().unwrap().contains("lan-gateway verify"), "{told}");
    scene.hook.until("approval_waits").await;
    scene.gateway.until_text("SELECT CAST(count(*) AS TEXT) FROM notices_unsent", "0").await;

    scene.gateway.kill();
    scene.gateway.restart();
    scene.register("ben").await;

    scene.mails.until("ben@example.org").await;
    scene.hook.until_count(3).await;
    scene.assert_told(&["approval_waits", "approval_waits", "checkpoint_invalid"]);
}

#[actix_web::test]
async fn several_within_the_quiet_time_are_one_notice_and_a_longer_one_is_felt_at_once() {
    let scene = Scene::new(&[]).await;
    scene.set(json!({ "quiet_minutes": 1440 })).await;
    scene.register("ann").await;
    scene.hook.until("approval_waits").await;
    for name in ["ben", "cem", "dia", "eva"] {
        scene.register(name).await;
    }
    // Another kind has a quiet time of its own, and leaves after everything that was to be told before it.
    scene.fake.dies().await;
    scene.hook.until("upstream_away").await;
    assert_eq!(scene.hook.kinds(), ["approval_waits", "upstream_away"]);
    scene.fake.comes_back().await;
    scene.hook.until("upstream_back").await;
    scene.fake.dies().await;

    scene.set(json!({ "quiet_minutes": 0 })).await;

    let received = scene.hook.until_count(5).await;
    let last: Vec<_> = received[3..].iter().map(|one| one.kind()).collect();
    assert!(last.contains(&"approval_waits".to_owned()) && last.contains(&"upstream_away".to_owned()), "{last:?}");
    let together = received[3..].iter().find(|one| one.kind() == "approval_waits").unwrap().json();
    assert_eq!(
        (&together["count"], &together["subject"]),
        (&json!(4), &json!("ben@example.org, cem@example.org, dia@example.org and 1 more"))
    );
    assert!(together["text"].as_str().unwrap().contains("5 in all"), "{together}");
}

#[actix_web::test]
async fn a_model_server_that_is_back_within_its_time_is_not_told() {
    let scene = Scene::new(&[]).await;
    scene.set(json!({ "away_seconds": 3600 })).await;
    scene.fake.dies().await;
    let is_down = |queue: &Value| queue["hosts"][0]["state"] == "down";
    scene.gateway.until_queue(&scene.admin, "the model server is away", is_down).await;
    scene.register("ann").await;
    scene.hook.until("approval_waits").await;
    scene.fake.comes_back().await;
    scene.register("ben").await;
    scene.hook.until_count(2).await;

    assert_eq!(scene.hook.kinds(), ["approval_waits"; 2]);
}

#[actix_web::test]
async fn a_channel_that_is_turned_on_is_told_what_lasts() {
    let scene = Scene::new(&[]).await;
    let all = scene.gateway.get("/api/v1/notice-channels", Some(&scene.admin)).await.json();
    let path = format!("/api/v1/notice-channels/{}", all["items"][0]["id"].as_str().unwrap());
    let other = format!("/api/v1/notice-channels/{}", all["items"][1]["id"].as_str().unwrap());
    assert_eq!(scene.gateway.send("DELETE", &other, Some(&scene.admin), vec![]).await.status, 204);
    scene.register("ann").await;
    scene.hook.until("approval_waits").await;
    let set = async |edit: Value| {
        let changed = scene.gateway.send("PATCH", &path, Some(&scene.admin), edit.to_string().into()).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
    };
    set(json!({ "on": false })).await;
    let told = "SELECT CAST(count(*) AS TEXT) FROM notices_told WHERE subject <> ''";
    scene.gateway.until_text(told, "0").await;

    set(json!({ "on": true })).await;

    let again = scene.hook.until_count(2).await[1].json();
    assert_eq!((&again["kind"], &again["subject"]), (&json!("approval_waits"), &json!("ann@example.org")));
}

#[actix_web::test]
async fn only_the_kinds_that_a_channel_wants_are_sent_to_it_and_none_while_it_is_off() {
    let scene = Scene::new(&[]).await;
    let all = scene.gateway.get("/api/v1/notice-channels", Some(&scene.admin)).await.json();
    let change = async |at: usize, edit: Value| {
        let path = format!("/api/v1/notice-channels/{}", all["items"][at]["id"].as_str().unwrap());
        let changed = scene.gateway.send("PATCH", &path, Some(&scene.admin), edit.to_string().into()).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
    };
    change(0, json!({ "notices": ["upstream_away"] })).await;
    change(1, json!({ "notices": ["approval_waits"] })).await;

    scene.register("ann").await;
    scene.mails.until("ann@example.org").await;
    scene.fake.dies().await;
    scene.hook.until("upstream_away").await;
    change(0, json!({ "on": false })).await;
    scene.fake.comes_back().await;
    scene.register("ben").await;
    scene.mails.until("ben@example.org").await;

    assert_eq!(scene.hook.kinds(), ["upstream_away"]);
    assert_eq!(scene.mails.mails().len(), 2);
}
