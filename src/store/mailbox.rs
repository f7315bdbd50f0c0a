//! How the writer tells those who wait for a sync: all of one thread at once.
//!
//! A commit has news for many requests. To wake each by itself wakes its thread as often, and on a busy machine a thread that
//! was woken takes the writer's core before the others are told. So every worker has a mailbox: the writer fills it for all
//! requests of that worker, and then wakes the worker once.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::{Notify, oneshot};

/// What came of a write.
pub type News = anyhow::Result<()>;

#[derive(Default)]
pub struct Mailbox {
    letters: Mutex<Vec<(oneshot::Sender<News>, News)>>,
    arrived: Notify,
}

impl Mailbox {
    /// Leaves `news`, which are handed on when the mailbox is next woken.
    pub fn put(&self, to: oneshot::Sender<News>, news: News) {
        self.lock().push((to, news));
    }

    /// Hands on what arrives, for as long as the worker lives. To be run on its thread.
    pub async fn serve(self: Arc<Self>) {
        loop {
            self.arrived.notified().await;
            for (to, news) in std::mem::take(&mut *self.lock()) {
                // Whoever waited may have gone.
                let _ = to.send(news);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(oneshot::Sender<News>, News)>> {
        self.letters.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// All mailboxes.
#[derive(Clone, Default)]
pub struct Post(Arc<Mutex<Vec<Weak<Mailbox>>>>);

impl Post {
    pub fn open(&self) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        let mut mailboxes = self.lock();
        mailboxes.retain(|mailbox| mailbox.strong_count() > 0);
        mailboxes.push(Arc::downgrade(&mailbox));
        mailbox
    }

    /// Wakes those who have letters.
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
    use super::*;

    #[tokio::test]
    async fn letters_wait_for_the_delivery_and_reach_whoever_still_waits() {
        let post = Post::default();
        let (mailbox, other) = (post.open(), post.open());
        let served = async {
            tokio::join!(mailbox.clone().serve(), other.serve());
        };
        let ((one, mut first), (two, second), (gone, _)) = (oneshot::channel(), oneshot::channel(), oneshot::channel());
        mailbox.put(gone, Ok(()));
        mailbox.put(one, Ok(()));
        mailbox.put(two, Err(anyhow::anyhow!("no room")));
        tokio::pin!(served);
        assert!(futures_util::poll!(&mut served).is_pending());
        assert!(first.try_recv().is_err(), "nobody was woken yet");

        post.deliver();
        let both = async { (first.await, second.await) };
        let told = tokio::select! {
            told = both => told,
            () = served => unreachable!("a mailbox is served for ever"),
        };

        assert!(told.0.unwrap().is_ok());
        assert_eq!(told.1.unwrap().unwrap_err().to_string(), "no room");
    }

    #[test]
    fn a_mailbox_goes_with_its_worker() {
        let post = Post::default();
        drop(post.open());
        let _kept = post.open();

        assert_eq!(post.lock().len(), 1);
    }
}
