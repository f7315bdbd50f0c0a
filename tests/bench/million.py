"""`make million`: what a record of a million rows costs whoever looks into it, and those who chat meanwhile.

Works on a copy of what `make fixture` wrote, with a release of the gateway and the fake Ollama of `make bench`, on loopback.
Prints a table and writes `target/bench/million.json`. Each question is asked COLD times with the file out of the memory of the
system (posix_fadvise; SQLite's own few MiB stay) and WARM times with it in there; what counts is the slowest of 20, or nearly.
"""

import contextlib
import datetime
import http.client
import json
import math
import os
import pathlib
import sqlite3
import subprocess
import sys
import threading
import time
import types
import urllib.parse

import machine
from pages import end_today, goals_of_pages, measure_pages
from report import Report
from setting import FOLDER, LIFTED, PASSWORD, PROGRAMS, Stage, end
from stage import ADMIN_PASSWORD
from starting import leave_wal, start_ms

FIXTURE = FOLDER.parent / "fixture"
REPORT = FOLDER / "million.json"

COLD = WARM = 20
STARTS = 5
PEOPLE_WHO_CHAT = 4
# So much a person pauses; without, four would be a load test.
PAUSE_SECONDS = 0.02
QUIET_SECONDS = 5
ERASE_SECONDS_MAX = 600
# Contents of the year's first days, about twenty thousand requests, are too old from here.
RETENTION_FROM = datetime.date(2025, 1, 16)
# Memory is looked at so often, and the kernel's own high-water mark besides.
MEMORY_BEAT = 0.02

# The longest of the year, the pipeline that is deleted, somebody in the middle, and one who hardly asked.
LARGEST, PIPELINE, MIDDLE, SMALLEST = (
    "person-01@example.org", "pipeline@example.org", "person-07@example.org", "person-19@example.org")

ANSWER_MS, EXPORT_MIB, PAUSE_MS, START_MS = 300, 64, 250, 200


def questions(gateway):
    """What is asked, under the name of its figure. The year of the fixture is 2025."""
    ids = {name: gateway.user_id(name) for name in (LARGEST, PIPELINE, MIDDLE, SMALLEST)}
    token = next(
        token["id"] for token in gateway.expect(200, "GET", f"/api/v1/tokens?user_id={ids[MIDDLE]}", token=gateway.admin_token).json["items"])
    year = "from=2025-01-01T00:00:00Z&to=2026-01-01T00:00:00Z"
    return {
        "page_newest": "/api/v1/audit",
        "page_filtered": "/api/v1/audit?outcome=failed&model=qwen2.5:7b",
        "page_filtered_user_time": f"/api/v1/audit?user_id={ids[MIDDLE]}&outcome=completed&from=2025-03-01T00:00:00Z&to=2025-04-01T00:00:00Z",
        "page_filtered_token": f"/api/v1/audit?token_id={token}&kind=refusal",
        "page_filtered_hardly_any": f"/api/v1/audit?user_id={ids[SMALLEST]}&model=codellama:34b&outcome=failed",
        "page_filtered_far_back": "/api/v1/audit?outcome=completed&limit=500&cursor=100000",
        "search_common_word": "/api/v1/audit?text=the",
        "search_rare_word": "/api/v1/audit?text=zeppelinpost",
        "search_phrase": "/api/v1/audit?text=%22pressure+valve%22",
        "search_phrase_of_common_words": "/api/v1/audit?text=%22of+the%22",
        "search_beginning": "/api/v1/audit?text=sta*",
        "search_letter": "/api/v1/audit?text=s*",
        "search_two_common_words_and_filter": f"/api/v1/audit?text=the+of&user_id={ids[SMALLEST]}",
        "search_two_filters": f"/api/v1/audit?text=server&user_id={ids[MIDDLE]}&outcome=failed",
        "search_common_word_and_hardly_any": f"/api/v1/audit?text=the&user_id={ids[SMALLEST]}&model=codellama:34b&outcome=failed",
        "search_nothing": "/api/v1/audit?text=zeppelinpost+pressure+codellama",
        "usage_of_user_month": f"/api/v1/usage?user_id={ids[MIDDLE]}&from=2025-11-01T00:00:00Z&to=2025-12-01T00:00:00Z",
        "usage_of_user_year_by_hour": f"/api/v1/usage?user_id={ids[LARGEST]}&by=hour&{year}",
        "usage_of_user_year_by_model": f"/api/v1/usage?user_id={ids[SMALLEST]}&by=model&{year}",
        "usage_of_all_year": f"/api/v1/usage?{year}",
    }


def p95(times):
    return sorted(times)[math.ceil(len(times) * 0.95) - 1]


def forget(folder):
    """Takes the database out of the system's memory, so that the next look has to go to the disk."""
    for path in folder.glob("lan-gateway.db*"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_questions(gateway, folder, report):
    for name, path in questions(gateway).items():
        for state, count in (("cold", COLD), ("warm", WARM)):
            times = []
            for _ in range(count):
                if state == "cold":
                    forget(folder)
                began = time.perf_counter()
                answer = gateway.expect(200, "GET", path, token=gateway.admin_token)
                times.append((time.perf_counter() - began) * 1000)
            report.set(f"{name}_{state}_p95_ms", p95(times), "ms")
        print(f"{name}: {len(answer.json['items'])} items", flush=True)


class Memory:
    """How much more a process holds than when this began; the most of it."""

    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        self.before, self.most, self._ends = machine.pss_mib(self.pid), 0, threading.Event()
        self.mark_before = self._mark()
        self._looks = threading.Thread(target=self._look)
        self._looks.start()
        return self

    def _look(self):
        while not self._ends.wait(MEMORY_BEAT):
            self.most = max(self.most, machine.pss_mib(self.pid) - self.before)

    def _mark(self):
        lines = pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

    def __exit__(self, *_):
        self._ends.set()
        self._looks.join()
        self.most = max(self.most, self._mark() - self.mark_before)


def export(gateway, wish):
    """Reads an export to its end without keeping it; its lines, bytes and last line. `None`: such a one is not offered."""
    made = gateway.call("POST", "/api/v1/exports", wish, gateway.admin_token)
    if made.status == 400 and "user_id" not in wish:
        return None
    assert made.status == 201, made.text
    parts = urllib.parse.urlsplit(gateway.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=600)
    with contextlib.closing(connection):
        connection.request("GET", made.json["url"], headers={"Authorization": f"Bearer {gateway.admin_token}"})
        response = connection.getresponse()
        assert response.status == 200, response.status
        lines = size = 0
        tail = b""
        while piece := response.read1(1 << 18):
            size += len(piece)
            lines += piece.count(b"\n")
            tail = (tail + piece)[-4096:]
    return lines, size, tail.splitlines()[-1].decode()


def measure_exports(gateway, report):
    for name, wish in {
        "export_of_pipeline_csv": {"user_id": gateway.user_id(PIPELINE), "format": "csv"},
        "export_of_largest_jsonl": {"user_id": gateway.user_id(LARGEST), "format": "jsonl"},
        "export_of_everything_csv": {"filter": {}, "format": "csv"},
    }.items():
        with Memory(gateway.process.pid) as memory:
            began = time.perf_counter()
            done = export(gateway, wish)
            took = time.perf_counter() - began
        if done is None:
            print(f"{name}: not offered")
            continue
        lines, size, last = done
        assert "receipt" in last, last
        print(f"{name}: {lines} lines, {size / 2**20:.0f} MiB", flush=True)
        report.set(f"{name}_extra_mib", memory.most, "MiB")
        report.set(f"{name}_seconds", took, "s")


class Chats:
    """People who chat one after the other: when each of them asked, and how many ms they had to wait."""

    def __init__(self, gateway, tokens):
        self.gateway, self.waits, self._ends = gateway, [], threading.Event()
        self._people = [threading.Thread(target=self._chat, args=(token,)) for token in tokens]

    def __enter__(self):
        for person in self._people:
            person.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        for person in self._people:
            person.join()

    def _chat(self, token):
        parts = urllib.parse.urlsplit(self.gateway.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        body = json.dumps({"model": "whole:latest", "messages": [{"role": "user", "content": "How high is the tide today?"}]})
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        while not self._ends.wait(PAUSE_SECONDS):
            began = time.perf_counter()
            connection.request("POST", "/v1/chat/completions", body, headers)
            response = connection.getresponse()
            text = response.read()
            assert response.status == 200, text
            self.waits.append(((time.perf_counter() - began) * 1000, began))
        connection.close()

    def longest(self, count=1):
        return sorted(self.waits, reverse=True)[:count]

    def p99(self):
        return sorted(self.waits)[int(len(self.waits) * 0.99)][0]


def measure_deletion(gateway, folder, report):
    user = gateway.user_id(PIPELINE)
    tokens = [gateway.token(f"person-{number:02}@example.org") for number in range(2, 2 + PEOPLE_WHO_CHAT)]
    began = time.perf_counter()
    with Chats(gateway, tokens) as quiet:
        time.sleep(QUIET_SECONDS)
    tell_longest("while nothing is deleted", quiet, began)
    with Chats(gateway, tokens) as chats:
        began = time.perf_counter()
        gateway.expect(200, "POST", f"/api/v1/users/{user}/disable", token=gateway.admin_token)
        _, _, last = export(gateway, {"user_id": user, "format": "csv"})
        exported = time.perf_counter()
        receipt = last.split('"')[1].removeprefix("receipt:")
        gateway.expect(202, "DELETE", f"/api/v1/users/{user}", {"receipt": receipt}, gateway.admin_token)
        deleted = time.perf_counter()
        while not noted(gateway, "contents_erased"):
            assert time.perf_counter() - deleted < ERASE_SECONDS_MAX, "not erased"
            time.sleep(0.25)
        done = time.perf_counter()
    report.set("delete_chats", len(chats.waits), "")
    report.set("delete_seconds", done - deleted, "s")
    report.set("delete_export_seconds", exported - began, "s")
    report.set("delete_longest_wait_ms", chats.longest()[0][0], "ms")
    report.set("delete_p99_wait_ms", chats.p99(), "ms")
    report.set("quiet_longest_wait_ms", quiet.longest()[0][0], "ms")
    print(f"export until {exported - began:.2f} s, accepted at {deleted - began:.2f} s, erased at {done - began:.2f} s")
    tell_longest("meanwhile", chats, began)
    report.set("delete_left", left_of_pipeline(folder), "")


def measure_retention(stage, ollama, report):
    """What others wait for while the first weeks of the year lose their contents."""
    # The clock is far ahead of the year's newest row, and so is doubted. A restart after a row of today believes it.
    for last in (False, True):
        gateway = stage.gateway("gateway", ollama, **LIFTED)
        gateway.admin_token = gateway.token("admin", ADMIN_PASSWORD)
        tokens = [gateway.token(f"person-{number:02}@example.org") for number in range(2, 2 + PEOPLE_WHO_CHAT)]
        with Chats(gateway, tokens) as quiet:
            time.sleep(QUIET_SECONDS)
        if not last:
            end(gateway.process)
    days = (datetime.date.today() - RETENTION_FROM).days
    with Chats(gateway, tokens) as chats:
        began = time.perf_counter()
        gateway.expect(200, "PATCH", "/api/v1/settings", {"content_days": days}, gateway.admin_token)
        while not noted(gateway, "contents_expired"):
            assert time.perf_counter() - began < ERASE_SECONDS_MAX, "not erased"
            time.sleep(0.25)
        report.set("retention_seconds", time.perf_counter() - began, "s")
    tell_longest("while nothing is erased", quiet, began)
    tell_longest("while contents are erased for their age", chats, began)
    report.set("retention_chats", len(chats.waits), "")
    report.set("retention_quiet_p99_wait_ms", quiet.p99(), "ms")
    report.set("retention_p99_wait_ms", chats.p99(), "ms")
    report.set("retention_longest_wait_ms", chats.longest()[0][0], "ms")
    end(gateway.process)


def tell_longest(when, chats, began):
    longest = ", ".join(f"{wait:.0f} ms at {asked - began:.2f} s" for wait, asked in chats.longest(5))
    print(f"longest waits {when}: {longest}", flush=True)


def noted(gateway, name):
    acts = gateway.expect(200, "GET", "/api/v1/audit?kind=act&limit=5", token=gateway.admin_token).json["items"]
    return any(act["act"] == name for act in acts)


def left_of_pipeline(folder):
    """Contents that are still there of whoever was deleted."""
    with contextlib.closing(sqlite3.connect(f"file:{folder}/lan-gateway.db?mode=ro", uri=True)) as database:
        return database.execute(
            "SELECT count(*) FROM record JOIN record_part USING (log_id) WHERE user_id IN "
            "(SELECT id FROM users WHERE status = 'deleted') AND record.kind != 'act'").fetchone()[0]


def measure_starts(stage, ollama, folder, report):
    setting = types.SimpleNamespace(stage=stage, direct=types.SimpleNamespace(url=ollama))
    for state in ("cold", "warm"):
        times = []
        for _ in range(STARTS):
            leave_wal(folder / "lan-gateway.db")
            if state == "cold":
                forget(folder)
            times.append(start_ms(setting, folder))
        report.set(f"start_{state}_ms", sorted(times)[len(times) // 2], "ms")


def measure_all_pages(stage, ollama, report):
    folder = stage.folder / "pages"
    subprocess.run(["cp", "-rL", "--reflink=auto", FIXTURE, folder], check=True)
    end_today(folder / "lan-gateway.db")
    os.sync()
    gateway = stage.gateway("pages", ollama, **LIFTED)
    gateway.admin_token = gateway.token("admin", ADMIN_PASSWORD)
    measure_pages(gateway, ("admin", ADMIN_PASSWORD), (LARGEST, PASSWORD), lambda: forget(folder), p95, report)
    end(gateway.process)


def goals(report):
    for name in report.figures:
        if name.endswith("_p95_ms"):
            yield name, ("<=", ANSWER_MS, None)
        elif name.endswith("_extra_mib"):
            yield name, ("<=", EXPORT_MIB, None)
        elif name.startswith("start_"):
            yield name, ("<=", START_MS, None)
    yield from goals_of_pages(report)
    yield "delete_longest_wait_ms", ("<=", PAUSE_MS, None)
    yield "delete_left", ("<=", 0, None)
    yield "retention_longest_wait_ms", ("<=", PAUSE_MS, None)


def main():
    if not (FIXTURE / "complete").exists():
        sys.exit("no fixture; run: make fixture")
    report = Report()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with Stage(within=FOLDER) as stage:
        folder = stage.folder / "gateway"
        subprocess.run(["cp", "-rL", "--reflink=auto", FIXTURE, folder], check=True)
        # Else the first sync of the gateway would wait for the copy.
        os.sync()
        log = stage.folder / "ollama.log"
        said = "listening on "
        process = stage.start([PROGRAMS / "bench-ollama"], log, {})
        ollama = stage.wait_for(process, log, lambda: said in log.read_text() and log.read_text().split(said)[1].strip())
        parts = os.environ.get("PARTS", "starts questions pages exports deletion retention").split()
        if "starts" in parts:
            measure_starts(stage, ollama, folder, report)
        gateway = stage.gateway("gateway", ollama, **LIFTED)
        gateway.admin_token = gateway.token("admin", ADMIN_PASSWORD)
        if "questions" in parts:
            measure_questions(gateway, folder, report)
        if "exports" in parts:
            measure_exports(gateway, report)
        if "deletion" in parts:
            measure_deletion(gateway, folder, report)
        end(gateway.process)
        if "pages" in parts:
            measure_all_pages(stage, ollama, report)
        if "retention" in parts:
            measure_retention(stage, ollama, report)
    report.write(REPORT)
    missed = report.show(dict(goals(report)))
    print(f"\nwritten to {REPORT}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
