//! `lan-gateway export`: writes the record of one person, or what a filter finds, to a file or to standard output.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use crate::base::text::visible;
use crate::cli::host::{HostApi, need};
use crate::cli::output::Output;
use crate::cli::socket::Stream;
use crate::cli::times::CommandTime;
use crate::model::record::Kind;
use crate::rules::export::filter::Filter;

#[derive(Args)]
#[command(
    group(ArgGroup::new("what").required(true).multiple(true)),
    override_usage = "lan-gateway export <USER> [OPTIONS]\n       lan-gateway export --all [OPTIONS]\n       \
        lan-gateway export <--token <TOKEN>|--kind <KIND>|--outcome <OUTCOME>|--model <MODEL>|--api <API>|--from <TIME>|--to \
        <TIME>|--text <TEXT>> [OPTIONS]",
    after_help = concat!(
        "USER alone exports all that this person asked, and the receipt in the last line opens `lan-gateway user \
        delete` for 15 minutes. With anything else besides, or without USER, what is found is exported, and its receipt only \
        says that the file is complete. An export that is aborted, such as when a person in it is deleted, fails: \
        it has no receipt, and leaves no FILE.\n\n",
        time_help!(),
        "\n\nExamples:\n  \
        lan-gateway export ann@example.org --output ann.csv\n  \
        lan-gateway export --token ann@example.org/n8n --from 2026-01-01 --format jsonl\n  \
        lan-gateway export --all --outcome failed"
    )
)]
pub struct ExportCommand {
    /// Requests of this person
    #[arg(group = "what")]
    user: Option<String>,
    /// Requests of all people
    #[arg(long, group = "what", conflicts_with = "user")]
    all: bool,
    /// Sent with this token: its name, OWNER/NAME or beginning
    #[arg(long, group = "what")]
    token: Option<String>,
    /// Only rows of this kind; acts need the format jsonl
    #[arg(long, group = "what", value_parser = Kind::SHOWN)]
    kind: Option<String>,
    /// completed, failed, refused, abandoned or interrupted; several with commas
    #[arg(long, group = "what")]
    outcome: Option<String>,
    /// The name of a model, as it was asked for
    #[arg(long, group = "what")]
    model: Option<String>,
    /// A route, such as /v1/chat/completions
    #[arg(long, group = "what")]
    api: Option<String>,
    /// At this time or later
    #[arg(long, group = "what", value_name = "TIME")]
    from: Option<CommandTime>,
    /// Before this time, or until the end of this day
    #[arg(long, group = "what", value_name = "TIME")]
    to: Option<CommandTime>,
    /// Words in prompts and answers: all must occur, quoted ones next to each other; `deploy*` finds every word with this
    /// beginning
    #[arg(long, group = "what")]
    text: Option<String>,
    /// The form of the file
    #[arg(long, default_value = "csv", value_parser = ["csv", "jsonl"])]
    format: String,
    /// Begin the CSV with a byte order mark, which Excel needs to read UTF-8
    #[arg(long)]
    bom: bool,
    /// Write to this file, which must not exist yet [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub async fn run(host: &HostApi, command: ExportCommand) -> anyhow::Result<()> {
    if let Some(path) = command.output.as_deref().filter(|path| path.exists()) {
        bail!("{} is there already; name another file", path.display());
    }
    let asked = asked(host, &command).await?;
    let made = host.post("/api/v1/exports", &asked).await?;
    let file = host.download(&need(&made, "url")?).await?;
    let incoming = Incoming { file, watch: Watch::new(command.format == "csv") };
    let lines = match &command.output {
        Some(path) => into_file(incoming, path).await?,
        None => copy(incoming, &mut Output).await?,
    };
    eprint!("{lines} exported; the last line is the receipt");
    match (asked["user_id"].as_str(), command.user) {
        (Some(_), Some(user)) => {
            eprintln!("; `lan-gateway user delete {} --receipt CODE` accepts it for 15 minutes", visible(&user));
        }
        _ => eprintln!(),
    }
    Ok(())
}

/// Returns the body of the request: the whole record of one person, or what a filter finds.
async fn asked(host: &HostApi, command: &ExportCommand) -> anyhow::Result<Value> {
    let ExportCommand { user, token, kind, outcome, model, api, from, to, text, format, bom, .. } = command;
    let user_id = host.person(user.as_deref()).await?;
    let rest = Filter {
        user_id: None,
        token_id: host.token_on_record(token.as_deref()).await?,
        kind: kind.clone(),
        outcome: outcome.clone(),
        model: model.clone(),
        api: api.clone(),
        from: host.times.from(from.as_ref()),
        to: host.times.to(to.as_ref()),
        text: text.clone(),
        ..Filter::default()
    };
    Ok(match user_id {
        Some(user_id) if rest == Filter::default() => json!({ "user_id": user_id, "format": format, "bom": bom }),
        user_id => json!({ "filter": Filter { user_id, ..rest }, "format": format, "bom": bom }),
    })
}

/// An export while it arrives.
struct Incoming {
    file: Stream,
    watch: Watch,
}

/// Writes to a temporary file, which gets its name only when it is complete and on disk.
async fn into_file(incoming: Incoming, path: &Path) -> anyhow::Result<u64> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = File::create(&part).with_context(|| format!("can't write {}", part.display()))?;
    let copied = copy(incoming, &mut file).await.and_then(|lines| {
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        Ok(lines)
    });
    if copied.is_err() {
        // An incomplete file is useless and holds prompts. It may already be gone.
        let _ = std::fs::remove_file(&part);
    }
    copied
}

async fn copy(mut incoming: Incoming, out: &mut impl Write) -> anyhow::Result<u64> {
    let shown = std::io::stderr().is_terminal();
    let mut bytes = 0;
    while let Some(piece) = incoming.file.next().await.context(ABORTED)? {
        out.write_all(&piece).context(ABORTED)?;
        incoming.watch.saw(&piece);
        bytes += piece.len();
        if shown {
            eprint!("\r{} lines, {} KiB ", incoming.watch.lines(), bytes / 1024);
        }
    }
    out.flush().context(ABORTED)?;
    if shown {
        eprintln!();
    }
    if !incoming.watch.has_receipt() {
        bail!("{ABORTED}: the gateway stopped, or a person in it was deleted; its log says which");
    }
    Ok(incoming.watch.lines())
}

const ABORTED: &str = "the export was aborted and has no receipt";

/// Beginnings of a receipt's line. Other lines of a CSV begin with a number, those of JSON with another field.
const RECEIPTS: [&[u8]; 2] = [b"\"receipt:", b"{\"receipt\":"];

/// Counts the lines of the file as they arrive, and checks that the last one is the receipt: the end of a body doesn't tell
/// whether it is complete.
struct Watch {
    is_csv: bool,
    /// Within a cell, where a line end belongs to the cell. Quotes in a cell are doubled, so they change nothing.
    quoted: bool,
    /// The beginning of the current line.
    head: Vec<u8>,
    ended: u64,
    last_is_receipt: bool,
}

impl Watch {
    fn new(is_csv: bool) -> Watch {
        Watch { is_csv, quoted: false, head: Vec::new(), ended: 0, last_is_receipt: false }
    }

    fn saw(&mut self, mut piece: &[u8]) {
        let head_max = RECEIPTS.map(<[u8]>::len).into_iter().max().unwrap_or(0);
        while !piece.is_empty() {
            let at = match self.is_csv {
                true => memchr::memchr2(b'"', b'\n', piece),
                false => memchr::memchr(b'\n', piece),
            };
            let length = at.map_or(piece.len(), |at| at + 1);
            let (part, rest) = piece.split_at(length);
            let room = head_max.saturating_sub(self.head.len()).min(part.len());
            self.head.extend_from_slice(&part[..room]);
            match at.map(|at| piece[at]) {
                Some(b'"') => self.quoted = !self.quoted,
                Some(_) if !self.quoted => {
                    self.ended += 1;
                    self.last_is_receipt = RECEIPTS.iter().any(|receipt| self.head.starts_with(receipt));
                    self.head.clear();
                }
                _ => {}
            }
            piece = rest;
        }
    }

    /// Returns the number of requests, refusals and acts so far.
    fn lines(&self) -> u64 {
        self.ended.saturating_sub(u64::from(self.is_csv) + u64::from(self.last_is_receipt))
    }

    fn has_receipt(&self) -> bool {
        self.last_is_receipt && self.head.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(is_csv: bool, file: &str, piece: usize) -> (u64, bool) {
        let mut watch = Watch::new(is_csv);
        file.as_bytes().chunks(piece).for_each(|piece| watch.saw(piece));
        (watch.lines(), watch.has_receipt())
    }

    #[test]
    fn a_file_is_complete_when_its_last_line_is_the_receipt() {
        let csv = "\u{feff}\"log_id\",\"prompt\"\n\"1\",\"a \"\"word\"\"\nreceipt:x\n\"\n\"receipt:abc\",\"\"\n";
        let jsonl = "{\"log_id\":1,\"prompt\":\"a \\\"word\"}\n{\"receipt\":\"abc\",\"lines\":1}\n";
        for piece in [1, 2, 7, 1000] {
            for (is_csv, file) in [(true, csv), (false, jsonl)] {
                assert_eq!(watched(is_csv, file, piece), (1, true), "{file} by {piece}");
                for cut in (0..file.len()).filter(|cut| file.is_char_boundary(*cut)) {
                    assert!(!watched(is_csv, &file[..cut], piece).1, "{} by {piece}", &file[..cut]);
                }
            }
        }
    }
}
