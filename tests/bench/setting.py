"""Who is measured: the fake Ollama itself, nginx in front of it, and the gateway with everything on."""

import contextlib
import dataclasses
import os
import pathlib
import sqlite3
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from stage import PASSWORD, PROGRAM, Stage, end, free_port, reached  # noqa: E402

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# On the disk where the project is built: a folder in memory would make every sync free.
FOLDER = TARGET / "bench"
PROGRAMS = TARGET / "release/examples"
REPORT = FOLDER / "report.json"

USER = "bench@example.org"

# The gateway as it comes, except for what would end a load test: the limits are lifted, and as many requests run at once
# as the largest number of connections.
LIFTED = {
    "LGW_OLLAMA__SLOTS": 64,
    "LGW_LIMITS__REQUESTS_PER_MINUTE": 1_000_000,
    "LGW_LIMITS__REQUESTS_PER_MINUTE_TOTAL": 100_000_000,
    "LGW_LIMITS__ADDRESS_REQUESTS_PER_MINUTE": 1_000_000,
    "LGW_ACCOUNTS__ACCESS_TOKEN_SECONDS": 7200,
}

NGINX = """
worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    upstream ollama {{
        server {upstream};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 16m;
        location / {{
            proxy_pass http://ollama;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


@dataclasses.dataclass
class Target:
    name: str
    url: str
    pid: int
    token: str = ""


@dataclasses.dataclass
class Rows:
    newest: int
    intents: int
    results: int
    completed: int


class Setting:
    """The three of them, on free ports, and the record of the gateway."""

    def __init__(self, stage, with_nginx=True):
        self.stage = stage
        self.direct = self._ollama()
        self.nginx = self._nginx() if with_nginx else None
        self.gateway, self.token = self._gateway()

    @property
    def targets(self):
        return [self.direct, self.nginx, self.gateway]

    @property
    def pids(self):
        return [target.pid for target in self.targets]

    @property
    def data_dir(self):
        return self.stage.folder / "gateway"

    def _ollama(self):
        url, process = self.stage.program([PROGRAMS / "bench-ollama"], "ollama")
        return Target("direct", url, process.pid)

    def _nginx(self):
        folder, port = self.stage.folder, free_port()
        config = folder / "nginx.conf"
        upstream = self.direct.url.removeprefix("http://")
        config.write_text(NGINX.format(folder=folder, upstream=upstream, port=port))
        log = folder / "nginx.log"
        process = self.stage.start(["nginx", "-e", log, "-c", config], folder / "nginx-output.log", {})
        url = f"http://127.0.0.1:{port}"
        self.stage.wait_for(process, log, lambda: reached(f"{url}/api/tags"))
        return Target("nginx", url, process.pid)

    def _gateway(self):
        """Makes the account, then starts again: what signing in and approving left behind is no part of what follows."""
        gateway = self.stage.gateway("gateway", self.direct.url, **LIFTED)
        gateway.approved(USER)
        end(gateway.process)
        gateway = self.stage.gateway("gateway", self.direct.url, **LIFTED)
        token = gateway.token(USER, PASSWORD)
        return Target("gateway", gateway.url, gateway.process.pid, token), token

    def rows(self, after=0):
        """The newest row of the record, and of those behind `after` the intents, results, and completed results."""
        database = sqlite3.connect(f"file:{self.data_dir}/lan-gateway.db?mode=ro", uri=True)
        with contextlib.closing(database):
            return Rows(*database.execute(
                "SELECT coalesce(max(log_id), ?1), coalesce(sum(kind = 'intent'), 0), coalesce(sum(kind = 'result'), 0), "
                "coalesce(sum(kind = 'result' AND outcome = 'completed'), 0) FROM record WHERE log_id > ?1", (after,)
            ).fetchone())


@contextlib.contextmanager
def a_setting(kind=Setting, **how):
    FOLDER.mkdir(parents=True, exist_ok=True)
    with Stage(within=FOLDER) as stage:
        yield kind(stage, **how)
