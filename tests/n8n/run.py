"""Lets a real n8n run the workflows of `workflows/` against the gateway, and looks for its requests in the record.

On demand only, since n8n is large (`make test-n8n`): `install.py` says how it is installed. Its settings and its database are in a
fresh folder. Answers come from a real Ollama; only the agents get a model that is scripted for them, because the small one does not
know when to stop calling tools.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from checks import Checks  # noqa: E402
from install import installed  # noqa: E402
from n8n import Editor, N8n  # noqa: E402
from stage import Stage, call  # noqa: E402

PERSON, TOKEN_NAME = "ann@example.com", "n8n nightly"
REAL_MODEL, SCRIPTED_MODEL = "smollm2:135m", "scripted:latest"
LIFTED = 1000

# The route that each workflow asks, and where its last node has the text.
ASKING = {
    "http_chat": ("/chat", lambda item: item["message"]["content"]),
    "http_completions": ("/v1/chat/completions", lambda item: item["choices"][0]["message"]["content"]),
    "chat_model_completions": ("/v1/chat/completions", lambda item: item["text"]),
    "chat_model_responses": ("/v1/responses", lambda item: item["text"]),
}
AGENTS = {"agent_completions": "/v1/chat/completions", "agent_responses": "/v1/responses"}


class Answering:
    """A gateway, and the token that n8n has for it. n8n's credentials and workflows for it begin with its name."""

    def __init__(self, stage, name, ollama, model, requests_per_minute=LIFTED):
        self.name, self.model = name, model
        self.gateway = stage.gateway(name, ollama, LGW_DEFAULT_MODEL=model, LGW_LIMITS__REQUESTS_PER_MINUTE=requests_per_minute)
        self.token = self.gateway.api_token(self.gateway.approved(PERSON), TOKEN_NAME)
        self.bearer = {"id": f"{name}-bearer", "name": "Bearer", "type": "httpBearerAuth", "data": {"token": self.token}}
        self.openai = self.openai_credential(self.token)

    def openai_credential(self, token):
        return {"id": f"{self.name}-openai", "name": "OpenAI", "type": "openAiApi", "data": {"apiKey": token, "url": f"{self.gateway.url}/v1"}}

    def id_of(self, workflow):
        return f"{self.name}-{workflow}"

    def workflow(self, name):
        """Reads a workflow, and fills in where the gateway is and what to ask it for."""
        text = (HERE / "workflows" / f"{name}.json").read_text()
        text = text.replace("http://HOST:7000", self.gateway.url).replace("MODEL", self.model).replace("gateway-", f"{self.name}-")
        return {**json.loads(text), "id": self.id_of(name)}

    def record(self, api):
        """Returns the answered requests of the record to one route, the oldest first. Each must be that person's, by that token."""
        rows = self.gateway.expect(200, "GET", f"/api/v1/audit?kind=request&api={api}", token=self.gateway.admin_token).json["items"]
        for row in rows:
            assert (row["user"], row["token"], row["outcome"]) == (PERSON, TOKEN_NAME, "completed"), row
        return rows[::-1]


def main():
    checks = Checks()
    with Stage() as stage:
        n8n = N8n(installed(), stage.folder / "n8n")
        ollama = stage.ollama()
        model, _ = stage.program([sys.executable, HERE / "scripted_model.py"], "model")
        real = Answering(stage, "real", ollama, REAL_MODEL)
        scripted = Answering(stage, "scripted", model, SCRIPTED_MODEL)
        narrow = Answering(stage, "narrow", ollama, REAL_MODEL, requests_per_minute=1)
        n8n.load("credentials", [each for one in (real, scripted, narrow) for each in (one.bearer, one.openai)])
        workflows = {real: ASKING, scripted: AGENTS, narrow: ["http_completions", "chat_model_completions"]}
        n8n.load("workflow", [one.workflow(name) for one, names in workflows.items() for name in names])

        for name, (api, text_of) in ASKING.items():
            checks.run(name, is_answered, n8n, real, name, api, text_of)
        for name, api in AGENTS.items():
            checks.run(name, lets_the_tool_answer, n8n, scripted, model, name, api)
        checks.run("a used up limit is told as such", is_told_of_the_limit, n8n, narrow)
        checks.run("the editor tests the credential and lists the models", shows_the_models, Editor(stage, n8n), real)
    checks.finish()


def is_answered(n8n, real, name, api, text_of):
    before = len(real.record(api))

    text = text_of(n8n.execute(real.id_of(name)))

    rows = real.record(api)[before:]
    assert text.strip() and len(rows) == 1 and rows[0]["answer_tokens"] > 0, (text, rows)
    return repr(text)


def lets_the_tool_answer(n8n, scripted, model, name, api):
    before = len(scripted.record(api))

    text = n8n.execute(scripted.id_of(name))["output"]

    rows = scripted.record(api)[before:]
    assert text == 'The calculator says [{"response":"42"}].' and len(rows) == 2, (text, rows)
    roles = [message["role"] for message in call("GET", model + "/received").json[-1]["messages"]]
    assert roles[-2:] == ["assistant", "tool"], roles
    return repr(text)


def is_told_of_the_limit(n8n, narrow):
    n8n.execute(narrow.id_of("http_completions"))

    for name in ("http_completions", "chat_model_completions"):
        status, output, _ = n8n.run("execute", f"--id={narrow.id_of(name)}", "--rawOutput")
        assert status == 1 and "The service is receiving too many requests from you" in output, (name, status, output[-2000:])
    assert len(narrow.record("/v1/chat/completions")) == 1


def shows_the_models(editor, real):
    assert editor.tested(real.openai)["status"] == "OK"
    wrong = editor.tested({**real.openai_credential("lgw_wrong"), "id": ""})
    assert wrong == {"status": "Error", "message": "Unauthorized"}, wrong
    models = editor.models(real.openai)
    assert models == [REAL_MODEL], models


if __name__ == "__main__":
    main()
