//! Sends answers to the client, whole or as a stream. The result is on disk before the client sees the end.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, stream};
use tracing::debug;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::base::vital::panic_on_purpose;
use crate::dialect::{Dialect, Encoder, wire};
use crate::gateway::{ChoiceAnswers, News, Refused};
use crate::http::reply;
use crate::http::standing::{add_headers, queue_headers};
use crate::model::chat::{ChatEvent, ChatReply, Fold, Piece};

/// A request with an answer, and its names for log lines and errors.
#[derive(Clone, Copy)]
pub struct Exchange {
    pub dialect: &'static dyn Dialect,
    pub api: &'static str,
    pub id: RequestId,
    pub started: Instant,
}

impl Exchange {
    /// Sends the answer in one piece.
    pub async fn whole(
        self,
        mut response: HttpResponseBuilder,
        mut answers: ChoiceAnswers,
        mut encoder: Box<dyn Encoder>,
    ) -> Result<HttpResponse, Refused> {
        let replies = match answers.whole().await {
            Ok(all) => all.into_iter().map(folded).collect::<Option<Vec<_>>>(),
            Err(error) => return Err(self.failed(answers, error).await),
        };
        let Some(replies) = replies else {
            let error = Error::UpstreamRefused { message: "the model server's answer has no end mark".into() };
            return Err(self.failed(answers, error).await);
        };
        add_headers(&mut response, queue_headers(answers.stood()));
        answers.close(200).await.map_err(recorded)?;
        let mut out = BytesMut::new();
        encoder.whole_choices(&replies, &mut out);
        self.log("answered");
        Ok(response.insert_header((header::CONTENT_TYPE, wire::JSON)).body(out.freeze()))
    }

    /// Sends the number of tokens in the prompt: what the model counted, or an estimate if its turn has not come after `wait`; then
    /// a header says so.
    pub async fn count(
        self,
        mut response: HttpResponseBuilder,
        mut answers: ChoiceAnswers,
        mut encoder: Box<dyn Encoder>,
        wait: Duration,
    ) -> Result<HttpResponse, Refused> {
        let counted = match tokio::time::timeout(wait, answers.whole()).await {
            Ok(counted) => Some(counted),
            // Its turn has come, and the model has to load or to read the prompt.
            Err(_) if answers.began().is_some() => Some(answers.whole().await),
            Err(_) => None,
        };
        let reply = match counted {
            Some(Ok(all)) => all.into_iter().next().and_then(folded).unwrap_or_else(ChatReply::empty),
            Some(Err(error)) => return Err(self.failed(answers, error).await),
            None => {
                answers.note("its turn did not come in time, and an estimate was returned");
                ChatReply::empty()
            }
        };
        add_headers(&mut response, queue_headers(answers.stood()));
        if reply.end.usage.prompt_tokens == 0 {
            response.insert_header(("x-token-count", "estimated"));
        }
        answers.close(200).await.map_err(recorded)?;
        let mut out = BytesMut::new();
        encoder.whole(&reply, &mut out);
        self.log("counted");
        Ok(response.insert_header((header::CONTENT_TYPE, wire::JSON)).body(out.freeze()))
    }

    /// Sends the answer as a stream. An error before the first event still has a status of its own.
    pub async fn stream(
        self,
        mut response: HttpResponseBuilder,
        answers: ChoiceAnswers,
        encoder: Box<dyn Encoder>,
        head_start: Duration,
        heartbeat: Duration,
        delivery_max: Duration,
    ) -> Result<HttpResponse, Refused> {
        // Until the first event, an error can still have a status of its own.
        let first = match tokio::time::timeout(head_start, answers.news()).await {
            Ok((_, News::Failed(error))) => return Err(self.failed(answers, error).await),
            Ok(news) => Some(news),
            Err(_) => None,
        };
        add_headers(&mut response, queue_headers(answers.stood()));
        let (ends, sent) = (vec![None; answers.count()], Instant::now());
        let flow = Flow { exchange: self, answers, encoder, first, ends, heartbeat, sent, delivery_max };
        let body = stream::unfold(flow, |mut flow| async move {
            if flow.is_overdue() {
                // The row is left `abandoned`; the error closes the connection without an end mark.
                flow.answers.abandon();
                let error = Error::Timeout { message: "the client took too long to read the answer".into() };
                return Some((Err(error), flow));
            }
            let bytes = match AssertUnwindSafe(flow.next()).catch_unwind().await {
                Ok(bytes) => bytes?,
                Err(_) => flow.break_off().await,
            };
            Some((Ok(bytes), flow))
        });
        response.insert_header((header::CACHE_CONTROL, "no-cache")).insert_header(("x-accel-buffering", "no"));
        Ok(response.streaming(body))
    }

    /// Records an answer that failed before its first byte was sent.
    async fn failed(self, mut answers: ChoiceAnswers, error: Error) -> Refused {
        let status = self.dialect.error(&error, &self.id).status;
        let stood = Some(answers.stood());
        answers.end_with(&error);
        let error = answers.close(status).await.err().unwrap_or(error);
        Refused { stood, ..recorded(error) }
    }

    /// Logs at debug level, since the record has a row for each.
    fn log(&self, how: &str) {
        let duration_ms = self.started.elapsed().as_millis() as u64;
        debug!(request.id = %self.id, duration_ms, "{how} `{}`", self.api);
    }
}

/// Returns an answer in one piece; `None` without an end mark.
fn folded(events: Vec<ChatEvent>) -> Option<ChatReply> {
    let mut fold = Fold::default();
    events.into_iter().for_each(|event| fold.add(event));
    fold.finish()
}

/// Returns the error for a panic, which is in the log itself.
pub fn panicked() -> Error {
    Error::internal(anyhow::anyhow!("a request panicked"))
}

/// Marks an error whose request has its result row already.
fn recorded(error: Error) -> Refused {
    Refused { recorded: true, ..error.into() }
}

/// Rough size of an event with a text delta.
const EVENT_BYTES: usize = 256;

/// A stream to the client. Dropping it drops the answers, which ends their generation.
struct Flow {
    exchange: Exchange,
    answers: ChoiceAnswers,
    encoder: Box<dyn Encoder>,
    first: Option<(usize, News)>,
    /// The end mark of each answer, held back until its result is on disk.
    ends: Vec<Option<ChatEvent>>,
    heartbeat: Duration,
    /// When the first byte was ready to be sent.
    sent: Instant,
    delivery_max: Duration,
}

impl Flow {
    /// Returns whether the client reads so slowly that the stream is closed. It may take as long as an answer may run, counted
    /// from its turn, or from the first byte if that was later: a stream may have sent heartbeats while it waited for its turn.
    fn is_overdue(&self) -> bool {
        let began = self.answers.began();
        began.is_some_and(|began| began.max(self.sent).elapsed() >= self.delivery_max)
    }

    async fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        while out.is_empty() {
            if self.answers.are_closed() {
                return None;
            }
            let (choice, news) = match self.first.take() {
                Some(news) => news,
                None => match tokio::time::timeout(self.heartbeat, self.answers.news()).await {
                    Ok(news) => news,
                    Err(_) => {
                        self.encoder.heartbeat(&mut out);
                        continue;
                    }
                },
            };
            panic_on_purpose("stream");
            match news {
                News::Events(events) => {
                    out.reserve(events.len() * EVENT_BYTES);
                    for event in events {
                        match self.ends.get_mut(choice) {
                            Some(end) if matches!(event.what, Piece::End(_)) => *end = Some(event),
                            _ => self.encoder.choice_event(choice, &event, &mut out),
                        }
                    }
                }
                News::Complete => self.finish(choice, &mut out).await,
                News::Failed(error) => self.fail(&error, &mut out).await,
            }
        }
        Some(out.freeze())
    }

    /// Ends a stream whose encoding panicked.
    async fn break_off(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        self.answers.fail(panicked);
        // Before anything is encoded, which may panic again.
        self.close().await;
        self.fail(&panicked(), &mut out).await;
        out.freeze()
    }

    /// Ends one answer, and with the last one the stream.
    async fn finish(&mut self, choice: usize, out: &mut BytesMut) {
        let closed = self.answers.close_one(choice, StatusCode::OK.as_u16()).await;
        match (closed, self.ends.get_mut(choice).and_then(Option::take)) {
            (Ok(()), Some(end)) => {
                self.encoder.choice_event(choice, &end, out);
                if self.answers.are_closed() {
                    self.exchange.log("streamed");
                }
            }
            (Ok(()), None) => {
                let message = "the model server's answer has no end mark".to_owned();
                self.fail(&Error::UpstreamRefused { message }, out).await;
            }
            (Err(error), _) => self.fail(&error, out).await,
        }
    }

    async fn fail(&mut self, error: &Error, out: &mut BytesMut) {
        reply::log(error, &self.exchange.id);
        self.encoder.error(error, out);
        self.exchange.log("aborted");
        self.answers.end_with(error);
        self.close().await;
    }

    async fn close(&mut self) {
        if let Err(unrecorded) = self.answers.close(StatusCode::OK.as_u16()).await {
            reply::log(&unrecorded, &self.exchange.id);
        }
    }
}
