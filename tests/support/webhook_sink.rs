//! A receiver of webhooks: keeps what it gets, and answers as a test tells it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::eventually::{eventually, within};

#[derive(Debug, Clone)]
pub enum WebhookReply {
    Status(u16),
    /// To this URL.
    Redirect(String),
    /// Never; the connection stays open.
    Hang,
    /// A head, and then a body without an end.
    Endless,
    /// A head without an end.
    EndlessHead,
    /// A head without an end, a byte at a time.
    SlowHead,
    Garbage,
    /// It closes the connection.
    Close,
}

#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub fn kind(&self) -> String {
        self.json()["kind"].as_str().unwrap().to_owned()
    }
}

#[derive(Clone)]
pub struct WebhookSink {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    replies: VecDeque<WebhookReply>,
    always: Option<WebhookReply>,
}

impl WebhookSink {
    pub fn start() -> WebhookSink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sink = WebhookSink { address, state: Arc::default() };
        let state = sink.state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        sink
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers the next request so.
    pub fn next(&self, reply: WebhookReply) {
        self.state.lock().unwrap().replies.push_back(reply);
    }

    /// Answers so from now on.
    pub fn always(&self, reply: WebhookReply) {
        self.state.lock().unwrap().always = Some(reply);
    }

    pub fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// The kinds of the notices that came, in their order.
    pub fn kinds(&self) -> Vec<String> {
        self.received().iter().map(Received::kind).collect()
    }

    /// Waits for the first notice of a kind.
    pub async fn until(&self, kind: &str) -> Received {
        eventually(&format!("a webhook got `{kind}`"), async || {
            self.received().into_iter().find(|received| received.kind() == kind)
        })
        .await
    }

    /// Waits until so many requests came, a minute at most.
    pub async fn until_count(&self, count: usize) -> Vec<Received> {
        let what = format!("a webhook got {count} requests");
        within(Duration::from_secs(60), &what, async || {
            Some(self.received()).filter(|received| received.len() >= count)
        })
        .await
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut received = Received { path, headers, body: String::new() };
    let mut body = vec![0; received.header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    received.body = String::from_utf8(body).unwrap();
    let reply = {
        let mut state = state.lock().unwrap();
        state.received.push(received);
        state.replies.pop_front().or(state.always.clone()).unwrap_or(WebhookReply::Status(200))
    };
    // The gateway may have gone.
    let _ = match reply {
        WebhookReply::Status(status) => write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok"),
        WebhookReply::Redirect(url) => {
            write!(stream, "HTTP/1.1 302 Found\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n")
        }
        WebhookReply::Garbage => write!(stream, "220 this is no HTTP\r\n\r\n"),
        WebhookReply::Close => Ok(()),
        WebhookReply::Hang => {
            let _ = stream.read(&mut [0; 1]);
            Ok(())
        }
        WebhookReply::EndlessHead => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n");
            while stream.write_all(b"x-more: of this\r\n").is_ok() {}
            Ok(())
        }
        WebhookReply::SlowHead => {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nx-slow: ");
            while stream.write_all(b"x").is_ok() {
                // The client sends no more, so this waits.
                let _ = stream.read(&mut [0; 1]);
            }
            Ok(())
        }
        WebhookReply::Endless => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while stream.write_all(&[b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat()).is_ok() {}
            Ok(())
        }
    };
}
