"""What the chain of the record costs, beside the request that it is made for.

A part of `make bench`, after requests were measured.
"""

import contextlib
import json
import shutil
import sqlite3
import statistics
import subprocess

from setting import PROGRAMS

GOALS = {"cpu_chain_share_of_request": ("<=", 0.03, None)}
ROWS_PER_REQUEST = 2
ROUNDS = 5


def measure(setting, report):
    """Chains a copy of the record that the gateway has written, several times, and takes the median."""
    copy = setting.stage.folder / "chained"
    copy.mkdir(mode=0o700)
    shutil.copytree(setting.data_dir / "secrets", copy / "secrets")
    with contextlib.closing(sqlite3.connect(setting.data_dir / "lan-gateway.db")) as database:
        with contextlib.closing(sqlite3.connect(copy / "lan-gateway.db")) as into:
            database.backup(into)
    costs = []
    for _ in range(ROUNDS):
        done = subprocess.run([PROGRAMS / "bench-chain", copy], check=True, stdout=subprocess.PIPE, timeout=300)
        told = json.loads(done.stdout)
        costs.append(told["cpu_us"] / told["rows"] * ROWS_PER_REQUEST)
    shutil.rmtree(copy)
    cost = statistics.median(costs)
    report.set("cpu_chain_per_request_us", cost, "us")
    report.set("cpu_chain_share_of_request", cost / report.value("cpu_per_request_us"), "ratio")
