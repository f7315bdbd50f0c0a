"""Runs the tests that need a real browser: Debian's Chromium in front of gateways of their own.

Needs what `scripts/test.sh` installs. The suites learn from the environment where things are:

  LGW_DESKTOP_URL, LGW_PHONE_URL, LGW_PLAIN_URL   gateways that nobody has used yet, in front of a real Ollama and model
  LGW_MODEL                                       that model
  LGW_DOCS_URL                                    one in front of the same, for the pages under `/docs/`
  LGW_SHORT_URL                                   one whose sessions last a minute without a page
  LGW_TOLD_URL, FAKE_URL                          one in front of a fake Ollama that answers what it is told, and that fake
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from stage import ROOT, Stage  # noqa: E402

MODEL = "smollm2:135m"
SECONDS_MAX = 900

LIFTED = {"LGW_LIMITS__REQUESTS_PER_MINUTE": 100_000, "LGW_LIMITS__REQUESTS_PER_MINUTE_TOTAL": 100_000}
# The shortest that can be set.
SHORT = {"LGW_ACCOUNTS__SESSION_IDLE_SECONDS_MAX": 60}


def main():
    with Stage() as stage:
        ollama = stage.ollama()
        fake, _ = stage.program(["node", HERE / "told_ollama.mjs"], "told")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        environment |= {"LGW_MODEL": MODEL, "FAKE_URL": fake}
        for name in ("desktop", "phone", "plain"):
            gateway = stage.gateway(name, ollama, LGW_DEFAULT_MODEL=MODEL)
            environment[f"LGW_{name.upper()}_URL"] = gateway.url
        environment["LGW_DOCS_URL"] = stage.gateway("docs", ollama, LGW_DEFAULT_MODEL=MODEL, **LIFTED).url
        environment["LGW_SHORT_URL"] = stage.gateway("short", fake, LGW_DEFAULT_MODEL="told:latest", **SHORT).url
        environment["LGW_TOLD_URL"] = stage.gateway("told_gateway", fake, LGW_DEFAULT_MODEL="told:latest", LGW_TOKENS__PER_USER_MAX=50, **LIFTED).url

        suites = sys.argv[1:] or sorted(str(path) for path in HERE.glob("*.test.mjs"))
        command = ["node", "--test", "--test-reporter=spec", "--test-concurrency=3", *suites]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, timeout=SECONDS_MAX)
        if done.returncode:
            sys.exit("failed; see above")


if __name__ == "__main__":
    main()
