//! The commitments of rows to their parts.

use diesel::prelude::*;

use crate::model::commitment::{COMMITMENT_BYTES, Commitment, Committed, SALT_BYTES};
use crate::store::audit::{
    PART_ANSWER, PART_CUT, PART_NOTES, PART_ORIGIN, PART_REASONING, PART_REQUEST, PART_SETTINGS, PART_TOOL_CALLS,
};
use crate::store::schema::record_part;

/// Returns the commitment of a result to all parts of its request but the request itself; `parts` are in their order. Without the
/// part `origin` there is no salt, and no commitment.
pub fn commitment_of_result<'a>(
    parts: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
) -> Option<[u8; COMMITMENT_BYTES]> {
    let (_, origin) = parts.clone().find(|(kind, _)| *kind == PART_ORIGIN)?;
    let (salt, address) = origin.split_at_checked(SALT_BYTES)?;
    let of_kind = |kind| parts.clone().filter(move |(is, _)| *is == kind).map(|(_, body)| body);
    let mut commitment = Commitment::begin(salt);
    for (kind, word) in [
        (Committed::Answer, PART_ANSWER),
        (Committed::Reasoning, PART_REASONING),
        (Committed::ToolCalls, PART_TOOL_CALLS),
        (Committed::Notes, PART_NOTES),
    ] {
        commitment.add(kind, of_kind(word));
    }
    commitment.add(Committed::Address, std::iter::once(address).filter(|address| !address.is_empty()));
    commitment.add(Committed::Settings, of_kind(PART_SETTINGS));
    commitment.add(Committed::Cut, of_kind(PART_CUT));
    commitment.made()
}

/// Returns the same for a result whose parts are on disk already.
pub fn commitment_on_disk(
    connection: &mut SqliteConnection,
    intent: i64,
) -> QueryResult<Option<[u8; COMMITMENT_BYTES]>> {
    let parts: Vec<(String, Vec<u8>)> = record_part::table
        .filter(record_part::log_id.eq(intent))
        .filter(record_part::kind.ne(PART_REQUEST))
        .order(record_part::part)
        .select((record_part::kind, record_part::body))
        .load(connection)?;
    Ok(commitment_of_result(parts.iter().map(|(kind, body)| (kind.as_str(), body.as_slice()))))
}
