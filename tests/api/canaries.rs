//! What is secret or said in private stands in no line of the log, however much is logged.

use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{PASSWORD, TestGateway, hello, hello_stream};
use crate::support::mail_sink::{MailSink, SinkTls};
use crate::support::tls_front::Certificate;
use crate::support::webhook_sink::{WebhookReply, WebhookSink};

/// Each stands for one kind of thing, and is a word that nothing else contains.
const PROMPT: &str = "canary-prompt-0a1b";
const ANSWER: &str = "canary-answer-2c3d";
const WRONG_PASSWORD: &str = "canary-wrong-password-4e5f";
const NEW_PASSWORD: &str = "canary-new-password-6a7b";
const NOT_A_TOKEN: &str = "lgw_m_canary-not-a-token-8c9d";
const WEBHOOK_PATH: &str = "canary-webhook-path-1a2b";
const WEBHOOK_KEY: &str = "whsec_Y2FuYXJ5LXdlYmhvb2sta2V5LTNjNGQtNWU2Zg==";
const MAIL_PASSWORD: &str = "canary-mail-password-7g8h";

/// Everything that a day brings, good and bad. What must not be logged besides the constants.
async fn a_day(fake: &FakeOllama, gateway: &TestGateway) -> Vec<(&'static str, String)> {
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let ann_id = gateway.id_of(&admin, "ann").await;
    let token =
        gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci", "scopes": ["chat", "embeddings"] })).await;
    let token = token.json()["token"].as_str().unwrap().to_owned();
    let prompt = |mut body: Value| {
        body["messages"][0]["content"] = json!(PROMPT);
        body
    };
    let said = || text(ANSWER);
    for script in [
        Script::of(vec![said(), done("stop")]),
        Script::of(vec![said()]),
        Script::of(vec![said(), Step::Die]),
        Script::lines(&[&format!("{{\"error\":\"{ANSWER} and {PROMPT}\"}}")]),
        Script::lines(&[&format!("no JSON: {ANSWER}")]),
        Script::status(500, &format!("{{\"error\":\"{ANSWER} {PROMPT}\"}}")),
        Script::status(400, ANSWER),
        Script::status(404, &format!("model {PROMPT}")),
    ] {
        for (path, bearer, body) in [
            ("/v1/chat/completions", &ann, prompt(hello())),
            ("/v1/chat/completions", &token, prompt(hello_stream())),
            ("/chat", &ann, prompt(hello())),
            ("/v1/completions", &ann, json!({ "model": "fake", "prompt": PROMPT })),
            ("/v1/embeddings", &token, json!({ "model": "fake", "input": PROMPT })),
        ] {
            fake.next(script.clone());
            gateway.post(path, Some(bearer), body).await;
        }
    }
    // Somebody leaves in the middle.
    fake.next(Script::of(vec![said(), Step::Wait, done("stop")]));
    let body = prompt(hello_stream()).to_string().into_bytes();
    drop(gateway.open("POST", "/v1/chat/completions", Some(&ann), body).await);
    fake.release();

    let mut chat = prompt(hello());
    chat["auth"] = json!({ "username": "ann@example.org", "password": PASSWORD });
    gateway.post("/chat", None, chat.clone()).await;
    chat["auth"]["password"] = json!(WRONG_PASSWORD);
    gateway.post("/chat", None, chat).await;
    gateway.post("/auth/token", None, json!({ "username": "ann@example.org", "password": WRONG_PASSWORD })).await;
    for broken in [format!("{{\"messages\":\"{PROMPT}\""), format!("{{\"{PROMPT}\":1}}"), PROMPT.to_owned()] {
        gateway.send("POST", "/v1/chat/completions", Some(&ann), broken.clone().into_bytes()).await;
        gateway.send("POST", "/auth/token", None, broken.replace(PROMPT, WRONG_PASSWORD).into_bytes()).await;
    }
    for bearer in [NOT_A_TOKEN, &token[..token.len() - 1], &ann[..ann.len() - 1]] {
        gateway.post("/v1/chat/completions", Some(bearer), prompt(hello())).await;
    }
    gateway.get(&format!("/api/v1/audit?text={PROMPT}"), Some(&admin)).await;
    gateway.get(&format!("/{PROMPT}?token={NOT_A_TOKEN}"), None).await;
    let row = gateway.record(&admin).await.into_iter().find(|row| row["outcome"] == "completed").unwrap();
    gateway.get(&format!("/api/v1/audit/{}", row["request_id"].as_str().unwrap()), Some(&admin)).await;

    let change = json!({ "username": "ann@example.org", "current_password": PASSWORD, "new_password": NEW_PASSWORD });
    assert_eq!(gateway.post("/api/v1/password", None, change).await.status, 204);
    let reset = format!("/api/v1/users/{ann_id}/reset-password");
    let code = gateway.post(&reset, Some(&admin), json!({ "mode": "code" })).await.json()["one_time_code"].clone();
    let (good, told) = gateway.command(&["token", "create", "admin", "made on the host"], "");
    assert!(good, "{told}");
    let made_here = told.split_whitespace().find(|word| word.starts_with("lgw_")).unwrap().to_owned();
    gateway.post(&format!("/api/v1/users/{ann_id}/disable"), Some(&admin), json!({})).await;
    let export = gateway.export(&admin, "ann", "csv").await;
    let receipt = export.lines().last().unwrap().split('"').nth(1).unwrap().trim_start_matches("receipt:").to_owned();
    let delete = json!({ "receipt": receipt }).to_string().into_bytes();
    let deleted = gateway.send("DELETE", &format!("/api/v1/users/{ann_id}"), Some(&admin), delete).await;
    assert_eq!(deleted.status, 202, "{}", deleted.text());

    notices(gateway, &admin).await;

    let jwt_key = std::fs::read_to_string(gateway.data_dir().join("secrets/jwt.json")).unwrap();
    let jwt_key: Value = serde_json::from_str(&jwt_key).unwrap();
    let master_key = std::fs::read_to_string(gateway.data_dir().join("secrets/master.key")).unwrap();
    vec![
        ("a token of a machine", token[17..].to_owned()),
        ("a token made on the host", made_here[17..].to_owned()),
        ("a JWT", ann.rsplit('.').next().unwrap().to_owned()),
        ("the admin's JWT", admin.rsplit('.').next().unwrap().to_owned()),
        ("the key of JWTs", jwt_key["keys"][0]["secret"].as_str().unwrap().to_owned()),
        ("a one-time code", code.as_str().unwrap().to_owned()),
        ("the key that seals", master_key.trim().to_owned()),
        ("a receipt", receipt),
        ("a password", PASSWORD.to_owned()),
        ("an address of a person", "ann@example.org".to_owned()),
    ]
}

/// Channels for notices whose receivers fail in ways that could repeat a secret.
async fn notices(gateway: &TestGateway, admin: &str) {
    let path = "/api/v1/notice-channels";
    let (hook, mails) = (WebhookSink::start(), MailSink::start(SinkTls::Implicit(Certificate::Good)));
    mails.wants("another password");
    let webhook = json!({ "name": "hook", "kind": "webhook", "url": hook.url(&format!("/{WEBHOOK_PATH}")), "secret": WEBHOOK_KEY });
    let mail = json!({ "name": "mail", "kind": "mail", "host": "localhost", "port": mails.port(), "tls": "implicit",
        "username": "gateway", "password": MAIL_PASSWORD, "from": "gateway@example.org", "to": ["ann@example.org"] });
    for wish in [webhook, mail] {
        let made = gateway.post(path, Some(admin), wish).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let test = format!("{path}/{}/test", made.json()["id"].as_str().unwrap());
        for reply in [WebhookReply::Status(500), WebhookReply::Redirect(hook.url(WEBHOOK_PATH)), WebhookReply::Close] {
            hook.next(reply);
            let tested = gateway.post(&test, Some(admin), json!({})).await;
            assert_eq!((tested.status, &tested.json()["delivered"]), (200, &json!(false)));
        }
    }
    let shown = gateway.get(path, Some(admin)).await.text();
    let (good, listed) = gateway.command(&["notices", "list", "--json"], "");
    assert!(good && shown.contains("(secret)"), "{shown}");
    for secret in [WEBHOOK_PATH, &WEBHOOK_KEY[6..], MAIL_PASSWORD] {
        assert!(!shown.contains(secret) && !listed.contains(secret), "{shown} {listed}");
    }
}

#[actix_web::test]
async fn at_debug_level_no_line_of_the_log_holds_a_secret_a_prompt_or_an_answer() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let fake = FakeOllama::start();
    let to_file = format!("exec \"$0\" \"$@\" 2>{}", log.path().display());
    let trusted = Certificate::Good.file();
    let to_file = format!("export SSL_CERT_FILE={}; {to_file}", trusted.display());
    let settings =
        [("LOG__LEVEL", "debug"), ("LIMITS__REQUESTS_PER_MINUTE", "1000"), ("NOTICES__ALLOW_THIS_HOST", "true")];
    let mut gateway = TestGateway::start_under(&["sh", "-c", &to_file], &fake.url(), &settings);

    let mut canaries = a_day(&fake, &gateway).await;
    gateway.signal("TERM");
    assert_eq!(gateway.wait(40).await, Some(0));

    canaries.extend([
        ("a prompt", PROMPT.to_owned()),
        ("an answer", ANSWER.to_owned()),
        ("a wrong password", WRONG_PASSWORD.to_owned()),
        ("a new password", NEW_PASSWORD.to_owned()),
        ("what was shown as a token", NOT_A_TOKEN.to_owned()),
        ("the path of a webhook", WEBHOOK_PATH.to_owned()),
        ("the key of a webhook", WEBHOOK_KEY[6..].to_owned()),
        ("the password of mail", MAIL_PASSWORD.to_owned()),
    ]);
    for file in ["lan-gateway.db", "lan-gateway.db-wal"] {
        let kept = std::fs::read(gateway.data_dir().join(file)).unwrap_or_default();
        for secret in [WEBHOOK_PATH, WEBHOOK_KEY, MAIL_PASSWORD] {
            assert!(!kept.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is in {file}");
        }
    }
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert!(log.contains("DEBUG") && log.contains("the upstream failed"), "it did log: {log}");
    assert!(log.contains("route=\"unmatched\"") && log.contains("outcome=\"completed\""), "requests have lines: {log}");
    for line in log.lines() {
        for (what, canary) in &canaries {
            assert!(!line.contains(canary.as_str()), "{what} is in the log: {line}");
        }
    }
}
