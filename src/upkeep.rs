//! What runs beside the requests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::app::App;
use crate::config::Config;
use crate::http::guard::AddressQuotas;
use crate::store::words::Merge;

const BEAT: Duration = Duration::from_secs(5);

/// Beats between two savings of the sign-in ladder: a minute.
const LADDER_BEATS: u32 = 12;

/// How often there is a look for somebody who was deleted.
const ERASING_LOOK: Duration = Duration::from_millis(500);

/// How long erasing rests between two batches, so that others' rows come between them.
const ERASING_REST: Duration = Duration::from_millis(20);

/// How far behind the record its followers may be.
const FOLLOWERS_REST: Duration = Duration::from_millis(500);

/// While there is more to index, so much of the time is left to those who wait for their rows.
const INDEX_REST_SHARE: u32 = 3;

/// More is written than any model server answers: indexing waits, and makes a step now and then.
const BUSY_WRITES_PER_SECOND: f64 = 1000.0;
const INDEX_REST_BUSY: Duration = Duration::from_secs(1);

/// Follows the record, until it is dropped.
pub async fn follow(app: Arc<App>) {
    loop {
        match app.store.follow_usage().await {
            Ok(true) => {}
            Ok(false) => tokio::time::sleep(FOLLOWERS_REST).await,
            Err(error) => {
                warn!(cause = %error, "the sums of usage are not up to date");
                tokio::time::sleep(BEAT).await;
            }
        }
    }
}

/// Adds what came to the index of words, until it is dropped.
pub async fn index(app: Arc<App>) {
    loop {
        let (began, written) = (Instant::now(), app.store.written());
        match app.store.follow_words().await {
            Ok(true) => {
                tokio::time::sleep(began.elapsed() * INDEX_REST_SHARE).await;
                let writes = (app.store.written() - written) as f64;
                if writes / began.elapsed().as_secs_f64() > BUSY_WRITES_PER_SECOND {
                    tokio::time::sleep(INDEX_REST_BUSY).await;
                }
            }
            Ok(false) => tokio::time::sleep(FOLLOWERS_REST).await,
            Err(error) => {
                warn!(cause = %error, "the record can't be searched up to date");
                tokio::time::sleep(BEAT).await;
            }
        }
    }
}

/// Erases the contents of deleted people, batch by batch, until it is dropped.
pub async fn erase(app: Arc<App>) {
    let mut merge = Merge::Begin;
    loop {
        match app.store.erase_some(&mut merge).await {
            Ok(true) => tokio::time::sleep(ERASING_REST).await,
            Ok(false) => tokio::time::sleep(ERASING_LOOK).await,
            Err(error) => {
                warn!(cause = %error, "erasing contents goes on later");
                tokio::time::sleep(BEAT).await;
            }
        }
    }
}

/// Runs until it is dropped.
pub async fn run(app: Arc<App>, quotas: AddressQuotas) {
    for beat in 1u32.. {
        tokio::time::sleep(BEAT).await;
        if beat % LADDER_BEATS == 0 {
            let auth = app.auth.clone();
            // What goes wrong is logged there, and a later beat tries again.
            let _ = tokio::task::spawn_blocking(move || auth.throttle.save()).await;
        }
        app.stages.audit.flush_refusals(false);
        app.stages.audit.write_unwritten();
        quotas.sweep();
        if let Err(error) = app.store.advance_closed().await {
            warn!(cause = %error, "the mark of closed requests can't be moved");
        }
    }
}

/// Ollama has no door of its own: on an address that others can reach it makes the gateway pointless.
pub fn warn_of_open_upstreams(config: &Config) {
    let listening: Vec<_> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listeners(&table))
        .collect();
    for upstream in &config.upstreams {
        let port = upstream.url.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let open = listening.iter().find(|(address, on)| Some(*on) == port && !address.to_canonical().is_loopback());
        if let Some((address, port)) = open {
            warn!(
                upstream.name = %upstream.name,
                "the model server listens on {address}:{port}, which others can reach past this gateway; \
                 set OLLAMA_HOST=127.0.0.1:{port} for it"
            );
        }
    }
}

/// Addresses and ports of listening sockets in the text of `/proc/net/tcp` or `tcp6` (proc(5)).
fn listeners(table: &str) -> Vec<(IpAddr, u16)> {
    const LISTEN: &str = "0A";
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        (fields.nth(1)? == LISTEN).then_some(())?;
        let (address, port) = local.split_once(':')?;
        Some((parse_address(address)?, u16::from_str_radix(port, 16).ok()?))
    };
    table.lines().skip(1).filter_map(parse).collect()
}

/// Words of 32 bits in the host's byte order, as hexadecimal.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_read_from_the_kernels_table() {
        let table = "  sl  local_address rem_address   st\n\
            0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000\n\
            1: 00000000:1B58 00000000:0000 0A 00000000:00000000\n\
            2: 0100007F:2CAA 0100007F:9999 01 00000000:00000000\n";
        let table6 = "head\n0: 00000000000000000000000001000000:2CAA 0:0 0A 0\n";

        assert_eq!(listeners(table), [("127.0.0.1".parse().unwrap(), 11434), ("0.0.0.0".parse().unwrap(), 7000)]);
        assert_eq!(listeners(table6), [("::1".parse().unwrap(), 11434)]);
    }
}
