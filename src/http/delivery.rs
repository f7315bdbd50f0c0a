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
use crate::gateway::{Answer, News, Refused};
use crate::http::reply;
use crate::http::standing::{add_headers, queue_headers};
use crate::model::chat::{ChatEvent, Fold, Piece};

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
        answer: Answer,
        mut encoder: Box<dyn Encoder>,
    ) -> Result<HttpResponse, Refused> {
        let mut fold = Fold::default();
        match answer.whole().await {
            Ok(events) => events.into_iter().for_each(|event| fold.add(event)),
            Err(error) => return Err(self.failed(answer, error).await),
        }
        let Some(reply) = fold.finish() else {
            let error = Error::UpstreamRefused { message: "the model server's answer has no end mark".into() };
            return Err(self.failed(answer, error).await);
        };
        add_headers(&mut response, queue_headers(answer.stood()));
        answer.close(200).await.map_err(recorded)?;
        let mut out = BytesMut::new();
        encoder.whole(&reply, &mut out);
        self.log("answered");
        Ok(response.insert_header((header::CONTENT_TYPE, wire::JSON)).body(out.freeze()))
    }

    /// Sends the answer as a stream. An error before the first event still has a status of its own.
    pub async fn stream(
        self,
        mut response: HttpResponseBuilder,
        answer: Answer,
        encoder: Box<dyn Encoder>,
        head_start: Duration,
        heartbeat: Duration,
        delivery_max: Duration,
    ) -> Result<HttpResponse, Refused> {
        // Until the first event, an error can still have a status of its own.
        let first = match tokio::time::timeout(head_start, answer.news()).await {
            Ok(News::Failed(error)) => return Err(self.failed(answer, error).await),
            Ok(news) => Some(news),
            Err(_) => None,
        };
        add_headers(&mut response, queue_headers(answer.stood()));
        let sent = Instant::now();
        let flow =
            Flow { exchange: self, answer: Some(answer), encoder, first, end: None, heartbeat, sent, delivery_max };
        let body = stream::unfold(flow, |mut flow| async move {
            if flow.is_overdue() {
                // Dropping the answer leaves the row `abandoned`; the error closes the connection without an end mark.
                flow.answer = None;
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
    async fn failed(self, answer: Answer, error: Error) -> Refused {
        let status = self.dialect.error(&error, &self.id).status;
        let stood = Some(answer.stood());
        let error = answer.close(status).await.err().unwrap_or(error);
        Refused { stood, ..recorded(error) }
    }

    /// Logs at debug level, since the record has a row for each.
    fn log(&self, how: &str) {
        let duration_ms = self.started.elapsed().as_millis() as u64;
        debug!(request.id = %self.id, duration_ms, "{how} `{}`", self.api);
    }
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

/// A stream to the client. Dropping it drops the answer, which ends the generation.
struct Flow {
    exchange: Exchange,
    answer: Option<Answer>,
    encoder: Box<dyn Encoder>,
    first: Option<News>,
    /// The end mark, held back until the result is on disk.
    end: Option<ChatEvent>,
    heartbeat: Duration,
    /// When the first byte was ready to be sent.
    sent: Instant,
    delivery_max: Duration,
}

impl Flow {
    /// Returns whether the client reads so slowly that the stream is closed. It may take as long as an answer may run, counted
    /// from its turn, or from the first byte if that was later: a stream may have sent heartbeats while it waited for its turn.
    fn is_overdue(&self) -> bool {
        let began = self.answer.as_ref().and_then(Answer::began);
        began.is_some_and(|began| began.max(self.sent).elapsed() >= self.delivery_max)
    }

    async fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        while out.is_empty() {
            let answer = self.answer.as_ref()?;
            let news = match self.first.take() {
                Some(news) => news,
                None => match tokio::time::timeout(self.heartbeat, answer.news()).await {
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
                        if matches!(event.what, Piece::End(_)) {
                            self.end = Some(event);
                        } else {
                            self.encoder.event(&event, &mut out);
                        }
                    }
                }
                News::Complete => self.finish(&mut out).await,
                News::Failed(error) => {
                    self.fail(&error, &mut out);
                    if let Some(answer) = self.answer.take()
                        && let Err(unrecorded) = answer.close(StatusCode::OK.as_u16()).await
                    {
                        reply::log(&unrecorded, &self.exchange.id);
                    }
                }
            }
        }
        Some(out.freeze())
    }

    /// Ends a stream whose encoding panicked.
    async fn break_off(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        if let Some(answer) = self.answer.take() {
            answer.fails(panicked());
            if let Err(unrecorded) = answer.close(StatusCode::OK.as_u16()).await {
                reply::log(&unrecorded, &self.exchange.id);
            }
        }
        self.fail(&panicked(), &mut out);
        out.freeze()
    }

    async fn finish(&mut self, out: &mut BytesMut) {
        let Some(answer) = self.answer.take() else { return };
        match (answer.close(StatusCode::OK.as_u16()).await, self.end.take()) {
            (Ok(()), Some(end)) => {
                self.encoder.event(&end, out);
                self.exchange.log("streamed");
            }
            (Ok(()), None) => {
                let message = "the model server's answer has no end mark".to_owned();
                self.fail(&Error::UpstreamRefused { message }, out);
            }
            (Err(error), _) => self.fail(&error, out),
        }
    }

    fn fail(&mut self, error: &Error, out: &mut BytesMut) {
        reply::log(error, &self.exchange.id);
        self.encoder.error(error, out);
        self.exchange.log("aborted");
    }
}
