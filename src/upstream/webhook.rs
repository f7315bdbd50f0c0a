//! Sends a notice to a webhook: one POST to one address that was checked, signed as Standard Webhooks has it. Redirects are not
//! followed, and nothing of the answer but its status is read.

use awc::error::{ConnectError, SendRequestError};
use awc::http::Uri;
use awc::http::header::{CONTENT_TYPE, USER_AGENT};
use awc::{Client, Connector};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use ring::hmac;

use crate::base::clock::Timestamp;
use crate::upstream::reach::{NoticeBounds, Undelivered, addresses, without};
use crate::upstream::tls;

/// Length limit of a URL, and of the name of its host, which is that of DNS.
const URL_BYTES_MAX: usize = 2000;
const HOST_BYTES_MAX: usize = 253;

/// What Standard Webhooks puts in front of keys, and how many bytes these have.
const KEY_PREFIX: &str = "whsec_";
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The URL of a webhook, parsed once: what is checked is what is connected to.
#[derive(Clone)]
pub struct WebhookUrl(Uri);

impl WebhookUrl {
    /// Parses a URL. The message does not repeat it, since it may hold a secret.
    pub fn parse(text: &str) -> Result<WebhookUrl, &'static str> {
        if text.len() > URL_BYTES_MAX {
            return Err("is longer than 2,000 bytes");
        }
        if text.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be written in ASCII, without spaces and without `#`");
        }
        let uri: Uri = text.parse().map_err(|_| "is no URL")?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("must begin with http:// or https://");
        }
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let host = uri.host().unwrap_or_default();
        if authority.contains('@') {
            return Err("must not name a user; send what is secret in its path, or sign with a secret");
        }
        // A port that is none would be left out without a word.
        let has_port = authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        if host.is_empty() || host.len() > HOST_BYTES_MAX || (has_port && uri.port_u16().unwrap_or(0) == 0) {
            return Err("must name a host, and a port from 1 to 65535 if it names one");
        }
        if uri.scheme_str() == Some("https") && host.starts_with('[') {
            return Err("must name its host, since certificates for IPv6 addresses can't be checked");
        }
        Ok(WebhookUrl(uri))
    }

    /// Returns its scheme, host and port, which are not secret.
    pub fn place(&self) -> String {
        let authority = self.0.authority().map(|authority| authority.as_str()).unwrap_or_default();
        format!("{}://{}", self.0.scheme_str().unwrap_or_default(), authority.to_ascii_lowercase())
    }

    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Returns the texts that must not be in an error.
    fn secret_parts(&self) -> Vec<String> {
        let path = self.0.path_and_query().map(|path| path.as_str().to_owned());
        std::iter::once(self.0.to_string()).chain(path.filter(|path| path.len() > 1)).collect()
    }

    fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }
}

/// A key that signs requests.
pub struct WebhookKey(hmac::Key);

impl WebhookKey {
    /// Parses a key: base64 of 24 to 64 bytes, with or without `whsec_` in front.
    pub fn parse(text: &str) -> Result<WebhookKey, &'static str> {
        const WRONG: &str = "must be 24 to 64 random bytes in base64, with or without `whsec_` in front; \
                             `openssl rand -base64 32` makes some";
        let bytes =
            zeroize::Zeroizing::new(BASE64.decode(text.strip_prefix(KEY_PREFIX).unwrap_or(text)).map_err(|_| WRONG)?);
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(WRONG);
        }
        Ok(WebhookKey(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// Returns the signature of a request: of its id, its time and its body.
    fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign()))
    }
}

/// Posts a JSON body. Must be called on a thread with a `LocalSet`, as each worker has one.
pub async fn post(
    url: &WebhookUrl,
    key: Option<&WebhookKey>,
    id: &str,
    body: Bytes,
    bounds: NoticeBounds,
) -> Result<(), Undelivered> {
    match tokio::time::timeout(bounds.time_max, post_in_time(url, key, id, body, bounds)).await {
        Ok(Err(failure)) => Err(Undelivered { words: without(&url.secret_parts(), &failure.words), ..failure }),
        Ok(Ok(())) => Ok(()),
        Err(_) => Err(silent(bounds)),
    }
}

fn silent(bounds: NoticeBounds) -> Undelivered {
    Undelivered::later(format!("it did not answer within {} s", bounds.time_max.as_secs()))
}

async fn post_in_time(
    url: &WebhookUrl,
    key: Option<&WebhookKey>,
    id: &str,
    body: Bytes,
    bounds: NoticeBounds,
) -> Result<(), Undelivered> {
    let found = addresses(url.host(), url.port(), bounds.allow_this_host, bounds.connect_timeout).await;
    let found = found.map_err(Undelivered::later)?;
    let client = client(url, bounds)?;
    let mut last = Undelivered::later("it has no address");
    for address in found {
        let seconds = Timestamp::now().seconds();
        let mut request = client
            .post(url.0.clone())
            .address(address)
            .no_decompress()
            .timeout(bounds.time_max)
            .insert_header((USER_AGENT, concat!("lan-gateway/", env!("CARGO_PKG_VERSION"))))
            .insert_header((CONTENT_TYPE, "application/json"))
            .insert_header(("webhook-id", id))
            .insert_header(("webhook-timestamp", seconds.to_string()));
        if let Some(key) = key {
            request = request.insert_header(("webhook-signature", key.sign(id, seconds, &body)));
        }
        match request.send_body(body.clone()).await {
            // Dropped unread, the rest of the answer ends with the connection.
            Ok(response) => return judge(response.status().as_u16()),
            Err(SendRequestError::Connect(cause)) => last = Undelivered::later(not_connected(&cause, bounds)),
            Err(SendRequestError::Timeout) => return Err(silent(bounds)),
            Err(cause) => return Err(Undelivered::later(broken(&cause))),
        }
    }
    Err(last)
}

fn client(url: &WebhookUrl, bounds: NoticeBounds) -> Result<Client, Undelivered> {
    let timeout = bounds.connect_timeout;
    let mut connector = Connector::new().timeout(timeout).handshake_timeout(timeout).limit(1);
    if url.is_https() {
        let tls = tls::config().map_err(|cause| Undelivered::later(format!("TLS can't be set up: {cause}")))?;
        connector = connector.rustls_0_23(tls);
    }
    Ok(Client::builder().connector(connector).disable_redirects().no_default_headers().finish())
}

/// Returns what the status of an answer means.
fn judge(status: u16) -> Result<(), Undelivered> {
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(Undelivered::for_good(format!(
            "it answered {status} and leads elsewhere; give the address that it leads to"
        ))),
        // Busy, or broken for now. The id tells the receiver that it has this one already.
        408 | 425 | 429 | 500..=599 => Err(Undelivered::later(format!("it answered {status}"))),
        401 | 403 | 404 | 410 => Err(Undelivered::for_good(format!("it answered {status}; is the URL still right?"))),
        _ => Err(Undelivered::for_good(format!("it answered {status}"))),
    }
}

fn not_connected(cause: &ConnectError, bounds: NoticeBounds) -> String {
    match cause {
        ConnectError::Timeout => format!("no connection within {} s", bounds.connect_timeout.as_secs()),
        ConnectError::Io(cause) => tls::failure(cause).unwrap_or_else(|| format!("no connection: {cause}")),
        ConnectError::Disconnected => "it closed the connection without an answer".to_owned(),
        _ => "no connection".to_owned(),
    }
}

fn broken(cause: &SendRequestError) -> String {
    match cause {
        SendRequestError::Send(cause) => {
            tls::failure(cause).unwrap_or_else(|| format!("the connection broke: {cause}"))
        }
        SendRequestError::Response(_) => "what it answered is no HTTP".to_owned(),
        _ => "the request could not be sent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_and_a_host_and_shows_nothing_else() {
        for (url, place) in [
            ("https://hooks.example.org/services/T0/B0/x?y=z", "https://hooks.example.org"),
            ("http://N8N.lan:5678/webhook/abc", "http://n8n.lan:5678"),
            ("http://192.0.2.7", "http://192.0.2.7"),
            ("http://[2001:db8::7]:80/x", "http://[2001:db8::7]:80"),
        ] {
            assert_eq!(WebhookUrl::parse(url).map(|url| url.place()), Ok(place.to_owned()), "{url}");
        }
        for wrong in [
            "",
            "hooks.example.org",
            "/x",
            "ftp://a/b",
            "https://",
            "https:///x",
            "http://a:0/",
            "http://a:/x",
            "http://a:70000/",
            "http://user:pass@a/",
            "http://a/#x",
            "http://a/ b",
            "http://ä.example/",
            "https://[::1]/x",
            "http://a/\r\nx: y",
            "file:///etc/passwd",
        ] {
            assert!(WebhookUrl::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(WebhookUrl::parse(&format!("http://{}:65535/", "a".repeat(HOST_BYTES_MAX))).is_ok());
        assert!(WebhookUrl::parse(&format!("http://{}/", "a".repeat(HOST_BYTES_MAX + 1))).is_err());
        assert!(WebhookUrl::parse(&format!("http://a/{}", "x".repeat(URL_BYTES_MAX - 9))).is_ok());
        assert!(WebhookUrl::parse(&format!("http://a/{}", "x".repeat(URL_BYTES_MAX - 8))).is_err());
    }

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        // The example of the specification's own libraries.
        let key = WebhookKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();

        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);

        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_key_has_24_to_64_bytes() {
        for (bytes, is_good) in [(23, false), (24, true), (64, true), (65, false)] {
            let text = BASE64.encode(vec![7; bytes]);
            assert_eq!(WebhookKey::parse(&text).is_ok(), is_good, "{bytes}");
            assert_eq!(WebhookKey::parse(&format!("whsec_{text}")).is_ok(), is_good, "{bytes}");
        }
        assert!(WebhookKey::parse("not base64!").is_err());
    }

    #[test]
    fn what_may_help_is_tried_again_and_nothing_else() {
        let retried = |status| judge(status).err().map(|failure| failure.may_retry);
        assert_eq!([200, 204, 299].map(retried), [None; 3]);
        assert_eq!([301, 302, 307, 400, 401, 404, 410, 413].map(retried), [Some(false); 8]);
        assert_eq!([408, 429, 500, 503, 599].map(retried), [Some(true); 5]);
    }

    #[test]
    fn the_path_of_a_url_is_secret() {
        let parts = |url: &str| WebhookUrl::parse(url).unwrap().secret_parts();
        assert_eq!(parts("https://a.example/services/x?y=z"), ["https://a.example/services/x?y=z", "/services/x?y=z"]);
        assert_eq!(parts("https://a.example/"), ["https://a.example/"]);
    }
}
