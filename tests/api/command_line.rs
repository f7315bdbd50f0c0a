//! The command line: over the control socket while a gateway runs, on the file when none does.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::gateway::{PASSWORD, TestGateway, command};

#[actix_web::test]
async fn people_are_governed_from_the_host() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.post("/api/v1/register", None, json!({ "email": "ann@example.org", "password": PASSWORD })).await;

    let (good, text) = gateway.command(&["user", "approve", "ann@example.org"], "");
    assert!(!good && text.contains("password of `admin`"), "{text}");
    gateway.admin().await;
    for running in [true, false] {
        if !running {
            gateway.signal("TERM");
            gateway.wait(10).await;
        }
        for (words, expected) in [
            (vec!["user", "approve", "ann@example.org"], "ann@example.org is active"),
            (vec!["user", "disable", "Ann@Example.org"], "ann@example.org is disabled"),
            (vec!["user", "enable", "ann@example.org"], "ann@example.org is active"),
            (vec!["user", "list", "ann"], "ann@example.org"),
            (vec!["user", "reset", "--initial", "ann@example.org"], "admin123"),
        ] {
            let (good, text) = gateway.command(&words, "");
            assert!(good && text.contains(expected), "{words:?}: {text}");
        }
        let (good, text) = gateway.command(&["user", "approve", "nobody@example.org"], "");
        assert!(!good && text.contains("nobody@example.org"), "{text}");
    }
}

#[actix_web::test]
async fn a_locked_out_admin_comes_in_again_from_the_host() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;

    let (good, text) = gateway.command(&["user", "reset", "admin"], "");

    assert!(good, "{text}");
    let code = text.split("password ").nth(1).unwrap().split(' ').next().unwrap();
    let change = json!({ "username": "admin", "current_password": code, "new_password": "found my way back" });
    assert_eq!(gateway.post("/api/v1/password", None, change).await.status, 204);
    gateway.token("admin", "found my way back").await;
}

#[actix_web::test]
async fn an_account_is_made_with_a_password_from_standard_input() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;

    let (good, text) = gateway.command(&["user", "add", "bob@example.org"], &format!("{PASSWORD}\n"));

    assert!(good && text.contains("active"), "{text}");
    gateway.token("bob@example.org", PASSWORD).await;
}

#[actix_web::test]
async fn the_socket_and_the_secrets_are_for_the_service_alone() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let mode = |name: &str| std::fs::metadata(gateway.data_dir().join(name)).unwrap().permissions().mode() & 0o777;

    assert_eq!((mode("control.sock"), mode("secrets"), mode("secrets/jwt.json")), (0o600, 0o700, 0o600));
}

#[test]
fn the_configuration_is_checked_at_once_and_its_example_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let (good, example) = command(folder.path(), &["config", "example"], "");
    assert!(good);
    std::fs::write(folder.path().join("good.toml"), example).unwrap();
    std::fs::write(folder.path().join("bad.toml"), "listen = 1\nnonsense = 2\n[limits]\nrequests_per_minute = -1\n")
        .unwrap();

    let (good, text) = command(folder.path(), &["config", "check", "--config", "good.toml"], "");
    assert!(good, "{text}");
    let (good, text) = command(folder.path(), &["config", "check", "--config", "bad.toml"], "");
    assert!(!good && text.contains("3 problem(s)"), "{text}");
    let (good, text) = command(folder.path(), &["serve", "--config", "missing.toml"], "");
    assert!(!good && text.contains("missing.toml"), "{text}");
}

#[test]
fn help_teaches() {
    let folder = tempfile::tempdir().unwrap();
    for words in [&["--help"][..], &["user", "--help"], &["config", "--help"]] {
        let (good, text) = command(folder.path(), words, "");
        assert!(good && text.contains("Usage:"), "{text}");
    }
}
