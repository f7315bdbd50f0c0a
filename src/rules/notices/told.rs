//! What was sent of one kind of notice: a condition is told once, when it begins, and further ones within the quiet time together
//! at its end. Pure: the states and the time are arguments.

use std::collections::BTreeSet;

use crate::store::notices::ToldNotices;

/// Something that lasts, such as a person who waits for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSubject {
    /// Names it for as long as it lasts, also over a restart.
    pub key: String,
    /// How people know it.
    pub name: String,
    /// Whether it may be told. What is not certain, or has not lasted long enough, is neither told nor over.
    pub is_due: bool,
}

/// What is to be told now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NewStates {
    /// What began, and was not told yet.
    pub began: Vec<StateSubject>,
    /// How many last now, those that were told before included.
    pub lasting: usize,
    /// The keys of what was told and is over.
    pub ended: Vec<String>,
}

/// What was told of one kind.
#[derive(Debug, Default)]
pub struct KindTold {
    told: BTreeSet<String>,
    last_us: Option<i64>,
}

impl KindTold {
    /// Goes on from what was kept before a restart.
    pub fn resumed(kept: ToldNotices) -> KindTold {
        KindTold { told: kept.subjects.into_iter().collect(), last_us: kept.last_us }
    }

    /// Returns what has to be kept over a restart.
    pub fn kept(&self) -> ToldNotices {
        ToldNotices { subjects: self.told.iter().cloned().collect(), last_us: self.last_us }
    }

    /// Forgets what was told, since no channel gets this kind: the next one that does is told what lasts. Returns whether there
    /// was something.
    pub fn forget(&mut self) -> bool {
        !std::mem::take(&mut self.told).is_empty()
    }

    /// Takes what lasts at `now_us`. What it returns counts as told.
    pub fn look(&mut self, subjects: &[StateSubject], now_us: i64, quiet_us: i64) -> NewStates {
        let lasting: BTreeSet<&String> = subjects.iter().map(|subject| &subject.key).collect();
        let ended: Vec<String> = self.told.iter().filter(|key| !lasting.contains(key)).cloned().collect();
        for key in &ended {
            self.told.remove(key);
        }
        let mut found = NewStates { ended, ..NewStates::default() };
        // A clock that was set back makes no quiet time longer.
        let is_quiet = self.last_us.is_some_and(|last| (0..quiet_us).contains(&(now_us - last)));
        if is_quiet {
            return found;
        }
        let due = || subjects.iter().filter(|subject| subject.is_due);
        found.began = due().filter(|subject| !self.told.contains(&subject.key)).cloned().collect();
        found.lasting = due().count();
        if !found.began.is_empty() {
            self.told.extend(found.began.iter().map(|subject| subject.key.clone()));
            self.last_us = Some(now_us);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: i64 = 100;

    fn subject(key: &str) -> StateSubject {
        StateSubject { key: key.into(), name: key.to_uppercase(), is_due: true }
    }

    fn began(told: &mut KindTold, keys: &[&str], now: i64) -> Vec<String> {
        let subjects: Vec<_> = keys.iter().map(|key| subject(key)).collect();
        told.look(&subjects, now, QUIET).began.into_iter().map(|subject| subject.key).collect()
    }

    #[test]
    fn what_begins_is_told_once_and_what_follows_within_the_quiet_time_at_its_end() {
        let mut told = KindTold::default();

        assert_eq!(began(&mut told, &["ann"], 1000), ["ann"]);
        assert_eq!(began(&mut told, &["ann"], 1001), [""; 0]);
        assert_eq!(began(&mut told, &["ann", "ben", "cem"], 1099), [""; 0], "quiet until then");
        assert_eq!(began(&mut told, &["ann", "ben", "cem"], 1100), ["ben", "cem"]);
        assert_eq!(began(&mut told, &["ann", "ben", "cem"], 9999), [""; 0]);
    }

    #[test]
    fn what_is_over_within_the_quiet_time_is_never_told() {
        let mut told = KindTold::default();
        began(&mut told, &["ann"], 0);

        assert_eq!(began(&mut told, &["ann", "ben"], 50), [""; 0]);
        assert_eq!(began(&mut told, &["ann"], 60), [""; 0]);
        assert_eq!(began(&mut told, &["ann"], 200), [""; 0]);
    }

    #[test]
    fn what_flaps_is_told_once_in_a_quiet_time_and_its_end_only_if_its_beginning_was() {
        let mut told = KindTold::default();
        let mut notices = 0;
        for now in 0..1000 {
            let is_away = now % 2 == 0;
            let subjects: Vec<_> = is_away.then(|| subject("local")).into_iter().collect();
            let found = told.look(&subjects, now, QUIET);
            notices += found.began.len() + found.ended.len();
        }
        assert_eq!(notices, 20, "away and back, ten times");
    }

    #[test]
    fn without_a_quiet_time_each_is_told_at_once() {
        let mut told = KindTold::default();
        let one = told.look(&[subject("a")], 5, 0);
        let two = told.look(&[subject("a"), subject("b")], 5, 0);

        assert_eq!((one.began.len(), two.began.len(), two.lasting), (1, 1, 2));
    }

    #[test]
    fn what_is_not_certain_is_neither_told_nor_over() {
        let mut told = KindTold::default();
        let unsure = StateSubject { is_due: false, ..subject("local") };
        assert_eq!(told.look(std::slice::from_ref(&unsure), 0, QUIET), NewStates::default());
        assert_eq!(began(&mut told, &["local"], 1), ["local"]);
        assert_eq!(told.look(&[unsure], 2, QUIET).ended, [""; 0]);
        assert_eq!(told.look(&[], 3, QUIET).ended, ["local"]);
    }

    #[test]
    fn the_next_channel_is_told_what_lasts_after_the_quiet_time() {
        let mut told = KindTold::default();
        assert!(!told.forget());
        began(&mut told, &["ann"], 1000);

        assert!(told.forget());

        assert_eq!(began(&mut told, &["ann"], 1099), [""; 0]);
        assert_eq!(began(&mut told, &["ann"], 1100), ["ann"]);
    }

    #[test]
    fn a_restart_forgets_nothing() {
        let mut told = KindTold::default();
        began(&mut told, &["ann"], 1000);

        let mut again = KindTold::resumed(told.kept());

        assert_eq!(began(&mut again, &["ann"], 5000), [""; 0]);
        assert_eq!(began(&mut again, &["ann", "ben"], 5000), ["ben"]);
        let mut again = KindTold::resumed(again.kept());
        assert_eq!(began(&mut again, &["ann", "ben", "cem"], 5099), [""; 0], "quiet over the restart, too");
        assert_eq!(began(&mut again, &["ann", "ben", "cem"], 5100), ["cem"]);
    }

    #[test]
    fn a_clock_that_was_set_back_prolongs_no_quiet_time() {
        let mut told = KindTold::default();
        began(&mut told, &["ann"], 1_000_000);

        assert_eq!(began(&mut told, &["ann", "ben"], 10), ["ben"]);
    }
}
