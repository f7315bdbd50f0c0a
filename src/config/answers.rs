//! `[answers]`: what is not a setting.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::values::{number, seconds};

#[derive(Debug, Clone)]
pub struct Answers {
    pub time_max: Duration,
    pub bytes_max: usize,
    pub head_start: Duration,
    pub heartbeat: Duration,
    pub count_wait: Duration,
}

impl Answers {
    pub fn read(reader: &mut Reader) -> Self {
        Answers {
            time_max: reader.key(
                "answers.answer_seconds_max",
                "900",
                "The longest time that one answer may run at an upstream.",
                seconds(1, 86_400),
            ),
            bytes_max: reader.key(
                "answers.answer_bytes_max",
                "16777216",
                "The largest answer, in bytes; it is held in memory until its record is on disk.",
                number(1024, 1 << 30),
            ) as usize,
            head_start: reader.key(
                "answers.head_start_seconds_max",
                "10",
                "How long a stream waits for its first event, so that an error can still have its own status code.",
                seconds(0, 600),
            ),
            heartbeat: reader.key(
                "answers.heartbeat_seconds",
                "15",
                "The pause between signs of life on a silent stream, where the client's protocol has one.",
                seconds(1, 600),
            ),
            count_wait: reader.key(
                "answers.count_wait_seconds_max",
                "3",
                "How long a request for a number of tokens waits for its turn before it gets an estimate.",
                seconds(0, 600),
            ),
        }
    }
}
