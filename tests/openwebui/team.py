"""A team that chats in Open WebUI: the gateway, the models, Open WebUI with its token, and the people."""

import contextlib
import json
import pathlib
import sys

from install import installed
from openwebui import OpenWebUI
from scripted_model import MODEL as SCRIPTED_MODEL
from stage import PASSWORD, end, free_port, run

HERE = pathlib.Path(__file__).resolve().parent
MODEL = "smollm2:135m"
TOKEN_NAME = "Open WebUI"
ANN, BOB, CAROL, DAVE, EVE = (f"{name}@example.com" for name in ("ann", "bob", "carol", "dave", "eve"))
BROWSER_SECONDS_MAX = 150


class Team:
    """A gateway in front of both models, an Open WebUI with its delegating token, and the people who have accounts on both."""

    def __init__(self, stage):
        self.scripted_waits = stage.folder / "scripted_waits"
        scripted, _ = stage.program([sys.executable, HERE / "scripted_model.py", self.scripted_waits], "scripted")
        self.stage, self.ollama = stage, stage.ollama()
        self.settings = {
            "LGW_LISTEN": f"127.0.0.1:{free_port()}", "LGW_DEFAULT_MODEL": MODEL, "LGW_LIMITS__REQUESTS_PER_MINUTE": 100,
            "LGW_UPSTREAM__SCRIPTED__KIND": "ollama", "LGW_UPSTREAM__SCRIPTED__URL": scripted,
        }
        self.gateway = stage.gateway("gateway", self.ollama, **self.settings)
        self.data_folder = stage.folder / "gateway"
        for name in (ANN, BOB, CAROL, EVE):
            self.gateway.approved(name)
        wish = {"name": TOKEN_NAME, "delegating": True, "networks": ["127.0.0.1"]}
        token = self.admin(201, "POST", "/api/v1/tokens", wish)["token"]
        self.openwebui = OpenWebUI(stage, installed(), self.gateway.url, token, MODEL, SCRIPTED_MODEL)
        self.ann, self.bob = self.openwebui.person("Ann", ANN), self.openwebui.person("Bob Müller", BOB)

    def restart_gateway(self, **settings):
        end(self.gateway.process)
        admin_token = self.gateway.admin_token
        self.gateway = self.stage.gateway("gateway", self.ollama, **self.settings, **settings)
        self.gateway.admin_token = admin_token

    def admin(self, status, method, path, body=None):
        answer = self.gateway.expect(status, method, path, body, self.gateway.admin_token)
        return answer.json if answer.text else None

    def newest(self):
        return self.admin(200, "GET", "/api/v1/audit?limit=1")["newest"]

    def rows(self, after, kind="request"):
        """Returns the rows that came after a number, the oldest first, without requests that still run."""
        rows = self.admin(200, "GET", f"/api/v1/audit?kind={kind}&limit=100")["items"]
        return [row for row in reversed(rows) if row["log_id"] > after and (kind != "request" or "outcome" in row)]

    def queue(self, model):
        """Returns the requests for a model that wait or run."""
        items = self.admin(200, "GET", "/api/v1/queue")["items"]
        return [item for item in items if item["model"] == model]

    @contextlib.contextmanager
    def scripted_model_waits(self):
        """Lets the scripted model answer nothing, so that what it is asked stays in the queue."""
        self.scripted_waits.touch()
        try:
            yield
        finally:
            self.scripted_waits.unlink()

    def limit(self, name, requests_per_minute):
        self.admin(200, "PATCH", f"/api/v1/users/{self.gateway.user_id(name)}", {"requests_per_minute": requests_per_minute})

    def browse(self, person, text, **more):
        """Lets a person type a question at a browser. Returns what the page showed."""
        wish = {"url": self.openwebui.url, "email": person.email, "password": PASSWORD, "text": text, **more}
        status, output, errors = run(["node", HERE / "browser.mjs", json.dumps(wish)], BROWSER_SECONDS_MAX)
        assert status == 0, f"{output}\n{errors}"
        return json.loads(output)
