//! The gateway's own certificate: reads its files, and tells what is wrong with them and until when it is valid.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::base::clock::Timestamp;
use crate::config::TlsFiles;

/// A certificate with its key, as they were read.
#[derive(Clone)]
pub struct OwnCertificate {
    pub pair: Arc<CertifiedKey>,
    pub facts: CertificateFacts,
}

/// What is known of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    pub file: PathBuf,
    /// In hex, to tell one certificate from another.
    pub serial: String,
    pub valid_from: Timestamp,
    pub valid_until: Timestamp,
}

/// The permission to read or write, for users that are neither the file's owner nor in its group.
const OTHERS: u32 = 0o006;

/// Certificates are a few thousand bytes long.
const FILE_BYTES_MAX: u64 = 1 << 20;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl OwnCertificate {
    /// Reads both files. An error names the file and says what to do. Blocks.
    pub fn read(files: &TlsFiles) -> anyhow::Result<OwnCertificate> {
        let TlsFiles { certificate, key } = files;
        let chain = chain(certificate)?;
        let facts = facts(certificate, &chain)?;
        let pair = CertifiedKey::from_der(chain, private_key(key)?, &ring::default_provider());
        let pair = pair.map_err(|cause| unusable(files, &cause))?;
        Ok(OwnCertificate { pair: Arc::new(pair), facts })
    }
}

impl CertificateFacts {
    /// Returns how many whole days are left. `None`: it has expired.
    pub fn days_left(&self, now: Timestamp) -> Option<u64> {
        (now <= self.valid_until).then(|| self.valid_until.since(now).as_secs() / DAY.as_secs())
    }
}

fn chain(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let (text, _) = read(file).with_context(|| unreadable("tls.certificate", file))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.with_context(|| format!("`tls.certificate`: {} is damaged", file.display()))?;
    if chain.is_empty() {
        bail!(
            "`tls.certificate`: there is no certificate in {}; it must be PEM, which begins with -----BEGIN CERTIFICATE-----",
            file.display()
        );
    }
    Ok(chain)
}

fn facts(file: &Path, chain: &[CertificateDer<'_>]) -> anyhow::Result<CertificateFacts> {
    let of_host = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let parsed = Certificate::from_der(of_host);
    let parsed =
        parsed.with_context(|| format!("`tls.certificate`: the first one in {} is damaged", file.display()))?;
    let content = parsed.tbs_certificate();
    let at = |time: x509_cert::time::Time| Timestamp(0).plus(time.to_unix_duration());
    Ok(CertificateFacts {
        file: file.to_owned(),
        serial: content.serial_number().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
        valid_from: at(content.validity().not_before),
        valid_until: at(content.validity().not_after),
    })
}

fn private_key(file: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let shown = file.display();
    let (text, mode) = read(file).with_context(|| unreadable("tls.key", file))?;
    if mode & OTHERS != 0 {
        bail!("`tls.key`: every user of this host may open {shown}; run `chmod o= {shown}`");
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|cause| match cause {
        PemError::NoItemsFound if is_encrypted(&text) => anyhow::anyhow!(
            "`tls.key`: {shown} has a password, which nobody could give at a start; remove it: \
             openssl pkey -in {shown} -out KEY-WITHOUT-PASSWORD"
        ),
        PemError::NoItemsFound => anyhow::anyhow!(
            "`tls.key`: there is no private key in {shown}; it must be PEM, as in -----BEGIN PRIVATE KEY-----"
        ),
        cause => anyhow::Error::new(cause).context(format!("`tls.key`: {shown} is damaged")),
    })
}

/// Returns what is in a file, and its permissions.
fn read(file: &Path) -> io::Result<(Vec<u8>, u32)> {
    let opened = File::open(file)?;
    let mode = opened.metadata()?.permissions().mode();
    let mut text = Vec::new();
    opened.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok((text, mode))
}

fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
}

fn unreadable(key: &str, file: &Path) -> String {
    format!("`{key}`: {} can't be read; the user that the gateway runs as needs to read it", file.display())
}

fn unusable(files: &TlsFiles, cause: &TlsError) -> anyhow::Error {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    match cause {
        TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => anyhow::anyhow!(
            "`tls.key`: the key in {key} does not belong to the first certificate in {certificate}; this host's own comes \
             first, and its key was made with it"
        ),
        cause => {
            anyhow::anyhow!("`tls.key`: the key in {key} can't be used with the certificate in {certificate}: {cause}")
        }
    }
}

#[cfg(test)]
mod tests;
