use super::*;
use crate::model::notice::LastDelivery;

const URL_TEXT: &str = "https://hooks.example.org/T0/secret";
const KEY_TEXT: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn key() -> MasterKey {
    MasterKey::load(tempfile::tempdir().unwrap().path()).unwrap()
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn of_mail() -> NoticeChannelEdit {
    NoticeChannelEdit {
        host: Some("mail.example.org".into()),
        username: Some(Some("gateway".into())),
        password: Some(Some(secret("hunter2"))),
        from: Some("gateway@example.org".into()),
        to: Some(vec!["admin@example.org".into()]),
        ..Default::default()
    }
}

fn of_webhook() -> NoticeChannelEdit {
    NoticeChannelEdit { url: Some(secret(URL_TEXT)), secret: Some(Some(secret(KEY_TEXT))), ..Default::default() }
}

fn channel(kind: ChannelKind, edit: &NoticeChannelEdit, key: &MasterKey) -> Result<NoticeChannel, Error> {
    let blank = NoticeChannel {
        id: 1,
        public_id: "one".into(),
        name: "ops".into(),
        is_on: true,
        kinds: NoticeKind::ALL.to_vec(),
        way: blank(kind),
        created_at_us: 0,
        last: LastDelivery::default(),
    };
    changed(blank, edit, key)
}

fn wrong(kind: ChannelKind, edit: NoticeChannelEdit) -> String {
    let error = channel(kind, &edit, &key()).unwrap_err();
    assert!(!error.to_string().contains("hunter2") && !error.to_string().contains("/T0/"), "{error}");
    error.field().unwrap().to_owned()
}

#[test]
fn secrets_are_sealed_for_their_channel_their_use_and_their_server() {
    let key = key();
    let mail = channel(ChannelKind::Mail, &of_mail(), &key).unwrap();
    let webhook = channel(ChannelKind::Webhook, &of_webhook(), &key).unwrap();
    assert!(!format!("{mail:?}{webhook:?}").contains("hunter2"));
    let [own, other] = ["one", "two"].map(|id| Sealer::new(&key, id));

    let ChannelWay::Mail { password: Some(password), port, .. } = &mail.way else { panic!("{mail:?}") };
    assert_eq!(own.password("mail.example.org", password).unwrap().expose(), "hunter2");
    assert_eq!(*port, 587);
    assert!(own.password("evil.example.org", password).is_none(), "another server does not get it");
    assert!(other.password("mail.example.org", password).is_none());
    let ChannelWay::Webhook { place, url, secret: Some(signing) } = &webhook.way else { panic!("{webhook:?}") };
    assert_eq!(place, "https://hooks.example.org");
    assert_eq!(own.url(url).unwrap().expose(), URL_TEXT);
    assert!(own.signing_secret(url).is_none() && own.url(signing).is_none());
    assert!(own.opens(&mail.way) && own.opens(&webhook.way) && !other.opens(&webhook.way));
}

#[test]
fn a_password_stays_with_its_server_unless_it_is_given_again() {
    let key = key();
    let mail = channel(ChannelKind::Mail, &of_mail(), &key).unwrap();
    let elsewhere = || NoticeChannelEdit { host: Some("other.example.org".into()), ..Default::default() };

    assert_eq!(changed(mail.clone(), &elsewhere(), &key).unwrap_err().field(), Some("password"));
    let again = NoticeChannelEdit { password: Some(Some(secret("another"))), ..elsewhere() };
    assert!(Sealer::new(&key, "one").opens(&changed(mail.clone(), &again, &key).unwrap().way));
    let without = NoticeChannelEdit { password: Some(None), username: Some(None), ..elsewhere() };
    let ChannelWay::Mail { password, .. } = changed(mail.clone(), &without, &key).unwrap().way else { panic!() };
    assert_eq!(password, None);
    let same = NoticeChannelEdit { host: Some("MAIL.example.org".into()), port: Some(2525), ..Default::default() };
    assert!(Sealer::new(&key, "one").opens(&changed(mail, &same, &key).unwrap().way));
}

#[test]
fn each_field_that_is_wrong_is_named() {
    let mail = |change: fn(&mut NoticeChannelEdit)| {
        let mut edit = of_mail();
        change(&mut edit);
        wrong(ChannelKind::Mail, edit)
    };
    assert_eq!(mail(|edit| edit.name = Some(" ".into())), "name");
    assert_eq!(mail(|edit| edit.name = Some("a\u{202e}b".into())), "name");
    assert_eq!(mail(|edit| edit.notices = Some(vec!["gossip".into()])), "notices");
    assert_eq!(mail(|edit| edit.notices = Some(Vec::new())), "notices");
    assert_eq!(mail(|edit| edit.host = Some("mail.example.org:25".into())), "host");
    assert_eq!(mail(|edit| edit.host = Some("a b".into())), "host");
    assert_eq!(mail(|edit| edit.host = None), "host");
    assert_eq!(mail(|edit| edit.port = Some(0)), "port");
    assert_eq!(mail(|edit| edit.port = Some(65_536)), "port");
    assert_eq!(mail(|edit| edit.tls = Some("ssl".into())), "tls");
    assert_eq!(mail(|edit| edit.tls = Some("none".into())), "tls", "a password needs TLS");
    assert_eq!(mail(|edit| edit.username = None), "username");
    assert_eq!(mail(|edit| edit.username = Some(Some("a\r\nb".into()))), "username");
    assert_eq!(mail(|edit| edit.password = None), "password");
    assert_eq!(mail(|edit| edit.password = Some(Some(secret("")))), "password");
    assert_eq!(mail(|edit| edit.password = Some(Some(secret(&"x".repeat(1001))))), "password");
    assert_eq!(mail(|edit| edit.from = Some("Admin <a@b.c>".into())), "from");
    assert_eq!(mail(|edit| edit.from = None), "from");
    assert_eq!(mail(|edit| edit.to = Some(Vec::new())), "to");
    assert_eq!(mail(|edit| edit.to = Some(vec!["a@example.org".into(); 11])), "to");
    assert_eq!(mail(|edit| edit.to = Some(vec!["a@example.org\r\nBcc: b@example.org".into()])), "to");
    assert_eq!(mail(|edit| edit.url = Some(secret(URL_TEXT))), "url", "it is for webhooks");

    let webhook = |change: fn(&mut NoticeChannelEdit)| {
        let mut edit = of_webhook();
        change(&mut edit);
        wrong(ChannelKind::Webhook, edit)
    };
    assert_eq!(webhook(|edit| edit.url = None), "url");
    assert_eq!(webhook(|edit| edit.url = Some(secret("https://user@a/T0/"))), "url");
    assert_eq!(webhook(|edit| edit.secret = Some(Some(secret("hunter2")))), "secret");
    assert_eq!(webhook(|edit| edit.host = Some("a".into())), "host", "it is for mail");
}

#[test]
fn both_ends_of_what_is_allowed_pass() {
    let key = key();
    let changes: [fn(&mut NoticeChannelEdit); 7] = [
        |edit| edit.port = Some(1),
        |edit| edit.port = Some(65_535),
        |edit| edit.to = Some(vec!["a@example.org".into(); 10]),
        |edit| edit.password = Some(Some(secret(&"x".repeat(1000)))),
        |edit| edit.host = Some("192.0.2.7".into()),
        |edit| edit.host = Some("[2001:db8::7]".into()),
        |edit| edit.name = Some("x".repeat(100)),
    ];
    for change in changes {
        let mut edit = of_mail();
        change(&mut edit);
        assert!(channel(ChannelKind::Mail, &edit, &key).is_ok(), "{edit:?}");
    }
    let open = NoticeChannelEdit { tls: Some("none".into()), username: None, password: None, ..of_mail() };
    let ChannelWay::Mail { port, .. } = channel(ChannelKind::Mail, &open, &key).unwrap().way else { panic!() };
    assert_eq!(port, 25);
}
