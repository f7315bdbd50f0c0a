//! `deploy/nginx.conf` and `deploy/Caddyfile`, with the real proxies: streams, addresses, cookies, and clients that hang up.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::https::read_until;
use crate::proxies::recorded;
use crate::support::authority::{Authority, Files};
use crate::support::eventually::until;
use crate::support::fake_ollama::{Ending, FakeOllama, Script, Step, done, text};
use crate::support::gateway::{ADMIN_PASSWORD, TestGateway, hello_stream};

const NAME: &str = "ai.example.org";

/// A proxy in a process of its own, until the test ends.
struct Proxy {
    process: Child,
    address: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Reads a recipe, with what is to be changed in it.
fn recipe(name: &str, changes: &[(&str, String)]) -> String {
    let mut text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).unwrap();
    for (old, new) in changes {
        assert!(text.contains(old), "no {old:?} in deploy/{name}");
        text = text.replace(old, new);
    }
    text
}

/// Starts a program whose files are in `folder`. `None`: it is not installed.
async fn start(command: &mut Command, folder: &Path, address: SocketAddr) -> Option<Proxy> {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let command = command.env("HOME", folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut proxy = Proxy { process: command.spawn().ok()?, address };
    until("the proxy listens", async || {
        let told = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(proxy.process.try_wait().unwrap().is_none(), "the proxy ended: {}", told());
        TcpStream::connect(address).await.is_ok()
    })
    .await;
    Some(proxy)
}

async fn nginx(folder: &Path, files: &Files, gateway: &str) -> Option<Proxy> {
    let (address, plain) = (free_address(), free_address());
    let server = recipe(
        "nginx.conf",
        &[
            ("server 127.0.0.1:7000;", format!("server {gateway};")),
            ("listen 443 ssl;", format!("listen {address} ssl;")),
            ("listen 80;", format!("listen {plain};")),
            ("/etc/ssl/ai.example.org.pem", files.certificate.display().to_string()),
            ("/etc/ssl/ai.example.org.key", files.key.display().to_string()),
        ],
    );
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("{kind}_temp_path {};", folder.join(kind).display())).concat();
    let around = format!(
        "daemon off; master_process off; pid {}; error_log stderr; events {{}} http {{ access_log off; {temporary}\n{server}\n}}",
        folder.join("pid").display()
    );
    std::fs::write(folder.join("nginx.conf"), around).unwrap();
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let program = path.split(':').map(|folder| Path::new(folder).join("nginx")).find(|program| program.exists())?;
    start(Command::new(program).arg("-c").arg(folder.join("nginx.conf")).arg("-p").arg(folder), folder, address).await
}

async fn caddy(folder: &Path, files: &Files, gateway: &str) -> Option<Proxy> {
    let address = free_address();
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let text = recipe(
        "Caddyfile",
        &[
            (
                "auto_https disable_redirects\n",
                "auto_https disable_redirects\n\tadmin off\n\tdefault_bind 127.0.0.1\n".into(),
            ),
            ("https://ai.example.org {", format!("https://ai.example.org:{} {{", address.port())),
            ("\ttls internal\n", format!("\ttls {certificate} {key}\n")),
            ("reverse_proxy 127.0.0.1:7000", format!("reverse_proxy {gateway}")),
        ],
    );
    std::fs::write(folder.join("Caddyfile"), text).unwrap();
    let mut command = Command::new("caddy");
    let command = command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
    start(command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder), folder, address).await
}

/// A client with an address of its own, which claims another one.
struct Far<'a> {
    authority: &'a Authority,
    proxy: &'a Proxy,
}

impl Far<'_> {
    async fn send(&self, head: &str, body: &str) -> TlsStream<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
        let stream = socket.connect(self.proxy.address).await.unwrap();
        let mut stream = self.authority.encrypt(stream, NAME, self.authority.trusted_by()).await.unwrap();
        let claims = "x-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: http\r\nforwarded: for=203.0.113.9\r\n";
        let length = body.len();
        let head = format!("{head} HTTP/1.1\r\nhost: {NAME}\r\n{claims}content-length: {length}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    async fn chat(&self, token: &str) -> TlsStream<TcpStream> {
        let body = hello_stream().to_string();
        let mut stream = self.send("POST /v1/chat/completions", &body).await;
        let rest = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n\r\n{body}");
        stream.write_all(rest.as_bytes()).await.unwrap();
        stream
    }
}

/// Checks what a recipe promises.
async fn keeps_its_promises(fake: &FakeOllama, gateway: &TestGateway, far: Far<'_>) {
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![text("Hello"), Step::Wait, text(" again"), done("stop")]));
    let mut stream = far.chat(&admin).await;
    // The second piece is written when the first one was read.
    read_until(&mut stream, "Hello").await;
    fake.release();
    assert!(read_until(&mut stream, "[DONE]").await.contains(" again"));
    assert_eq!(recorded(gateway, &admin).await, "127.0.0.9");

    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("username", "admin"), ("password", ADMIN_PASSWORD)])
        .finish();
    let mut stream = far.send("POST /sign-in", &form).await;
    let rest = format!("origin: https://{NAME}\r\ncontent-type: application/x-www-form-urlencoded\r\n\r\n{form}");
    stream.write_all(rest.as_bytes()).await.unwrap();
    let entered = read_until(&mut stream, "\r\n\r\n").await.to_ascii_lowercase();
    assert!(entered.starts_with("http/1.1 303"), "{entered}");
    assert!(entered.contains("set-cookie: __host-lgw_session=") && entered.contains("; secure"), "{entered}");

    fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let mut stream = far.chat(&admin).await;
    read_until(&mut stream, "Hello").await;
    drop(stream);
    fake.until(|chats| chats[1].ended.is_some()).await;
    assert_eq!(fake.chats()[1].ended.unwrap().0, Ending::Cancelled);
}

#[actix_web::test]
async fn nginx_and_caddy_pass_on_what_the_gateway_needs() {
    let (authority, folders) = (Authority::new(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    for (folder, name) in folders.iter().map(tempfile::TempDir::path).zip(["nginx", "caddy"]) {
        let fake = FakeOllama::start();
        let settings = [("TRUSTED_PROXIES", "[\"127.0.0.1/32\"]"), ("ALLOWED_HOSTS", "[\"ai.example.org\"]")];
        let gateway = TestGateway::start_with(&fake.url(), &settings);
        eprintln!("with {name}");
        let (files, behind) = (authority.write(folder, 1), gateway.url.strip_prefix("http://").unwrap());
        let proxy = match name {
            "nginx" => Some(nginx(folder, &files, behind).await.expect("nginx is installed (`make test` does that)")),
            _ => caddy(folder, &files, behind).await,
        };
        match proxy {
            Some(proxy) => keeps_its_promises(&fake, &gateway, Far { authority: &authority, proxy: &proxy }).await,
            None => eprintln!("skipped: {name} is not installed"),
        }
    }
}
