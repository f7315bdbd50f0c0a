"""What each face costs beside chat completions: CPU of the gateway per answer, whole and streamed, in one run.

A part of `make bench`. Alone, after it has built what it needs: `python3 tests/bench/faces.py` (QUICK=1 is short).
"""

import json
import os
import pathlib
import sys
import time

import machine
from report import SAMPLES_MIN, Report, Samples
from side_by_side import REST_SECONDS, run

HERE = pathlib.Path(__file__).resolve().parent
CONNECTIONS = 16
COST_MAX = 1.3
PROMPT = "tell me more " * 78
MESSAGES = [{"role": "user", "content": PROMPT}]

FACES = {
    "chat": ("/v1/chat/completions", {"messages": MESSAGES, "max_completion_tokens": 300}),
    "responses": ("/v1/responses", {"input": MESSAGES, "max_output_tokens": 300}),
    "messages": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 300}),
    "ollama": ("/api/chat", {"messages": MESSAGES, "options": {"num_predict": 300}}),
    "legacy": ("/chat", {"messages": MESSAGES, "options": {"num_predict": 300}}),
}
# The upstream answers by the name of the model: in one piece, or with 200 tokens.
MODELS = {"whole": "whole:latest", "stream": "stream:latest"}


def load(gateway, face, how, seconds):
    path, fields = FACES[face]
    body = {"model": MODELS[how], "stream": how == "stream", **fields}
    command = ["wrk", "-t", 2, "-c", CONNECTIONS, "-d", f"{seconds}s", "-s", HERE / "face.lua", gateway.url]
    return run(command, gateway.token, seconds, BENCH_PATH=path, BENCH_BODY=json.dumps(body))


def measure(setting, report, quick):
    gateway, samples = setting.gateway, Samples()
    seconds, rounds = (1, 3) if quick else (3, 5)
    for face in FACES:
        load(gateway, face, "stream", 1)
    for number in range(rounds):
        print(f"\nround {number + 1} of the faces", flush=True)
        # Each begins one round, so that none always comes after the same other.
        names = list(FACES)
        names = names[number % len(names):] + names[:number % len(names)]
        for how in MODELS:
            for face in names:
                others, cpu = machine.OthersCpu([setting.direct.pid, gateway.pid]), machine.cpu_seconds(gateway.pid)
                told = load(gateway, face, how, seconds)
                cpu, others = machine.cpu_seconds(gateway.pid) - cpu, others.share()
                if told["failed"] or not told["answers"]:
                    report.void.append(f"{told['failed']} requests of {face} ({how}) failed")
                    continue
                samples.add((face, how), others, cpu_us=cpu / told["answers"] * 1e6)
                rate = told["answers"] / told["seconds"]
                print(f"{'':9}{how:7} {face:10} {rate:9,.0f}/s {cpu / told['answers'] * 1e6:8.1f}us {others:3.0%}", flush=True)
                time.sleep(REST_SECONDS)
        if number + 1 >= SAMPLES_MIN and samples.clean() >= SAMPLES_MIN:
            break
    if report.void:
        return
    for how in MODELS:
        chat = samples.median(("chat", how), "cpu_us")
        report.set(f"cpu_chat_{how}_us", chat, "us")
        for face in list(FACES)[1:]:
            report.set(name(face, how), samples.median((face, how), "cpu_us") / chat, "ratio")


def name(face, how):
    return f"cpu_{face}_{how}_vs_chat"


GOALS = {name(face, how): ("<=", COST_MAX, None) for face in list(FACES)[1:] for how in MODELS}


def main():
    from setting import FOLDER, Setting, a_setting

    report = Report()
    with a_setting(Setting, with_nginx=False) as setting:
        measure(setting, report, os.environ.get("QUICK", "") not in ("", "0"))
    report.write(FOLDER / "faces.json")
    missed = report.show(GOALS)
    sys.exit(1 if report.void or missed else 0)


if __name__ == "__main__":
    main()
