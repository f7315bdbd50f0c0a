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
from n8n import CRASHED_AT_ITS_END, Editor, N8n  # noqa: E402
from stage import Stage, call  # noqa: E402

PERSON, TOKEN_NAME = "ann@example.com", "n8n nightly"
REAL_MODEL, SCRIPTED_MODEL = "smollm2:135m", "scripted:latest"

# The route that each workflow asks, and where its last node has the text.
ASKING = {
    "http_chat": ("/chat", lambda item: item["message"]["content"]),
    "http_completions": ("/v1/chat/completions", lambda item: item["choices"][0]["message"]["content"]),
    "chat_model_completions": ("/v1/chat/completions", lambda item: item["text"]),
    "chat_model_responses": ("/v1/responses", lambda item: item["text"]),
}
AGENTS = {"agent_completions": "/v1/chat/completions", "agent_responses": "/v1/responses"}


class Office:
    """A gateway in front of both models, a person with a token, and n8n, which has the token in its credentials."""

    def __init__(self, stage):
        self.scripted, _ = stage.program([sys.executable, HERE / "scripted_model.py"], "scripted")
        self.gateway = stage.gateway(
            "gateway", stage.ollama(), LGW_DEFAULT_MODEL=REAL_MODEL, LGW_LIMITS__REQUESTS_PER_MINUTE=100,
            LGW_UPSTREAM__SCRIPTED__KIND="ollama", LGW_UPSTREAM__SCRIPTED__URL=self.scripted)
        self.token = self.gateway.api_token(self.gateway.approved(PERSON), TOKEN_NAME)
        self.n8n = N8n(installed(), stage.folder / "n8n")
        self.n8n.load("credentials", [
            {"id": "gateway-bearer", "name": "Gateway, bearer", "type": "httpBearerAuth", "data": {"token": self.token}},
            self.openai_credential(self.token),
        ])
        workflows = [self.workflow(name, REAL_MODEL) for name in ASKING] + [self.workflow(name, SCRIPTED_MODEL) for name in AGENTS]
        self.n8n.load("workflow", workflows)
        self.editor = Editor(stage, self.n8n)

    def openai_credential(self, token):
        url = f"{self.gateway.url}/v1"
        return {"id": "gateway-openai", "name": "Gateway, OpenAI", "type": "openAiApi", "data": {"apiKey": token, "url": url}}

    def workflow(self, name, model):
        """Reads a workflow, and fills in where the gateway is and what to ask it for."""
        text = (HERE / "workflows" / f"{name}.json").read_text()
        return {**json.loads(text.replace("http://HOST:7000", self.gateway.url).replace("MODEL", model)), "id": name}

    def record(self, api):
        """Returns the answered requests of the record to one route, the oldest first. Each must be that person's, by that token."""
        path = f"/api/v1/audit?kind=request&limit=100&api={api}"
        rows = self.gateway.expect(200, "GET", path, token=self.gateway.admin_token).json["items"]
        for row in rows:
            assert (row["user"], row["token"], row["outcome"]) == (PERSON, TOKEN_NAME, "completed"), row
        return rows[::-1]

    def limit(self, requests_per_minute):
        path = f"/api/v1/users/{self.gateway.user_id(PERSON)}"
        self.gateway.expect(200, "PATCH", path, {"requests_per_minute": requests_per_minute}, self.gateway.admin_token)


def main():
    checks = Checks()
    with Stage() as stage:
        office = Office(stage)
        for name, (api, text_of) in ASKING.items():
            checks.run(name, is_answered, office, name, api, text_of)
        for name, api in AGENTS.items():
            checks.run(name, lets_the_tool_answer, office, name, api)
        checks.run("a used up limit is told as such", is_told_of_the_limit, office)
        checks.run("the editor tests the credential and lists the models", shows_the_models, office)
    checks.finish()


def is_answered(office, name, api, text_of):
    before = len(office.record(api))

    text = text_of(office.n8n.execute(name))

    rows = office.record(api)[before:]
    assert text.strip() and len(rows) == 1 and rows[0]["answer_tokens"] > 0, (text, rows)
    return repr(text)


def lets_the_tool_answer(office, name, api):
    before = len(office.record(api))

    text = office.n8n.execute(name)["output"]

    rows = office.record(api)[before:]
    assert text == 'The calculator says [{"response":"42"}].' and len(rows) == 2, (text, rows)
    roles = [message["role"] for message in call("GET", office.scripted + "/received").json[-1]["messages"]]
    assert roles[-2:] == ["assistant", "tool"], roles
    return repr(text)


def is_told_of_the_limit(office):
    request = {"model": SCRIPTED_MODEL, "messages": [{"role": "user", "content": "Say hello."}]}
    for name in ("http_completions", "chat_model_completions"):
        # The minute of the limit begins here, so that a slow n8n is refused, too.
        office.gateway.expect(200, "POST", "/v1/chat/completions", request, office.token)
        before = len(office.record("/v1/chat/completions"))
        office.limit(1)

        status, output, _ = office.n8n.run("execute", f"--id={name}", "--rawOutput")

        office.limit(None)
        told = "The service is receiving too many requests from you" in output
        assert told and status in (1, CRASHED_AT_ITS_END), (name, status, output[-2000:])
        assert len(office.record("/v1/chat/completions")) == before


def shows_the_models(office):
    good = office.editor.tested(office.openai_credential(office.token))
    wrong = office.editor.tested({**office.openai_credential("lgw_wrong"), "id": ""})
    models = office.editor.models(office.openai_credential(office.token))
    assert good["status"] == "OK" and wrong == {"status": "Error", "message": "Unauthorized"}, (good, wrong)
    assert models == [SCRIPTED_MODEL, REAL_MODEL], models


if __name__ == "__main__":
    main()
