//! A load of streams, or of requests at a fixed rate; what `wrk` can't make.
//!
//! `bench-client streams URL MODEL STREAMS SECONDS`: that many streams at once, one after the other on connections that are
//! kept. `bench-client rate URL PER_SECOND SECONDS`: requests start when they are due, whatever became of those before.
//! The bearer stands in `BENCH_TOKEN`. Prints one line of JSON: times in microseconds.

use std::env;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Connections over which the requests of a fixed rate are spread.
const CONNECTIONS: u32 = 32;

const PROMPT_BYTES: usize = 1024;

fn main() -> io::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u32>().map_err(io::Error::other);
    let report = match words[..] {
        ["streams", url, model, count, seconds] => {
            streams(&Target::new(url, model)?, number(count)?, number(seconds)?)?
        }
        ["rate", url, per_second, seconds] => {
            fixed_rate(&Target::new(url, "whole")?, number(per_second)?, number(seconds)?)?
        }
        _ => return Err(io::Error::other("how to use this stands in the first lines of its source")),
    };
    println!("{report}");
    Ok(())
}

struct Target {
    address: SocketAddr,
    request: Vec<u8>,
}

impl Target {
    fn new(url: &str, model: &str) -> io::Result<Target> {
        let host = url.trim_start_matches("http://");
        let address = host.parse().map_err(io::Error::other)?;
        let prompt = "tell me more ".repeat(PROMPT_BYTES / 13);
        let stream = model != "whole";
        let body = format!(
            "{{\"model\":\"{model}:latest\",\"stream\":{stream},\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]}}"
        );
        let token = env::var("BENCH_TOKEN").unwrap_or_default();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Ok(Target { address, request: (head + &body).into_bytes() })
    }
}

/// What one stream was like.
struct Seen {
    first_token: Duration,
    total: Duration,
    tokens: usize,
}

fn streams(target: &Target, count: u32, seconds: u32) -> io::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds.into());
    let seen: Vec<Seen> = tokio::task::LocalSet::new().block_on(&runtime, async {
        let request: Rc<[u8]> = target.request.as_slice().into();
        let runs: Vec<_> = (0..count)
            .map(|number| {
                // Spread, so that a first token is waited for beside streams that run, not in a crowd.
                let pause = Duration::from_millis(u64::from(number * 37 % 500));
                let (address, request) = (target.address, request.clone());
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(pause).await;
                    keep_streaming(address, &request, until).await
                })
            })
            .collect();
        let mut seen = Vec::new();
        for run in runs {
            seen.extend(run.await.map_err(io::Error::other)??);
        }
        io::Result::Ok(seen)
    })?;
    let spent = started.elapsed();
    let mut first: Vec<u64> = seen.iter().map(|one| one.first_token.as_micros() as u64).collect();
    let mut total: Vec<u64> = seen.iter().map(|one| one.total.as_micros() as u64).collect();
    let tokens: usize = seen.iter().map(|one| one.tokens).sum();
    Ok(json!({
        "answers": seen.len(),
        "tokens": tokens,
        "seconds": spent.as_secs_f64(),
        "first_token_p50": quantile(&mut first, 0.5),
        "first_token_p99": quantile(&mut first, 0.99),
        "total_p50": quantile(&mut total, 0.5),
    }))
}

/// One stream after the other until the time is over; the last is read to its end.
async fn keep_streaming(address: SocketAddr, request: &[u8], until: Instant) -> io::Result<Vec<Seen>> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut received = Vec::with_capacity(128 * 1024);
    let mut seen = Vec::new();
    while Instant::now() < until {
        received.clear();
        let started = Instant::now();
        let mut first_token = None;
        stream.write_all(request).await?;
        loop {
            if stream.read_buf(&mut received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if first_token.is_none() && memmem::find(&received, b" alpha").is_some() {
                first_token = Some(started.elapsed());
            }
            if received.ends_with(b"\r\n0\r\n\r\n") {
                break;
            }
        }
        let total = started.elapsed();
        let (Some(first_token), Some(_)) = (first_token, memmem::find(&received, b"data: [DONE]")) else {
            return Err(io::Error::other(String::from_utf8_lossy(&received).into_owned()));
        };
        seen.push(Seen { first_token, total, tokens: tokens_in_order(&received)? });
    }
    Ok(seen)
}

/// Counts the tokens, and fails when one is missing or out of its place.
fn tokens_in_order(received: &[u8]) -> io::Result<usize> {
    const CONTENT: &[u8] = b"\"content\":\" ";
    let mut count = 0;
    for at in memmem::find_iter(received, CONTENT) {
        // The words begin with the letters from a to j, in turn.
        if received[at + CONTENT.len()] != b'a' + (count % 10) as u8 {
            return Err(io::Error::other(format!("token {count} is missing")));
        }
        count += 1;
    }
    if count == 200 { Ok(count) } else { Err(io::Error::other(format!("{count} tokens of 200 arrived"))) }
}

/// Each thread has a connection and every 32nd request, so that a slow answer delays its own connection alone. A request
/// that could not be sent when it was due has waited from then on.
fn fixed_rate(target: &Target, per_second: u32, seconds: u32) -> io::Result<Value> {
    let step = Duration::from_secs(1) / per_second;
    let begin = Instant::now() + Duration::from_millis(100);
    let requests = per_second * seconds;
    let times: io::Result<Vec<Vec<u64>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let due = (number..requests).step_by(CONNECTIONS as usize).map(move |request| begin + step * request);
                scope.spawn(move || send_when_due(target, due))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a panic")))).collect()
    });
    let mut times: Vec<u64> = times?.into_iter().flatten().collect();
    Ok(json!({ "answers": times.len(), "p50": quantile(&mut times, 0.5), "p99": quantile(&mut times, 0.99) }))
}

fn send_when_due(target: &Target, due: impl Iterator<Item = Instant>) -> io::Result<Vec<u64>> {
    let mut stream = TcpStream::connect(target.address)?;
    stream.set_nodelay(true)?;
    let mut received = vec![0; 64 * 1024];
    let mut times = Vec::new();
    for due in due {
        let early = due.saturating_duration_since(Instant::now());
        thread::sleep(early);
        // How late the clock woke us is not the answer's fault.
        let started = if early.is_zero() { due } else { Instant::now() };
        stream.write_all(&target.request)?;
        let mut length = 0;
        loop {
            let read = stream.read(&mut received[length..])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            length += read;
            if is_whole(&received[..length]) {
                break;
            }
        }
        times.push(started.elapsed().as_micros() as u64);
        if !received.starts_with(b"HTTP/1.1 200 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&received[..length]).into_owned()));
        }
    }
    Ok(times)
}

fn is_whole(received: &[u8]) -> bool {
    let Some(head) = memmem::find(received, b"\r\n\r\n").map(|at| at + 4) else { return false };
    let declared = received[..head].split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked("content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    });
    match declared.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse::<usize>().ok()) {
        Some(body) => received.len() >= head + body,
        None => received.ends_with(b"\r\n0\r\n\r\n"),
    }
}

fn quantile(values: &mut [u64], share: f64) -> u64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
}
