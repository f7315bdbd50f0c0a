//! The chain as its follower writes it, and what the gateway's own check finds.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use diesel::connection::SimpleConnection;

use super::*;
use crate::config::settings::{Live, Settings};
use crate::model::chain::{HASH_BYTES, NO_HASH, head_of};
use crate::model::checkpoint::Checkpoint;
use crate::model::record::Act;
use crate::store::audit;
use crate::store::file::{FILE, connect};
use crate::store::schema::record;

struct Stage {
    folder: tempfile::TempDir,
    store: Store,
    key: CheckpointKey,
}

impl Stage {
    async fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Live::new(Settings::default())).unwrap();
        let key = CheckpointKey::load(folder.path(), &store).await.unwrap();
        Stage { folder, store, key }
    }

    /// Opens the same folder again, as another run.
    async fn again(self) -> Stage {
        self.store.close();
        let store = Store::open(self.folder.path(), Live::new(Settings::default())).unwrap();
        let key = CheckpointKey::load(self.folder.path(), &store).await.unwrap();
        Stage { store, key, ..self }
    }

    async fn acts(&self, count: usize) {
        for at in 0..count {
            let write = self.store.write(move |tx| {
                let detail = Some(format!("{{\"größe\":{at}}}"));
                Ok(audit::insert_act(tx.connection, tx.now, Act::SettingsChanged, None, Some(7), detail)?)
            });
            write.await.unwrap();
        }
    }

    async fn follow(&self) {
        while self.store.follow_chain(&self.key).await.unwrap() {}
    }

    async fn check(&self) -> Option<Arc<str>> {
        self.store.check_chain(&self.key, None).await.unwrap();
        self.store.chain_fault()
    }

    fn run(&self, sql: &str) {
        connect(&self.folder.path().join(FILE)).unwrap().batch_execute(sql).unwrap();
    }
}

#[tokio::test]
async fn each_row_is_in_one_link_and_the_newest_head_is_signed() {
    let stage = Stage::new().await;
    for _ in 0..3 {
        stage.acts(5).await;
        stage.follow().await;
    }
    assert!(!stage.store.follow_chain(&stage.key).await.unwrap(), "nothing is new");
    stage.run("DELETE FROM record WHERE log_id = 9");

    let read = stage.store.read(|connection| {
        let links: Vec<(i64, i64, Vec<u8>, Vec<u8>)> = chain::table
            .order(chain::log_id)
            .select((chain::first_log_id, chain::log_id, chain::leaves, chain::head))
            .load(connection)?;
        Ok((links, tip(connection)?.unwrap(), hashed_rows(connection, 0, i64::MAX)?))
    });
    let (links, tip, rows) = read.await.unwrap();
    let (mut before, mut next, mut hashes) = (NO_HASH, 1, Vec::new());
    for (first, last, leaves, head) in links {
        assert_eq!(first, next);
        before = head_of(&before, first, last, &leaves);
        assert_eq!(before.as_slice(), head);
        hashes.extend(leaves.chunks(HASH_BYTES).map(<[u8]>::to_vec));
        next = last + 1;
    }
    assert_eq!((next, hashes.len(), rows.len()), (17, 16, 15));
    assert!(rows.iter().all(|row| hashes[row.log_id as usize - 1] == row.hash.unwrap()));
    let note = Checkpoint::read(&tip.note.unwrap()).unwrap();
    assert_eq!((note.log_id, note.head, note.origin, note.older_to), (16, before, tip.origin, 0));
    assert_eq!(note.key, stage.key.public());
    stage.store.close();
}

/// Every column in the order of docs/chain.md, and each kind of value.
#[tokio::test]
async fn a_row_is_hashed_as_another_program_hashes_it() {
    let stage = Stage::new().await;
    stage.run(
        "INSERT INTO record (log_id, kind, at_us, request_id, intent_id, user_id, via_user_id, token_id, act, subject_id, \
         credential, api, provider, host, attempt, model_asked, model_served, outcome, reason, status, prompt_tokens, \
         answer_tokens, queued_us, first_token_us, total_us, gpu_us, until_us, repeat, load_us, prompt_us, answer_us, \
         commitment) VALUES (5, 'result', 1000000, x'000102030405060708090a0b0c0d0e0f', 4, 2, 3, NULL, NULL, NULL, 'token', \
         '/v1/größer', '', NULL, -1, 'a' || char(65533), NULL, 'completed', NULL, 200, 1, 2, 3, 4, 5, 6, NULL, NULL, 7, 8, 9, \
         x'0000000000000000000000000000000000000000000000000000000000000001')",
    );

    let rows = stage.store.read(|connection| hashed_rows(connection, 4, 5)).await.unwrap();

    let hex: String = rows[0].hash.unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "a68c55d3223c8bcec0f036191e052e61549ee1fd81916b110834ce218f22672d");
    stage.store.close();
}

#[tokio::test]
async fn rows_that_were_there_before_the_chain_are_chained_from_the_oldest_in_bounded_links() {
    let stage = Stage::new().await;
    let row =
        "INSERT INTO record (log_id, kind, at_us, request_id) SELECT value, 'intent', value, zeroblob(16) FROM rows";
    stage.run("DELETE FROM record");
    stage.run(&format!(
        "WITH RECURSIVE rows(value) AS (SELECT 5000 UNION ALL SELECT value + 1 FROM rows WHERE value < 15000) {row}"
    ));

    let mut steps = 1;
    while stage.store.follow_chain(&stage.key).await.unwrap() {
        steps += 1;
    }

    let ends = chain::table.order(chain::log_id).select((chain::first_log_id, chain::log_id));
    let ends: Vec<(i64, i64)> = stage.store.read(move |connection| ends.load(connection)).await.unwrap();
    assert_eq!((steps, ends), (3, vec![(5000, 9095), (9096, 13191), (13192, 15000)]));
    assert_eq!(stage.check().await, None);
    stage.store.close();
}

#[tokio::test]
async fn two_followers_at_once_write_each_row_once() {
    let stage = Stage::new().await;
    for _ in 0..20 {
        stage.acts(1).await;
        tokio::join!(stage.follow(), stage.follow());
    }

    assert_eq!(stage.check().await, None);
    assert_eq!(stage.store.chained_to().await.unwrap(), 21);
    stage.store.close();
}

#[tokio::test]
async fn what_does_not_verify_is_found_and_nothing_more_is_signed() {
    let changes: [(&str, &str); 18] = [
        ("CREATE TRIGGER more AFTER INSERT ON record BEGIN SELECT 1; END", "a trigger"),
        ("CREATE VIEW more AS SELECT 1", "a view"),
        (
            "INSERT INTO watermark VALUES ('rows_removed', 1000); UPDATE record SET user_id = 5 WHERE log_id = 14",
            "row 14 of the record was changed",
        ),
        ("DELETE FROM chain_tip", "are gone"),
        ("UPDATE record SET user_id = 5 WHERE log_id = 14", "row 14 of the record was changed"),
        ("UPDATE record SET api = '' WHERE log_id = 14", "row 14 of the record was changed"),
        ("UPDATE record SET status = 0.5 WHERE log_id = 14", "row 14 of the record"),
        ("DELETE FROM record WHERE log_id = 15", "row 15 of the record is missing"),
        ("DELETE FROM record WHERE log_id > 12", "row 13 of the record is missing"),
        ("UPDATE record SET log_id = 100 - log_id WHERE log_id IN (14, 86)", "row 14"),
        ("UPDATE chain SET leaves = zeroblob(length(leaves)) WHERE log_id = 15", "the link of the rows 13 to 15"),
        ("UPDATE chain SET head = zeroblob(32) WHERE log_id = 15", "does not follow"),
        ("DELETE FROM chain WHERE log_id = 15", "does not follow"),
        ("DELETE FROM chain WHERE log_id > 15", "has no link"),
        ("UPDATE chain SET head = zeroblob(32) WHERE log_id = 12", "another head at row 12"),
        ("UPDATE chain_tip SET note = replace(note, 'older-to 0', 'older-to 1')", "does not verify"),
        ("UPDATE chain_tip SET note = NULL", "none is signed"),
        ("UPDATE chain_tip SET origin = '00000000000000000000000000000000'", "another record"),
    ];
    for (change, why) in changes {
        let stage = Stage::new().await;
        for count in [11, 3, 3] {
            stage.acts(count).await;
            stage.follow().await;
            if count == 11 {
                assert_eq!(stage.store.make_checkpoint().await.unwrap().unwrap().log_id, 12);
            }
        }
        let stage = stage.again().await;
        assert_eq!(stage.check().await, None);
        stage.run(change);

        let fault = stage.check().await.unwrap_or_else(|| panic!("{change}"));

        assert!(fault.contains(why), "{change}: {fault}");
        let note = || stage.store.read(tip);
        let before = note().await.unwrap().and_then(|tip| tip.note);
        stage.acts(1).await;
        stage.follow().await;
        assert_eq!(note().await.unwrap().and_then(|tip| tip.note), before, "{change}");
        assert_eq!(stage.store.make_checkpoint().await.unwrap(), None);
        stage.store.close();
    }
}

#[tokio::test]
async fn a_chain_that_another_hand_changes_while_the_gateway_runs_is_not_signed_on() {
    let stage = Stage::new().await;
    stage.acts(3).await;
    stage.follow().await;
    stage.run("UPDATE chain SET head = zeroblob(32)");

    stage.acts(1).await;
    stage.follow().await;

    assert!(stage.store.chain_fault().unwrap().contains("not the one that this gateway wrote"));
    stage.store.close();
}

#[tokio::test]
async fn an_older_copy_of_the_database_is_known_by_the_kept_note() {
    let stage = Stage::new().await;
    stage.acts(3).await;
    stage.follow().await;
    let older = stage.folder.path().join("older.db");
    stage.run(&format!("VACUUM INTO '{}'", older.display()));
    stage.acts(3).await;
    stage.follow().await;
    let kept = Checkpoint::read(&stage.store.make_checkpoint().await.unwrap().unwrap().note).unwrap();
    stage.store.check_chain(&stage.key, Some(kept.clone())).await.unwrap();
    assert_eq!(stage.store.chain_fault(), None);
    stage.store.close();
    fs::rename(older, stage.folder.path().join(FILE)).unwrap();
    let stage = stage.again().await;
    assert_eq!(stage.check().await, None, "it is consistent in itself");

    stage.store.check_chain(&stage.key, Some(kept)).await.unwrap();

    assert!(stage.store.chain_fault().unwrap().contains("older copy"));
    stage.store.close();
}

#[tokio::test]
async fn the_key_is_kept_private_and_a_new_one_is_told_in_the_record() {
    let stage = Stage::new().await;
    stage.acts(1).await;
    stage.follow().await;
    stage.store.make_checkpoint().await.unwrap().unwrap();
    let file = stage.folder.path().join("checkpoint.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (public, stage) = (stage.key.public(), stage.again().await);
    assert_eq!(stage.key.public(), public, "it is read again");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = CheckpointKey::load(stage.folder.path(), &stage.store).await.err().unwrap();
    assert!(refused.to_string().contains("may be read by others"), "{refused}");
    fs::remove_file(&file).unwrap();
    let stage = stage.again().await;

    assert!(stage.key.public() != public && stage.key.made_after == 2);
    let own = OwnKey::read(stage.folder.path()).unwrap();
    let older = stage.store.last_checkpoint().await.unwrap().unwrap().signed().unwrap();
    assert!(older.log_id == 2 && own.may_have_signed(&older), "verifiers take it for a note of before");
    assert!(!own.may_have_signed(&Checkpoint { log_id: 3, ..older }));
    let made = record::table.filter(record::act.eq(Act::CheckpointKeyMade.name())).select(record::log_id);
    let made: Vec<i64> = stage.store.read(move |connection| made.load(connection)).await.unwrap();
    assert_eq!(made, [1, 3], "an act tells of each");
    assert_eq!(stage.check().await, None, "what the older key signed was before");
    stage.follow().await;
    assert_eq!(stage.check().await, None);
    // A later note of another key is none of this gateway.
    fs::remove_file(&file).unwrap();
    let foreign = CheckpointKey::load(stage.folder.path(), &stage.store).await.unwrap();
    let early = CheckpointKey { made_after: 0, ..foreign };
    stage.store.check_chain(&early, None).await.unwrap();
    assert!(stage.store.chain_fault().unwrap().contains("another key"));
    stage.store.close();
}

#[tokio::test]
async fn checkpoints_are_written_when_the_chain_has_grown_and_listed_newest_first() {
    let stage = Stage::new().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        stage.acts(2).await;
        stage.follow().await;
        made.push(stage.store.make_checkpoint().await.unwrap().unwrap());
        assert_eq!(stage.store.make_checkpoint().await.unwrap(), None, "nothing is new");
    }

    made.reverse();
    assert_eq!(made.iter().map(|row| row.log_id).collect::<Vec<_>>(), [7, 5, 3]);
    assert_eq!(stage.store.checkpoints(None, 10).await.unwrap(), made);
    assert_eq!(stage.store.checkpoints(Some(7), 1).await.unwrap(), made[1..2]);
    assert_eq!(stage.store.last_checkpoint().await.unwrap().as_ref(), made.first());
    stage.store.close();
}

#[tokio::test]
async fn links_are_removed_up_to_the_last_one_whose_rows_are_gone() {
    let stage = Stage::new().await;
    for _ in 0..3 {
        stage.acts(2).await;
        stage.follow().await;
        stage.store.make_checkpoint().await.unwrap().unwrap();
    }
    for (upto, left) in [(2, [3, 5, 7].as_slice()), (4, &[3, 5, 7]), (5, &[5, 7]), (6, &[5, 7])] {
        stage.store.write(move |tx| Ok(remove_links(tx.connection, upto)?)).await.unwrap();

        let links = chain::table.order(chain::log_id).select(chain::log_id);
        let links: Vec<i64> = stage.store.read(move |connection| links.load(connection)).await.unwrap();
        let checkpoints = stage.store.checkpoints(None, 10).await.unwrap();
        assert_eq!(links, left, "{upto}");
        assert_eq!(checkpoints.len(), 3, "checkpoints stay");
    }
    assert_eq!(stage.check().await, None);
    stage.store.close();
}

#[tokio::test]
async fn contents_of_a_deleted_person_are_erased_once_the_act_is_in_the_chain() {
    let stage = Stage::new().await;
    stage.run(
        "INSERT INTO record (log_id, kind, at_us, request_id, user_id) VALUES (2, 'intent', 1, zeroblob(16), 7); \
         INSERT INTO record (log_id, kind, at_us, request_id, user_id, intent_id) VALUES (3, 'result', 1, zeroblob(16), 7, 2); \
         INSERT INTO record_part (log_id, part, kind, body) VALUES (2, 0, 'request', 'zebra')",
    );
    stage.follow().await;
    while stage.store.follow_words().await.unwrap() {}
    stage.run("INSERT INTO erasure (user_id) VALUES (7)");
    let delete = |tx: &mut crate::store::Tx<'_>| {
        Ok(audit::insert_act(tx.connection, tx.now, Act::UserDeleted, None, Some(7), Some("{}".into()))?)
    };
    stage.store.write(delete).await.unwrap();
    let mut merge = crate::store::words::Merge::Begin;

    assert!(!stage.store.erase_some(&mut merge).await.unwrap(), "its receipt is not in the chain");
    assert_eq!(stage.store.contents(2).await.unwrap().len(), 1);
    stage.follow().await;
    assert!(stage.store.erase_some(&mut merge).await.unwrap());

    assert!(stage.store.contents(2).await.unwrap().is_empty());
    assert_eq!(stage.check().await, None);
    stage.store.close();
}

/// A request gets its rows whether or not the chain keeps up: nothing on its way knows the chain.
#[test]
fn only_the_upkeep_and_commands_wait_for_the_chain() {
    let mut callers = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_of_chain = path.to_string_lossy().contains("store/chain") || path.ends_with("tests.rs");
            if path.is_dir() {
                folders.push(path);
            } else if !is_of_chain {
                let text = fs::read_to_string(&path).unwrap();
                let waits = ["follow_chain(", "check_chain(", "make_checkpoint(", "chained_to("]
                    .map(|verb| text.contains(verb));
                if waits.contains(&true) {
                    callers.push(path.file_name().unwrap().to_string_lossy().into_owned());
                }
            }
        }
    }
    callers.sort();

    assert_eq!(callers, ["catch_up.rs", "chain.rs", "erasure.rs", "retention.rs"]);
}
