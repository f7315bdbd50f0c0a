use proptest::prelude::*;

use super::*;

const TOKEN: i64 = 7;
const ONE: Digest = Digest(1);
const OTHER: Digest = Digest(2);

/// Three equal requests pass at once within a minute and five pass at all; a token is slowed after two failures and paused
/// after four. A slowed token may send once in ten seconds.
fn bounds() -> Thresholds {
    Thresholds {
        window: seconds(60),
        pace: seconds(10),
        repeats: Steps { free: Some(3), most: Some(5) },
        errors: Steps { free: Some(2), most: Some(4) },
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn sends(core: &mut BreakerCore, token: i64, digest: Digest, at: u64) -> Verdict {
    core.sends(token, request(digest, seconds(at)), &bounds())
}

fn request(digest: Digest, at: Duration) -> SentRequest {
    SentRequest { id: RequestId(uuid::Uuid::from_u128(at.as_micros())), digest, at }
}

fn arrives(core: &mut BreakerCore, at: u64) -> Verdict {
    core.arrives(TOKEN, &bounds(), seconds(at))
}

fn slowed(retry_after: u64, count: usize) -> Verdict {
    Verdict::Slowed { retry_after: seconds(retry_after), count }
}

#[test]
fn the_same_request_passes_freely_then_once_in_a_while_then_no_more() {
    let mut core = BreakerCore::default();
    for _ in 0..3 {
        assert_eq!(sends(&mut core, TOKEN, ONE, 0), Verdict::Passes);
    }

    assert_eq!(sends(&mut core, TOKEN, ONE, 0), slowed(10, 3));
    assert_eq!(sends(&mut core, TOKEN, ONE, 9), slowed(1, 3), "one that was refused does not count");
    assert_eq!(sends(&mut core, TOKEN, ONE, 10), Verdict::Passes);
    assert_eq!(sends(&mut core, TOKEN, ONE, 19), slowed(1, 4));
    assert_eq!(sends(&mut core, TOKEN, ONE, 20), Verdict::Passes);
    assert_eq!(sends(&mut core, TOKEN, ONE, 30), Verdict::RanAway { count: 5 });
}

#[test]
fn other_requests_and_other_tokens_go_their_way() {
    let mut core = BreakerCore::default();
    for at in 0..3 {
        sends(&mut core, TOKEN, ONE, at);
    }

    assert!(matches!(sends(&mut core, TOKEN, ONE, 3), Verdict::Slowed { .. }));
    assert_eq!(sends(&mut core, TOKEN, OTHER, 3), Verdict::Passes);
    assert_eq!(sends(&mut core, TOKEN + 1, ONE, 3), Verdict::Passes);
}

#[test]
fn what_was_sent_before_the_window_counts_no_more() {
    let mut core = BreakerCore::default();
    for at in [0, 1, 2] {
        sends(&mut core, TOKEN, ONE, at);
    }

    assert_eq!(sends(&mut core, TOKEN, ONE, 59), Verdict::Passes, "slowed, and the pace is kept");
    assert_eq!(sends(&mut core, TOKEN, ONE, 60), slowed(9, 3));
    assert_eq!(sends(&mut core, TOKEN, ONE, 61), Verdict::Passes, "two are left");
}

#[test]
fn what_never_came_to_a_model_does_not_count() {
    let mut core = BreakerCore::default();
    for _ in 0..20 {
        let sent = request(ONE, seconds(0));
        assert_eq!(core.sends(TOKEN, sent, &bounds()), Verdict::Passes);
        core.takes_back(TOKEN, sent);
    }

    assert_eq!(core.senders[&TOKEN.into()].sent.len(), 0);
}

#[test]
fn failures_in_a_row_slow_a_token_then_hold_it() {
    let mut core = BreakerCore::default();
    core.failed(TOKEN, None, seconds(0));
    assert_eq!(arrives(&mut core, 1), Verdict::Passes);
    core.failed(TOKEN, None, seconds(1));

    assert_eq!(arrives(&mut core, 2), slowed(9, 2));
    assert_eq!(arrives(&mut core, 11), Verdict::Passes);
    assert_eq!(arrives(&mut core, 12), slowed(9, 2), "one in ten seconds, also when it has not failed yet");
    core.failed(TOKEN, None, seconds(12));
    assert_eq!(arrives(&mut core, 22), Verdict::Passes);
    core.failed(TOKEN, None, seconds(22));
    assert_eq!(arrives(&mut core, 50), Verdict::RanAway { count: 4 });
    assert_eq!(core.arrives(TOKEN + 1, &bounds(), seconds(50)), Verdict::Passes, "another token");
}

#[test]
fn one_answer_says_that_it_works_again() {
    let mut core = BreakerCore::default();
    for at in 0..3 {
        core.failed(TOKEN, None, seconds(at));
    }
    assert!(matches!(arrives(&mut core, 3), Verdict::Slowed { .. }));

    core.answered(TOKEN);

    assert_eq!(arrives(&mut core, 3), Verdict::Passes);
    assert_eq!(arrives(&mut core, 3), Verdict::Passes);
}

#[test]
fn old_failures_are_forgotten() {
    let mut core = BreakerCore::default();
    core.failed(TOKEN, None, seconds(0));
    core.failed(TOKEN, None, seconds(30));

    assert!(matches!(arrives(&mut core, 31), Verdict::Slowed { .. }));
    assert_eq!(arrives(&mut core, 60), Verdict::Passes);
    assert_eq!(arrives(&mut core, 60), Verdict::Passes);
}

#[test]
fn a_bound_that_is_turned_off_holds_nobody() {
    let off = Steps { free: None, most: None };
    let off = Thresholds { repeats: off, errors: off, ..bounds() };
    let mut core = BreakerCore::default();
    for _ in 0..100 {
        core.failed(TOKEN, None, seconds(0));
        assert_eq!(core.arrives(TOKEN, &off, seconds(0)), Verdict::Passes);
        assert_eq!(core.sends(TOKEN, request(ONE, seconds(0)), &off), Verdict::Passes);
    }

    assert_eq!(core.slowed(&off, seconds(0)), []);
}

#[test]
fn those_that_are_slowed_are_shown_with_the_reason_until_it_is_over() {
    let mut core = BreakerCore::default();
    for (digest, at) in [(OTHER, 0), (OTHER, 1), (OTHER, 2), (ONE, 10), (ONE, 11), (ONE, 12)] {
        sends(&mut core, 1, digest, at);
    }
    let failed = request(ONE, seconds(4)).id;
    core.failed(2, Some(failed), seconds(4));
    core.failed(2, None, seconds(5));
    core.failed(3, None, seconds(5));

    let shown = |core: &mut BreakerCore, at| core.slowed(&bounds(), seconds(at));

    let example = |at| Some(request(ONE, seconds(at)).id);
    let first =
        SlowedSince { sender: 1.into(), way: Runaway::Repeats, since: seconds(2), count: 3, example: example(2) };
    let second =
        SlowedSince { sender: 2.into(), way: Runaway::Errors, since: seconds(5), count: 2, example: Some(failed) };
    assert_eq!(shown(&mut core, 13), [first, second]);
    assert_eq!(core.example(1, Runaway::Repeats), example(12));
    assert_eq!(core.example(2, Runaway::Errors), Some(failed), "the last one that reached a model");
    core.answered(2);
    assert_eq!(core.example(2, Runaway::Errors), None);
    assert_eq!(shown(&mut core, 64), [SlowedSince { since: seconds(12), example: example(12), ..first }]);
    assert_eq!(shown(&mut core, 70), []);
}

#[test]
fn a_token_that_begins_anew_has_done_nothing() {
    let mut core = BreakerCore::default();
    for _ in 0..3 {
        sends(&mut core, TOKEN, ONE, 0);
    }

    core.begins_anew(TOKEN);

    assert_eq!(sends(&mut core, TOKEN, ONE, 0), Verdict::Passes);
}

#[test]
fn what_is_kept_is_bounded_and_forgotten_when_it_is_over() {
    let mut core = BreakerCore::default();
    for number in 0..5000 {
        sends(&mut core, number % 3, Digest(number as u64), 0);
        core.failed(number % 3, None, seconds(0));
    }
    assert!(core.senders.values().all(|seen| seen.sent.len() == KEPT_MAX && seen.errors.len() == KEPT_MAX));

    arrives(&mut core, 60);

    assert!(core.senders.is_empty());
}

proptest! {
    /// Whatever a token sends, no window holds more equal requests than may pass, and those beyond the free ones keep the pace.
    #[test]
    fn no_window_holds_more_than_may_pass(steps in prop::collection::vec((0..3u64, 0..8000u64), 1..300)) {
        let mut core = BreakerCore::default();
        let mut passed: HashMap<u64, Vec<Duration>> = HashMap::new();
        let mut now = Duration::ZERO;
        for (digest, millis) in steps {
            now += Duration::from_millis(millis);
            let before = passed.entry(digest).or_default();
            let within = before.iter().filter(|at| now - **at < seconds(60)).count();
            let since = before.last().map(|last| now - *last);
            let expected = match within {
                0..3 => Verdict::Passes,
                3..5 if since.unwrap() >= seconds(10) => Verdict::Passes,
                3..5 => Verdict::Slowed { retry_after: seconds(10) - since.unwrap(), count: within },
                _ => Verdict::RanAway { count: within },
            };
            let verdict = core.sends(TOKEN, request(Digest(digest), now), &bounds());
            prop_assert_eq!(verdict, expected);
            if verdict == Verdict::Passes {
                before.push(now);
            }
        }
    }
}

#[test]
fn a_person_behind_a_delegating_token_is_slowed_alone_and_never_pauses_it() {
    let mut core = BreakerCore::default();
    let behind = |person| WatchedSender { token: TOKEN, person: Some(person) };
    let (ann, bob) = (behind(1), behind(2));
    let mut sends = |who: WatchedSender, at: u64| core.sends(who, request(ONE, seconds(at)), &bounds());

    for at in [0, 1, 2] {
        assert_eq!(sends(ann, at), Verdict::Passes);
    }
    assert_eq!(sends(ann, 3), slowed(9, 3));
    assert_eq!((sends(ann, 12), sends(ann, 22)), (Verdict::Passes, Verdict::Passes));
    // As many as pass at all: the next one waits until the first has left the window.
    assert_eq!(sends(ann, 32), slowed(28, 5));
    assert_eq!(sends(bob, 32), Verdict::Passes);
    assert_eq!(sends(ann, 60), Verdict::Passes);

    for at in [0, 1, 2, 3] {
        core.failed(ann, None, seconds(at));
    }
    assert_eq!(core.arrives(ann, &bounds(), seconds(10)), slowed(50, 4));
    assert_eq!(core.arrives(bob, &bounds(), seconds(10)), Verdict::Passes);
}
