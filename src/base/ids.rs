//! Ids that leave the process, of requests and of rows. Row numbers stay inside.

use std::fmt;

use uuid::Uuid;

use crate::base::clock::{RECORD_CLOCK, Timestamp};
use crate::base::secret::thread_random_bytes;

/// The id of one request: a UUIDv7, so ids sort by time. Clients never choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub Uuid);

impl RequestId {
    /// Returns an id for a new request. It uses the clock that stamps rows: a request is found by the time in its id, so none
    /// of its rows may be older.
    pub fn fresh() -> Self {
        Self::at(RECORD_CLOCK.now())
    }

    /// Returns an id for something that happened at `time`, for rows that are stamped before they are named.
    pub fn at(time: Timestamp) -> Self {
        let millis = u64::try_from(time.0 / 1000).unwrap_or(0);
        RequestId(uuid::Builder::from_unix_timestamp_millis(millis, &thread_random_bytes::<10>()).into_uuid())
    }

    /// Returns a dialect's prefix and the id without hyphens, such as `chatcmpl-0190…`.
    pub fn with_prefix(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.0.simple())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns a random id for a user, an export or a token; it tells neither when it was made nor how many there are.
pub fn public_id() -> String {
    Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_bears_the_millisecond_it_was_made_for() {
        let id = RequestId::at(Timestamp(1_795_480_000_123_456));

        assert_eq!(id.0.get_version_num(), 7);
        assert_eq!(id.0.get_timestamp().unwrap().to_unix(), (1_795_480_000, 123_000_000));
        assert_ne!(id, RequestId::at(Timestamp(1_795_480_000_123_456)));
    }
}
