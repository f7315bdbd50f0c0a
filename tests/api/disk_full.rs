//! A data disk that fills: a tmpfs of 64 MB. To mount it takes root; without, these tests say that they are skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::eventually::{eventually, until};
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway, hello};

const MIB: usize = 1 << 20;

/// A disk of 64 MB, unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`: this user may not mount.
    fn mount() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let words = ["-t", "tmpfs", "-o", "size=64m", "tmpfs"];
        let mounted = Command::new("mount").args(words).arg(folder.path()).output();
        if !mounted.is_ok_and(|done| done.status.success()) {
            eprintln!("skipped: to mount a small disk takes root");
            return None;
        }
        Some(SmallDisk(folder))
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// Bytes that are free.
    fn free(&self) -> u64 {
        let told = Command::new("df").args(["--output=avail", "-B1"]).arg(self.0.path()).output().unwrap();
        String::from_utf8(told.stdout).unwrap().lines().last().unwrap().trim().parse().unwrap()
    }

    /// Writes a file of this size, or of what is left.
    fn fill(&self, name: &str, bytes: usize) -> PathBuf {
        use std::io::Write;
        let path = self.0.path().join(name);
        let mut file = std::fs::File::create(&path).unwrap();
        for _ in 0..bytes.div_ceil(4096) {
            if file.write_all(&[1; 4096]).is_err() {
                break;
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the gateway may still be ending.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

const UNLIMITED: (&str, &str) = ("LIMITS__REQUESTS_PER_MINUTE", "1000000");
const UNLIMITED_TOTAL: (&str, &str) = ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "1000000");

fn start(disk: &SmallDisk, fake: &FakeOllama, settings: &[(&str, &str)]) -> TestGateway {
    std::fs::create_dir(disk.data()).unwrap();
    let settings = [&[UNLIMITED, UNLIMITED_TOTAL], settings].concat();
    TestGateway::start_in(&disk.data(), &fake.url(), &settings)
}

/// A prompt of a megabyte, which is not the same each time.
fn long(number: usize) -> Value {
    json!({ "model": hello()["model"], "messages": [{ "role": "user", "content": format!("{number} {}", "x".repeat(1_000_000)) }] })
}

/// Sends a long prompt; returns whether it was answered.
async fn is_answered(gateway: &TestGateway, token: &str, number: usize) -> bool {
    let answer = gateway.post("/v1/chat/completions", Some(token), long(number)).await;
    if answer.status != 200 {
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("audit_unavailable")));
        assert!(answer.header("retry-after").is_some());
    }
    answer.status == 200
}

/// Sends long prompts until a look at the disk has found it full. Before that, a burst of them is refused for a moment.
async fn fill_by_prompts(gateway: &TestGateway, token: &str, admin: &str) -> Value {
    let mut number = 0;
    eventually("the disk is full", async || {
        number += 1;
        if is_answered(gateway, token, number).await {
            return None;
        }
        let warnings = gateway.get("/api/v1/host", Some(admin)).await.json()["warnings"].clone();
        warnings.as_array().unwrap().iter().find(|one| one["code"] == "disk_full").cloned()
    })
    .await
}

async fn serves_again(gateway: &TestGateway, token: &str) {
    let ask = async || {
        let answer = gateway.post("/v1/chat/completions", Some(token), hello()).await;
        (answer.status == 200).then_some(())
    };
    eventually("it answers again", ask).await;
}

fn assert_whole(gateway: &TestGateway, path: &Path) {
    let (_, told) = gateway.command(&["doctor", "--deep"], "");
    assert!(told.contains("whole: quick_check found nothing"), "{}: {told}", path.display());
}

#[actix_web::test]
async fn requests_are_refused_before_the_disk_is_full_and_all_else_goes_on() {
    let Some(disk) = SmallDisk::mount() else { return };
    let filler = disk.fill("filler", 30 * MIB);
    let fake = FakeOllama::start();
    let gateway = start(&disk, &fake, &[]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;

    let full = fill_by_prompts(&gateway, &ann, &admin).await;

    assert!(full["message"].as_str().unwrap().contains(disk.data().to_str().unwrap()), "{full}");
    assert!(disk.free() > 0, "it was refused before the disk was full");
    let forwarded = fake.chats().len();
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/chat"] {
        let body = json!({ "model": hello()["model"], "messages": hello()["messages"], "message": "hi", "prompt": "hi", "input": "hi" });
        let answer = gateway.post(path, Some(&ann), body).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(answer.text().contains("data disk is nearly full"), "{}", answer.text());
    }
    assert_eq!(gateway.get("/health/live", None).await.status, 200);
    let ready = gateway.get("/health/ready", None).await;
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("disk full")));
    let ann_again = gateway.token("ann@example.org", PASSWORD).await;
    assert_eq!(gateway.get("/api/v1/me", Some(&ann_again)).await.status, 200);
    let change = gateway.send("PATCH", "/api/v1/settings", Some(&admin), br#"{"waiting_max": 65}"#.to_vec()).await;
    assert_eq!(change.status, 200, "{}", change.text());
    let mut browser = Browser::of_admin(&gateway).await;
    browser.open("/admin").await.says("The data disk is nearly full, so nothing is answered.");
    assert!(gateway.export(&admin, "ann@example.org", "jsonl").await.contains("receipt"));
    assert_eq!(fake.chats().len(), forwarded, "nothing was forwarded");

    std::fs::remove_file(filler).unwrap();
    serves_again(&gateway, &ann).await;

    assert_eq!(gateway.get("/health/ready", None).await.status, 200);
    assert_whole(&gateway, &disk.data());
}

#[actix_web::test]
async fn a_disk_that_others_fill_to_the_last_byte_loses_nothing_and_needs_no_restart() {
    let Some(disk) = SmallDisk::mount() else { return };
    let fake = FakeOllama::start();
    // The guard is as good as off: what is refused is what can't be written.
    let gateway = start(&disk, &fake, &[("DISK__FREE_BYTES_MIN", "1")]);
    let admin = gateway.admin().await;
    assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);

    let filler = disk.fill("filler", 64 * MIB);
    for number in 0..20 {
        is_answered(&gateway, &admin, number).await;
    }

    let forwarded = fake.chats().len();
    let intents = "SELECT CAST(count(*) AS TEXT) FROM record WHERE kind = 'intent'";
    assert_eq!(gateway.text_of(intents), forwarded.to_string(), "what was forwarded has its intent, and nothing else");
    std::fs::remove_file(filler).unwrap();
    serves_again(&gateway, &admin).await;
    until("rows can be written", async || gateway.get("/health/live", None).await.status == 200).await;
    let results = "SELECT CAST(count(*) AS TEXT) FROM record WHERE kind = 'result'";
    gateway.until_text(results, &fake.chats().len().to_string()).await;
    assert_whole(&gateway, &disk.data());
}
