//! Refusals before an intent: counted, never waited for, without content.
//!
//! They are counted per user and token (without an identity: per address prefix), reason, model and minute. The first is written at
//! once, the rest of that minute in one more row. So a runaway client can't flood the record.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;

use crate::auth::Whose;
use crate::base::clock::Timestamp;
use crate::base::ids::RequestId;
use crate::base::secret::thread_random_bytes;
use crate::metrics::RequestEnd;
use crate::model::commitment::{Committed, SALT_BYTES, commitment_to};
use crate::model::record::{Kind, Outcome};
use crate::rules::audit::Audit;
use crate::rules::audit::contents::origin;
use crate::store::audit::{self as rows, NewEntry, NewPart, NewRow};

/// A refusal before an intent. It never waits and holds no content.
pub struct Refusal<'a> {
    pub id: RequestId,
    /// The owner of the credential, if its secret was right.
    pub who: Option<Whose>,
    pub address: Option<IpAddr>,
    pub api: &'static str,
    pub model: Option<&'a str>,
    /// The provider of the model, if there is a model of this name.
    pub provider: Option<&'static str>,
    pub reason: &'static str,
    pub status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct RefusalKey {
    user_id: Option<i64>,
    token_id: Option<i64>,
    prefix: Option<String>,
    reason: &'static str,
    model: Option<String>,
}

/// The refusals of one minute after the first, which has a row of its own.
struct Tally {
    minute: i64,
    repeat: i64,
    until_us: i64,
    row: NewRow,
    prefix: Option<String>,
}

/// Keys that are counted separately in one minute. Beyond it, refusals count under one key per reason.
const REFUSAL_KEYS_MAX: usize = 10_000;

#[derive(Default)]
pub struct RefusalTallies(Mutex<HashMap<RefusalKey, Tally>>);

impl Audit {
    /// Counts a refusal.
    pub fn refused(&self, refusal: Refusal<'_>) {
        self.meters.ended(&RequestEnd {
            api: Some(refusal.api),
            outcome: Some(Outcome::Refused),
            reason: Some(refusal.reason),
            ..RequestEnd::default()
        });
        let now = Timestamp::now();
        let minute = now.seconds().div_euclid(60);
        let prefix = if refusal.who.is_some() { None } else { refusal.address.map(address_prefix) };
        let mut key = RefusalKey {
            user_id: refusal.who.map(|who| who.user_id),
            token_id: refusal.who.and_then(|who| who.token_id),
            prefix: prefix.clone(),
            reason: refusal.reason,
            model: refusal.model.map(str::to_owned),
        };
        let mut tallies = self.refusals.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if tallies.len() >= REFUSAL_KEYS_MAX && !tallies.contains_key(&key) {
            key = RefusalKey { user_id: None, token_id: None, prefix: None, reason: refusal.reason, model: None };
        }
        if let Some(tally) = tallies.get_mut(&key) {
            // On a full disk the counts wait for room, so that refusals don't fill what is left.
            if tally.minute == minute || self.disk.is_full() {
                tally.repeat += 1;
                tally.until_us = now.0;
                return;
            }
            self.write_tally(tally);
        }
        let row = NewRow {
            kind: Kind::Refusal,
            request_id: refusal.id.0.into_bytes(),
            user_id: key.user_id,
            via_user_id: refusal.who.filter(|_| key.user_id.is_some()).and_then(|who| who.via_user_id),
            token_id: key.token_id,
            credential: refusal.who.map(|who| who.credential.into()),
            api: Some(refusal.api.into()),
            provider: refusal.provider.filter(|_| key.model.is_some()),
            model_asked: key.model.clone(),
            outcome: Some(Outcome::Refused),
            reason: Some(refusal.reason),
            status: Some(i64::from(refusal.status)),
            repeat: Some(1),
            ..NewRow::default()
        };
        let tally = Tally { minute, repeat: 0, until_us: now.0, row, prefix };
        self.write_refusal(tally.row.clone(), &tally.prefix);
        tallies.insert(key, tally);
    }

    /// Writes the counts of past minutes, unless the disk is full; with `all` also those of the current one, in any case.
    pub fn flush_refusals(&self, all: bool) {
        if self.disk.is_full() && !all {
            return;
        }
        let minute = Timestamp::now().seconds().div_euclid(60);
        let mut tallies = self.refusals.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        tallies.retain(|_, tally| {
            let over = all || tally.minute != minute;
            if over {
                self.write_tally(tally);
            }
            !over
        });
    }

    fn write_tally(&self, tally: &Tally) {
        if tally.repeat > 0 {
            let row = NewRow {
                request_id: RequestId::fresh().0.into_bytes(),
                repeat: Some(tally.repeat),
                until_us: Some(tally.until_us),
                ..tally.row.clone()
            };
            self.write_refusal(row, &tally.prefix);
        }
    }

    fn write_refusal(&self, mut row: NewRow, prefix: &Option<String>) {
        let mut parts = Vec::new();
        if let Some(prefix) = prefix {
            let salt = thread_random_bytes::<SALT_BYTES>();
            row.commitment = Some(commitment_to(&salt, Committed::Address, prefix.as_bytes()));
            parts.push(NewPart { part: 0, kind: rows::PART_ORIGIN, body: origin(&salt, Some(prefix)) });
        }
        // The writer logs a failure. The refusal was answered already, so it can't be held back.
        let refusal = NewEntry::Refusal { row: Box::new(row), parts };
        self.store.append(refusal, |_, _| {});
    }
}

/// Returns the network that one household or machine controls: a whole IPv4 address, or an IPv6 /64.
fn address_prefix(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            format!("{}/64", std::net::Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_by_host_or_household() {
        assert_eq!(address_prefix("192.168.1.7".parse().unwrap()), "192.168.1.7");
        assert_eq!(address_prefix("::ffff:192.168.1.7".parse().unwrap()), "192.168.1.7");
        assert_eq!(address_prefix("2001:db8:1:2:3::4".parse().unwrap()), "2001:db8:1:2::/64");
    }
}
