//! How far the exports are that are being read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The lines that each running export has written so far. An export that ended, or broke off, is forgotten.
#[derive(Debug, Default)]
pub struct Progress(Mutex<HashMap<String, Weak<AtomicI64>>>);

impl Progress {
    /// Returns the counter of an export that begins. It counts as running for as long as the counter is kept.
    pub fn begins(&self, export: &str) -> Arc<AtomicI64> {
        let lines = Arc::new(AtomicI64::new(0));
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, lines| lines.strong_count() > 0);
        running.insert(export.to_owned(), Arc::downgrade(&lines));
        lines
    }

    /// Returns how many lines a running export has so far.
    pub fn of(&self, export: &str) -> Option<i64> {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.get(export)?.upgrade().map(|lines| lines.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_is_known_for_as_long_as_it_runs() {
        let progress = Progress::default();
        assert_eq!(progress.of("one"), None);

        let lines = progress.begins("one");
        lines.store(7, Ordering::Relaxed);
        assert_eq!(progress.of("one"), Some(7));
        drop(lines);

        assert_eq!(progress.of("one"), None);
        let _other = progress.begins("other");
        assert_eq!(progress.0.lock().unwrap().len(), 1, "what ended takes no room");
    }
}
