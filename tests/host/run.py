"""`make test-host`: installs the gateway on a fresh Debian with a real systemd and a real Ollama, breaks things, and removes it.

The checks build on each other, so they run in order. Each one prints a line with its seconds; the last line counts them.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time

from machine import Failed, Machine, differences, digest, until

PROJECT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ["GATEWAY_PROGRAM"])
TOOLS = PROJECT / ".tools"
MODEL = "smollm2:135m"
PASSWORD = "correct horse battery staple"
VERSION = subprocess.run([PROGRAM, "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
# Other versions are the same program with other digits; both have as many.
NEWER, OLDER = re.sub(r"\d$", "9", VERSION), re.sub(r"^\d", "0", re.sub(r"\.\d+\.", ".0.", VERSION))
PACKAGE, UPGRADE = f"/root/lan-gateway-{VERSION}-x86_64-linux", f"/root/lan-gateway-{NEWER}-x86_64-linux"
HOME, SERVICE = "/opt/lan-gateway", "lan-gateway"

# What a removal may leave: the journal and other notes of the system, its copies of the lists of users, and what it names.
ALLOWED = re.compile(r". /(var/log/|var/lib/systemd/|etc/(passwd|group|shadow|gshadow)-$|etc/\.pwd\.lock$|var/lib/dbus/|etc/machine-id$"
                     r"|var/backups(/lan-gateway.*)?$|etc/resolv\.conf$|usr/share/ollama/\.ollama)")

checks = []


def check(run):
    checks.append(run)
    return run


# --- what the host has before ---------------------------------------------------------------

def furnish(root):
    """Gives the root a user, units and files of Ollama and of a stand-in for Open WebUI, and the packages to be installed."""
    subprocess.run(["chroot", root, "useradd", "--system", "--user-group", "--create-home", "--home-dir", "/usr/share/ollama", "ollama"], check=True)
    (root / "etc/systemd/system/ollama.service").write_text(f"""[Unit]
Description=Ollama
[Service]
ExecStart=/usr/local/bin/ollama serve
User=ollama
Environment=HOME=/usr/share/ollama OLLAMA_MODELS=/srv/ollama-models OLLAMA_NOPRUNE=1
[Install]
WantedBy=multi-user.target
""")
    webui = root / "opt/open-webui"
    webui.mkdir()
    (webui / "webui.db").write_bytes(os.urandom(1 << 20))
    (root / "etc/systemd/system/open-webui.service").write_text(
        "[Service]\nExecStart=sleep infinity\nWorkingDirectory=/opt/open-webui\n[Install]\nWantedBy=multi-user.target\n")
    for unit in ("ollama", "open-webui"):
        subprocess.run(["systemctl", f"--root={root}", "enable", "--quiet", unit], check=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n192.168.77.2 gpu.lan\n")
    (root / "root/password").write_text(PASSWORD + "\n")
    pack(root, PACKAGE, PROGRAM.read_bytes())
    shutil.copytree(PROJECT / "deploy", root / "root/clone/deploy")


def pack(root, folder, program):
    """Makes a folder as the archive of a release has it."""
    folder = root / folder.lstrip("/")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in ("deploy/install.sh", "deploy/rollback.sh", "deploy/lan-gateway.service", "deploy/lan-gateway.toml", "LICENSE", "README.md"):
        shutil.copy(PROJECT / file, folder)
    (folder / "lan-gateway").write_bytes(program)
    (folder / "lan-gateway").chmod(0o755)
    names = sorted(file.name for file in folder.iterdir())
    (folder / "SHA256SUMS").write_text("".join(f"{digest(folder / name)}  {name}\n" for name in names))


def other_version(version):
    return PROGRAM.read_bytes().replace(VERSION.encode(), version.encode())


# --- words of the checks --------------------------------------------------------------------

def want(is_so, what):
    if not is_so:
        raise Failed(what)


def install(machine, options="", folder=PACKAGE, code=0, seconds=180):
    ran = machine.run(f"sh {folder}/install.sh --yes {options}", seconds)
    want(ran.code == code, f"install.sh ended with {ran.code} instead of {code}:\n{ran.text}")
    return ran.text


def sign_in(machine):
    status, text = machine.ask("/auth/token", {"username": "admin", "password": PASSWORD})
    want(status == 200, f"signing in: {status} {text}")
    return json.loads(text)["access_token"]


def chat(machine, address="127.0.0.1:7000"):
    body = {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "Say hello."}]}
    status, text = machine.ask("/v1/chat/completions", body, sign_in(machine), address)
    want(status == 200, f"a chat: {status} {text}")
    answer = json.loads(text)
    want(answer["choices"][0]["message"]["content"].strip() and answer["usage"]["completion_tokens"] > 0, f"an empty answer: {text}")


def records(machine):
    status, text = machine.ask("/api/v1/audit?limit=100", bearer=sign_in(machine))
    want(status == 200, f"the record: {status} {text}")
    return [row for row in json.loads(text)["items"] if row["kind"] != "act"]


def is_live(machine):
    return machine.ask("/health/live", seconds=5)[0] == 200


def is_ready(machine):
    return machine.ask("/health/ready", seconds=5)[0] == 200


def running(machine):
    return machine.do(f"systemctl is-active {SERVICE} || true") == "active"


def back_by_itself(machine, process, seconds):
    return until("the gateway is back by itself",
                 lambda: running(machine) and machine.unit("MainPID") not in ("0", process) and is_live(machine), seconds)


def restart(machine):
    machine.do(f"systemctl reset-failed {SERVICE}; systemctl restart {SERVICE}")


def version(machine):
    return machine.do("lan-gateway --version").split()[1]


def unchanged(machine, before, but=r"^$"):
    changed = [line for line in differences(before, machine.listing()) if not ALLOWED.match(line) and not re.search(but, line)]
    want(not changed, "changed: " + ", ".join(changed))


# --- the checks -----------------------------------------------------------------------------

@check
def what_stands_in_the_way_is_said_before_anything_is_changed(machine):
    before = machine.listing()
    want("dry run" in install(machine, "--dry-run"), "no dry run")
    want("there is no program to install" in install(machine, folder="/root/clone/deploy", code=2), "a clone that was not built")
    want("/root/clone/target/release/lan-gateway" in install(machine, "--dry-run --binary /root/clone/target/release/lan-gateway",
                                                              "/root/clone/deploy", code=2), "a program that is not there")
    sums = machine.root / PACKAGE.lstrip("/") / "SHA256SUMS"
    right = sums.read_text()
    sums.write_text(re.sub(r"(?m)^.{8}(.*  lan-gateway)$", r"00000000\1", right))
    want("damaged" in install(machine, code=2), "a wrong checksum is not refused")
    sums.write_text(right)
    machine.do("systemd-run --quiet --unit=other systemd-socket-activate -l 7000 cat")
    until("the other program listens", lambda: machine.run("ss -Hltn 'sport = :7000' | grep -q .").code == 0, 10)
    said = install(machine, code=2)
    want("port 7000 is taken by systemd-socket-" in said, f"the holder of the port is not named: {said}")
    machine.do("systemctl stop other")
    unchanged(machine, before)


@check
def an_install_on_a_fresh_host_answers_and_admin123_opens_nothing(machine):
    said = install(machine, "--admin-password-file /root/password")
    want("http://192.168.77.2:7000" in said, f"the address is not told: {said}")
    want(machine.unit("UnitFileState") == "enabled" and running(machine), "not enabled or not running")
    status, _ = machine.ask("/auth/token", {"username": "admin", "password": "admin123"})
    want(status == 401, f"admin123: {status}")
    until("Ollama is up", lambda: is_ready(machine), 60)
    chat(machine)
    chat(machine, "192.168.77.2:7000")


@check
def the_unit_is_hardened_and_systemd_finds_nothing_in_it(machine):
    said = machine.do(f"systemd-analyze security --threshold=15 {SERVICE} | tail -n 1")
    print("      ", said)
    want(machine.do(f"systemd-analyze verify {SERVICE}.service") == "", "verify has something to say")
    rights = machine.do(f"stat -c '%a %U:%G %n' {HOME} {HOME}/bin/* {HOME}/*.toml {HOME}/data {HOME}/backups {HOME}/data/*.db")
    for wanted in ("755 root:root /opt/lan-gateway\n", "755 root:root /opt/lan-gateway/bin/lan-gateway", "640 root:lan-gateway",
                   "700 lan-gateway:lan-gateway /opt/lan-gateway/data", "700 lan-gateway:lan-gateway /opt/lan-gateway/backups",
                   "600 lan-gateway:lan-gateway /opt/lan-gateway/data/lan-gateway.db"):
        want(wanted in rights, f"{wanted!r} is not in\n{rights}")
    login = machine.do("getent passwd lan-gateway")
    want(login.endswith(":/opt/lan-gateway:/usr/sbin/nologin"), login)


@check
def every_part_works_under_that_hardening(machine):
    admin = sign_in(machine)
    status, page = machine.ask("/sign-in")
    want(status == 200 and "<form" in page, f"the page to sign in: {status}")
    # Reads the table of listening sockets and the disk.
    machine.do("systemd-run --quiet --unit=open systemd-socket-activate -l 192.168.77.2:11434 cat")
    codes = lambda: [warning["code"] for warning in json.loads(machine.ask("/api/v1/host", bearer=admin)[1])["warnings"]]
    until("the open port of Ollama is found", lambda: "upstream_open" in codes(), 20)
    machine.do("systemctl stop open")
    host = json.loads(machine.ask("/api/v1/host", bearer=admin)[1])
    want(host["record"]["disk_free_bytes"] and host["record"]["can_record"], f"the host: {host}")
    # The command line, as root, from any folder, and an export.
    want("admin" in machine.do("cd /tmp && lan-gateway user list"), "no list of people")
    want("upstream_down" not in machine.run("cd / && lan-gateway doctor").text, "doctor sees no Ollama")
    status, text = machine.ask("/api/v1/register", {"email": "ada@example.org", "password": PASSWORD})
    want(status == 202, f"registration: {status} {text}")
    machine.do("lan-gateway user approve ada@example.org && lan-gateway export --help >/dev/null")


@check
def upstreams_on_the_network_and_by_name_are_reached_and_others_are_not(machine):
    machine.do("mkdir -p /etc/systemd/system/ollama.service.d && printf '[Service]\\nEnvironment=OLLAMA_HOST=0.0.0.0:11434\\n' "
               ">/etc/systemd/system/ollama.service.d/test.conf && systemctl daemon-reload && systemctl restart ollama")
    until("Ollama is on the network", lambda: machine.ask("/api/version", address="192.168.77.2:11434", seconds=5)[0] == 200, 30)
    file = machine.root / HOME.lstrip("/") / "lan-gateway.toml"
    before = file.read_text()
    reached = {}
    for address in ("192.168.77.2", "gpu.lan", "203.0.113.2"):
        file.write_text(f'allow_remote_upstream = true\n{before.replace("[ollama]", f"[ollama]{chr(10)}url = {chr(34)}http://{address}:11434{chr(34)}", 1)}')
        restart(machine)
        try:
            until(f"the Ollama at {address} is up", lambda: is_ready(machine), 10 if address.startswith("2") else 30)
            reached[address] = True
        except Failed:
            reached[address] = False
    file.write_text(before)
    machine.do("rm -r /etc/systemd/system/ollama.service.d && systemctl daemon-reload && systemctl restart ollama")
    restart(machine)
    until("Ollama is up", lambda: is_ready(machine), 60)
    want(reached == {"192.168.77.2": True, "gpu.lan": True, "203.0.113.2": False}, f"reached: {reached}")


@check
def https_works_and_its_certificate_is_read_again_on_reload(machine):
    folder, file = machine.root / "opt/lan-gateway/tls", machine.root / "opt/lan-gateway/lan-gateway.toml"
    before = file.read_text()
    machine.do("install -d -m 750 -g lan-gateway /opt/lan-gateway/tls")
    certify(folder)
    certificate, key = (f'{name} = "/opt/lan-gateway/tls/{name}.pem"' for name in ("certificate", "key"))
    file.write_text(before.replace("\n[tls]\n", f"\n[tls]\n{certificate}\n{key}\n", 1))
    restart(machine)
    until("https answers", lambda: served(machine) == digest_of(folder), 30)
    process = machine.process()
    certify(folder)
    machine.do(f"systemctl reload {SERVICE}")
    until("the other certificate is shown", lambda: served(machine) == digest_of(folder), 30)
    want(machine.process() == process, "it was restarted")
    file.write_text(before)
    shutil.rmtree(folder)
    restart(machine)
    until("Ollama is up", lambda: is_ready(machine), 60)


def certify(folder):
    """Makes a key and a certificate for it, which the service's group may read."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=vm",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
                   check=True, capture_output=True)
    group = folder.stat().st_gid
    for file in folder.iterdir():
        os.chown(file, 0, group)
        file.chmod(0o640)


def digest_of(folder):
    text = (folder / "certificate.pem").read_text()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()


def served(machine):
    """Returns the digest of the certificate that the gateway shows, if it answers over it."""
    said = machine.run("curl -sk -m 5 -o /dev/null -w '%{http_code}\\n%{certs}' https://127.0.0.1:7443/health/live").text
    status, _, text = said.partition("\n")
    if status != "200" or "-----BEGIN" not in text:
        return None
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN"):text.index("-----END") + 25])).hexdigest()


@check
def a_second_install_changes_nothing(machine):
    before, process = machine.listing(), machine.process()
    install(machine)
    want(machine.unit("MainPID") == process, "it was restarted")
    unchanged(machine, before, r"/data/")
    chat(machine)


@check
def damage_is_repaired(machine):
    machine.do(f"rm /usr/local/bin/lan-gateway /etc/systemd/system/{SERVICE}.service && chown root {HOME}/data/lan-gateway.db && chmod 644 {HOME}/lan-gateway.toml")
    install(machine)
    rights = machine.do(f"stat -c '%a %U' {HOME}/lan-gateway.toml {HOME}/data/lan-gateway.db")
    want(rights == "640 root\n600 lan-gateway", rights)
    chat(machine)


@check
def an_upgrade_keeps_the_data_and_makes_a_backup(machine):
    before, count = digest(machine.root / HOME.lstrip("/") / "lan-gateway.toml"), len(records(machine))
    pack(machine.root, UPGRADE, other_version(NEWER))
    said = install(machine, folder=UPGRADE)
    want(f"upgrading from {VERSION} to {NEWER}" in said, said)
    want(version(machine) == NEWER, "the new version is not the one that runs")
    want(digest(machine.root / HOME.lstrip("/") / "lan-gateway.toml") == before, "the configuration was changed")
    want(len(records(machine)) == count, "rows are missing")
    backup = machine.do(f"ls {HOME}/backups/before-{NEWER}-*.db")
    want(machine.do(f"stat -c '%a %U' {backup}") == "600 lan-gateway", "the backup is open to others")
    if machine.run("lan-gateway restore --help").code == 0:
        machine.do(f"lan-gateway restore --check {backup}")
    chat(machine)


@check
def an_older_version_is_refused(machine):
    process = machine.process()
    said = install(machine, code=2)
    want("is older" in said and machine.unit("MainPID") == process, said)


def broken(machine, serve, wait):
    """Upgrades to a program that says it is newer and then does something else. The old one must be back, with its data."""
    count = len(records(machine))
    folder = "/root/broken"
    script = f'#!/bin/sh\ncase $1 in --version) echo lan-gateway 99.0.0; exit;; serve) {serve};; esac\nexec {UPGRADE}/lan-gateway "$@"\n'
    pack(machine.root, folder, script.encode())
    said = install(machine, f"--wait {wait}", folder, code=1)
    want(f"{NEWER} runs again, with its data" in said, said)
    want(version(machine) == NEWER and running(machine), "the old version is not back")
    want(len(records(machine)) == count, "rows are missing")
    left = machine.do(f"ls {HOME}/bin {HOME}/backups")
    want("upgrade" not in left and ".new" not in left, f"left behind: {left}")
    chat(machine)
    return said


@check
def an_upgrade_that_fails_to_start_leads_back_even_if_it_damaged_the_database(machine):
    said = broken(machine, f"echo garbage >{HOME}/data/lan-gateway.db; rm -f {HOME}/data/lan-gateway.db-wal; echo it is broken >&2; exit 1", 60)
    want("it failed to start" in said and "it is broken" in said, f"neither reason nor log: {said}")


@check
def an_upgrade_that_never_becomes_healthy_leads_back(machine):
    want("it was not healthy after 10 seconds" in broken(machine, "exec sleep 600", 10), "no reason")


@check
def an_install_that_is_interrupted_in_an_upgrade_leads_back(machine):
    script = f'#!/bin/sh\ncase $1 in --version) echo lan-gateway 99.0.0; exit;; serve) exec sleep 600;; esac\nexec {UPGRADE}/lan-gateway "$@"\n'
    pack(machine.root, "/root/broken", script.encode())
    begun = subprocess.Popen(machine.inside("sh", "/root/broken/install.sh", "--yes"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until("the new program is in place", lambda: "99.0.0" in machine.run("lan-gateway --version").text, 60)
    subprocess.run(machine.inside("pkill", "-TERM", "-f", "^sh /root/broken/install.sh"), check=True, timeout=10)
    want(begun.wait(timeout=120) == 1, f"it ended with {begun.returncode}")
    want(version(machine) == NEWER and running(machine), "the old version is not back")
    chat(machine)


@check
def after_a_kill_it_is_back_by_itself_and_the_answer_is_recorded_as_interrupted(machine):
    admin, process = sign_in(machine), machine.process()
    body = {"model": MODEL, "stream": True, "max_tokens": 1500, "messages": [{"role": "user", "content": "Count from one to a thousand."}]}
    stream = subprocess.Popen(machine.inside("curl", "-sN", "-m", "60", "-H", f"authorization: Bearer {admin}", "-H", "content-type: application/json",
                                             "-d", json.dumps(body), "http://127.0.0.1:7000/v1/chat/completions"), stdout=subprocess.PIPE)
    want(stream.stdout.readline().startswith(b"data: "), "no stream")
    machine.do(f"kill -9 {process}")
    print(f"       back after {back_by_itself(machine, process, 30):.1f} s")
    stream.kill()
    stream.wait()
    want(records(machine)[0]["outcome"] == "interrupted", f"the newest row: {records(machine)[0]}")
    chat(machine)


@check
def one_that_hangs_is_ended_by_the_watchdog_and_back(machine):
    process = machine.process()
    machine.do(f"kill -STOP {process}")
    print(f"       back after {back_by_itself(machine, process, 90):.1f} s")
    want("Watchdog timeout" in machine.log(), "it was not the watchdog")
    chat(machine)


@check
def it_lives_on_without_ollama_and_serves_when_that_is_back(machine):
    process = machine.process()
    machine.do("systemctl stop ollama")
    until("it is not ready", lambda: machine.ask("/health/ready", seconds=5)[0] == 503, 30)
    # Longer than the watchdog waits.
    time.sleep(35)
    want(is_live(machine) and machine.unit("MainPID") == process, "it did not live on")
    want("0 of 1 upstreams up" in machine.unit("StatusText"), machine.unit("StatusText"))
    machine.do("systemctl start ollama")
    until("it is ready", lambda: is_ready(machine), 60)
    chat(machine)


@check
def after_a_reboot_it_is_back(machine):
    count = len(records(machine))
    machine.reboot()
    until("it is ready", lambda: is_ready(machine), 60)
    want(len(records(machine)) == count, "rows are missing")
    chat(machine)


@check
def one_that_fails_again_and_again_stays_failed_and_says_why(machine):
    drop_in = f"/etc/systemd/system/{SERVICE}.service.d"
    machine.do(f"mkdir {drop_in} && printf '[Service]\\nEnvironment=LGW_LISTEN=198.51.100.1:7000\\n' >{drop_in}/test.conf && systemctl daemon-reload")
    machine.run(f"systemctl reset-failed {SERVICE}; systemctl restart {SERVICE}")
    until("it stays failed", lambda: machine.unit("ActiveState") == "failed", 60)
    want(machine.unit("NRestarts") in ("4", "5"), machine.unit("NRestarts"))
    want("can't listen on 198.51.100.1:7000" in machine.log() and "too quickly" in machine.log(), machine.log())
    # A wrong configuration is not tried again.
    machine.do(f"printf '[Service]\\nEnvironment=LGW_LISTEN=nowhere\\n' >{drop_in}/test.conf && systemctl daemon-reload && systemctl reset-failed {SERVICE}")
    machine.run(f"systemctl start {SERVICE}")
    until("it has failed", lambda: machine.unit("ActiveState") == "failed", 20)
    want(machine.unit("NRestarts") == "0" and machine.unit("ExecMainStatus") == "2", "it was tried again")
    machine.do(f"rm -r {drop_in} && systemctl daemon-reload && systemctl reset-failed {SERVICE} && systemctl start {SERVICE}")
    chat(machine)


@check
def commands_of_root_on_a_stopped_gateway_leave_it_usable(machine):
    machine.do(f"systemctl stop {SERVICE}")
    machine.do("cd / && lan-gateway user list && lan-gateway settings set requests_per_minute 50 && lan-gateway settings unset requests_per_minute")
    foreign = machine.do(f"find {HOME}/data ! -user lan-gateway")
    want(not foreign, f"not the service's: {foreign}")
    machine.do(f"systemctl start {SERVICE}")
    chat(machine)


@check
def ollama_is_pinned_only_when_asked_and_let_go_with_the_gateway(machine):
    pin = "/etc/systemd/system/ollama.service.d/lan-gateway.conf"
    want(machine.run(f"test -e {pin}").code == 1, "it was pinned without being asked")
    install(machine, "--pin-ollama", folder=UPGRADE)
    environment = machine.unit("Environment", "ollama")
    want("OLLAMA_HOST=127.0.0.1:11434" in environment and "OLLAMA_NO_CLOUD=1" in environment, environment)
    said = machine.do(f"sh {HOME}/share/rollback.sh --keep-data")
    want("systemctl restart ollama" in said and machine.run(f"test -e {pin}").code == 1, said)


@check
def after_a_removal_that_keeps_the_data_an_install_finds_them(machine):
    want(machine.run("command -v lan-gateway").code != 0, "the program is still there")
    want(machine.unit("LoadState") == "not-found", machine.unit("LoadState"))
    machine.do(f"ls {HOME}/backups/before-removal-*.db {HOME}/backups/before-removal-*.toml")
    install(machine, folder=UPGRADE)
    until("it is ready", lambda: is_ready(machine), 60)
    want(records(machine), "no rows")
    chat(machine)


@check
def a_removal_leaves_nothing_and_ollama_and_open_webui_as_they_were(machine):
    before = machine.listing()
    machine.do(f"sh {HOME}/share/rollback.sh --dry-run --remove-data")
    unchanged(machine, before, r"/data/")
    said = machine.do(f"sh {HOME}/share/rollback.sh --remove-data")
    want("/var/backups/lan-gateway/before-removal-" in said, said)
    # The packages were put there by this test.
    unchanged(machine, machine.first, r"^. /root/")
    machine.do("ls /var/backups/lan-gateway/*.db && systemctl is-active ollama open-webui")
    want(machine.do(f"sh {PACKAGE}/rollback.sh --remove-data --no-backup").startswith("lan-gateway is removed"), "a second time fails")
    machine.do("! getent passwd lan-gateway && ! getent group lan-gateway")


@check
def the_commands_of_the_readme_install_it_and_the_default_model_answers(machine):
    install_block = re.search(r"^```bash\n(tar xf .*?)^```$", (PROJECT / "README.md").read_text(), re.MULTILINE | re.DOTALL).group(1)
    machine.do(f"mkdir /root/download && tar czf /root/download/{PACKAGE.split('/')[-1]}.tar.gz -C /root {PACKAGE.split('/')[-1]}")
    said = machine.do(f"cd /root/download\nset -e\n{install_block}", 180)
    want("http://192.168.77.2:7000" in said, f"the address is not told: {said}")
    machine.do(f"printf '%s\\n' '{PASSWORD}' | lan-gateway user password admin")
    until("Ollama is up", lambda: is_ready(machine), 60)
    status, text = machine.ask("/chat", {"messages": [{"role": "user", "content": "Say hello."}], "options": {"num_predict": 8}}, sign_in(machine))
    want(status == 200 and json.loads(text)["model"] == MODEL, f"the model that is there is not the default: {status} {text}")
    machine.do("cd /root/download/lan-gateway-*-x86_64-linux && sudo ./rollback.sh --remove-data --no-backup")


# --- the run --------------------------------------------------------------------------------

def main():
    # A run that is ended ends its container, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = sys.argv[1:]
    ollama = PROJECT / ".ollama/bin/ollama"
    ollama = ollama if ollama.exists() else shutil.which("ollama")
    models = os.environ.get("OLLAMA_MODELS", PROJECT / ".ollama/models")
    binds = [(os.path.realpath(ollama), "/usr/local/bin/ollama"), (os.path.realpath(models), "/srv/ollama-models")]
    begun = time.monotonic()
    machine = Machine(TOOLS / "host-root", TOOLS / "host-run", binds)
    passed = failed = 0
    try:
        furnish(machine.root)
        machine.boot()
        machine.do("systemctl is-active ollama open-webui")
        until("Ollama answers", lambda: machine.ask("/api/version", address="127.0.0.1:11434", seconds=5)[0] == 200, 60)
        machine.first = machine.listing()
        print(f"the gateway {PROGRAM}, version {VERSION}; a fresh Debian is up after {time.monotonic() - begun:.0f} s\n", flush=True)
        for run in checks:
            if wanted and run.__name__ not in wanted:
                continue
            since = time.monotonic()
            try:
                run(machine)
                passed += 1
                print(f"ok   {time.monotonic() - since:5.1f} s  {run.__name__.replace('_', ' ')}", flush=True)
            except (Failed, subprocess.SubprocessError, OSError, KeyError, ValueError) as cause:
                failed += 1
                print(f"FAIL {time.monotonic() - since:5.1f} s  {run.__name__.replace('_', ' ')}\n{cause}\n--- log\n{machine.log()}", flush=True)
    finally:
        machine.stop()
        if not os.environ.get("KEEP_ROOT"):
            shutil.rmtree(machine.root, ignore_errors=True)
    print(f"\n{time.monotonic() - begun:.0f} s\n{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
