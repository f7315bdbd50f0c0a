"""The noisy neighbour: a pipeline keeps 100 requests outstanding while four people send one at a time.

One slot. A fake Ollama, first come, first served as the real one, serves each request in 200 ms: the first token at once,
the others spread over the rest. People think between their requests, exponentially distributed, seeded. What counts is
how long a person waits for the first token, in service times. All cases run at the same time, each with a gateway and an
Ollama of its own: together they make some 35 requests a second, which keeps no machine busy.

By itself (`python3 tests/bench/neighbour.py --real`) it runs the fair case once against the real Ollama and model.
"""

import asyncio
import dataclasses
import json
import random
import statistics
import sys
import time

from setting import FOLDER
from stage import Stage, call

PEOPLE = 4
OUTSTANDING = 100
SERVICE_SECONDS = 0.2
TOKENS = 10
WARM_UP_SECONDS = 10
SECONDS = 180
SECONDS_QUICK = 40
SEED = 20_261_124

ROOMY = {
    "LGW_OLLAMA__SLOTS": 1,
    "LGW_QUEUE__WAITING_MAX": 1000,
    "LGW_QUEUE__WAITING_PER_USER_MAX": 1000,
    "LGW_QUEUE__WAIT_SECONDS_MAX": 3600,
    "LGW_LIMITS__REQUESTS_PER_MINUTE": 1_000_000,
    "LGW_LIMITS__REQUESTS_PER_MINUTE_TOTAL": 100_000_000,
    "LGW_ACCOUNTS__ACCESS_TOKEN_SECONDS": 7200,
}


@dataclasses.dataclass
class Case:
    name: str
    # `arrival` is the gateway with fairness off; None is Ollama itself.
    order: str | None = "fair"
    batch: bool = False
    # In service times, on average.
    thinking: float = 10
    exponential: bool = False


CASES = [
    Case("fair"),
    Case("batch", batch=True),
    Case("unfair", order="arrival"),
    Case("direct", order=None),
    Case("fair, think time 4", thinking=4),
    Case("fair, think time 0", thinking=0),
    Case("fair, exponential service", exponential=True),
]


@dataclasses.dataclass
class Seen:
    """First-token waits of each person and answers of everybody, in the measured time."""

    waits: list
    answers: int = 0

    def p95(self):
        """The worst person's 95th percentile, in seconds."""
        return max(percentile(waits, 0.95) for waits in self.waits)


def percentile(values, share):
    ordered = sorted(values) or [float("nan")]
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class SlowOllama:
    """One slot, first come, first served; `exponential` spreads the service times with the same mean."""

    def __init__(self, exponential):
        self._slot = asyncio.Lock()
        self._random = random.Random(SEED) if exponential else None

    async def start(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        try:
            while request := await read_request(reader):
                path, body = request
                if path == "/api/tags":
                    card = {"name": "m:latest", "model": "m:latest", "modified_at": "2026-11-24T00:00:00Z"}
                    whole(writer, json.dumps({"models": [card | {"size": 1, "digest": "0", "details": {}}]}))
                elif path == "/api/chat":
                    async with self._slot:
                        await self._answer(writer)
                else:
                    whole(writer, "{}", 404)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The client is gone, or the run is over.
            pass
        finally:
            writer.close()

    async def _answer(self, writer):
        seconds = self._random.expovariate(1 / SERVICE_SECONDS) if self._random else SERVICE_SECONDS
        began = asyncio.get_running_loop().time()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        for token in range(TOKENS):
            chunk(writer, {"message": {"role": "assistant", "content": f" w{token}"}, "done": False})
            await asyncio.sleep(began + seconds * (token + 1) / TOKENS - asyncio.get_running_loop().time())
        took = int(seconds * 1e9)
        chunk(writer, {
            "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", "total_duration": took,
            "prompt_eval_count": 5, "prompt_eval_duration": took // 10, "eval_count": TOKENS,
            "eval_duration": took - took // 10,
        })
        writer.write(b"0\r\n\r\n")


async def read_request(reader):
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    lines = head.decode().split("\r\n")
    length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")), 0)
    return lines[0].split(" ")[1], await reader.readexactly(length)


def whole(writer, body, status=200):
    writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def chunk(writer, line):
    body = json.dumps({"model": "m:latest", "created_at": "2026-11-24T00:00:00.5Z"} | line, separators=(",", ":")) + "\n"
    writer.write(f"{len(body):x}\r\n{body}\r\n".encode())


class Target:
    """Where requests go: a gateway's OpenAI face, or Ollama's own."""

    def __init__(self, url, path, model, tokens=None):
        self.host = url.removeprefix("http://")
        self.path = path
        self.model = model
        self.tokens = tokens
        self.sent = 0

    async def ask(self, bearer):
        """Sends one request and reads its answer; the seconds to the first token."""
        self.sent += 1
        # No two prompts are the same, so that nobody is taken for a runaway.
        message = {"role": "user", "content": f"request {self.sent}: say something"}
        body = {"model": self.model, "stream": True, "messages": [message]}
        if self.tokens:
            body |= {"max_tokens": self.tokens}
        body = json.dumps(body)
        host, port = self.host.split(":")
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write((
                f"POST {self.path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {bearer}\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode())
            status = await reader.readline()
            if b" 200 " not in status:
                raise SystemExit(f"{status.decode()}{(await reader.read(4096)).decode()}")
            first = None
            while line := await reader.readline():
                if first is None and (b'"content":"' in line and b'"content":""' not in line):
                    first = time.perf_counter() - began
                if b"[DONE]" in line or b'"done":true' in line:
                    break
            else:
                raise SystemExit("an answer without its end")
            return first if first is not None else time.perf_counter() - began
        finally:
            writer.close()


async def run(case, target, bearers, service, seconds):
    """The load itself. `bearers`: the pipeline's, then the people's."""
    started = time.perf_counter()
    seen = Seen([[] for _ in range(PEOPLE)])
    measured = lambda: time.perf_counter() - started >= WARM_UP_SECONDS  # noqa: E731

    async def pipeline():
        while True:
            await target.ask(bearers[0])
            seen.answers += measured()

    async def person(number):
        thinking = random.Random(SEED + number)
        while True:
            await asyncio.sleep(thinking.expovariate(1) * case.thinking * service)
            waited = await target.ask(bearers[1 + number])
            if measured():
                seen.waits[number].append(waited)
                seen.answers += 1

    tasks = [asyncio.create_task(pipeline()) for _ in range(OUTSTANDING)]
    tasks += [asyncio.create_task(person(number)) for number in range(PEOPLE)]
    done, running = await asyncio.wait(tasks, timeout=seconds + WARM_UP_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for task in done:
        task.result()
    return seen


def gateway_for(case, stage, ollama, **more):
    """A gateway with its five people. Their prompts and answers are recorded as everybody's."""
    name = case.name.replace(" ", "-").replace(",", "")
    gateway = stage.gateway(name, ollama, **ROOMY, LGW_QUEUE__ORDER=case.order, **more)
    names = [gateway.approved(f"{who}@example.org") for who in ["pipeline", *(f"person{n}" for n in range(PEOPLE))]]
    if case.batch:
        gateway.expect(200, "PATCH", f"/api/v1/users/{gateway.user_id(names[0])}", {"class": "batch"}, gateway.admin_token)
    return gateway, [gateway.token(name) for name in names]


async def run_cases(stage, seconds):
    loop, loads = asyncio.get_running_loop(), []
    for case in CASES:
        ollama = await SlowOllama(case.exponential).start()
        if case.order is None:
            loads.append((case, Target(ollama, "/api/chat", "m"), [""] * (1 + PEOPLE)))
            continue
        # In a thread: the gateway asks the fake, which lives in this loop.
        gateway, bearers = await loop.run_in_executor(None, gateway_for, case, stage, ollama)
        loads.append((case, Target(gateway.url, "/v1/chat/completions", "m"), bearers))
    return await asyncio.gather(*(run(*load, SERVICE_SECONDS, seconds) for load in loads))


def measure(report, quick):
    seconds = SECONDS_QUICK if quick else SECONDS
    with Stage(within=FOLDER) as stage:
        seen = dict(zip((case.name for case in CASES), asyncio.run(run_cases(stage, seconds))))
    print(f"\nnoisy neighbour: worst person's p95 to the first token, in service times of {SERVICE_SECONDS} s")
    for name, case in seen.items():
        counts = [len(waits) for waits in case.waits]
        print(f"  {name:28} {case.p95() / SERVICE_SECONDS:8.2f}   {case.answers} answers in {seconds} s, of people {counts}")
    for name in ["fair", "batch", "unfair", "direct"]:
        report.set(f"neighbour_p95_{name}", seen[name].p95() / SERVICE_SECONDS, "services")
    report.set("neighbour_throughput_vs_unfair", seen["fair"].answers / seen["unfair"].answers, "ratio")


def measure_real(seconds=120, tokens=16):
    """The fair case with the real Ollama and its small model; the service time is the mean that an idle host needs."""
    case = Case("fair")
    with Stage() as stage:
        ollama = stage.ollama()
        model = call("GET", f"{ollama}/api/tags").json["models"][0]["name"]
        gateway, bearers = gateway_for(case, stage, ollama)
        target = Target(gateway.url, "/v1/chat/completions", model, tokens)

        async def both():
            services = []
            for _ in range(6):
                began = time.perf_counter()
                await target.ask(bearers[1])
                services.append(time.perf_counter() - began)
            service = statistics.median(services[1:])
            return service, await run(case, target, bearers, service, seconds)

        service, seen = asyncio.run(both())
    print(f"real model {model}: {service:.3f} s a request when idle; worst person's p95 {seen.p95() / service:.2f} of these, "
          f"{seen.answers} answers in {seconds} s, of people {[len(waits) for waits in seen.waits]}")


if __name__ == "__main__":
    if sys.argv[1:] != ["--real"]:
        sys.exit(__doc__)
    measure_real()
