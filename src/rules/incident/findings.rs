//! What was wrong in a window, as findings: pure, from the facts to what can be said and done about them.

use crate::rules::incident::activity::{Activity, TOLD_TO_WAIT};
use crate::rules::incident::facts::WindowFacts;

/// Something that was wrong, or that makes such a time worse. `who` is a place among the senders.
#[derive(Debug, Clone, PartialEq)]
pub enum IncidentFinding {
    /// Requests were sent again at once after a refusal that said how long to wait.
    NoWait { who: usize, refused: u64, in_minute: u64 },
    /// The breaker slowed a token that repeated itself or failed, or paused it.
    RanAway { who: Option<usize>, slowed: u64, paused: Option<PausedWhy>, token_id: i64, owner_id: i64 },
    /// Nearly all prompts of a sender had the same length.
    SamePrompt { who: usize, tokens: i64, same: u64, answered: u64 },
    /// Very many requests of a sender waited or ran at the same time.
    ManyAtOnce { who: usize, outstanding: u64, slots: u64 },
    /// A sender's failures followed each other.
    FailuresInRow { who: usize, count: u64, reason: String },
    /// A sender gave up many requests.
    GaveUp { who: usize, count: u64, ended: u64, median_us: i64 },
    /// A sender asked for models that it can't have.
    WrongModels { who: usize, models: Vec<(String, u64)>, count: u64 },
    /// Credentials that were wrong or missing.
    WrongCredentials { count: u64 },
    /// A sender's requests could not be understood, or were too large.
    BadRequests { who: usize, count: u64, reason: String },
    /// Models were loaded often: several take turns in memory that holds one.
    Reloads { count: u64, load_us: i64, gpu_us: i64, models: Vec<(String, u64)>, senders: Vec<usize> },
    /// Requests waited long.
    LongWaits { median_us: i64, most_us: i64, longest_us: i64, before_us: Option<i64> },
    /// Upstreams failed.
    UpstreamFailed { reason: String, count: u64 },
    /// Requests went to a second upstream.
    SecondAttempts { count: u64 },
    /// The gateway stopped while requests ran.
    Stopped { count: u64 },
    /// Nothing was answered because the record could not be written.
    NotRecorded { count: u64 },
    /// Who stands out has no limit of its own.
    NoOwnLimit { who: usize, owner_limit: Option<i64> },
    /// Who stands out waits in the class of people, not of batches.
    NotBatch { who: usize },
}

/// Why a token was paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PausedWhy {
    pub reason: String,
    pub at_us: i64,
}

/// What is set for a sender now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SenderSettings {
    /// Whether it is an access token of its owner's own, which still exists.
    pub has_token: bool,
    /// Whether the token has any limit of its own.
    pub has_own_limit: bool,
    /// The requests per minute of its owner; `None`: the default holds.
    pub owner_limit: Option<i64>,
    pub is_batch: bool,
}

/// What findings are made of.
pub struct Evidence<'a> {
    pub facts: &'a WindowFacts,
    pub before: Option<&'a WindowFacts>,
    /// Places of those who stand out.
    pub leaders: &'a [usize],
    /// For each sender what is set for it.
    pub settings: &'a [SenderSettings],
    /// Slots of all upstreams together.
    pub slots: u64,
}

/// Findings of one kind, about different senders.
const PER_KIND_MAX: usize = 3;

/// So many refusals in a minute don't come from a client that waits.
const NO_WAIT_IN_MINUTE: u64 = 30;
const FAILURES_IN_ROW: u64 = 5;
const GIVEN_UP_LEAST: u64 = 5;
const BAD_LEAST: u64 = 5;
const SAME_PROMPT_LEAST: u64 = 20;
const LOADS_LEAST: u64 = 4;
const WAIT_LONG_US: i64 = 10_000_000;
/// So many times the slots at once can only wait.
const AT_ONCE_TIMES: u64 = 8;

/// Reasons for which a request is at fault itself.
const BAD_REQUEST: [&str; 6] = [
    "invalid_request",
    "unsupported_parameter",
    "context_length_exceeded",
    "request_too_large",
    "unsupported_encoding",
    "request_quarantined",
];
const UPSTREAM_FAILED: [&str; 4] = ["upstream_unreachable", "upstream_error", "upstream_died", "upstream_timeout"];

/// Makes a finding about one sender, with how much it weighs among those of its kind.
type MadeOf<'a> = &'a dyn Fn(usize, &Activity) -> Option<(u64, IncidentFinding)>;

/// Returns what was wrong, the likeliest causes first.
pub fn findings(evidence: &Evidence<'_>) -> Vec<IncidentFinding> {
    let Evidence { facts, .. } = evidence;
    let mut found = Vec::new();
    let each = |make: MadeOf<'_>| {
        let mut made: Vec<(u64, IncidentFinding)> =
            facts.senders.iter().enumerate().filter_map(|(at, sender)| make(at, &sender.did)).collect();
        made.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        made.into_iter().take(PER_KIND_MAX).map(|(_, finding)| finding).collect::<Vec<_>>()
    };
    found.extend(each(&|who, did| {
        let refused = TOLD_TO_WAIT.iter().map(|reason| did.reasons.of(*reason)).sum();
        let in_minute = did.told_to_wait_in_minute;
        (in_minute >= NO_WAIT_IN_MINUTE).then_some((refused, IncidentFinding::NoWait { who, refused, in_minute }))
    }));
    found.extend(ran_away(facts));
    found.extend(each(&|who, did| {
        let (slots, outstanding) = (evidence.slots.max(1), did.outstanding_max());
        let is_many = outstanding >= slots.saturating_mul(AT_ONCE_TIMES);
        is_many.then_some((outstanding, IncidentFinding::ManyAtOnce { who, outstanding, slots }))
    }));
    found.extend(each(&same_prompt));
    found.extend(each(&|who, did| {
        let (count, reason) = (did.failures_in_row, did.failed_why.clone().unwrap_or_default());
        (count >= FAILURES_IN_ROW).then_some((count, IncidentFinding::FailuresInRow { who, count, reason }))
    }));
    found.extend(each(&|who, did| {
        let (count, ended) = (did.ended.abandoned, did.ended.total());
        let median_us = did.patience.part_us(50)?;
        let is_often = count >= GIVEN_UP_LEAST && count.saturating_mul(5) >= ended;
        is_often.then_some((count, IncidentFinding::GaveUp { who, count, ended, median_us }))
    }));
    found.extend(each(&|who, did| {
        let count = did.wrong_models.total();
        let models = did.wrong_models.most();
        (count >= BAD_LEAST).then_some((count, IncidentFinding::WrongModels { who, models, count }))
    }));
    found.extend(each(&|who, did| {
        let most = BAD_REQUEST.map(|reason| (did.reasons.of(reason), reason)).into_iter().max()?;
        let (count, reason) = (most.0, most.1.to_owned());
        (count >= BAD_LEAST).then_some((count, IncidentFinding::BadRequests { who, count, reason }))
    }));
    let wrong = facts.all.reasons.of("invalid_api_key");
    if wrong >= BAD_LEAST {
        found.push(IncidentFinding::WrongCredentials { count: wrong });
    }
    found.extend(reloads(facts));
    found.extend(long_waits(evidence));
    found.extend(UPSTREAM_FAILED.iter().filter_map(|reason| {
        let count = facts.all.reasons.of(*reason);
        (count > 0).then(|| IncidentFinding::UpstreamFailed { reason: (*reason).to_owned(), count })
    }));
    let all = &facts.all;
    if all.second_attempts > 0 {
        found.push(IncidentFinding::SecondAttempts { count: all.second_attempts });
    }
    if all.ended.interrupted > 0 {
        found.push(IncidentFinding::Stopped { count: all.ended.interrupted });
    }
    let unwritten = all.reasons.of("audit_unavailable");
    if unwritten > 0 {
        found.push(IncidentFinding::NotRecorded { count: unwritten });
    }
    for who in evidence.leaders {
        let Some(set) = evidence.settings.get(*who).filter(|set| set.has_token) else { continue };
        if !set.has_own_limit {
            found.push(IncidentFinding::NoOwnLimit { who: *who, owner_limit: set.owner_limit });
        }
        if !set.is_batch {
            found.push(IncidentFinding::NotBatch { who: *who });
        }
    }
    found
}

/// Tokens that the breaker slowed or paused.
fn ran_away(facts: &WindowFacts) -> Vec<IncidentFinding> {
    let mut found: Vec<IncidentFinding> = Vec::new();
    for pause in facts.pauses.iter().take(PER_KIND_MAX) {
        let who = facts.senders.iter().position(|sender| sender.key.token_id == pause.token_id);
        let slowed = who.map_or(0, |who| facts.senders[who].did.reasons.of("token_slowed"));
        let paused = Some(PausedWhy { reason: pause.reason.clone(), at_us: pause.at_us });
        found.push(IncidentFinding::RanAway {
            who,
            slowed,
            paused,
            token_id: pause.token_id,
            owner_id: pause.owner_id,
        });
    }
    for (who, sender) in facts.senders.iter().enumerate() {
        let slowed = sender.did.reasons.of("token_slowed");
        let is_told = facts.pauses.iter().any(|pause| pause.token_id == sender.key.token_id);
        if slowed > 0 && !is_told && found.len() < PER_KIND_MAX {
            let (token_id, owner_id) = (sender.key.token_id, sender.key.user_id);
            found.push(IncidentFinding::RanAway { who: Some(who), slowed, paused: None, token_id, owner_id });
        }
    }
    found
}

fn same_prompt(who: usize, did: &Activity) -> Option<(u64, IncidentFinding)> {
    let answered = did.prompt_lengths.total();
    let (tokens, same) = did.prompt_lengths.most().into_iter().next()?;
    let is_most = answered >= SAME_PROMPT_LEAST && same.saturating_mul(10) >= answered.saturating_mul(8);
    is_most.then_some((same, IncidentFinding::SamePrompt { who, tokens, same, answered }))
}

fn reloads(facts: &WindowFacts) -> Option<IncidentFinding> {
    let all = &facts.all;
    let count = all.loads.total();
    if count < LOADS_LEAST {
        return None;
    }
    let mut senders: Vec<usize> = (0..facts.senders.len()).collect();
    senders.retain(|at| facts.senders[*at].did.loads.total() > 0);
    senders.sort_by_key(|at| (std::cmp::Reverse(facts.senders[*at].did.loads.total()), *at));
    senders.truncate(PER_KIND_MAX);
    let models = all.loads.most();
    Some(IncidentFinding::Reloads { count, load_us: all.load_us, gpu_us: all.gpu_us, models, senders })
}

fn long_waits(evidence: &Evidence<'_>) -> Option<IncidentFinding> {
    let waits = &evidence.facts.all.waits;
    let (median_us, most_us) = (waits.part_us(50)?, waits.part_us(95)?);
    let before_us = evidence.before.and_then(|before| before.all.waits.part_us(95));
    let longest_us = waits.longest_us;
    (most_us >= WAIT_LONG_US).then_some(IncidentFinding::LongWaits { median_us, most_us, longest_us, before_us })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::rules::incident::window::TimeWindow;
    use crate::store::incidents::{IncidentRow, RowSpan};

    const SECOND: i64 = 1_000_000;

    fn facts(rows: &[IncidentRow]) -> WindowFacts {
        let window = TimeWindow { from: Timestamp(0), to: Timestamp(600 * SECOND) };
        let span = RowSpan { after: 0, last: 1_000_000, newest: 1_000_000, oldest_at: None, erased_to: 0 };
        let mut facts = WindowFacts::new(window, window.from, span);
        rows.iter().for_each(|row| facts.saw(row));
        facts
    }

    fn found(rows: &[IncidentRow]) -> Vec<IncidentFinding> {
        let facts = facts(rows);
        findings(&Evidence { facts: &facts, before: None, leaders: &[], settings: &[], slots: 1 })
    }

    fn refusals(reason: &str, number: i64) -> IncidentRow {
        IncidentRow {
            log_id: 1,
            kind: "refusal".into(),
            at_us: SECOND,
            user_id: Some(1),
            token_id: Some(7),
            model_asked: Some("lama".into()),
            reason: Some(reason.into()),
            repeat: Some(number),
            ..IncidentRow::default()
        }
    }

    /// A request and its result.
    fn request(number: i64, change: impl Fn(&mut IncidentRow)) -> [IncidentRow; 2] {
        let intent = IncidentRow {
            log_id: number * 2 + 1,
            kind: "intent".into(),
            // Late enough to have begun in the window.
            at_us: (number + 10) * SECOND,
            user_id: Some(1),
            model_asked: Some("fake".into()),
            ..IncidentRow::default()
        };
        let mut result = IncidentRow {
            log_id: number * 2 + 2,
            kind: "result".into(),
            intent_id: Some(intent.log_id),
            outcome: Some("completed".into()),
            queued_us: Some(0),
            total_us: Some(SECOND),
            gpu_us: Some(SECOND),
            prompt_tokens: Some(number),
            ..intent.clone()
        };
        change(&mut result);
        [intent, result]
    }

    fn requests(number: i64, change: impl Fn(&mut IncidentRow) + Copy) -> Vec<IncidentRow> {
        (0..number).flat_map(|at| request(at, change)).collect()
    }

    #[test]
    fn each_threshold_has_two_sides() {
        let nothing: [Vec<IncidentRow>; 9] = [
            vec![refusals("rate_limit_exceeded", 29)],
            vec![refusals("permission_denied", 500)],
            vec![refusals("model_not_found", 4)],
            vec![refusals("invalid_api_key", 4)],
            requests(19, |row| row.prompt_tokens = Some(5)),
            requests(4, |row| row.outcome = Some("failed".into())),
            requests(4, |row| row.outcome = Some("abandoned".into())),
            requests(3, |row| row.load_us = Some(SECOND)),
            requests(99, |row| row.queued_us = Some(9_000_000)),
        ];
        for rows in nothing {
            assert_eq!(found(&rows), [], "{:?}", rows[0]);
        }
        let something: [(Vec<IncidentRow>, IncidentFinding); 8] = [
            (vec![refusals("rate_limit_exceeded", 30)], IncidentFinding::NoWait { who: 0, refused: 30, in_minute: 30 }),
            (
                vec![refusals("model_not_found", 5)],
                IncidentFinding::WrongModels { who: 0, models: vec![("lama".into(), 5)], count: 5 },
            ),
            (vec![refusals("invalid_api_key", 5)], IncidentFinding::WrongCredentials { count: 5 }),
            (
                requests(20, |row| row.prompt_tokens = Some(5)),
                IncidentFinding::SamePrompt { who: 0, tokens: 5, same: 20, answered: 20 },
            ),
            (
                requests(5, |row| {
                    row.outcome = Some("failed".into());
                    row.reason = Some("internal_error".into());
                }),
                IncidentFinding::FailuresInRow { who: 0, count: 5, reason: "internal_error".into() },
            ),
            (
                requests(1, |row| {
                    row.outcome = Some("failed".into());
                    row.reason = Some("upstream_died".into());
                }),
                IncidentFinding::UpstreamFailed { reason: "upstream_died".into(), count: 1 },
            ),
            (requests(1, |row| row.attempt = Some(2)), IncidentFinding::SecondAttempts { count: 1 }),
            (
                requests(4, |row| row.load_us = Some(SECOND)),
                IncidentFinding::Reloads {
                    count: 4,
                    load_us: 4 * SECOND,
                    gpu_us: 4 * SECOND,
                    models: vec![("fake".into(), 4)],
                    senders: vec![0],
                },
            ),
        ];
        for (rows, expected) in something {
            let found = found(&rows);
            assert!(found.contains(&expected), "{expected:?} in {found:?}");
        }
    }

    #[test]
    fn a_token_that_was_paused_is_told_once_also_if_it_sent_nothing() {
        let pause = IncidentRow {
            log_id: 9,
            kind: "act".into(),
            act: Some("token_paused".into()),
            at_us: 5 * SECOND,
            token_id: Some(7),
            subject_id: Some(1),
            reason: Some("repeats".into()),
            ..IncidentRow::default()
        };
        let told = |rows: &[IncidentRow]| -> Vec<(Option<usize>, u64, bool)> {
            let ran_away = found(rows).into_iter().filter_map(|finding| match finding {
                IncidentFinding::RanAway { who, slowed, paused, .. } => Some((who, slowed, paused.is_some())),
                _ => None,
            });
            ran_away.collect()
        };

        assert_eq!(told(std::slice::from_ref(&pause)), [(None, 0, true)]);
        assert_eq!(told(&[refusals("token_slowed", 3), pause]), [(Some(0), 3, true)]);
        assert_eq!(told(&[refusals("token_slowed", 3)]), [(Some(0), 3, false)]);
    }

    #[test]
    fn who_stands_out_is_asked_for_a_limit_and_a_class() {
        let facts = facts(&requests(1, |_| {}));
        let of = |settings: SenderSettings| {
            findings(&Evidence { facts: &facts, before: None, leaders: &[0], settings: &[settings], slots: 1 })
        };

        let bare = SenderSettings { has_token: true, ..SenderSettings::default() };
        assert_eq!(
            of(bare),
            [IncidentFinding::NoOwnLimit { who: 0, owner_limit: None }, IncidentFinding::NotBatch { who: 0 }]
        );
        assert_eq!(of(SenderSettings { has_own_limit: true, is_batch: true, ..bare }), []);
        assert_eq!(of(SenderSettings::default()), [], "a person without a token");
    }
}
