//! Passwords that are set on the host.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::eventually::until;
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{ADMIN_PASSWORD, PASSWORD, TestGateway, binary};

const OTHER: &str = "the second horse battery";

#[track_caller]
fn run(gateway: &TestGateway, words: &str, input: &str) -> String {
    let (good, text) = gateway.command(&words.split(' ').collect::<Vec<_>>(), input);
    assert!(good, "{words}: {text}");
    text
}

async fn signs_in(gateway: &TestGateway, name: &str, password: &str) -> u16 {
    let asked = json!({ "username": name, "password": password });
    gateway.post("/auth/token", None, asked).await.status
}

fn newest_act(gateway: &TestGateway) -> Value {
    let text = run(gateway, "record list --kind act --limit 1 --json", "");
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

#[actix_web::test]
async fn a_password_is_set_on_the_host_whether_a_gateway_runs_or_not_and_what_was_signed_in_ends() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let jwt = gateway.user(&admin, "ann").await;
    let token = gateway.post("/api/v1/tokens", Some(&jwt), json!({ "name": "nightly" })).await.json();
    let token = token["token"].as_str().unwrap();

    let said = run(&gateway, "user password ann@example.org", &format!("{OTHER}\n"));

    assert_eq!(said, "the password of ann@example.org is set; the password need not be changed\n");
    assert_eq!(gateway.get("/api/v1/me", Some(&jwt)).await.status, 401, "the JWT has ended");
    assert_eq!(gateway.get("/v1/models", Some(token)).await.status, 200, "machines go on");
    assert_eq!(
        (signs_in(&gateway, "ann@example.org", PASSWORD).await, signs_in(&gateway, "ann@example.org", OTHER).await),
        (401, 200)
    );
    let act = newest_act(&gateway);
    assert_eq!(json!([act["act"], act["user"], act["subject"]]), json!(["password_changed", null, "ann@example.org"]));

    let said = run(&gateway, "user password ann@example.org --must-change", &format!("{PASSWORD}\n"));
    assert!(said.contains("is set; the password must be changed within 60 minutes"), "{said}");
    assert_ne!(signs_in(&gateway, "ann@example.org", PASSWORD).await, 200, "it only allows its own change");
    assert_eq!(gateway.get("/v1/models", Some(token)).await.status, 401, "machines wait for it");
    assert!(run(&gateway, "user show ann@example.org", "").contains("must be changed before anything else"));
    let change = json!({ "username": "ann@example.org", "current_password": PASSWORD, "new_password": OTHER });
    assert_eq!(gateway.post("/api/v1/password", None, change).await.status, 204);
    assert_eq!(
        (signs_in(&gateway, "ann@example.org", OTHER).await, gateway.get("/v1/models", Some(token)).await.status),
        (200, 200)
    );

    gateway.signal("TERM");
    gateway.wait(10).await;
    run(&gateway, "user password ann@example.org", PASSWORD);
    assert_eq!(newest_act(&gateway)["act"], "password_changed");
    gateway.restart();
    assert_eq!(signs_in(&gateway, "ann@example.org", PASSWORD).await, 200);
}

#[actix_web::test]
async fn the_rules_for_passwords_are_those_of_the_api() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;
    run(&gateway, "user add ann@example.org", PASSWORD);

    for (user, password) in
        [("ann@example.org", "short"), ("ann@example.org", "passwordpassword"), ("admin", "admin123")]
    {
        let (good, said) = gateway.command(&["user", "password", user], password);
        let change = json!({ "username": user, "current_password": PASSWORD, "new_password": password });
        let api = gateway.post("/api/v1/password", None, change).await.json();
        let message = api["error"]["message"].as_str().unwrap().replace("`new_password`", "`password`");
        assert!(!good && said == format!("lan-gateway: {message}\n"), "{said} {message}");
    }
    for (input, says) in
        [("", "there is no password on standard input"), ("\n", "there is no password on standard input")]
    {
        let (good, said) = gateway.command(&["user", "password", "admin"], input);
        assert!(!good && said.contains(says), "{said}");
    }
    let (good, said) = gateway.command(&["user", "password", "ann"], PASSWORD);
    assert!(!good && said.contains("there is no user `ann`; did you mean `ann@example.org`?"), "{said}");
    assert_eq!(signs_in(&gateway, "admin", ADMIN_PASSWORD).await, 200, "nothing was changed");
}

#[actix_web::test]
async fn the_first_password_may_be_set_on_the_host_and_then_people_are_let_in() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let (good, said) = gateway.command(&["user", "add", "ann@example.org"], PASSWORD);
    assert!(!good && said.contains("password of `admin` has been changed"), "{said}");

    run(&gateway, "user password admin", ADMIN_PASSWORD);

    assert_eq!(signs_in(&gateway, "admin", ADMIN_PASSWORD).await, 200);
    let said = run(&gateway, "user add ann@example.org", PASSWORD);
    assert_eq!(said, "ann@example.org is active; the password must be changed at the first sign-in\n");
    let said = run(&gateway, "user add ci@example.org --keep-password", PASSWORD);
    assert_eq!(said, "ci@example.org is active; the password need not be changed\n");
    assert_eq!(
        (
            signs_in(&gateway, "ann@example.org", PASSWORD).await == 200,
            signs_in(&gateway, "ci@example.org", PASSWORD).await
        ),
        (false, 200)
    );
    // It is no first password, which only a near address may change, nor does it keep admins from approving.
    let far = json!({ "username": "ann@example.org", "current_password": PASSWORD, "new_password": OTHER });
    assert_eq!(gateway.post("/api/v1/password", None, far).await.status, 204);
    let (good, said) = gateway.command(&["user", "add", "ann@example.org"], PASSWORD);
    assert!(!good && said.contains("there is an account `ann@example.org` already"), "{said}");
}

#[actix_web::test]
async fn on_a_terminal_a_password_is_asked_for_twice_and_not_shown() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;
    run(&gateway, "user add ann@example.org", PASSWORD);
    let typed = async |first: &str, second: &str| {
        // `script` gives the command a terminal.
        let words = format!("tty > terminal; exec {} user password ann@example.org", binary());
        let mut script = Command::new("script");
        script
            .args(["-qec", &words, "/dev/null"])
            .current_dir(gateway.data_dir())
            .env("LGW_DATA_DIR", gateway.data_dir());
        let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut out, mut keys) = (script.stdout.take().unwrap(), script.stdin.take().unwrap());
        let mut shown = String::new();
        for (prompt, answer) in [("New password for ann@example.org: ", first), ("The same once more: ", second)] {
            read_until(&mut out, prompt, &mut shown);
            until("the terminal hides what is typed", async || is_hidden(&gateway.data_dir().join("terminal"))).await;
            keys.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
        out.read_to_string(&mut shown).unwrap();
        (script.wait().unwrap().code(), shown)
    };

    let (code, shown) = typed(OTHER, PASSWORD).await;
    assert!(code == Some(1) && shown.contains("the two passwords differ; nothing was changed"), "{shown}");
    let (code, shown) = typed(OTHER, OTHER).await;
    assert!(code == Some(0) && shown.contains("is set") && !shown.contains(OTHER), "{shown}");
    assert_eq!(signs_in(&gateway, "ann@example.org", OTHER).await, 200);
}

/// Whether the terminal whose name is in this file shows nothing of what is typed.
fn is_hidden(terminal: &Path) -> bool {
    let name = std::fs::read_to_string(terminal).unwrap();
    let state = Command::new("stty").args(["-a", "-F", name.trim()]).output().unwrap();
    String::from_utf8_lossy(&state.stdout).contains(" -echo ")
}

fn read_until(out: &mut impl Read, prompt: &str, shown: &mut String) {
    while !shown.contains(prompt) {
        let mut byte = [0];
        assert_eq!(out.read(&mut byte).unwrap(), 1, "no `{prompt}` after {shown}");
        shown.push(char::from(byte[0]));
    }
}
