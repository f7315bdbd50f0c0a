//! Where commands print: to readers that leave early, and to disks that are full.

use std::fs::File;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway, binary, command, hello};

/// The exit code of a program that wrote to a reader who had left, as a shell tells it.
const READER_GONE: Option<i32> = Some(141);

/// Runs a command with this standard output. Returns its exit code and what it said on standard error.
fn into(gateway: &TestGateway, words: &str, out: impl Into<Stdio>) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    command.args(words.split(' ')).current_dir(gateway.data_dir()).env("LGW_DATA_DIR", gateway.data_dir());
    let said = command.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()).spawn().unwrap().wait_with_output();
    let said = said.unwrap();
    (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned())
}

/// The writing end of a pipe whose reading end is closed.
fn closed_pipe() -> std::io::PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer
}

/// Commands that print and need no gateway.
const ALONE: &[&str] = &[
    "--help",
    "--version",
    "help user",
    "user --help",
    "token create --help",
    "config example",
    "config check",
    "openapi",
    "completions bash",
    "user list",
    "user list --json",
    "user show admin",
    "token list",
    "token list --json",
    "notices list",
    "notices list --json",
    "settings",
    "settings list --json",
    "settings file",
    "usage",
    "usage --csv",
    "usage --timeline day",
    "record list",
    "record list --json",
    "record exports",
    "export --all",
    "export --all --format jsonl",
];

const OF_A_RUNNING_ONE: &[&str] =
    &["queue list", "queue list --json", "models", "metrics", "status", "status --json", "doctor"];

#[actix_web::test]
async fn a_reader_that_leaves_ends_a_command_quietly_and_a_full_disk_is_an_error() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "nightly" })).await;
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    let file = format!("[ollama]\nurl = \"{}\"\n", fake.url());
    std::fs::write(gateway.data_dir().join("lan-gateway.toml"), file).unwrap();

    for words in ALONE.iter().chain(OF_A_RUNNING_ONE) {
        assert_eq!(into(&gateway, words, closed_pipe()), (READER_GONE, String::new()), "{words}");
        let (code, said) = into(&gateway, words, File::create("/dev/full").unwrap());
        assert_eq!(code, Some(1), "{words}: {said}");
        assert_eq!(
            said, "lan-gateway: can't write to standard output: No space left on device (os error 28)\n",
            "{words}"
        );
    }
    gateway.signal("TERM");
    gateway.wait(10).await;
    for words in ALONE {
        assert_eq!(into(&gateway, words, closed_pipe()), (READER_GONE, String::new()), "{words}");
    }
}

#[actix_web::test]
async fn a_command_whose_reader_has_left_does_its_work() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.post("/api/v1/register", None, json!({ "email": "ann@example.org", "password": PASSWORD })).await;

    assert_eq!(into(&gateway, "user approve ann@example.org", closed_pipe()), (READER_GONE, String::new()));

    let found = gateway.get("/api/v1/users?search=ann", Some(&admin)).await.json();
    assert_eq!(found["items"][0]["status"], "active");
}

#[actix_web::test]
async fn a_closed_standard_error_changes_nothing() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;

    for (words, code) in [("user show nobody", 1), ("export --all", 0), ("user", 2)] {
        let mut command = Command::new(binary());
        command.args(words.split(' ')).current_dir(gateway.data_dir()).env("LGW_DATA_DIR", gateway.data_dir());
        let status = command.stdout(Stdio::null()).stderr(closed_pipe()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{words}");
    }
}

#[actix_web::test]
async fn a_gateway_starts_and_serves_though_nobody_reads_what_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut serve = Command::new(binary());
    serve.arg("serve").current_dir(folder.path()).env("LGW_DATA_DIR", folder.path());
    serve.env("LGW_LISTEN", address.to_string()).stdout(closed_pipe()).stderr(closed_pipe());
    let mut gateway = serve.spawn().unwrap();

    let health = format!("http://{address}/health/live");
    let serves = async || crate::support::gateway::client().get(&health).send().await.is_ok();
    crate::support::eventually::until("the gateway serves", serves).await;
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}

#[test]
fn bash_takes_its_completions_and_completes_with_them() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (good, script) = command(folder.path(), &["completions", shell], "");
        assert!(good && script.contains("lan-gateway"), "{shell}: {script}");
        std::fs::write(folder.path().join(shell), script).unwrap();
    }
    let bash = |script: &str| {
        let said = Command::new("bash").args(["-c", script]).current_dir(folder.path()).output().unwrap();
        assert!(said.status.success(), "{script}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    };
    bash("bash -n ./bash");
    for (typed, completed) in [
        ("us", "user usage"),
        ("user turn", "turn-down"),
        ("token quota n8n tokens_per_m", "tokens_per_minute"),
        ("record list --outc", "--outcome"),
        ("completions f", "fish"),
    ] {
        let words: Vec<&str> = typed.split(' ').collect();
        let (count, last, before) =
            (words.len(), words[words.len() - 1], words.iter().rev().nth(1).unwrap_or(&"lan-gateway"));
        let script = format!(
            "source ./bash; COMP_WORDS=(lan-gateway {typed}); COMP_CWORD={count}; \
             $(complete -p lan-gateway | sed 's/.*-F \\([^ ]*\\).*/\\1/') lan-gateway {last} {before}; echo \"${{COMPREPLY[@]}}\""
        );
        assert_eq!(bash(&script), completed, "{typed}");
    }
    let (good, said) = command(folder.path(), &["completions", "tcsh"], "");
    assert!(!good && said.contains("possible values: bash, elvish, fish, powershell, zsh"), "{said}");
}
