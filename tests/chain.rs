//! The record proves itself: a record of many kinds of rows verifies, and each of some hundred edits of it is found, by the gateway's
//! verifier and by `examples/verify.py`, which name the same places.

#[path = "support/mod.rs"]
mod support;

#[path = "chain/added.rs"]
mod added;
#[path = "chain/copied.rs"]
mod copied;
#[path = "chain/edits.rs"]
mod edits;
#[path = "chain/fixture.rs"]
mod fixture;
#[path = "chain/judges.rs"]
mod judges;
#[path = "chain/of_chain.rs"]
mod of_chain;
#[path = "chain/of_rows.rs"]
mod of_rows;

use std::path::{Path, PathBuf};

use copied::Copied;
use edits::{Edited, Random};
use fixture::Fixture;
use judges::{Case, Verdict, by_gateway, by_python};
use support::eventually::until;
use support::fake_ollama::FakeOllama;
use support::gateway::{TestGateway, hello};

/// How many edits are tried, unless `CHAIN_EDITS` says otherwise.
const EDITS: usize = 200;

/// Edits are the same in each run, unless `CHAIN_SEED` says otherwise.
const SEED: u64 = 23;

fn from_environment<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str, otherwise: T) -> T {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

#[actix_web::test]
async fn every_edit_of_a_record_is_found_by_both_verifiers_and_its_place_is_named() {
    let fixture = Fixture::make().await;
    let copies = tempfile::tempdir().unwrap();
    let mut cases: Vec<(Case, Option<Edited>)> = Vec::new();
    for (name, folder) in &fixture.states {
        cases.push((Case::of(name, folder.clone()), None));
        cases.push((Case::of(&format!("{name}, database alone"), folder.join("lan-gateway.db")), None));
    }
    let kept = fixture.kept_outside();
    cases.push((Case::of("as it is, with its checkpoints", fixture.now()).with(kept.clone()), None));

    let mut random = Random(from_environment("CHAIN_SEED", SEED));
    for number in 0..from_environment("CHAIN_EDITS", EDITS) {
        let folder = copies.path().join(number.to_string());
        let edited = edits::make(number, &fixture, &folder, &mut random);
        let case = Case::of(&format!("{number}: {}", edited.name), folder);
        cases.push((if edited.needs_outside { case.with(kept.clone()) } else { case }, Some(edited)));
    }

    let told: Vec<Verdict> = cases.iter().map(|(case, _)| by_gateway(case)).collect();
    let python = by_python(cases.iter().map(|(case, _)| case));
    let wrong: Vec<String> = cases
        .iter()
        .zip(told.iter().zip(&python))
        .filter_map(|((case, edited), (told, python))| {
            let why = what_is_wrong(edited.as_ref(), told, python)?;
            Some(format!("{}: {why}\ngateway: {told:#?}\npython: {python:#?}\n{edited:?}", case.name))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

/// Compares what both verifiers say with what was edited; `None`: that is as it should be.
fn what_is_wrong(edited: Option<&Edited>, told: &Verdict, python: &Verdict) -> Option<&'static str> {
    let Some(edited) = edited else {
        let is_good = told.faults.is_empty() && told.code == 0 && python.code == 0;
        return (!is_good).then_some("it was not edited");
    };
    if told.code != 1 || python.code != 1 {
        return Some("it is not found");
    }
    let is_named = |verdict: &Verdict| {
        let mut places = verdict.faults.iter().map(|(place, _)| place);
        match edited.is_first {
            true => places.next().is_some_and(|first| edited.places.contains(first)),
            false => places.any(|place| edited.places.contains(place)),
        }
    };
    if !is_named(told) || !is_named(python) {
        return Some("the place is not named");
    }
    (told.places() != python.places()).then_some("they name other places")
}

/// Rows that are in no link were written within a minute: else the links after them were cut off.
#[actix_web::test]
async fn links_that_were_cut_off_are_found_by_the_times_of_their_rows() {
    let fixture = Fixture::small().await;
    let folder = tempfile::tempdir().unwrap();
    let cases: Vec<Case> = [60_000_000, 60_000_001]
        .into_iter()
        .map(|span| {
            let folder = folder.path().join(span.to_string());
            let mut copied = Copied::of(&fixture, &folder);
            let to = copied.number("SELECT min(log_id) AS value FROM checkpoints");
            let note = copied.text(&format!("SELECT note FROM checkpoints WHERE log_id = {to}"));
            copied.run(&format!(
                "DELETE FROM chain WHERE log_id > {to}; DELETE FROM checkpoints WHERE log_id > {to}; UPDATE record \
                 SET at_us = (SELECT min(at_us) FROM record WHERE log_id > {to}) + {span} \
                 WHERE log_id = (SELECT max(log_id) FROM record)"
            ));
            copied.set_note("chain_tip", "1", &note);
            std::fs::remove_file(folder.join("checkpoints.txt")).unwrap();
            Case::of(&span.to_string(), folder)
        })
        .collect();

    let python = by_python(cases.iter());

    for ((case, python), code) in cases.iter().zip(&python).zip([0, 1]) {
        let told = by_gateway(case);
        assert_eq!((told.code, python.code), (code, code), "{}: {told:#?} {python:#?}", case.name);
        assert!(told.faults == python.faults && told.faults.iter().all(|(place, _)| place == "tip"), "{told:#?}");
    }
}

/// Both verifiers read a record that is in use, what a kill leaves, and a backup.
#[actix_web::test]
async fn a_record_in_use_a_killed_one_and_a_backup_verify() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let places = tempfile::tempdir().unwrap();
    let backup = places.path().join("backup.db");
    for _ in 0..5 {
        assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);
    }
    let checkpoints = gateway.data_dir().join("checkpoints.txt");
    let is_whole = |text: String| text.contains("\n— lan-gateway ") && text.ends_with('\n');
    until("there is a checkpoint", async || std::fs::read_to_string(&checkpoints).is_ok_and(is_whole)).await;
    let (made, said) = gateway.command(&["backup", backup.to_str().unwrap()], "");
    assert!(made, "{said}");
    let note = std::fs::read_to_string(&checkpoints).unwrap();

    let by_both = |name: &str, path: &Path| {
        let case = Case::of(name, path.to_owned());
        let python = by_python(std::iter::once(&case)).remove(0);
        [judges::by_command(&case), python].into_iter().for_each(|told| assert_eq!(told.code, 0, "{name}: {told:#?}"));
    };
    by_both("in use", gateway.data_dir());
    by_both("a backup", &backup);
    let (good, said) = gateway.command(&["verify", "--checkpoint", "-"], &note);
    assert!(good && said.contains("good: all of it is as it was written"), "{said}");
    gateway.kill();
    by_both("killed", gateway.data_dir());

    let (good, said) = gateway.command(&["verify", "--checkpoint", "-"], &note[..40]);
    assert!(!good && said.contains("has something that is no whole checkpoint"), "{said}");
}

/// Cases that say what can't be read and why.
#[actix_web::test]
async fn what_is_no_record_or_no_checkpoint_is_told_apart_from_a_bad_one() {
    let fixture = Fixture::small().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path: PathBuf = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let note = std::fs::read_to_string(fixture.now().join("checkpoints.txt")).unwrap();
    let good = file("good.txt", note.as_bytes());
    let of = |name: &str| Case::of(name, fixture.now());
    let newer = edits::with_sql(
        &fixture,
        &folder.path().join("newer"),
        "INSERT INTO __diesel_schema_migrations (version) VALUES \
        ('29990101000000'); ALTER TABLE record ADD COLUMN more TEXT",
    );
    let blobs = edits::with_sql(
        &fixture,
        &folder.path().join("blobs"),
        "UPDATE checkpoints SET note = CAST(note AS BLOB); \
        UPDATE chain_tip SET note = CAST(note AS BLOB), origin = CAST(origin AS BLOB)",
    );
    let older = edits::with_sql(
        &fixture,
        &folder.path().join("older"),
        "DROP TABLE chain_tip; DELETE FROM \
        __diesel_schema_migrations WHERE version >= '20261130000100'",
    );
    let cases = [
        (of("a good checkpoint").with(good), 0),
        (of("several, with empty lines").with(file("several.txt", format!("\n{note}\n\n{note}").as_bytes())), 0),
        (of("an absent one").with(folder.path().join("absent")), 2),
        (of("a folder as one").with(folder.path().to_owned()), 2),
        (of("an empty one").with(file("empty.txt", b"")), 2),
        (of("a cut one").with(file("cut.txt", &note.as_bytes()[..note.len() - 20])), 2),
        (of("none at all").with(file("none.txt", b"I am no checkpoint\n")), 2),
        (of("a huge one").with(edits::huge(&folder.path().join("huge.txt"))), 2),
        (of("one of another record").with(file("other.txt", edits::of_another_record(&note).as_bytes())), 1),
        (Case::of("no folder", folder.path().join("nothing")), 2),
        (Case::of("an empty folder", folder.path().to_owned()), 2),
        (Case::of("an empty file", file("empty.db", b"")), 2),
        (Case::of("no database", file("no.db", &[7; 5000])), 2),
        (Case::of("the same bytes as blobs", blobs), 0),
        (Case::of("a newer schema", newer), 2),
        (Case::of("an older schema", older), 2),
    ];
    let python = by_python(cases.iter().map(|(case, _)| case));
    for ((case, wanted), python) in cases.iter().zip(&python) {
        let told = judges::by_command(case);
        assert_eq!((told.code, python.code), (*wanted, *wanted), "{}: {told:#?} {python:#?}", case.name);
        if case.name == "one of another record" {
            for verdict in [&told, python] {
                assert_eq!(verdict.faults[0].1, "it is of another record", "{verdict:?}");
            }
        }
    }
}
