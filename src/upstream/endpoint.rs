//! One upstream as the client sees it: its URL, its provider and its secret.

use awc::http::header::{HeaderName, HeaderValue};

use crate::base::secret::Secret;
use crate::config::{self, UpstreamUrl};
use crate::provider::{self, Provider};

pub struct Endpoint {
    pub name: String,
    pub url: UpstreamUrl,
    pub provider: &'static dyn Provider,
    /// The header with its secret.
    pub credential: Option<(HeaderName, HeaderValue)>,
}

impl Endpoint {
    pub fn new(upstream: &config::Upstream) -> Self {
        let provider = provider::of(upstream.kind());
        let credential = upstream.secret.as_ref().and_then(|secret| credential(provider, secret));
        Endpoint { name: upstream.name.clone(), url: upstream.url.clone(), provider, credential }
    }
}

/// Returns the header with the secret, marked so that nothing logs it. The configuration takes only texts that fit into a header.
fn credential(provider: &dyn Provider, secret: &Secret<String>) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = provider.credential(secret);
    let mut value = HeaderValue::from_str(value.expose()).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_static(name), value))
}
