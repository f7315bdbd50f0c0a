//! Each finding, on both sides of its boundary.

use super::*;
use crate::base::clock::Timestamp;
use crate::host::backups::KeptBackup;
use crate::host::machine::Disk;
use crate::model::model_name::ModelName;

const GIB: u64 = 1 << 30;

struct Case {
    config: Config,
    machine: Machine,
    record: RecordFacts,
    listen: &'static str,
    certificate: Option<Result<CertificateFacts, String>>,
    files: Option<OpenFiles>,
    upstreams: Vec<UpstreamFacts>,
    database: Option<Unusable>,
    is_silent: bool,
    settings: Vec<(&'static str, u64)>,
    backups: BackupFacts,
}

/// A host on which nothing is wrong.
fn good() -> Case {
    Case {
        config: Config::resolve("", []).unwrap(),
        machine: Machine { disk: Some(Disk { free: 100 * GIB, total: 200 * GIB }), ..Machine::default() },
        record: RecordFacts { can_record: Some(true), ..RecordFacts::default() },
        listen: "127.0.0.1:7000",
        certificate: None,
        files: Some(OpenFiles { limit: 1 << 16, room: 1 << 16 }),
        upstreams: vec![up(&["llama3.2:latest"])],
        database: None,
        is_silent: false,
        settings: Vec::new(),
        backups: BackupFacts::default(),
    }
}

fn up(models: &[&str]) -> UpstreamFacts {
    UpstreamFacts::Up(models.iter().map(|model| ModelName::parse(model).unwrap()).collect())
}

fn configured(toml: &str) -> Case {
    Case { config: Config::resolve(toml, []).unwrap(), ..good() }
}

fn found(case: &Case) -> Vec<Finding> {
    findings(&HostFacts {
        config: &case.config,
        settings: case.config.settings.with(case.settings.iter().copied()),
        plain: case.listen.parse().ok(),
        certificate: case.certificate.clone(),
        machine: &case.machine,
        files: case.files,
        upstreams: case.upstreams.clone(),
        database: case.database.clone(),
        is_silent: case.is_silent,
        record: case.record.clone(),
        backups: case.backups.clone(),
        now: Timestamp::parse("2026-03-01T00:00:00Z").unwrap(),
    })
}

fn certificate(from: &str, until: &str) -> CertificateFacts {
    let [valid_from, valid_until] = [from, until].map(|time| Timestamp::parse(time).unwrap());
    CertificateFacts { file: "own.pem".into(), serial: "1".into(), valid_from, valid_until }
}

fn codes(case: &Case) -> Vec<&'static str> {
    found(case).iter().map(|finding| finding.code.name()).collect()
}

#[test]
fn where_nothing_is_wrong_or_nothing_is_known_nothing_is_found() {
    let unknown =
        Case { machine: Machine::default(), record: RecordFacts::default(), files: None, upstreams: vec![], ..good() };

    assert_eq!(codes(&good()), [""; 0]);
    assert_eq!(codes(&unknown), [""; 0]);
}

#[test]
fn each_code_has_a_name_of_its_own_and_their_order_is_how_urgent_they_are() {
    for (place, code) in FindingCode::ALL.iter().enumerate() {
        assert_eq!(*code as usize, place);
        assert_eq!(FindingCode::ALL.iter().filter(|other| other.name() == code.name()).count(), 1, "{code:?}");
    }
}

#[test]
fn everything_at_once_is_told_in_order_each_with_a_remedy() {
    let case = Case {
        machine: Machine {
            disk: Some(Disk { free: 5, total: GIB }),
            listening: vec![("0.0.0.0".parse().unwrap(), 11434)],
            parallel: Some(4),
            exposed: vec!["data/lan-gateway.db".into()],
            open_config: Some(OpenConfig { file: "lan-gateway.toml".into(), how: ConfigExposure::Read }),
        },
        record: RecordFacts {
            can_record: Some(false),
            growth_per_day: None,
            first_password: true,
            late_erasures: 2,
            reusable: 0,
            chain_fault: Some("row 7 was changed".into()),
        },
        listen: "0.0.0.0:7000",
        certificate: Some(Ok(certificate("2026-01-01T00:00:00Z", "2026-03-02T00:00:00Z"))),
        files: Some(OpenFiles { limit: 8, room: 4 }),
        upstreams: vec![UpstreamFacts::Down("connection refused".into()), up(&[])],
        database: Some(Unusable::Newer("2999".into())),
        is_silent: true,
        settings: vec![("repeats_free", 60), ("repeats_max", 50)],
        backups: BackupFacts { failed: Some("no space".into()), ..BackupFacts::default() },
        ..configured(
            "[limits]\nrequests_per_minute = 300\n[backup]\nfolder = \"/mnt/backups\"\n\
             [upstream.two]\nurl = \"http://127.0.0.1:11435\"\nslots = 4",
        )
    };
    let expired = Case { certificate: Some(Err("no key".into())), ..good() };

    let found = [found(&case), found(&expired)].concat();

    let mut told: Vec<_> = found.iter().map(|finding| finding.code).collect();
    assert!(told[..told.len() - 1].is_sorted());
    told.sort();
    assert_eq!(told, FindingCode::ALL);
    assert!(found.iter().all(|finding| !finding.message.is_empty() && !finding.remedy.is_empty()));
    assert!(found.iter().all(|finding| !finding.message.ends_with('.') && !finding.remedy.ends_with('.')));
    let failures = found.iter().filter(|finding| finding.code.is_failure()).count();
    assert_eq!(failures, 14);
    assert!(FindingCode::ALL.is_sorted_by_key(|code| !code.is_failure()), "failures come first");
}

#[test]
fn a_disk_is_low_below_its_mark_or_when_the_record_fills_it_in_two_weeks() {
    let with = |free, growth| {
        let disk = Some(Disk { free, total: 500 * GIB });
        let machine = Machine { disk, ..Machine::default() };
        let record = RecordFacts { growth_per_day: growth, ..good().record };
        codes(&Case { machine, record, ..good() })
    };

    assert_eq!(with(4 * GIB, None), [""; 0]);
    assert_eq!(with(4 * GIB - 1, None), ["disk_low"]);
    assert_eq!(with(4 * GIB - 1, Some(0)), ["disk_low"]);
    assert_eq!(with(14 * GIB, Some(GIB)), [""; 0]);
    assert_eq!(with(14 * GIB - 1, Some(GIB)), ["disk_low"]);
}

#[test]
fn a_disk_is_full_below_the_mark_under_which_requests_are_refused() {
    let with = |free, reusable, toml: &str| {
        let machine = Machine { disk: Some(Disk { free, total: 500 * GIB }), ..Machine::default() };
        let record = RecordFacts { reusable, ..good().record };
        codes(&Case { machine, record, ..configured(toml) })
    };

    assert_eq!(with(GIB, 0, ""), ["disk_low"]);
    assert_eq!(with(GIB - 1, 0, ""), ["disk_full", "disk_low"]);
    assert_eq!(with(GIB - 1, 1, ""), ["disk_low"], "pages inside the database count");
    assert_eq!(with(20 * GIB, 0, "[disk]\nfree_bytes_min = 21474836480"), [""; 0]);
    assert_eq!(with(20 * GIB - 1, 0, "[disk]\nfree_bytes_min = 21474836480"), ["disk_full", "disk_low"]);
}

#[test]
fn slots_fit_when_one_model_gets_what_this_host_s_ollama_runs_at_once() {
    let with =
        |toml: &str, parallel| codes(&Case { machine: Machine { parallel, ..good().machine }, ..configured(toml) });

    assert_eq!(with("[ollama]\nslots = 4", Some(4)), [""; 0]);
    assert_eq!(with("[ollama]\nslots = 4", Some(3)), ["slots_mismatch"]);
    assert_eq!(with("[ollama]\nslots = 4", Some(5)), ["slots_mismatch"]);
    assert_eq!(with("[ollama]\nslots = 4", None), [""; 0]);
    assert_eq!(
        with("[ollama]\nslots = 4\nslots_per_model = 2", Some(2)),
        [""; 0],
        "what one model gets is what counts"
    );
    let elsewhere = "allow_remote_upstream = true\n[ollama]\nslots = 4\nurl = \"http://192.168.1.9:11434\"";
    assert_eq!(with(elsewhere, Some(1)), [""; 0], "this host's Ollama says nothing about another's");
}

#[test]
fn the_first_file_that_others_can_read_is_named_and_the_rest_counted() {
    let with = |files: &[&str]| {
        let exposed = files.iter().map(Into::into).collect();
        found(&Case { machine: Machine { exposed, ..good().machine }, ..good() }).pop().unwrap()
    };

    assert_eq!(with(&["d/a"]).message, "other users of this host can read or change d/a");
    assert_eq!(
        with(&["d/a", "d/b", "d/c"]).message,
        "other users of this host can read or change d/a and 2 more files"
    );
    assert_eq!(with(&["d/a"]).remedy, "run chmod -R go= data");
}

#[test]
fn an_upstream_of_this_host_is_open_when_its_port_is_on_the_network() {
    let with = |toml: &str, address: &str, port| {
        let listening = vec![(address.parse().unwrap(), port)];
        codes(&Case { machine: Machine { listening, ..good().machine }, ..configured(toml) })
    };

    assert_eq!(with("", "127.0.0.1", 11434), [""; 0]);
    assert_eq!(with("", "0.0.0.0", 11435), [""; 0]);
    assert_eq!(with("", "::", 11434), ["upstream_open"]);
    let elsewhere = "allow_remote_upstream = true\n[ollama]\nurl = \"http://192.168.1.9:11434\"";
    assert_eq!(with(elsewhere, "0.0.0.0", 11434), [""; 0]);
}

#[test]
fn each_upstream_that_is_down_is_named_and_ollama_of_this_host_with_its_service() {
    let toml = "allow_remote_upstream = true\n[upstream.far]\nurl = \"http://192.168.1.9:11434\"";
    let upstreams = ["refused", "slow"].map(|error| UpstreamFacts::Down(error.to_owned())).to_vec();

    let found = found(&Case { upstreams, ..configured(toml) });

    let told: Vec<_> =
        found.iter().map(|finding| (finding.message.as_str(), finding.remedy.contains("systemctl"))).collect();
    assert_eq!(
        told,
        [
            ("upstream `local` at http://127.0.0.1:11434 is down: refused", true),
            ("upstream `far` at http://192.168.1.9:11434 is down: slow", false)
        ]
    );
}

#[test]
fn http_is_plain_unless_only_this_host_reaches_it() {
    let with = |listen| codes(&Case { listen, ..good() });

    assert_eq!(with("127.0.0.1:7000"), [""; 0]);
    assert_eq!(with("[::1]:7000"), [""; 0]);
    for listen in ["0.0.0.0:7000", "[::]:7000", "192.168.1.5:80"] {
        assert_eq!(with(listen), ["plain_http"]);
    }
}

#[test]
fn plain_http_is_no_finding_where_it_is_not_served_to_the_network() {
    let tls = "[tls]\ncertificate = \"own.pem\"\nkey = \"own.key\"";
    let with = |plain: &str, listen| codes(&Case { listen, ..configured(&format!("plain_http = \"{plain}\"\n{tls}")) });
    let remedy = |toml| found(&Case { listen: "0.0.0.0:7000", ..configured(toml) })[0].remedy.clone();

    assert_eq!(with("on", "0.0.0.0:7000"), ["plain_http"]);
    assert_eq!(with("loopback", "0.0.0.0:7000"), [""; 0]);
    assert_eq!(with("off", "none"), [""; 0]);
    assert!(remedy("").contains("[tls]"));
    assert!(remedy(tls).contains("plain_http = \"loopback\""));
}

#[test]
fn a_certificate_is_told_thirty_days_before_its_end() {
    let until = |from: &str, until: &str| {
        let facts = certificate(&format!("2026-{from}Z"), &format!("2026-{until}Z"));
        found(&Case { certificate: Some(Ok(facts)), ..good() })
            .pop()
            .map(|finding| (finding.code.name(), finding.message))
    };
    let message = |from: &str, end: &str, code| {
        let (found, message) = until(from, end).unwrap();
        assert_eq!(found, code);
        message
    };

    assert_eq!(until("01-01T00:00:00", "03-31T00:00:00"), None, "thirty days");
    let told = message("01-01T00:00:00", "03-30T23:59:59", "certificate_expires");
    assert!(told.contains("own.pem expires in 29 days, at 2026-03-30T23:59:59Z"), "{told}");
    assert!(message("01-01T00:00:00", "03-01T00:00:00", "certificate_expires").contains("expires in 0 days"));
    assert!(message("01-01T00:00:00", "02-28T23:59:59", "certificate_unusable").contains("expired at"));
    assert!(message("03-01T00:00:01", "06-01T00:00:00", "certificate_unusable").contains("is valid from"));
}

#[test]
fn settings_that_contradict_each_other_are_told_and_so_is_a_line_without_effect() {
    let said = Case { settings: vec![("repeats_free", 60), ("repeats_max", 59)], ..good() };
    let without_effect = configured("[limits]\nrequests_per_minute = 201");

    assert_eq!(codes(&said), ["settings_contradict"]);
    assert_eq!(codes(&without_effect), ["no_effect"]);
    assert_eq!(codes(&configured("[limits]\nrequests_per_minute = 200")), [""; 0]);
}

#[test]
fn bytes_are_written_in_the_largest_unit_that_fits() {
    let told = [0, 1023, 1024, (1 << 20) - 1, 1 << 20, 3 * GIB / 2].map(bytes);

    assert_eq!(told, ["0 bytes", "1023 bytes", "1.0 KiB", "1024.0 KiB", "1.0 MiB", "1.5 GiB"]);
}

#[test]
fn a_scheduled_backup_is_late_after_twice_its_interval_or_when_the_last_one_failed() {
    let now = Timestamp::parse("2026-11-29T12:00:00Z").unwrap();
    let made = |hours: i64, seconds: i64| {
        let at = now.plus_seconds(-(hours * 3600 + seconds));
        Some(KeptBackup { at, file: "kept.db".into(), bytes: 1 })
    };
    let case = |toml: &str, newest: Option<KeptBackup>, failed: Option<&str>| Case {
        backups: BackupFacts { newest, failed: failed.map(str::to_owned), looked_at: now },
        ..configured(toml)
    };
    const DAILY: &str = "[backup]\nfolder = \"/mnt/backups\"";

    for (toml, newest, failed, is_late) in [
        (DAILY, made(48, 0), None, false),
        (DAILY, made(48, 1), None, true),
        (DAILY, None, None, false),
        (DAILY, made(1, 0), Some("no space"), true),
        (DAILY, None, Some("no space"), true),
        ("", made(480, 0), Some("no space"), false),
        ("[backup]\nfolder = \"/mnt/backups\"\nevery_hours = 0", made(480, 0), None, false),
        ("[backup]\nfolder = \"/mnt/backups\"\nevery_hours = 1", made(2, 0), None, false),
        ("[backup]\nfolder = \"/mnt/backups\"\nevery_hours = 1", made(2, 1), None, true),
    ] {
        let case = case(toml, newest.clone(), failed);
        let expected = if is_late { vec!["backup_late"] } else { vec![] };
        assert_eq!(codes(&case), expected, "{toml} {newest:?} {failed:?}");
    }
    let told = found(&case(DAILY, made(50, 0), Some("no space"))).remove(0).message;
    assert!(
        told.contains("no space") && told.contains("kept.db, 50 hours old") && told.contains("/mnt/backups"),
        "{told}"
    );
}

#[test]
fn a_default_model_is_missing_unless_an_upstream_that_answers_has_it() {
    let two = "[upstream.two]\nurl = \"http://127.0.0.1:2\"\nslots = 1";
    let with = |toml: &str, upstreams: &[UpstreamFacts]| {
        let found = found(&Case { upstreams: upstreams.to_vec(), ..configured(toml) });
        found.into_iter().find(|finding| finding.code == FindingCode::ModelMissing)
    };
    let down = || UpstreamFacts::Down("refused".into());

    for (toml, upstreams) in [
        ("", vec![]),
        ("", vec![UpstreamFacts::Unknown]),
        ("", vec![down()]),
        ("", vec![up(&["llama3.2:latest"])]),
        ("default_model = \"llama3.2\"", vec![up(&["llama3.2:latest"])]),
        (two, vec![up(&["a:1b"]), up(&["llama3.2:latest"])]),
        (two, vec![down(), up(&["llama3.2:latest"])]),
    ] {
        assert_eq!(with(toml, &upstreams), None, "{toml} {upstreams:?}");
    }
    let other = with("", &[up(&["b:1b", "a:1b"])]).unwrap();
    assert!(other.message.contains("upstream `local` does not have the default model `llama3.2:latest`"), "{other:?}");
    assert_eq!(
        other.remedy,
        "run `ollama pull llama3.2:latest` where it runs, or set `default_model` to one that is there: `a:1b`, `b:1b`"
    );
    let none = with("", &[up(&[])]).unwrap();
    assert!(
        none.message.contains("no model at all") && none.remedy.contains("ollama pull llama3.2:latest"),
        "{none:?}"
    );
    let of_two = with(two, &[up(&["a:1b"]), up(&["a:1b"])]).unwrap();
    assert!(of_two.message.starts_with("no upstream that answers has") && of_two.remedy.ends_with(": `a:1b`"));
    let many: Vec<String> = (10..22).map(|number| format!("m:{number}b")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(with("", &[up(&many)]).unwrap().remedy.ends_with("`m:19b` and 2 more"));
    assert!(with(two, &[up(&["a:1b"]), down()]).is_some(), "the one that is down may have it, and can't answer");
}
