//! HTTP over a Unix socket, for the command line.

use std::path::Path;
use std::time::Duration;

use actix_tls::connect::{ConnectError as NotConnected, ConnectInfo, Connection};
use actix_web::dev::fn_service;
use actix_web::rt::net::UnixStream;
use anyhow::{Context, anyhow};
use awc::error::{ConnectError, SendRequestError};
use awc::http::{Method, Uri};
use awc::{Client, ClientResponse, Connector};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value;

use crate::base::error::chain;

/// How long an answer may take, unless its command says otherwise; for a stream, its head.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);

/// Length limit of an answer. The longest, besides exports, is one request in full, written as JSON.
const ANSWER_BYTES_MAX: usize = 1 << 30;

pub struct Socket {
    client: Client,
    shown: String,
}

/// A complete answer.
pub struct SocketReply {
    pub status: u16,
    pub body: Bytes,
}

impl Socket {
    /// Creates a client of the service at `path`. Nothing is connected yet.
    pub fn at(path: &Path) -> Socket {
        let shown = path.display().to_string();
        let path = path.to_owned();
        let connect = fn_service(move |asked: ConnectInfo<Uri>| {
            let path = path.clone();
            async move {
                let stream = UnixStream::connect(&path).await.map_err(NotConnected::Io)?;
                Ok(Connection::new(asked.request().clone(), stream))
            }
        });
        let client = Client::builder().connector(Connector::new().connector(connect)).disable_redirects().finish();
        Socket { client, shown }
    }

    /// Sends a request and returns the complete answer.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<SocketReply> {
        self.ask_within(ANSWER_WAIT_MAX, method, path, body).await
    }

    /// The same for an answer that may take this long.
    pub async fn ask_within(
        &self,
        wait_max: Duration,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<SocketReply> {
        let response = self.send(wait_max, method, path, body).await?;
        whole(response).await
    }

    /// Requests a stream. An answer with another status than 200 is read to its end.
    pub async fn open(&self, path: &str) -> anyhow::Result<Result<Stream, SocketReply>> {
        let response = self.send(ANSWER_WAIT_MAX, "GET", path, None).await?;
        match response.status().as_u16() {
            200 => Ok(Ok(Stream(response))),
            _ => whole(response).await.map(Err),
        }
    }

    async fn send(
        &self,
        wait_max: Duration,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<ClientResponse> {
        let method = Method::from_bytes(method.as_bytes())?;
        let request = self.client.request(method, format!("http://localhost{path}")).timeout(wait_max).no_decompress();
        let sent = match body {
            Some(body) => request.send_json(body).await,
            None => request.send().await,
        };
        sent.map_err(|cause| match cause {
            SendRequestError::Timeout => anyhow!("the gateway did not answer in {} s", wait_max.as_secs()),
            SendRequestError::Connect(ConnectError::Disconnected) => anyhow!("the connection to the gateway broke"),
            SendRequestError::Connect(cause) => {
                anyhow!("can't open {}: {}; run this as the gateway's user or root", self.shown, chain(&cause))
            }
            cause => anyhow!("the connection to the gateway broke: {}", chain(&cause)),
        })
    }
}

async fn whole(mut response: ClientResponse) -> anyhow::Result<SocketReply> {
    let status = response.status().as_u16();
    let body = response.body().limit(ANSWER_BYTES_MAX).await.context("the gateway's answer was cut short")?;
    Ok(SocketReply { status, body })
}

/// A body while it arrives. Its end doesn't tell whether it is complete.
pub struct Stream(ClientResponse);

impl Stream {
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        self.0.next().await.transpose().context("the connection to the gateway broke")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn an_answer_that_takes_longer_than_it_may_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("silent.sock");
        let _silent = std::os::unix::net::UnixListener::bind(&path).unwrap();

        let asked = Socket::at(&path).ask_within(Duration::from_millis(10), "GET", "/", None).await;

        assert_eq!(asked.err().unwrap().to_string(), "the gateway did not answer in 0 s");
    }
}
