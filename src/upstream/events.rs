//! The answer of an upstream: its bytes as they arrive, decoded into events.

use awc::ClientResponse;
use awc::error::PayloadError;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};

use crate::base::error::{Error, chain};
use crate::model::chat::ChatEvent;
use crate::provider::Decoder;
use crate::upstream::failure::Failure;

/// Chunks of an answer that are read before other tasks of the thread run.
const CHUNKS_AT_ONCE: usize = 64;

/// An answer while it arrives.
pub struct Events {
    response: ClientResponse,
    decoder: Box<dyn Decoder>,
    ended: bool,
}

impl Events {
    pub fn new(response: ClientResponse, decoder: Box<dyn Decoder>) -> Self {
        Events { response, decoder, ended: false }
    }

    /// Waits for bytes, reads all that have arrived and appends their events. Returns `false` when the answer is complete: the
    /// upstream's end mark was seen, or a stop sequence.
    ///
    /// Cancel-safe: nothing is lost when the future is dropped while it waits.
    pub async fn next(&mut self, out: &mut Vec<ChatEvent>) -> Result<bool, Failure> {
        if self.ended {
            return Ok(false);
        }
        let mut arrived = self.response.next().await;
        let mut chunks = 1;
        loop {
            self.read(arrived, out)?;
            if self.ended || chunks == CHUNKS_AT_ONCE {
                return Ok(!self.ended);
            }
            // Each piece of text is a chunk of its own, and many may have arrived at once.
            match self.response.next().now_or_never() {
                Some(more) => arrived = more,
                None => return Ok(true),
            }
            chunks += 1;
        }
    }

    // awc reports a body that was cut off as a clean end, so only the decoder can tell whether the answer is complete.
    fn read(&mut self, arrived: Option<Result<Bytes, PayloadError>>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        match arrived {
            Some(Ok(chunk)) => {
                self.decoder.bytes(&chunk, out)?;
                self.ended = self.decoder.has_ended_early();
                Ok(())
            }
            Some(Err(cause)) => {
                self.ended = true;
                Err(Failure { error: read_error(&cause), broke_off: true })
            }
            None => {
                self.ended = true;
                self.decoder.end(out).map_err(|error| {
                    let broke_off = matches!(error, Error::UpstreamRefused { .. });
                    Failure { error, broke_off }
                })
            }
        }
    }
}

pub fn read_error(cause: &PayloadError) -> Error {
    tracing::warn!(cause = chain(cause), "the upstream's answer broke off");
    Error::UpstreamRefused { message: "the model server's answer broke off".into() }
}
