//! Every finding of `doctor`, provoked on the real program: it is told, with a remedy, and not where nothing is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use lan_gateway::base::clock::Timestamp;
use lan_gateway::host::findings::FindingCode;
use serde_json::{Value, json};

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

/// Runs `doctor --json`. Returns its object and its exit code; nothing else is on standard output.
fn told_to_scripts(folder: &Path, variables: &[(&str, &str)], words: &[&str]) -> (Value, Option<i32>) {
    let output = std::process::Command::new(binary())
        .args([&["doctor", "--json"], words].concat())
        .envs(variables.iter().copied())
        .env("LGW_DATA_DIR", folder)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let told: Value = serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{cause}: {text}"));
    assert_eq!(output.status.code() == Some(0), told["ok"] == true, "{text}");
    let failures = told["findings"].as_array().unwrap().iter().filter(|finding| finding["failure"] == true).count();
    assert_eq!(told["ok"] == true, failures == 0, "{text}");
    (told, output.status.code())
}

fn codes_of(told: &Value) -> Vec<&str> {
    told["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// A digest, the rights and the times of every file of a folder and of its `secrets`, and of the folders.
fn state(folder: &Path) -> BTreeMap<String, (String, u32, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut see = |path: &Path| {
        let about = std::fs::symlink_metadata(path).unwrap();
        let content = if about.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
        let content = format!("{:?}", ring::digest::digest(&ring::digest::SHA256, &content));
        found.insert(path.display().to_string(), (content, about.mode(), about.mtime(), about.mtime_nsec()));
    };
    for folder in [folder.to_owned(), folder.join("secrets")].iter().filter(|folder| folder.exists()) {
        see(folder);
        folder.read_dir().into_iter().flatten().for_each(|entry| see(&entry.unwrap().path()));
    }
    found
}

/// An Ollama that has no model. Answers as long as the test runs.
fn without_models() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\nconnection: close";
            // A client that left is no matter.
            let _ = stream.write_all(format!("{head}\r\n\r\n{{\"models\":[]}}").as_bytes());
        }
    });
    url
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
    let no_key = vec![at_home, local, ("LGW_TLS__CERTIFICATE", certificate), ("LGW_TLS__KEY", certificate)];
    let (soon_folder, today) = (tempfile::tempdir().unwrap(), Timestamp::now().plus_seconds(10 * 24 * 3600).rfc3339());
    let day: Vec<i32> = today[..10].split('-').map(|part| part.parse().unwrap()).collect();
    let soon = Authority::new().write_until_day(soon_folder.path(), 1, (day[0], day[1] as u8, day[2] as u8));
    let [certificate, key] = [&soon.certificate, &soon.key].map(|file| file.to_str().unwrap());
    let soon = vec![at_home, local, ("LGW_TLS__CERTIFICATE", certificate), ("LGW_TLS__KEY", key)];
    let no_model = without_models();

    for (variables, code, is_failure) in [
        (expired, "certificate_unusable", true),
        (no_key, "certificate_unusable", true),
        (soon, "certificate_expires", false),
        (vec![at_home, local, ("LGW_DEFAULT_MODEL", "nowhere:1b")], "model_missing", true),
        (vec![local, ("LGW_OLLAMA__URL", &no_model)], "model_missing", true),
        (vec![at_home, ("LGW_LISTEN", "0.0.0.0:7000")], "plain_http", false),
        (vec![at_home, local, ("LGW_LIMITS__REQUESTS_PER_MINUTE", "201")], "no_effect", false),
        (vec![at_home, local, ("LGW_DISK__FREE_BYTES_WARN", ALL_OF_THE_DISK)], "disk_low", false),
        (vec![at_home, local, ("LGW_BACKUP__FOLDER", "/nowhere/backups")], "backup_late", true),
        (vec![local, ("LGW_OLLAMA__URL", "http://127.0.0.1:1")], "upstream_down", true),
    ] {
        let (good, codes) = told(&gateway, &variables);
        assert!(codes.contains(&code), "{code}: {codes:?}");
        assert_eq!(good, !is_failure, "{code}: {codes:?}");
    }
    let (_, text) = gateway.command_with(&[at_home, ("LGW_DEFAULT_MODEL", "nowhere:1b")], &["doctor"], "");
    for words in ["`ollama pull nowhere:1b`", "`fake:latest`, `llama3.2:latest`"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let (_, text) = gateway.command_with(&[("LGW_OLLAMA__URL", &no_model)], &["doctor"], "");
    assert!(text.contains("no model at all") && text.contains("`ollama pull llama3.2:latest`"), "{text}");
}

#[actix_web::test]
async fn a_model_that_is_missing_is_told_by_the_gateway_too_until_it_is_there() {
    let fake = FakeOllama::start();
    let settings = [("DEFAULT_MODEL", "wanted:1b"), ("OLLAMA__MODELS_SECONDS_MAX", "1")];
    let gateway = TestGateway::start_with(&fake.url(), &settings);
    let admin = gateway.admin().await;
    let is_missing = async || {
        let host = gateway.get("/api/v1/host", Some(&admin)).await.json();
        host["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == "model_missing")
    };
    until("it is missing", is_missing).await;

    fake.pull("wanted:1b");

    until("it is there", async || !is_missing().await).await;
}

#[actix_web::test]
async fn a_configuration_file_that_others_can_read_or_change_is_told() {
    let fake = FakeOllama::start();
    let (gateway, _) = well(&fake, &[]).await;
    let open = tempfile::tempdir().unwrap();
    let file = open.path().join("own.toml");
    let rights = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    rights(open.path(), 0o755);
    let with = |text: &str, mode| {
        std::fs::write(&file, text).unwrap();
        rights(&file, mode);
        told(&gateway, &[("LGW_CONFIG", file.to_str().unwrap()), ("LGW_OLLAMA__URL", &fake.url())])
    };
    let secret = format!("[upstream.two]\nurl = \"{}\"\nsecret = \"canary-secret\"", FakeOllama::start().url());

    assert!(!with("", 0o644).1.contains(&"config_open"));
    assert!(!with(&secret, 0o640).1.contains(&"config_open"));
    for (text, mode) in [(secret.as_str(), 0o644), ("", 0o646)] {
        let (good, codes) = with(text, mode);
        assert!(!good && codes.contains(&"config_open"), "{mode:o}: {codes:?}");
    }
}

#[actix_web::test]
async fn what_is_in_the_database_is_told_without_a_gateway_and_nothing_is_changed() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let url = fake.url();
    let variables = [("LGW_OLLAMA__URL", url.as_str()), ("LGW_LISTEN", "127.0.0.1:7000")];
    let folder = gateway.data_dir().to_owned();
    let look = || {
        let before = state(&folder);
        let (told, code) = told_to_scripts(&folder, &variables, &[]);
        let (deep, _) = told_to_scripts(&folder, &variables, &["--deep"]);
        assert_eq!(state(&folder), before, "nothing is changed");
        assert_eq!(codes_of(&told), codes_of(&deep));
        let codes: Vec<String> = codes_of(&told).into_iter().map(str::to_owned).collect();
        let codes = codes.into_iter().filter(|code| code != "slots_mismatch").collect::<Vec<_>>();
        (codes, told["database"]["state"].as_str().unwrap().to_owned(), code)
    };
    // A kill leaves the commits in the write-ahead log.
    gateway.kill();
    assert_eq!(look(), (vec!["first_password".to_owned()], "usable".to_owned(), Some(1)));
    gateway.restart();
    gateway.admin().await;
    gateway.signal("TERM");
    gateway.wait(20).await;
    assert_eq!(look(), (vec![], "usable".to_owned(), Some(0)));

    gateway.on_the_file(
        "INSERT INTO users (id, public_id, role, status, version, must_change, weight, class, created_at_us, deleted_at_us) \
         VALUES (71, '000000000000000000000000000000000071', 'user', 'disabled', 1, 0, 1, 'interactive', 1, 1); \
         INSERT INTO erasure (user_id) VALUES (71); \
         INSERT INTO settings (name, value, changed_at_us) VALUES ('repeats_free', 60, 1), ('repeats_max', 59, 1)",
    );
    assert_eq!(look().0, ["erasure_late", "settings_contradict"]);
    gateway.on_the_file("INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000000')");
    assert_eq!(look(), (vec!["database_unusable".to_owned()], "unusable".to_owned(), Some(1)));
    let file = folder.join("lan-gateway.db");
    std::fs::File::options().write(true).open(&file).unwrap().write_all_at(&[0x5A; 2048], 0).unwrap();
    assert_eq!(look().0, ["database_unusable"]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(look().0, ["database_unusable"], "its secrets are left");
    std::fs::remove_dir_all(folder.join("secrets")).unwrap();
    assert_eq!(look(), (vec![], "absent".to_owned(), Some(0)));
}

#[actix_web::test]
async fn scripts_get_one_object_with_stable_names() {
    let fake = FakeOllama::start();
    let (gateway, _) = well(&fake, &[]).await;
    let file = gateway.data_dir().join("lan-gateway.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:7000\"\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();

    let variables = [("LGW_OLLAMA__URL", &fake.url()[..]), ("LGW_LIMITS__REQUESTS_PER_MINUTE", "201")];
    let (told, code) = told_to_scripts(gateway.data_dir(), &variables, &[]);

    assert_eq!(code, Some(0), "there are hints alone: {told}");
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(
        names(&told),
        words(
            "version ok configuration listen data_folder gateway database open_files backups default_model upstreams findings"
        )
    );
    assert_eq!(names(&told["configuration"]), words("file variables"));
    assert_eq!(names(&told["database"]), words("bytes state checked_seconds last_checkpoint"));
    assert_eq!(names(&told["upstreams"][0]), words("name kind url up error models slots"));
    let found = told["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "no_effect").unwrap();
    assert_eq!(names(found), words("code message remedy failure"));
    assert_eq!((&found["failure"], &told["gateway"]), (&json!(false), &json!("running")));
    assert_eq!(told["configuration"]["file"], file.to_str().unwrap());
    assert_eq!(told["data_folder"], gateway.data_dir().to_str().unwrap());
    let overridden = json!(["LGW_DATA_DIR", "LGW_LIMITS__REQUESTS_PER_MINUTE", "LGW_OLLAMA__URL"]);
    assert_eq!(told["configuration"]["variables"], overridden);
    assert_eq!(told["upstreams"][0]["models"], json!(["fake:latest", "llama3.2:latest", "user/other:1b"]));
    assert_eq!(told["database"]["state"], "usable");
    let runbook = std::fs::read_to_string("docs/runbook.md").unwrap();
    for field in told.as_object().unwrap().keys() {
        assert!(runbook.contains(&format!("`{field}`")), "docs/runbook.md does not name `{field}`");
    }
    for code in FindingCode::ALL {
        assert!(runbook.contains(&format!("`{}`", code.name())), "docs/runbook.md does not name {code:?}");
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
    for file in ["lan-gateway.db", "secrets/jwt.json", "control.sock"] {
        let path = gateway.data_dir().join(file);
        let before = std::fs::metadata(&path).unwrap().mode() & 0o777;
        assert!(!is_told(&gateway, "folder_open"), "before {file}");
        rights(&gateway.data_dir().join("secrets"), 0o711);
        rights(&path, 0o644);
        assert!(is_told(&gateway, "folder_open"), "{file}");
        rights(&path, before);
        rights(&gateway.data_dir().join("secrets"), 0o700);
    }
    rights(&gateway.data_dir().join("lan-gateway.db"), 0o644);
    let url = fake.url();
    let (good, codes) = told(&gateway, &[("LGW_OLLAMA__URL", &url)]);
    assert!(!good && codes.contains(&"folder_open"), "{codes:?}");

    rights(gateway.data_dir(), 0o700);

    assert!(!is_told(&gateway, "folder_open"));
}

#[actix_web::test]
async fn a_gateway_that_hangs_is_told() {
    let fake = FakeOllama::start();
    let (gateway, _) = well(&fake, &[]).await;
    gateway.signal("STOP");

    let (told, code) = told_to_scripts(gateway.data_dir(), &[("LGW_OLLAMA__URL", &fake.url())], &[]);

    gateway.signal("CONT");
    assert_eq!((code, &told["gateway"]), (Some(1), &json!("silent")));
    assert_eq!(codes_of(&told)[0], "gateway_silent");
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

#[actix_web::test]
async fn a_record_that_is_not_as_it_was_signed_is_told() {
    let (mut gateway, _) = well(&FakeOllama::start(), &[]).await;
    gateway.signal("TERM");
    gateway.wait(20).await;
    gateway.on_the_file("UPDATE chain_tip SET note = replace(note, 'older-to 0', 'older-to 9')");
    gateway.restart();

    until("it is told", async || is_told(&gateway, "record_unproven")).await;
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
    let is_there = "until [ \"$(cat /proc/$!/comm)\" = ollama ]; do sleep 0.01; done";
    let script = format!("OLLAMA_NUM_PARALLEL=4 {} 60 & {is_there}; exec {} doctor", ollama.display(), binary());
    let Some(mut command) = in_a_namespace(&script) else {
        eprintln!("skipped: no process namespace can be made here");
        return;
    };
    let output = command.env("LGW_DATA_DIR", folder.path()).current_dir(folder.path()).output().unwrap();

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("slots_mismatch"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
