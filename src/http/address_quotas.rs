//! Rate limit per address for routes that take passwords, and for registration.

use std::fmt;
use std::net::IpAddr;

use actix_governor::governor::NotUntil;
use actix_governor::governor::clock::{Clock, DefaultClock, QuantaInstant};
use actix_governor::governor::middleware::NoOpMiddleware;
use actix_governor::{GovernorConfig, GovernorConfigBuilder, KeyExtractor};
use actix_web::dev::ServiceRequest;
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::{Dialect, legacy::Legacy, openai::OpenAi};
use crate::http::head::address;
use crate::http::reply::respond;

pub type AddressQuota = GovernorConfig<AddressKey, NoOpMiddleware<QuantaInstant>>;

/// The key of the rate limit: the address of the peer. A refusal has the shape of the route's dialect.
#[derive(Clone)]
pub struct AddressKey(&'static dyn Dialect);

impl KeyExtractor for AddressKey {
    type Key = IpAddr;
    type KeyExtractionError = NoAddress;

    fn extract(&self, request: &ServiceRequest) -> Result<IpAddr, NoAddress> {
        address(request.request()).ok_or(NoAddress)
    }

    fn exceed_rate_limit_response(&self, negative: &NotUntil<QuantaInstant>, _: HttpResponseBuilder) -> HttpResponse {
        let retry_after = negative.wait_time_from(DefaultClock::default().now());
        let message = "too many requests from this address; try again in a moment".to_owned();
        respond(self.0.error(&Error::RateLimited { message, retry_after }, &RequestId::fresh()))
    }
}

/// Error of the key; the trait needs one. A request without an address was refused at the entrance.
#[derive(Debug)]
pub struct NoAddress;

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a connection without an address")
    }
}

impl ResponseError for NoAddress {}

/// The rate limits per address, shared by all workers: one for accounts, one for `/chat`, each with its own dialect.
#[derive(Clone)]
pub struct AddressQuotas {
    pub accounts: AddressQuota,
    pub chat: AddressQuota,
}

impl AddressQuotas {
    /// Creates the limits. `None` when the limit can't be a quota, which the configuration's bounds exclude.
    pub fn new(per_minute: u32) -> Option<Self> {
        Some(AddressQuotas { accounts: quota(per_minute, &OpenAi)?, chat: quota(per_minute, &Legacy)? })
    }

    /// Drops addresses whose whole quota is available again: the maps never shrink otherwise.
    pub fn sweep(&self) {
        self.accounts.limiter().retain_recent();
        self.chat.limiter().retain_recent();
    }
}

fn quota(per_minute: u32, dialect: &'static dyn Dialect) -> Option<AddressQuota> {
    GovernorConfigBuilder::default()
        .milliseconds_per_request((60_000 / u64::from(per_minute.max(1))).max(1))
        .burst_size(per_minute)
        .key_extractor(AddressKey(dialect))
        .finish()
}
