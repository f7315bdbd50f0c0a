use super::*;
use crate::config::settings::{Live, Settings};
use crate::store::schema::record;
use crate::store::users::PasswordReset;

const HOUR_US: i64 = 3_600_000_000;

#[tokio::test]
async fn lifetimes_go_by_the_clock_when_the_stamps_of_the_record_are_ahead_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(folder.path(), Live::new(Settings::default())).unwrap();
    let store = open();
    let ahead = Timestamp::now().0 + HOUR_US;
    let row = (record::kind.eq("act"), record::at_us.eq(ahead), record::request_id.eq(vec![0; 16]));
    let write = store.write(move |tx| Ok(diesel::insert_into(record::table).values(row).execute(tx.connection)?));
    write.await.unwrap();
    store.close();
    let store = open();
    store.create_first_admin("x".into()).await.unwrap();
    let admin = store.people().by_name("admin").unwrap().clone();
    assert!(admin.created_at_us >= ahead, "the stamp never goes back");
    store.change_password(admin.id, "x".into(), "y".into()).await.unwrap();
    let (id, by) = (admin.public_id.as_str(), Actor(Some(admin.id)));
    let new = NewToken { secret_sha256: vec![1; 32], lifetime_seconds: 600, ..NewToken::for_test() };
    let rotation = |number, grace_seconds, lifetime_seconds| Rotation {
        secret_sha256: vec![number; 32],
        grace_seconds,
        lifetime_seconds,
    };
    let minutes = |until: i64| (until - Timestamp::now().0 + 30_000_000) / 60_000_000;

    let made = store.create_token(by, id, new, 10).await.unwrap();
    assert_eq!(minutes(made.expires_at_us), 10);
    let rotated = store.rotate_token(by, "0123456789", rotation(2, 300, Some(1200))).await.unwrap();
    assert_eq!(minutes(rotated.expires_at_us), 20);
    assert_eq!(rotated.old_secret.as_ref().map(|(_, until)| minutes(until.0)), Some(5));
    let ended = store.rotate_token(by, "0123456789", rotation(3, 0, None)).await.unwrap();
    let long_ago = Timestamp(0);
    assert_eq!(ended.secrets(long_ago).collect::<Vec<_>>(), [[3; 32]], "no clock revives what ended at once");
    let reset = PasswordReset { hash: "z".into(), lifetime_seconds: 3600, with_code: false, revoke_tokens: false };
    let user = store.reset_password(Actor(None), id, reset).await.unwrap();
    assert_eq!(user.reset_until_us.map(minutes), Some(60));
}
