//! Waiting for what no event announces, such as a row that is written after its answer has left.

use std::time::Duration;

use tokio::time::Instant;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long something may take on a machine that is busy with other tests. A test that holds never waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns what `look` finds, once it finds something. `what` is missed where it never does.
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look).await
}

/// Waits until `holds` does.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually(what, async || holds().await.then_some(())).await;
}

/// Returns what `look` finds within that time.
pub async fn within<T>(time: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + time;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", time.as_secs());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
