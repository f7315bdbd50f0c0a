//! `lan-gateway export`: the record of one person, or what a filter finds, into a file or to standard output.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};

use crate::cli::host::{self, Pieces};
use crate::config::Config;
use crate::control::export::ExportAsk;
use crate::rules::export::filter::Filter;

#[derive(Args)]
#[command(
    group(ArgGroup::new("what").required(true).multiple(true)),
    after_help = "USER alone exports all that this person asked, and the receipt in the last line opens `lan-gateway user \
        delete` for 15 minutes. With anything else besides, or without USER, what is found is exported, and its receipt only \
        says that the file is complete. An export that breaks off, as when somebody is deleted whose record is in it, fails: \
        it has no receipt, and leaves no FILE.\n\nExamples:\n  \
        lan-gateway export ann@example.org --output ann.csv\n  \
        lan-gateway export --token lgw_m_4sTq9ZbM1x --from 2026-01-01T00:00:00Z --format jsonl\n  \
        lan-gateway export --all --outcome failed"
)]
pub struct ExportCommand {
    /// Whose requests
    #[arg(group = "what")]
    user: Option<String>,
    /// Everybody's
    #[arg(long, group = "what", conflicts_with = "user")]
    all: bool,
    /// Sent with this token
    #[arg(long, group = "what")]
    token: Option<String>,
    /// request, refusal or act; acts take the format jsonl
    #[arg(long, group = "what")]
    kind: Option<String>,
    /// completed, failed, refused, abandoned or interrupted
    #[arg(long, group = "what")]
    outcome: Option<String>,
    /// The name of a model, as it was asked for
    #[arg(long, group = "what")]
    model: Option<String>,
    /// A route, as in /v1/chat/completions
    #[arg(long, group = "what")]
    api: Option<String>,
    /// RFC 3339, as in 2026-01-31T12:00:00Z: at this time or later
    #[arg(long, group = "what", value_name = "TIME")]
    from: Option<String>,
    /// RFC 3339: before this time
    #[arg(long, group = "what", value_name = "TIME")]
    to: Option<String>,
    /// Words in prompts and answers: all must occur, those in quotes next to each other; `deploy*` is any word that begins so
    #[arg(long, group = "what")]
    text: Option<String>,
    /// csv or jsonl
    #[arg(long, default_value = "csv")]
    format: String,
    /// Begin the CSV with a byte order mark, without which Excel takes UTF-8 for another code page
    #[arg(long)]
    bom: bool,
    /// Into this file, which must not exist yet [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ExportCommand {
    fn asked(self) -> ExportAsk {
        let ExportCommand { user, token, kind, outcome, model, api, from, to, text, bom, .. } = self;
        let rest = Filter { user_id: None, token_id: token, kind, outcome, model, api, from, to, text };
        let format = Some(self.format);
        match user {
            Some(user) if rest == Filter::default() => ExportAsk { user: Some(user), filter: None, format, bom },
            user_id => ExportAsk { user: None, filter: Some(Filter { user_id, ..rest }), format, bom },
        }
    }
}

pub async fn run(config: &Config, mut command: ExportCommand) -> anyhow::Result<()> {
    let output = command.output.take();
    if let Some(path) = output.as_deref().filter(|path| path.exists()) {
        bail!("{} is there already; name another file", path.display());
    }
    let ask = command.asked();
    let whose = ask.user.clone();
    let mut pieces = host::export(config, ask).await?;
    let lines = match &output {
        Some(path) => into_file(&mut pieces, path).await?,
        None => copy(&mut pieces, &mut std::io::stdout().lock()).await?,
    };
    eprint!("{lines} exported; the last line is the receipt");
    match whose {
        Some(user) => eprintln!(", which opens `lan-gateway user delete {user} --receipt CODE` for 15 minutes"),
        None => eprintln!(),
    }
    Ok(())
}

/// The file has its name only when it is complete and on disk.
async fn into_file(pieces: &mut Pieces, path: &Path) -> anyhow::Result<i64> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = File::create(&part).with_context(|| format!("can't write {}", part.display()))?;
    let copied = copy(pieces, &mut file).await.and_then(|lines| {
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        Ok(lines)
    });
    if copied.is_err() {
        // What broke off is of no use, and holds prompts. It may be gone already.
        let _ = std::fs::remove_file(&part);
    }
    copied
}

async fn copy(pieces: &mut Pieces, out: &mut impl Write) -> anyhow::Result<i64> {
    let shown = std::io::stderr().is_terminal();
    let (mut lines, mut bytes) = (0, 0);
    let broke_off = "the export broke off and has no receipt";
    while let Some(piece) = pieces.next().await.context(broke_off)? {
        out.write_all(&piece.bytes).context(broke_off)?;
        (lines, bytes) = (piece.lines, bytes + piece.bytes.len());
        if shown {
            eprint!("\r{lines} lines, {} KiB ", bytes / 1024);
        }
    }
    out.flush().context(broke_off)?;
    if shown {
        eprintln!();
    }
    Ok(lines)
}
