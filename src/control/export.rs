//! Exports to the host. An answer is a row of pieces: a line of JSON that says how many bytes follow, then those bytes. The
//! line `exported` ends them; without it the export broke off, and has no receipt.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::base::error::Error;
use crate::control::tokens::named;
use crate::control::{Answer, HOST, Verbs, hear, person, say};
use crate::rules::export::filter::Filter;
use crate::rules::export::{Exporter, Extent, Format, check_mark};

/// People and tokens as they are called on the host.
#[derive(Clone, Serialize, Deserialize)]
pub struct ExportAsk {
    /// Whose whole record.
    pub user: Option<String>,
    pub filter: Option<Filter>,
    pub format: Option<String>,
    /// Whether a CSV begins with a byte order mark.
    #[serde(default)]
    pub bom: bool,
}

/// Some whole lines of the file, and how many requests, refusals and acts stand in it by now.
pub struct Piece {
    pub bytes: Vec<u8>,
    pub lines: i64,
}

/// How long whoever reads an export may take nothing of it: they may be looking at it page by page.
const STALL_MAX: Duration = Duration::from_secs(10 * 60);

/// No piece is larger: contents of one request, written as JSON.
const PIECE_BYTES_MAX: u64 = 4 << 30;

pub async fn begin(verbs: &Verbs, ask: ExportAsk) -> Result<Exporter, Error> {
    let format = Format::parse(ask.format.as_deref())?;
    check_mark(ask.bom, format)?;
    let known = |name: String| person(&verbs.accounts, name);
    let filter = match ask.filter {
        None => None,
        Some(filter) => {
            let user_id = filter.user_id.clone().map(known).transpose()?;
            let token_id = filter.token_id.as_deref().map(|token| named(token).to_owned());
            Some(Filter { user_id, token_id, ..filter })
        }
    };
    let extent = Extent::of(ask.user.map(known).transpose()?, filter)?;
    let export = verbs.exports.create(HOST, extent, format).await?;
    verbs.exports.open(HOST, &export.public_id, ask.bom).await
}

pub async fn next(exporter: &mut Exporter) -> Result<Option<Piece>, Error> {
    let piece = exporter.next().await?;
    Ok(piece.map(|bytes| Piece { bytes, lines: exporter.lines() }))
}

/// Answers with an export.
pub async fn answer(write: &mut OwnedWriteHalf, verbs: &Verbs, ask: ExportAsk) -> anyhow::Result<()> {
    let mut exporter = match begin(verbs, ask).await {
        Ok(exporter) => exporter,
        Err(error) => return say(write, &Answer::refused(&error)).await,
    };
    loop {
        match next(&mut exporter).await {
            Ok(Some(piece)) => {
                let taken = async {
                    say(write, &Answer::Piece { bytes: piece.bytes.len() as u64, lines: piece.lines }).await?;
                    anyhow::Ok(write.write_all(&piece.bytes).await?)
                };
                tokio::time::timeout(STALL_MAX, taken).await.context("nobody takes the export")??;
            }
            Ok(None) => return say(write, &Answer::Exported).await,
            Err(error) => return say(write, &Answer::refused(&error)).await,
        }
    }
}

/// An export that comes over the socket.
pub struct Incoming(pub BufReader<OwnedReadHalf>);

impl Incoming {
    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> anyhow::Result<Option<Piece>> {
        match hear(&mut self.0).await? {
            Answer::Piece { bytes, lines } if bytes <= PIECE_BYTES_MAX => {
                let mut piece = Vec::new();
                (&mut self.0).take(bytes).read_to_end(&mut piece).await?;
                if piece.len() as u64 != bytes {
                    bail!("the gateway went away");
                }
                Ok(Some(Piece { bytes: piece, lines }))
            }
            Answer::Exported => Ok(None),
            Answer::Refused { message, .. } => bail!("{message}"),
            _ => bail!("the gateway's answer is not an export"),
        }
    }
}
