//! `[models]`: how models may be changed by way of the gateway.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::values::{number, seconds};

#[derive(Debug, Clone)]
pub struct ModelsSection {
    /// For each upstream.
    pub changes_max: usize,
    pub change_idle: Duration,
    pub change_time_max: Duration,
    pub file_bytes_max: u64,
}

impl ModelsSection {
    pub fn read(reader: &mut Reader) -> Self {
        ModelsSection {
            changes_max: reader.key(
                "models.changes_max",
                "4",
                "Changes of models (pull, push, create, copy, delete, uploads) that run at once on one model server; further \
                 ones get a 503.",
                number(1, 64),
            ) as usize,
            change_idle: reader.key(
                "models.change_idle_seconds_max",
                "600",
                "How long a change of models may go on without progress. The check of a large file that was pulled shows none.",
                seconds(1, 86_400),
            ),
            change_time_max: reader.key(
                "models.change_seconds_max",
                "43200",
                "The longest time that one change of models may take, such as the pull of a large one.",
                seconds(1, 604_800),
            ),
            file_bytes_max: reader.key(
                "models.file_bytes_max",
                "137438953472",
                "The largest file that may be uploaded for a model, in bytes. It is passed on as it arrives and not held in memory.",
                number(1, 1 << 50),
            ),
        }
    }
}
