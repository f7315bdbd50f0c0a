"""Runs the official clients of OpenAI and Ollama, the examples and the demo against real gateways in front of a real Ollama and model.

Needs what `scripts/test.sh` installs. The suites learn from the environment where things are:

  LGW_URL, LGW_MODEL          a gateway in front of the real model
  OLLAMA_URL                  the Ollama behind it
  LGW_FAKE_URL, FAKE_URL      one in front of a fake Ollama, and that fake, which tells what reached it
  LGW_USER, LGW_PASSWORD      an account on both
  LGW_TOKEN                   a token of that account on the first
  LGW_NARROW_URL              one that lets a person make two requests per minute, with an account for each suite
  LGW_STREAMS                 10,000 generated answers, for the clients' parsers
  LGW_ANTHROPIC_STREAMS       10,000 of Anthropic's
  LGW_RESPONSE_STREAMS        10,000 generated responses, likewise
  LGW_OLLAMA_STREAMS          10,000 generated chats of Ollama's API, likewise
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from stage import PASSWORD, ROOT, Stage  # noqa: E402

MODEL = "smollm2:135m"
SUITE_SECONDS_MAX = 1200

# The suites send more than ten requests per minute, so this limit is lifted; LGW_NARROW_URL lowers it instead.
LIFTED = {"LGW_LIMITS__REQUESTS_PER_MINUTE": 100_000, "LGW_LIMITS__REQUESTS_PER_MINUTE_TOTAL": 100_000}
NARROW = {"LGW_LIMITS__REQUESTS_PER_MINUTE": 2}

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
NODE = ["node", "--test", "--test-reporter=spec"]

PARSERS_OF_PYTHON = ["streams_test.py", "response_streams_test.py", "anthropic_streams_test.py", "ollama_streams_test.py"]

# These speak with gateways, and some count what has reached the fake, so they run one after the other.
SUITES = {
    "openai-python": [*PYTEST, *(f"--ignore={HERE / name}" for name in PARSERS_OF_PYTHON), str(HERE)],
    "openai-node": [*NODE, str(HERE / "openai_node.test.mjs")],
    "openai-node responses": [*NODE, str(HERE / "openai_responses.test.mjs")],
    "anthropic-node": [*NODE, str(HERE / "anthropic_node.test.mjs")],
    "ollama-js": [*NODE, str(HERE / "ollama_js.test.mjs")],
}

# These only read generated answers, so they run beside the others.
PARSERS = {
    "openai-python parsers": [*PYTEST, str(HERE / "streams_test.py")],
    "openai-node parsers": [*NODE, str(HERE / "openai_streams.test.mjs")],
    "anthropic-python parsers": [*PYTEST, str(HERE / "anthropic_streams_test.py")],
    "anthropic-node parsers": [*NODE, str(HERE / "anthropic_streams.test.mjs")],
    "ollama-python parser": [*PYTEST, str(HERE / "ollama_streams_test.py")],
    "ollama-js parser": [*NODE, str(HERE / "ollama_streams.test.mjs")],
    "openai-python parsers of responses": [*PYTEST, str(HERE / "response_streams_test.py")],
    "openai-node parsers of responses": [*NODE, str(HERE / "openai_response_streams.test.mjs")],
}


class Beside:
    """Suites that run beside the others with what processor time those leave. Their output is shown when they have ended."""

    def __init__(self, suites, folder, environment):
        self.logs = {name: folder / f"{name}.log" for name in suites}
        self.processes = {
            name: subprocess.Popen(
                ["nice", "-n", "10", *command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                stdout=self.logs[name].open("wb"), stderr=subprocess.STDOUT,
            )
            for name, command in suites.items()
        }

    def failed(self):
        """Waits for their end. Returns the names of those that failed."""
        failed = []
        for name, process in self.processes.items():
            if process.wait(SUITE_SECONDS_MAX) != 0:
                failed.append(name)
            print(f"--- {name}\n{self.logs[name].read_text(errors='replace')}", flush=True)
        return failed

    def end(self):
        for process in self.processes.values():
            process.kill()


def main():
    with Stage() as stage:
        ollama = stage.ollama()
        fake, _ = stage.program([sys.executable, HERE / "fake_ollama.py"], "fake")
        real = stage.gateway("real", ollama, LGW_DEFAULT_MODEL=MODEL, **LIFTED)
        recorded = stage.gateway("recorded", fake, LGW_DEFAULT_MODEL="fake:latest", **LIFTED)
        narrow = stage.gateway("narrow", fake, LGW_DEFAULT_MODEL="fake:latest", **NARROW)

        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "ANTHROPIC_", "OLLAMA_"))}
        user = real.approved("suite@example.com")
        environment |= {
            "LGW_URL": real.url, "LGW_MODEL": MODEL, "LGW_USER": user, "LGW_TOKEN": real.api_token(user, "suite"),
            "LGW_PASSWORD": PASSWORD, "LGW_FAKE_URL": recorded.url, "FAKE_URL": fake, "LGW_NARROW_URL": narrow.url,
            "OLLAMA_URL": ollama,
        }
        environment["LGW_STREAMS"] = str(stage.folder / "streams.jsonl")
        environment["LGW_ANTHROPIC_STREAMS"] = str(stage.folder / "anthropic_streams.jsonl")
        environment["LGW_OLLAMA_STREAMS"] = str(stage.folder / "ollama_streams.jsonl")
        environment["LGW_RESPONSE_STREAMS"] = str(stage.folder / "response_streams.jsonl")
        subprocess.run(["cargo", "test", "--locked", "--quiet", "--test", "letter", "generated"], cwd=ROOT, env=environment, check=True)
        subprocess.run(["cargo", "test", "--locked", "--quiet", "--test", "streams"], cwd=ROOT, env=environment, check=True)
        recorded.approved("suite@example.com")
        # One per suite: each uses up its own two requests.
        narrow.approved("python@example.com")
        narrow.approved("node@example.com")

        failed = []
        # A few of what `make hostile` sends, to an Ollama of their own.
        hostile = [sys.executable, str(ROOT / "tests/hostile/run.py"), "40"]
        suites = {**SUITES, "hostile schemas": hostile, "demo": [sys.executable, str(ROOT / "scripts/demo.py"), ollama, MODEL]}
        parsers = Beside(PARSERS, stage.folder, environment)
        try:
            for name, command in suites.items():
                print(f"--- {name}", flush=True)
                done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, timeout=SUITE_SECONDS_MAX)
                if done.returncode != 0:
                    failed.append(name)
            failed += parsers.failed()
        finally:
            parsers.end()
        if failed:
            raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
