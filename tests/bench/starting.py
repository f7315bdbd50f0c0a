"""The gateway before and after the load: how soon it answers, how much memory it holds, how large its file is."""

import contextlib
import http.client
import os
import pathlib
import shutil
import sqlite3
import statistics
import subprocess
import time

import machine
from setting import LIFTED, PROGRAM, free_port

STARTS = 5
ROWS = 1_000_000
# A WAL of this size is left behind by the `kill -9` that comes before each start.
WAL_BYTES = 16 * 1024 * 1024
SETTLE_SECONDS = 2
START_SECONDS_MAX = 30
CHAIN_SECONDS_MAX = 120


def measure_idle(setting, report):
    time.sleep(SETTLE_SECONDS)
    report.set("pss_idle_mib", machine.pss_mib(setting.gateway.pid), "MiB")
    report.set("binary_mib", PROGRAM.stat().st_size / 2**20, "MiB")


def measure_loaded(setting, report):
    report.set("pss_loaded_mib", machine.pss_mib(setting.gateway.pid), "MiB")


def measure_starts(setting, report):
    folder = setting.stage.folder / "starting"
    times = []
    for _ in range(STARTS):
        shutil.rmtree(folder, ignore_errors=True)
        times.append(start_ms(setting, folder))
    report.set("start_ms", statistics.median(times), "ms")
    fill(folder / "lan-gateway.db")
    let_it_be_chained(setting, folder)
    times = []
    for _ in range(STARTS):
        leave_wal(folder / "lan-gateway.db")
        times.append(start_ms(setting, folder))
    report.set("start_million_rows_ms", statistics.median(times), "ms")
    shutil.rmtree(folder)


def start_ms(setting, folder):
    """From the start of the process to its first 200."""
    began = time.perf_counter()
    with running(setting, folder):
        return (time.perf_counter() - began) * 1000


@contextlib.contextmanager
def running(setting, folder):
    """A gateway that answers. It is killed at the end, so the next start has to mend what it left."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LGW_")}
    settings = {**LIFTED, "LGW_LISTEN": f"127.0.0.1:{port}", "LGW_DATA_DIR": folder, "LGW_OLLAMA__URL": setting.direct.url}
    environment |= {name: str(value) for name, value in settings.items()}
    began = time.monotonic()
    process = subprocess.Popen(
        [PROGRAM, "serve"], env=environment, cwd=setting.stage.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    try:
        while not healthy(port):
            if process.poll() is not None or time.monotonic() - began > START_SECONDS_MAX:
                raise SystemExit("the gateway did not start")
            time.sleep(0.001)
        yield
    finally:
        process.kill()
        process.wait()


def let_it_be_chained(setting, folder):
    """Waits until the rows are in the chain, which no row of `fill` is."""
    left = "SELECT (SELECT max(log_id) FROM record) - (SELECT max(log_id) FROM chain)"
    deadline = time.monotonic() + CHAIN_SECONDS_MAX
    with running(setting, folder), contextlib.closing(sqlite3.connect(folder / "lan-gateway.db")) as connection:
        while connection.execute(left).fetchone()[0] > 0:
            if time.monotonic() > deadline:
                raise SystemExit("the rows were not chained")
            time.sleep(0.1)


def healthy(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False


def fill(database):
    """A record of a million rows, as a gateway that was running leaves it, but for the chain: other followers are at the end."""
    rows = f"WITH RECURSIVE row(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < {ROWS})"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        first = connection.execute("SELECT seq + 1 FROM sqlite_sequence WHERE name = 'record'").fetchone()[0]
        connection.executescript(f"""
            PRAGMA synchronous = OFF;
            BEGIN;
            {rows} INSERT INTO record (kind, at_us, request_id, intent_id, user_id, credential, api, provider, model_asked,
                outcome, status, commitment)
            SELECT iif(n % 2, 'intent', 'result'), {time.time_ns() // 1000} - ({ROWS} - n) * 1000, randomblob(16),
                iif(n % 2, NULL, {first} + n - 2), 2, 'jwt', '/v1/chat/completions', 'ollama',
                'whole:latest', iif(n % 2, NULL, 'completed'), iif(n % 2, NULL, 200), randomblob(32) FROM row;
            INSERT OR REPLACE INTO watermark SELECT name, (SELECT max(log_id) FROM record)
                FROM (SELECT 'closed' AS name UNION SELECT 'usage');
            COMMIT;
        """)


def leave_wal(database):
    """What a killed gateway leaves: a process that writes and ends without closing."""
    child = os.fork()
    if child == 0:
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        wal = database.with_name(database.name + "-wal")
        while wal.stat().st_size < WAL_BYTES if wal.exists() else True:
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO record_part (log_id, part, kind, encoding, body) VALUES (?, 0, 'answer', 0, zeroblob(1024))",
                [(time.time_ns() + number,) for number in range(500)])
            connection.execute("COMMIT")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit("the WAL could not be made")
