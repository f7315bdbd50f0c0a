"""Lets a real Codex edit a file through a gateway, with a model that is scripted for it.

On demand only, since Codex is large (`make test-agents`): the version below is installed into `.tools/`, unless
`CODEX_PROGRAM` names one. It reaches nothing but the gateway; its settings are in a fresh folder. Prints what of Codex's requests
had no effect here.
"""

import os
import pathlib
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from on_demand import installed, npm  # noqa: E402
from scripted_ollama import called, said, server_of  # noqa: E402
from stage import Stage, call  # noqa: E402

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


def answer(body):
    """Answers the first turn with a call of Codex's shell that writes a file, and the result of that with a text."""
    thought = {**said(""), "thinking": "I write it with the shell."}
    if body["messages"][-1]["role"] == "tool":
        return [thought, said("The file is written.")]
    return [thought, shell_call(body["tools"])]


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
            return called(name, arguments[name])
    raise SystemExit(f"no shell among the tools that reached the model: {offered}")


def main():
    with Stage() as stage:
        ollama = server_of(MODEL, answer, ("completion", "tools", "thinking"))
        threading.Thread(target=ollama.serve_forever, daemon=True).start()
        gateway = stage.gateway("codex", ollama.url, LGW_DEFAULT_MODEL=MODEL)
        user = gateway.approved("codex@example.com")
        home, project = stage.folder / "home", stage.folder / "project"
        (home / ".codex").mkdir(parents=True)
        project.mkdir()
        (home / ".codex/config.toml").write_text(CONFIG.format(model=MODEL, url=gateway.url, project=project))
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(home), "CODEX_HOME": str(home / ".codex"),
            "LGW_TOKEN": gateway.api_token(user, "codex"), "NO_COLOR": "1",
        }
        codex = installed("CODEX_PROGRAM", PACKAGE, "node_modules/.bin/codex", lambda folder: npm(folder, "install", PACKAGE), "some hundred MB")
        command = [codex, "exec", "--skip-git-repo-check", "--json", "Write a note into note.txt."]
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
        sent = [message["role"] for message in call("GET", ollama.url + "/received").json[-1]["messages"]]
        print(f"ok: {len(rows)} requests; the last had the messages {sent}")


if __name__ == "__main__":
    main()
