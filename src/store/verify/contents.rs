//! Compares the contents of a row with its commitment.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};
use ring::digest::{SHA256, digest};

use crate::model::commitment::{
    COMMITMENT_BYTES, Committed, SALT_BYTES, SALT_OF_ACTS, commitment_before_chain, commitment_to,
};
use crate::model::record::Kind;
use crate::store::audit::{
    PART_ADDRESS, PART_ANSWER, PART_CUT, PART_DETAIL, PART_NOTES, PART_ORIGIN, PART_REASONING, PART_REQUEST,
    PART_SETTINGS, PART_TOOL_CALLS, commitment_of_result, put_back,
};

/// What is needed of a row besides its hash.
#[derive(QueryableByName)]
pub struct ChainedRow {
    #[diesel(sql_type = BigInt)]
    pub log_id: i64,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub intent_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub user_id: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    pub commitment: Option<Vec<u8>>,
}

impl ChainedRow {
    pub fn kind(&self) -> Option<Kind> {
        Kind::parse(&self.kind)
    }

    /// Returns the row under which its contents are kept.
    pub fn home(&self) -> i64 {
        match self.kind() {
            Some(Kind::Result) => self.intent_id.unwrap_or(0),
            _ => self.log_id,
        }
    }
}

/// What was found of the contents of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// They are as they were written, or there were none.
    Good,
    /// None are there any more.
    Erased,
    /// There is something that nothing covers.
    Uncovered,
    Changed,
}

/// A part; `kind` is `None` where its encoding or kind is none that a gateway writes. A text would have to be UTF-8.
#[derive(QueryableByName)]
struct Part {
    #[diesel(sql_type = Nullable<Binary>)]
    kind: Option<Vec<u8>>,
    #[diesel(sql_type = Binary)]
    body: Vec<u8>,
}

impl Part {
    fn kind(&self) -> Option<&str> {
        str::from_utf8(self.kind.as_deref()?).ok()
    }
}

#[derive(QueryableByName)]
struct Placed {
    #[diesel(sql_type = BigInt)]
    offset: i64,
    #[diesel(sql_type = Binary)]
    body: Vec<u8>,
    #[diesel(sql_type = Binary)]
    sha256: Vec<u8>,
}

const OF_REQUEST: &[&str] =
    &[PART_REQUEST, PART_ORIGIN, PART_ANSWER, PART_REASONING, PART_TOOL_CALLS, PART_NOTES, PART_SETTINGS, PART_CUT];

/// These are written piece by piece. Of each other kind there is one part: of several, readers may show one.
const IN_PIECES: &[&str] = &[PART_ANSWER, PART_REASONING, PART_TOOL_CALLS, PART_NOTES];

/// Looks at the contents of a row; `is_older`: it was written before there was a chain.
pub fn look(connection: &mut SqliteConnection, row: &ChainedRow, is_older: bool) -> QueryResult<Found> {
    let Some(kind) = row.kind() else { return Ok(Found::Uncovered) };
    let is_request = matches!(kind, Kind::Intent | Kind::Result);
    let parts = parts(connection, row.home(), kind)?;
    if parts.is_empty() {
        let had = is_request || row.commitment.is_some();
        return Ok(if had { Found::Erased } else { Found::Good });
    }
    let allowed = match kind {
        Kind::Intent | Kind::Result => OF_REQUEST,
        Kind::Refusal => &[PART_ORIGIN],
        Kind::Act => &[PART_DETAIL],
    };
    // Refusals had their address in a part of its own.
    let is_allowed = |kind: &str| allowed.contains(&kind) || is_older && kind == PART_ADDRESS;
    let is_one = |kind: &str| parts.iter().filter(|part| part.kind() == Some(kind)).count() == 1;
    let is_covered = |kind: &str| is_allowed(kind) && (IN_PIECES.contains(&kind) || is_one(kind));
    if !parts.iter().all(|part| part.kind().is_some_and(is_covered)) {
        return Ok(Found::Uncovered);
    }
    let body = |wanted: &str| whole(&parts, wanted);
    let origin = body(PART_ORIGIN);
    let (salt, address) = origin.as_deref().unwrap_or_default().split_at_checked(SALT_BYTES).unwrap_or_default();
    let made: Option<[u8; COMMITMENT_BYTES]> = match kind {
        Kind::Intent => {
            let request = body(PART_REQUEST).map(|request| with_images(connection, row, request)).transpose()?;
            request.flatten().map(|request| match is_older {
                true => commitment_before_chain(salt, &[(Committed::Request, &request)]),
                false => commitment_to(salt, Committed::Request, &request),
            })
        }
        Kind::Result if is_older => row.commitment.as_ref().map(|_| {
            let said = [PART_ANSWER, PART_REASONING, PART_TOOL_CALLS].map(|kind| body(kind).unwrap_or_default());
            let kinds = [Committed::Answer, Committed::Reasoning, Committed::ToolCalls];
            let said: Vec<_> = kinds.into_iter().zip(said.iter().map(Vec::as_slice)).collect();
            commitment_before_chain(salt, &said)
        }),
        Kind::Refusal | Kind::Act if is_older => None,
        Kind::Result => {
            commitment_of_result(parts.iter().map(|part| (part.kind().unwrap_or_default(), &part.body[..])))
        }
        Kind::Refusal => Some(address)
            .filter(|address| !address.is_empty())
            .map(|address| commitment_to(salt, Committed::Address, address)),
        Kind::Act => body(PART_DETAIL).map(|detail| commitment_to(&SALT_OF_ACTS, Committed::Detail, &detail)),
    };
    let is_same = made.as_ref().map(|made| &made[..]) == row.commitment.as_deref();
    Ok(if is_same { Found::Good } else { Found::Changed })
}

/// Reads the parts under a number. A result does not cover the request itself, which may be large, nor an intent the rest.
fn parts(connection: &mut SqliteConnection, home: i64, kind: Kind) -> QueryResult<Vec<Part>> {
    diesel::sql_query(
        "SELECT CASE WHEN encoding IS 0 AND typeof(kind) = 'text' THEN CAST(kind AS BLOB) END AS kind, \
         CASE WHEN (kind IN ('request', 'origin')) = ?2 OR kind = 'origin' THEN CAST(body AS BLOB) ELSE x'' END AS body \
         FROM record_part WHERE log_id = ?1 ORDER BY part",
    )
    .bind::<BigInt, _>(home)
    .bind::<Bool, _>(kind == Kind::Intent)
    .load(connection)
}

/// Returns all parts of a kind as one.
fn whole(parts: &[Part], kind: &str) -> Option<Vec<u8>> {
    let mut of_kind = parts.iter().filter(|part| part.kind() == Some(kind)).peekable();
    of_kind.peek()?;
    Some(of_kind.flat_map(|part| part.body.iter().copied()).collect())
}

/// Puts the images of a request back. `None`: one is not there, is empty, is another person's, or is not what its digest says.
fn with_images(
    connection: &mut SqliteConnection,
    row: &ChainedRow,
    mut request: Vec<u8>,
) -> QueryResult<Option<Vec<u8>>> {
    let images = diesel::sql_query(
        "SELECT CAST(u.\"offset\" AS INTEGER) AS \"offset\", CAST(coalesce(body, '') AS BLOB) AS body, \
         CAST(coalesce(sha256, '') AS BLOB) AS sha256 FROM record_image_use u LEFT JOIN record_image i \
         ON i.id = image_id AND user_id = ? WHERE log_id = ? ORDER BY u.\"offset\"",
    );
    let images: Vec<Placed> =
        images.bind::<Nullable<BigInt>, _>(row.user_id).bind::<BigInt, _>(row.log_id).load(connection)?;
    for image in images {
        if image.body.is_empty() || digest(&SHA256, &image.body).as_ref() != image.sha256 {
            return Ok(None);
        }
        put_back(&mut request, image.offset, &image.body);
    }
    Ok(Some(request))
}
