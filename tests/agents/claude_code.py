"""A real Claude Code edits one file through the gateway, in front of a model that was told what to say.

On demand only, since Claude Code is large (`make test-agents`): the version below is installed into `.tools/`, unless
`CLAUDE_CODE_PROGRAM` names one. The program gets a home of its own and no network but the gateway.
"""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from on_demand import installed, npm  # noqa: E402
from stage import Stage, call  # noqa: E402

PACKAGE = "@anthropic-ai/claude-code@2.1.332"
SECONDS_MAX = 240
MODEL = "claude-scripted:latest"
BEFORE, AFTER = "The sea is grey.\n", "The sea is blue.\n"


def environment(home, gateway, token):
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb", "LANG": "C.UTF-8",
        "ANTHROPIC_BASE_URL": gateway.url, "ANTHROPIC_AUTH_TOKEN": token,
        "ANTHROPIC_MODEL": MODEL, "ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
    }


def main():
    claude = installed("CLAUDE_CODE_PROGRAM", PACKAGE, "node_modules/.bin/claude", lambda folder: npm(folder, "install", PACKAGE), "some hundred MB")
    with Stage() as stage:
        work, home = stage.folder / "work", stage.folder / "home"
        work.mkdir()
        home.mkdir()
        file = work / "sea.txt"
        file.write_text(BEFORE)
        model, _ = stage.program([sys.executable, HERE / "scripted_model.py", file, "grey", "blue"], "model")
        gateway = stage.gateway("gateway", model, LGW_LIMITS__REQUESTS_PER_MINUTE=1000)
        user = gateway.approved("agent@example.com")
        token = gateway.api_token(user, "claude code")

        command = [claude, "--print", "--permission-mode", "acceptEdits", "--output-format", "json", "Make the sea in sea.txt blue."]
        done = subprocess.run(command, cwd=work, env=environment(home, gateway, token), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=SECONDS_MAX)

        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        result = json.loads(done.stdout)
        assert not result["is_error"] and result["result"] == "I have changed the word.", result
        assert file.read_text() == AFTER, file.read_text()
        rows = gateway.expect(200, "GET", "/api/v1/audit?limit=200", token=gateway.admin_token).json["items"]
        asked = [row for row in rows if (row.get("api") or "").startswith("/v1/messages")]
        refused = [row for row in asked if row["outcome"] != "completed"]
        assert len(asked) >= 3 and not refused, refused
        sent = call("GET", model + "/received").json
        print(f"{len(sent)} requests reached the model, the largest with {max(len(json.dumps(body)) for body in sent)} bytes")
        ids = {row["request_id"] for row in asked}
        notes = [gateway.expect(200, "GET", f"/api/v1/audit/{each}", token=gateway.admin_token).json.get("notes") for each in ids]
        ignored = sorted({line for note in notes for line in (note or "").splitlines() if line.startswith("ignored ")})
        print("\n".join(ignored))
    print("1 passed: Claude Code edited a file")


if __name__ == "__main__":
    main()
