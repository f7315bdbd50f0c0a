use super::*;

const SECOND: i64 = 1_000_000;
const ANN: i64 = 1;
const BOB: i64 = 2;

/// Ten minutes, with the rows 101 to 200.
fn facts() -> WindowFacts {
    let from = Timestamp::parse("2026-01-15T10:00:00Z").unwrap();
    let window = TimeWindow { from, to: from.plus_seconds(600) };
    WindowFacts::new(
        window,
        Timestamp(0),
        RowSpan { after: 100, last: 200, newest: 300, oldest_at: None, erased_to: 0 },
    )
}

fn at(seconds: i64) -> i64 {
    facts().window.from.0 + seconds * SECOND
}

fn intent(log_id: i64, user: i64, seconds: i64) -> IncidentRow {
    IncidentRow {
        log_id,
        kind: "intent".into(),
        at_us: at(seconds),
        user_id: Some(user),
        token_id: Some(user * 10),
        model_asked: Some("fake".into()),
        ..IncidentRow::default()
    }
}

/// A request that waited and ran for so many seconds, all of which the upstream worked.
fn result(log_id: i64, of: i64, user: i64, ended: i64, waited: i64, ran: i64) -> IncidentRow {
    IncidentRow {
        kind: "result".into(),
        intent_id: Some(of),
        host: Some("local".into()),
        outcome: Some("completed".into()),
        queued_us: Some(waited * SECOND),
        total_us: Some((waited + ran) * SECOND),
        gpu_us: Some(ran * SECOND),
        ..intent(log_id, user, ended)
    }
}

fn refusal(log_id: i64, user: i64, seconds: i64, until: Option<i64>, repeat: i64) -> IncidentRow {
    IncidentRow {
        kind: "refusal".into(),
        reason: Some("rate_limit_exceeded".into()),
        until_us: until.map(at),
        repeat: Some(repeat),
        ..intent(log_id, user, seconds)
    }
}

fn saw(rows: &[IncidentRow]) -> WindowFacts {
    let mut facts = facts();
    rows.iter().for_each(|row| facts.saw(row));
    facts
}

fn of(facts: &WindowFacts, user: i64) -> &Activity {
    &facts.sender(SenderKey { user_id: user, token_id: user * 10 }).unwrap().did
}

#[test]
fn a_request_counts_where_it_arrived_and_works_where_it_ran() {
    let facts = saw(&[
        // It arrived before the window, and ran a minute of it.
        result(101, 90, BOB, 60, 0, 120),
        intent(102, ANN, 60),
        result(103, 102, ANN, 150, 30, 60),
        intent(104, ANN, 590),
        // It ended after the window.
        result(201, 104, ANN, 620, 0, 30),
        // It arrived after the window, and is none of its requests.
        result(203, 202, ANN, 625, 0, 25),
    ]);

    assert_eq!((of(&facts, ANN).sent(), of(&facts, BOB).sent(), facts.all.sent()), (2, 0, 2));
    assert_eq!(of(&facts, ANN).ended.completed, 2);
    assert_eq!(of(&facts, BOB).gpu_us, 60 * SECOND);
    assert_eq!(of(&facts, ANN).gpu_us, 70 * SECOND);
    let minutes = |parts: &[i64]| parts.iter().map(|part| part / SECOND).collect::<Vec<_>>();
    assert_eq!(minutes(&facts.upstreams[0].busy_us), [60, 30, 30, 0, 0, 0, 0, 0, 0, 10]);
    assert_eq!(minutes(&facts.waiting_us), [0, 30, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(minutes(&facts.work_of(&[0], 0))[0], 60, "the first sender is bob");
    assert!(!facts.has_unfinished());
}

#[test]
fn requests_at_the_same_time_are_counted_with_those_that_were_there_before() {
    let facts = saw(&[
        intent(101, ANN, 10),
        intent(102, ANN, 20),
        result(103, 90, ANN, 30, 0, 40),
        result(104, 101, ANN, 130, 0, 120),
        intent(105, ANN, 140),
    ]);

    assert_eq!(facts.all.outstanding_max(), 3);
    assert_eq!(facts.all.outstanding_by_step(4), [3, 2, 2, 2]);
    assert_eq!(facts.all.unfinished(), 2);
}

#[test]
fn refusals_count_in_the_minute_in_which_they_came_and_not_where_their_row_was_written() {
    let facts = saw(&[
        // The rest of the minute before the window, written in it.
        refusal(101, ANN, 1, Some(-5), 70),
        refusal(102, ANN, 30, None, 1),
        refusal(103, ANN, 61, Some(59), 40),
        // The last minute of the window, written after it.
        refusal(201, ANN, 601, Some(599), 9),
        refusal(202, ANN, 660, Some(650), 80),
    ]);

    let refused: Vec<u64> = facts.all.steps.iter().map(|step| step.refused()).collect();
    assert_eq!(refused, [41, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    assert_eq!((facts.all.refused(), facts.all.told_to_wait_in_minute), (50, 41));
}

#[test]
fn senders_beyond_their_number_are_one_and_nonsense_is_no_panic() {
    let rows: Vec<IncidentRow> = (0..600).map(|user| intent(150, user + 1, 5)).collect();
    let facts = saw(&rows);
    assert_eq!((facts.senders.len(), facts.senders[SENDERS_MAX].did.sent()), (SENDERS_MAX + 1, 100));

    let odd = |row: IncidentRow| IncidentRow {
        total_us: Some(i64::MAX),
        queued_us: Some(-9),
        gpu_us: Some(i64::MAX),
        load_us: Some(i64::MIN),
        repeat: Some(-4),
        until_us: Some(i64::MIN),
        ..row
    };
    saw(&[
        odd(intent(101, ANN, 5)),
        odd(result(102, 101, ANN, 9, 1, 1)),
        odd(refusal(103, ANN, 9, None, 1)),
        IncidentRow { kind: "unheard".into(), ..IncidentRow::default() },
        IncidentRow { kind: "result".into(), log_id: 104, ..IncidentRow::default() },
    ]);
}

#[test]
fn the_memory_of_a_long_record_is_that_of_a_short_one() {
    let size = |rows: i64| {
        let mut facts = facts();
        (0..rows).for_each(|at| {
            let model = Some(format!("model {at}"));
            facts.saw(&IncidentRow { model_asked: model, ..intent(150, at % 3, at % 600) });
        });
        (facts.senders.len(), facts.all.models.kinds(), facts.all.examples.rows().len() <= 40)
    };
    assert_eq!(size(1_000), size(20_000));
}

#[test]
fn a_request_that_was_refused_while_it_waited_was_sent_once() {
    let refused = IncidentRow { outcome: Some("refused".into()), gpu_us: None, ..result(102, 101, ANN, 30, 20, 0) };
    let facts = saw(&[intent(101, ANN, 10), refused, refusal(103, ANN, 40, None, 1)]);

    let step = facts.all.steps[0];
    assert_eq!((step.sent(), step.refused()), (2, 2));
    assert_eq!((facts.all.sent(), facts.all.refused()), (2, 2));
}

#[test]
fn the_last_row_is_the_last_one_that_counts() {
    let last = |rows: &[IncidentRow]| saw(rows).last_row;

    assert_eq!(last(&[]), 200);
    assert_eq!(last(&[intent(101, ANN, 10), result(201, 101, ANN, 620, 0, 30)]), 201);
    assert_eq!(last(&[refusal(202, ANN, 601, Some(599), 9)]), 202);
    // A request and a refusal of the time after.
    assert_eq!(last(&[result(203, 202, ANN, 625, 0, 25), refusal(204, ANN, 660, Some(650), 80)]), 200);
}

#[test]
fn gpu_time_counts_for_its_sender_also_on_an_upstream_that_is_not_told_apart() {
    let rows: Vec<IncidentRow> = (0..=UPSTREAMS_MAX as i64)
        .map(|at| IncidentRow { host: Some(format!("host {at}")), ..result(150, 149, ANN, 60, 0, 1) })
        .collect();
    let facts = saw(&rows);

    assert_eq!((facts.upstreams.len(), facts.all.gpu_us), (UPSTREAMS_MAX, (UPSTREAMS_MAX as i64 + 1) * SECOND));
}
