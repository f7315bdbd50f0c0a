//! The command line: the API over the control socket, of the gateway that runs or of its own.

use std::os::unix::fs::PermissionsExt;

use lan_gateway::dialect::DIALECTS;
use lan_gateway::http::ROUTES;
use lan_gateway::http::host::HOST_ROUTES;
use serde_json::{Value, json};

use crate::support::eventually::until;
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

    let (good, text) =
        gateway.command(&["user", "add", "bob@example.org", "--keep-password"], &format!("{PASSWORD}\n"));

    assert!(good && text.contains("active"), "{text}");
    gateway.token("bob@example.org", PASSWORD).await;
}

#[actix_web::test]
async fn an_account_shows_whether_its_password_must_be_changed_and_not_who_set_it() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let password = |user: &str| {
        let (good, text) = gateway.command(&["user", "show", user], "");
        assert!(good, "{text}");
        let line = text.lines().find_map(|line| line.strip_prefix("password")).unwrap();
        line.trim().to_owned()
    };
    let first = password("admin");
    gateway.admin().await;
    gateway.command(&["user", "add", "bob@example.org"], &format!("{PASSWORD}\n"));
    gateway.command(&["user", "add", "cas@example.org", "--keep-password"], &format!("{PASSWORD}\n"));

    let must = "must be changed before anything else";
    assert_eq!(
        [first, password("admin"), password("bob@example.org"), password("cas@example.org")],
        [must, "set", must, "set"]
    );
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
fn config_check_says_what_it_read_and_finds_a_variable_that_no_key_has() {
    let folder = tempfile::tempdir().unwrap();
    let check = |vars: &[(&str, &str)], words: &[&str]| {
        let mut check = std::process::Command::new(binary());
        check.args([&["config", "check"], words].concat()).current_dir(folder.path()).envs(vars.iter().copied());
        let output = check.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let here = folder.path().canonicalize().unwrap().join("lan-gateway.toml");
    let here = here.to_str().unwrap();

    let (code, text) = check(&[], &[]);
    assert!(code == Some(0) && text.contains(&format!("no file was read: {here} does not exist")), "{text}");
    std::fs::write(here, "[limits]\nrequests_per_minute = 1000\n").unwrap();
    let (code, text) = check(&[("LGW_LISTEN", "127.0.0.1:1"), ("LGW_URL", "http://a")], &[]);
    assert!(
        code == Some(0) && text.contains(&format!("read from {here}; over it the environment: LGW_LISTEN\n")),
        "{text}"
    );
    assert!(text.contains("note: `limits.requests_per_minute`: 1000 has no effect above the 200"), "{text}");
    std::fs::write(folder.path().join("other.toml"), "").unwrap();
    let (_, text) = check(&[], &["--config", "other.toml"]);
    assert!(text.contains(&here.replace("lan-gateway.toml", "other.toml")), "{text}");
    for (name, meant) in [("LGW_LIMITS_REQUESTS_PER_MINUTE", "LGW_LIMITS__REQUESTS_PER_MINUTE"), ("LGW_PORT", "no key")]
    {
        let (code, text) = check(&[(name, "5")], &[]);
        assert!(code == Some(2) && text.contains(name) && text.contains(meant) && text.contains(here), "{text}");
    }
    for level in ["inof", "warning", "lan_gateway=inof"] {
        assert_eq!(check(&[("LGW_LOG__LEVEL", level)], &[]).0, Some(2), "{level}");
    }
    assert_eq!(check(&[("LGW_LOG__LEVEL", "INFO")], &[]).0, Some(0));
}

/// Starts a gateway that is expected to refuse, and returns what it says; `None` when it runs.
fn refusal(folder: &std::path::Path) -> Option<String> {
    use std::io::Read;
    use std::process::Stdio;
    let mut child = std::process::Command::new(binary())
        .arg("serve")
        .current_dir(folder)
        .env("LGW_DATA_DIR", folder)
        .env("LGW_LISTEN", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A gateway that refuses ends and closes both; one that runs says where it listens.
    let mut first = [0; 1];
    let runs = child.stdout.take().unwrap().read(&mut first).unwrap() > 0;
    if runs {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    (!runs && output.status.code() == Some(1)).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[actix_web::test]
async fn a_second_gateway_is_refused_even_if_the_lock_s_file_is_gone_and_a_dead_socket_is_no_obstacle() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    let folder = gateway.data_dir().to_owned();
    std::fs::remove_file(folder.join("lan-gateway.lock")).unwrap();

    let said = refusal(&folder).expect("it is refused");

    assert!(said.contains("another lan-gateway runs on") && said.contains("control.sock"), "{said}");
    let (good, text) = gateway.command(&["user", "list"], "");
    assert!(good, "the first one still answers: {text}");
    gateway.kill();
    assert!(folder.join("control.sock").exists(), "as a killed gateway leaves it");
    gateway.restart();
    assert!(gateway.command(&["user", "list"], "").0);
}

#[actix_web::test]
async fn a_clean_stop_leaves_the_database_whole_in_one_file() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for _ in 0..3 {
        assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);
    }

    gateway.signal("TERM");
    assert_eq!(gateway.wait(20).await, Some(0));

    let wal = std::fs::metadata(gateway.data_dir().join("lan-gateway.db-wal")).map_or(0, |wal| wal.len());
    assert_eq!(wal, 0);
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("secrets")).unwrap();
    for name in ["lan-gateway.db", "secrets/jwt.json"] {
        std::fs::copy(gateway.data_dir().join(name), copy.path().join(name)).unwrap();
    }
    let second = TestGateway::start_in(copy.path(), &fake.url(), &[]);
    let record = second.record(&second.admin().await).await;
    assert_eq!(record.iter().filter(|row| row["outcome"] == "completed").count(), 3);
}

#[actix_web::test]
async fn secrets_without_their_database_are_told_and_nothing_is_begun_anew() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.signal("TERM");
    gateway.wait(20).await;
    let folder = gateway.data_dir().to_owned();
    let (file, aside) = (folder.join("lan-gateway.db"), folder.join("aside"));
    std::fs::rename(&file, &aside).unwrap();

    for empty in [false, true] {
        if empty {
            std::fs::write(&file, "").unwrap();
        }
        let said = refusal(&folder).expect("it is refused");
        assert!(said.contains("no database with accounts") && said.contains("mv "), "{said}");
        let left = std::fs::metadata(&file).map_or(0, |file| file.len());
        assert_eq!((file.exists(), left), (empty, 0), "nothing was made");
    }

    std::fs::rename(&aside, &file).unwrap();
    gateway.restart();
    assert_eq!(gateway.get("/api/v1/me", Some(&admin)).await.status, 200, "all is as it was");
    gateway.signal("TERM");
    gateway.wait(20).await;
    std::fs::remove_dir_all(folder.join("secrets")).unwrap();
    gateway.restart();
    assert_eq!(gateway.get("/api/v1/me", Some(&admin)).await.status, 401, "a database without secrets gets new keys");
    gateway.admin().await;
    gateway.signal("TERM");
    gateway.wait(20).await;
    std::fs::rename(folder.join("secrets"), folder.join("secrets.old")).unwrap();
    std::fs::rename(&file, &aside).unwrap();
    assert_eq!(refusal(&folder), None, "an empty folder begins anew");
}

#[actix_web::test]
async fn doctor_reads_the_whole_database_and_finds_damage() {
    use std::os::unix::fs::FileExt;
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for _ in 0..20 {
        gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    }
    let check = |folder: &std::path::Path| {
        let mut doctor = std::process::Command::new(binary());
        doctor.args(["doctor", "--deep"]).env("LGW_DATA_DIR", folder).env("LGW_OLLAMA__URL", fake.url());
        let output = doctor.current_dir(folder).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };

    let (good, text) = check(gateway.data_dir());
    assert!(good && text.contains("a gateway runs on it") && text.contains("quick_check found nothing"), "{text}");
    assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 429, "it goes on");
    gateway.signal("TERM");
    gateway.wait(20).await;
    let (good, text) = check(gateway.data_dir());
    assert!(good && text.contains("quick_check found nothing"), "{text}");

    let file = gateway.data_dir().join("lan-gateway.db");
    let bytes = std::fs::metadata(&file).unwrap().len();
    let damaged = std::fs::File::options().write(true).open(&file).unwrap();
    // The last page alone, then all but the first.
    for first in [bytes / 4096 - 1, 1] {
        for page in first..bytes / 4096 {
            damaged.write_all_at(&[0x5A; 64], page * 4096).unwrap();
        }
        let (good, text) = check(gateway.data_dir());
        assert!(!good && text.contains("database       UNUSABLE") && text.contains("is damaged"), "{text}");
    }
    let fresh = tempfile::tempdir().unwrap();
    assert!(check(fresh.path()).0, "where there is none, none is damaged");
}

#[actix_web::test]
async fn an_export_on_the_host_breaks_off_when_its_person_is_deleted_and_leaves_no_file() {
    use std::io::Read;
    use std::process::{Command, Stdio};
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__PROMPT_BYTES_MAX", "16777216")]);
    let admin = gateway.admin().await;
    for (name, into_file, format) in [("ann", false, "csv"), ("bob", true, "jsonl")] {
        let jwt = gateway.user(&admin, name).await;
        let mut body = hello();
        body["messages"][0]["content"] = json!("x".repeat(4 << 20));
        for _ in 0..6 {
            assert_eq!(gateway.post("/v1/chat/completions", Some(&jwt), body.clone()).await.status, 200);
        }
        let user = format!("{name}@example.org");
        let (_, whole) = gateway.command(&["export", &user], "");
        let code = whole.lines().find(|line| line.starts_with("\"receipt:")).map(receipt).unwrap();
        let file = gateway.data_dir().join("export");
        let pipe = gateway.data_dir().join("export.part");
        let mut words = vec!["export", &user, "--format", format];
        if into_file {
            // A pipe in the place of the file under way, so that it waits for its reader.
            assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            words.extend(["--output", file.to_str().unwrap()]);
        }
        let mut export = Command::new(binary())
            .args(words)
            .current_dir(gateway.data_dir())
            .env("LGW_DATA_DIR", gateway.data_dir())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out: Box<dyn Read> = match into_file {
            true => Box::new(std::fs::File::open(&pipe).unwrap()),
            false => Box::new(export.stdout.take().unwrap()),
        };
        let mut read = vec![0; 4096];
        out.read_exact(&mut read).unwrap();

        let (good, text) = gateway.command(&["user", "delete", &user, "--receipt", &code], "");
        assert!(good, "{text}");

        out.read_to_end(&mut read).unwrap();
        let ended = export.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{said}");
        assert!(said.contains("was aborted and has no receipt") && said.contains("was deleted"), "{said}");
        assert!(memchr::memmem::find(&read, b"receipt").is_none(), "{name}");
        assert!(!file.exists() && !pipe.exists(), "{name}: what broke off is no file");
    }
}

#[actix_web::test]
async fn a_csv_on_the_host_has_a_byte_order_mark_when_one_is_asked_for() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;
    for (words, with) in
        [("export --all --bom", true), ("export --all", false), ("usage --csv --bom", true), ("usage --csv", false)]
    {
        let (good, text) = gateway.command(&words.split(' ').collect::<Vec<_>>(), "");
        assert!(good && text.starts_with(if with { "\u{feff}\"" } else { "\"" }), "{words}: {text}");
    }
    for wrong in ["export --all --bom --format jsonl", "usage --bom"] {
        assert!(!gateway.command(&wrong.split(' ').collect::<Vec<_>>(), "").0, "{wrong}");
    }
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
        &["record", "--help"],
        &["queue", "--help"],
        &["models", "--help"],
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
            ("user role ann@example.org king", "possible values: admin, user"),
            ("user weight ann@example.org 101", "from 1 to 100"),
            ("user limit ann@example.org 0", "from 1 to 1000000"),
            ("user list --status asleep", "possible values: pending"),
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
    for (wrong, says) in
        [(["set", "requests_per_minute", "0"], "from 1 to"), (["set", "nonsense", "1"], "invalid value 'nonsense'")]
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
            let acts = async || gateway.get("/api/v1/audit", Some(&admin)).await.text();
            until("the contents are erased", async || acts().await.contains("contents_erased")).await;
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
    assert!(said.contains("was aborted") && memchr::memmem::find(&out, b"receipt:").is_none(), "{said}");
    gateway.restart();
    let acts = gateway.get("/api/v1/audit?kind=act", Some(&admin)).await.text();
    assert!(acts.contains("export_created") && !acts.contains("export_finished"), "{acts}");
}

#[actix_web::test]
async fn a_command_that_takes_nothing_of_an_export_loses_its_connection() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeOllama::start());
    let start = |settings: &[(&str, &str)]| TestGateway::start_in(folder.path(), &fake.url(), settings);
    let mut gateway = start(&[("LIMITS__PROMPT_BYTES_MAX", "16777216")]);
    let admin = gateway.admin().await;
    let mut body = hello();
    body["messages"][0]["content"] = json!("x".repeat(4 << 20));
    assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), body).await.status, 200);
    gateway.signal("TERM");
    gateway.wait(40).await;
    // As long as an answer may take, a reader may take nothing of an export.
    let gateway = start(&[("ANSWERS__ANSWER_SECONDS_MAX", "2")]);
    let answer_to = |head: &str, body: &str| {
        let mut stream = UnixStream::connect(gateway.data_dir().join("control.sock")).unwrap();
        let length = body.len();
        write!(stream, "{head} HTTP/1.1\r\nhost: host\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        stream
    };
    let mut made = [0; 4096];
    let length = answer_to("POST /api/v1/exports", r#"{"filter":{}}"#).read(&mut made).unwrap();
    let made = String::from_utf8_lossy(&made[..length]);
    let url = made.split("\"url\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();

    // Most of the export does not fit into the socket.
    let mut reader = answer_to(&format!("GET {url}"), "");
    reader.read_exact(&mut [0; 1024]).unwrap();
    until("the connection is closed", async || reader.write(b"\r\n").is_err()).await;

    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 4 << 20 && memchr::memmem::find(&rest, b"receipt:").is_none(), "{} bytes came", rest.len());
    let (good, said) = gateway.command(&["export", "--all"], "");
    assert!(good, "one that reads gets it all: {}", &said[said.len().saturating_sub(200)..]);
}

#[actix_web::test]
async fn a_doctor_says_who_answers_and_what_slots_are() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    gateway.admin().await;
    let look = |url: &str| {
        let (file, text) =
            (gateway.data_dir().join("lan-gateway.toml"), format!("[ollama]\nurl = \"{url}\"\nslots = 3\n"));
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        gateway.command(&["doctor"], "")
    };

    let (good, text) = look(&fake.url());
    assert!(good, "{text}");
    for words in ["a gateway runs on it", "it answers, with", "slots 3", "OLLAMA_NUM_PARALLEL"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let (good, text) = look("http://127.0.0.1:1");
    assert!(!good && text.contains("is down: it can't be reached"), "{text}");
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

/// What a route does, as words on the command line.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("GET", "/v1/models", "models"),
    ("GET", "/api/v1/notice-channels", "notices list"),
    ("POST", "/api/v1/notice-channels", "notices add"),
    ("PATCH", "/api/v1/notice-channels/{id}", "notices change"),
    ("DELETE", "/api/v1/notice-channels/{id}", "notices remove"),
    ("POST", "/api/v1/notice-channels/{id}/test", "notices test"),
    ("GET", "/api/v1/tokens", "token list"),
    ("POST", "/api/v1/tokens", "token create"),
    ("PATCH", "/api/v1/tokens/{id}", "token quota"),
    ("DELETE", "/api/v1/tokens/{id}", "token revoke"),
    ("POST", "/api/v1/tokens/{id}/rotate", "token rotate"),
    ("POST", "/api/v1/tokens/{id}/resume", "token resume"),
    ("GET", "/api/v1/users", "user list"),
    ("POST", "/api/v1/users/turn-down", "user turn-down"),
    ("GET", "/api/v1/users/{id}", "user show"),
    ("PATCH", "/api/v1/users/{id}", "user quota"),
    ("DELETE", "/api/v1/users/{id}", "user delete"),
    ("POST", "/api/v1/users/{id}/approve", "user approve"),
    ("POST", "/api/v1/users/{id}/turn-down", "user turn-down"),
    ("POST", "/api/v1/users/{id}/disable", "user disable"),
    ("POST", "/api/v1/users/{id}/enable", "user enable"),
    ("POST", "/api/v1/users/{id}/reset-password", "user reset"),
    ("GET", "/api/v1/audit", "record list"),
    // The same sums, for terminals: `usage --by hour`.
    ("GET", "/api/v1/audit/pulse", "usage"),
    ("GET", "/api/v1/audit/{request_id}", "record show"),
    ("GET", "/api/v1/usage", "usage"),
    ("GET", "/api/v1/usage/timeline", "usage"),
    ("GET", "/api/v1/queue", "queue list"),
    ("DELETE", "/api/v1/queue/{request_id}", "queue cancel"),
    ("GET", "/api/v1/host", "doctor"),
    ("GET", "/api/v1/settings", "settings list"),
    ("PATCH", "/api/v1/settings", "settings set"),
    ("GET", "/api/v1/settings/file", "settings file"),
    ("GET", "/api/v1/checkpoints", "checkpoints"),
    ("GET", "/api/v1/exports", "record exports"),
    ("POST", "/api/v1/exports", "export"),
    ("GET", "/api/v1/exports/{id}", "export"),
    ("POST", "/api/v1/incident-reports", "incident"),
    ("GET", "/metrics", "metrics"),
    ("GET", "/openapi.json", "openapi"),
];

/// Routes about oneself, for signing in, and for probes and browsers: nothing that governs.
fn is_of_no_operator(path: &str) -> bool {
    let places = ["/api/v1/me", "/auth/", "/api/v1/register", "/api/v1/password", "/health", "/docs", "/v1/models/"];
    path == "/" || places.iter().any(|place| path.starts_with(place))
}

#[test]
fn what_the_api_can_the_command_line_can() {
    let folder = tempfile::tempdir().unwrap();
    // Of the dialects' routes this one is about the gateway: the others list the same again, or are for clients alone. Models are
    // changed on the host by Ollama's own command.
    let models = ("GET", "/v1/models");
    assert!(DIALECTS.iter().flat_map(|dialect| dialect.routes()).any(|route| (route.method, route.path) == models));
    let routes = ROUTES.iter().map(|route| (route.method, route.path)).chain([models]);
    for route in routes.filter(|(_, path)| !is_of_no_operator(path)) {
        let found = COMMANDS.iter().find(|(method, path, _)| (*method, *path) == route);
        let (_, _, words) = found.unwrap_or_else(|| panic!("{} {} has no command", route.0, route.1));

        let words: Vec<&str> = words.split(' ').chain(["--help"]).collect();
        let (good, text) = command(folder.path(), &words, "");
        assert!(good && text.contains(&format!("Usage: lan-gateway {}", words[..words.len() - 1].join(" "))), "{text}");
    }
}

/// What the control socket answers to a request, its head included.
fn over_the_socket(gateway: &TestGateway, method: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut socket = std::os::unix::net::UnixStream::connect(gateway.data_dir().join("control.sock")).unwrap();
    write!(socket, "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[actix_web::test]
async fn what_only_the_host_may_do_does_not_exist_over_tcp() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let id = gateway.id_of(&admin, "admin").await;
    let document = gateway.get("/openapi.json", None).await.text();

    for route in HOST_ROUTES {
        let path = route.path.replace("{id}", &id).replace("{name}", "admin");
        for bearer in [None, Some(admin.as_str())] {
            let answer = gateway.send(route.method, &path, bearer, b"{}".to_vec()).await;
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("unknown_url")), "{path}");
        }
        assert!(!document.contains(route.path), "{path}");
        let served = over_the_socket(&gateway, route.method, &path);
        assert!(!served.contains("unknown_url") && !served.contains("HTTP/1.1 5"), "{path}: {served}");
    }
    assert_eq!(gateway.get("/api/v1/users", None).await.status, 401, "nobody is the host over TCP");
    assert!(over_the_socket(&gateway, "GET", "/api/v1/users").starts_with("HTTP/1.1 200"));
}

#[actix_web::test]
async fn nobody_signs_in_or_chats_over_the_socket() {
    let gateway = TestGateway::start("http://127.0.0.1:1");

    for (method, path) in [
        ("POST", "/auth/token"),
        ("POST", "/api/v1/register"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/chat"),
        ("GET", "/api/v1/me"),
    ] {
        let answer = over_the_socket(&gateway, method, path);
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

#[actix_web::test]
async fn lists_on_the_host_are_those_of_the_api() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.post("/api/v1/tokens", Some(&admin), json!({ "name": "nightly" })).await;
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;

    for (words, path, items) in [
        ("user list", "/api/v1/users", "items"),
        ("token list", "/api/v1/tokens", "items"),
        ("record list", "/api/v1/audit", "items"),
        ("settings list", "/api/v1/settings", "items"),
        ("settings file", "/api/v1/settings/file", "items"),
        ("models", "/v1/models", "data"),
    ] {
        let words: Vec<&str> = words.split(' ').chain(["--json"]).collect();
        let (good, text) = gateway.command(&words, "");
        assert!(good, "{text}");
        let listed: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        assert_eq!(listed, gateway.get(path, Some(&admin)).await.json()[items], "{path}");
        let (good, table) = gateway.command(&words[..words.len() - 1], "");
        assert!(good && table.lines().count() > 1, "{table}");
    }
    let queue: Value = serde_json::from_str(&gateway.command(&["queue", "list", "--json"], "").1).unwrap();
    assert_eq!((&queue["running"], queue["hosts"].as_array().unwrap().len()), (&json!(0), 1));
}

#[actix_web::test]
async fn quotas_are_given_and_taken_on_the_host_whether_a_gateway_runs_or_not() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    for running in [true, false] {
        if !running {
            gateway.signal("TERM");
            gateway.wait(10).await;
        }
        let run = |words: &str| gateway.command(&words.split(' ').collect::<Vec<_>>(), "");
        let show = || serde_json::from_str::<Value>(&run("user show ann@example.org --json").1).unwrap();

        let (good, text) = run("user quota ann@example.org tokens_per_day 1000");
        assert!(good && text.contains("tokens per day       0 used of 1000"), "{text}");
        assert_eq!(show()["quotas"]["tokens_per_day"], 1000);
        assert!(run("user quota ann@example.org tokens_per_day --none").0);
        assert!(show()["quotas"].get("tokens_per_day").is_none_or(Value::is_null));
        for wrong in ["user quota ann@example.org tokens_per_day", "user quota ann@example.org tokens_per_year 5"] {
            assert!(!run(wrong).0, "{wrong}");
        }

        let (good, made) = run("token create ann@example.org nightly --quota tokens_per_day=7");
        assert!(good, "{made}");
        let prefix = &made[made.find("lgw_m_").unwrap()..][..16];
        for (words, says) in [
            (format!("token quota {prefix} requests_per_day 9"), "requests_per_day 9"),
            (format!("token limit {prefix} 3"), "requests_per_minute 3"),
            (format!("token class {prefix} batch"), "tokens_per_day 7"),
            (format!("token class {prefix} --none"), "class its owner's"),
            (format!("token revoke {prefix}"), "is revoked"),
        ] {
            let (good, text) = run(&words);
            assert!(good && text.contains(says) && text.contains(prefix), "{words}: {text}");
        }
    }
}

#[actix_web::test]
async fn the_record_is_read_on_the_host_and_the_look_at_it_is_on_record_without_an_account() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let asked = gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    let id = asked.header("x-request-id").unwrap().to_owned();
    for running in [true, false] {
        if !running {
            gateway.signal("TERM");
            gateway.wait(10).await;
        }
        let run = |words: &[&str]| gateway.command(words, "");

        let (good, list) = run(&["record", "list", "admin", "--kind", "request"]);
        assert!(good && list.contains(&id) && list.contains("completed"), "{list}");
        let (good, story) = run(&["record", "show", &id]);
        assert!(good && story.contains("\nanswer:\n  ") && story.contains("request id"), "{story}");
        let (_, acts) = run(&["record", "list", "--kind", "act", "--limit", "1", "--json"]);
        let acts: Value = serde_json::from_str(&acts).unwrap();
        assert_eq!((&acts[0]["act"], &acts[0]["user"]), (&json!("contents_viewed"), &Value::Null));
        let (good, text) = run(&["record", "show", "nonsense"]);
        assert!(!good && text.contains("no such request"), "{text}");
    }
    let (good, text) = gateway.command(&["queue", "list"], "");
    assert!(!good && text.contains("no gateway runs"), "{text}");
}

#[test]
fn an_answer_that_no_gateway_of_this_version_gives_is_named() {
    use std::io::{Read, Write};
    let folder = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(folder.path().join("control.sock")).unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            // The first only looks whether somebody is there.
            if socket.read(&mut [0; 4096]).unwrap() > 0 {
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            }
        }
    });

    for words in ["user list", "user show ann", "token list", "settings list", "usage", "queue list", "models"] {
        let (good, text) = command(folder.path(), &words.split(' ').collect::<Vec<_>>(), "");
        assert!(!good && text.contains("unexpected answer from the running gateway (version mismatch?)"), "{text}");
    }
}
