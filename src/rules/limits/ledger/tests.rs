use proptest::prelude::*;

use super::*;

const NOON: &str = "2026-01-15T12:00:00Z";

/// A ledger, and clocks that a test sets.
struct Stage {
    ledger: Ledger,
    start: Now,
}

impl Stage {
    fn new() -> Stage {
        let wall = Timestamp::parse(NOON).unwrap();
        Stage { ledger: Ledger::new(Zone::named("UTC").unwrap(), wall), start: Now { at: Instant::now(), wall } }
    }

    /// Returns the moment so many milliseconds after noon.
    fn after(&self, ms: u64) -> Now {
        let time = Duration::from_millis(ms);
        Now { at: self.start.at + time, wall: self.start.wall.plus(time) }
    }

    /// Returns what remains in the window, or after how many seconds to retry.
    fn admit(&mut self, ms: u64, asking: &ChargedTo, total: u32) -> Result<u64, u64> {
        let now = self.after(ms);
        match self.ledger.admit(asking, total, now) {
            Ok(standing) => Ok(standing.remaining),
            Err(denial) => Err(retry_after_seconds(denial.error.retry_after().unwrap())),
        }
    }

    fn count(&mut self, ms: u64, user: i64, limit: u32, total: u32) -> Result<u64, u64> {
        self.admit(ms, &minute(user, limit, None), total)
    }

    /// Admits a request that ends at once with this usage.
    fn pass(&mut self, ms: u64, asking: &ChargedTo, spent: Spent) {
        self.admit(ms, asking, 1000).unwrap();
        let now = self.after(ms);
        self.ledger.settle(asking, None, Some(spent), now);
    }

    /// Counts a request and reserves its cost; returns the reservation, or the code of the refusal.
    fn enter(&mut self, ms: u64, asking: &ChargedTo, cost: Cost) -> Result<Held, Error> {
        let now = self.after(ms);
        self.ledger.admit(asking, 1000, now).map_err(|denial| denial.error)?;
        let held = self.ledger.hold(asking, cost, now);
        if held.is_err() {
            self.ledger.settle(asking, None, None, now);
        }
        held
    }

    /// Counts the other answers of a counted request; returns what remains, or the kind of refusal.
    fn more(&mut self, ms: u64, asking: &ChargedTo, count: u32) -> Result<u64, (&'static str, u64)> {
        let now = self.after(ms);
        match self.ledger.admit_more(asking, count, 1000, now) {
            Ok(standing) => Ok(standing.remaining),
            Err(denial) => Err((denial.error.code(), denial.standing.remaining)),
        }
    }

    fn settle(&mut self, ms: u64, asking: &ChargedTo, held: Held, spent: Spent) {
        let now = self.after(ms);
        self.ledger.settle(asking, Some(held), Some(spent), now);
    }

    fn account(&mut self, ms: u64, asking: &ChargedTo) -> QuotaAccount {
        let now = self.after(ms);
        self.ledger.user_account(asking.user, &asking.of_user, now)
    }
}

const GENEROUS: CurrentLimits = CurrentLimits { requests_per_minute: Some(1000), quotas: NONE };
const NONE: Quotas = Quotas {
    tokens_per_minute: None,
    requests_per_day: None,
    tokens_per_day: None,
    gpu_seconds_per_day: None,
    answer_tokens_max: None,
    context_tokens_max: None,
};

fn minute(user: i64, limit: u32, token: Option<(i64, u32)>) -> ChargedTo {
    let allowed = |limit| CurrentLimits { requests_per_minute: Some(limit), quotas: NONE };
    ChargedTo {
        user,
        of_user: allowed(limit),
        token: token.map(|(id, limit)| (id, allowed(limit))),
        is_background: false,
    }
}

fn person(quotas: Quotas) -> ChargedTo {
    ChargedTo { user: 1, of_user: CurrentLimits { quotas, ..GENEROUS }, token: None, is_background: false }
}

fn with_token(quotas: Quotas) -> ChargedTo {
    let of_token = CurrentLimits { requests_per_minute: None, quotas };
    ChargedTo { user: 1, of_user: GENEROUS, token: Some((7, of_token)), is_background: false }
}

fn tokens(prompt: u64, answer: u64) -> Cost {
    Cost { prompt, answer, gpu: Duration::ZERO }
}

fn spent(prompt: u64, answer: u64) -> Spent {
    Spent { prompt_tokens: Some(prompt), answer_tokens: answer, gpu: Duration::ZERO }
}

fn worked(seconds: u64) -> Spent {
    Spent { gpu: Duration::from_secs(seconds), ..Spent::default() }
}

fn codes<T>(result: Result<T, Error>) -> Option<&'static str> {
    result.err().map(|error| error.code())
}

#[test]
fn exactly_the_limit_passes_in_any_minute() {
    let mut stage = Stage::new();
    for sent in 0..10 {
        assert_eq!(stage.count(sent * 100, 1, 10, 200), Ok(9 - sent));
    }

    assert_eq!(stage.count(1000, 1, 10, 200), Err(59));
    assert_eq!(stage.count(59_999, 1, 10, 200), Err(1));
    assert_eq!(stage.count(60_000, 1, 10, 200), Ok(0));
    assert_eq!(stage.count(60_099, 1, 10, 200), Err(1));
    assert_eq!(stage.count(60_100, 1, 10, 200), Ok(0));
}

#[test]
fn one_person_does_not_use_up_anothers_window() {
    let mut stage = Stage::new();

    assert!(stage.count(0, 1, 1, 200).is_ok());
    assert!(stage.count(0, 1, 1, 200).is_err());
    assert!(stage.count(0, 2, 1, 200).is_ok());
}

#[test]
fn everybody_together_has_a_limit_too_and_a_denial_is_not_counted() {
    let mut stage = Stage::new();
    assert!(stage.count(0, 1, 10, 2).is_ok());
    assert!(stage.count(0, 2, 10, 2).is_ok());

    assert_eq!(stage.count(0, 3, 10, 2), Err(60));
    assert_eq!(stage.count(60_000, 3, 1, 2), Ok(0));
}

#[test]
fn a_changed_limit_is_felt_on_the_next_request_with_the_history_kept() {
    let mut stage = Stage::new();
    for sent in 0..5 {
        assert!(stage.count(sent * 1000, 1, 5, 200).is_ok());
    }

    assert!(stage.count(5000, 1, 6, 200).is_ok());
    assert_eq!(stage.count(6000, 1, 2, 200), Err(58));
}

#[test]
fn a_token_with_a_limit_passes_its_own_window_and_its_owners() {
    let mut stage = Stage::new();
    let mut ask = |ms: u64, token: Option<(i64, u32)>| stage.admit(ms, &minute(1, 3, token), 200);

    assert_eq!(ask(0, Some((7, 1))), Ok(0));
    assert_eq!(ask(1000, Some((7, 1))), Err(59), "its own is used up");
    assert_eq!(ask(2000, Some((8, 5))), Ok(1), "another token's is not");
    assert_eq!(ask(3000, None), Ok(0));
    assert_eq!(ask(4000, Some((8, 5))), Err(56), "the owner's is used up by all together");
    assert_eq!(ask(60_000, Some((7, 1))), Ok(0));
}

#[test]
fn background_tasks_have_a_minute_of_their_own_but_share_the_tokens_and_that_of_all() {
    let mut stage = Stage::new();
    let (person, task) = (minute(1, 2, Some((7, 5))), ChargedTo { is_background: true, ..minute(1, 3, Some((7, 5))) });

    assert_eq!((stage.admit(0, &task, 6), stage.more(0, &task, 2)), (Ok(2), Ok(0)));
    assert_eq!(stage.admit(1000, &task, 6), Err(59));
    assert_eq!((stage.admit(1000, &person, 6), stage.admit(1000, &person, 6)), (Ok(1), Ok(0)));
    assert_eq!(stage.admit(1000, &person, 6), Err(60));
    // The token has let five pass, and all together may send one more.
    assert_eq!(stage.admit(1000, &minute(2, 9, Some((7, 5))), 6), Err(59));
    assert_eq!((stage.count(1000, 2, 9, 6), stage.count(1000, 2, 9, 6)), (Ok(8), Err(59)));

    // What is taken back is taken from the window in which it was counted.
    assert_eq!(stage.admit(60_000, &task, 9), Ok(2));
    assert_eq!(stage.more(60_000, &task, 3), Err(("rate_limit_exceeded", 3)));
    assert_eq!(stage.admit(60_000, &task, 9), Ok(2));
    assert_eq!(stage.admit(60_000, &person, 9), Err(1));
}

#[test]
fn people_who_went_quiet_are_forgotten_unless_their_day_is_counted() {
    let mut stage = Stage::new();
    let asking = minute(1, 10, None);
    stage.admit(0, &asking, 200).unwrap();
    let now = stage.after(0);
    stage.ledger.settle(&asking, None, None, now);
    stage.pass(0, &minute(3, 10, None), spent(1, 1));

    stage.count(60_000, 2, 10, 200).unwrap();

    let mut known: Vec<i64> = stage.ledger.users.keys().copied().collect();
    known.sort_unstable();
    assert_eq!(known, [2, 3]);
}

#[test]
fn so_many_requests_pass_in_a_day_and_the_next_day_has_as_many() {
    let mut stage = Stage::new();
    let asking = person(Quotas { requests_per_day: Some(2), ..NONE });
    stage.pass(0, &asking, spent(1, 1));
    stage.pass(0, &asking, spent(1, 1));

    let midnight = 12 * 3600 * 1000;
    assert_eq!(codes(stage.enter(midnight - 1, &asking, tokens(1, 1))), Some("insufficient_quota"));
    assert_eq!(stage.admit(midnight - 1500, &asking, 200), Err(2), "until midnight");
    assert!(stage.admit(midnight, &asking, 200).is_ok());
}

#[test]
fn a_request_that_came_to_nothing_is_not_counted_for_the_day() {
    let mut stage = Stage::new();
    let asking = person(Quotas { requests_per_day: Some(1), ..NONE });
    stage.admit(0, &asking, 200).unwrap();
    assert!(stage.admit(0, &asking, 200).is_err(), "one runs");

    let now = stage.after(0);
    stage.ledger.settle(&asking, None, None, now);

    assert!(stage.admit(0, &asking, 200).is_ok());
}

#[test]
fn a_denial_for_the_day_does_not_enter_the_minute() {
    let mut stage = Stage::new();
    let one = person(Quotas { requests_per_day: Some(1), ..NONE });
    stage.pass(0, &one, spent(1, 1));

    assert!(stage.admit(0, &one, 200).is_err());

    assert_eq!(stage.admit(0, &person(NONE), 200), Ok(998));
}

#[test]
fn tokens_of_a_day_are_held_for_who_runs_and_given_back_when_not_used() {
    let mut stage = Stage::new();
    let asking = person(Quotas { tokens_per_day: Some(100), ..NONE });

    let held = stage.enter(0, &asking, tokens(10, 60)).unwrap();
    assert_eq!(held.cost.answer, 60);
    let account = stage.account(0, &asking).tokens_per_day;
    assert_eq!((account.used, account.reserved, account.left()), (0, 70, Some(30)));
    stage.settle(0, &asking, held, spent(12, 3));

    let account = stage.account(0, &asking).tokens_per_day;
    assert_eq!((account.used, account.reserved, account.left()), (15, 0, Some(85)));
}

#[test]
fn an_answer_is_cut_to_what_is_left_of_the_day_and_the_last_token_can_be_had() {
    let mut stage = Stage::new();
    let asking = person(Quotas { tokens_per_day: Some(100), ..NONE });
    stage.pass(0, &asking, spent(60, 20));

    assert_eq!(stage.enter(0, &asking, tokens(20, 50)).unwrap_err().code(), "insufficient_quota", "no room for one");
    let last = stage.enter(0, &asking, tokens(19, 50)).unwrap();

    assert_eq!(last.cost, tokens(19, 1));
    stage.settle(0, &asking, last, spent(19, 1));
    assert!(stage.admit(0, &asking, 1000).is_err(), "nothing is left");
}

#[test]
fn what_requests_that_run_hold_may_come_back_so_the_day_is_not_over() {
    let mut stage = Stage::new();
    let asking = person(Quotas { tokens_per_day: Some(100), ..NONE });
    let first = stage.enter(0, &asking, tokens(10, 90)).unwrap();

    let second = stage.enter(0, &asking, tokens(10, 90)).unwrap_err();
    assert_eq!((second.code(), second.retry_after()), ("rate_limit_exceeded", Some(HELD_RETRY)));

    stage.settle(0, &asking, first, spent(10, 5));
    assert_eq!(stage.enter(0, &asking, tokens(10, 90)).unwrap().cost.answer, 75);
}

#[test]
fn texts_that_become_numbers_need_no_room_for_an_answer() {
    let mut stage = Stage::new();
    let asking = person(Quotas { tokens_per_day: Some(10), ..NONE });

    assert_eq!(codes(stage.enter(0, &asking, tokens(11, 0))), Some("insufficient_quota"));
    assert_eq!(stage.enter(0, &asking, tokens(10, 0)).unwrap().cost, tokens(10, 0));
}

#[test]
fn gpu_time_of_a_day_ends_with_the_request_that_used_it_up() {
    let mut stage = Stage::new();
    let asking = person(Quotas { gpu_seconds_per_day: Some(10), ..NONE });
    stage.pass(0, &asking, worked(9));

    let held = stage.enter(0, &asking, Cost { gpu: Duration::from_secs(3), ..tokens(1, 1) }).unwrap();
    assert_eq!(codes(stage.enter(0, &asking, tokens(1, 1))), Some("rate_limit_exceeded"), "the rest is held");
    stage.settle(0, &asking, held, worked(1));

    assert_eq!(codes(stage.enter(0, &asking, tokens(1, 1))), Some("insufficient_quota"));
    let account = stage.account(0, &asking).gpu_seconds_per_day;
    assert_eq!((account.used, account.left()), (10, Some(0)));
}

#[test]
fn tokens_per_minute_pass_as_fast_as_they_drain_and_what_was_not_used_comes_back() {
    let mut stage = Stage::new();
    let asking = person(Quotas { tokens_per_minute: Some(600), ..NONE });

    let held = stage.enter(0, &asking, tokens(100, 500)).unwrap();
    let refused = stage.enter(0, &asking, tokens(5, 5)).unwrap_err();
    assert_eq!((refused.code(), refused.retry_after()), ("rate_limit_exceeded", Some(Duration::from_secs(1))));
    assert!(stage.enter(1000, &asking, tokens(5, 5)).is_ok(), "ten drain in a second");

    stage.settle(1000, &asking, held, spent(100, 20));
    let standing = stage.ledger.tokens(&asking, stage.after(1000)).unwrap();
    assert_eq!((standing.limit, standing.remaining), (600, 480));
}

#[test]
fn a_refused_request_holds_nothing() {
    let mut stage = Stage::new();
    let asking = person(Quotas { tokens_per_minute: Some(100), tokens_per_day: Some(1000), ..NONE });
    stage.enter(0, &asking, tokens(50, 50)).unwrap();

    assert!(stage.enter(0, &asking, tokens(10, 10)).is_err());

    let account = stage.account(0, &asking);
    assert_eq!((account.tokens_per_day.reserved, account.requests_per_day.reserved), (100, 1));
}

#[test]
fn a_token_has_quotas_of_its_own_and_its_owner_is_charged_too() {
    let mut stage = Stage::new();
    let asking = with_token(Quotas { tokens_per_day: Some(50), ..NONE });
    let held = stage.enter(0, &asking, tokens(10, 90)).unwrap();
    assert_eq!(held.cost.answer, 40);
    stage.settle(0, &asking, held, spent(10, 40));

    let refused = stage.enter(0, &asking, tokens(1, 1)).unwrap_err();

    assert!(refused.to_string().starts_with("this token's 50 tokens per day"), "{refused}");
    assert_eq!(stage.account(0, &asking).tokens_per_day.used, 50);
    assert!(stage.enter(0, &person(NONE), tokens(1, 1)).is_ok(), "its owner may go on");
}

#[test]
fn a_quota_that_is_set_at_noon_counts_the_morning() {
    let mut stage = Stage::new();
    stage.pass(0, &person(NONE), spent(30, 40));

    let asking = person(Quotas { tokens_per_day: Some(100), requests_per_day: Some(5), ..NONE });

    let account = stage.account(0, &asking);
    assert_eq!((account.tokens_per_day.left(), account.requests_per_day.left()), (Some(30), Some(4)));
}

#[test]
fn a_request_that_runs_over_midnight_is_charged_to_the_day_on_which_it_ends() {
    let mut stage = Stage::new();
    let asking = person(Quotas { tokens_per_day: Some(100), ..NONE });
    let midnight = 12 * 3600 * 1000;
    let held = stage.enter(midnight - 1, &asking, tokens(10, 50)).unwrap();

    let account = stage.account(midnight, &asking);
    assert_eq!((account.tokens_per_day.reserved, account.requests_per_day.reserved), (60, 1));
    stage.settle(midnight, &asking, held, spent(10, 20));

    let account = stage.account(midnight, &asking);
    assert_eq!((account.tokens_per_day.used, account.requests_per_day.used), (30, 1));
    assert_eq!(account.tokens_per_day.resets_in, Duration::from_secs(24 * 3600));
}

#[test]
fn an_answer_that_was_cut_off_is_charged_what_came_of_it() {
    let guessed = 25;
    let cut = |answer_tokens| Spent { prompt_tokens: None, answer_tokens, gpu: Duration::from_secs(2) };

    assert_eq!(used(&cut(3), guessed), Amounts { requests: 1, tokens: 28, gpu_us: 2_000_000 });
    assert_eq!(used(&cut(0), guessed).tokens, 0, "the prompt was not read");
    assert_eq!(used(&spent(10, 3), guessed).tokens, 13);
}

#[derive(Debug, Clone)]
enum Step {
    Enter {
        prompt: u64,
        answer: u64,
        by_token: bool,
    },
    /// The oldest running request ends, having used this part of its reservation.
    End {
        percent: u64,
    },
    Drop,
    Wait {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u64..40, 0u64..80, any::<bool>()).prop_map(|(prompt, answer, by_token)| Step::Enter { prompt, answer, by_token }),
        2 => (0u64..=100).prop_map(|percent| Step::End { percent }),
        1 => Just(Step::Drop),
        1 => (0u64..90_000).prop_map(|ms| Step::Wait { ms }),
    ]
}

proptest! {
    /// Whatever starts and ends: no daily quota is exceeded, and without running requests nothing is reserved.
    #[test]
    fn no_day_is_exceeded_and_all_that_was_held_comes_back(steps in prop::collection::vec(step(), 1..80)) {
        let mut stage = Stage::new();
        let quotas = Quotas { tokens_per_day: Some(500), requests_per_day: Some(30), tokens_per_minute: Some(300), ..NONE };
        let mut running: std::collections::VecDeque<(ChargedTo, Held)> = Default::default();
        let mut ms = 0;
        for step in steps {
            match step {
                Step::Wait { ms: more } => ms += more,
                Step::Enter { prompt, answer, by_token } => {
                    let mut asking = person(quotas);
                    if by_token {
                        asking.token = Some((7, CurrentLimits { requests_per_minute: None, quotas: Quotas { tokens_per_day: Some(200), ..NONE } }));
                    }
                    if let Ok(held) = stage.enter(ms, &asking, tokens(prompt, answer)) {
                        prop_assert!(held.cost.answer <= answer && held.cost.answer >= answer.min(1));
                        running.push_back((asking, held));
                    }
                }
                Step::End { percent } => if let Some((asking, held)) = running.pop_front() {
                    stage.settle(ms, &asking, held, spent(held.cost.prompt, held.cost.answer * percent / 100));
                },
                Step::Drop => if let Some((asking, held)) = running.pop_back() {
                    let now = stage.after(ms);
                    stage.ledger.settle(&asking, Some(held), None, now);
                },
            }
            for (book, tokens_max) in [(stage.ledger.users.get(&1), 500), (stage.ledger.tokens.get(&7), 200)] {
                let Some(Tally { used, held }) = book.map(|book| book.today) else { continue };
                prop_assert!(used.tokens + held.tokens <= tokens_max && used.requests + held.requests <= 30);
            }
        }
        while let Some((asking, held)) = running.pop_front() {
            stage.settle(ms, &asking, held, spent(0, 0));
        }
        for book in stage.ledger.users.values().chain(stage.ledger.tokens.values()) {
            prop_assert_eq!(book.today.held, Amounts::default());
        }
    }
}

#[test]
fn several_answers_pass_together_or_not_at_all_and_then_the_request_itself_does_not_count() {
    let mut stage = Stage::new();
    let asking = minute(1, 5, None);

    assert_eq!(stage.admit(0, &asking, 1000), Ok(4));
    assert_eq!(stage.more(0, &asking, 2), Ok(2));
    assert_eq!(stage.admit(1000, &asking, 1000), Ok(1));
    assert_eq!(stage.more(1000, &asking, 2), Err(("rate_limit_exceeded", 2)));
    assert_eq!(stage.admit(2000, &asking, 1000), Ok(1));
    assert_eq!(stage.more(2000, &asking, 1), Ok(0));
    // The first three leave the window together.
    assert_eq!(stage.admit(60_000, &asking, 1000), Ok(2));
    assert_eq!(stage.more(60_000, &asking, 3), Err(("rate_limit_exceeded", 3)));
}

#[test]
fn several_answers_are_held_against_the_requests_of_the_day() {
    let mut stage = Stage::new();
    let quotas = Quotas { requests_per_day: Some(4), ..Quotas::default() };
    let asking = ChargedTo {
        user: 1,
        of_user: CurrentLimits { requests_per_minute: Some(100), quotas },
        token: None,
        is_background: false,
    };

    assert_eq!(asking.requests_at_once_max(1000), 4);
    assert_eq!(asking.requests_at_once_max(3), 3);
    stage.admit(0, &asking, 1000).unwrap();
    assert_eq!(stage.more(0, &asking, 4).map_err(|(code, _)| code), Err("insufficient_quota"));
    stage.ledger.settle(&asking, None, None, stage.start);
    stage.admit(0, &asking, 1000).unwrap();
    assert_eq!(stage.more(0, &asking, 3).map_err(|(code, _)| code), Ok(96));
}
