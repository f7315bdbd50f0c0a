//! `[limits]`: what is not a setting.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::values::{number, seconds};

#[derive(Debug, Clone)]
pub struct LimitsSection {
    pub address_requests_per_minute: u32,
    pub body_timeout: Duration,
}

impl LimitsSection {
    pub fn read(reader: &mut Reader) -> Self {
        LimitsSection {
            address_requests_per_minute: reader.key(
                "limits.address_requests_per_minute",
                "300",
                "Requests per address to sign-in and registration, and as many to /chat. Generous: many people may share one.",
                number(1, 1_000_000),
            ) as u32,
            body_timeout: reader.key(
                "limits.body_seconds_max",
                "30",
                "The longest time that a request body may take to arrive.",
                seconds(1, 3600),
            ),
        }
    }
}
