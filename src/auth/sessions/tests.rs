use std::time::{Duration, Instant};

use super::*;
use crate::config::Config;
use crate::config::settings::Live;
use crate::model::people::Actor;
use crate::store::users::PasswordReset;

const HOST: Actor = Actor(None);

/// A gateway's sessions, with one active account.
async fn stage(folder: &std::path::Path, settings: &[(&str, &str)]) -> (Sessions, Store) {
    let variables = settings.iter().map(|(name, value)| (format!("LGW_ACCOUNTS__{name}"), (*value).to_owned()));
    let Config { accounts, settings, .. } = Config::resolve("", variables).unwrap();
    let store = Store::open(folder, Live::new(settings)).unwrap();
    store.create_first_admin("hash".into()).await.unwrap();
    let admin = store.people().by_name("admin").unwrap().id;
    store.change_password(admin, "hash".into(), "another hash".into()).await.unwrap();
    (Sessions::new(store.clone(), &accounts), store)
}

fn admin(store: &Store) -> Arc<User> {
    store.people().by_name("admin").unwrap().clone()
}

async fn open(sessions: &Sessions, store: &Store) -> SessionId {
    sessions.open(&admin(store), Some("192.168.1.7".into()), Some("a browser")).await.unwrap()
}

fn ago(time: Duration) -> Instant {
    Instant::now().checked_sub(time).expect("the machine has been up for longer")
}

#[tokio::test]
async fn a_session_ends_after_a_time_without_a_page_and_a_page_prolongs_it() {
    let folder = tempfile::tempdir().unwrap();
    let (sessions, store) = stage(folder.path(), &[("SESSION_IDLE_SECONDS_MAX", "60")]).await;
    let id = open(&sessions, &store).await;
    let idle = |seconds| {
        let found = lock(&sessions.live).get(&key_of(id.expose())).cloned().unwrap();
        found.times().seen = ago(Duration::from_secs(seconds));
    };

    idle(58);
    let found = sessions.find(id.expose()).expect("it was used less than a minute ago");
    sessions.touch(&found);
    assert!(found.session.times().seen.elapsed() < Duration::from_secs(5));
    idle(60);
    assert!(sessions.find(id.expose()).is_none());

    sessions.sweep().await.unwrap();
    assert_eq!(store.sessions().await.unwrap(), []);
    store.close();
}

#[tokio::test]
async fn a_session_ends_after_its_longest_time_however_much_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (sessions, store) = stage(folder.path(), &[("SESSION_SECONDS_MAX", "120")]).await;
    let id = open(&sessions, &store).await;
    let began = |seconds| {
        let mut live = lock(&sessions.live);
        let old = live.remove(&key_of(id.expose())).unwrap();
        let mut session = Arc::into_inner(old).expect("it is held nowhere else");
        session.began = ago(Duration::from_secs(seconds));
        live.insert(session.key, Arc::new(session));
    };

    began(118);
    assert!(sessions.find(id.expose()).is_some());
    began(120);
    assert!(sessions.find(id.expose()).is_none());
    store.close();
}

#[tokio::test]
async fn the_password_that_was_given_again_counts_for_five_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let (sessions, store) = stage(folder.path(), &[]).await;
    let id = open(&sessions, &store).await;
    let found = sessions.find(id.expose()).unwrap();
    let proven = |seconds| found.session.times().proven = Some(ago(Duration::from_secs(seconds)));

    proven(298);
    assert!(found.is_proven());
    proven(300);
    assert!(!found.is_proven());

    let new = sessions.renew(&found).await.unwrap();
    assert!(sessions.find(id.expose()).is_none(), "it has a new id");
    let renewed = sessions.find(new.expose()).unwrap();
    assert!(renewed.is_proven());
    assert!(renewed.sent(found.form_token()), "forms in other tabs stay valid");
    store.close();
}

#[tokio::test]
async fn with_too_many_sessions_the_oldest_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (sessions, store) = stage(folder.path(), &[("SESSIONS_PER_USER_MAX", "2")]).await;
    let first = open(&sessions, &store).await;
    let second = open(&sessions, &store).await;
    assert!(sessions.find(first.expose()).is_some());

    let third = open(&sessions, &store).await;

    assert!(sessions.find(first.expose()).is_none());
    assert!(sessions.find(second.expose()).is_some() && sessions.find(third.expose()).is_some());
    assert_eq!(store.sessions().await.unwrap().len(), 2);
    assert_eq!(sessions.of(&admin(&store)).len(), 2);
    store.close();
}

#[tokio::test]
async fn a_reset_ends_sessions_and_its_password_is_good_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let (sessions, store) = stage(folder.path(), &[]).await;
    let id = open(&sessions, &store).await;
    let public_id = admin(&store).public_id.clone();
    let reset = PasswordReset { hash: "reset".into(), lifetime_seconds: 3600, with_code: true, revoke_tokens: false };
    store.reset_password(HOST, &public_id, reset).await.unwrap();

    assert!(sessions.find(id.expose()).is_none());
    assert!(!sessions.reset_was_used(&admin(&store)), "the session before it was not opened with it");
    let restricted = open(&sessions, &store).await;
    let found = sessions.find(restricted.expose()).unwrap();
    assert_eq!(found.standing(), SessionStanding::MustChange);
    assert!(found.identity().is_none());
    assert!(sessions.reset_was_used(&admin(&store)));
    sessions.sign_out(&found).await.unwrap();
    sessions.sweep().await.unwrap();
    assert!(sessions.find(restricted.expose()).is_none());
    assert!(sessions.reset_was_used(&admin(&store)), "also after signing out");
    store.close();
}

#[tokio::test]
async fn sessions_are_taken_over_from_the_disk_but_not_from_a_time_that_lies_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let (sessions, store) = stage(folder.path(), &[]).await;
    let kept = open(&sessions, &store).await;
    let ahead = SessionRow {
        id_sha256: vec![7; 32],
        created_at_us: Timestamp::now().plus_seconds(60).0,
        seen_at_us: Timestamp::now().plus_seconds(60).0,
        ..store.sessions().await.unwrap()[0].clone()
    };
    store.open_session(ahead, None).await.unwrap();

    let next = Sessions::new(store.clone(), &Config::resolve("", []).unwrap().accounts);
    next.load().await.unwrap();

    let found = next.find(kept.expose()).expect("it goes on");
    assert!(!found.is_proven(), "the password is asked for again");
    assert_eq!(next.of(&admin(&store)).len(), 1);
    next.sweep().await.unwrap();
    assert_eq!(store.sessions().await.unwrap().len(), 1);
    store.close();
}

#[tokio::test]
async fn what_is_kept_for_the_next_page_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (sessions, store) = stage(folder.path(), &[]).await;
    let id = open(&sessions, &store).await;
    let found = sessions.find(id.expose()).unwrap();

    found.keep("flash", "Saved.".into());
    assert_eq!(sessions.find(id.expose()).unwrap().take("flash").unwrap().expose(), "Saved.");
    assert!(found.take("flash").is_none());

    for number in 0..=KEPT_MAX {
        found.keep(&number.to_string(), String::new());
    }
    assert!(found.take(&KEPT_MAX.to_string()).is_none(), "there is a bound");
    assert!(found.take("0").is_some());
    store.close();
}
