//! How the writer answers the requests of one worker: all at once after a commit.
//!
//! A commit has results for many requests. Waking each of them by itself would wake its thread as often, and on a busy machine
//! a thread that was woken takes the writer's core before the others are answered. So each worker has a mailbox: the writer
//! puts the answers for all requests of that worker into it, and then wakes the worker once. What was written goes back with
//! its answer, because the allocator frees memory fastest on the thread that allocated it.
//!
//! A mailbox is found by the thread that appends an entry: code above the store never sees one.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::Notify;

use crate::base::vital::panic_on_purpose;
use crate::store::audit::NewEntry;

/// Called with an entry and whether it was written; the error's text is for the log.
type After = Box<dyn FnOnce(NewEntry, Result<(), &str>) + Send>;

/// An entry on its way to the disk, and what to call afterwards.
pub struct Letter {
    pub entry: NewEntry,
    after: After,
}

impl Letter {
    pub fn new(entry: NewEntry, after: impl FnOnce(NewEntry, Result<(), &str>) + Send + 'static) -> Self {
        Letter { entry, after: Box::new(after) }
    }

    pub fn answer(self, committed: Result<(), &str>) {
        (self.after)(self.entry, committed);
    }
}

/// A letter, and whether its entry was written.
type Answered = (Letter, Result<(), Arc<str>>);

thread_local! {
    /// The mailboxes that are served on this thread, each with the post that it belongs to: tests have several stores.
    static SERVED_HERE: RefCell<Vec<(Post, Weak<Mailbox>)>> = const { RefCell::new(Vec::new()) };
}

#[derive(Default)]
pub struct Mailbox {
    letters: Mutex<Vec<Answered>>,
    arrived: Notify,
}

impl Mailbox {
    /// Leaves a letter, which is answered when the mailbox is next woken.
    pub fn put(&self, letter: Letter, committed: Result<(), &str>) {
        self.lock().push((letter, committed.map_err(Arc::from)));
    }

    /// Answers the letters that arrive, without end.
    async fn serve(self: Arc<Self>) {
        loop {
            self.arrived.notified().await;
            panic_on_purpose("mailbox");
            // Not under the lock, which the writer needs for the next ones.
            let letters = std::mem::take(&mut *self.lock());
            answer_all(letters);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Answered>> {
        self.letters.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Letters that come after their worker has ended are answered, too: a result that was not written must be tried again.
impl Drop for Mailbox {
    fn drop(&mut self) {
        let letters = std::mem::take(&mut *self.lock());
        answer_all(letters);
    }
}

fn answer_all(letters: Vec<Answered>) {
    for (letter, committed) in letters {
        letter.answer(committed.as_ref().copied().map_err(|cause| &**cause));
    }
}

/// All mailboxes of one writer.
#[derive(Clone, Default)]
pub struct Post(Arc<Mutex<Vec<Weak<Mailbox>>>>);

impl Post {
    /// Opens a mailbox for the calling thread, and returns what serves it. Entries that are appended on this thread are answered
    /// on it from now on, until the returned future is dropped.
    pub fn serve_here(&self) -> impl Future<Output = ()> + use<> {
        let mailbox = self.open();
        SERVED_HERE.with_borrow_mut(|served| {
            served.retain(|(_, mailbox)| mailbox.strong_count() > 0);
            served.push((self.clone(), Arc::downgrade(&mailbox)));
        });
        mailbox.serve()
    }

    /// Returns the mailbox that is served on the calling thread, if there is one.
    pub fn here(&self) -> Option<Arc<Mailbox>> {
        let mine = |(post, _): &&(Post, Weak<Mailbox>)| Arc::ptr_eq(&post.0, &self.0);
        // While a thread ends its own values are gone.
        let served = SERVED_HERE
            .try_with(|served| served.borrow().iter().rev().filter(mine).find_map(|(_, mailbox)| mailbox.upgrade()));
        served.ok().flatten()
    }

    fn open(&self) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        let mut mailboxes = self.lock();
        mailboxes.retain(|mailbox| mailbox.strong_count() > 0);
        mailboxes.push(Arc::downgrade(&mailbox));
        mailbox
    }

    /// Wakes the workers whose mailboxes hold letters.
    pub fn deliver(&self) {
        for mailbox in self.lock().iter().filter_map(Weak::upgrade) {
            if !mailbox.lock().is_empty() {
                mailbox.arrived.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Mailbox>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;
    use crate::store::audit::{IntentSlot, NewPart, PART_ANSWER, Segment};

    /// What comes back to the sender of a letter.
    type Back = (NewEntry, Result<(), String>);

    fn letter(lost: &Arc<AtomicBool>) -> (Letter, oneshot::Receiver<Back>) {
        let part = NewPart { part: 0, kind: PART_ANSWER, body: Bytes::new() };
        let segment = Segment { part, lost: lost.clone() };
        let (done, told) = oneshot::channel();
        let after = move |entry, committed: Result<(), &str>| {
            let _ = done.send((entry, committed.map_err(str::to_owned)));
        };
        (Letter::new(NewEntry::Segment { slot: IntentSlot::default(), segment }, after), told)
    }

    #[test]
    fn a_letter_to_a_worker_that_has_ended_is_answered() {
        let mailbox = Post::default().open();
        let (sent, mut told) = letter(&Arc::default());
        mailbox.put(sent, Err("no room"));

        drop(mailbox);

        assert_eq!(told.try_recv().unwrap().1.unwrap_err(), "no room");
    }

    #[tokio::test]
    async fn letters_wait_for_the_delivery_and_come_back_with_what_became_of_them() {
        let post = Post::default();
        let (mailbox, other) = (post.open(), post.open());
        let served = async {
            tokio::join!(mailbox.clone().serve(), other.serve());
        };
        let lost = Arc::default();
        let ((first, mut written), (second, refused)) = (letter(&lost), letter(&lost));
        mailbox.put(first, Ok(()));
        mailbox.put(second, Err("no room"));
        tokio::pin!(served);
        assert!(futures_util::poll!(&mut served).is_pending());
        assert!(written.try_recv().is_err(), "nobody was woken yet");

        post.deliver();
        let both = async { (written.await, refused.await) };
        let (written, refused) = tokio::select! {
            told = both => told,
            () = served => unreachable!("a mailbox is served for ever"),
        };

        let (entry, committed) = written.unwrap();
        assert!(matches!(entry, NewEntry::Segment { segment, .. } if Arc::ptr_eq(&segment.lost, &lost)));
        assert_eq!(committed, Ok(()));
        assert_eq!(refused.unwrap().1.unwrap_err(), "no room");
    }

    #[tokio::test]
    async fn a_thread_finds_the_mailbox_that_is_served_on_it() {
        let (post, other) = (Post::default(), Post::default());
        assert!(post.here().is_none());

        let (serving, of_other) = (post.serve_here(), other.serve_here());
        let (mine, its) = (post.here().unwrap(), other.here().unwrap());
        assert!(!Arc::ptr_eq(&mine, &its));
        let elsewhere = post.clone();
        assert!(std::thread::spawn(move || elsewhere.here().is_none()).join().unwrap());

        drop((serving, mine));
        assert!(post.here().is_none(), "nothing is put where nobody looks");
        assert!(other.here().is_some());
        drop(of_other);
    }

    #[test]
    fn a_mailbox_goes_with_its_worker() {
        let post = Post::default();
        drop(post.open());
        let _kept = post.open();

        assert_eq!(post.lock().len(), 1);
    }
}
