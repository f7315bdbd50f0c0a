//! Backups and what is restored from them: complete under load, useless for whoever steals one, and never half there.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix_web::rt::task::spawn_blocking;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::prelude::*;
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::eventually::{eventually, until};
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{ADMIN_PASSWORD, PASSWORD, TestGateway, binary, command, hello, hello_stream};

/// Returns the number behind a label of what a command printed.
fn told(text: &str, label: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_else(|| panic!("no {label}: {text}"));
    let number: String = line.trim_start().chars().take_while(char::is_ascii_digit).collect();
    number.parse().unwrap_or_else(|_| panic!("{label} has no number: {text}"))
}

fn count(folder: &Path, what: &str) -> u64 {
    let file = folder.join("lan-gateway.db");
    let mut file: diesel::SqliteConnection = diesel::Connection::establish(file.to_str().unwrap()).unwrap();
    let query = format!("SELECT count(*) FROM {what}");
    let count: i64 = diesel::dsl::sql::<diesel::sql_types::BigInt>(&query).get_result(&mut file).unwrap();
    count as u64
}

fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// Runs a command away from this thread, which sends requests meanwhile.
async fn beside(folder: &Path, words: &[&str]) -> String {
    let folder = folder.to_owned();
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let ran = move || command(&folder, &words.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let (good, text) = spawn_blocking(ran).await.unwrap();
    assert!(good, "{text}");
    text
}

const MANY: [(&str, &str); 1] = [("LIMITS__REQUESTS_PER_MINUTE", "1000")];

#[actix_web::test]
async fn a_backup_under_load_holds_every_request_that_was_answered_before_and_restores_to_as_many() {
    let fake = FakeOllama::start();
    let gateway = Rc::new(TestGateway::start_with(&fake.url(), &MANY));
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let (answered, stopped) = (Rc::new(AtomicU64::new(0)), Rc::new(AtomicBool::new(false)));
    let mut loads = Vec::new();
    for body in [hello(), hello_stream(), hello_stream()] {
        let (gateway, ann, answered, stopped) = (gateway.clone(), ann.clone(), answered.clone(), stopped.clone());
        loads.push(actix_web::rt::spawn(async move {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                let mut body = body.clone();
                body["messages"][0]["content"] = json!(format!("question {number}"));
                let answer = gateway.post("/v1/chat/completions", Some(&ann), body).await;
                if answer.status == 200 {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    let places = tempfile::tempdir().unwrap();
    let place = |name: String| places.path().join(name);
    let mut all = Vec::new();
    for round in 0..5_u64 {
        until("more requests are answered", async || answered.load(Ordering::Relaxed) > 5 * round).await;
        let before = answered.load(Ordering::Relaxed);
        let file = place(format!("{round}.db"));
        let text = beside(gateway.data_dir(), &["backup", file.to_str().unwrap()]).await;
        all.push((file, before, told(&text, "requests"), told(&text, "people"), told(&text, "newest row")));
    }
    stopped.store(true, Ordering::Relaxed);
    for load in loads {
        load.await.unwrap();
    }

    for (round, (file, before, requests, people, newest)) in all.iter().enumerate() {
        let (file, folder) = (file.to_str().unwrap(), place(format!("restored-{round}")));
        std::fs::create_dir(&folder).unwrap();
        let checked = beside(&folder, &["restore", "--check", file]).await;
        assert_eq!(told(&checked, "requests"), *requests);
        beside(&folder, &["restore", file]).await;
        assert_eq!(count(&folder, "record WHERE kind = 'intent'"), *requests);
        assert_eq!(count(&folder, "users WHERE deleted_at_us IS NULL"), *people);
        assert_eq!(count(&folder, &format!("record WHERE log_id <= {newest}")), *newest, "without a hole");
        let completed = count(&folder, "record WHERE outcome = 'completed'");
        assert!(completed >= *before, "{completed} of {before}");
    }
    assert!(all[4].2 > all[0].2, "it was under load");
    let acts = gateway.get("/api/v1/audit?act=backup_made", Some(&admin)).await.json();
    assert_eq!(acts["items"].as_array().unwrap().len(), 5, "{acts}");
}

/// A gateway with a day behind it, and what opens something there.
async fn lived(fake: &FakeOllama) -> (TestGateway, Vec<(&'static str, Vec<u8>)>, Opened) {
    let gateway = TestGateway::start_with(&fake.url(), &MANY);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.user(&admin, "bob").await;
    let made = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci", "scopes": ["chat"] })).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let old = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "old", "scopes": ["chat"] })).await.json();
    let rotate = format!("/api/v1/tokens/{}/rotate", old["id"].as_str().unwrap());
    let rotated = gateway.post(&rotate, Some(&ann), json!({})).await.json();
    let mut browser = Browser::of_user(&gateway, "ann").await;
    assert_eq!(browser.get("/me").await.status, 200);
    let cookie = browser.cookie("lgw_session").unwrap().to_owned();
    let bob = gateway.id_of(&admin, "bob").await;
    let reset = format!("/api/v1/users/{bob}/reset-password");
    let code = gateway.post(&reset, Some(&admin), json!({ "mode": "code" })).await.json();
    let export = gateway.export(&admin, "ann", "csv").await;
    let receipt = export.lines().last().unwrap().split('"').nth(1).unwrap().trim_start_matches("receipt:").to_owned();
    gateway.post("/v1/chat/completions", Some(&token), hello()).await;
    let secret = |name: &str| std::fs::read(gateway.data_dir().join("secrets").join(name)).unwrap();
    let keys: Value = serde_json::from_slice(&secret("jwt.json")).unwrap();
    let key = keys["keys"][0]["secret"].as_str().unwrap().to_owned();
    let text = |text: &str| text.as_bytes().to_vec();
    let secret_of = |token: &Value| text(token.as_str().unwrap().rsplit('_').next().unwrap());
    let canaries = vec![
        ("a password", text(PASSWORD)),
        ("the admin's password", text(ADMIN_PASSWORD)),
        ("a token", text(token.rsplit('_').next().unwrap())),
        ("a token that was rotated", secret_of(&old["token"])),
        ("a token after its rotation", secret_of(&rotated["token"])),
        ("a JWT", text(ann.rsplit('.').next().unwrap())),
        ("a session", text(&cookie)),
        ("a one-time code", text(code["one_time_code"].as_str().unwrap())),
        ("a receipt", text(&receipt)),
        ("the digest of a receipt", ring::digest::digest(&ring::digest::SHA256, receipt.as_bytes()).as_ref().to_vec()),
        ("the digest of a session", ring::digest::digest(&ring::digest::SHA256, cookie.as_bytes()).as_ref().to_vec()),
        ("the key of JWTs", text(&key)),
        ("the bytes of that key", URL_SAFE_NO_PAD.decode(&key).unwrap()),
        ("the id of that key", text(keys["keys"][0]["kid"].as_str().unwrap())),
        ("the name of the instance", text(keys["instance"].as_str().unwrap())),
        ("the key of wrong passwords", secret("throttle.key")),
    ];
    (gateway, canaries, Opened { token, jwt: ann, cookie })
}

struct Opened {
    token: String,
    jwt: String,
    cookie: String,
}

#[actix_web::test]
async fn a_stolen_backup_opens_nothing_and_a_restored_one_keeps_logins_tokens_and_the_record() {
    let fake = FakeOllama::start();
    let (mut gateway, canaries, opened) = lived(&fake).await;
    let places = tempfile::tempdir().unwrap();
    let file = places.path().join("b.db");
    let running = Script::of(vec![text("half"), Step::Wait, done("stop")]);
    fake.next(running);
    let asked = gateway.open("POST", "/v1/chat/completions", Some(&opened.token), hello_stream().to_string().into());
    let unfinished = asked.await;

    let (good, made) = gateway.command(&["backup", file.to_str().unwrap()], "");

    assert!(good, "{made}");
    let bytes = std::fs::read(&file).unwrap();
    for (what, canary) in &canaries {
        assert!(
            canary.len() >= 8 && !bytes.windows(canary.len()).any(|part| part == canary),
            "{what} is in the backup"
        );
    }
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (good, refused) = gateway.command(&["restore", file.to_str().unwrap()], "");
    assert!(!good && refused.contains("another lan-gateway runs"), "{refused}");
    drop(unfinished);
    fake.release();
    gateway.kill();

    let folder = places.path().join("elsewhere");
    std::fs::create_dir(&folder).unwrap();
    let (good, text) = command(&folder, &["restore", file.to_str().unwrap()], "");
    assert!(good && text.contains("everybody signs in"), "{text}");
    let log = places.path().join("log");
    let to_file = format!("exec \"$0\" \"$@\" 2>{}", log.display());
    let restored =
        TestGateway::start_in_under(&folder, &["sh", "-c", &to_file], &fake.url(), &[("LOG__LEVEL", "info")]);
    for path in ["/api/v1/me", "/v1/models"] {
        assert_eq!(restored.get(path, Some(&opened.jwt)).await.status, 401, "a JWT of before on {path}");
    }
    let mut browser = Browser::new(&restored);
    browser.set_cookie("lgw_session", &opened.cookie);
    let page = browser.get("/me").await;
    assert!(page.status == 303 && page.location().contains("/sign-in"), "{} {}", page.status, page.text);
    assert_eq!(restored.post("/v1/chat/completions", Some(&opened.token), hello()).await.status, 200);
    let ann = restored.token("ann@example.org", PASSWORD).await;
    assert_eq!(restored.get("/api/v1/me", Some(&ann)).await.status, 200);
    let admin = restored.admin().await;
    let record = restored.record(&admin).await;
    let outcomes = record.iter().filter_map(|row| row["outcome"].as_str());
    let outcomes: Vec<&str> = outcomes.filter(|outcome| *outcome != "refused").collect();
    assert_eq!(outcomes, ["completed", "interrupted", "completed"]);
    let acts = restored.get("/api/v1/audit?act=restored", Some(&admin)).await.json();
    assert_eq!(acts["items"].as_array().unwrap().len(), 1, "{acts}");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.contains("without its secrets"), "{log}");
}

#[actix_web::test]
async fn what_was_there_is_moved_aside_and_what_is_newer_than_the_backup_is_told() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let places = tempfile::tempdir().unwrap();
    let file = places.path().join("b.db");
    let file = file.to_str().unwrap();
    assert!(gateway.command(&["backup", file], "").0);
    let ann = gateway.user(&admin, "ann").await;
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    let checkpoints = gateway.data_dir().join("checkpoints.txt");
    until("there is a checkpoint", async || checkpoints.exists()).await;
    // Its last commits are only in the WAL.
    gateway.kill();

    let (good, refused) = gateway.command(&["restore", file], "");
    assert!(!good && refused.contains("--replace"), "{refused}");
    let (good, text) = gateway.command(&["restore", "--replace", file], "");

    assert!(good && text.contains("what came after the backup is only there"), "{text}");
    let names = names(gateway.data_dir());
    let aside = names.iter().find(|name| name.starts_with("lan-gateway.db.before-restore-") && name.ends_with('Z'));
    let aside = gateway.data_dir().join(aside.unwrap());
    assert!(names.iter().any(|name| name.starts_with("secrets.before-restore-")), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("checkpoints.txt.before-restore-")), "{names:?}");
    assert!(
        !names.contains(&"lan-gateway.db-wal".to_owned()) && !names.contains(&"lan-gateway.db.restoring".to_owned())
    );
    let old = places.path().join("old");
    std::fs::create_dir(&old).unwrap();
    for end in ["", "-wal"] {
        std::fs::copy(format!("{}{end}", aside.display()), old.join(format!("lan-gateway.db{end}"))).unwrap();
    }
    assert_eq!(count(&old, "record WHERE kind = 'intent'"), 1, "nothing of it is lost");
    gateway.restart();
    let admin = gateway.admin().await;
    assert_eq!(gateway.get("/api/v1/users?search=ann", Some(&admin)).await.json()["items"], json!([]));
}

#[actix_web::test]
async fn an_interrupted_restore_is_not_taken_for_an_empty_folder() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let places = tempfile::tempdir().unwrap();
    let (file, folder) = (places.path().join("b.db"), places.path().join("new"));
    std::fs::create_dir(&folder).unwrap();
    assert!(gateway.command(&["backup", file.to_str().unwrap()], "").0);
    let restore = |wrapped: &[&str]| {
        let mut command = Command::new(wrapped[0]);
        command.args(&wrapped[1..]).arg(binary()).args(["restore", file.to_str().unwrap()]);
        command.current_dir(&folder).env("LGW_DATA_DIR", &folder).output().unwrap()
    };

    // Killed as it is about to give the copy its name.
    restore(&[
        "strace",
        "-f",
        "-q",
        "-o",
        "/dev/null",
        "-e",
        "trace=rename",
        "-e",
        "inject=rename:signal=KILL:error=EIO",
    ]);

    assert!(folder.join("lan-gateway.db.restoring").exists() && !folder.join("lan-gateway.db").exists());
    let (good, refused) = command(&folder, &["serve"], "");
    assert!(!good && refused.contains("a restore") && refused.contains("was interrupted"), "{refused}");
    let again = restore(&["env"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(folder.join("lan-gateway.db").exists() && !folder.join("lan-gateway.db.restoring").exists());
}

#[actix_web::test]
async fn a_backup_that_is_killed_or_finds_the_disk_full_leaves_nothing_that_looks_complete() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let places = tempfile::tempdir().unwrap();
    let file = places.path().join("b.db");
    let back_up = |inject: &str| {
        let call = inject.split(':').next().unwrap();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-q", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &format!("inject={inject}")]);
        strace.arg(binary()).args(["backup", file.to_str().unwrap()]);
        let output = strace.env("LGW_DATA_DIR", gateway.data_dir()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };

    let (code, text) = back_up("pwrite64:error=ENOSPC:when=20+");
    assert!(code == Some(1) && text.contains("became full"), "{code:?} {text}");
    assert_eq!(names(places.path()), [""; 0], "nothing is left");
    back_up("renameat2:signal=KILL:error=EIO");
    let left = names(places.path());
    assert!(left.len() == 1 && left[0].ends_with(".partial"), "{left:?}");

    assert_eq!(gateway.get("/health", None).await.status, 200);
    let (good, text) = gateway.command(&["backup", file.to_str().unwrap()], "");
    assert!(good, "{text}");
    let (good, text) = gateway.command(&["backup", file.to_str().unwrap()], "");
    assert!(!good && text.contains("is there already"), "{text}");
    assert!(gateway.command(&["backup", "--force", file.to_str().unwrap()], "").0);
}

#[actix_web::test]
async fn root_leaves_no_file_that_the_services_user_cannot_use() {
    const NOBODY: u32 = 65534;
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;
    if chown(gateway.data_dir(), Some(NOBODY), Some(NOBODY)).is_err() {
        // Only root can give files away.
        return;
    }
    let chown_all = |folder: &Path| {
        assert!(Command::new("chown").args(["-R", "65534:65534"]).arg(folder).status().unwrap().success())
    };
    let strangers = |folder: &Path| -> Vec<PathBuf> {
        let inside = |folder: &Path| -> Vec<PathBuf> {
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
        };
        let mut files = inside(folder);
        files.extend(files.clone().iter().filter(|file| file.is_dir()).flat_map(|folder| inside(folder)));
        files.retain(|file| std::fs::symlink_metadata(file).unwrap().uid() != NOBODY);
        files
    };
    let (folder, backups, roots) =
        (gateway.data_dir().to_owned(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    chown(backups.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let file = |folder: &tempfile::TempDir, name: &str| folder.path().join(name).to_str().unwrap().to_owned();

    // With a WAL that a killed gateway left, and then without one.
    gateway.kill();
    for name in ["wal.db", "none.db"] {
        chown_all(&folder);
        let (good, text) = gateway.command(&["backup", &file(&backups, name)], "");
        assert!(good && !text.contains("doesn't tell"), "{text}");
        assert_eq!((strangers(&folder), strangers(backups.path())), (vec![], vec![]), "{name}");
    }
    assert!(gateway.command(&["backup", &file(&roots, "b.db")], "").0);
    assert_eq!(std::fs::metadata(file(&roots, "b.db")).unwrap().uid(), 0, "the record is given to nobody else");
    let (good, text) = gateway.command(&["restore", "--replace", &file(&roots, "b.db")], "");
    assert!(good, "{text}");
    assert_eq!(strangers(&folder), [""; 0].map(PathBuf::from));
}

/// Waits until the gateway knows `file` as the newest. Returns what it tells of it.
async fn newest_known(gateway: &TestGateway, admin: &str, file: &str) -> Value {
    eventually("it knows the newest", async || {
        let last = gateway.get("/api/v1/host", Some(admin)).await.json()["last_backup"].take();
        (last["file"] == file).then_some(last)
    })
    .await
}

#[actix_web::test]
async fn scheduled_backups_are_made_told_and_only_the_newest_are_kept() {
    let places = tempfile::tempdir().unwrap();
    let folder = places.path().to_str().unwrap();
    let stay = [
        "lan-gateway.db",
        "lan-gateway-before-upgrade.db",
        "lan-gateway-20200101T000000Z.db.bak",
        "x.0a1b2c3d.partial",
    ];
    let older =
        ["lan-gateway-20200103T000000Z.db", "lan-gateway-20200102T000000Z.db", "lan-gateway-20200101T000000Z.db"];
    let crashed = "lan-gateway-20200104T000000Z.db.0a1b2c3d.partial";
    for name in stay.iter().chain(&older).chain([&crashed]) {
        std::fs::write(places.path().join(name), "x").unwrap();
    }
    let settings = [("BACKUP__FOLDER", folder), ("BACKUP__EVERY_HOURS", "1"), ("BACKUP__KEEP", "2")];

    let mut gateway = TestGateway::start_with("http://127.0.0.1:1", &settings);

    let admin = gateway.admin().await;
    gateway.until_text("SELECT CAST(count(*) AS TEXT) FROM record WHERE act = 'backup_made'", "1").await;
    let mut now = names(places.path());
    now.retain(|name| !stay.contains(&name.as_str()));
    now.sort();
    assert_eq!((now.len(), now[0].as_str()), (2, older[0]), "{now:?}");
    assert_eq!(names(places.path()).len(), 2 + stay.len(), "what has another name stays");
    let file = places.path().join(&now[1]);
    let (good, text) = gateway.command(&["restore", "--check", file.to_str().unwrap()], "");
    assert!(good, "{text}");
    let last = newest_known(&gateway, &admin, &now[1]).await;
    assert_eq!(last["bytes"], std::fs::metadata(&file).unwrap().len());
    assert_eq!(gateway.detail_of("backup_made")["scheduled"], true);
    // The next is due in an hour, also after a restart.
    gateway.signal("TERM");
    assert_eq!(gateway.wait(20).await, Some(0));
    gateway.restart();
    let admin = gateway.admin().await;
    newest_known(&gateway, &admin, &now[1]).await;
    assert_eq!(names(places.path()).len(), 2 + stay.len());
}

#[actix_web::test]
async fn a_scheduled_backup_that_fails_is_told_with_its_cause() {
    let places = tempfile::tempdir().unwrap();
    let missing = places.path().join("not-mounted");
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("BACKUP__FOLDER", missing.to_str().unwrap())]);
    let admin = gateway.admin().await;

    let late = async || {
        let view = gateway.get("/api/v1/host", Some(&admin)).await.json();
        let late = view["warnings"].as_array().unwrap().iter().find(|one| one["code"] == "backup_late")?.clone();
        Some((late["message"].as_str().unwrap().to_owned(), view["last_backup"].clone()))
    };
    let (message, last) = eventually("it is told", late).await;

    assert!(message.contains("failed") && message.contains("not-mounted"), "{message}");
    assert_eq!(last, Value::Null);
    let setting = [("LGW_BACKUP__FOLDER", missing.to_str().unwrap())];
    let (_, told) = gateway.command_with(&setting, &["doctor"], "");
    assert!(told.contains("backup_late") && told.contains("not-mounted"), "{told}");
    assert!(!missing.exists(), "it is not made");
}
