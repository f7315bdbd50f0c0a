//! Quarantine for requests that crash upstreams: the same request is not sent again for a while, so that a client's retries do
//! not crash the upstream three times for everyone.
//!
//! Several requests may run when an upstream crashes, so the cause is not always clear. A request that ran alone is refused
//! from then on; of several, each becomes a *suspect*. A suspect is sent again only while no other suspect runs, so that two of
//! them never meet twice. After a second crash during it, it is refused; after a complete answer it is cleared. So a request
//! crashes an upstream twice at most, and an innocent one is refused only if it runs beside two that are not. An upstream that
//! an admin stops in the middle of a request looks like one that crashed.
//!
//! Requests are the same if their forwarded bytes are: a digest under a key of this process (SipHash) is kept and no text.
//! Memory is bounded by the running requests and by `SUSPECTS_MAX`; a restart forgets everything.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, retry_after_seconds};
use crate::config::settings::Live;
use crate::model::catalog::UpstreamId;
use crate::provider::Call;

/// Requests that are remembered; the oldest are dropped first.
const SUSPECTS_MAX: usize = 1024;

/// Crashes after which a request is refused that never ran alone.
const DEATHS_MAX: u32 = 2;

/// When a suspect may be retried while another one runs.
const SUSPECT_RETRY: Duration = Duration::from_secs(5);

/// Digest of a request's forwarded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Digest(u64);

pub struct Quarantine {
    state: Mutex<State>,
    settings: Live,
    key: RandomState,
}

struct State {
    suspects: HashMap<Digest, Suspect>,
    /// Requests from their admission to their end.
    present: BTreeMap<u64, Present>,
    next: u64,
}

struct Suspect {
    model: String,
    deaths: u32,
    /// An upstream crashed while nothing else ran there.
    was_alone: bool,
    died_at: Instant,
}

struct Present {
    digest: Digest,
    model: String,
    /// The upstream that it runs on.
    upstream: Option<UpstreamId>,
    /// Whether another request ran beside it when the upstream crashed.
    has_company: bool,
}

/// What crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Died {
    Server,
    /// The process that runs one model; requests to other models go on.
    Model,
}

/// A refused or suspected request, as an admin sees it.
#[derive(Debug, Clone)]
pub struct QuarantineEntry {
    pub digest: String,
    pub model: String,
    pub deaths: u32,
    pub is_refused: bool,
    pub until: Timestamp,
}

impl Suspect {
    fn is_refused(&self) -> bool {
        self.was_alone || self.deaths >= DEATHS_MAX
    }
}

impl Quarantine {
    pub fn new(settings: Live) -> Arc<Self> {
        let state = State { suspects: HashMap::new(), present: BTreeMap::new(), next: 0 };
        Arc::new(Quarantine { state: Mutex::new(state), settings, key: RandomState::new() })
    }

    /// Admits a call to `model`, unless it has crashed an upstream.
    pub fn admit(self: &Arc<Self>, call: &Call, model: &str) -> Result<Stay, Error> {
        self.admit_at(Digest(self.key.hash_one((&call.path, &call.body))), model, Instant::now())
    }

    fn admit_at(self: &Arc<Self>, digest: Digest, model: &str, now: Instant) -> Result<Stay, Error> {
        let lasts = self.lasts();
        let mut state = self.lock();
        state.forget(lasts, now);
        if let Some(suspect) = state.suspects.get(&digest) {
            if suspect.is_refused() {
                return Err(refused(lasts.saturating_sub(now.saturating_duration_since(suspect.died_at))));
            }
            if state.present.values().any(|other| state.suspects.contains_key(&other.digest)) {
                return Err(Error::HostBusy {
                    message:
                        "a model server died while this request ran beside others; it is tried again when no other \
                              of them is on its way"
                            .into(),
                    retry_after: SUSPECT_RETRY,
                });
            }
        }
        let id = state.next;
        state.next += 1;
        state.present.insert(id, Present { digest, model: model.to_owned(), upstream: None, has_company: false });
        Ok(Stay { quarantine: self.clone(), id })
    }

    /// Returns the requests that are refused or suspected, the newest first.
    pub fn seen(&self) -> Vec<QuarantineEntry> {
        let (lasts, now, clock) = (self.lasts(), Instant::now(), Timestamp::now());
        let mut state = self.lock();
        state.forget(lasts, now);
        let mut suspects: Vec<_> = state.suspects.iter().collect();
        suspects.sort_by_key(|(_, suspect)| std::cmp::Reverse(suspect.died_at));
        let seen = |(digest, suspect): (&Digest, &Suspect)| QuarantineEntry {
            digest: format!("{:016x}", digest.0),
            model: suspect.model.clone(),
            deaths: suspect.deaths,
            is_refused: suspect.is_refused(),
            until: clock.plus(lasts.saturating_sub(now.saturating_duration_since(suspect.died_at))),
        };
        suspects.into_iter().map(seen).collect()
    }

    fn lasts(&self) -> Duration {
        Duration::from_secs(self.settings.now().quarantine_seconds.into())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn refused(left: Duration) -> Error {
    Error::Quarantined {
        message: format!(
            "a model server died while it worked on this very request, so it is not sent again for {} s; change it \
             (a JSON schema, an image or an option may be more than the server can bear), or ask an admin",
            retry_after_seconds(left)
        ),
    }
}

impl State {
    fn forget(&mut self, lasts: Duration, now: Instant) {
        self.suspects.retain(|_, suspect| now.saturating_duration_since(suspect.died_at) < lasts);
    }

    /// Marks `id` and the requests that run beside it as not alone.
    fn look_around(&mut self, id: u64, died: Died) {
        let Some(own) = self.present.get(&id) else { return };
        let (upstream, model, digest) = (own.upstream, own.model.clone(), own.digest);
        let mut has_company = false;
        for (other_id, other) in &mut self.present {
            let is_beside = other.upstream == upstream && (died == Died::Server || other.model == model);
            // Another copy of the same request is not another suspect.
            if *other_id != id && is_beside && other.digest != digest {
                other.has_company = true;
                has_company = true;
            }
        }
        if let Some(own) = self.present.get_mut(&id) {
            own.has_company |= has_company;
        }
    }

    fn note_death(&mut self, id: u64, now: Instant) {
        let Some(Present { digest, model, has_company, .. }) = self.present.get(&id) else { return };
        let new = || Suspect { model: model.clone(), deaths: 0, was_alone: false, died_at: now };
        let suspect = self.suspects.entry(*digest).or_insert_with(new);
        suspect.deaths = suspect.deaths.saturating_add(1);
        suspect.was_alone |= !has_company;
        suspect.died_at = now;
        if self.suspects.len() > SUSPECTS_MAX {
            let oldest = self.suspects.iter().min_by_key(|(_, suspect)| suspect.died_at).map(|(digest, _)| *digest);
            oldest.and_then(|digest| self.suspects.remove(&digest));
        }
    }
}

/// An admitted request. Dropping it ends its stay.
pub struct Stay {
    quarantine: Arc<Quarantine>,
    id: u64,
}

impl Stay {
    /// Records that it was sent to `upstream`.
    pub fn begins(&self, upstream: UpstreamId) {
        if let Some(own) = self.quarantine.lock().present.get_mut(&self.id) {
            own.upstream = Some(upstream);
        }
    }

    /// Records that its connection broke. The requests beside it now matter if the upstream turns out to have crashed.
    pub fn broke_off(&self) {
        self.quarantine.lock().look_around(self.id, Died::Server);
    }

    /// Records that its upstream, or its model, crashed.
    pub fn died(&self, died: Died) {
        if !self.quarantine.lasts().is_zero() {
            let mut state = self.quarantine.lock();
            state.look_around(self.id, died);
            state.note_death(self.id, Instant::now());
        }
    }

    /// Records its complete answer, which clears it of suspicion.
    pub fn answered(&self) {
        let mut state = self.quarantine.lock();
        if let Some(digest) = state.present.get(&self.id).map(|own| own.digest)
            && !state.suspects.is_empty()
        {
            state.suspects.remove(&digest);
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.quarantine.lock().present.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;

    const LASTS: Duration = Duration::from_secs(60);
    const HERE: UpstreamId = UpstreamId(0);

    fn quarantine_for(seconds: u64) -> Arc<Quarantine> {
        Quarantine::new(Live::new(Settings::default().with([("quarantine_seconds", seconds)])))
    }

    fn quarantine() -> Arc<Quarantine> {
        quarantine_for(LASTS.as_secs())
    }

    fn admit(quarantine: &Arc<Quarantine>, digest: u64) -> Result<Stay, &'static str> {
        quarantine.admit_at(Digest(digest), "m", Instant::now()).map_err(|error| error.code())
    }

    fn runs(quarantine: &Arc<Quarantine>, digest: u64) -> Stay {
        let stay = admit(quarantine, digest).unwrap();
        stay.begins(HERE);
        stay
    }

    #[test]
    fn one_that_ran_alone_is_refused_until_its_time_is_over() {
        let quarantine = quarantine();

        runs(&quarantine, 1).died(Died::Server);

        assert_eq!(admit(&quarantine, 1).err(), Some("request_quarantined"));
        assert!(admit(&quarantine, 2).is_ok(), "others are not");
        let now = Instant::now();
        assert!(quarantine.admit_at(Digest(1), "m", now + LASTS - Duration::from_secs(1)).is_err());
        assert!(quarantine.admit_at(Digest(1), "m", now + LASTS).is_ok());
    }

    #[test]
    fn of_several_each_is_tried_once_more_but_not_beside_another() {
        let quarantine = quarantine();
        let (poison, innocent) = (runs(&quarantine, 1), runs(&quarantine, 2));
        poison.broke_off();
        poison.died(Died::Server);
        // The other request learns of the crash after the first has gone.
        drop(poison);
        innocent.broke_off();
        innocent.died(Died::Server);
        drop(innocent);

        let poison = runs(&quarantine, 1);
        assert_eq!(admit(&quarantine, 2).err(), Some("host_busy"));
        poison.died(Died::Server);
        drop(poison);

        assert_eq!(admit(&quarantine, 1).err(), Some("request_quarantined"));
        runs(&quarantine, 2).answered();
        assert_eq!(quarantine.seen().len(), 1, "the innocent one is cleared");
    }

    #[test]
    fn the_second_death_is_the_last_also_in_company() {
        let quarantine = quarantine();
        for newcomer in [8, 9] {
            let (poison, beside) = (runs(&quarantine, 1), runs(&quarantine, newcomer));
            poison.died(Died::Server);
            beside.died(Died::Server);
        }

        assert_eq!(admit(&quarantine, 1).err(), Some("request_quarantined"));
        assert!(admit(&quarantine, 8).is_ok());
    }

    #[test]
    fn the_same_request_twice_is_no_company() {
        let quarantine = quarantine();
        let (one, _same) = (runs(&quarantine, 1), runs(&quarantine, 1));

        one.died(Died::Server);

        assert_eq!(admit(&quarantine, 1).err(), Some("request_quarantined"));
    }

    #[test]
    fn a_model_that_died_suspects_only_requests_to_it_and_a_server_only_those_on_it() {
        let quarantine = quarantine();
        let other_model = quarantine.admit_at(Digest(3), "other", Instant::now()).ok().unwrap();
        other_model.begins(HERE);
        let on_another = admit(&quarantine, 4).ok().unwrap();
        on_another.begins(UpstreamId(1));

        runs(&quarantine, 1).died(Died::Model);
        assert!(quarantine.seen()[0].is_refused, "it was alone with its model");
        runs(&quarantine, 2).died(Died::Server);
        assert!(!quarantine.seen()[0].is_refused, "the other model's request was on the server");
        on_another.died(Died::Server);
        assert!(quarantine.seen()[0].is_refused);
    }

    #[test]
    fn zero_seconds_turn_it_off() {
        let quarantine = quarantine_for(0);

        runs(&quarantine, 1).died(Died::Server);

        assert!(admit(&quarantine, 1).is_ok());
        assert!(quarantine.seen().is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let quarantine = quarantine();

        for digest in 0..=SUSPECTS_MAX as u64 {
            runs(&quarantine, digest).died(Died::Server);
        }

        assert_eq!(quarantine.seen().len(), SUSPECTS_MAX);
        assert!(admit(&quarantine, 0).is_ok(), "the oldest is forgotten");
        assert!(admit(&quarantine, 1).is_err());
        assert!(quarantine.lock().present.is_empty());
    }
}
