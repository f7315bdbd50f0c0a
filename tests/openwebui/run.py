"""Lets two people of a real Open WebUI chat through the gateway, each with their own limits and rows of the record.

On demand only, since Open WebUI is large (`make test-openwebui`): `install.py` says how it is installed. Its data is in a fresh folder.
Answers come from a real Ollama; titles, tags, follow-ups and calls of tools come from a model that is scripted for them, because the
small one writes no JSON.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from checks import Checks  # noqa: E402
from openwebui import text_of, until  # noqa: E402
from scripted_model import MODEL as SCRIPTED_MODEL, TITLE  # noqa: E402
from stage import PROGRAM, Stage, call, run  # noqa: E402
from team import ANN, BOB, CAROL, DAVE, EVE, MODEL, TOKEN_NAME, Team  # noqa: E402

TASKS = ("title_generation", "tags_generation", "follow_up_generation")
VERIFY_SECONDS_MAX = 60


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

    assert len(page["seen"]) > 1 and page["title"].startswith(TITLE), page
    rows = until(lambda: len(team.rows(before)) == 4 and team.rows(before))
    for row in rows:
        is_of(row, team.ann)
    assert sorted(row["model_asked"] for row in rows) == sorted([MODEL] + [SCRIPTED_MODEL] * 3), rows
    return repr(page["answer"])


def tasks_are_counted_apart_if_the_setting_says_so(team):
    eve = team.openwebui.person("Eve", EVE)
    team.limit(EVE, 1)
    before = team.newest()

    chat_id = eve.chat("Say hello.", TASKS)

    assert eve.answer_in(chat_id)["content"].strip()
    until(lambda: eve.title_of(chat_id) == TITLE)
    rows = until(lambda: len(team.rows(before)) == 4 and team.rows(before))
    for row in rows:
        is_of(row, eve)
    assert eve.ask("Say hello.").status == 429

    team.admin(200, "PATCH", "/api/v1/settings", {"tasks_per_minute": 0})
    team.limit(EVE, None)
    before = team.newest()
    eve.answer_in(eve.chat("Say hello.", TASKS))
    until(lambda: len(team.rows(before)) == 4)
    team.limit(EVE, 4)
    assert eve.ask("Say hello.").status == 429
    team.admin(200, "PATCH", "/api/v1/settings", {"tasks_per_minute": None})


def tasks_have_the_class_batch_and_answers_have_not(team):
    """Looks each request up in the queue while it runs, and then in the record."""
    for model, tasks, wanted in [(SCRIPTED_MODEL, (), "interactive"), *((MODEL, (task,), "batch") for task in TASKS)]:
        before = team.newest()
        with team.scripted_model_waits():
            team.ann.chat("Say hello.", tasks, model)
            [place] = until(lambda: team.queue(SCRIPTED_MODEL))
        assert (place["user"], place["token_name"], place["class"]) == (ANN, TOKEN_NAME, wanted), (tasks, place)
        [row] = until(lambda: [row for row in team.rows(before) if row["request_id"] == place["request_id"] and row.get("outcome")])
        is_of(row, team.ann)


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
    assert len(page["seen"]) > 1, page
    row = next(row for row in team.rows(before) if row["model_asked"] == MODEL)
    assert row["api"] == "/v1/responses", row
    is_of(row, team.ann)


def the_stop_button_ends_the_answer(team):
    """What is left of a long answer must not be made. At this temperature the model never ends this one by itself."""
    ui = {"ui": {"params": {"max_tokens": 1500, "temperature": 0}}}
    assert team.bob.call("POST", "/api/v1/users/user/settings/update", ui).status == 200
    before = team.newest()

    team.browse(team.bob, "List one thousand animals, each on a line of its own.", stop=True)

    [row] = until(lambda: [row for row in team.rows(before) if row["model_asked"] == MODEL])
    assert (row["user"], row["outcome"]) == (BOB, "abandoned"), row
    assert 0 < row["answer_tokens"] < 1500, row
    return f"{row['answer_tokens']} tokens were made"


def who_has_no_account_is_refused_or_pending_by_the_setting(team):
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

    team.restart_gateway(LGW_ACCOUNTS__DELEGATING_UNKNOWN="pending")
    waits = dave.ask("Say hello.")
    [account] = team.admin(200, "GET", f"/api/v1/users?search={DAVE}")["items"]
    assert (waits.status, account["status"]) == (403, "pending"), (waits.text, account)

    team.admin(200, "POST", f"/api/v1/users/{account['id']}/approve")
    before = team.newest()
    assert dave.ask("Say hello.").status == 200
    is_of(team.rows(before)[0], dave)
    return told


def the_record_of_all_this_verifies(team):
    status, output, errors = run([PROGRAM, "verify", team.data_folder], VERIFY_SECONDS_MAX)

    assert status == 0, f"{output}\n{errors}"
    return output.strip().splitlines()[0]


CHECKS = [
    each_person_sees_the_models_and_has_own_rows,
    who_is_at_the_limit_is_told_and_the_other_goes_on,
    a_forged_header_changes_nothing,
    a_typed_chat_is_streamed_to_the_page_and_gets_its_title,
    tasks_are_counted_apart_if_the_setting_says_so,
    tasks_have_the_class_batch_and_answers_have_not,
    tools_of_open_webui_are_called,
    the_connection_may_speak_responses,
    the_stop_button_ends_the_answer,
    who_has_no_account_is_refused_or_pending_by_the_setting,
    the_record_of_all_this_verifies,
]

if __name__ == "__main__":
    main()
