//! The answers to one request: one, or as many as it asks for (`n`).
//!
//! Each is a generation of its own: to limits, quotas, queue and record it is a request with its own id, and its notes name the
//! others. Here they are started in order and read as one.

use std::cell::Cell;
use std::pin::pin;
use std::time::Instant;

use futures_util::future::{join_all, select_all, try_join_all};

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::gateway::{Answer, DecodedRequest, Gateway, News, Refused, Stood};
use crate::model::chat::ChatEvent;
use crate::rules::audit::Ending;
use crate::rules::limits::Admission;

/// ChoiceAnswers below the bar, numbered from 0. Dropping them ends their generations and leaves rows `abandoned`.
pub struct ChoiceAnswers {
    /// Fields of the request that had no effect, for its client.
    pub ignored: Vec<String>,
    /// Places in its schemas where something was left out.
    pub simplified: Vec<String>,
    /// `None`: closed.
    all: Vec<Option<Answer>>,
    /// The answer that is looked at first for news, so that a fast one does not hide the others.
    next: Cell<usize>,
}

impl Gateway {
    /// Runs an admitted request for `choices` answers. If one of them is refused, none is given.
    pub async fn answer_choices(
        &self,
        asked: DecodedRequest,
        choices: u8,
        first: &mut Admission,
    ) -> Result<ChoiceAnswers, Refused> {
        let (mut admissions, mut copies) = (Vec::new(), Vec::new());
        let mut asked = asked;
        if choices > 1 {
            self.stages.policy.check_choices(choices)?;
            admissions = self.stages.limits.admit_choices(first, choices).await?;
            copies = asked.copies(choices)?;
        }
        let mut all = vec![Some(self.answer(asked, first).await?)];
        for (copy, admission) in copies.into_iter().zip(&mut admissions) {
            match self.answer(copy, admission).await {
                Ok(answer) => all.push(Some(answer)),
                Err(mut refused) => {
                    refused.late.extend(all.into_iter().flatten().filter_map(Answer::into_record));
                    return Err(refused);
                }
            }
            first.tokens = admission.tokens;
        }
        Ok(ChoiceAnswers::of(all))
    }
}

impl DecodedRequest {
    /// Returns the requests for the other answers, and notes in each where the others are.
    fn copies(&mut self, choices: u8) -> Result<Vec<DecodedRequest>, Error> {
        let (first, mut ids) = (self.id, Vec::new());
        let copy = |choice: u8| {
            let id = RequestId::fresh();
            ids.push(id.to_string());
            let mut work = self.work.clone();
            work.move_seed(choice);
            Ok(DecodedRequest {
                id,
                who: self.who.clone(),
                api: self.api,
                address: self.address,
                class: self.class,
                work,
                ignored: self.ignored.clone(),
                notes: vec![format!("answer {} of {choices} to the request {first}", choice + 1)],
                settings: self.settings.clone(),
                memory: self.memory.again()?,
                end: self.end.clone(),
            })
        };
        let copies = (1..choices).map(copy).collect();
        self.notes.push(format!("answer 1 of {choices}; the others have the ids {}", ids.join(", ")));
        copies
    }
}

impl ChoiceAnswers {
    fn of(mut all: Vec<Option<Answer>>) -> ChoiceAnswers {
        let first = all.iter_mut().flatten().next();
        let (ignored, simplified) = first.map_or_else(Default::default, |first| {
            (std::mem::take(&mut first.ignored), std::mem::take(&mut first.simplified))
        });
        ChoiceAnswers { ignored, simplified, all, next: Cell::new(0) }
    }

    fn open(&self) -> impl Iterator<Item = &Answer> {
        self.all.iter().flatten()
    }

    /// Returns the number of answers, closed ones included.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Returns whether all are closed.
    pub fn are_closed(&self) -> bool {
        self.open().next().is_none()
    }

    /// Returns the place and wait in the queue of the answer that waited longest.
    pub fn stood(&self) -> Stood {
        self.open().map(Answer::stood).max_by_key(|stood| stood.wait).unwrap_or_default()
    }

    /// Returns when the turn of the last one came, once all have begun.
    pub fn began(&self) -> Option<Instant> {
        let mut last = None;
        for answer in self.open() {
            last = last.max(Some(answer.began()?));
        }
        last
    }

    /// Waits for the end of all and returns the events of each, or the first error.
    pub async fn whole(&self) -> Result<Vec<Vec<ChatEvent>>, Error> {
        try_join_all(self.open().map(Answer::whole)).await
    }

    /// Waits for something new of an answer that is not closed. Cancel-safe: what is not returned stays.
    pub async fn news(&self) -> (usize, News) {
        if let [Some(only)] = &self.all[..] {
            return (0, only.news().await);
        }
        let (before, after) = self.all.split_at(self.next.get().min(self.all.len()));
        let numbered = (before.len()..).zip(after).chain((0..).zip(before));
        let open: Vec<_> = numbered
            .filter_map(|(choice, answer)| Some((choice, answer.as_ref()?)))
            .map(|(choice, answer)| Box::pin(async move { (choice, answer.news().await) }))
            .collect();
        if open.is_empty() {
            return std::future::pending().await;
        }
        let (choice, news) = pin!(select_all(open)).await.0;
        self.next.set(choice + 1);
        (choice, news)
    }

    /// Records an error on the gateway's side, whatever the models have done.
    pub fn fail(&self, error: impl Fn() -> Error) {
        self.open().for_each(|answer| answer.fails(error()));
    }

    /// Adds a note for readers of the results.
    pub fn note(&self, note: &str) {
        self.open().for_each(|answer| answer.note(note));
    }

    /// Ends all because the client gets this error instead of them: as the answer did that failed, if one has.
    pub fn end_with(&self, error: &Error) {
        let ending = self.open().find_map(Answer::failure).unwrap_or(Ending::Failed(error.code()));
        self.open().for_each(|answer| answer.ends_as(ending));
    }

    /// Ends all without a result for their client, who does not read.
    pub fn abandon(&mut self) {
        self.all.clear();
    }

    /// Writes the result of one. Its last byte may leave only after this has succeeded.
    pub async fn close_one(&mut self, choice: usize, status: u16) -> Result<(), Error> {
        match self.all.get_mut(choice).and_then(Option::take) {
            Some(answer) => answer.close(status).await,
            None => Ok(()),
        }
    }

    /// Writes the results of all that are not closed.
    pub async fn close(&mut self, status: u16) -> Result<(), Error> {
        let open = self.all.iter_mut().filter_map(Option::take);
        join_all(open.map(|answer| answer.close(status))).await.into_iter().collect()
    }
}
