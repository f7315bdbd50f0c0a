//! The command line: over the control socket while a gateway runs, on the file when none does.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway, binary, command, hello};

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
    for words in [
        &["--help"][..],
        &["user", "--help"],
        &["user", "delete", "--help"],
        &["token", "--help"],
        &["settings", "--help"],
        &["usage", "--help"],
        &["export", "--help"],
        &["config", "--help"],
    ] {
        let (good, text) = command(folder.path(), words, "");
        assert!(good && text.contains("Usage:"), "{text}");
    }
}

/// The receipt in the last line of a CSV.
fn receipt(file: &str) -> String {
    let last = file.lines().last().unwrap();
    let code = last.strip_prefix("\"receipt:").unwrap_or_else(|| panic!("no receipt in {last}"));
    code[..16].to_owned()
}

#[actix_web::test]
async fn an_account_is_changed_from_the_host_whether_a_gateway_runs_or_not() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let run = |gateway: &TestGateway, words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        gateway.command(&words, "")
    };
    for (round, running) in [("one", true), ("two", false)] {
        if !running {
            gateway.signal("TERM");
            gateway.wait(10).await;
        }
        for change in [
            "user role ann@example.org admin",
            "user limit ann@example.org 7",
            "user models ann@example.org llama3.2 fake",
            &format!("user note ann@example.org {round}"),
            "user weight ann@example.org 3",
            "user class ann@example.org batch",
        ] {
            let (good, text) = run(&gateway, change);
            assert!(good && text.contains("ann@example.org"), "{change}: {text}");
        }
        let (_, shown) = run(&gateway, "user show ann@example.org --json");
        let ann: Value = serde_json::from_str(&shown).unwrap_or_else(|_| panic!("{shown}"));
        assert_eq!(
            json!([ann["role"], ann["requests_per_minute"], ann["models"], ann["note"], ann["weight"], ann["class"]]),
            json!(["admin", 7, ["llama3.2", "fake"], round, 3, "batch"])
        );
        for put_back in ["role ann@example.org user", "limit --none ann@example.org", "models --all ann@example.org"] {
            assert!(run(&gateway, &format!("user {put_back}")).0, "{put_back}");
        }
        let (_, shown) = run(&gateway, "user show ann@example.org");
        assert!(shown.contains("models               all") && shown.contains("the gateway's"), "{shown}");
        for (refused, says) in [
            ("user role admin user", "last admin"),
            ("user role ann@example.org king", "`role` must be"),
            ("user weight ann@example.org 101", "`weight` must be"),
            ("user limit ann@example.org 0", "`requests_per_minute` must be"),
            ("user list --status asleep", "`status` must be"),
        ] {
            let (good, text) = run(&gateway, refused);
            assert!(!good && text.contains(says), "{refused}: {text}");
        }
        let (_, listed) = run(&gateway, "user list ANN --status active --json");
        assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()[0]["username"], "ann@example.org");
        assert_eq!(run(&gateway, "user list nobody").1, "no accounts found\n");
    }
}

#[actix_web::test]
async fn settings_are_changed_from_the_host_and_felt_by_the_gateway_that_runs() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let set = |gateway: &TestGateway, words: &[&str]| gateway.command(&[&["settings"], words].concat(), "");
    let chat =
        async |gateway: &TestGateway, jwt: &str| gateway.post("/v1/chat/completions", Some(jwt), hello()).await.status;

    let (good, text) = set(&gateway, &["set", "requests_per_minute", "1"]);

    assert!(good && text.contains("requests_per_minute is 1"), "{text}");
    assert_eq!((chat(&gateway, &admin).await, chat(&gateway, &admin).await), (200, 429));
    let acts = gateway.get("/api/v1/audit?kind=act&limit=1", Some(&admin)).await.json();
    let act = &acts["items"][0];
    assert_eq!(
        json!([act["act"], act["user"], act["detail"]]),
        json!(["settings_changed", null, { "old": { "requests_per_minute": 10 }, "new": { "requests_per_minute": 1 } }])
    );
    gateway.signal("TERM");
    gateway.wait(10).await;
    assert!(set(&gateway, &["list"]).1.contains("the host"));
    let (good, text) = set(&gateway, &["unset", "requests_per_minute"]);
    assert!(good && text.contains("requests_per_minute is 10"), "{text}");
    let all: Value = serde_json::from_str(&set(&gateway, &["list", "--json"]).1).unwrap();
    assert!(all.as_array().unwrap().iter().all(|setting| setting["value"] == setting["of_file"]), "{all}");
    for (wrong, says) in [(["set", "requests_per_minute", "0"], "from 1 to"), (["set", "nonsense", "1"], "no setting")]
    {
        let (good, text) = set(&gateway, &wrong);
        assert!(!good && text.contains(says), "{text}");
    }
    gateway.restart();
    assert_eq!((chat(&gateway, &admin).await, chat(&gateway, &admin).await), (200, 200));
}

#[actix_web::test]
async fn usage_is_told_on_the_host_to_the_last_request() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let token = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "nightly" })).await.json();
    gateway.post("/v1/chat/completions", token["token"].as_str(), hello()).await;
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;

    for running in [true, false] {
        if !running {
            gateway.kill();
        }
        let (_, by_token) = gateway.command(&["usage", "--by", "token", "--json"], "");
        let items: Value = serde_json::from_str(&by_token).unwrap_or_else(|_| panic!("{by_token}"));
        let told = |item: &Value| json!([item["key"], item["user"], item["requests"], item["answer_tokens"]]);
        assert_eq!(
            items.as_array().unwrap().iter().map(told).collect::<Vec<_>>(),
            [json!(["(no token)", null, 1, 3]), json!(["nightly", "ann@example.org", 1, 3])]
        );
        let (_, csv) = gateway.command(&["usage", "--user", "ann@example.org", "--csv"], "");
        assert!(csv.lines().nth(1).unwrap().starts_with("\"ann@example.org\",\"1\""), "{csv}");
        let (_, table) = gateway.command(&["usage", "--token", token["prefix"].as_str().unwrap(), "--by", "model"], "");
        assert!(table.contains("REQUESTS") && table.lines().nth(1).unwrap().starts_with("fake"), "{table}");
        let (_, none) = gateway.command(&["usage", "--to", "2020-01-01T00:00:00Z"], "");
        assert_eq!(none, "nothing was used in that time\n");
        let (good, text) = gateway.command(&["usage", "--by", "year"], "");
        assert!(!good && text.contains("`by` must be"), "{text}");
    }
}

#[actix_web::test]
async fn somebody_is_exported_and_deleted_from_the_host_whether_a_gateway_runs_or_not() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for name in ["ann", "bob"] {
        let jwt = gateway.user(&admin, name).await;
        let mut body = hello();
        body["messages"][0]["content"] = json!(format!("the zither of {name}"));
        gateway.post("/v1/chat/completions", Some(&jwt), body).await;
    }
    for (name, running) in [("ann", true), ("bob", false)] {
        if !running {
            gateway.signal("TERM");
            gateway.wait(10).await;
        }
        let user = format!("{name}@example.org");
        let file = gateway.data_dir().join(format!("{name}.csv"));
        let export = |words: &[&str]| gateway.command(&[&["export"], words].concat(), "");
        let delete = |code: &str| gateway.command(&["user", "delete", &user, "--receipt", code], "");

        let (good, text) = export(&[&user, "--output", file.to_str().unwrap()]);
        assert!(good && text.contains("1 exported"), "{text}");
        let whole = std::fs::read_to_string(&file).unwrap();
        assert!(whole.contains(&format!("the zither of {name}")) && whole.lines().count() == 3, "{whole}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let (good, text) = export(&[&user, "--output", file.to_str().unwrap()]);
        assert!(!good && text.contains("is there already"), "{text}");

        let (good, found) = export(&[&user, "--kind", "request"]);
        assert!(good && found.contains("the zither of"), "{found}");
        let code = found.lines().find(|line| line.starts_with("\"receipt:")).map(receipt).unwrap();
        let (good, text) = delete(&code);
        assert!(!good && text.contains("not the receipt"), "what a filter found: {text}");
        let (good, text) = delete(&receipt(&whole));
        assert!(good && text.contains("is deleted"), "{text}");
        std::fs::remove_file(&file).unwrap();
        if running {
            let erased = async {
                while !gateway.get("/api/v1/audit", Some(&admin)).await.text().contains("contents_erased") {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(std::time::Duration::from_secs(10), erased).await.expect("erased within ten seconds");
        }
        for entry in std::fs::read_dir(gateway.data_dir()).unwrap() {
            let path = entry.unwrap().path();
            let secret = format!("the zither of {name}");
            let held =
                path.is_file() && memchr::memmem::find(&std::fs::read(&path).unwrap(), secret.as_bytes()).is_some();
            assert!(!held, "{path:?} holds what {name} asked");
        }
    }
    let (good, text) = gateway.command(&["export"], "");
    assert!(!good && text.contains("Usage:"), "an export says what of: {text}");
    let (good, text) = gateway.command(&["export", "nobody@example.org"], "");
    assert!(!good && text.contains("nobody@example.org"), "{text}");
}

#[actix_web::test]
async fn an_export_that_breaks_off_has_no_receipt_and_says_so() {
    use std::io::Read;
    use std::process::{Command, Stdio};
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__PROMPT_BYTES_MAX", "16777216")]);
    let admin = gateway.admin().await;
    let mut body = hello();
    body["messages"][0]["content"] = json!("x".repeat(4 << 20));
    for _ in 0..5 {
        assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), body.clone()).await.status, 200);
    }
    let mut export = Command::new(binary())
        .args(["export", "admin"])
        .current_dir(gateway.data_dir())
        .env("LGW_DATA_DIR", gateway.data_dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut said) = (Vec::new(), String::new());
    let mut pipe = export.stdout.take().unwrap();
    pipe.read_exact(&mut [0; 1024]).unwrap();

    // Most of it does not fit into pipe and socket, so the gateway is in the middle of it.
    gateway.kill();

    pipe.read_to_end(&mut out).unwrap();
    export.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(export.wait().unwrap().code(), Some(1));
    assert!(said.contains("broke off") && memchr::memmem::find(&out, b"receipt:").is_none(), "{said}");
    gateway.restart();
    let acts = gateway.get("/api/v1/audit?kind=act", Some(&admin)).await.text();
    assert!(acts.contains("export_created") && !acts.contains("export_finished"), "{acts}");
}

#[actix_web::test]
async fn a_doctor_says_who_answers_and_what_slots_are() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let look = |url: &str| {
        let file = format!("[ollama]\nurl = \"{url}\"\nslots = 3\n");
        std::fs::write(gateway.data_dir().join("lan-gateway.toml"), file).unwrap();
        gateway.command(&["doctor"], "")
    };

    let (good, text) = look(&fake.url());
    assert!(good, "{text}");
    for words in ["a gateway runs on it", "it answers, with", "slots 3", "OLLAMA_NUM_PARALLEL"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let (good, text) = look("http://127.0.0.1:1");
    assert!(!good && text.contains("the model server can't be reached"), "{text}");
}

#[actix_web::test]
async fn registrations_are_turned_down_from_the_host_whether_a_gateway_runs_or_not() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;
    for name in ["ann", "bob", "cas", "dan"] {
        let body = json!({ "email": format!("{name}@example.org"), "password": PASSWORD });
        assert_eq!(gateway.post("/api/v1/register", None, body).await.status, 202);
    }
    let run = |words: &[&str]| gateway.command(&[&["user"], words].concat(), "");

    let (named, text) = run(&["turn-down", "ann@example.org"]);
    assert!(named && text.contains("1 registration"), "{text}");
    assert!(!run(&["turn-down"]).0 && !run(&["turn-down", "bob@example.org", "--network", "10.0.0.1"]).0);
    let (_, nobody) = run(&["turn-down", "--network", "10.0.0.0/8"]);
    assert!(nobody.contains("0 registrations"), "{nobody}");
    assert!(run(&["approve", "dan@example.org"]).0);
    assert!(!run(&["turn-down", "dan@example.org"]).0, "who was let in stays");
    let (_, list) = run(&["list"]);
    assert!(list.contains("REGISTERED FROM") && list.contains("127.0.0.1") && !list.contains("ann@"), "{list}");
    gateway.signal("TERM");
    gateway.wait(10).await;
    let (all, text) =
        gateway.command(&["user", "turn-down", "--network", "127.0.0.1", "--to", "2100-01-01T00:00:00Z"], "");
    assert!(all && text.contains("2 registrations"), "{text}");
}

#[actix_web::test]
async fn what_root_does_on_the_host_leaves_the_files_to_the_owner_of_the_folder() {
    use std::os::unix::fs::{MetadataExt, chown};
    const NOBODY: u32 = 65534;
    let folder = tempfile::tempdir().unwrap();
    if std::fs::metadata(folder.path()).unwrap().uid() != 0 {
        return;
    }
    let gateway = TestGateway::start_in(folder.path(), "http://127.0.0.1:1", &[]);
    gateway.admin().await;
    gateway.signal("TERM");
    let mut gateway = gateway;
    gateway.wait(10).await;
    let of_root = || {
        let files = [folder.path().to_owned(), folder.path().join("secrets")];
        let files = files.iter().flat_map(|place| std::fs::read_dir(place).unwrap()).map(|entry| entry.unwrap().path());
        files.filter(|path| std::fs::symlink_metadata(path).unwrap().uid() == 0).collect::<Vec<_>>()
    };
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();

    for words in [&["user", "unlock", "admin"][..], &["user", "list"], &["user", "reset", "admin"], &["usage"]] {
        let (good, text) = gateway.command(words, "");
        assert!(good, "{text}");
        let left: Vec<_> = of_root().into_iter().filter(|path| !path.ends_with("control.sock")).collect();
        assert!(left.is_empty(), "{words:?}: {left:?}");
    }
}
