//! The record of requests: an intent is on disk before anything is forwarded.
//!
//! Without a record there is no service: `open` returns only after the sync, and the last byte of an answer waits for
//! `Record::close`.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::auth::Identity;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::base::secret::thread_random_bytes;
use crate::base::vital::Vitals;
use crate::config;
use crate::host::machine::Disk;
use crate::host::room::DiskGuard;
use crate::metrics::{ModelIndex, RequestEnd, RequestMeters};
use crate::model::commitment::{Committed, SALT_BYTES, commitment_to};
use crate::model::model_name::ModelName;
use crate::model::record::{Kind, Outcome};
use crate::provider::Call;
use crate::store::Store;
use crate::store::audit::{self as rows, Closing, IntentSlot, NewEntry, NewPart, NewRow, Opening};

mod contents;
mod ending;
mod numbers;
mod record;
mod refusals;

use contents::{cut_images, origin};
pub use ending::{EndNote, Ending, NotedEnd};
pub use record::Record;
pub use refusals::Refusal;
use refusals::RefusalTallies;

pub struct Audit {
    store: Store,
    /// One permit per byte that waits for the disk.
    room: Arc<Semaphore>,
    config: config::AuditSection,
    refusals: RefusalTallies,
    meters: Arc<RequestMeters>,
    disk: Arc<DiskGuard>,
    /// Results whose transaction failed; at most as many as requests run at once.
    unwritten: Mutex<Vec<(Closing, ModelIndex)>>,
}

/// What the intent row of a request is made of.
pub struct Intent<'a> {
    pub id: RequestId,
    pub who: &'a Identity,
    pub api: &'static str,
    pub provider: &'static str,
    pub model: &'a ModelName,
    /// The model's canonical name; the caller's spelling is in `model`.
    pub canonical: &'a str,
    pub call: &'a Call,
    pub address: Option<IpAddr>,
    /// Fields without effect, hints that were left out, values that were clamped.
    pub notes: Vec<String>,
    /// What a later request for the answer needs besides the contents.
    pub settings: Option<Bytes>,
    /// Where the end of the request is noted.
    pub end: EndNote,
}

/// Bytes of the queue for the last segment of a result, reserved before the intent is written. A single event can exceed them,
/// by no more than the longest line of an upstream.
const RESULT_BYTES: usize = 32 * 1024;

/// Estimated size of a row without its contents.
const ROW_BYTES: usize = 512;

/// How long a request may wait for room in the queue, and for the sync of its intent.
const OPEN_WAIT_MAX: Duration = Duration::from_secs(5);

/// Why a request was not opened: its intent is not on disk, or not known to be.
pub struct Unopened {
    pub error: Error,
    /// The intent may still be written, so it has to be closed with the error that the client gets.
    pub late: Option<Record>,
}

impl From<Error> for Unopened {
    fn from(error: Error) -> Self {
        Unopened { error, late: None }
    }
}

impl Audit {
    pub fn new(store: Store, config: config::AuditSection, meters: Arc<RequestMeters>, disk: Arc<DiskGuard>) -> Self {
        Audit {
            store,
            meters,
            room: Arc::new(Semaphore::new(config.queue_bytes_max)),
            config,
            refusals: RefusalTallies::default(),
            disk,
            unwritten: Mutex::default(),
        }
    }

    /// Writes the intent and returns after its sync. On an error nothing may be forwarded.
    pub async fn open(self: &Arc<Self>, intent: Intent<'_>) -> Result<Record, Unopened> {
        let opened = Instant::now();
        // The disk may have filled since the request came.
        self.check_disk()?;
        let bytes = intent.call.body.len() + intent.settings.as_ref().map_or(0, Bytes::len);
        self.disk.takes(bytes + ROW_BYTES);
        let mut room = self.room_for(bytes + RESULT_BYTES + 2 * ROW_BYTES).await?;
        // The intent's part is released after its sync; the result's part stays reserved.
        let for_result = room.split(RESULT_BYTES + ROW_BYTES);

        let salt = thread_random_bytes::<SALT_BYTES>();
        let row = NewRow {
            kind: Kind::Intent,
            request_id: intent.id.0.into_bytes(),
            user_id: Some(intent.who.user_id()),
            via_user_id: intent.who.via_user_id(),
            token_id: intent.who.token_id(),
            credential: Some(intent.who.credential().into()),
            api: Some(intent.api.into()),
            provider: Some(intent.provider),
            attempt: Some(1),
            model_asked: Some(intent.model.as_str().to_owned()),
            commitment: Some(commitment_to(&salt, Committed::Request, &intent.call.body)),
            ..NewRow::default()
        };
        let (body, images) = cut_images(intent.call);
        let address = intent.address.map(|address| address.to_string());
        let mut parts = vec![
            NewPart { part: 0, kind: rows::PART_REQUEST, body },
            NewPart { part: 1, kind: rows::PART_ORIGIN, body: origin(&salt, address.as_deref()) },
        ];
        if !intent.notes.is_empty() {
            parts.push(NewPart { part: 2, kind: rows::PART_NOTES, body: intent.notes.join("\n").into() });
        }
        let can_be_followed = intent.settings.is_some();
        if let Some(settings) = intent.settings {
            parts.push(NewPart { part: parts.len() as i64, kind: rows::PART_SETTINGS, body: settings });
        }

        let slot = IntentSlot::default();
        let model_served = Some(intent.canonical.to_owned());
        let result = NewRow { kind: Kind::Result, commitment: None, model_served, ..row.clone() };
        // The guard exists before the await: if the client leaves during it, the result row follows the intent's.
        // The request itself may be large, and its commitment is in the intent.
        let covered = parts[1..].to_vec();
        let record = Record::new(self.clone(), slot.clone(), result, covered, opened, for_result);
        let record = record.noted_in(intent.end).followed_later(can_be_followed);
        let (done, synced) = oneshot::channel();
        let opening = NewEntry::Intent(Box::new(Opening { slot, row, parts, images }));
        self.store.append(opening, move |_, committed| {
            drop(room);
            // The receiver may be gone.
            let _ = done.send(committed.map_err(|cause| anyhow!("{cause}")));
        });
        match tokio::time::timeout(OPEN_WAIT_MAX, synced).await {
            Ok(synced) => came_to_disk(synced).map(|()| record).map_err(Unopened::from),
            Err(_) => Err(Unopened { error: Error::audit(anyhow!("the sync took too long")), late: Some(record) }),
        }
    }

    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let bytes = u32::try_from(bytes.min(self.config.queue_bytes_max)).unwrap_or(u32::MAX);
        let acquire = self.room.clone().acquire_many_owned(bytes);
        match tokio::time::timeout(OPEN_WAIT_MAX, acquire).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(Error::audit(anyhow!("no room in the queue to the disk"))),
        }
    }

    /// Hands a result to the writer; one that could not be written is tried again by `write_unwritten`.
    fn write_result(
        self: Arc<Self>,
        closing: Closing,
        model: ModelIndex,
        done: impl FnOnce(Result<(), &str>) + Send + 'static,
    ) {
        let store = self.store.clone();
        store.append(NewEntry::Result(Box::new(closing)), move |entry, committed| {
            match entry {
                NewEntry::Result(closing) if committed.is_ok() || closing.is_short => self.count(&closing, model),
                NewEntry::Result(closing) => {
                    let mut unwritten = self.unwritten.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    unwritten.push((*closing, model));
                }
                NewEntry::Intent(_) | NewEntry::Segment { .. } | NewEntry::Refusal { .. } => {}
            }
            done(committed);
        });
    }

    /// Counts a result whose row was written. Without an intent there is no row.
    fn count(&self, closing: &Closing, model: ModelIndex) {
        if closing.slot.get().is_none() {
            return;
        }
        let row = &closing.row;
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let time = |micros: Option<i64>| number(micros).map(Duration::from_micros);
        self.meters.ended(&RequestEnd {
            api: row.api.as_deref(),
            outcome: row.outcome,
            reason: row.reason,
            model: Some(model),
            upstream: row.host.as_deref(),
            tokens_in: number(row.prompt_tokens).unwrap_or(0),
            tokens_out: number(row.answer_tokens).unwrap_or(0),
            gpu: time(row.gpu_us).unwrap_or_default(),
            queued: time(row.queued_us),
            first_token: time(row.first_token_us),
            total: time(row.total_us),
        });
    }

    /// Tries again to write results that could not be written. Their clients were told that the answer failed.
    pub fn write_unwritten(self: &Arc<Self>) {
        let unwritten = std::mem::take(&mut *self.unwritten.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        for (mut closing, model) in unwritten {
            let row = &mut closing.row;
            if row.outcome == Some(Outcome::Completed) {
                (row.outcome, row.reason) = (Some(Outcome::Failed), Some("audit_unavailable"));
            }
            self.clone().write_result(closing, model, |_| {});
        }
    }

    /// Returns a future that each worker runs on its thread, so that the writer answers all its requests at once.
    pub fn serve_worker(&self) -> impl Future<Output = ()> + use<> {
        self.store.serve_worker()
    }

    pub fn vitals(&self) -> &Vitals {
        self.store.vitals()
    }

    /// Returns how many bytes wait for the disk, or are reserved for the ends of answers that run.
    pub fn waiting_bytes(&self) -> usize {
        self.config.queue_bytes_max.saturating_sub(self.room.available_permits())
    }

    /// Refuses a request to a model while so little is free on the data disk that those that run may need it all.
    pub fn check_disk(&self) -> Result<(), Error> {
        if self.disk.is_full() { Err(Error::DiskFull) } else { Ok(()) }
    }

    /// Returns the data disk as it was about a second ago.
    pub fn disk(&self) -> Option<Disk> {
        self.disk.disk()
    }

    pub fn can_record(&self) -> bool {
        self.store.can_write()
    }
}

/// Returns the writer's answer, or an error if it ended without one.
fn came_to_disk(synced: Result<anyhow::Result<()>, oneshot::error::RecvError>) -> Result<(), Error> {
    synced.map_err(|_| Error::audit(anyhow!("the writer has ended")))?.map_err(Error::audit)
}
