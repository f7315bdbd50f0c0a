"""Lets a real Codex edit a file through a gateway, with a model that is scripted for it.

On demand only, since Codex is large (`make test-agents`): the version below is installed into `.tools/`, unless
`CODEX_PROGRAM` names one. It reaches nothing but the gateway; its settings are in a fresh folder. Prints what of Codex's requests
had no effect here.
"""

import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from installed import installed  # noqa: E402
from stage import Stage  # noqa: E402

PACKAGE = "@openai/codex@0.171.0"
MODEL = "fake:latest"
EDITED = "a file that Codex wrote"
CODEX_SECONDS_MAX = 180

CONFIG = """
model = "{model}"
model_provider = "lan"
model_context_window = 64000
model_reasoning_effort = "low"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.lan]
name = "LAN gateway"
base_url = "{url}/v1"
env_key = "LGW_TOKEN"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0

[projects."{project}"]
trust_level = "trusted"
"""


class ScriptedOllama(http.server.BaseHTTPRequestHandler):
    """Answers the first turn with a call of Codex's shell that writes a file, and the result of that with a text."""

    protocol_version = "HTTP/1.1"
    received = []

    def do_GET(self):
        listed = {"name": MODEL, "model": MODEL, "modified_at": "2026-01-01T00:00:00Z", "size": 1, "digest": "0" * 64,
                  "details": {"family": "fake"}}
        answers = {"/api/version": {"version": "0.24.0"}, "/api/tags": {"models": [listed]}, "/api/ps": {"models": []}}
        self.reply(200 if self.path in answers else 404, [answers.get(self.path, {"error": "not found"})])

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/show":
            return self.reply(200, [{"capabilities": ["completion", "tools", "thinking"], "model_info": {}}])
        self.received.append(body)
        if body["messages"][-1]["role"] == "tool":
            message = {"content": "The file is written."}
        else:
            message = {"content": "", "tool_calls": [{"function": shell_call(body["tools"])}]}
        self.reply(200, [
            self.line({"content": "", "thinking": "I write it with the shell."}, done=False),
            self.line(message, done=False),
            {**self.line({"content": ""}, done=True), "done_reason": "stop", "prompt_eval_count": 100, "eval_count": 10},
        ])

    @staticmethod
    def line(message, done):
        return {"model": MODEL, "created_at": "2026-12-01T00:00:00Z", "message": {"role": "assistant", **message}, "done": done}

    def reply(self, status, lines):
        body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        self.send_response(status)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def shell_call(tools):
    """Returns a call that writes the file, of whichever shell tool this version of Codex offers."""
    command = f"echo '{EDITED}' > note.txt"
    arguments = {
        "exec_command": {"cmd": command},
        "shell_command": {"command": command},
        "shell": {"command": ["bash", "-lc", command]},
    }
    offered = [tool["function"]["name"] for tool in tools]
    for name in offered:
        if name in arguments:
            return {"name": name, "arguments": arguments[name]}
    raise SystemExit(f"no shell among the tools that reached the model: {offered}")


def main():
    with Stage() as stage:
        ollama = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ScriptedOllama)
        threading.Thread(target=ollama.serve_forever, daemon=True).start()
        gateway = stage.gateway("codex", f"http://127.0.0.1:{ollama.server_port}", LGW_DEFAULT_MODEL=MODEL)
        user = gateway.approved("codex@example.com")
        home, project = stage.folder / "home", stage.folder / "project"
        (home / ".codex").mkdir(parents=True)
        project.mkdir()
        (home / ".codex/config.toml").write_text(CONFIG.format(model=MODEL, url=gateway.url, project=project))
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(home), "CODEX_HOME": str(home / ".codex"),
            "LGW_TOKEN": gateway.api_token(user, "codex"), "NO_COLOR": "1",
        }
        command = [installed("CODEX_PROGRAM", PACKAGE, "codex"), "exec", "--skip-git-repo-check", "--json", "Write a note into note.txt."]
        done = subprocess.run(
            command, cwd=project, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=CODEX_SECONDS_MAX,
        )
        print(done.stdout, done.stderr, sep="\n")
        note = project / "note.txt"
        assert done.returncode == 0, f"codex ended with {done.returncode}"
        assert note.exists() and note.read_text().strip() == EDITED, "the file was not written"
        assert "The file is written." in done.stdout, "the answer was not shown"
        rows = gateway.expect(200, "GET", "/api/v1/audit?api=/v1/responses", token=gateway.admin_token).json["items"]
        assert rows and all(row["outcome"] == "completed" for row in rows), rows
        for row in rows:
            path = f"/api/v1/audit/{row['request_id']}"
            print(gateway.expect(200, "GET", path, token=gateway.admin_token).json["notes"])
        sent = [message["role"] for message in ScriptedOllama.received[-1]["messages"]]
        print(f"ok: {len(rows)} requests; the last had the messages {sent}")


if __name__ == "__main__":
    main()
