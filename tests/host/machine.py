"""A Debian with systemd in a container: started, asked, compared with what it was. `run.py` says what is checked in it."""

import hashlib
import json
import os
import pathlib
import shutil
import stat
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
CONTAINER = HERE / "container.sh"

# Every wait in here has a limit; a check that meets one fails.
BOOT_SECONDS_MAX = 90
COMMAND_SECONDS_MAX = 120


class Failed(Exception):
    """A check found something else than it wanted."""


class Ran:
    """The end of a command."""

    def __init__(self, code, text):
        self.code, self.text = code, text


class Machine:
    def __init__(self, pristine, root, binds):
        self.root, self.state, self.binds = pathlib.Path(root), f"{root}.state", binds
        shutil.rmtree(self.root, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", pristine, root], check=True)

    def boot(self):
        options = [f"--bind-ro={outside}:{inside}" for outside, inside in self.binds]
        # Without `bpf`, its systemd can't enforce IPAddressDeny=.
        subprocess.run([CONTAINER, "start", self.root, self.state, "--system-call-filter=bpf", *options], check=True)
        self.wait_up()

    def wait_up(self):
        subprocess.run([CONTAINER, "up", self.state, str(BOOT_SECONDS_MAX)], check=True, timeout=BOOT_SECONDS_MAX + 30)
        self._find_leader()
        # Addresses as a host on a network has them; not every kernel has a dummy link to put them on.
        self.do("ip addr add 192.168.77.2/24 dev lo scope global && ip addr add 203.0.113.2/24 dev lo scope global")

    def _find_leader(self):
        self.leader = subprocess.run([CONTAINER, "leader", self.state], check=True, capture_output=True, text=True).stdout.strip()

    def reboot(self):
        before = self.leader
        self.run("systemctl reboot")
        until(f"the container has another init than {before}", lambda: self._other_init(before), BOOT_SECONDS_MAX)
        self.wait_up()

    def _other_init(self, before):
        now = subprocess.run([CONTAINER, "leader", self.state], capture_output=True, text=True).stdout.strip()
        return now not in ("", before)

    def stop(self):
        subprocess.run([CONTAINER, "stop", self.state], timeout=60)

    def inside(self, *command):
        """Returns the words that run a command inside, in a session of its own: signals to its group stay there."""
        return ["setsid", "--wait", "nsenter", "-t", self.leader, "-a", "env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME=/root", *command]

    def run(self, script, seconds=COMMAND_SECONDS_MAX):
        """Runs a shell's command inside, and returns how it ended and what it wrote."""
        try:
            ended = subprocess.run(self.inside("sh", "-c", script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, timeout=seconds, text=True, errors="replace")
        except subprocess.TimeoutExpired as late:
            raise Failed(f"`{script}` took longer than {seconds} s: {late.output}")
        return Ran(ended.returncode, ended.stdout)

    def do(self, script, seconds=COMMAND_SECONDS_MAX):
        """Runs a command that must succeed, and returns what it wrote."""
        ran = self.run(script, seconds)
        if ran.code != 0:
            raise Failed(f"`{script}` ended with {ran.code}:\n{ran.text}")
        return ran.text.strip()

    def process(self):
        """Returns the id of the gateway's process inside. A signal to 0 would go to the group of whoever sends it."""
        process = self.unit("MainPID")
        if process == "0":
            raise Failed("the gateway does not run")
        return process

    def unit(self, key, name="lan-gateway"):
        return self.do(f"systemctl show -p {key} --value {name}")

    def log(self, lines=25):
        return self.run(f"journalctl -u lan-gateway -n {lines} --no-pager -o cat").text

    def ask(self, path, body=None, bearer=None, address="127.0.0.1:7000", seconds=60):
        """Sends a request from inside with curl. Returns the status and the body; the status is 0 when nothing answered."""
        words = ["curl", "-s", "-m", str(seconds), "-w", "\n%{http_code}", f"http://{address}{path}"]
        if bearer:
            words += ["-H", f"authorization: Bearer {bearer}"]
        if body is not None:
            words += ["-H", "content-type: application/json", "--data-binary", json.dumps(body)]
        ended = subprocess.run(self.inside(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 10)
        text, _, status = ended.stdout.rpartition("\n")
        return int(status or 0), text

    def listing(self):
        """Returns every path of the root with its kind, rights, owner and content, but for what lives in memory alone."""
        found = {}
        for folder, folders, files in os.walk(self.root):
            inside = "/" + os.path.relpath(folder, self.root) if folder != str(self.root) else ""
            folders[:] = [name for name in folders if f"{inside}/{name}" not in ("/proc", "/sys", "/run", "/dev", "/tmp", "/var/tmp")]
            for name in folders + files:
                path = os.path.join(folder, name)
                about = os.lstat(path)
                content = ""
                if stat.S_ISREG(about.st_mode):
                    content = digest(path)
                elif stat.S_ISLNK(about.st_mode):
                    content = os.readlink(path)
                found[f"{inside}/{name}"] = (about.st_mode, about.st_uid, about.st_gid, content)
        return found


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def until(what, is_so, seconds):
    """Waits until something is so, and returns how long that took."""
    begun = time.monotonic()
    while not is_so():
        if time.monotonic() - begun > seconds:
            raise Failed(f"after {seconds} s it is still not so that {what}")
        time.sleep(0.2)
    return time.monotonic() - begun


def differences(before, after):
    """Returns each path that came, went or changed."""
    names = sorted(set(before) | set(after))
    word = lambda path: "+" if path not in before else "-" if path not in after else "~"
    return [f"{word(path)} {path}" for path in names if before.get(path) != after.get(path)]
