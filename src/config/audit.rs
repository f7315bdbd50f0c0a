//! `[audit]`: how the record is written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::values::number;

#[derive(Debug, Clone)]
pub struct AuditSection {
    pub queue_bytes_max: usize,
    pub segment_time: Duration,
    pub segment_bytes: usize,
    /// Time between two checkpoints of the record.
    pub checkpoint_time: Duration,
    /// The file that checkpoints are appended to; `None`: that in the data folder.
    pub checkpoint_file: Option<PathBuf>,
}

/// The file of checkpoints in the data folder.
pub const CHECKPOINTS: &str = "checkpoints.txt";

impl AuditSection {
    pub fn read(reader: &mut Reader) -> Self {
        AuditSection {
            queue_bytes_max: reader.key(
                "audit.queue_bytes_max",
                "67108864",
                "Bytes that may wait for the disk; when they are used up, new requests wait.",
                number(1 << 20, 1 << 32),
            ) as usize,
            segment_time: reader.key(
                "audit.segment_ms",
                "250",
                "A running answer goes to disk at least this often.",
                |value| number(10, 60_000)(value).map(Duration::from_millis),
            ),
            segment_bytes: reader.key(
                "audit.segment_bytes",
                "16384",
                "A running answer also goes to disk whenever this many new bytes have arrived.",
                number(1024, 1 << 20),
            ) as usize,
            checkpoint_time: reader.key(
                "audit.checkpoint_minutes",
                "60",
                "Minutes between two checkpoints: signed notes about the record, which show later that it was not changed.",
                |value| number(1, 24 * 60)(value).map(|minutes| Duration::from_secs(minutes * 60)),
            ),
            checkpoint_file: reader.key(
                "audit.checkpoint_file",
                "\"\"",
                "The file that checkpoints are appended to, best on another disk or a share, as in \
                 \"/mnt/safe/checkpoints.txt\": its folder must exist. Empty: checkpoints.txt in data_dir.",
                |value| match value.as_str() {
                    Some(path) => Ok(Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty())),
                    None => Err(format!("`{value}` must be a text in quotes")),
                },
            ),
        }
    }

    /// Returns the file that checkpoints are appended to.
    pub fn checkpoint_file(&self, data_dir: &Path) -> PathBuf {
        self.checkpoint_file.clone().unwrap_or_else(|| data_dir.join(CHECKPOINTS))
    }

    /// Returns the same if it is kept outside the data folder.
    pub fn checkpoint_file_outside(&self, data_dir: &Path) -> Option<&Path> {
        self.checkpoint_file.as_deref().filter(|file| !file.starts_with(data_dir))
    }
}
