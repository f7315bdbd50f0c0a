"""The three side by side: requests as fast as they go, requests at a fixed rate, streams without and with pauses."""

import dataclasses
import json
import os
import pathlib
import subprocess
import time

import machine
from report import SAMPLES_MIN, Samples
from setting import PROGRAMS

HERE = pathlib.Path(__file__).resolve().parent
CONNECTIONS = (1, 16, 64)
PER_SECOND = 2000
STREAMS = 32
# Between two measurements, so that the one's checkpoint is not the other's.
REST_SECONDS = 0.3


@dataclasses.dataclass
class Load:
    name: str
    command: list
    # How many requests may be on their way when the load ends.
    cut_max: int = 0


def loads(target, seconds):
    for connections in CONNECTIONS:
        # The time-out is there for the end: answers that were on their way are not waited for.
        command = ["wrk", "-t", min(connections, 2), "-c", connections, "-d", f"{seconds}s", "-s", HERE / "wrk.lua"]
        yield Load(f"c{connections}", [*command, target.url], cut_max=connections)
    client = PROGRAMS / "bench-client"
    yield Load("rate", [client, "rate", target.url, PER_SECOND, seconds])
    yield Load("stream", [client, "streams", target.url, "stream", STREAMS, seconds])
    # A paced stream takes two seconds, the last of which is over as much after the end.
    yield Load("paced", [client, "streams", target.url, "paced", STREAMS, seconds])


class Rounds:
    def __init__(self, setting, report, only=None):
        """`only`: the names of the loads that are measured, if not all."""
        self.setting = setting
        self.report = report
        self.only = only
        self.samples = Samples()
        self.syncs = []
        self.missing = 0

    def run(self, seconds, at_most):
        """Rounds, until each figure has enough quiet samples or there were `at_most`."""
        for number in range(at_most):
            heads = " ".join(f"{target.name:>22}" for target in self.setting.targets)
            print(f"\nround {number + 1}: {'load':7} {heads}", flush=True)
            self.syncs.append(machine.fdatasync_ms(self.setting.stage.folder))
            # Each begins one round, so that no target always comes after the same other.
            turn = number % len(self.setting.targets)
            targets = self.setting.targets[turn:] + self.setting.targets[:turn]
            for load in zip(*(loads(target, seconds) for target in targets)):
                if self.only and load[0].name not in self.only:
                    continue
                told = {}
                for target, one in zip(targets, load):
                    told[target.name] = self.measure(target, one, seconds)
                    time.sleep(REST_SECONDS)
                print(f"{'':9}{load[0].name:7} " + " ".join(f"{told[target.name]:>22}" for target in self.setting.targets), flush=True)
            if number + 1 >= SAMPLES_MIN and self.samples.clean() >= SAMPLES_MIN:
                return

    def measure(self, target, load, seconds):
        before = self.setting.rows()
        others = machine.OthersCpu(self.setting.pids)
        cpu = machine.cpu_seconds(target.pid)
        answered = run(load.command, target.token, seconds)
        cpu = machine.cpu_seconds(target.pid) - cpu
        others = others.share()
        answers = answered["answers"]
        if answered.get("failed"):
            self.report.void.append(f"{answered['failed']} requests to {target.name} failed under the load {load.name}")
        if target is self.setting.gateway:
            self.count_rows(before.newest, answers, load)
        units = answered.get("tokens", answers)
        per_second = units / answered.get("seconds", seconds)
        self.samples.add(
            (load.name, target.name), others, per_second=per_second, cpu_us=cpu / units * 1e6,
            **{name: value for name, value in answered.items() if "_p" in name or name in ("p50", "p99")})
        return f"{per_second:9,.0f}/s {cpu / units * 1e6:5.1f}us {others:3.0%}"

    def count_rows(self, before, answers, load):
        """Each answer has its row, each intent its result; what wrk cut off at its end may have rows, too."""
        deadline = time.monotonic() + 10
        rows = self.setting.rows(before)
        while rows.intents > rows.results and time.monotonic() < deadline:
            time.sleep(0.05)
            rows = self.setting.rows(before)
        self.missing += max(0, answers - rows.completed) + (rows.intents - rows.results)
        if rows.completed > answers + load.cut_max:
            self.report.void.append(f"{rows.completed} rows for {answers} answers under the load {load.name}")

    def tell(self):
        report, median = self.report, self.samples.median
        direct = self.check_direct()

        def ratio(load, name):
            return median((load, "gateway"), name) / median((load, "nginx"), name)

        def added_ms(target, load, name):
            return (median((load, target), name) - median((load, "direct"), name)) / 1000

        for connections in CONNECTIONS:
            report.set(f"rps_c{connections}_vs_nginx", ratio(f"c{connections}", "per_second"), "ratio")
        report.set("cpu_per_request_vs_nginx", ratio("c16", "cpu_us"), "ratio")
        report.set("cpu_per_request_us", median(("c16", "gateway"), "cpu_us"), "us")
        report.set("p99_c64_vs_nginx", ratio("c64", "p99"), "ratio")
        report.set("added_p50_2000rps_us", added_ms("gateway", "rate", "p50") * 1000, "us")
        report.set("stream_tokens_vs_nginx", ratio("stream", "per_second"), "ratio")
        report.set("stream_cpu_per_token_vs_nginx", ratio("stream", "cpu_us"), "ratio")
        report.set("ttft_added_ms", added_ms("gateway", "paced", "first_token_p50"), "ms")
        report.set("ttft_added_nginx_ms", added_ms("nginx", "paced", "first_token_p50"), "ms")
        report.set("fdatasync_p50_ms", sorted(self.syncs)[len(self.syncs) // 2], "ms")
        report.set("rows_missing", self.missing, "rows")
        others = sorted(self.samples.others())
        print(
            f"\n{len(others)} samples; CPU that others took: median {others[len(others) // 2]:.1%}, "
            f"p90 {others[len(others) * 9 // 10]:.1%}; samples left out: {self.samples.left_out()}; "
            f"direct made {direct:.2f} times nginx at c=16")

    def check_direct(self):
        """How many times nginx the upstream is by itself; where that is too little, the run is void."""
        made = [self.samples.median(("c16", name), "per_second") for name in ("direct", "nginx")]
        direct = made[0] / made[1]
        if direct < 2:
            self.report.void.append(
                f"direct made {direct:.2f} times nginx at c=16; below 2 the load or the upstream is the limit")
        return direct


def run(command, token, seconds, **environment):
    done = subprocess.run(
        [str(word) for word in command], env={**os.environ, "BENCH_TOKEN": token, **environment}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=seconds + 30)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def warm_up(setting, names):
    """What is slow only once is not measured."""
    for target in setting.targets:
        for load in loads(target, 1):
            if load.name in names:
                run(load.command, target.token, 1)


def measure(setting, report, quick):
    warm_up(setting, ("c16", "stream"))
    rounds = Rounds(setting, report)
    rounds.run(*((1, 3) if quick else (4, 5)))
    rounds.tell()
