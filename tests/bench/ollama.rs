//! A fake Ollama that is fast enough to measure what stands in front of it.
//!
//! It speaks both of Ollama's faces: `/api/chat`, which the gateway asks, and `/v1/chat/completions`, which clients ask
//! without a gateway. The model's name says how it answers: `whole` in one write, `stream` 200 tokens one after the other
//! without a pause, `paced` the same with 10 ms between. Every answer is written down before the first request comes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

const TOKENS: usize = 200;
const PAUSE: Duration = Duration::from_millis(10);

/// Different, since some clients end a stream that repeats itself.
const WORDS: [&str; 10] =
    [" alpha", " bravo", " charlie", " delta", " echo", " foxtrot", " golf", " hotel", " india", " juliett"];

const WHOLE_BYTES: usize = 1024;

fn main() -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let answers = Arc::new(Answers::new());
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let workers: Vec<_> = (0..cores).map(|_| worker(answers.clone())).collect();
    println!("listening on http://{}", listener.local_addr()?);
    for worker in workers.iter().cycle() {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        if worker.send(stream).is_err() {
            break;
        }
    }
    Ok(())
}

/// A thread with an event loop of its own, and the way to give it connections.
fn worker(answers: Arc<Answers>) -> mpsc::UnboundedSender<std::net::TcpStream> {
    let (give, mut take) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            while let Some(stream) = take.recv().await {
                let answers = answers.clone();
                tokio::task::spawn_local(async move {
                    // A client that leaves ends its connection; there is nothing else to do about it.
                    let _ = serve(TcpStream::from_std(stream)?, &answers).await;
                    std::io::Result::Ok(())
                });
            }
        });
    });
    give
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut received = BytesMut::with_capacity(64 * 1024);
    loop {
        while let Some(length) = request_length(&received) {
            let request = received.split_to(length);
            answer(&mut stream, &request, answers).await?;
        }
        received.reserve(16 * 1024);
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    }
}

/// The length of the request at the beginning of `bytes`, once it is whole.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let declared = bytes[..head].split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked("content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    });
    let body = declared.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok()).unwrap_or(0);
    (bytes.len() >= head + body).then_some(head + body)
}

async fn answer(stream: &mut TcpStream, request: &[u8], answers: &Answers) -> std::io::Result<()> {
    let face = match request {
        [b'P', b'O', b'S', b'T', b' ', b'/', b'v', ..] => &answers.openai,
        [b'P', ..] => &answers.ollama,
        _ => return stream.write_all(&answers.models).await,
    };
    if request.starts_with(b"POST /api/show") {
        return stream.write_all(&answers.shown).await;
    }
    let asks = |model: &str| memmem::find(request, model.as_bytes()).is_some();
    if asks("\"model\":\"whole") {
        return stream.write_all(&face.whole).await;
    }
    let mut pause = tokio::time::interval(PAUSE);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let is_paced = asks("\"model\":\"paced");
    stream.write_all(STREAM_HEAD).await?;
    for token in face.tokens.iter().cycle().take(TOKENS) {
        if is_paced {
            pause.tick().await;
        }
        stream.write_all(token).await?;
    }
    stream.write_all(&face.end).await
}

const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";

struct Answers {
    openai: Face,
    ollama: Face,
    models: Bytes,
    /// What a model can do.
    shown: Bytes,
}

struct Face {
    whole: Bytes,
    /// Each as a chunk of HTTP of its own.
    tokens: Vec<Bytes>,
    end: Bytes,
}

impl Answers {
    fn new() -> Self {
        let text: String = WORDS.iter().copied().cycle().flat_map(str::chars).take(WHOLE_BYTES).collect();
        let shown = with_length("{\"capabilities\":[\"completion\"],\"details\":{},\"model_info\":{}}");
        Answers { openai: openai(&text), ollama: ollama(&text), models: models(), shown }
    }
}

/// As Ollama's own face for OpenAI's clients answers.
fn openai(text: &str) -> Face {
    let frame = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-417\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\
             \"model\":\"stream:latest\",\"system_fingerprint\":\"fp_ollama\",\"choices\":[{{\"index\":0,\
             \"delta\":{{\"role\":\"assistant\",\"content\":\"{delta}\"}},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let whole = format!(
        "{{\"id\":\"chatcmpl-417\",\"object\":\"chat.completion\",\"created\":1764000000,\"model\":\"whole:latest\",\
         \"system_fingerprint\":\"fp_ollama\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\
         \"content\":\"{text}\"}},\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":200,\
         \"completion_tokens\":200,\"total_tokens\":400}}}}\n"
    );
    Face {
        whole: with_length(&whole),
        tokens: WORDS.iter().map(|word| chunk(&frame(word, "null")).into()).collect(),
        end: format!("{}{}0\r\n\r\n", chunk(&frame("", "\"stop\"")), chunk("data: [DONE]\n\n")).into(),
    }
}

/// Ollama's own: lines of JSON, also when the answer is whole, since a gateway asks for a stream.
fn ollama(text: &str) -> Face {
    let line = |model: &str, text: &str, end: &str| {
        format!(
            "{{\"model\":\"{model}:latest\",\"created_at\":\"2026-11-24T00:00:00.123456789Z\",\
             \"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\"done\":{end}}}\n"
        )
    };
    let done = "true,\"done_reason\":\"stop\",\"total_duration\":2000000000,\"load_duration\":1000000,\
        \"prompt_eval_count\":200,\"prompt_eval_duration\":1000000,\"eval_count\":200,\"eval_duration\":1998000000";
    let end = |model| format!("{}0\r\n\r\n", chunk(&line(model, "", done)));
    let mut whole = STREAM_HEAD.to_vec();
    whole.extend_from_slice(chunk(&line("whole", text, "false")).as_bytes());
    whole.extend_from_slice(end("whole").as_bytes());
    Face {
        whole: whole.into(),
        tokens: WORDS.iter().map(|word| chunk(&line("stream", word, "false")).into()).collect(),
        end: end("stream").into(),
    }
}

fn models() -> Bytes {
    let card = |name: &str| {
        format!(
            "{{\"name\":\"{name}:latest\",\"model\":\"{name}:latest\",\"modified_at\":\"2026-11-24T00:00:00Z\",\
             \"size\":1,\"digest\":\"0\",\"details\":{{}}}}"
        )
    };
    with_length(&format!("{{\"models\":[{},{},{}]}}", card("whole"), card("stream"), card("paced")))
}

fn with_length(body: &str) -> Bytes {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into()
}

fn chunk(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n", body.len())
}
