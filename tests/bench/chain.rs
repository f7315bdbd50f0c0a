//! `bench-chain FOLDER`: what the chain costs. Takes it out of the database in FOLDER, a copy, and writes it again as a gateway
//! does; prints the rows and the CPU time that this took, in microseconds, as JSON.

use std::fs;
use std::path::Path;

use anyhow::Context;
use diesel::connection::SimpleConnection;
use lan_gateway::config::settings::{Live, Settings};
use lan_gateway::store::Store;
use lan_gateway::store::chain::CheckpointKey;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).context("which folder?")?;
    let folder = Path::new(&folder);
    let store = Store::open(folder, Live::new(Settings::default()))?;
    let key = CheckpointKey::load(&folder.join("secrets"), &store).await?;
    let undo = "DELETE FROM chain; DELETE FROM checkpoints; UPDATE chain_tip SET note = NULL";
    store.write(move |tx| Ok(tx.connection.batch_execute(undo)?)).await?;

    let before = cpu_us()?;
    while store.follow_chain(&key).await? {}
    let cpu = cpu_us()? - before;

    println!("{{\"rows\":{},\"cpu_us\":{cpu}}}", store.chained_to().await?);
    store.close();
    Ok(())
}

/// Returns the CPU time of the threads of this process.
fn cpu_us() -> anyhow::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let times = fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_cpu: u64 = times.split(' ').next().unwrap_or_default().parse()?;
        sum += on_cpu / 1000;
    }
    Ok(sum)
}
