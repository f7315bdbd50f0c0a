//! A mail server that speaks SMTP (RFC 5321) with STARTTLS, TLS from the first byte, and AUTH PLAIN, and keeps the mails that it
//! takes. A test tells it how to misbehave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::eventually::eventually;
use super::tls_front::{Certificate, key_file};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkTls {
    None,
    Starttls(Certificate),
    Implicit(Certificate),
}

/// What it does in place of what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// It greets with a page of HTTP.
    Garbage,
    /// A line without an end.
    EndlessLine,
    /// It takes the connection and says nothing.
    Hang,
    /// It closes the connection at once.
    Close,
    /// It takes the mail and closes without a word.
    CloseAfterMail,
    /// Somebody on the way adds answers in plain text behind the one to STARTTLS.
    Injected,
    /// It takes the mail and does not say goodbye.
    HangAtQuit,
    /// It does not take the mail for now, as with greylisting.
    PutOff,
    /// It refuses every receiver.
    RefuseReceivers,
    /// It refuses the first receiver.
    RefuseFirst,
    /// It is busy for now.
    Busy,
}

#[derive(Debug, Clone)]
pub struct SunkMail {
    pub from: String,
    pub to: Vec<String>,
    /// Head and body as they came.
    pub text: String,
    /// Who signed in, with which password.
    pub login: Option<(String, String)>,
    pub was_encrypted: bool,
}

impl SunkMail {
    /// A header, unfolded; empty if there is none.
    pub fn header(&self, name: &str) -> String {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        line.unwrap_or_default()
    }

    /// The text, decoded if it is quoted-printable.
    pub fn body(&self) -> String {
        let body = self.text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        match self.header("Content-Transfer-Encoding").as_str() {
            "quoted-printable" => body.replace("=\r\n", "").replace("=E2=80=B9", "‹"),
            _ => body.to_owned(),
        }
    }
}

#[derive(Clone)]
pub struct MailSink {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    tls: SinkTls,
    misbehaves: Option<Misbehaviour>,
    /// The password that it takes; `None`: any.
    password: Option<String>,
    mails: Vec<SunkMail>,
    connections: usize,
}

impl MailSink {
    pub fn start(tls: SinkTls) -> MailSink {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { tls, misbehaves: None, password: None, mails: Vec::new(), connections: 0 };
        let sink = MailSink { address, state: Arc::new(Mutex::new(state)) };
        let state = sink.state.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    state.lock().unwrap().connections += 1;
                    tokio::spawn(serve(client, state.clone()));
                }
            });
        });
        sink
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn misbehaves(&self, how: Option<Misbehaviour>) {
        self.state.lock().unwrap().misbehaves = how;
    }

    /// Takes this password alone.
    pub fn wants(&self, password: &str) {
        self.state.lock().unwrap().password = Some(password.to_owned());
    }

    pub fn mails(&self) -> Vec<SunkMail> {
        self.state.lock().unwrap().mails.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Waits for the first mail whose subject contains `text`.
    pub async fn until(&self, text: &str) -> SunkMail {
        eventually(&format!("a mail about `{text}` came"), async || {
            self.mails().into_iter().find(|mail| mail.header("Subject").contains(text))
        })
        .await
    }
}

async fn serve(client: TcpStream, state: Arc<Mutex<State>>) {
    let (tls, misbehaves) = {
        let state = state.lock().unwrap();
        (state.tls, state.misbehaves)
    };
    // Whatever breaks off here was ended by the gateway.
    let _ = match tls {
        SinkTls::None => Talk::new(client, &state, misbehaves).run().await,
        SinkTls::Implicit(certificate) => match acceptor(certificate).accept(client).await {
            Ok(client) => Talk { is_encrypted: true, ..Talk::new(client, &state, misbehaves) }.run().await,
            Err(_) => Ok(()),
        },
        SinkTls::Starttls(certificate) => {
            let mut plain = Talk { offers_tls: true, ..Talk::new(client, &state, misbehaves) };
            match plain.run().await.map(|()| plain.begins_tls) {
                Ok(true) => match acceptor(certificate).accept(plain.client.into_inner()).await {
                    Ok(client) => Talk { is_encrypted: true, ..Talk::new(client, &state, misbehaves) }.obey().await,
                    Err(_) => Ok(()),
                },
                _ => Ok(()),
            }
        }
    };
}

fn acceptor(certificate: Certificate) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(certificate.file()).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key_file()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()))
}

/// A conversation with one client.
struct Talk<'a, S> {
    client: BufReader<S>,
    state: &'a Mutex<State>,
    misbehaves: Option<Misbehaviour>,
    is_encrypted: bool,
    offers_tls: bool,
    /// Whether it has ended because TLS begins.
    begins_tls: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Talk<'a, S> {
    fn new(client: S, state: &'a Mutex<State>, misbehaves: Option<Misbehaviour>) -> Self {
        let client = BufReader::new(client);
        Talk { client, state, misbehaves, is_encrypted: false, offers_tls: false, begins_tls: false }
    }

    async fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.client.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.client.flush().await
    }

    async fn hear(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.client.read_line(&mut line).await?;
        Ok(line)
    }

    /// Greets, and obeys.
    async fn run(&mut self) -> std::io::Result<()> {
        match self.misbehaves {
            Some(Misbehaviour::Garbage) => self.say("HTTP/1.1 400 Bad Request\r\n\r\nthis is no mail server").await,
            Some(Misbehaviour::EndlessLine) => loop {
                self.client.write_all(&[b'2'; 4096]).await?;
            },
            Some(Misbehaviour::Hang) => self.hear().await.map(drop),
            Some(Misbehaviour::Close) => Ok(()),
            Some(Misbehaviour::Busy) => self.say("421 busy, come back later").await,
            _ => {
                self.say("220 sink.example.org ESMTP").await?;
                self.obey().await
            }
        }
    }

    /// Obeys commands, until the client leaves or TLS begins.
    async fn obey(&mut self) -> std::io::Result<()> {
        let (mut from, mut to, mut login) = (String::new(), Vec::new(), None);
        let mut named = 0;
        loop {
            let line = self.hear().await?;
            if line.is_empty() {
                return Ok(());
            }
            let line = line.trim_end();
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let tls = if self.offers_tls { "250-STARTTLS\r\n" } else { "" };
                    let auth = if self.is_encrypted { "250-AUTH PLAIN\r\n" } else { "" };
                    self.say(&format!("250-sink.example.org\r\n{tls}{auth}250 SIZE 1000000")).await?;
                }
                "STARTTLS" => {
                    self.begins_tls = true;
                    let injected = match self.misbehaves {
                        Some(Misbehaviour::Injected) => "\r\n250-evil.example.org\r\n250 AUTH PLAIN",
                        _ => "",
                    };
                    return self.say(&format!("220 go ahead{injected}")).await;
                }
                "AUTH" => {
                    let sent = BASE64.decode(line.rsplit(' ').next().unwrap_or_default()).unwrap_or_default();
                    let sent = String::from_utf8(sent).unwrap_or_default();
                    let mut parts = sent.split('\0').skip(1).map(str::to_owned);
                    let told = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                    let wanted = self.state.lock().unwrap().password.clone();
                    if wanted.is_some_and(|wanted| wanted != told.1) {
                        // Some servers say again what they were sent, here where the gateway shortens it.
                        let much = "x".repeat(160);
                        self.say(&format!("535 5.7.8 {much} {} {}", told.1, BASE64.encode(&sent))).await?;
                    } else {
                        login = Some(told);
                        self.say("235 welcome").await?;
                    }
                }
                "MAIL" => {
                    from = address(line);
                    self.say("250 ok").await?;
                }
                "RCPT" => {
                    named += 1;
                    let is_refused = match self.misbehaves {
                        Some(Misbehaviour::RefuseReceivers) => true,
                        Some(Misbehaviour::RefuseFirst) => named == 1,
                        _ => false,
                    };
                    if is_refused {
                        self.say("550 5.1.1 no such user here").await?;
                    } else {
                        to.push(address(line));
                        self.say("250 ok").await?;
                    }
                }
                "DATA" => {
                    self.say("354 go on, end with a dot").await?;
                    let mut text = String::new();
                    loop {
                        let line = self.hear().await?;
                        if line == ".\r\n" || line.is_empty() {
                            break;
                        }
                        text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    }
                    if self.misbehaves == Some(Misbehaviour::PutOff) {
                        self.say("451 4.7.1 greylisted, try again later").await?;
                        continue;
                    }
                    let (from, to, login) = (from.clone(), to.clone(), login.clone());
                    let mail = SunkMail { from, to, text, login, was_encrypted: self.is_encrypted };
                    self.state.lock().unwrap().mails.push(mail);
                    if self.misbehaves == Some(Misbehaviour::CloseAfterMail) {
                        return Ok(());
                    }
                    self.say("250 taken").await?;
                }
                "QUIT" if self.misbehaves == Some(Misbehaviour::HangAtQuit) => {}
                "QUIT" => return self.say("221 bye").await,
                _ => self.say("500 what?").await?,
            }
        }
    }
}

fn address(line: &str) -> String {
    line.split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map(|(address, _)| address)
        .unwrap_or_default()
        .to_owned()
}
