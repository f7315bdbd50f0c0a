//! Checks the numbers that an upstream reports. They are charged to users and steer the queue, so each is capped at what is
//! possible.

use std::time::Duration;

use crate::model::chat::{End, Finish, Timings};
use crate::provider::Call;

/// Model tokens that a chat template may add to a prompt, and that one image may take: many times the known figures.
const TEMPLATE_TOKENS_MAX: u64 = 16_384;
const IMAGE_TOKENS_MAX: u64 = 16_384;

/// Model tokens by which an upstream may exceed the limit that it was sent.
const OVERSHOOT_TOKENS_MAX: u64 = 64;

/// The bounds for one answer's numbers.
pub struct Plausible {
    prompt_max: u64,
    /// The gateway's own estimate, used when the upstream's count is impossible.
    prompt_guess: u64,
    answer_max: u64,
}

impl Plausible {
    pub fn of(call: &Call, prompt_guess: u64, answer_tokens_max: u64) -> Self {
        // A token has at least one byte.
        let prompt_max = call.body.len() as u64 + TEMPLATE_TOKENS_MAX + IMAGE_TOKENS_MAX * call.images.len() as u64;
        Plausible { prompt_max, prompt_guess, answer_max: answer_tokens_max.saturating_add(OVERSHOOT_TOKENS_MAX) }
    }

    /// Cuts durations to the time that the request had its slot, and replaces impossible counts by the gateway's own: `pieces`
    /// deltas came, about a token each. Returns a note for each number that was changed.
    pub fn hold(&self, end: &mut End, pieces: u64, on_slot: Duration) -> Vec<String> {
        let mut notes = Vec::new();
        let slot_ns = u64::try_from(on_slot.as_nanos()).unwrap_or(u64::MAX);
        if let Finish::StopSequence(_) = end.finish {
            // Its upstream was cut off and reports nothing.
            end.usage.prompt_tokens = self.prompt_guess;
            end.timings = Timings { total_ns: slot_ns, answer_ns: slot_ns, ..Timings::default() };
            notes.push(
                "ended at a stop sequence: the prompt's tokens are estimated, those of the answer are its pieces"
                    .into(),
            );
        }
        let usage = &mut end.usage;
        if usage.prompt_tokens > self.prompt_max {
            notes.push(note("prompt tokens", usage.prompt_tokens, self.prompt_guess));
            usage.prompt_tokens = self.prompt_guess;
        }
        if usage.answer_tokens > self.answer_max.max(pieces) {
            notes.push(note("answer tokens", usage.answer_tokens, pieces));
            usage.answer_tokens = pieces;
        }
        let worked = end.timings.worked_ns();
        let Timings { total_ns, load_ns, prompt_ns, answer_ns } = &mut end.timings;
        if worked.max(*total_ns) > slot_ns {
            notes.push(note("microseconds of work", worked.max(*total_ns) / 1000, slot_ns / 1000));
            *total_ns = slot_ns.min(*total_ns);
            // In their order, so that their sum does not exceed the time on the slot.
            let mut left = slot_ns;
            for part in [load_ns, prompt_ns, answer_ns] {
                *part = left.min(*part);
                left -= *part;
            }
        }
        notes
    }
}

fn note(what: &str, told: u64, taken: u64) -> String {
    format!("the upstream told {told} {what}, which can't be; {taken} was taken")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::chat::Usage;
    use crate::provider::Reading;

    fn plausible() -> Plausible {
        let call = Call::post("/api/chat", Bytes::from_static(b"0123456789"), Reading::plain_chat(), "messages");
        Plausible::of(&call, 3, 100)
    }

    fn end(prompt_tokens: u64, answer_tokens: u64, timings: [u64; 4]) -> End {
        let [total_ns, load_ns, prompt_ns, answer_ns] = timings;
        let timings = Timings { total_ns, load_ns, prompt_ns, answer_ns };
        End { finish: Finish::Stop, usage: Usage { prompt_tokens, answer_tokens }, timings }
    }

    const SLOT: Duration = Duration::from_nanos(1000);

    #[test]
    fn numbers_up_to_what_can_be_are_believed() {
        let most = end(10 + TEMPLATE_TOKENS_MAX, 100 + OVERSHOOT_TOKENS_MAX, [1000, 200, 300, 500]);
        let mut held = most.clone();

        assert_eq!(plausible().hold(&mut held, 5, SLOT), [""; 0]);
        assert_eq!((held.usage, held.timings), (most.usage, most.timings));
    }

    #[test]
    fn counts_beyond_it_are_replaced_by_the_gateways_own() {
        let mut held = end(11 + TEMPLATE_TOKENS_MAX, 101 + OVERSHOOT_TOKENS_MAX, [0; 4]);

        let notes = plausible().hold(&mut held, 5, SLOT);

        assert_eq!((held.usage.prompt_tokens, held.usage.answer_tokens, notes.len()), (3, 5, 2));
        assert_eq!(notes[1], "the upstream told 165 answer tokens, which can't be; 5 was taken");
    }

    #[test]
    fn an_answer_that_ended_at_a_stop_sequence_is_estimated() {
        let mut held = End { finish: Finish::StopSequence(1), ..end(0, 7, [0; 4]) };

        let notes = plausible().hold(&mut held, 5, SLOT);

        assert_eq!((held.usage.prompt_tokens, held.usage.answer_tokens, notes.len()), (3, 7, 1));
        assert_eq!(held.timings.worked_ns(), 1000);
    }

    #[test]
    fn as_many_tokens_as_pieces_came_are_believed_whatever_the_limit() {
        let mut held = end(1, 500, [0; 4]);

        assert_eq!(plausible().hold(&mut held, 500, SLOT), [""; 0]);
        assert_eq!(held.usage.answer_tokens, 500);
    }

    #[test]
    fn durations_are_cut_to_the_time_on_the_slot() {
        for timings in [[1001, 0, 0, 0], [0, 200, 300, 501], [u64::MAX; 4], [0, u64::MAX, u64::MAX, u64::MAX]] {
            let mut held = end(1, 1, timings);

            let notes = plausible().hold(&mut held, 1, SLOT);

            let Timings { total_ns, load_ns, prompt_ns, answer_ns } = held.timings;
            assert_eq!(notes.len(), 1, "{timings:?}");
            assert!(total_ns <= 1000 && load_ns + prompt_ns + answer_ns <= 1000, "{timings:?}");
        }
    }
}
