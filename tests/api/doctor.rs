//! Every finding of `doctor`, provoked on the real program: it is told, with a remedy, and not where nothing is wrong.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use lan_gateway::host::findings::FindingCode;

use crate::support::authority::Authority;
use crate::support::eventually::until;
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{TestGateway, binary, hello};

/// More than any disk has free.
const ALL_OF_THE_DISK: &str = "1125899906842624";

/// Returns the codes that `doctor` tells, and whether it is content.
fn told(gateway: &TestGateway, variables: &[(&str, &str)]) -> (bool, Vec<&'static str>) {
    let (good, text) = gateway.command_with(variables, &["doctor"], "");
    let codes = FindingCode::ALL.iter().map(|code| code.name());
    let codes: Vec<_> = codes.filter(|code| text.lines().any(|line| line.split(' ').next() == Some(code))).collect();
    for code in &codes {
        let mut lines = text.lines().skip_while(|line| line.split(' ').next() != Some(code));
        assert!(lines.nth(1).is_some_and(|remedy| remedy.starts_with("    ")), "{code} has no remedy: {text}");
    }
    (good, codes)
}

fn is_told(gateway: &TestGateway, code: &str) -> bool {
    told(gateway, &[]).1.contains(&code)
}

/// A gateway on which nothing is wrong, but what this machine's Ollama may be.
async fn well(fake: &FakeOllama, settings: &[(&str, &str)]) -> (TestGateway, String) {
    let gateway = TestGateway::start_with(&fake.url(), settings);
    let admin = gateway.admin().await;
    (gateway, admin)
}

#[test]
fn every_finding_is_provoked_here() {
    let here = include_str!("doctor.rs");
    for code in FindingCode::ALL {
        assert!(here.contains(&format!("\"{}\"", code.name())), "{code:?} is not provoked");
    }
}

#[actix_web::test]
async fn what_the_configuration_causes_is_told() {
    let fake = FakeOllama::start();
    let (gateway, _) = well(&fake, &[]).await;
    let url = fake.url();
    let at_home = ("LGW_OLLAMA__URL", url.as_str());
    let local = ("LGW_LISTEN", "127.0.0.1:7000");
    let (good, codes) = told(&gateway, &[at_home, local]);
    assert!(good && codes.iter().all(|code| *code == "slots_mismatch"), "nothing is wrong: {codes:?}");

    let expired = Authority::new().write_until(gateway.data_dir(), 1, 2020);
    let [certificate, key] = [&expired.certificate, &expired.key].map(|file| file.to_str().unwrap());
    let expired = vec![at_home, local, ("LGW_TLS__CERTIFICATE", certificate), ("LGW_TLS__KEY", key)];
    let (good, _) =
        told(&gateway, &[at_home, local, ("LGW_TLS__CERTIFICATE", certificate), ("LGW_TLS__KEY", certificate)]);
    assert!(!good, "a gateway does not start with a certificate in place of its key");

    for (variables, code, is_failure) in [
        (expired, "certificate_expires", false),
        (vec![at_home, ("LGW_LISTEN", "0.0.0.0:7000")], "plain_http", false),
        (vec![at_home, local, ("LGW_LIMITS__REQUESTS_PER_MINUTE", "201")], "no_effect", false),
        (vec![at_home, local, ("LGW_DISK__FREE_BYTES_WARN", ALL_OF_THE_DISK)], "disk_low", false),
        (vec![at_home, local, ("LGW_BACKUP__FOLDER", "/nowhere/backups")], "backup_late", false),
        (vec![local, ("LGW_OLLAMA__URL", "http://127.0.0.1:1")], "upstream_down", true),
    ] {
        let (good, codes) = told(&gateway, &variables);
        assert!(codes.contains(&code), "{code}: {codes:?}");
        assert_eq!(good, !is_failure, "{code}: {codes:?}");
    }
}

#[actix_web::test]
async fn a_disk_below_its_mark_is_told_by_the_gateway_that_refuses() {
    let fake = FakeOllama::start();
    let marks = [("DISK__FREE_BYTES_MIN", ALL_OF_THE_DISK), ("DISK__FREE_BYTES_WARN", ALL_OF_THE_DISK)];
    let (gateway, admin) = well(&fake, &marks).await;

    until("it refuses", async || gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status == 503).await;

    let (good, codes) = told(&gateway, &[("LGW_OLLAMA__URL", &fake.url())]);
    assert!(!good && codes.contains(&"disk_full"), "{codes:?}");
}

#[actix_web::test]
async fn a_first_password_and_an_upstream_that_others_reach_are_told() {
    let fake = FakeOllama::start_on("0.0.0.0:0");
    let url = format!("http://127.0.0.1:{}", fake.url().rsplit(':').next().unwrap());
    let gateway = TestGateway::start(&url);
    let (_, codes) = told(&gateway, &[("LGW_OLLAMA__URL", &url)]);
    assert!(codes.contains(&"first_password") && codes.contains(&"upstream_open"), "{codes:?}");

    gateway.admin().await;

    assert!(!is_told(&gateway, "first_password"));
}

#[actix_web::test]
async fn a_data_folder_that_others_can_read_is_told_until_it_is_closed() {
    let fake = FakeOllama::start();
    let (gateway, _) = well(&fake, &[]).await;
    let rights = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    rights(gateway.data_dir(), 0o755);
    rights(&gateway.data_dir().join("lan-gateway.db"), 0o644);
    assert!(is_told(&gateway, "folder_open"));

    rights(gateway.data_dir(), 0o700);

    assert!(!is_told(&gateway, "folder_open"));
}

#[actix_web::test]
async fn few_files_are_told() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_under(&["prlimit", "--nofile=400:400"], &fake.url(), &[]);

    assert!(is_told(&gateway, "few_files"));
}

#[actix_web::test]
async fn a_setting_that_the_file_contradicts_is_told() {
    let fake = FakeOllama::start();
    let folder = tempfile::tempdir().unwrap();
    let start = |settings: &[(&str, &str)]| TestGateway::start_in(folder.path(), &fake.url(), settings);
    let mut gateway = start(&[]);
    let (good, text) = gateway.command(&["settings", "set", "repeats_max", "40"], "");
    assert!(good && !is_told(&gateway, "settings_contradict"), "{text}");
    gateway.signal("TERM");
    gateway.wait(20).await;

    let gateway = start(&[("BREAKER__REPEATS_FREE", "50")]);

    assert!(is_told(&gateway, "settings_contradict"));
}

#[actix_web::test]
async fn a_record_that_another_program_has_locked_is_told() {
    let fake = FakeOllama::start();
    let (gateway, _) = well(&fake, &[]).await;
    let file = gateway.data_dir().join("lan-gateway.db");
    let mut other = diesel::SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    other.batch_execute("PRAGMA busy_timeout=5000; BEGIN IMMEDIATE").unwrap();

    let refused = async || gateway.get("/health/live", None).await.status == 503;
    until("it can't record", async || {
        gateway
            .post(
                "/api/v1/register",
                None,
                serde_json::json!({ "email": "ann@example.org", "password": "x y z x y z" }),
            )
            .await;
        refused().await
    })
    .await;
    let (good, codes) = told(&gateway, &[("LGW_OLLAMA__URL", &fake.url())]);
    assert!(!good && codes.contains(&"cannot_record"), "{codes:?}");

    drop(other);
    until("it records again", async || gateway.get("/health/live", None).await.status == 200).await;
}

#[actix_web::test]
async fn contents_that_are_not_erased_in_time_are_told() {
    let fake = FakeOllama::start();
    let (mut gateway, admin) = well(&fake, &[]).await;
    let ann = gateway.user(&admin, "ann").await;
    assert_eq!(gateway.post("/v1/chat/completions", Some(&ann), hello()).await.status, 200);
    gateway.signal("TERM");
    gateway.wait(20).await;
    // Erasing waits for the index of words, which can't go on.
    gateway.on_the_file(
        "INSERT INTO erasure (user_id, log_id) SELECT id, 0 FROM users WHERE username = 'ann@example.org'; \
         UPDATE users SET status = 'deleted', deleted_at_us = 1, username = NULL, password_hash = NULL \
             WHERE username = 'ann@example.org'; \
         UPDATE watermark SET log_id = 0 WHERE name = 'words'; DROP TABLE record_words",
    );
    gateway.restart();

    assert!(is_told(&gateway, "erasure_late"));
}

/// Returns a command that runs in a process namespace of its own, in which no other Ollama runs. `None`: this user, or this
/// container, may make none.
fn in_a_namespace(command: &str) -> Option<Command> {
    let unshare = |script| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--mount-proc", "--fork", "--kill-child", "sh", "-c", script]);
        unshare
    };
    unshare("true").output().is_ok_and(|done| done.status.success()).then(|| unshare(command))
}

#[test]
fn slots_that_do_not_fit_this_host_s_ollama_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let ollama = folder.path().join("ollama");
    std::fs::copy("/bin/sleep", &ollama).unwrap();
    let script = format!("OLLAMA_NUM_PARALLEL=4 {} 60 & exec {} doctor", ollama.display(), binary());
    let Some(mut command) = in_a_namespace(&script) else {
        eprintln!("skipped: no process namespace can be made here");
        return;
    };
    let output = command.env("LGW_DATA_DIR", folder.path()).current_dir(folder.path()).output().unwrap();

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("slots_mismatch"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
