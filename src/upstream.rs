//! The HTTP client of the upstreams: sends calls and queries, and bounds every wait. No other room but `cli` knows awc, so the
//! senders of notices are here, too.
//!
//! awc's client belongs to one thread, so each worker has its own.

use std::time::Duration;

use awc::http::header;
use awc::{Client, ClientRequest, ClientResponse, Connector};
use bytes::Bytes;

use crate::base::error::{Error, chain};
use crate::config::{self, Config};
use crate::model::catalog::{LoadedModel, ModelCard, ModelDescription, Skills, UpstreamId};
use crate::model::model_name::ModelName;
use crate::provider::{Call, Headers, Method, PROMPT_FIELD, Query, SCHEMA_FIELD};
use endpoint::Endpoint;

mod changes;
mod endpoint;
mod events;
mod failure;
pub mod mail;
mod patience;
pub mod reach;
mod tls;
pub mod webhook;

pub use changes::{ChangeEvents, FileStream};
pub use events::Events;
pub use failure::Failure;
pub use patience::Patience;

/// The client of all configured upstreams. `UpstreamId` is an upstream's place in the configuration.
pub struct UpstreamClient {
    client: Client,
    endpoints: Vec<Endpoint>,
    limits: config::UpstreamLimits,
}

/// The longest body that is read in one piece: an error, a list of models, the skills of a model.
const SHORT_BODY_MAX: usize = 4 * 1024 * 1024;

/// The longest wait for the head of such an answer, and for its body.
const SHORT_BODY_WAIT_MAX: Duration = Duration::from_secs(10);

impl UpstreamClient {
    /// Makes a client for the calling thread.
    pub fn new(config: &Config) -> Self {
        let endpoints: Vec<Endpoint> = config.upstreams.iter().map(Endpoint::new).collect();
        let limits = config.upstream.clone();
        // The queue bounds how many requests run; a second queue in the pool would hide waits.
        let mut connector =
            Connector::new().limit(0).timeout(limits.connect_timeout).handshake_timeout(limits.connect_timeout);
        if endpoints.iter().any(|endpoint| endpoint.url.is_https()) {
            match tls::config() {
                Ok(config) => connector = connector.rustls_0_23(config),
                // Each request to such an upstream fails and says so; the others are served.
                Err(cause) => {
                    tracing::error!(cause = chain(&cause), "no https upstream can be reached: TLS can't be set up")
                }
            }
        }
        let client = Client::builder()
            .connector(connector)
            .disable_redirects()
            .no_default_headers()
            .add_default_header((header::USER_AGENT, concat!("lan-gateway/", env!("CARGO_PKG_VERSION"))))
            .finish();
        UpstreamClient { client, endpoints, limits }
    }

    pub fn all(&self) -> impl Iterator<Item = UpstreamId> + use<> {
        (0..self.endpoints.len()).map(UpstreamId)
    }

    pub fn limits(&self) -> &config::UpstreamLimits {
        &self.limits
    }

    pub fn name(&self, upstream: UpstreamId) -> &str {
        &self.endpoints[upstream.0].name
    }

    pub fn url(&self, upstream: UpstreamId) -> &config::UpstreamUrl {
        &self.endpoints[upstream.0].url
    }

    /// Sends `call` and returns when the head of the answer is here. Dropping the answer closes the connection, which
    /// ends the generation.
    pub async fn send(&self, upstream: UpstreamId, call: &Call) -> Result<Events, Failure> {
        let endpoint = &self.endpoints[upstream.0];
        let sent = self
            .request(endpoint, call.method, &call.path, &call.headers)
            .timeout(self.limits.first_byte_timeout)
            .send_body(call.body.clone())
            .await;
        let mut response = sent.map_err(|cause| Failure::of(cause, &self.limits))?;
        if response.status() != 200 {
            let body = short_body(&mut response).await.unwrap_or_default();
            let failure = endpoint.provider.failure(response.status().as_u16(), &body);
            let failure = failure.renamed(SCHEMA_FIELD, call.schema_field).renamed(PROMPT_FIELD, call.prompt_field);
            return Err(failure.about(call.prompt_field).into());
        }
        Ok(Events::new(response, endpoint.provider.decoder(&call.reading)))
    }

    /// Returns the models that an upstream serves now.
    pub async fn models(&self, upstream: UpstreamId) -> Result<Vec<ModelCard>, Error> {
        let endpoint = &self.endpoints[upstream.0];
        let body = self.short_answer(endpoint, endpoint.provider.models_query()).await?;
        endpoint.provider.models(&body)
    }

    /// Returns what a model can do. `None`: this kind of upstream does not tell beyond its list of models.
    pub async fn skills(&self, upstream: UpstreamId, model: &ModelName) -> Result<Option<Skills>, Error> {
        let endpoint = &self.endpoints[upstream.0];
        let Some(query) = endpoint.provider.skills_query(model) else { return Ok(None) };
        let body = self.short_answer(endpoint, query).await?;
        endpoint.provider.skills(&body).map(Some)
    }

    /// Returns what an upstream tells of a model. `None`: this kind of upstream does not tell beyond its list of models.
    pub async fn description(
        &self,
        upstream: UpstreamId,
        model: &ModelName,
    ) -> Result<Option<ModelDescription>, Error> {
        let endpoint = &self.endpoints[upstream.0];
        let Some(query) = endpoint.provider.skills_query(model) else { return Ok(None) };
        let body = self.short_answer(endpoint, query).await?;
        endpoint.provider.description(&body).map(Some)
    }

    /// Returns an upstream's version. `None`: this kind of upstream does not tell.
    pub async fn version(&self, upstream: UpstreamId) -> Result<Option<String>, Error> {
        let endpoint = &self.endpoints[upstream.0];
        let Some(query) = endpoint.provider.version_query() else { return Ok(None) };
        let body = self.short_answer(endpoint, query).await?;
        endpoint.provider.version(&body).map(Some)
    }

    /// Returns the models in an upstream's memory. `None`: this kind of upstream does not tell.
    pub async fn loaded(&self, upstream: UpstreamId) -> Result<Option<Vec<LoadedModel>>, Error> {
        let endpoint = &self.endpoints[upstream.0];
        let Some(query) = endpoint.provider.loaded_query() else { return Ok(None) };
        let body = self.short_answer(endpoint, query).await?;
        endpoint.provider.loaded(&body).map(Some)
    }

    fn request(&self, endpoint: &Endpoint, method: Method, path: &str, headers: &Headers) -> ClientRequest {
        let url = format!("{}{path}", endpoint.url);
        let mut request = match method {
            Method::Get => self.client.get(url),
            Method::Post => self.client.post(url).insert_header((header::CONTENT_TYPE, "application/json")),
            Method::Delete => self.client.delete(url).insert_header((header::CONTENT_TYPE, "application/json")),
            Method::Head => self.client.head(url),
        };
        for (name, value) in headers {
            request = request.insert_header((*name, value.as_str()));
        }
        if let Some((name, value)) = &endpoint.credential {
            request = request.insert_header((name, value));
        }
        request.no_decompress()
    }

    /// Sends a query and returns the whole body of its answer.
    async fn short_answer(&self, endpoint: &Endpoint, query: Query) -> Result<Bytes, Error> {
        let request = self.request(endpoint, query.method, &query.path, &query.headers);
        let sent = request.timeout(SHORT_BODY_WAIT_MAX).send_body(query.body).await;
        let mut response = sent.map_err(|cause| Failure::of(cause, &self.limits).error)?;
        let body = short_body(&mut response).await?;
        if response.status() != 200 {
            return Err(endpoint.provider.failure(response.status().as_u16(), &body));
        }
        Ok(body)
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
