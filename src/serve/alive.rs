//! Whether every loop of the process still turns: what the watchdog of the service manager is fed by.
//!
//! Only what a restart would heal counts: a thread that hangs, a listener that accepts nothing, a write that does not end. A full
//! disk, an answer of 503 and an upstream that is down don't count.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How often a thread notes that its loop turns.
const TURN_EVERY: Duration = Duration::from_secs(1);

/// A transaction that takes this long ends the process: the disk counts as broken, and requests would wait for ever.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(120);

/// When the loop of a thread last turned.
struct LastTurn(Mutex<Instant>);

/// The threads whose loops must turn. A thread that has ended is none of them: `base/vital` and actix see to that.
#[derive(Clone, Default)]
pub struct Loops(Arc<Mutex<Vec<Weak<LastTurn>>>>);

impl Loops {
    /// Watches the loop of the calling thread for as long as that runs.
    pub fn watch_here(&self) {
        let turn = Arc::new(LastTurn(Mutex::new(Instant::now())));
        self.lock().push(Arc::downgrade(&turn));
        actix_web::rt::spawn(async move {
            loop {
                tokio::time::sleep(TURN_EVERY).await;
                *turn.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            }
        });
    }

    /// Returns for how long the slowest of the loops has not turned.
    fn still_for(&self) -> Duration {
        let mut loops = self.lock();
        loops.retain(|turn| turn.strong_count() > 0);
        let turns = loops.iter().filter_map(Weak::upgrade);
        let last = turns.map(|turn| *turn.0.lock().unwrap_or_else(PoisonError::into_inner)).min();
        last.map_or(Duration::ZERO, |last| last.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<LastTurn>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From when on a part counts as hung. A busy machine must not reach any of them.
#[derive(Debug, Clone, Copy)]
pub struct HangLimits {
    /// Time since the last turn of a loop.
    pub turn: Duration,
    /// From the connection to a listener until that closes it.
    pub accept: Duration,
    /// Time since the running transaction began.
    pub write: Duration,
}

/// Returns which part of the process hangs, if one does. `writing_for`: how long the transaction that runs has been running.
pub async fn what_hangs(
    loops: &Loops,
    writing_for: Duration,
    listeners: &[SocketAddr],
    limits: HangLimits,
) -> Option<String> {
    let still = loops.still_for();
    if still > limits.turn {
        return Some(format!("a thread that serves connections has hung for {} s", still.as_secs()));
    }
    if writing_for > limits.write {
        return Some(format!("the disk has not finished a write for {} s", writing_for.as_secs()));
    }
    for listener in listeners {
        if !accepts(*listener, limits.accept).await {
            return Some(format!("{listener} accepts no connections"));
        }
    }
    None
}

/// Returns whether a connection is accepted and closed again in time. It sends nothing, so it is no request: it is neither
/// counted nor recorded. A listener that closes it at once, because there are too many connections, works.
async fn accepts(listener: SocketAddr, limit: Duration) -> bool {
    let served = async {
        let mut connection = TcpStream::connect(reachable(listener)).await?;
        connection.shutdown().await?;
        connection.read(&mut [0; 64]).await
    };
    match tokio::time::timeout(limit, served).await {
        Ok(Err(cause)) => cause.kind() != ErrorKind::ConnectionRefused,
        Ok(Ok(_)) => true,
        Err(_) => false,
    }
}

/// Returns an address at which this machine reaches a listener of its own.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use actix_web::{App, HttpServer};

    use super::*;

    const LIMITS: HangLimits =
        HangLimits { turn: Duration::from_secs(4), accept: Duration::from_secs(5), write: Duration::from_secs(120) };

    async fn of_loops(loops: &Loops) -> Option<String> {
        what_hangs(loops, Duration::ZERO, &[], LIMITS).await
    }

    #[actix_web::test]
    async fn a_thread_whose_loop_no_longer_turns_hangs_and_one_that_ended_does_not() {
        let (loops, (begun, has_begun), (release, released)) =
            (Loops::default(), mpsc::sync_channel(1), mpsc::sync_channel::<()>(1));
        let (began, watched) = (Instant::now(), loops.clone());
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                watched.watch_here();
                begun.send(()).unwrap();
                released.recv().unwrap();
            });
        });
        has_begun.recv().unwrap();
        loops.watch_here();

        assert_eq!(of_loops(&loops).await, None);
        tokio::time::sleep(LIMITS.turn + TURN_EVERY / 2).await;
        let hung = of_loops(&loops).await.unwrap_or_default();
        let longest = began.elapsed().as_secs();
        release.send(()).unwrap();
        thread.join().unwrap();
        let ended = of_loops(&loops).await;

        let is_told = (4..=longest).any(|seconds| hung.ends_with(&format!("has hung for {seconds} s")));
        assert!(is_told, "{hung}, of {longest} s");
        assert_eq!(ended, None, "the loop of this thread turns");
    }

    #[actix_web::test]
    async fn a_write_that_does_not_end_hangs() {
        let of = async |seconds| what_hangs(&Loops::default(), Duration::from_secs(seconds), &[], LIMITS).await;
        let (last, first) = (of(120).await, of(121).await);

        assert_eq!(last, None);
        assert!(first.is_some_and(|reason| reason.contains("a write for 121 s")));
    }

    #[actix_web::test]
    async fn a_listener_that_accepts_nothing_hangs() {
        let hangs = async |listener: SocketAddr, accept| {
            what_hangs(&Loops::default(), Duration::ZERO, &[listener], HangLimits { accept, ..LIMITS }).await
        };
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let served = HttpServer::new(App::new).workers(1).h1_allow_half_closed(false).disable_signals();
        let served = served.bind("[::]:0").or_else(|_| HttpServer::new(App::new).bind("0.0.0.0:0")).unwrap();
        let address = served.addrs()[0];
        let server = served.run();
        let handle = server.handle();
        let running = actix_web::rt::spawn(server);

        assert_eq!(hangs(address, LIMITS.accept).await, None);
        assert!(hangs(silent.local_addr().unwrap(), Duration::from_millis(200)).await.is_some());
        handle.stop(true).await;
        running.await.unwrap().unwrap();
        assert_eq!(hangs(address, LIMITS.accept).await, Some(format!("{address} accepts no connections")));
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        for (listener, reached) in
            [("0.0.0.0:7000", "127.0.0.1:7000"), ("[::]:7000", "[::1]:7000"), ("10.0.0.5:1", "10.0.0.5:1")]
        {
            assert_eq!(reachable(listener.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
