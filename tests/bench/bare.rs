//! A gateway of the same parts as ours that has nothing but its parts: what these cost by themselves, whatever we do with them.
//!
//! actix-web in front, awc behind, serde_json between, from OpenAI's face to `/api/chat` and back. `bench-bare URL` keeps no
//! record. `bench-bare URL FILE` writes two rows a request into a new SQLite file, one before the upstream is asked and one before
//! it answers, both synced: one writer, as many rows in a transaction as wait for it, checkpoints beside it. No accounts, no
//! limits, no queue, no streams, no errors that a client could read.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use actix_web::{App, HttpServer, error, post, web};
use awc::{Client, Connector};
use bytes::Bytes;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Rows in one transaction.
const BATCH_MAX: usize = 256;

const CHECKPOINT_PAUSE: Duration = Duration::from_millis(500);

#[derive(Deserialize, Serialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Question<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    model: &'a str,
    messages: &'a [Message<'a>],
    stream: bool,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    message: Message<'a>,
    #[serde(default)]
    prompt_eval_count: u64,
    #[serde(default)]
    eval_count: u64,
}

/// One worker's.
struct Bare {
    client: Client,
    url: String,
    rows: Option<mpsc::UnboundedSender<Row>>,
}

impl Bare {
    /// Returns after the row's sync, or at once where nothing is recorded.
    async fn record(&self, body: Bytes) -> actix_web::Result<()> {
        let Some(rows) = &self.rows else { return Ok(()) };
        let (synced, told) = oneshot::channel();
        rows.send(Row { body, synced }).map_err(error::ErrorServiceUnavailable)?;
        told.await.map_err(error::ErrorServiceUnavailable)
    }
}

#[post("/v1/chat/completions")]
async fn chat(body: Bytes, bare: web::Data<Bare>) -> actix_web::Result<web::Json<serde_json::Value>> {
    let question: Question<'_> = serde_json::from_slice(&body)?;
    let call = Call { model: &question.model, messages: &question.messages, stream: true };
    let call = Bytes::from(serde_json::to_vec(&call)?);
    bare.record(call.clone()).await?;

    let request = bare.client.post(&bare.url).insert_header(("content-type", "application/json")).no_decompress();
    let mut response = request.send_body(call).await.map_err(error::ErrorBadGateway)?;
    let mut lines = Vec::new();
    while let Some(chunk) = response.next().await {
        lines.extend_from_slice(&chunk.map_err(error::ErrorBadGateway)?);
    }
    let mut text = String::new();
    let (mut prompt_tokens, mut answer_tokens) = (0, 0);
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Line<'_> = serde_json::from_slice(line)?;
        text.push_str(&line.message.content);
        prompt_tokens += line.prompt_eval_count;
        answer_tokens += line.eval_count;
    }
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": question.model,
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": &text }, "finish_reason": "stop" }],
        "usage": {
            "prompt_tokens": prompt_tokens, "completion_tokens": answer_tokens, "total_tokens": prompt_tokens + answer_tokens,
        },
    });
    bare.record(text.into()).await?;
    Ok(web::Json(answer))
}

struct Row {
    body: Bytes,
    synced: oneshot::Sender<()>,
}

diesel::table! {
    record (id) {
        id -> BigInt,
        body -> Binary,
    }
}

const SETUP: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
    CREATE TABLE record (id INTEGER PRIMARY KEY, body BLOB NOT NULL);";

fn start_writer(file: &str) -> io::Result<mpsc::UnboundedSender<Row>> {
    if Path::new(file).exists() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the record has to be a new file"));
    }
    let connect = || SqliteConnection::establish(file).map_err(io::Error::other);
    let (mut connection, mut for_checkpoints) = (connect()?, connect()?);
    connection.batch_execute(SETUP).map_err(io::Error::other)?;
    let (rows, queue) = mpsc::unbounded_channel();
    thread::Builder::new().name("record-writer".into()).spawn(move || write(connection, queue))?;
    thread::Builder::new().name("checkpoints".into()).spawn(move || {
        loop {
            thread::sleep(CHECKPOINT_PAUSE);
            for_checkpoints.batch_execute("PRAGMA wal_checkpoint(PASSIVE)").expect("a checkpoint");
        }
    })?;
    Ok(rows)
}

fn write(mut connection: SqliteConnection, mut queue: mpsc::UnboundedReceiver<Row>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while let Some(first) = queue.blocking_recv() {
        batch.push(first);
        // As the gateway's writer does: whoever is about to hand over a row goes first.
        thread::yield_now();
        while batch.len() < BATCH_MAX
            && let Ok(row) = queue.try_recv()
        {
            batch.push(row);
        }
        connection
            .immediate_transaction(|connection| {
                batch.iter().try_for_each(|row| {
                    let new = record::body.eq(&row.body[..]);
                    diesel::insert_into(record::table).values(new).execute(connection).map(drop)
                })
            })
            .expect("a transaction");
        for row in batch.drain(..) {
            // Whoever waited may have gone.
            let _ = row.synced.send(());
        }
    }
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (url, rows) = match &words[..] {
        [url] => (url, None),
        [url, file] => (url, Some(start_writer(file)?)),
        _ => return Err(io::Error::other("how to use this stands in the first lines of its source")),
    };
    let url = format!("{url}/api/chat");
    let server = HttpServer::new(move || {
        let client = Client::builder().connector(Connector::new().limit(0)).no_default_headers().finish();
        App::new().app_data(web::Data::new(Bare { client, url: url.clone(), rows: rows.clone() })).service(chat)
    });
    let server = server.bind("127.0.0.1:0")?;
    println!("listening on http://{}", server.addrs()[0]);
    server.run().await
}
