//! The host's clock is set back while the gateway runs. The clock of the record is one for a process, so this has its own.

use lan_gateway::base::clock::{RECORD_CLOCK, Timestamp};
use lan_gateway::base::ids::RequestId;
use lan_gateway::config::settings::{Live, Settings};
use lan_gateway::model::record::Kind;
use lan_gateway::store::Store;
use lan_gateway::store::audit::{IntentSlot, NewEntry, NewRow, Opening};

async fn write_intent(store: &Store, id: RequestId) {
    let row = NewRow { kind: Kind::Intent, request_id: id.0.into_bytes(), ..NewRow::default() };
    let opening = Opening { slot: IntentSlot::default(), row, parts: Vec::new(), images: Vec::new() };
    let (done, written) = tokio::sync::oneshot::channel();
    let after = move |_, committed: Result<(), &str>| done.send(committed.map_err(str::to_owned)).unwrap();
    store.append(NewEntry::Intent(Box::new(opening)), after);
    written.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_is_found_by_its_id_after_the_clock_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Live::new(Settings::default())).unwrap();
    let before = RequestId::fresh();
    write_intent(&store, before).await;
    // An hour ahead for a while, in which ids were given to requests that leave no row; then the host's clock is set back.
    RECORD_CLOCK.at_least(Timestamp::now().plus_seconds(3600));

    let mut ids = vec![before];
    for _ in 0..5 {
        ids.push(RequestId::fresh());
        write_intent(&store, ids[ids.len() - 1]).await;
    }

    for id in ids {
        let rows = store.request_rows(id).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.request_id().unwrap()).collect::<Vec<_>>(), [id]);
    }
    store.close();
}
