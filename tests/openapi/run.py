"""Validates the OpenAPI document, holds it against what a gateway takes and answers, and uses a client generated from it.

Needs what `scripts/test.sh` installs. The suites learn from the environment where things are:

  LGW_FAKE_URL             a gateway in front of a fake Ollama
  LGW_URL, LGW_MODEL       one in front of a real Ollama and model
  LGW_USER, LGW_PASSWORD   an account on both
  LGW_ADMIN_PASSWORD       the password of `admin` on both
  LGW_CLIENT               the folder with the generated client
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from stage import ADMIN_PASSWORD, PASSWORD, ROOT, Stage  # noqa: E402

MODEL = "smollm2:135m"
SECONDS_MAX = 600
USER = "reader@example.com"

LIFTED = {
    "LGW_LIMITS__REQUESTS_PER_MINUTE": 100_000, "LGW_LIMITS__REQUESTS_PER_MINUTE_TOTAL": 100_000,
    # The most that the setting may be, which the document names.
    "LGW_LIMITS__CHOICES_MAX": 16,
}
# The fake claims to be able to do everything that an example asks for.
FAKE = {"FAKE_CAPABILITIES": "completion,embedding,insert,thinking,tools,vision"}

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]


def generate_client(folder):
    """Generates a client; a warning means that a part of the document is lost in it."""
    tools = pathlib.Path(sys.executable).parent
    command = [tools / "openapi-python-client", "generate", "--path", ROOT / "openapi/openapi.json", "--output-path", folder]
    # It formats what it wrote with `ruff`, which is beside it.
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run([str(word) for word in command], env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=SECONDS_MAX)
    said = done.stdout + done.stderr
    if done.returncode != 0 or "warning" in said.lower():
        sys.exit(f"openapi-python-client has something to say:\n{said}")


def main():
    with Stage() as stage:
        generate_client(stage.folder / "client")
        fake, _ = stage.program([sys.executable, ROOT / "tests/sdk/fake_ollama.py"], "fake", FAKE)
        gateways = {
            "LGW_FAKE_URL": stage.gateway("faked", fake, LGW_DEFAULT_MODEL="fake:latest", **LIFTED),
            "LGW_URL": stage.gateway("real", stage.ollama(), LGW_DEFAULT_MODEL=MODEL, **LIFTED),
        }
        for gateway in gateways.values():
            gateway.approved(USER)
        environment = os.environ | {name: gateway.url for name, gateway in gateways.items()} | {
            "LGW_MODEL": MODEL, "LGW_USER": USER, "LGW_PASSWORD": PASSWORD, "LGW_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "LGW_CLIENT": str(stage.folder / "client"),
        }
        done = subprocess.run([*PYTEST, str(HERE)], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, timeout=SECONDS_MAX)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
