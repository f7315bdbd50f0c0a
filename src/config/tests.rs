//! What the file and the environment may say, and which problem each mistake is.

use super::*;
use crate::config::upstreams::{SECRET_LETTERS_MAX, UPSTREAM_NAME_LETTERS_MAX};

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn defaults_need_no_file() {
    let config = Config::resolve("", []).unwrap();

    assert_eq!(config.listen.port(), 7000);
    assert_eq!(config.settings.requests_per_minute, 10);
    assert_eq!(config.upstreams[0].url.as_str(), "http://127.0.0.1:11434");
}

#[test]
fn the_example_file_says_what_the_defaults_are() {
    let uncommented: String = Config::example()
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");

    let config = Config::resolve(&uncommented, []).unwrap();

    let told = |config: &Config| {
        // Where a value was read from is no value.
        let text = format!("{:?}", Config { keys: Vec::new(), ..config.clone() });
        let (before, after) = text.split_once("said: ").unwrap();
        // What was said is no value.
        (before.to_owned(), after.trim_start_matches(|letter: char| letter.is_ascii_digit()).to_owned())
    };
    assert_eq!(told(&config), told(&Config::resolve("", []).unwrap()));
}

#[test]
fn the_environment_stands_above_the_file() {
    let file = "listen = \"127.0.0.1:1\"\n[limits]\nrequests_per_minute = 3\n";
    let vars = env(&[("LGW_LISTEN", "127.0.0.1:2"), ("LGW_LIMITS__REQUESTS_PER_MINUTE", "4"), ("LGW_PASSWORD", "x")]);

    let config = Config::resolve(file, vars).unwrap();

    assert_eq!((config.listen.port(), config.settings.requests_per_minute), (2, 4));
}

#[test]
fn every_problem_is_reported_at_once() {
    let file = "listen = 7\nlisen = \"x\"\n[limits]\nrequests_per_minute = 0\nbody_bytes = 5\n";

    let problems = Config::resolve(file, env(&[("LGW_QUEUE__NONSENSE", "1")])).unwrap_err();

    let mut keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["LGW_QUEUE__NONSENSE", "limits.body_bytes", "limits.requests_per_minute", "lisen", "listen"]);
    assert!(problems.iter().any(|problem| problem.message.contains("limits.body_bytes_max")));
}

#[test]
fn a_time_zone_that_is_none_is_a_problem() {
    assert!(Config::resolve("timezone = \"Europe/Berlin\"", []).is_ok());
    assert!(Config::resolve("timezone = \"host\"", []).is_ok());

    let problems = Config::resolve("timezone = \"Berlin\"", []).unwrap_err();

    assert_eq!(problems[0].key, "timezone");
    assert!(problems[0].message.contains("`Berlin` must be the IANA name"), "{}", problems[0]);
}

#[test]
fn an_allowed_host_is_a_name_or_an_address_without_a_port() {
    let allow = |host: &str| Config::resolve(&format!("allowed_hosts = [\"{host}\"]"), []);

    for (given, kept) in [("AI.Example.org.", "ai.example.org"), ("[2001:DB8::1]", "2001:db8::1"), ("a", "a")] {
        assert_eq!(allow(given).unwrap().allowed_hosts, [kept]);
    }
    for wrong in ["", "*", "http://a", "a:7000", "a/b", "a b", "größe"] {
        assert_eq!(allow(wrong).unwrap_err()[0].key, "allowed_hosts", "{wrong}");
    }
}

#[test]
fn an_upstream_off_this_host_needs_leave() {
    let remote = "[ollama]\nurl = \"http://192.168.1.5:11434\"\n";

    assert_eq!(Config::resolve(remote, []).unwrap_err()[0].key, "ollama.url");
    let secure = remote.replace("http:", "https:");
    assert_eq!(Config::resolve(&secure, []).unwrap_err()[0].key, "ollama.url");
    assert!(Config::resolve(&format!("allow_remote_upstream = true\n{secure}"), []).is_ok());
    assert!(Config::resolve(&format!("allow_remote_upstream = true\n{remote}"), []).is_ok());
    for local in
        ["http://localhost:1", "HTTP://localhost:1", "https://localhost:1", "http://[::1]:1", "http://127.0.0.9:1/"]
    {
        assert!(Config::resolve(&format!("[ollama]\nurl = \"{local}\"\n"), []).is_ok(), "{local}");
    }
    for bad in ["https://[::1]:1", "http://localhost:1/api", "http://u@localhost:1", "http://localhost:x", "http://"] {
        assert!(Config::resolve(&format!("[ollama]\nurl = \"{bad}\"\n"), []).is_err(), "{bad}");
    }
}

fn keys(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.key.as_str()).collect()
}

#[test]
fn a_variable_with_our_prefix_that_no_key_has_is_a_problem_with_the_nearest_key() {
    for (name, meant) in [
        ("LGW_DEFAULT_MODLE", "LGW_DEFAULT_MODEL"),
        ("LGW_LISTENN", "LGW_LISTEN"),
        ("LGW_ALOW_NETWORKS", "LGW_ALLOW_NETWORKS"),
        ("LGW_LIMITS_REQUESTS_PER_MINUTE", "LGW_LIMITS__REQUESTS_PER_MINUTE"),
        ("LGW_REQUESTS_PER_MINUTE", "LGW_LIMITS__REQUESTS_PER_MINUTE"),
        ("LGW_OLLAMA_URL", "LGW_OLLAMA__URL"),
        ("LGW_OLLAMA__SLOT", "LGW_OLLAMA__SLOTS"),
        ("LGW_listen", "LGW_LISTEN"),
        ("LGW_PORT", "config example"),
        ("LGW_LIMITS__X", "config example"),
        ("LGW_UPSTREAM__URL", ""),
    ] {
        let problems = Config::resolve("", env(&[(name, "1")])).unwrap_err();

        assert_eq!(keys(&problems), [name]);
        assert!(problems[0].message.contains(meant), "{}", problems[0]);
    }
    for documented in
        ["LGW_CONFIG", "LGW_URL", "LGW_TOKEN", "LGW_USER", "LGW_PASSWORD", "LGW_DEBUG_SYNCHRONOUS_OFF", "LGWX"]
    {
        assert!(Config::resolve("", env(&[(documented, "x")])).is_ok(), "{documented}");
    }
}

#[test]
fn a_misspelt_key_of_the_file_is_named_with_the_nearest() {
    for (file, key, meant) in [
        ("default_modle = \"x\"", "default_modle", "`default_model`"),
        ("requests_per_minute = 1", "requests_per_minute", "`limits.requests_per_minute`"),
        ("[limit]\nrequests_per_minute = 1", "limit.requests_per_minute", "`limits.requests_per_minute`"),
        ("[upstream]\nurl = \"x\"", "upstream.url", "did you mean"),
        ("[[upstream]]\nurl = \"x\"", "upstream", "no such key"),
        ("[upstream.a]\nurl = \"http://127.0.0.1:2\"\nslot = 1", "upstream.a.slot", "slots`"),
        ("[upstream.a]\nurl = \"http://127.0.0.1:2\"\nnonsense = 1", "upstream.a.nonsense", "config example"),
    ] {
        let problems = Config::resolve(file, []).unwrap_err();

        assert_eq!(keys(&problems), [key]);
        assert!(problems[0].message.contains(meant), "{}", problems[0]);
    }
}

#[test]
fn every_bad_entry_of_a_list_is_a_problem() {
    let file = "allow_networks = [\"192.168.1.0/33\", \"10.0.0.0/8\", \"lan\", 5]\nallowed_hosts = [\"a:1\", \"b/c\"]";

    let problems = Config::resolve(file, []).unwrap_err();

    let networks = ["allow_networks"; 3];
    assert_eq!(keys(&problems), [&networks[..], &["allowed_hosts"; 2]].concat());
    for (problem, bad) in problems.iter().zip(["192.168.1.0/33", "lan", "5", "a:1", "b/c"]) {
        assert!(problem.message.contains(bad), "{problem}");
    }
    let from_env = Config::resolve("", env(&[("LGW_ALLOW_NETWORKS", "[\"x\", \"y\"]")])).unwrap_err();
    assert_eq!(keys(&from_env), ["allow_networks"; 2]);
}

#[test]
fn an_upstream_may_have_a_dotted_name_and_the_environment_writes_it_with_underscores() {
    let file = "[upstream.\"gpu1.lan\"]\nkind = \"ollama\"\nurl = \"http://127.0.0.1:7448\"\nslots = 7\n";
    let hosts = |vars: &[(&str, &str)]| {
        let config = Config::resolve(file, env(vars)).unwrap();
        config.upstreams.iter().map(|u| (u.name.clone(), u.url.to_string(), u.slots().total)).collect::<Vec<_>>()
    };
    let gpu1 = |slots| ("gpu1.lan".to_owned(), "http://127.0.0.1:7448".to_owned(), slots);

    assert_eq!(hosts(&[])[1..], [gpu1(7)]);
    assert_eq!(hosts(&[("LGW_UPSTREAM__GPU1_LAN__SLOTS", "3")])[1..], [gpu1(3)]);
    assert_eq!(hosts(&[("LGW_UPSTREAM__GPU1.LAN__SLOTS", "4")])[1..], [gpu1(4)]);
    let two = hosts(&[("LGW_UPSTREAM__B.LAN__URL", "http://127.0.0.1:9"), ("LGW_UPSTREAM__B.LAN__SLOTS", "2")]);
    assert!(two.contains(&("b.lan".to_owned(), "http://127.0.0.1:9".to_owned(), 2)), "{two:?}");
    let problems = Config::resolve(&format!("{file}nonsense = 1"), []).unwrap_err();
    assert_eq!(keys(&problems), ["upstream.\"gpu1.lan\".nonsense"]);
    let twice = "[upstream.\"a.b\"]\nurl = \"http://127.0.0.1:2\"\n[upstream.a-b]\nurl = \"http://127.0.0.1:3\"\n";
    assert_eq!(keys(&Config::resolve(twice, []).unwrap_err()).len(), 1, "one variable would set both");
}

#[test]
fn an_upstream_may_have_a_secret_which_no_message_shows() {
    let with = |secret: &str| {
        let file = format!("[upstream.a]\nurl = \"http://127.0.0.1:2\"\nsecret = {secret}");
        Config::resolve(&file, [])
    };
    let told = |secret: &str| with(secret).unwrap().upstreams[1].secret.as_ref().map(|s| s.expose().clone());

    assert_eq!(told("\"\""), None);
    assert_eq!(told("\"key-1\"").as_deref(), Some("key-1"));
    assert!(told(&format!("\"{}\"", "k".repeat(SECRET_LETTERS_MAX))).is_some());
    let too_long = format!("\"{}\"", "k".repeat(SECRET_LETTERS_MAX + 1));
    for bad in ["\"hidden key\"", "\"hidden\\n\"", "\"hiddén\"", "[\"hidden\"]", &too_long] {
        let problems = with(bad).unwrap_err();
        assert_eq!(keys(&problems), ["upstream.a.secret"], "{bad}");
        assert!(!format!("{problems:?}").contains("hidd") && !format!("{problems:?}").contains("kkk"), "{bad}");
    }
    assert!(!format!("{:?}", with("\"key-1\"")).contains("key-1"));
}

#[test]
fn an_upstream_has_a_name_that_the_record_can_hold() {
    let named = |name: &str| Config::resolve(&format!("[upstream.\"{name}\"]\nurl = \"http://127.0.0.1:2\""), []);

    for good in [&"h".repeat(64)[..], "gpu1.lan:11434", "a_b-c"] {
        assert_eq!(named(good).unwrap().upstreams[1].name, good);
    }
    for bad in [&"h".repeat(65)[..], "", "a b", "a__b", "größe"] {
        assert_eq!(named(bad).unwrap_err().len(), 1, "{bad}");
    }
    let table = include_str!("../../migrations/sqlite/2026-11-29-000000_initial/up.sql");
    assert!(table.contains(&format!("host TEXT CHECK (length(host) <= {UPSTREAM_NAME_LETTERS_MAX})")));
}

#[test]
fn values_that_contradict_each_other_are_problems_and_a_default_gives_way() {
    for (file, key) in [
        ("[breaker]\nrepeats_free = 40\nrepeats_max = 39", "breaker.repeats_free"),
        ("[breaker]\nerrors_free = 41", "breaker.errors_free"),
        ("[limits]\nrequests_per_minute = 9\nrequests_per_minute_total = 8", "limits.requests_per_minute"),
        ("[queue]\nwaiting_per_user_max = 9\nwaiting_max = 8", "queue.waiting_per_user_max"),
        ("[answers]\nhead_start_seconds_max = 9\nanswer_seconds_max = 8", "answers.head_start_seconds_max"),
        ("[answers]\nheartbeat_seconds = 9\nanswer_seconds_max = 8", "answers.heartbeat_seconds"),
        ("[ollama]\nidle_seconds_max = 9\n[answers]\nanswer_seconds_max = 8", "ollama.idle_seconds_max"),
        ("[ollama]\nfirst_byte_seconds_max = 9\n[answers]\nanswer_seconds_max = 8", "ollama.first_byte_seconds_max"),
        ("[ollama]\nslots = 8\nslots_per_model = 9", "ollama.slots_per_model"),
        ("listen = \"0.0.0.0:11434\"", "listen"),
        ("listen = \"127.0.0.1:11434\"", "listen"),
        ("[upstream.gpu]\nurl = \"http://127.0.0.1:11434/\"", "upstream.gpu.url"),
    ] {
        assert_eq!(keys(&Config::resolve(file, []).unwrap_err()), [key], "{file}");
        let equal = file.replace('9', "8").replace("= 4", "= 3").replace("11434", "11435");
        let config = Config::resolve(&equal, []).unwrap_or_else(|problems| panic!("{equal}: {problems:?}"));
        assert_eq!(config.notes, [], "{equal}");
    }
    let config =
        Config::resolve("[limits]\nrequests_per_minute = 1000\n[answers]\nanswer_seconds_max = 2", []).unwrap();
    assert_eq!(keys(&config.notes), ["limits.requests_per_minute"], "the other two are defaults that give way");
    assert!(Config::resolve("listen = \"192.168.1.5:11434\"", []).is_ok(), "another address of this machine");
}

#[test]
fn more_hosts_have_sections_of_their_own() {
    let file = "[upstream.big]\nkind = \"ollama\"\nurl = \"http://127.0.0.1:2\"\nslots = 3\n";

    let config = Config::resolve(file, []).unwrap();

    let names: Vec<_> = config.upstreams.iter().map(|u| (u.name.as_str(), u.slots().total)).collect();
    assert_eq!(names, [("local", 1), ("big", 3)]);
}

#[test]
fn https_needs_a_certificate_with_its_key_and_an_address_of_its_own() {
    let files = "[tls]\ncertificate = \"own.pem\"\nkey = \"own.key\"\n";
    assert_eq!(Config::resolve("", []).unwrap().tls.served(), None);
    let config = Config::resolve(files, []).unwrap();
    assert_eq!(config.tls.served(), Some("0.0.0.0:7443".parse().unwrap()));
    assert!(Config::resolve(&format!("listen = \"127.0.0.1:0\"\n{files}listen = \"127.0.0.1:0\""), []).is_ok());

    for (text, key) in [
        ("[tls]\ncertificate = \"own.pem\"", "tls.key"),
        ("[tls]\nkey = \"own.key\"\ncertificate = \"\"", "tls.certificate"),
        (&format!("{files}listen = \"0.0.0.0:7000\""), "tls.listen"),
        (&format!("{files}listen = \"127.0.0.1:11434\""), "tls.listen"),
    ] {
        let problems = Config::resolve(text, []).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), [key], "{text}");
    }
}
