//! A small authority whose certificates the gateway shows, and clients that trust it.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SerialNumber, date_time_ymd};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};

/// An authority, and one below it that signs.
pub struct Authority {
    root_pem: String,
    middle_pem: String,
    middle: Issuer<'static, KeyPair>,
}

/// The files of a certificate.
#[derive(Clone)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Authority {
        let root = authority("the root of a test");
        let (root_key, middle_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let root = Issuer::new(root, root_key);
        let middle = authority("the authority of a test");
        let middle_pem = middle.signed_by(&middle_key, &root).unwrap().pem();
        Authority { root_pem, middle_pem, middle: Issuer::new(middle, middle_key) }
    }

    /// The certificate that clients have to trust.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Writes a new certificate for this host, with its chain, and its key.
    pub fn write(&self, folder: &Path, serial: u64) -> Files {
        self.write_until(folder, serial, 2090)
    }

    /// The same, valid until that year begins.
    pub fn write_until(&self, folder: &Path, serial: u64, year: i32) -> Files {
        self.write_until_day(folder, serial, (year, 1, 1))
    }

    /// The same, valid until the day of this year, month and number begins.
    pub fn write_until_day(&self, folder: &Path, serial: u64, (year, month, day): (i32, u8, u8)) -> Files {
        let mut params =
            CertificateParams::new(["localhost", "127.0.0.1", "::1", "ai.example.org"].map(str::to_owned)).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_after = date_time_ymd(year, month, day);
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.middle).unwrap().pem();
        let files = Files { certificate: folder.join("gateway.pem"), key: folder.join("gateway.key") };
        write(&files.certificate, &format!("{own}{}", self.middle_pem));
        write(&files.key, &key.serialize_pem());
        files
    }

    fn trusted(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.root_pem.as_bytes()).unwrap()).unwrap();
        roots
    }

    /// A client that trusts this authority, and offers these protocols.
    pub fn config(&self, versions: &[&'static SupportedProtocolVersion], protocols: &[&str]) -> ClientConfig {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_protocol_versions(versions).unwrap();
        let mut config = config.with_root_certificates(self.trusted()).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// A client of HTTP that trusts this authority.
    pub fn trusted_by(&self) -> ClientConfig {
        self.config(ALL_VERSIONS, &["http/1.1"])
    }

    /// Opens a connection to `address`.
    pub async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        self.connect_as(address, self.trusted_by()).await.unwrap()
    }

    pub async fn connect_as(&self, address: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        self.encrypt(stream, "localhost", config).await
    }

    /// Speaks TLS on a connection to the server with this name.
    pub async fn encrypt(
        &self,
        stream: TcpStream,
        name: &'static str,
        config: ClientConfig,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Writes a file that no other users may read, and puts it in place at once.
fn write(file: &Path, text: &str) {
    let new = file.with_extension("new");
    let mut options = std::fs::File::options();
    let mut opened = options.write(true).create(true).truncate(true).mode(0o600).open(&new).unwrap();
    std::io::Write::write_all(&mut opened, text.as_bytes()).unwrap();
    std::fs::rename(new, file).unwrap();
}
