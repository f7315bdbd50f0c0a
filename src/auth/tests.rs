use std::sync::atomic::Ordering;

use super::*;
use crate::config::{Config, settings::Live};
use crate::model::people::Actor;
use crate::store::users::{PasswordReset, Pending};

const HOST: Actor = Actor(None);
const RIGHT: &str = "correct horse battery";

/// Creates accounts in every state, all with the same password.
async fn stage(folder: &std::path::Path) -> Auth {
    let Config { accounts: config, delegating, settings, .. } = Config::resolve("", []).unwrap();
    let store = Store::open(folder, Live::new(settings)).unwrap();
    let throttle = Throttle::open(folder).unwrap();
    let keys = JwtKeys::load(&folder.join("secrets"), &config).unwrap();
    let auth = Auth::new(store.clone(), keys, throttle, &config, &delegating).unwrap();
    let hash = async || auth.passwords.hash(Secret::new(RIGHT.into())).await.unwrap();
    store.create_first_admin(hash().await).await.unwrap();
    let admin = store.people().by_name("admin").unwrap().clone();
    store.change_password(admin.id, admin.password_hash.clone().unwrap(), hash().await).await.unwrap();
    for name in ["active", "pending", "disabled", "reset", "late"] {
        store.register(name.into(), hash().await, None, Pending { max: 10, of_network_max: 10 }).await.unwrap();
        let id = store.people().by_name(name).unwrap().public_id.clone();
        if name != "pending" {
            store.approve(HOST, &id).await.unwrap();
        }
        match name {
            "disabled" => drop(store.disable(HOST, &id).await.unwrap()),
            "reset" | "late" => {
                let lifetime_seconds = if name == "late" { -1 } else { 3600 };
                let hash = hash().await;
                let reset = PasswordReset { hash, lifetime_seconds, with_code: false, revoke_tokens: false };
                store.reset_password(HOST, &id, reset).await.unwrap();
            }
            _ => {}
        }
    }
    auth.passwords.hashed.store(0, Ordering::Relaxed);
    auth
}

#[tokio::test]
async fn every_try_costs_as_many_hashes_whatever_the_name_and_the_state_of_the_account() {
    let folder = tempfile::tempdir().unwrap();
    let auth = stage(folder.path()).await;
    let cost = || auth.passwords.hashed.swap(0, Ordering::Relaxed);
    for name in ["unknown", "active", "pending", "disabled", "reset", "late"] {
        // A text that is not in its composed form costs two hashes.
        for (password, hashes) in [(RIGHT, 1), ("wrong", 1), ("wro\u{308}ng", 2)] {
            let (name, secret) = (Username::of(name), || Secret::new(password.to_owned()));
            let issued = auth.issue_token(&name, secret(), None).await.is_ok();
            assert_eq!((cost(), issued), (hashes, name.as_str() == "active" && password == RIGHT), "{name} {password}");
            let shown = Credential::Password { username: name.clone(), password: secret() };
            let entered = auth.identify(shown, None, &|_| Vec::new()).await.is_ok();
            assert_eq!((cost(), entered), (hashes, issued), "{name} {password}");
        }
    }
}

#[tokio::test]
async fn a_verified_password_is_hashed_once_and_a_changed_one_again() {
    let folder = tempfile::tempdir().unwrap();
    let auth = stage(folder.path()).await;
    let name = Username::of("active");
    let enter = async || {
        let shown = Credential::Password { username: name.clone(), password: Secret::new(RIGHT.to_owned()) };
        auth.identify(shown, None, &|_| Vec::new()).await.is_ok()
    };
    assert!(enter().await && enter().await);
    assert_eq!(auth.passwords.hashed.swap(0, Ordering::Relaxed), 1);
    let user = auth.store.people().by_name("active").unwrap().clone();
    let new_hash = auth.passwords.hash(Secret::new("another one".into())).await.unwrap();
    auth.store.change_password(user.id, user.password_hash.clone().unwrap(), new_hash).await.unwrap();

    assert!(!enter().await);
    assert_eq!(auth.passwords.hashed.load(Ordering::Relaxed), 2, "the change, and the old password");
}

#[tokio::test]
async fn a_hash_of_a_password_as_it_was_typed_is_right_once_more_and_then_of_its_composed_form() {
    let folder = tempfile::tempdir().unwrap();
    let auth = stage(folder.path()).await;
    let (nfc, nfd) = ("m\u{f6}wen \u{fc}bers wasser", "mo\u{308}wen u\u{308}bers wasser");
    let user = || auth.store.people().by_name("active").unwrap().clone();
    let (before, old) = (user(), password::hash(nfd.as_bytes()).unwrap());
    let as_typed = (before.id, before.password_hash.clone().unwrap(), old.clone());
    auth.store.renew_hash(as_typed.0, as_typed.1, as_typed.2).await.unwrap();
    let sign_in = async |password: &str| {
        auth.issue_token(&Username::of("active"), Secret::new(password.to_owned()), None).await.is_ok()
    };

    assert!(!sign_in(nfc).await, "the hash of before is of another text");
    assert!(sign_in(nfd).await);
    assert!(sign_in(nfc).await && sign_in(nfd).await);

    let after = user();
    assert_ne!(after.password_hash, Some(old));
    assert_eq!(after.version, before.version, "what was issued before goes on");
}

#[tokio::test]
async fn a_try_that_the_ladder_refuses_costs_no_hash() {
    let folder = tempfile::tempdir().unwrap();
    let auth = stage(folder.path()).await;
    let source = Some("10.0.0.1".parse().unwrap());
    let mut refused = 0;
    // More tries than needed: the wait doubles, so it soon exceeds even a slow hash.
    for _ in 0..8 {
        let wrong = Secret::new("wrong".to_owned());
        match auth.issue_token(&Username::of("active"), wrong, source).await {
            Err(Error::RateLimited { .. }) => refused += 1,
            answer => assert!(answer.is_err()),
        }
    }

    assert!(refused > 0);
    assert_eq!(auth.passwords.hashed.load(Ordering::Relaxed), 8 - refused);
}
