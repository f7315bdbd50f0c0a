//! Changes of an upstream's models: sent with their file, if they have one, and reported while they proceed.

use std::pin::Pin;
use std::time::Duration;

use awc::ClientResponse;
use awc::error::SendRequestError;
use awc::http::header;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::base::error::Error;
use crate::model::catalog::UpstreamId;
use crate::model::manage::{BlobDigest, ChangeStep, ModelChange};
use crate::provider::{ChangeCall, ChangeDecoder};
use crate::upstream::events::read_error;
use crate::upstream::failure::Failure;
use crate::upstream::{SHORT_BODY_WAIT_MAX, UpstreamClient, short_body};

/// A file while it arrives. It is passed on piece by piece; an error ends the request without the end of its body.
pub type FileStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>>>>;

impl UpstreamClient {
    /// Returns the request that a change is for this upstream.
    pub fn change_call(&self, upstream: UpstreamId, change: &ModelChange) -> ChangeCall {
        self.endpoints[upstream.0].provider.change(change)
    }

    /// Sends a change and returns when the head of its answer is here, after `head_max` at most. Dropping the answer closes the
    /// connection, which ends the change.
    pub async fn change(
        &self,
        upstream: UpstreamId,
        call: &ChangeCall,
        file: Option<FileStream>,
        head_max: Duration,
    ) -> Result<ChangeEvents, Failure> {
        let endpoint = &self.endpoints[upstream.0];
        let request = self.request(endpoint, call.method, &call.path, &Vec::new()).timeout(head_max);
        let sent = match file {
            Some(file) => {
                request.insert_header((header::CONTENT_TYPE, "application/octet-stream")).send_stream(file).await
            }
            None => request.send_body(call.body.clone().unwrap_or_default()).await,
        };
        let mut response = sent.map_err(|cause| match cause {
            SendRequestError::Body(cause) => match cause.downcast::<Error>() {
                Ok(own) => Failure::from(*own),
                Err(cause) => Failure::from(Error::internal(anyhow::anyhow!("{cause}"))),
            },
            SendRequestError::Timeout => Failure::from(silent(head_max)),
            cause => Failure::of(cause, &self.limits),
        })?;
        if !response.status().is_success() {
            let body = short_body(&mut response).await.unwrap_or_default();
            return Err(endpoint.provider.failure(response.status().as_u16(), &body).into());
        }
        Ok(ChangeEvents { response, decoder: endpoint.provider.change_decoder(call.reading), ended: false })
    }

    /// Returns whether an upstream has an uploaded file.
    pub async fn has_blob(&self, upstream: UpstreamId, digest: &BlobDigest) -> Result<bool, Error> {
        let endpoint = &self.endpoints[upstream.0];
        let query = endpoint.provider.blob_query(digest);
        let request = self.request(endpoint, query.method, &query.path, &query.headers);
        let sent = request.timeout(SHORT_BODY_WAIT_MAX).send_body(query.body).await;
        let response = sent.map_err(|cause| Failure::of(cause, &self.limits).error)?;
        match response.status().as_u16() {
            404 => Ok(false),
            200 => Ok(true),
            status => Err(endpoint.provider.failure(status, &[])),
        }
    }
}

fn silent(head_max: Duration) -> Error {
    Error::Timeout { message: format!("the model server said nothing of this change for {} s", head_max.as_secs()) }
}

/// What an upstream reports of a change, while it proceeds.
pub struct ChangeEvents {
    response: ClientResponse,
    decoder: Box<dyn ChangeDecoder>,
    ended: bool,
}

impl ChangeEvents {
    /// Waits for bytes and appends their steps. Returns `false` when the upstream has said that the change is done.
    ///
    /// Cancel-safe: nothing is lost when the future is dropped while it waits.
    pub async fn next(&mut self, out: &mut Vec<ChangeStep>) -> Result<bool, Failure> {
        if self.ended {
            return Ok(false);
        }
        match self.response.next().await {
            Some(Ok(chunk)) => self.decoder.bytes(&chunk, out).map(|()| true).map_err(Failure::from),
            Some(Err(cause)) => {
                self.ended = true;
                Err(Failure { error: read_error(&cause), broke_off: true })
            }
            None => {
                self.ended = true;
                self.decoder.end(out).map(|()| false).map_err(Failure::from)
            }
        }
    }
}
