//! Mistakes on the command line: what is said, and the exit code. 1: it was refused or failed; 2: the line itself is wrong.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::gateway::{PASSWORD, TestGateway, binary};

/// Runs a command line, and returns its exit code and what it said on standard error.
fn run(folder: &Path, words: &str, input: &str) -> (Option<i32>, String) {
    use std::io::Write;
    let mut command = Command::new(binary());
    command.args(words.split(' ')).current_dir(folder).env("LGW_DATA_DIR", folder).env("LGW_LISTEN", "127.0.0.1:0");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that is wrong reads no input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let said = child.wait_with_output().unwrap();
    (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned())
}

/// A command line, its exit code, and what is said among other things.
const MISTAKES: &[(&str, i32, &[&str])] = &[
    ("usr list", 2, &["unrecognized subcommand 'usr'", "'user'"]),
    ("user lst", 2, &["unrecognized subcommand 'lst'", "'list'"]),
    ("user list --statsu active", 2, &["unexpected argument '--statsu' found", "'--status'"]),
    ("user approve", 2, &["required arguments were not provided", "<USER>"]),
    (
        "user limit ann@example.org",
        2,
        &["<REQUESTS_PER_MINUTE|--none>", "Usage: lan-gateway user limit <USER> <REQUESTS_PER_MINUTE|--none>"],
    ),
    (
        "user weight ann@example.org many",
        2,
        &["invalid value 'many' for '<WEIGHT>': it must be a number from 1 to 100"],
    ),
    ("user weight ann@example.org -1", 2, &["invalid value '-1' for '<WEIGHT>': it must be a number from 1 to 100"]),
    ("user limit ann@example.org 0", 2, &["invalid value '0'", "it must be a number from 1 to 1000000"]),
    ("user quota ann@example.org tokens_per_day 0", 2, &["it must be a number from 1 to 1000000000"]),
    ("user quota ann@example.org token_per_day 5", 2, &["invalid value 'token_per_day'", "'tokens_per_day'"]),
    (
        "user role ann@example.org amdin",
        2,
        &["invalid value 'amdin'", "possible values: admin, user", "similar value exists: 'admin'"],
    ),
    ("user role admin user", 1, &["admin is the last admin who can act, and can't be made an ordinary user"]),
    ("user show anne@example.org", 1, &["there is no user `anne@example.org`; did you mean `ann@example.org`?"]),
    ("user show zacharias", 1, &["there is no user `zacharias` here; `lan-gateway user list` shows all accounts"]),
    ("user delete ann@example.org --receipt 0123456789abcdef", 1, &["receipt"]),
    ("user password ann@example.org", 1, &["`password` must have at least 12 characters"]),
    ("token revoke n9n", 1, &["there is no token `n9n`; did you mean `n8n`?"]),
    (
        "token revoke n8n",
        1,
        &["2 tokens are named `n8n`; give the whole name or the beginning of one: `bob@example.org/n8n` (lgw_m_"],
    ),
    (
        "token create ann@example.org ci --quota nonsense=5",
        2,
        &["`nonsense` is no quota; there are tokens_per_minute, requests_per_day"],
    ),
    (
        "token create ann@example.org ci --quota token_per_day=5",
        2,
        &["`token_per_day` is no quota; did you mean `tokens_per_day`?"],
    ),
    ("token create ann@example.org ci --scope chatt", 2, &["invalid value 'chatt'", "'chat'"]),
    (
        "record list --from 31.01.2026",
        2,
        &["invalid value '31.01.2026' for '--from <TIME>': give a day (2026-01-31, today, yesterday)"],
    ),
    ("record list --act user_aproved", 2, &["'user_approved'"]),
    ("record show nonsense", 1, &["there is no such request in the record here"]),
    ("settings set request_per_minute 5", 2, &["invalid value 'request_per_minute'", "'requests_per_minute'"]),
    ("settings set requests_per_minute 0", 1, &["`requests_per_minute` must be a whole number from 1 to 1000000"]),
    ("usage --by year", 1, &["`by` must be"]),
    ("serve --port 70000", 2, &["invalid value '70000' for '--port <PORT>': it must be a number from 0 to 65535"]),
    ("serve", 1, &["another lan-gateway runs on"]),
    ("user list --config missing.toml", 2, &["`missing.toml`: can't be read: No such file or directory"]),
    (
        "user list --data-dir nowhere",
        1,
        &["there is no database at nowhere/lan-gateway.db; start the gateway once, or name its folder with --data-dir"],
    ),
    ("queue list --data-dir nowhere", 1, &["there is no database at nowhere/lan-gateway.db"]),
    ("export", 2, &["required arguments were not provided", "lan-gateway export --all [OPTIONS]"]),
    ("user turn-down", 2, &["lan-gateway user turn-down <USER>..."]),
];

#[actix_web::test]
async fn each_mistake_is_told_with_what_to_do() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    for name in ["ann", "bob"] {
        let jwt = gateway.user(&admin, name).await;
        let made = gateway.post("/api/v1/tokens", Some(&jwt), json!({ "name": "n8n" })).await;
        assert_eq!(made.status, 201);
    }

    let mut untold = Vec::new();
    for (words, code, says) in MISTAKES {
        let (ended, said) = run(gateway.data_dir(), words, "short\n");
        let is_told = says.iter().all(|says| said.contains(says)) && !said.contains("panicked");
        if ended != Some(*code) || !is_told {
            untold.push(format!("{words}: {ended:?} {said}"));
        }
    }
    assert!(untold.is_empty(), "{}", untold.join("\n"));
}

#[actix_web::test]
async fn another_user_of_the_host_is_told_whose_folder_it_is() {
    const NOBODY: u32 = 65534;
    let outside = tempfile::tempdir().unwrap();
    if !is_of_root(outside.path()) {
        return;
    }
    // Where everybody may read the program.
    std::fs::set_permissions(outside.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let (program, folder) = (outside.path().join("lan-gateway"), outside.path().join("data"));
    std::fs::copy(binary(), &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let mut gateway = TestGateway::start_in(&folder, "http://127.0.0.1:1", &[]);
    gateway.admin().await;

    for running in [true, false] {
        if !running {
            gateway.signal("TERM");
            gateway.wait(10).await;
        }
        for mode in [0o700, 0o755] {
            std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
            for words in ["user list", "token list", "record list", "queue"] {
                let mut command = Command::new(&program);
                command.args(words.split(' ')).current_dir("/").env("LGW_DATA_DIR", &folder).uid(NOBODY).gid(NOBODY);
                let said = command.output().unwrap();
                let text = String::from_utf8_lossy(&said.stderr);
                let told =
                    text.contains("run this as the gateway's user or root") && text.contains("Permission denied");
                assert!(said.status.code() == Some(1) && told, "{running} {mode:o} {words}: {text}");
            }
        }
    }
}

fn is_of_root(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(folder).unwrap().uid() == 0
}

#[test]
fn a_flag_overrides_the_environment_which_overrides_the_file_which_overrides_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let check = |vars: &[(&str, &str)], words: &str| {
        let mut command = Command::new(binary());
        command.args(["config", "check"]).args(words.split(' ').filter(|word| !word.is_empty()));
        let said = command.current_dir(folder.path()).envs(vars.iter().copied()).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
        (said.status.code(), text)
    };
    let has = |(code, text): (Option<i32>, String), listen: &str, data_dir: &str| {
        let lines = format!("listen    {listen}\ndata_dir  {data_dir}\n");
        assert!(code == Some(0) && text.contains(&lines), "{text}");
    };
    let both = [("LGW_LISTEN", "127.0.0.1:2"), ("LGW_DATA_DIR", "of-env")];

    has(check(&[], ""), "0.0.0.0:7000  (from the default)", "data  (from the default)");
    std::fs::write(folder.path().join("lan-gateway.toml"), "listen = \"127.0.0.1:1\"\ndata_dir = \"of-file\"\n")
        .unwrap();
    has(check(&[], ""), "127.0.0.1:1  (from the file)", "of-file  (from the file)");
    has(check(&both, ""), "127.0.0.1:2  (from LGW_LISTEN)", "of-env  (from LGW_DATA_DIR)");
    let (code, text) = check(&both, "--port 3 --data-dir of-flag");
    assert!(
        text.contains("; over it the environment: LGW_DATA_DIR, LGW_LISTEN; over all --data-dir, --port\n"),
        "{text}"
    );
    has((code, text), "127.0.0.1:3  (from --port)", "of-flag  (from --data-dir)");
    let (code, text) = check(&both, "--port 3 --json");
    let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    let listen = said["keys"].as_array().unwrap().iter().find(|key| key["key"] == "listen").unwrap();
    assert_eq!(
        (code, &said["good"], listen),
        (Some(0), &json!(true), &json!({ "key": "listen", "value": "127.0.0.1:3", "from": "--port" }))
    );

    let (code, text) = check(&[("LGW_PLAIN_HTTP", "off")], "--port 3 --json");
    let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    let problem = &said["problems"][0];
    assert_eq!((code, &said["good"], &problem["key"]), (Some(2), &json!(false), &json!("--port")), "{text}");
}

#[actix_web::test]
async fn a_gateway_serves_at_the_port_and_folder_of_its_flags_and_commands_find_it_there() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("elsewhere");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut serve = Command::new(binary());
    serve.args(["serve", "--port", &port.to_string(), "--data-dir", data.to_str().unwrap()]).current_dir(folder.path());
    serve
        .env("LGW_LISTEN", "127.0.0.1:1")
        .env("LGW_DATA_DIR", folder.path().join("not-here"))
        .env("LGW_LOG__LEVEL", "off");
    let mut gateway = serve.stdout(Stdio::null()).spawn().unwrap();

    let health = format!("http://127.0.0.1:{port}/health/live");
    let serves = async || crate::support::gateway::client().get(&health).send().await.is_ok();
    crate::support::eventually::until("the gateway serves", serves).await;
    let (code, said) = run(folder.path(), &format!("status --data-dir {}", data.display()), "");
    assert_eq!(code, Some(0), "{said}");
    assert!(data.join("lan-gateway.db").exists() && !folder.path().join("not-here").exists());
    let (code, said) = run(folder.path(), &format!("user password admin --data-dir {}", data.display()), PASSWORD);
    assert_eq!(code, Some(0), "{said}");
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}
