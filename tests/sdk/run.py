"""Runs the official OpenAI clients, the examples and the demo against real gateways in front of a real Ollama and model.

Needs what `scripts/test.sh` installs. The suites learn from the environment where things are:

  LGW_URL, LGW_MODEL          a gateway in front of the real model
  OLLAMA_URL                  the Ollama behind it
  LGW_FAKE_URL, FAKE_URL      one in front of a fake Ollama, and that fake, which tells what reached it
  LGW_USER, LGW_PASSWORD      an account on both
  LGW_NARROW_URL              one that lets a person make two requests per minute, with an account for each suite
  LGW_FRESH_URL               one that nobody has used yet
  LGW_STREAMS                 10,000 generated answers, for the clients' parsers
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from stage import PASSWORD, ROOT, Stage  # noqa: E402

MODEL = "smollm2:135m"
SUITE_SECONDS_MAX = 600

# The suites send more than ten requests per minute, so this limit is lifted; LGW_NARROW_URL lowers it instead.
LIFTED = {"LGW_LIMITS__REQUESTS_PER_MINUTE": 100_000, "LGW_LIMITS__REQUESTS_PER_MINUTE_TOTAL": 100_000}
NARROW = {"LGW_LIMITS__REQUESTS_PER_MINUTE": 2}

SUITES = {
    "openai-python": [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE)],
    "openai-node": ["node", "--test", "--test-reporter=spec", str(HERE / "openai_node.test.mjs")],
    "openai-node parsers": ["node", "--test", "--test-reporter=spec", str(HERE / "openai_streams.test.mjs")],
}


def main():
    with Stage() as stage:
        ollama = stage.ollama()
        fake, _ = stage.program([sys.executable, HERE / "fake_ollama.py"], "fake")
        real = stage.gateway("real", ollama, LGW_DEFAULT_MODEL=MODEL, **LIFTED)
        recorded = stage.gateway("recorded", fake, LGW_DEFAULT_MODEL="fake:latest", **LIFTED)
        narrow = stage.gateway("narrow", fake, LGW_DEFAULT_MODEL="fake:latest", **NARROW)
        fresh = stage.gateway("fresh", ollama, LGW_DEFAULT_MODEL=MODEL)

        environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        environment |= {
            "LGW_URL": real.url, "LGW_MODEL": MODEL, "LGW_USER": real.approved("suite@example.com"),
            "LGW_PASSWORD": PASSWORD, "LGW_FAKE_URL": recorded.url, "FAKE_URL": fake, "LGW_NARROW_URL": narrow.url,
            "LGW_FRESH_URL": fresh.url, "OLLAMA_URL": ollama,
        }
        environment["LGW_STREAMS"] = str(stage.folder / "streams.jsonl")
        subprocess.run(["cargo", "test", "--locked", "--quiet", "--test", "letter", "generated"], cwd=ROOT, env=environment, check=True)
        recorded.approved("suite@example.com")
        # One per suite: each uses up its own two requests.
        narrow.approved("python@example.com")
        narrow.approved("node@example.com")

        failed = []
        # A few of what `make hostile` sends, to an Ollama of their own.
        hostile = [sys.executable, str(ROOT / "tests/hostile/run.py"), "40"]
        suites = {**SUITES, "hostile schemas": hostile, "demo": [sys.executable, str(ROOT / "scripts/demo.py"), ollama, MODEL]}
        for name, command in suites.items():
            print(f"--- {name}", flush=True)
            done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, timeout=SUITE_SECONDS_MAX)
            if done.returncode != 0:
                failed.append(name)
        if failed:
            raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
