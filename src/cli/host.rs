//! Where a command's question goes: to the gateway that runs on the data folder, or, when none does, to its file.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;

use crate::base::owner;
use crate::config::Config;
use crate::config::settings::Live;
use crate::control::export::{ExportAsk, Incoming, Piece};
use crate::control::{self, Answer, Ask, Verbs, export};
use crate::rules::export::{Exporter, Exports};
use crate::rules::tokens::Tokens;
use crate::serve::app::{self, DataDir};
use crate::store::Store;
use crate::store::words::Merge;

/// Asks, and returns what was answered. A refusal is an error.
pub async fn ask(config: &Config, ask: Ask) -> anyhow::Result<Answer> {
    let answer = match control::ask(&config.data_dir, &ask).await? {
        Some(answer) => answer,
        None => on_the_file(config, ask).await?,
    };
    match answer {
        Answer::Refused { message, .. } => bail!("{message}"),
        answer => Ok(answer),
    }
}

/// The database, held by this process alone.
pub struct OnFile {
    verbs: Verbs,
    folder: PathBuf,
    _held: DataDir,
}

impl OnFile {
    async fn open(config: &Config) -> anyhow::Result<OnFile> {
        let file = config.data_dir.join(crate::store::FILE);
        if !file.exists() {
            bail!(
                "there is no database at {}; start the gateway once, or name its configuration with --config",
                file.display()
            );
        }
        let held = DataDir::open(config)?;
        let store = Store::open(&config.data_dir, Live::new(config.settings))?;
        // The lock says that no gateway runs, so what has no end was interrupted.
        store.close_interrupted().await?;
        let (_, accounts) = app::people(config, &store)?;
        let tokens = Arc::new(Tokens::new(store.clone(), &config.tokens));
        let exports = Arc::new(Exports::new(store.clone()));
        // Now, too, in case this process is killed.
        owner::hand_over_all(&config.data_dir)?;
        Ok(OnFile { verbs: Verbs { accounts, tokens, exports, store }, folder: config.data_dir.clone(), _held: held })
    }

    /// What a running gateway does beside its requests: contents of the deleted go, behind the index of their words.
    async fn erase(&self) -> anyhow::Result<()> {
        while self.verbs.store.follow_words().await? {}
        let mut merge = Merge::Begin;
        while self.verbs.store.erase_some(&mut merge).await? {}
        Ok(())
    }
}

impl Drop for OnFile {
    fn drop(&mut self) {
        self.verbs.store.close();
        if let Err(cause) = owner::hand_over_all(&self.folder) {
            eprintln!("lan-gateway: files in {} may belong to root now: {cause}", self.folder.display());
        }
    }
}

async fn on_the_file(config: &Config, ask: Ask) -> anyhow::Result<Answer> {
    let file = OnFile::open(config).await?;
    let answer = control::perform(&file.verbs, ask).await;
    if matches!(answer, Answer::Deleting { .. }) {
        file.erase().await?;
    }
    Ok(answer)
}

/// An export under way.
pub enum Pieces {
    OverTheSocket(Incoming),
    OnTheFile { exporter: Box<Exporter>, _file: OnFile },
}

impl Pieces {
    /// The next piece; `None` after the last. An error: the export broke off.
    pub async fn next(&mut self) -> anyhow::Result<Option<Piece>> {
        match self {
            Pieces::OverTheSocket(incoming) => incoming.next().await,
            Pieces::OnTheFile { exporter, .. } => Ok(export::next(exporter).await?),
        }
    }
}

/// Begins an export.
pub async fn export(config: &Config, ask: ExportAsk) -> anyhow::Result<Pieces> {
    if let Some(incoming) = control::ask_for_export(&config.data_dir, ask.clone()).await? {
        return Ok(Pieces::OverTheSocket(incoming));
    }
    let file = OnFile::open(config).await?;
    let exporter = Box::new(export::begin(&file.verbs, ask).await?);
    Ok(Pieces::OnTheFile { exporter, _file: file })
}
