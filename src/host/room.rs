//! How much room the record has on its disk, and below which mark requests to models are refused.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::config::DiskSection;
use crate::host::machine::Disk;

/// On a small disk the marks are a share of it, on a large one a fixed size.
const MIN_BYTES: u64 = 1 << 30;
const MIN_PERCENT: u64 = 5;
const WARN_BYTES: u64 = 4 << 30;
const WARN_PERCENT: u64 = 15;

/// The share of the lower mark that must be free on the disk itself: rows are written to a log before they fill free pages.
const ON_DISK_SHARE: u64 = 4;

/// The marks of one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskMarks {
    /// With less room, requests to models are refused.
    pub min: u64,
    /// With less room, admins are warned.
    pub warn: u64,
}

impl DiskMarks {
    pub fn of(section: &DiskSection, disk: Disk) -> DiskMarks {
        let share = |percent: u64| disk.total / 100 * percent;
        let min = section.free_bytes_min.unwrap_or(share(MIN_PERCENT).min(MIN_BYTES));
        let warn = section.free_bytes_warn.unwrap_or(share(WARN_PERCENT).min(WARN_BYTES));
        DiskMarks { min, warn: warn.max(min) }
    }
}

/// What the record may still fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub disk: Disk,
    /// Free pages inside the database, as erased contents leave them. They are filled before the file grows.
    pub reusable: u64,
}

impl Room {
    pub fn bytes(&self) -> u64 {
        self.disk.free.saturating_add(self.reusable)
    }

    /// Returns what may be written until requests to models are refused; `None`: they are.
    pub fn spare(&self, marks: DiskMarks) -> Option<u64> {
        let on_disk = self.disk.free.checked_sub(marks.min / ON_DISK_SHARE)?;
        Some(self.bytes().checked_sub(marks.min)?.min(on_disk))
    }

    /// Returns whether requests to models are refused.
    pub fn is_full(&self, marks: DiskMarks) -> bool {
        self.spare(marks).is_none()
    }

    /// Returns whether admins are warned.
    pub fn is_low(&self, marks: DiskMarks) -> bool {
        self.bytes() < marks.warn || self.is_full(marks)
    }
}

/// Whether the disk is full, as of the last look and of what was written since; shared by all who refuse requests then.
#[derive(Debug)]
pub struct DiskGuard {
    full: AtomicBool,
    /// What may be written until the next look. Many large requests in a second would else fill the disk before it is seen.
    spare: AtomicI64,
    last: Mutex<Option<Disk>>,
}

/// What is recorded is written twice: to the database's log, and from there to its file.
const WRITTEN: i64 = 2;

impl Default for DiskGuard {
    /// Returns a guard that knows of no disk and refuses nothing.
    fn default() -> Self {
        DiskGuard { full: AtomicBool::new(false), spare: AtomicI64::new(i64::MAX), last: Mutex::default() }
    }
}

impl DiskGuard {
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed) || self.spare.load(Ordering::Relaxed) < 0
    }

    /// Counts bytes that are about to be recorded.
    pub fn takes(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(WRITTEN);
        self.spare.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns the disk as it was about a second ago.
    pub fn disk(&self) -> Option<Disk> {
        *self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sets what a look has found; returns whether the disk is full now and was not before, or the other way round.
    pub fn saw(&self, room: &Room, marks: DiskMarks) -> bool {
        *self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(room.disk);
        let spare = room.spare(marks);
        self.spare.store(spare.map_or(0, |spare| i64::try_from(spare).unwrap_or(i64::MAX)), Ordering::Relaxed);
        self.full.swap(spare.is_none(), Ordering::Relaxed) != spare.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn marks(min: Option<u64>, warn: Option<u64>, total: u64) -> (u64, u64) {
        let section = DiskSection { free_bytes_min: min, free_bytes_warn: warn };
        let DiskMarks { min, warn } = DiskMarks::of(&section, Disk { free: 0, total });
        (min, warn)
    }

    #[test]
    fn marks_are_a_share_of_a_small_disk_and_a_size_on_a_large_one() {
        assert_eq!(marks(None, None, 6400), (320, 960));
        assert_eq!(marks(None, None, 500 * GIB), (GIB, 4 * GIB));
        let total = 20 * GIB;
        assert_eq!(marks(None, None, total), (total / 100 * 5, total / 100 * 15), "a gibibyte is 5 % of twenty");
        assert_eq!(marks(None, None, 21 * GIB).0, GIB);
    }

    #[test]
    fn marks_of_ones_own_are_taken_as_they_are_and_the_warning_is_never_the_lower_one() {
        assert_eq!(marks(Some(70), Some(90), 6400), (70, 90));
        assert_eq!(marks(Some(1000), None, 6400), (1000, 1000));
        assert_eq!(marks(None, Some(100), 6400), (320, 320));
    }

    #[test]
    fn a_disk_is_full_below_its_mark_and_free_pages_of_the_database_count() {
        let marks = DiskMarks { min: 400, warn: 800 };
        let state = |free, reusable| {
            let room = Room { disk: Disk { free, total: 1000 }, reusable };
            (room.is_full(marks), room.is_low(marks))
        };

        assert_eq!(state(800, 0), (false, false));
        assert_eq!(state(799, 0), (false, true));
        assert_eq!(state(400, 0), (false, true));
        assert_eq!(state(399, 0), (true, true));
        assert_eq!(state(300, 100), (false, true));
        assert_eq!(state(100, 900), (false, false));
        assert_eq!(state(99, 900), (true, true), "the log needs room on the disk itself");
    }

    const MARKS: DiskMarks = DiskMarks { min: 400, warn: 800 };

    fn saw(guard: &DiskGuard, free: u64) -> bool {
        guard.saw(&Room { disk: Disk { free, total: 1000 }, reusable: 0 }, MARKS)
    }

    #[test]
    fn a_look_tells_whether_it_is_new() {
        let guard = DiskGuard::default();
        assert!(!guard.is_full());

        assert_eq!([400, 399, 0, 400].map(|free| saw(&guard, free)), [false, true, false, true]);

        assert!(!guard.is_full());
        assert_eq!(guard.disk(), Some(Disk { free: 400, total: 1000 }));
    }

    #[test]
    fn what_is_written_between_two_looks_counts_twice_until_the_next_look() {
        let guard = DiskGuard::default();
        saw(&guard, 600);

        guard.takes(100);
        assert!(!guard.is_full(), "200 of 200 are taken");
        guard.takes(1);
        assert!(guard.is_full());

        assert!(!saw(&guard, 500), "it was not seen to be full");
        assert!(!guard.is_full());
    }
}
