use super::*;
use crate::base::clock::zone::Zone;

fn story(item: AuditItem) -> Story {
    Story {
        item: AuditItem { kind: "request".to_owned(), ..item },
        request: r#"{"messages":[{"role":"user","content":"why"}]}"#.to_owned(),
        answer: String::new(),
        reasoning: String::new(),
        tool_calls: String::new(),
        notes: String::new(),
        client_address: "192.168.1.23".to_owned(),
        newer: None,
        older: None,
    }
}

fn ended(outcome: &str, reason: Option<&str>) -> AuditItem {
    AuditItem { outcome: Some(outcome.to_owned()), reason: reason.map(str::to_owned), ..AuditItem::default() }
}

#[test]
fn where_no_answer_is_there_is_a_reason_in_words() {
    let why = |item: AuditItem| answer(&story(item), false).why;

    assert_eq!(why(ended("failed", Some("upstream_error"))), "The model server gave up.");
    assert_eq!(why(ended("abandoned", None)), "The client left before the end.");
    assert_eq!(why(ended("interrupted", Some("gateway_stopped"))), "The gateway stopped.");
    assert_eq!(why(ended("failed", Some("solar_flare"))), "solar_flare.");
    assert_eq!(why(ended("completed", None)), "No text.");
    let calls = Story { tool_calls: "[]".to_owned(), ..story(ended("completed", None)) };
    assert_eq!(answer(&calls, false).why, "No text: the model called a function, see below.");
    let erased = Story { request: String::new(), ..story(ended("completed", None)) };
    assert_eq!(answer(&erased, false).why, "Prompt and answer are erased.");
    let old =
        Story { request: String::new(), ..story(AuditItem { erased: Some("retention"), ..ended("completed", None) }) };
    assert_eq!(answer(&old, false).why, "Prompt and answer were erased for their age (retention).");
    let running = answer(&story(AuditItem::default()), false);
    assert!(running.is_running && running.why.is_empty());
    let own = answer(&story(ended("refused", Some("queue_full"))), true);
    assert_eq!(own.remedy, "Send it again later, or fewer at once.");
}

#[test]
fn the_phases_have_their_numbers_and_what_is_not_known_is_left_out() {
    let item = AuditItem {
        queued_ms: Some(12_400),
        first_token_ms: Some(15_500),
        total_ms: Some(33_800),
        gpu_ms: Some(21_300),
        answer_tokens: Some(411),
        ..AuditItem::default()
    };

    let panel = time_panel(&item, 33_800);

    let key: Vec<_> = panel.key.iter().map(|(_, label, value)| format!("{label}: {value}")).collect();
    assert_eq!(key, ["Waited in the queue: 12.4 s", "Until the first token: 3.1 s", "Answered: 18.3 s"]);
    assert_eq!(panel.server, [("On the model server", "21.3 s".to_owned())]);
    assert_eq!(rate(&item), "22.4 a second");
    let told = AuditItem { load_ms: Some(0), prompt_ms: Some(900), answer_ms: Some(18_000), ..item };
    assert_eq!(time_panel(&told, 33_800).server.len(), 3);
    assert_eq!(rate(&told), "22.8 a second");
    assert_eq!(rate(&AuditItem::default()), "");
}

#[test]
fn of_a_long_talk_the_last_messages_are_shown_and_the_others_counted() {
    let message = format!(r#"{{"role":"user","content":"{}"}}"#, "x".repeat(TEXT_BYTES_MAX + 10));
    let long = Story {
        request: format!(r#"{{"messages":[{}]}}"#, vec![message; 20].join(",")),
        ..story(AuditItem::default())
    };
    let many = Story {
        request: format!(
            r#"{{"messages":[{}]}}"#,
            (0..MESSAGES_MAX + 3)
                .map(|n| format!(r#"{{"role":"user","content":"{n}"}}"#))
                .collect::<Vec<_>>()
                .join(",")
        ),
        ..story(AuditItem::default())
    };

    let (omitted, shown) = shown_messages(&long, "wei@example.org", false);
    let bytes: usize = shown.iter().map(|message| message.text.shown.as_str().len()).sum();
    assert!(omitted + shown.len() == 20 && omitted >= 12 && bytes <= MESSAGES_BYTES_MAX, "{omitted} {bytes}");
    assert_eq!((shown[0].role.as_str(), shown.last().unwrap().text.more), ("wei", 10));
    let (omitted, shown) = shown_messages(&many, "wei", true);
    assert_eq!((omitted, shown.len(), shown[0].text.shown.as_str()), (3, MESSAGES_MAX, "3"));
    assert_eq!(shown[0].role, "you");
}

#[test]
fn it_leads_to_what_happened_beside_it() {
    let times =
        PageTimes::new(Zone::named("Europe/Berlin").unwrap(), Timestamp::parse("2026-11-27T13:32:07Z").unwrap());
    let item = AuditItem {
        at: "2026-11-27T13:30:44Z".to_owned(),
        user_id: Some("0b7c".to_owned()),
        model_asked: Some("gemma3:12b".to_owned()),
        ..AuditItem::default()
    };

    let links = around(&item, "wei@example.org", RecordReader::Admin, &times);

    let said: Vec<&str> = links.iter().map(|(_, said)| said.as_str()).collect();
    assert_eq!(
        said,
        ["What wei@example.org sent today", "Everything from 14:25 to 14:35", "Everything to gemma3:12b today"]
    );
    assert!(links[0].0.starts_with("/admin/record?user_id=0b7c&from=2026-11-26T23%3A00%3A00Z&to=2026-11-27T23"));
}

#[test]
fn how_it_came_is_told_in_words() {
    let of = |credential: &str, token: Option<&str>| {
        let item = AuditItem {
            credential: Some(credential.to_owned()),
            token: token.map(str::to_owned),
            ..AuditItem::default()
        };
        with(&story(item))
    };

    assert_eq!(of("password", None), "with a password, from 192.168.1.23");
    assert_eq!(of("token", Some("nightly")), "with the access token nightly, from 192.168.1.23");
    assert_eq!(of("jwt", None), "signed in by a client (JWT), from 192.168.1.23");
}
