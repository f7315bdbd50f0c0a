//! `[audit]`: how the record is written.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::values::number;

#[derive(Debug, Clone)]
pub struct AuditSection {
    pub queue_bytes_max: usize,
    pub segment_time: Duration,
    pub segment_bytes: usize,
}

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
        }
    }
}
