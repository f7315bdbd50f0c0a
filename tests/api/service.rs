//! The gateway as a service of systemd: what it tells, and its unit.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{TestGateway, binary};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/lan-gateway.service");

const WAIT_MAX: Duration = Duration::from_secs(30);

/// The next messages up to one with this line.
fn until(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let (mut heard, mut bytes, begun) = (Vec::new(), [0; 4096], Instant::now());
    while !heard.iter().any(|line| line == wanted) {
        assert!(begun.elapsed() < WAIT_MAX, "no `{wanted}` after {heard:?}");
        let length = socket.recv(&mut bytes).unwrap_or_else(|cause| panic!("no `{wanted}` after {heard:?}: {cause}"));
        heard.extend(String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned));
    }
    heard
}

fn started(folder: &Path, watchdog: &str) -> (UnixDatagram, TestGateway, FakeOllama) {
    let (path, fake) = (folder.join("notify"), FakeOllama::start());
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
    let path = format!("NOTIFY_SOCKET={}", path.display());
    // `env` becomes the gateway.
    let gateway = TestGateway::start_under(&["env", &path, watchdog], &fake.url(), &[("STOP_SECONDS_MAX", "7")]);
    (socket, gateway, fake)
}

#[actix_web::test]
async fn systemd_is_told_of_the_start_the_upstreams_and_the_stop_and_its_watchdog_is_fed() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, mut gateway, _fake) = started(folder.path(), "WATCHDOG_USEC=4000000");

    let first = until(&socket, "READY=1");
    let serving = format!("STATUS=serving on {}, 1 of 1 upstreams up", gateway.url);
    until(&socket, &serving);
    until(&socket, "WATCHDOG=1");
    gateway.signal("TERM");
    let last = until(&socket, "STOPPING=1");

    assert_eq!(first.first().map(String::as_str), Some("READY=1"));
    // The time for answers, for their last bytes and rows, for the chain of the record, and for the disk.
    assert!(last.contains(&"EXTEND_TIMEOUT_USEC=45000000".to_owned()), "{last:?}");
    assert_eq!(gateway.wait(20).await, Some(0));
}

#[actix_web::test]
async fn a_stopped_process_feeds_no_watchdog_and_one_without_a_watchdog_neither() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, gateway, _fake) = started(folder.path(), "WATCHDOG_USEC=400000");
    until(&socket, "WATCHDOG=1");
    gateway.signal("STOP");
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    // What was sent before it stopped may still wait.
    while socket.recv(&mut [0; 4096]).is_ok() {}
    gateway.signal("CONT");
    socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
    until(&socket, "WATCHDOG=1");

    let other = tempfile::tempdir().unwrap();
    let (socket, gateway, _fake) = started(other.path(), "WATCHDOG_USEC=");
    until(&socket, &format!("STATUS=serving on {}, 1 of 1 upstreams up", gateway.url));
    gateway.signal("TERM");
    assert!(!until(&socket, "STOPPING=1").contains(&"WATCHDOG=1".to_owned()));
}

/// Runs systemd's own checks, where they are installed.
fn analyze(words: &[&str]) -> Option<(bool, String, String)> {
    let output = Command::new("systemd-analyze").args(words).output().ok()?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Some((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

#[test]
fn systemd_finds_nothing_in_the_unit_and_its_exposure_is_at_most_one_and_a_half() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("lan-gateway.service");
    // It complains about a program that is not there.
    let unit = std::fs::read_to_string(UNIT).unwrap().replace("/opt/lan-gateway/bin/lan-gateway", binary());
    std::fs::write(&copy, unit).unwrap();

    let Some((good, _, complaints)) = analyze(&["verify", copy.to_str().unwrap()]) else { return };
    // It exits with 0 for a key that it doesn't know.
    assert!(good && complaints.is_empty(), "{complaints}");
    let (safe, said, _) = analyze(&["security", "--offline=true", "--threshold=15", UNIT]).unwrap();
    assert!(safe, "{said}");
}

#[test]
fn a_stop_within_the_defaults_is_shorter_than_the_unit_allows() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    let seconds = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_start_matches('=').parse::<u64>().unwrap()
    };

    // 30 s for answers, 2 and 1 for their last bytes and rows, 5 for the chain of the record, 30 for the disk.
    assert!(seconds("TimeoutStopSec") > 68);
    assert!(unit.contains("\nRestartPreventExitStatus=2\n"), "the exit code of a wrong configuration");
}

#[test]
fn an_installed_program_reads_the_configuration_beside_its_folder_from_anywhere() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = root.path().canonicalize().unwrap();
    let (program, file) = (root.join("bin/lan-gateway"), root.join("lan-gateway.toml"));
    std::fs::create_dir(root.join("bin")).unwrap();
    std::fs::hard_link(binary(), &program).or_else(|_| std::fs::copy(binary(), &program).map(drop)).unwrap();
    std::fs::write(&file, "listen = \"127.0.0.1:7001\"\n").unwrap();
    std::os::unix::fs::symlink(&program, elsewhere.path().join("on-the-path")).unwrap();
    std::fs::write(elsewhere.path().join("lan-gateway.toml"), "").unwrap();
    let read = |words: &[&str]| {
        let mut check = Command::new(elsewhere.path().join("on-the-path"));
        let output = check.args(["config", "check"]).args(words).current_dir(elsewhere.path()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };

    assert!(read(&[]).contains(&format!("read from {}", file.display())), "{}", read(&[]));
    assert!(read(&["--config", "lan-gateway.toml"]).contains(elsewhere.path().to_str().unwrap()));
    std::fs::remove_file(&file).unwrap();
    assert!(read(&[]).contains(elsewhere.path().to_str().unwrap()), "without it, the folder's own is read");
}
