"""Lets two people of a real Open WebUI chat through the gateway, each with their own limits and rows of the record.

On demand only, since Open WebUI is large (`make test-openwebui`): `install.py` says how it is installed. Its data is in a fresh folder.
Answers come from a real Ollama; titles, tags, follow-ups and calls of tools come from a model that is scripted for them, because the
small one writes no JSON.
"""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from checks import Checks  # noqa: E402
from install import installed  # noqa: E402
from openwebui import OpenWebUI, text_of, until  # noqa: E402
from scripted_model import MODEL as SCRIPTED_MODEL, TITLE  # noqa: E402
from stage import PASSWORD, Stage, call  # noqa: E402

MODEL = "smollm2:135m"
TOKEN_NAME = "Open WebUI"
OWNER, ANN, BOB, CAROL, DAVE = (f"{name}@example.com" for name in ("owner", "ann", "bob", "carol", "dave"))
TASKS = ("title_generation", "tags_generation", "follow_up_generation")
BROWSER_SECONDS_MAX = 150


class Team:
    """A gateway in front of both models, an Open WebUI with its delegating token, and the people who have accounts on both."""

    def __init__(self, stage):
        scripted, _ = stage.program([sys.executable, HERE / "scripted_model.py"], "scripted")
        self.gateway = stage.gateway(
            "gateway", stage.ollama(), LGW_DEFAULT_MODEL=MODEL, LGW_LIMITS__REQUESTS_PER_MINUTE=100,
            LGW_UPSTREAM__SCRIPTED__KIND="ollama", LGW_UPSTREAM__SCRIPTED__URL=scripted)
        for name in (ANN, BOB, CAROL):
            self.gateway.approved(name)
        wish = {"name": TOKEN_NAME, "delegating": True, "networks": ["127.0.0.1"]}
        token = self.admin(201, "POST", "/api/v1/tokens", wish)["token"]
        self.openwebui = OpenWebUI(stage, installed(), self.gateway.url, token, MODEL, SCRIPTED_MODEL)
        self.ann, self.bob = self.openwebui.person("Ann", ANN), self.openwebui.person("Bob Müller", BOB)

    def admin(self, status, method, path, body=None):
        answer = self.gateway.expect(status, method, path, body, self.gateway.admin_token)
        return answer.json if answer.text else None

    def newest(self):
        return self.admin(200, "GET", "/api/v1/audit?limit=1")["newest"]

    def rows(self, after, kind="request"):
        """Returns the rows that came after a number, the oldest first."""
        rows = self.admin(200, "GET", f"/api/v1/audit?kind={kind}&limit=100")["items"]
        return [row for row in reversed(rows) if row["log_id"] > after]

    def limit(self, name, requests_per_minute):
        self.admin(200, "PATCH", f"/api/v1/users/{self.gateway.user_id(name)}", {"requests_per_minute": requests_per_minute})

    def browse(self, person, text, **more):
        """Lets a person type a question at a browser. Returns what the page showed."""
        wish = {"url": self.openwebui.url, "email": person.email, "password": PASSWORD, "text": text, **more}
        done = subprocess.run(["node", str(HERE / "browser.mjs"), json.dumps(wish)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=BROWSER_SECONDS_MAX)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)


def main():
    checks = Checks()
    with Stage() as stage:
        team = Team(stage)
        for check in CHECKS:
            checks.run(check.__name__.replace("_", " "), check, team)
    checks.finish()


def is_of(row, person):
    """Checks that a row is a request of a person, which came by the delegating token of the admin."""
    assert (row["user"], row["token"], row["via"], row["outcome"]) == (person.email, TOKEN_NAME, "admin", "completed"), row


def each_person_sees_the_models_and_has_own_rows(team):
    for person in (team.ann, team.bob):
        assert person.models() == [MODEL, SCRIPTED_MODEL], person.models()
        before = team.newest()

        answer = person.ask("Say hello.")

        assert answer.status == 200 and text_of(answer.text).strip(), answer.text
        [row] = team.rows(before)
        is_of(row, person)


def who_is_at_the_limit_is_told_and_the_other_goes_on(team):
    team.limit(BOB, 1)
    team.bob.ask("Say hello.")

    refused = team.bob.ask("Say hello.")
    message = team.bob.answer_in(team.bob.chat("Say hello."))
    page = team.browse(team.bob, "Say hello.")
    other = team.ann.ask("Say hello.")

    assert refused.status == 429 and 0 < int(refused.headers["Retry-After"]) <= 60, refused.text
    told = refused.json["error"]["message"]
    assert "in a minute; try again in" in told, told
    assert "in a minute; try again in" in message["error"]["content"], message
    assert "in a minute; try again in" in page["answer"], page
    assert other.status == 200, other.text
    team.limit(BOB, None)
    return page["answer"]


def a_forged_header_changes_nothing(team):
    forged = {"X-OpenWebUI-User-Email": ANN}
    token = team.gateway.api_token(CAROL, "script")
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    before = team.newest()

    direct = call("POST", team.gateway.url + "/v1/chat/completions", body, token, forged)
    through = team.bob.ask("Say hello.", headers=forged)

    assert direct.status == through.status == 200, (direct.text, through.text)
    own, by_tool = team.rows(before)
    assert (own["user"], own["token"], own.get("via")) == (CAROL, "script", None), own
    is_of(by_tool, team.bob)


def a_typed_chat_is_streamed_to_the_page_and_gets_its_title(team):
    before = team.newest()

    page = team.browse(team.ann, "Say hello to my neighbour.", title=TITLE)

    assert len(page["seen"]) > 2 and page["title"].startswith(TITLE), page
    rows = until(lambda: len(team.rows(before)) == 4 and team.rows(before))
    for row in rows:
        is_of(row, team.ann)
    assert sorted(row["model_asked"] for row in rows) == sorted([MODEL] + [SCRIPTED_MODEL] * 3), rows
    return repr(page["answer"])


def tools_of_open_webui_are_called(team):
    before = team.newest()

    message = team.ann.answer_in(team.ann.chat("What time is it?", model=SCRIPTED_MODEL, params={"function_calling": "native"}))

    assert message["content"].startswith('The clock says {"current_timestamp":'), message
    assert [row["outcome"] for row in team.rows(before)] == ["completed"] * 2
    return message["content"]


def the_connection_may_speak_responses(team):
    team.openwebui.connect("responses")
    before = team.newest()

    page = team.browse(team.ann, "Say hello.")

    team.openwebui.connect()
    assert len(page["seen"]) > 2, page
    row = next(row for row in team.rows(before) if row["model_asked"] == MODEL)
    assert row["api"] == "/v1/responses", row
    is_of(row, team.ann)


def the_stop_button_ends_the_answer(team):
    """Open WebUI's own setting makes this answer long; what is left of it must not be made."""
    ui = {"ui": {"params": {"max_tokens": 1500}}}
    assert team.bob.call("POST", "/api/v1/users/user/settings/update", ui).status == 200
    before = team.newest()

    team.browse(team.bob, "Count from 1 to 10000, one number on each line.", stop=True)

    [row] = until(lambda: [row for row in team.rows(before) if row["model_asked"] == MODEL])
    assert (row["user"], row["outcome"]) == (BOB, "abandoned"), row
    assert 0 < row["answer_tokens"] < 1500, row
    return f"{row['answer_tokens']} tokens were made"


def who_has_no_account_is_refused(team):
    dave = team.openwebui.person("Dave", DAVE)
    before = team.newest()

    refused = dave.ask("Say hello.")
    message = dave.answer_in(dave.chat("Say hello."))

    assert refused.status == 403, refused.text
    told = refused.json["error"]["message"]
    assert message["error"]["content"] == told, message
    assert team.rows(before) == [] and team.admin(200, "GET", f"/api/v1/users?search={DAVE}")["items"] == []
    [refusal] = team.rows(before, kind="refusal")
    assert (refusal["token"], refusal["status"]) == (TOKEN_NAME, 403), refusal
    return told


CHECKS = [
    each_person_sees_the_models_and_has_own_rows,
    who_is_at_the_limit_is_told_and_the_other_goes_on,
    a_forged_header_changes_nothing,
    a_typed_chat_is_streamed_to_the_page_and_gets_its_title,
    tools_of_open_webui_are_called,
    the_connection_may_speak_responses,
    the_stop_button_ends_the_answer,
    who_has_no_account_is_refused,
]

if __name__ == "__main__":
    main()
