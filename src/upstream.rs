//! The connections to upstreams: sends a call, bounds every wait, and feeds the decoder. The one file that knows awc.
//!
//! awc's client belongs to one thread, so each worker has its own.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::header::{self, HeaderName, HeaderValue};
use awc::{Client, ClientRequest, ClientResponse, Connector};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};

use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::config::{self, Config, UpstreamUrl};
use crate::model::catalog::{HostId, ModelCard, Skills};
use crate::model::chat::ChatEvent;
use crate::model::model_name::ModelName;
use crate::provider::{self, Call, Decoder, Headers, Method, PROMPT_FIELD, Provider, Query, SCHEMA_FIELD};

mod tls;

/// One upstream, and how it is spoken to.
struct Endpoint {
    name: String,
    url: UpstreamUrl,
    provider: &'static dyn Provider,
    credential: Option<(HeaderName, HeaderValue)>,
}

impl Endpoint {
    fn new(upstream: &config::Upstream) -> Self {
        let provider = provider::of(upstream.kind());
        let credential = upstream.secret.as_ref().and_then(|secret| credential(provider, secret));
        Endpoint { name: upstream.name.clone(), url: upstream.url.clone(), provider, credential }
    }
}

/// Returns the header with the secret, marked so that nothing logs it. The configuration takes only what fits into one.
fn credential(provider: &dyn Provider, secret: &Secret<String>) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = provider.credential(secret);
    let mut value = HeaderValue::from_str(value.expose()).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_static(name), value))
}

pub struct UpstreamClient {
    client: Client,
    hosts: Vec<Endpoint>,
    limits: config::UpstreamLimits,
}

/// Chunks of an answer that are read before others of the same thread have their turn.
const CHUNKS_AT_ONCE: usize = 64;

/// Error bodies and lists of models are short.
const SHORT_BODY_MAX: usize = 4 * 1024 * 1024;
const SHORT_BODY_WAIT_MAX: Duration = Duration::from_secs(10);

impl UpstreamClient {
    pub fn new(config: &Config) -> Self {
        let hosts: Vec<Endpoint> = config.upstreams.iter().map(Endpoint::new).collect();
        let limits = config.upstream.clone();
        // The queue bounds how many requests run; a second, hidden queue in the pool would only make waits invisible.
        let mut connector =
            Connector::new().limit(0).timeout(limits.connect_timeout).handshake_timeout(limits.connect_timeout);
        if hosts.iter().any(|host| host.url.is_https()) {
            match tls::config() {
                Ok(config) => connector = connector.rustls_0_23(config),
                // Each request to such an upstream fails and says so; the others are served.
                Err(cause) => tracing::error!(%cause, "no https upstream can be reached: TLS can't be set up"),
            }
        }
        let client = Client::builder()
            .connector(connector)
            .disable_redirects()
            .no_default_headers()
            .add_default_header((header::USER_AGENT, concat!("lan-gateway/", env!("CARGO_PKG_VERSION"))))
            .finish();
        UpstreamClient { client, hosts, limits }
    }

    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.hosts.len()).map(HostId)
    }

    pub fn name(&self, host: HostId) -> &str {
        &self.hosts[host.0].name
    }

    /// Sends `call` and returns when the head of the answer is here. Dropping the answer closes the connection, which
    /// ends the generation.
    pub async fn send(&self, host: HostId, call: &Call) -> Result<Events, Failure> {
        let host = &self.hosts[host.0];
        let sent = self
            .request(host, call.method, &call.path, &call.headers)
            .timeout(self.limits.first_byte_timeout)
            .send_body(call.body.clone())
            .await;
        let mut response = sent.map_err(|cause| self.send_failure(cause))?;
        if response.status() != 200 {
            let body = short_body(&mut response).await.unwrap_or_default();
            let failure = host.provider.failure(response.status().as_u16(), &body);
            let failure = failure.renamed(SCHEMA_FIELD, call.schema_field).renamed(PROMPT_FIELD, call.prompt_field);
            return Err(failure.about(call.prompt_field).into());
        }
        Ok(Events { response, decoder: host.provider.decoder(&call.reading), ended: false })
    }

    pub async fn models(&self, host: HostId) -> Result<Vec<ModelCard>, Error> {
        let host = &self.hosts[host.0];
        let body = self.short_answer(host, host.provider.models_query()).await?;
        host.provider.models(&body)
    }

    /// Asks what a model can do. `None`: its list of models is all that this kind of upstream tells.
    pub async fn skills(&self, host: HostId, model: &ModelName) -> Result<Option<Skills>, Error> {
        let host = &self.hosts[host.0];
        let Some(query) = host.provider.skills_query(model) else { return Ok(None) };
        let body = self.short_answer(host, query).await?;
        host.provider.skills(&body).map(Some)
    }

    fn request(&self, host: &Endpoint, method: Method, path: &str, headers: &Headers) -> ClientRequest {
        let url = format!("{}{path}", host.url);
        let mut request = match method {
            Method::Get => self.client.get(url),
            Method::Post => self.client.post(url).insert_header((header::CONTENT_TYPE, "application/json")),
        };
        for (name, value) in headers {
            request = request.insert_header((*name, value.as_str()));
        }
        if let Some((name, value)) = &host.credential {
            request = request.insert_header((name, value));
        }
        request.no_decompress()
    }

    async fn short_answer(&self, host: &Endpoint, query: Query) -> Result<Bytes, Error> {
        let request = self.request(host, query.method, &query.path, &query.headers);
        let sent = request.timeout(SHORT_BODY_WAIT_MAX).send_body(query.body).await;
        let mut response = sent.map_err(|cause| self.send_failure(cause).error)?;
        let body = short_body(&mut response).await?;
        if response.status() != 200 {
            return Err(host.provider.failure(response.status().as_u16(), &body));
        }
        Ok(body)
    }

    fn send_failure(&self, cause: SendRequestError) -> Failure {
        let error = match cause {
            SendRequestError::Timeout => Error::Timeout {
                message: format!(
                    "the model server sent nothing for {} s; it may be loading a model: try again",
                    self.limits.first_byte_timeout.as_secs()
                ),
            },
            SendRequestError::Connect(ConnectError::Timeout) => {
                Error::UpstreamDown { cause: anyhow!("connecting took too long") }
            }
            // awc calls it so when a connection that stood ends before the head of an answer.
            SendRequestError::Connect(ConnectError::Disconnected) => return closed_early("it was closed"),
            SendRequestError::Connect(ConnectError::Io(cause)) => {
                let cause = tls::failure(&cause).map_or_else(|| anyhow!("{cause}"), anyhow::Error::msg);
                Error::UpstreamDown { cause }
            }
            SendRequestError::Connect(cause) => Error::UpstreamDown { cause: anyhow!("{cause}") },
            other => return closed_early(other),
        };
        error.into()
    }
}

/// Why an answer did not come.
#[derive(Debug)]
pub struct Failure {
    pub error: Error,
    /// The connection ended before the answer did: the upstream may have died of the request.
    pub broke_off: bool,
}

impl Failure {
    /// No connection came about, so the upstream has seen nothing of the request.
    pub fn is_unconnected(&self) -> bool {
        matches!(self.error, Error::UpstreamDown { .. })
    }
}

fn closed_early(cause: impl std::fmt::Display) -> Failure {
    tracing::warn!(%cause, "the model server closed the connection before its answer");
    let message = "the model server closed the connection before its answer".into();
    Failure { error: Error::UpstreamRefused { message }, broke_off: true }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, broke_off: false }
    }
}

async fn short_body(response: &mut ClientResponse) -> Result<Bytes, Error> {
    let body = response.body().limit(SHORT_BODY_MAX);
    match tokio::time::timeout(SHORT_BODY_WAIT_MAX, body).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(Error::UpstreamRefused { message: "the model server's answer was cut short".into() }),
        Err(_) => Err(Error::Timeout { message: "the model server's answer came too slowly".into() }),
    }
}

/// An answer that is coming in.
pub struct Events {
    response: ClientResponse,
    decoder: Box<dyn Decoder>,
    ended: bool,
}

impl Events {
    /// Waits until something arrives, reads what is there by then and appends its events. `false`: the answer is over, its end
    /// mark seen.
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
            // A piece of text is a chunk of its own, and many may have come at once.
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
            Some(Ok(chunk)) => Ok(self.decoder.bytes(&chunk, out)?),
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

fn read_error(cause: &PayloadError) -> Error {
    tracing::warn!(%cause, "the model server's answer broke off");
    Error::UpstreamRefused { message: "the model server's answer broke off".into() }
}

/// The silence and the length of one answer, looked at on a beat instead of with a timer per event.
pub struct Patience {
    idle_max: Duration,
    total_max: Duration,
    began: Instant,
    heard: Instant,
}

impl Patience {
    pub fn new(limits: &config::UpstreamLimits, total_max: Duration) -> Self {
        let now = Instant::now();
        Patience { idle_max: limits.idle_timeout, total_max, began: now, heard: now }
    }

    pub fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// The time that is left for the whole answer.
    pub fn left(&self) -> Duration {
        self.total_max.saturating_sub(self.began.elapsed())
    }

    pub fn check(&self) -> Result<(), Error> {
        if self.began.elapsed() >= self.total_max {
            return Err(self.too_long());
        }
        if self.heard.elapsed() >= self.idle_max {
            let message = format!("the model server fell silent for {} s", self.idle_max.as_secs());
            return Err(Error::Timeout { message });
        }
        Ok(())
    }

    pub fn too_long(&self) -> Error {
        Error::Timeout { message: format!("the answer took longer than {} s and was ended", self.total_max.as_secs()) }
    }
}

impl UpstreamClient {
    pub fn limits(&self) -> &config::UpstreamLimits {
        &self.limits
    }
}
