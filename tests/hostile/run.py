"""Sends hostile schemas through a gateway to a real Ollama of its own, and looks whether that is alive afterwards.

    tests/hostile/run.py [NUMBER [SEED]]

Each answer has to be a 200, or a 400 of the gateway's own: an error of the model server or of its runner, or a schema that
these refuse, is a schema that the gateway should not have let through. A number that fails can be sent alone: NUMBER 1, its
seed. Needs a gateway (`GATEWAY_PROGRAM`) and what `scripts/ollama.sh` sets up.
"""

import collections
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from schemas import Hostile  # noqa: E402
from stage import Stage, call  # noqa: E402

MODEL = "smollm2:135m"
SECONDS_MAX = 60
# A tool's schema is read by the model, too, which takes longer than anything else here.
READ_BYTES_MAX = 1500

LIFTED = {
    "LGW_LIMITS__REQUESTS_PER_MINUTE": 1_000_000, "LGW_LIMITS__REQUESTS_PER_MINUTE_TOTAL": 1_000_000,
    "LGW_LIMITS__ADDRESS_REQUESTS_PER_MINUTE": 1_000_000, "LGW_OLLAMA__SLOTS": 1,
}


def body(seed):
    schema = Hostile(seed).whole()
    request = {"model": MODEL, "messages": [{"role": "user", "content": "Answer"}], "max_tokens": 16 if seed % 20 == 0 else 1, "temperature": 0}
    if seed % 7 == 0 and len(json.dumps(schema)) <= READ_BYTES_MAX:
        parameters = schema if seed % 2 else {"type": "object", "properties": {"a": schema}}
        tool = {"type": "function", "function": {"name": "save", "parameters": parameters}}
        return request | {"tools": [tool], "tool_choice": "required"}
    return request | {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


def is_right(request, answer):
    if answer.status == 200:
        return True
    message = json.loads(answer.text)["error"]["message"]
    if answer.status == 400:
        return "the model server" not in message
    # A call that was cut short is no call, which is an error, but not one of the schema's.
    return "tools" in request and answer.status == 502 and "stopped" not in message and "status 5" not in message and "reached" not in message


def send(gateway, token, seed):
    request = body(seed)
    started = time.monotonic()
    answer = call("POST", gateway.url + "/v1/chat/completions", request, token)
    seconds = time.monotonic() - started
    ok = is_right(request, answer) and seconds < SECONDS_MAX
    if not ok:
        print(f"FAULT seed {seed}: {answer.status} in {seconds:.1f} s: {answer.text[:300]}\n      {json.dumps(request)[:1500]}", flush=True)
    return ok, answer.status, seconds


def runners(ollama):
    """Process ids of what runs models for this Ollama."""
    found = subprocess.run(["pgrep", "-P", str(ollama.pid)], capture_output=True, text=True).stdout.split()
    return sorted(found)


def main():
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with Stage() as stage:
        url = stage.ollama()
        ollama = stage.processes[-1]
        gateway = stage.gateway("hostile", url, LGW_DEFAULT_MODEL=MODEL, **LIFTED)
        token = gateway.token(gateway.approved("hostile@example.com"))
        plain = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
        assert call("POST", gateway.url + "/v1/chat/completions", plain, token).status == 200
        before = (ollama.pid, runners(ollama))

        started, statuses, failed, slowest = time.monotonic(), collections.Counter(), 0, (0, None)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            seeds = range(first, first + number)
            for done, (seed, (ok, status, seconds)) in enumerate(zip(seeds, pool.map(lambda seed: send(gateway, token, seed), seeds)), 1):
                statuses[status] += 1
                failed += not ok
                slowest = max(slowest, (seconds, seed))
                if done % 1000 == 0:
                    print(f"{done} schemas in {time.monotonic() - started:.0f} s: {dict(statuses)}, {failed} faults", flush=True)

        after = call("POST", gateway.url + "/v1/chat/completions", plain, token)
        alive = ollama.poll() is None and (ollama.pid, runners(ollama)) == before and after.status == 200
        print(f"{number} schemas in {time.monotonic() - started:.0f} s: {dict(statuses)}, slowest {slowest[0]:.1f} s (seed {slowest[1]})")
        print(f"{number - failed} passed, {failed} failed; the model server {'lives, and so does its runner' if alive else 'did NOT live through it'}")
    return alive and not failed


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
