//! Parts that must run as long as the gateway does: the writer, its followers, the loops.
//!
//! The end of such a part might go unnoticed until it is too late, so it ends the process, with a reason and a status that
//! makes the service manager start it again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use tracing::error;

#[derive(Clone, Default)]
pub struct Vitals(Arc<State>);

#[derive(Default)]
struct State {
    /// The first failure; later ones are its consequences.
    reason: OnceLock<String>,
    failed: CancellationToken,
    stopping: AtomicBool,
}

impl Vitals {
    /// Watches a part: dropping the guard, also by a panic, counts as a failure until the gateway stops.
    pub fn watch(&self, part: &'static str) -> Watched {
        Watched { vitals: self.clone(), part }
    }

    /// Runs a part that never ends by itself.
    pub async fn run(self, part: &'static str, run: impl Future<Output = ()>) {
        let _watched = self.watch(part);
        run.await;
    }

    /// Sets the reason why the process has to end.
    pub fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        error!(reason, "the gateway can't go on");
        // A later reason is only logged.
        let _ = self.0.reason.set(reason);
        self.0.failed.cancel();
    }

    /// Waits for a failure and returns its reason.
    pub async fn failed(&self) -> &str {
        self.0.failed.cancelled().await;
        self.reason().unwrap_or("a part of the gateway has ended")
    }

    pub fn reason(&self) -> Option<&str> {
        self.0.reason.get().map(String::as_str)
    }

    /// Called when the gateway stops: watched parts may end from now on.
    pub fn may_end(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }
}

/// Kept by a part as long as it runs.
pub struct Watched {
    vitals: Vitals,
    part: &'static str,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let how = if std::thread::panicking() { "panicked" } else { "ended" };
        if !self.vitals.0.stopping.load(Ordering::Acquire) {
            self.vitals.fail(format!("{} {how}", self.part));
        }
    }
}

/// Panics where the file that `LGW_DEBUG_PANIC` names contains `place`: tests use it to show that a panic leaves nothing
/// behind. Release builds have neither.
pub fn panic_on_purpose(place: &str) {
    #[cfg(debug_assertions)]
    #[allow(clippy::disallowed_methods, reason = "a test's override, only in debug builds")]
    if let Some(file) = std::env::var_os("LGW_DEBUG_PANIC")
        && std::fs::read_to_string(file).is_ok_and(|wanted| wanted.trim() == place)
    {
        panic!("a test asked for this panic: {place}");
    }
    #[cfg(not(debug_assertions))]
    let _ = place;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_part_is_a_failure_with_its_reason() {
        let vitals = Vitals::default();
        vitals.clone().run("the first", async {}).await;
        drop(vitals.watch("the second"));

        assert_eq!(vitals.failed().await, "the first ended");
    }

    #[test]
    fn a_part_that_panicked_is_told_from_one_that_ended() {
        let vitals = Vitals::default();
        let watched = vitals.watch("the loop");
        let thread = std::thread::spawn(move || {
            let _watched = watched;
            panic!("on purpose");
        });
        assert!(thread.join().is_err());

        assert_eq!(vitals.reason(), Some("the loop panicked"));
    }

    #[test]
    fn parts_may_end_when_the_gateway_stops() {
        let vitals = Vitals::default();
        let watched = vitals.watch("the loop");
        vitals.may_end();
        drop(watched);

        assert_eq!(vitals.reason(), None);
    }
}
