//! Mistakes of configuration, as an operator makes them: every one is reported, at once, with what to do, and the exit code is 2.

use std::process::Command;

use crate::support::gateway::binary;

/// Runs `config check` on a file and variables. Returns its exit code and what it says.
fn check(file: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lan-gateway.toml"), file).unwrap();
    let output = Command::new(binary())
        .args(["config", "check"])
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.stdout.is_empty() || output.status.success(), "problems are on standard error");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

type Mistake = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

/// The file, the variables, and what is said of each problem, in any order.
const MISTAKES: &[Mistake] = &[
    // Every entry of a list.
    (
        "allow_networks = [\"192.168.1.0/33\", \"lan\"]",
        &[],
        &[
            "`allow_networks`: `192.168.1.0/33` must be a network, as in \"192.168.1.0/24\"",
            "`allow_networks`: `lan` must be a network",
        ],
    ),
    (
        "allowed_hosts = \"ai.example.org\"",
        &[],
        &["`allowed_hosts`: `\"ai.example.org\"` must be a list, as in [\"a\", \"b\"]"],
    ),
    // Unknown keys, of the file and of the environment.
    ("lisen = \"0.0.0.0:7000\"", &[], &["`lisen`: no such key; did you mean `listen`?"]),
    (
        "[limits]\nrequests_per_minute = \"ten\"\nrequest_per_minute = 3",
        &[],
        &[
            "`limits.requests_per_minute`: `\"ten\"` must be a whole number from 1 to 1000000",
            "`limits.request_per_minute`: no such key; did you mean `limits.requests_per_minute`?",
        ],
    ),
    ("", &[("LGW_LISTN", "1")], &["`LGW_LISTN`: no key has this variable; did you mean LGW_LISTEN, for `listen`?"]),
    ("ollama = \"http://127.0.0.1:11434\"", &[], &["`ollama`: is a section: write [ollama], and its keys below it"]),
    // Wrong types and values.
    ("listen = 7000", &[], &["`listen`: `7000` must be a text in quotes"]),
    (
        "listen = \"0.0.0.0:port\"",
        &[],
        &["`listen`: \"0.0.0.0:port\" must be an address and port, as in \"0.0.0.0:7000\""],
    ),
    ("default_model = \"\"", &[], &["`default_model`: must not be empty"]),
    (
        "timezone = \"Berlin\"",
        &[],
        &["`timezone`: `Berlin` must be the IANA name of a time zone, as in \"Europe/Berlin\""],
    ),
    ("plain_http = \"of\"", &[], &["`plain_http`: `\"of\"` must be one of \"on\", \"loopback\", \"off\""]),
    (
        "",
        &[("LGW_LISTEN", ":7000"), ("LGW_OLLAMA__SLOTS", "two")],
        &[
            "`listen`: \":7000\" must be an address and port",
            "(from LGW_LISTEN)",
            "`ollama.slots`: `\"two\"` must be a whole number",
        ],
    ),
    (
        "[ollama]\nurl = \"localhost:11434\"",
        &[],
        &["`ollama.url`: `localhost:11434` must begin with http:// or https://"],
    ),
    // Contradictions.
    (
        "[ollama]\nurl = \"http://192.168.1.9:11434\"",
        &[],
        &["is not on this host; prompts would leave it. Use a loopback address, or set allow_remote_upstream = true"],
    ),
    (
        "listen = \"0.0.0.0:11434\"",
        &[],
        &["`listen`: is the address of upstream `local`, so the gateway would ask itself"],
    ),
    ("[tls]\ncertificate = \"a.pem\"", &[], &["`tls.key`: is missing: `tls.certificate` needs its key"]),
    (
        "[limits]\nrequests_per_minute = 9\nrequests_per_minute_total = 8",
        &[],
        &["`limits.requests_per_minute`: 9 is more than 8, which `limits.requests_per_minute_total` allows"],
    ),
    ("[backup]\nfolder = \"data/backups\"", &[], &["`backup.folder`: is in `data_dir`"]),
    (
        "trusted_proxies = [\"0.0.0.0/0\"]",
        &[],
        &["`trusted_proxies`: `0.0.0.0/0` trusts everybody; name the proxy alone"],
    ),
    // A file that can't be understood doesn't hide what is wrong in the environment.
    (
        "timezone = \"Europe/Berlin",
        &[("LGW_LISTN", "1"), ("LGW_OLLAMA__SLOTS", "0")],
        &[
            "`the file`: is not TOML: TOML parse error at line 1, column 26",
            "`LGW_LISTN`: no key has this variable",
            "`ollama.slots`: `0` must be a whole number from 1 to 1024 (from LGW_OLLAMA__SLOTS)",
        ],
    ),
    (
        "",
        &[("LGW_CONFIG", "/nowhere/own.toml"), ("LGW_LISTEN", "here")],
        &["`/nowhere/own.toml`: can't be read: No such file", "`listen`: \"here\""],
    ),
];

#[test]
fn each_mistake_of_configuration_is_told_with_what_to_do_and_exit_code_2() {
    for (file, variables, said) in MISTAKES {
        let (code, text) = check(file, variables);

        assert_eq!(code, Some(2), "{file} {variables:?}: {text}");
        for words in *said {
            assert!(text.contains(words), "{file} {variables:?}: no {words} in {text}");
        }
        let problems = text.lines().filter(|line| line.starts_with("  `")).count();
        let told = said.iter().filter(|words| !words.starts_with('(')).count();
        assert_eq!(problems, told, "nothing else is a problem: {text}");
    }
    assert_eq!(check("listen = \"127.0.0.1:7000\"", &[]).0, Some(0));
}
