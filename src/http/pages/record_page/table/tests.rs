use super::*;
use crate::base::clock::zone::Zone;

fn times() -> PageTimes {
    PageTimes::new(Zone::named("Europe/Berlin").unwrap(), Timestamp::parse("2026-11-27T13:32:07Z").unwrap())
}

fn item(log_id: i64, at: &str) -> AuditItem {
    AuditItem {
        log_id,
        kind: "request".to_owned(),
        at: at.to_owned(),
        request_id: Some(format!("0199ac3e-71b0-7c1a-9e55-{log_id:012}")),
        user: Some("wei@example.org".to_owned()),
        model_asked: Some("gemma3:12b".to_owned()),
        ..AuditItem::default()
    }
}

fn completed(log_id: i64, at: &str) -> AuditItem {
    AuditItem {
        outcome: Some("completed".to_owned()),
        prompt_tokens: Some(1_882),
        answer_tokens: Some(411),
        queued_ms: Some(12_400),
        first_token_ms: Some(15_500),
        total_ms: Some(33_800),
        ..item(log_id, at)
    }
}

fn refused(log_id: i64, at: &str) -> AuditItem {
    AuditItem {
        kind: "refusal".to_owned(),
        outcome: Some("refused".to_owned()),
        reason: Some("rate_limit_exceeded".to_owned()),
        token: Some("nightly".to_owned()),
        repeat: Some(28),
        ..item(log_id, at)
    }
}

fn shown(items: &[AuditItem], look: RecordLook) -> String {
    RecordTable::of(items, &times(), look).to_string()
}

#[test]
fn each_day_has_a_heading_above_its_first_row_and_running_ones_are_of_today() {
    let items = [
        item(9, "2026-11-26T22:59:00Z"),
        completed(8, "2026-11-27T13:30:44Z"),
        completed(7, "2026-11-26T23:00:00Z"),
        completed(6, "2026-11-26T22:59:59Z"),
    ];

    let html = shown(&items, RecordLook::Everybody);

    let headings: Vec<usize> = html.match_indices("class=\"day\"").map(|(at, _)| at).collect();
    let row = |id: i64| html.find(&format!("id=\"row-{id}\"")).unwrap();
    assert_eq!(headings.len(), 2, "{html}");
    assert!(headings[0] < row(9) && row(7) < headings[1] && headings[1] < row(6));
    assert!(html.contains("Today, Friday 27 November") && html.contains("Yesterday, Thursday 26 November"));
    assert!(html.contains("Running") && html.contains(">14:30:44</time>"));
}

#[test]
fn a_request_shows_who_asked_what_it_cost_and_where_the_time_went() {
    let html = shown(
        &[AuditItem { token: Some("mail triage".to_owned()), ..completed(8, "2026-11-27T13:30:44Z") }],
        RecordLook::Everybody,
    );

    for said in [
        r#"<a class="plain" href="/admin/record/0199ac3e-71b0-7c1a-9e55-000000000008">wei@example.org</a>"#,
        r#"<span class="second">mail triage</span>"#,
        "gemma3:12b",
        "1,882 → 411",
        "waited 12.4 s, read 3.1 s, answered 18.3 s",
        "33.8 s",
    ] {
        assert!(html.contains(said), "no {said} in {html}");
    }
}

#[test]
fn a_refusal_says_why_in_place_of_the_access_token_and_how_often() {
    let html = shown(&[refused(8, "2026-11-27T13:20:33Z")], RecordLook::Everybody);

    assert!(html.contains("× 28") && html.contains("the requests for 60 s were used up") && !html.contains("nightly"));
    let stranger = AuditItem { user: None, client_address: Some("192.168.1.77".to_owned()), ..refused(8, "") };
    assert!(shown(&[stranger], RecordLook::Everybody).contains(">192.168.1.77<"));
    let one = AuditItem { repeat: Some(1), ..refused(8, "2026-11-27T13:20:33Z") };
    assert!(!shown(&[one], RecordLook::Everybody).contains('×'));
}

#[test]
fn an_act_is_a_sentence_and_leads_nowhere() {
    let act = AuditItem {
        kind: "act".to_owned(),
        act: Some("user_approved".to_owned()),
        subject: Some("ann@example.org".to_owned()),
        ..item(8, "2026-11-27T13:20:33Z")
    };

    let html = shown(&[act], RecordLook::Everybody);

    assert!(html.contains("<b>wei@example.org</b> let in <b>ann@example.org</b>"), "{html}");
    assert!(!html.contains("href"));
}

#[test]
fn in_ones_own_list_a_row_begins_with_what_was_asked() {
    let asked = AuditItem {
        prompt_start: Some("Explain line 42".to_owned()),
        token: Some("editor".to_owned()),
        ..completed(8, "2026-11-27T13:28:00Z")
    };

    let html = shown(&[asked, refused(7, "2026-11-27T12:20:00Z")], RecordLook::LatestOwn);

    assert!(html.contains(">Explain line 42</a>") && html.contains("editor · gemma3:12b"), "{html}");
    assert!(html.contains("/me/record/") && !html.contains("/admin/") && !html.contains("class=\"day\""));
    assert_eq!(html.matches("he requests for 60 s were used up").count(), 1);
    assert!(html.contains(">14:28</time>"));
}

#[test]
fn a_request_that_waits_in_the_queue_is_told_from_one_that_runs() {
    let items = [item(9, "2026-11-27T13:30:44Z"), item(8, "2026-11-27T13:30:44Z")];
    let first = items[0].request_id.clone().unwrap();
    let counts = |html: &str| (html.matches("Waiting").count(), html.matches("Running").count());

    assert_eq!(counts(&shown(&items, RecordLook::Everybody)), (0, 2));
    let table = RecordTable::of(&items[..1], &times(), RecordLook::Everybody).with_waiting(&[first]);
    assert_eq!(counts(&table.to_string()), (1, 0));
}

#[test]
fn the_time_of_a_running_request_goes_on_in_short_lists() {
    let html = shown(&[item(9, "2026-11-27T13:31:26Z")], RecordLook::LatestOfPerson);

    assert!(html.contains(r#"<span data-since="1795786286000">41 s</span>"#), "{html}");
}

#[test]
fn texts_of_others_are_escaped_wherever_they_stand() {
    let bad = "<script>alert(1)</script>\u{202e}";
    for look in [RecordLook::Everybody, RecordLook::LatestOfPerson, RecordLook::Own, RecordLook::LatestOwn] {
        let hostile = AuditItem {
            user: Some(bad.to_owned()),
            token: Some(bad.to_owned()),
            model_asked: Some(bad.to_owned()),
            prompt_start: Some(bad.to_owned()),
            outcome: Some(bad.to_owned()),
            reason: Some(bad.to_owned()),
            snippet: Some(vec![SnippetPieceView { text: bad.to_owned(), hit: true }]),
            ..completed(8, "2026-11-27T13:28:00Z")
        };

        let html = shown(&[hostile], look);

        assert!(html.contains("&lt;script&gt;") && html.contains("U+202E"), "{look:?}");
        assert!(!html.contains("<script>") && !html.contains('\u{202e}'), "{html}");
    }
}

#[test]
fn a_table_without_rows_is_nothing() {
    let table = RecordTable::of(&[], &times(), RecordLook::Everybody);

    assert!(table.is_empty() && table.to_string().trim().is_empty());
}
