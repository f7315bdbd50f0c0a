//! `lan-gateway metrics`: prints the metrics of the running gateway.

use std::io::Write;

use crate::cli::host::HostApi;
use crate::cli::output::Output;
use crate::config::Config;

pub async fn run(host: &HostApi, config: &Config) -> anyhow::Result<()> {
    host.check_running(&config.data_dir)?;
    let mut text = host.download("/metrics").await?;
    while let Some(bytes) = text.next().await? {
        Output.write_all(&bytes)?;
    }
    Ok(())
}
