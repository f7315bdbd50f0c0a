//! Models are changed by tokens of admins that may, step by step, and each change is on record before and after.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::eventually::until;
use crate::support::fake_ollama::{Ending, FakeOllama, Script, Step};
use crate::support::gateway::{Answer, TestGateway};

const BUSY: &[(&str, &str)] = &[
    ("LIMITS__REQUESTS_PER_MINUTE", "1000"),
    ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "1000"),
    ("BREAKER__ERRORS_FREE", "0"),
    ("BREAKER__ERRORS_MAX", "0"),
];

struct Stage {
    fake: FakeOllama,
    gateway: TestGateway,
    admin: String,
    token: String,
}

async fn stage(settings: &[(&str, &str)]) -> Stage {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), settings);
    let admin = gateway.admin().await;
    let token = make_token(&gateway, &admin, json!({ "name": "manager", "scopes": ["models:manage"] })).await;
    Stage { fake, gateway, admin, token }
}

async fn make_token(gateway: &TestGateway, jwt: &str, wish: Value) -> String {
    let made = gateway.post("/api/v1/tokens", Some(jwt), wish).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["token"].as_str().unwrap().to_owned()
}

impl Stage {
    async fn post(&self, path: &str, body: Value) -> Answer {
        self.gateway.post(path, Some(&self.token), body).await
    }

    async fn delete(&self, model: &str) -> Answer {
        let body = json!({ "model": model }).to_string().into_bytes();
        self.gateway.send("DELETE", "/api/delete", Some(&self.token), body).await
    }

    /// The acts of this name, newest first.
    async fn acts(&self, act: &str) -> Vec<Value> {
        let page = self.gateway.get(&format!("/api/v1/audit?act={act}"), Some(&self.admin)).await;
        page.json()["items"].as_array().unwrap().clone()
    }

    async fn begun(&self) -> Vec<Value> {
        self.acts("model_change_begun").await
    }

    async fn ended(&self) -> Vec<Value> {
        self.acts("model_change_ended").await
    }

    async fn models(&self) -> Vec<String> {
        let list = self.gateway.get("/v1/models", Some(&self.admin)).await.json();
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    }
}

fn lines(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[actix_web::test]
async fn a_pull_is_reported_step_by_step_and_recorded_and_the_model_is_there_at_once() {
    let stage = stage(&[]).await;

    let answer = stage.post("/api/pull", json!({ "model": "new:1b", "keep": 1 })).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson; charset=utf-8"));
    assert_eq!(answer.header("x-ignored-parameters"), Some("keep"));
    assert!(answer.header("x-ratelimit-remaining-requests").is_some());
    assert_eq!(
        lines(&answer),
        [
            json!({ "status": "pulling manifest" }),
            json!({ "status": "pulling b179c9523d0e", "digest": "sha256:b179", "total": 100, "completed": 60 }),
            json!({ "status": "success" })
        ]
    );
    assert!(stage.models().await.contains(&"new:1b".to_owned()));
    let sent: Value = serde_json::from_slice(&stage.fake.chats()[0].body).unwrap();
    assert_eq!(sent, json!({ "model": "new:1b", "stream": true }));

    let (begun, ended) = (stage.begun().await, stage.ended().await);
    assert_eq!((begun.len(), ended.len()), (1, 1));
    for row in [&begun[0], &ended[0]] {
        assert_eq!(row["kind"], "act");
        assert_eq!(row["request_id"].as_str(), answer.header("x-request-id"));
        assert_eq!(
            (&row["user"], &row["token"], &row["credential"]),
            (&json!("admin"), &json!("manager"), &json!("token"))
        );
        assert_eq!(
            (&row["api"], &row["model_asked"], &row["host"]),
            (&json!("/api/pull"), &json!("new:1b"), &json!("local"))
        );
    }
    assert_eq!(
        begun[0]["detail"],
        json!({ "action": "pull", "upstream": "local", "model": "new:1b", "request": sent })
    );
    assert_eq!(ended[0]["outcome"], "completed");
    assert_eq!(
        ended[0]["detail"],
        json!({ "action": "pull", "upstream": "local", "model": "new:1b", "outcome": "completed" })
    );
}

#[actix_web::test]
async fn without_a_stream_the_last_step_is_the_answer_and_errors_have_a_status() {
    let stage = stage(&[]).await;

    let done = stage.post("/api/create", json!({ "model": "m", "from": "fake", "stream": false })).await;
    assert_eq!((done.status, done.json()), (200, json!({ "status": "success" })));
    assert_eq!(done.header("content-type"), Some("application/json; charset=utf-8"));

    let failing = || Script::lines(&[r#"{"status":"pulling manifest"}"#, r#"{"error":"dial tcp: no such host"}"#]);
    stage.fake.next(failing());
    let failed = stage.post("/api/pull", json!({ "model": "m", "stream": false })).await;
    assert_eq!(failed.status, 502);
    assert_eq!(failed.json(), json!({ "error": "the model server failed: dial tcp: no such host" }));

    stage.fake.next(failing());
    let failed = stage.post("/api/pull", json!({ "model": "m" })).await;
    assert_eq!(failed.status, 200);
    assert_eq!(lines(&failed)[0], json!({ "status": "pulling manifest" }));
    assert_eq!(lines(&failed)[1], json!({ "error": "the model server failed: dial tcp: no such host" }));
    assert_eq!(lines(&failed).len(), 2, "no end mark follows");

    // Before the first step an error has its status in a stream, too.
    stage.fake.next(Script::status(400, r#"{"error":"bad template"}"#));
    let refused = stage.post("/api/create", json!({ "model": "m", "from": "fake", "template": "{{" })).await;
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].as_str().unwrap().contains("bad template"));

    let outcomes: Vec<_> = stage.ended().await.iter().map(|row| row["reason"].clone()).collect();
    assert_eq!(outcomes, [json!("invalid_request"), json!("upstream_error"), json!("upstream_error"), Value::Null]);
}

#[actix_web::test]
async fn a_report_without_its_end_is_no_success() {
    let stage = stage(&[]).await;
    for script in [
        Script::lines(&[r#"{"status":"pulling manifest"}"#]),
        Script::of(vec![Step::Send(b"{\"status\":\"pulling manifest\"}\n".to_vec()), Step::Die]),
        Script::lines(&["<html>"]),
    ] {
        stage.fake.next(script);
        let answer = stage.post("/api/pull", json!({ "model": "m", "stream": false })).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert!(answer.json()["error"].is_string());
    }
    assert!(stage.ended().await.iter().all(|row| row["outcome"] == "failed"));
}

#[actix_web::test]
async fn models_are_copied_and_deleted_with_empty_answers() {
    let stage = stage(&[]).await;

    let copied = stage.post("/api/copy", json!({ "source": "fake", "destination": "spare:1b" })).await;
    assert_eq!((copied.status, copied.text().as_str()), (200, ""));
    assert!(stage.models().await.contains(&"spare:1b".to_owned()));

    let deleted = stage.delete("spare:1b").await;
    assert_eq!((deleted.status, deleted.text().as_str()), (200, ""));
    assert!(!stage.models().await.contains(&"spare:1b".to_owned()));

    stage.fake.next(Script::status(404, r#"{"error":"model 'nope' not found"}"#));
    let missing = stage.delete("nope").await;
    assert_eq!(missing.status, 404);
    assert!(missing.json()["error"].as_str().unwrap().contains("`nope`"));
    let paths: Vec<String> = stage.fake.chats().into_iter().map(|chat| chat.path).collect();
    assert_eq!(paths, ["/api/copy", "/api/delete", "/api/delete"]);
}

#[actix_web::test]
async fn a_jwt_and_every_other_token_is_told_what_is_needed() {
    let stage = stage(BUSY).await;
    let gateway = &stage.gateway;
    let user = gateway.user(&stage.admin, "ann").await;
    let chat = make_token(gateway, &stage.admin, json!({ "name": "chat" })).await;
    // A token whose owner is no admin any more.
    let body = json!({ "role": "admin" });
    let ann = gateway.id_of(&stage.admin, "ann").await;
    let path = format!("/api/v1/users/{ann}");
    let promoted = gateway.send("PATCH", &path, Some(&stage.admin), body.to_string().into_bytes()).await;
    assert_eq!(promoted.status, 200, "{}", promoted.text());
    let fallen = make_token(gateway, &user, json!({ "name": "fallen", "scopes": ["models:manage"] })).await;
    let body = json!({ "role": "user" }).to_string().into_bytes();
    assert_eq!(gateway.send("PATCH", &path, Some(&stage.admin), body).await.status, 200);

    for (bearer, says) in [
        (&stage.admin, "needs a token of an admin with the scope `models:manage`"),
        (&user, "needs a token of an admin with the scope `models:manage`"),
        (&chat, "needs the scope `models:manage`"),
        (&fallen, "the owner of the token `fallen` is none"),
    ] {
        for (method, path) in
            [("POST", "/api/pull"), ("POST", "/api/create"), ("DELETE", "/api/delete"), ("POST", "/api/blobs/x")]
        {
            let answer = gateway.send(method, path, Some(bearer), b"not even JSON".to_vec()).await;
            assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
            assert!(answer.json()["error"].as_str().unwrap().contains(says), "{}", answer.text());
        }
    }

    assert_eq!(gateway.post("/api/pull", None, json!({ "model": "m" })).await.status, 401);
    assert_eq!(stage.fake.chats().len(), 0);
    assert_eq!(stage.begun().await.len(), 0);
    let rows = gateway.until_recorded(&stage.admin, "permission_denied").await;
    let refused = rows.iter().find(|row| row["reason"] == "permission_denied").unwrap();
    assert_eq!(refused["kind"], "refusal");
    assert!(refused["api"].as_str().unwrap().starts_with("/api/"));
}

#[actix_web::test]
async fn what_can_not_be_honoured_is_refused_by_name_and_nothing_is_forwarded() {
    let stage = stage(BUSY).await;
    let digest = format!("sha256:{}", "0".repeat(64));
    for (path, body, says) in [
        ("/api/pull", json!({ "model": "m", "insecure": true }), "`insecure`"),
        ("/api/pull", json!({ "model": "m", "username": "u" }), "`username`"),
        ("/api/pull", json!({}), "`model` is missing"),
        ("/api/pull", json!({ "model": "a", "name": "b" }), "`model` and `name` differ"),
        ("/api/pull", json!({ "model": "a b" }), "`model`"),
        ("/api/pull", json!({ "model": 7 }), "`model`"),
        ("/api/pull", json!({ "model": "big:cloud" }), "off this host"),
        ("/api/copy", json!({ "source": "fake" }), "`destination` is missing"),
        ("/api/copy", json!({ "source": "big:cloud", "destination": "m" }), "off this host"),
        ("/api/copy", json!({ "source": "fake", "destination": "a\nb" }), "`destination`"),
        ("/api/create", json!({ "model": "m" }), "`from` and `files` are missing"),
        ("/api/create", json!({ "model": "m", "from": "big:cloud" }), "off this host"),
        ("/api/create", json!({ "model": "m", "from": "f", "remote_host": "https://example.org" }), "`remote_host`"),
        ("/api/create", json!({ "model": "m", "modelfile": "FROM x" }), "`modelfile` is out of use"),
        ("/api/create", json!({ "model": "m", "path": "/etc/passwd" }), "`path` is out of use"),
        ("/api/create", json!({ "model": "m", "files": { "../x": digest } }), "`files`"),
        ("/api/create", json!({ "model": "m", "files": { "/x": digest } }), "`files`"),
        ("/api/create", json!({ "model": "m", "files": { "x.gguf": "../../etc" } }), "`files`"),
        ("/api/create", json!({ "model": "m", "from": "f", "quantize": "q4 0" }), "`quantize`"),
        ("/api/create", json!({ "model": "m", "from": "f", "parameters": { "a b": 1 } }), "`parameters`"),
        ("/api/create", json!({ "model": "m", "from": "f", "messages": [{ "role": "tool" }] }), "`messages[0].role`"),
        ("/api/blobs/sha256:12", json!({}), "`digest`"),
        ("/api/blobs/..%2f..%2fx", json!({}), "`digest`"),
    ] {
        let answer = stage.post(path, body.clone()).await;
        assert!([400, 403].contains(&answer.status), "{path} {body}: {} {}", answer.status, answer.text());
        assert!(answer.json()["error"].as_str().unwrap().contains(says), "{path} {body}: {}", answer.text());
    }
    assert_eq!(stage.fake.chats().len(), 0);
    assert_eq!(stage.begun().await.len(), 0);
    stage.gateway.until_recorded(&stage.admin, "invalid_request").await;
}

#[actix_web::test]
async fn a_token_for_some_models_changes_no_others() {
    let stage = stage(&[]).await;
    let wish = json!({ "name": "few", "scopes": ["models:manage"], "models": ["fake"] });
    let few = make_token(&stage.gateway, &stage.admin, wish).await;

    let other = stage.gateway.post("/api/copy", Some(&few), json!({ "source": "fake", "destination": "m" })).await;
    assert_eq!(other.status, 404);
    let own = stage.gateway.post("/api/pull", Some(&few), json!({ "model": "fake:latest" })).await;
    assert_eq!(own.status, 200);
}

#[actix_web::test]
async fn a_file_is_passed_on_as_it_arrives_and_bounded() {
    let stage = stage(&[("MODELS__FILE_BYTES_MAX", "100000")]).await;
    let path = format!("/api/blobs/sha256:{}", "a".repeat(64));
    let bearer = Some(stage.token.as_str());
    assert_eq!(stage.gateway.send("HEAD", &path, bearer, Vec::new()).await.status, 404);

    let kept = stage.gateway.send("POST", &path, bearer, vec![7; 100_000]).await;
    assert_eq!((kept.status, kept.text().as_str()), (201, ""));
    assert_eq!(stage.fake.chats()[0].body, vec![7; 100_000]);
    assert_eq!(stage.gateway.send("HEAD", &path, bearer, Vec::new()).await.status, 200);
    assert_eq!(stage.ended().await[0]["detail"]["digest"], path.rsplit('/').next().unwrap());
    assert_eq!(stage.ended().await[0]["outcome"], "completed");

    // The upstream has it already, and would close the connection on one who sends it again.
    assert_eq!(stage.gateway.send("POST", &path, bearer, vec![7; 100_000]).await.status, 201);
    assert_eq!(stage.fake.chats().len(), 1);

    // One that says how long it is, and one that does not.
    let path = format!("/api/blobs/sha256:{}", "b".repeat(64));
    let longer = stage.gateway.send("POST", &path, bearer, vec![7; 100_001]).await;
    assert_eq!(longer.status, 413, "{}", longer.text());
    let pieces = futures_util::stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![7; 10_000]))));
    let request = stage.gateway.client().post(format!("{}{path}", stage.gateway.url)).bearer_auth(&stage.token);
    let answer = request.send_stream(pieces).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(stage.ended().await[0]["reason"], "request_too_large");
    assert_eq!(stage.fake.chats().len(), 1, "the upstream never got the end of it");

    // What the upstream says of a wrong digest.
    stage.fake.next(Script::status(400, r#"{"error":"digest mismatch"}"#));
    let wrong = stage.gateway.send("POST", &path, bearer, vec![1]).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.json()["error"].as_str().unwrap().contains("digest mismatch"));
}

#[actix_web::test]
async fn a_client_who_leaves_ends_the_change() {
    let stage = stage(&[]).await;
    stage.fake.next(Script::of(vec![
        Step::Send(b"{\"status\":\"pulling manifest\"}\n{\"status\":\"a\"}\n".to_vec()),
        Step::Wait,
    ]));
    let body = json!({ "model": "m" }).to_string().into_bytes();
    let mut answer = stage.gateway.open("POST", "/api/pull", Some(&stage.token), body).await;
    assert!(answer.next().await.is_some());

    drop(answer);

    stage.fake.until(|chats| chats.iter().any(|chat| matches!(chat.ended, Some((Ending::Cancelled, _))))).await;
    until("the end is on record", async || !stage.ended().await.is_empty()).await;
    assert_eq!(stage.ended().await[0]["outcome"], "abandoned");
}

#[actix_web::test]
async fn a_change_ends_with_its_access_and_with_an_admin_s_word() {
    let stage = stage(&[]).await;
    let waiting = || Script::of(vec![Step::Send(b"{\"status\":\"a\"}\n{\"status\":\"b\"}\n".to_vec()), Step::Wait]);
    let body = || json!({ "model": "m" }).to_string().into_bytes();
    stage.fake.next(waiting());
    let answer = stage.gateway.open("POST", "/api/pull", Some(&stage.token), body()).await;
    let id = answer.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned();
    let path = format!("/api/v1/queue/{id}");
    let cancelled = stage.gateway.send("DELETE", &path, Some(&stage.admin), Vec::new()).await;
    assert_eq!(cancelled.status, 204, "{}", cancelled.text());
    until("it was cancelled", async || stage.ended().await.len() == 1).await;
    assert_eq!(stage.ended().await[0]["reason"], "cancelled");
    drop(answer);

    stage.fake.next(waiting());
    let answer = stage.gateway.open("POST", "/api/pull", Some(&stage.token), body()).await;
    let tokens = stage.gateway.get("/api/v1/tokens", Some(&stage.admin)).await.json();
    let path = format!("/api/v1/tokens/{}", tokens["items"][0]["id"].as_str().unwrap());
    assert_eq!(stage.gateway.send("DELETE", &path, Some(&stage.admin), Vec::new()).await.status, 204);
    until("it was revoked", async || stage.ended().await.len() == 2).await;
    assert_eq!(
        (&stage.ended().await[0]["outcome"], &stage.ended().await[0]["reason"]),
        (&json!("refused"), &json!("token_revoked"))
    );
    drop(answer);
}

#[actix_web::test]
async fn only_so_many_changes_run_at_once() {
    let stage = stage(&[("MODELS__CHANGES_MAX", "1")]).await;
    stage.fake.next(Script::of(vec![Step::Send(b"{\"status\":\"a\"}\n{\"status\":\"b\"}\n".to_vec()), Step::Wait]));
    let body = json!({ "model": "m" }).to_string().into_bytes();
    let answer = stage.gateway.open("POST", "/api/pull", Some(&stage.token), body).await;
    assert_eq!(answer.status(), 200);

    let second = stage.post("/api/pull", json!({ "model": "n" })).await;
    assert_eq!(second.status, 503, "{}", second.text());
    assert!(second.json()["error"].as_str().unwrap().contains("models.changes_max"));
    assert_eq!(second.header("retry-after"), Some("30"));

    drop(answer);
    until("it has ended", async || stage.ended().await.len() == 1).await;
    assert_eq!(stage.post("/api/pull", json!({ "model": "n" })).await.status, 200, "the place is free again");
}

#[actix_web::test]
async fn a_silent_change_ends_and_frees_its_place() {
    let stage = stage(&[("MODELS__CHANGES_MAX", "1"), ("MODELS__CHANGE_IDLE_SECONDS_MAX", "1")]).await;
    stage.fake.next(Script::of(vec![Step::Send(b"{\"status\":\"a\"}\n{\"status\":\"b\"}\n".to_vec()), Step::Wait]));
    let body = json!({ "model": "m" }).to_string().into_bytes();
    let mut answer = stage.gateway.open("POST", "/api/pull", Some(&stage.token), body).await;
    assert_eq!(answer.status(), 200);

    let told = tokio::time::timeout(Duration::from_secs(20), answer.body()).await.expect("it ends").unwrap();
    let last: Value =
        serde_json::from_slice(told.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert!(last["error"].as_str().unwrap().contains("no progress for 1 s"), "{last}");
    assert_eq!(stage.ended().await[0]["reason"], "upstream_timeout");
    assert_eq!(stage.post("/api/pull", json!({ "model": "n" })).await.status, 200, "the place is free again");
}

#[actix_web::test]
async fn with_several_upstreams_the_change_names_one() {
    let (one, two) = (FakeOllama::start(), FakeOllama::start());
    let settings =
        [("UPSTREAM__BIG__KIND", "ollama"), ("UPSTREAM__BIG__URL", &two.url()), ("UPSTREAM__BIG__SLOTS", "1")];
    let gateway = TestGateway::start_with(&one.url(), &settings);
    let admin = gateway.admin().await;
    let token = make_token(&gateway, &admin, json!({ "name": "m", "scopes": ["models:manage"] })).await;
    let pull = async |upstream: Option<&str>| {
        let mut request = gateway.client().post(format!("{}/api/pull", gateway.url)).bearer_auth(&token);
        if let Some(upstream) = upstream {
            request = request.insert_header(("x-upstream", upstream));
        }
        let mut answer = request.send_json(&json!({ "model": "m", "stream": false })).await.unwrap();
        (answer.status().as_u16(), String::from_utf8(answer.body().await.unwrap().to_vec()).unwrap())
    };

    let (status, said) = pull(None).await;
    assert_eq!(status, 400);
    assert!(said.contains("x-upstream") && said.contains("`local`") && said.contains("`big`"), "{said}");
    let (status, said) = pull(Some("huge")).await;
    assert!(status == 400 && said.contains("no model server of the name"), "{said}");
    assert_eq!(pull(Some("big")).await.0, 200);
    assert_eq!((one.chats().len(), two.chats().len()), (0, 1));
}

#[actix_web::test]
async fn a_kill_in_the_middle_leaves_an_end_that_says_so() {
    let mut stage = stage(&[]).await;
    stage.fake.next(Script::of(vec![Step::Send(b"{\"status\":\"a\"}\n{\"status\":\"b\"}\n".to_vec()), Step::Wait]));
    let body = json!({ "model": "m" }).to_string().into_bytes();
    let answer = stage.gateway.open("POST", "/api/pull", Some(&stage.token), body).await;

    stage.gateway.kill();
    drop(answer);
    stage.gateway.restart();

    let ended = stage.ended().await;
    assert_eq!(ended.len(), 1);
    assert_eq!((&ended[0]["outcome"], &ended[0]["reason"]), (&json!("interrupted"), &json!("gateway_stopped")));
    assert_eq!(ended[0]["request_id"], stage.begun().await[0]["request_id"]);
    assert_eq!(ended[0]["detail"]["action"], "pull");
    stage.gateway.kill();
    stage.gateway.restart();
    assert_eq!(stage.ended().await.len(), 1, "once");
}
