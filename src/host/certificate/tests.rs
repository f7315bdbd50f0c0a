use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SerialNumber, date_time_ymd};
use tempfile::TempDir;

use super::*;

/// A certificate with its key, in a folder of its own.
struct Pair {
    folder: TempDir,
    files: TlsFiles,
}

impl Pair {
    fn new() -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: folder.path().join("own.pem"), key: folder.path().join("own.key") };
        let mut params = CertificateParams::new(vec!["gpu-box.lan".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(0x0102_u64));
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 3, 1);
        let key = KeyPair::generate().unwrap();
        let pair = Pair { folder, files };
        pair.put(&pair.files.certificate, &params.self_signed(&key).unwrap().pem());
        pair.put(&pair.files.key, &key.serialize_pem());
        pair
    }

    fn put(&self, file: &Path, text: &str) {
        fs::write(file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap();
    }

    fn problem(&self) -> String {
        let error = OwnCertificate::read(&self.files).err().expect("it can't be used");
        format!("{error:#}")
    }
}

#[test]
fn a_pair_is_read_with_its_serial_and_its_time() {
    let facts = OwnCertificate::read(&Pair::new().files).unwrap().facts;

    assert_eq!(facts.serial, "0102");
    assert_eq!(facts.valid_from.rfc3339(), "2026-01-01T00:00:00Z");
    assert_eq!(facts.valid_until.rfc3339(), "2026-03-01T00:00:00Z");
    let left = |now: &str| facts.days_left(Timestamp::parse(now).unwrap());
    assert_eq!(left("2026-02-28T00:00:00Z"), Some(1));
    assert_eq!(left("2026-02-28T00:00:01Z"), Some(0));
    assert_eq!(left("2026-03-01T00:00:00Z"), Some(0));
    assert_eq!(left("2026-03-01T00:00:01Z"), None);
}

#[test]
fn a_key_has_any_of_the_three_forms() {
    // Made with openssl: one key, written as PKCS#8 and as SEC1, and one as PKCS#1.
    for form in ["sec1", "pkcs1"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/certificates");
        let (pair, copied) = (Pair::new(), |name: String| fs::read_to_string(folder.join(name)).unwrap());
        pair.put(&pair.files.certificate, &copied(format!("{form}.pem")));
        pair.put(&pair.files.key, &copied(format!("{form}.key")));

        assert!(OwnCertificate::read(&pair.files).is_ok(), "{form}: {}", pair.problem());
    }
}

#[test]
fn what_can_t_be_used_is_told_with_its_file_and_what_to_do() {
    let wrong = |spoil: &dyn Fn(&Pair)| {
        let pair = Pair::new();
        spoil(&pair);
        pair.problem().replace(pair.folder.path().to_str().unwrap(), "/etc")
    };
    let certificate = |text: &'static str| move |pair: &Pair| pair.put(&pair.files.certificate, text);
    let key = |text: &'static str| move |pair: &Pair| pair.put(&pair.files.key, text);
    let other_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";

    let problems = [
        wrong(&|pair| fs::remove_file(&pair.files.certificate).unwrap()),
        wrong(&certificate("no PEM")),
        wrong(&certificate(damaged)),
        wrong(&|pair| fs::remove_file(&pair.files.key).unwrap()),
        wrong(&key("no PEM")),
        wrong(&key(locked)),
        wrong(&|pair| pair.put(&pair.files.key, &other_key)),
        wrong(&|pair| fs::set_permissions(&pair.files.key, fs::Permissions::from_mode(0o644)).unwrap()),
    ];

    let wanted = [
        "`tls.certificate`: /etc/own.pem can't be read; the user that the gateway runs as needs to read it: No such file",
        "`tls.certificate`: there is no certificate in /etc/own.pem; it must be PEM",
        "`tls.certificate`: the first one in /etc/own.pem is damaged",
        "`tls.key`: /etc/own.key can't be read; the user that the gateway runs as needs to read it: No such file",
        "`tls.key`: there is no private key in /etc/own.key; it must be PEM",
        "`tls.key`: /etc/own.key has a password, which nobody could give at a start; remove it: openssl pkey -in /etc/own.key",
        "`tls.key`: the key in /etc/own.key does not belong to the first certificate in /etc/own.pem",
        "`tls.key`: every user of this host may open /etc/own.key; run `chmod o= /etc/own.key`",
    ];
    for (problem, wanted) in problems.iter().zip(wanted) {
        assert!(problem.starts_with(wanted), "{problem}");
    }
}

#[test]
fn a_group_may_read_a_key_and_nobody_else() {
    for (mode, is_good) in [(0o600, true), (0o640, true), (0o400, true), (0o604, false), (0o602, false), (0o644, false)]
    {
        let pair = Pair::new();
        fs::set_permissions(&pair.files.key, fs::Permissions::from_mode(mode)).unwrap();

        assert_eq!(OwnCertificate::read(&pair.files).is_ok(), is_good, "{mode:o}");
    }
}
