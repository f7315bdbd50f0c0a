"""Sets up gateways and Ollamas on free ports and fresh folders, for the demo and for the tests with real clients.

All addresses are 127.0.0.1. What was started is ended, by its process id, when the stage closes.
"""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = pathlib.Path(os.environ.get("GATEWAY_PROGRAM", ROOT / "target/release/lan-gateway")).resolve()

START_SECONDS_MAX = 30
# The gateway lets answers end for `stop_seconds_max`; these stages set that to 2 seconds.
STOP_SECONDS_MAX = 20
REQUEST_SECONDS_MAX = 180
# Characters of each log that are shown when a stage fails.
LOG_SHOWN = 3000

FIRST_ADMIN_PASSWORD = "admin123"
ADMIN_PASSWORD = "seven grey herons wade"
PASSWORD = "quiet lamps over water"


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.text = body.decode("utf-8")

    @property
    def json(self):
        return json.loads(self.text)


def call(method, url, body=None, token=None, headers=None):
    """One request on a connection of its own; every status is an answer."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=REQUEST_SECONDS_MAX)
    headers = dict(headers or {})
    if body is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(body, ensure_ascii=False).encode()
    if token:
        headers["Authorization"] = f"Bearer {token}"
    with contextlib.closing(connection):
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


class Gateway:
    """A running gateway and what one must know to use it."""

    def __init__(self, url, log, process):
        self.url = url
        self.log = log
        self.process = process
        self.admin_token = None

    def call(self, method, path, body=None, token=None):
        return call(method, self.url + path, body, token)

    def expect(self, status, method, path, body=None, token=None):
        answer = self.call(method, path, body, token)
        assert answer.status == status, f"{method} {path} answered {answer.status}, not {status}: {answer.text}"
        return answer

    def change_admin_password(self):
        passwords = {"current_password": FIRST_ADMIN_PASSWORD, "new_password": ADMIN_PASSWORD}
        self.expect(204, "POST", "/api/v1/password", {"username": "admin", **passwords})
        self.admin_token = self.token("admin", ADMIN_PASSWORD)

    def token(self, username, password=PASSWORD):
        credentials = {"username": username, "password": password}
        return self.expect(200, "POST", "/auth/token", credentials).json["access_token"]

    def api_token(self, username, name):
        """Makes an API token of a person, for chats and the list of models."""
        return self.expect(201, "POST", "/api/v1/tokens", {"name": name}, self.token(username)).json["token"]

    def user_id(self, username):
        search = urllib.parse.quote(username)
        return self.expect(200, "GET", f"/api/v1/users?search={search}", token=self.admin_token).json["items"][0]["id"]

    def approved(self, username):
        """Makes an account the way people get theirs."""
        if not self.admin_token:
            self.change_admin_password()
        self.expect(202, "POST", "/api/v1/register", {"email": username, "password": PASSWORD})
        self.expect(200, "POST", f"/api/v1/users/{self.user_id(username)}/approve", token=self.admin_token)
        return username


class Stage:
    def __init__(self, within=None):
        self._ends = contextlib.ExitStack()
        # In the order in which they were started.
        self.processes = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lan-gateway-", dir=within))
        self._ends.callback(shutil.rmtree, self.folder, ignore_errors=True)

    def __enter__(self):
        # A terminated script must still end what it started.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, failed, *_):
        with self._ends:
            if failed:
                for log in sorted(self.folder.glob("*.log")):
                    print(f"--- end of {log.name}\n{log.read_text(errors='replace')[-LOG_SHOWN:]}", file=sys.stderr)

    def gateway(self, name, ollama_url, **environment):
        """Starts a gateway on the data folder `name`. `environment` sets configuration: LGW_LIMITS__REQUESTS_PER_MINUTE=…"""
        if not PROGRAM.exists():
            sys.exit(f"no gateway at {PROGRAM}; build it with: cargo build --release --locked")
        settings = {
            "LGW_LISTEN": "127.0.0.1:0",
            "LGW_DATA_DIR": self.folder / name,
            "LGW_OLLAMA__URL": ollama_url,
            "LGW_STOP_SECONDS_MAX": 2,
            **environment,
        }
        # Its own file of settings, so that one in the current folder has no say.
        (self.folder / f"{name}.toml").touch()
        command = [PROGRAM, "serve", "--config", self.folder / f"{name}.toml"]
        url, process = self.program(command, name, settings)
        return Gateway(url, self.folder / f"{name}.log", process)

    def ollama(self):
        """Starts an Ollama of our own, with the models in `.ollama/`, beside any that runs already."""
        port, log = free_port(), self.folder / "ollama.log"
        script = [ROOT / "scripts/ollama.sh", "serve", str(port)]
        process = self.start(script, log, {"OLLAMA_MODELS": ROOT / ".ollama/models"})
        url = f"http://127.0.0.1:{port}"
        self.wait_for(process, log, lambda: reached(url + "/api/version"))
        return url

    def program(self, command, name, settings=None):
        """Starts a server that prints `listening on URL`. Returns that, and the process."""
        log = self.folder / f"{name}.log"
        process = self.start(command, log, settings or {})
        found = self.wait_for(process, log, lambda: re.search(r"^listening on (http://\S+)$", log.read_text(), re.M))
        return found.group(1), process

    def start(self, command, log, settings):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LGW_")}
        environment |= {name: str(value) for name, value in settings.items()}
        with log.open("wb") as output:
            # A session of its own: Ctrl-C reaches this script only, which then ends things in order.
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=environment, cwd=ROOT, start_new_session=True,
            )
        self._ends.callback(end, process)
        self.processes.append(process)
        return process

    def wait_for(self, process, log, ready, seconds_max=START_SECONDS_MAX):
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline and process.poll() is None:
            if found := ready():
                return found
            time.sleep(0.05)
        sys.exit(f"{process.args[0]} did not start:\n{log.read_text()[-4000:]}")


def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(command, seconds_max, **options):
    """Runs a program to its end, or ends it after `seconds_max`. Returns its status, its output and its errors."""
    process = subprocess.Popen(
        [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )
    try:
        output, errors = process.communicate(timeout=seconds_max)
    except subprocess.TimeoutExpired:
        # First by the signal at which it ends what it has started itself.
        end(process)
        output, errors = process.communicate(timeout=STOP_SECONDS_MAX)
        errors += f"\nended after {seconds_max} s"
    return process.returncode, output, errors


def reached(url):
    try:
        return call("GET", url).status == 200
    except OSError:
        return False


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
