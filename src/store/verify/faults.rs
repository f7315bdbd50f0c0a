//! What does not verify: places and plain words.

/// How many faults are told one by one; all are counted.
pub const TOLD_MAX: usize = 20;

/// Something that does not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyFault {
    /// As `row 7`, `link 40`, `checkpoint 40`, `tip`, `image 3` or `file`.
    pub place: String,
    pub what: String,
}

/// Counts faults, and tells of the first ones.
pub struct FoundFaults<'a> {
    tell: &'a mut dyn FnMut(&VerifyFault),
    count: u64,
}

impl<'a> FoundFaults<'a> {
    pub fn new(tell: &'a mut dyn FnMut(&VerifyFault)) -> FoundFaults<'a> {
        FoundFaults { tell, count: 0 }
    }

    pub fn tell(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.count += 1;
        if self.count <= TOLD_MAX as u64 {
            (self.tell)(&VerifyFault { place: place.into(), what: what.into() });
        }
    }

    /// Counts faults that can't be told any more.
    pub fn count_more(&mut self, more: u64) {
        self.count += more;
    }

    pub fn count(&self) -> u64 {
        self.count
    }
}
