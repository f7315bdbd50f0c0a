//! Counts credentials that were not accepted.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub struct FailureCount(AtomicU64);

impl FailureCount {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many credentials of each kind were not accepted since the start. Tries that were told to wait are none.
#[derive(Default)]
pub struct AuthFailures {
    pub password: FailureCount,
    pub jwt: FailureCount,
    pub token: FailureCount,
}

impl AuthFailures {
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        [("password", &self.password), ("jwt", &self.jwt), ("token", &self.token)]
            .map(|(kind, count)| (kind, count.0.load(Ordering::Relaxed)))
    }
}
