"""Throws what the OpenAPI document allows, and what it does not, at a gateway: no answer is a 5xx, and none is undeclared.

Needs the packages of `requirements.txt`, which `scripts/test.sh` installs. Every run sends the same: the seed is fixed. Each
operation is tried as a person and as an admin; `EXAMPLES=1000` tries longer than `make test` does.
"""

import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from stage import Stage  # noqa: E402

SEED = 4
EXAMPLES = os.environ.get("EXAMPLES", "15")
SECONDS_MAX = 900

# Thousands of requests in a minute are the purpose here, so every limit that would answer in their place is lifted.
LIFTED = {
    "LGW_DEFAULT_MODEL": "fake:latest",
    "LGW_LIMITS__REQUESTS_PER_MINUTE": 1_000_000,
    "LGW_LIMITS__REQUESTS_PER_MINUTE_TOTAL": 1_000_000,
    "LGW_LIMITS__ADDRESS_REQUESTS_PER_MINUTE": 1_000_000,
    "LGW_LIMITS__OWN_ACTS_PER_MINUTE": 1_000_000,
    "LGW_ACCOUNTS__PENDING_MAX": 100_000,
    "LGW_ACCOUNTS__PENDING_PER_ADDRESS_MAX": 100_000,
    "LGW_ACCOUNTS__HASHING_WAITING_MAX": 1_000,
}

# Not held: that whatever the schema lets through is taken. Known models, right passwords and free names stand in no schema.
NOT_HELD = "positive_data_acceptance"

# Changed settings would answer in place of the routes that are tried after them, so they come last.
SETTINGS = ["--include-path", "/api/v1/settings"]
# There every field that is empty, as `{}` is, counts as absent, which no schema of it could say in a way that helps.
MODEL_ROUTES = (
    "/chat", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens",
    "/api/chat", "/api/generate", "/api/embed", "/api/embeddings",
)
MODELS = [word for path in MODEL_ROUTES for word in ("--include-path", path)]
THE_REST = [word.replace("include", "exclude") for word in [*SETTINGS, *MODELS]]
NOT_HELD_OF_MODELS = f"{NOT_HELD},negative_data_rejection"


def attack(gateway, who, token, which):
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{gateway.url}/openapi.json", "--header", f"Authorization: Bearer {token}",
        "--checks", "all", "--exclude-checks", NOT_HELD_OF_MODELS if which is MODELS else NOT_HELD, "--seed", str(SEED), "--max-examples", EXAMPLES, "--phases", "examples,coverage,fuzzing",
        "--generation-database", "none", "--continue-on-failure", "--warnings", "off", "--request-timeout", "30", *which,
    ]
    print(f"--- as {who}: {' '.join(which)}", flush=True)
    done = subprocess.run(command, cwd=gateway.log.parent, stdin=subprocess.DEVNULL, timeout=SECONDS_MAX)
    return done.returncode == 0


def main():
    with Stage() as stage:
        fake, _ = stage.program([sys.executable, ROOT / "tests/sdk/fake_ollama.py"], "fake")
        gateway = stage.gateway("gateway", fake, **LIFTED)
        user = gateway.token(gateway.approved("user@example.com"))
        runs = [
            ("a person", user, THE_REST), ("a person", user, MODELS), ("a person", user, SETTINGS),
            ("an admin", gateway.admin_token, THE_REST), ("an admin", gateway.admin_token, SETTINGS),
        ]
        began = time.monotonic()
        passed = [attack(gateway, *run) for run in runs]
        # What was thrown must not have brought it down.
        gateway.expect(200, "GET", "/health/live")
    failed = passed.count(False)
    # As pytest says it, since the script that adds up what was tested reads that.
    print(f"{passed.count(True)} passed, {failed} failed in {time.monotonic() - began:.1f}s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
