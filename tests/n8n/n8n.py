"""n8n's command line and its server, on a folder of their own."""

import json
import os
import pathlib
import signal

from stage import call, free_port, reached, run

SECONDS_MAX = 120

# A process of n8n sometimes crashes when it ends, after all its output.
CRASHED_AT_ITS_END = -signal.SIGSEGV

# No updates, no templates, no telemetry.
QUIET = {
    "N8N_DIAGNOSTICS_ENABLED": "false", "N8N_VERSION_NOTIFICATIONS_ENABLED": "false", "N8N_TEMPLATES_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false", "N8N_HIRING_BANNER_ENABLED": "false",
}


class N8n:
    def __init__(self, program, folder):
        self.program = program
        self.folder = folder
        folder.mkdir()
        node = str(pathlib.Path(program).parent)
        self.path = f"{node}{os.pathsep}{os.environ['PATH']}"

    def environment(self):
        """Returns what every process of n8n gets. Each listens on a port of its own, so that it runs beside any other n8n."""
        folder = str(self.folder)
        return {"PATH": self.path, "HOME": folder, "N8N_USER_FOLDER": folder, "N8N_RUNNERS_BROKER_PORT": str(free_port()), **QUIET}

    def run(self, *arguments):
        return run([self.program, *arguments], SECONDS_MAX, cwd=self.folder, env=self.environment())

    def expect(self, *arguments):
        status, output, errors = self.run(*arguments)
        assert status in (0, CRASHED_AT_ITS_END), f"n8n {' '.join(arguments)} ended with {status}:\n{output[-3000:]}\n{errors[-3000:]}"
        return output

    def load(self, kind, items):
        """Imports credentials or workflows: `kind` is `credentials` or `workflow`."""
        file = self.folder / f"{kind}.json"
        file.write_text(json.dumps(items))
        self.expect(f"import:{kind}", f"--input={file}")

    def execute(self, workflow):
        """Runs one workflow. Returns what its last node gave."""
        output = self.expect("execute", f"--id={workflow}", "--rawOutput")
        # Lines of its log may come before and after.
        result, _ = json.JSONDecoder().raw_decode(output, output.index("{"))
        result = result["data"]["resultData"]
        assert "error" not in result, result["error"]
        return result["runData"][result["lastNodeExecuted"]][-1]["data"]["main"][0][0]["json"]


class Editor:
    """The server behind n8n's editor, signed in to as its owner."""

    def __init__(self, stage, n8n):
        port, log = free_port(), stage.folder / "n8n_server.log"
        settings = {**n8n.environment(), "N8N_PORT": port, "N8N_LISTEN_ADDRESS": "127.0.0.1", "N8N_SECURE_COOKIE": "false"}
        process = stage.start([n8n.program, "start"], log, settings)
        self.url = f"http://127.0.0.1:{port}/rest"
        stage.wait_for(process, log, lambda: reached(f"http://127.0.0.1:{port}/healthz/readiness"), SECONDS_MAX)
        self.headers = {"browser-id": "tests"}
        owner = {"email": "owner@example.com", "firstName": "Ann", "lastName": "Owner", "password": "Quiet lamps over 7 waters"}
        self.headers["Cookie"] = self.ask("/owner/setup", owner).headers["Set-Cookie"].split(";")[0]

    def ask(self, path, body):
        answer = call("POST", self.url + path, body, headers=self.headers)
        assert answer.status == 200, f"{path} answered {answer.status}: {answer.text}"
        return answer

    def tested(self, credential):
        """What the button that tests a credential says."""
        return self.ask("/credentials/test", {"credentials": credential}).json["data"]

    def models(self, credential):
        """The models that *OpenAI Chat Model* offers in its list."""
        model = {"name": "@n8n/n8n-nodes-langchain.lmChatOpenAi", "version": 1.3}
        parameters = {"model": {"__rl": True, "mode": "list", "value": ""}, "options": {}}
        answer = self.ask("/dynamic-node-parameters/resource-locator-results", {
            "methodName": "searchModels", "path": "parameters.model", "nodeTypeAndVersion": model,
            "currentNodeParameters": parameters, "credentials": {"openAiApi": {"id": credential["id"], "name": credential["name"]}},
        })
        return [found["value"] for found in answer.json["data"]["results"]]
