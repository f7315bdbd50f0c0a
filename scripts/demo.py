"""Walks the gateway's path, prints each request and its answer, and fails when one is not as it should be.

Usage: demo.py OLLAMA_URL MODEL
"""

import collections
import concurrent.futures
import csv
import io
import json
import sys

from stage import ADMIN_PASSWORD, FIRST_ADMIN_PASSWORD, PASSWORD, Stage

SHOWN_CHARACTERS_MAX = 400
ANSWER_TOKENS_MAX = 24


class Walk:
    def __init__(self, gateway):
        self.gateway = gateway
        self.steps = 0

    def title(self, text):
        self.steps += 1
        print(f"\n=== {self.steps}. {text}", flush=True)

    def send(self, expected, method, path, body=None, token=None):
        print(f"--> {method} {path}{'  (with the access token)' if token else ''}")
        if body is not None:
            print(f"    {shown(json.dumps(body, ensure_ascii=False))}")
        answer = self.gateway.call(method, path, body, token)
        print(f"<-- {answer.status}  {shown(answer.text)}", flush=True)
        check(answer.status == expected, f"expected the status {expected}")
        return answer


def main(ollama_url, model):
    with Stage() as stage:
        gateway = stage.gateway("demo", ollama_url, LGW_DEFAULT_MODEL=model)
        print(f"gateway {gateway.url} in front of {ollama_url}, model {model}, data in {stage.folder}")
        walk = Walk(gateway)
        walk_the_path(walk, model)
        print(f"\nall {walk.steps} steps are as they should be")


def walk_the_path(walk, model):
    question = [{"role": "user", "content": "Say hello in one short sentence."}]
    completion = {"model": model, "messages": question, "max_tokens": ANSWER_TOKENS_MAX}
    ada, bob = "ada@example.com", "bob@example.com"

    walk.title("The admin must change the password; until then it opens nothing else")
    refused = walk.gateway.call("POST", "/auth/token", {"username": "admin", "password": FIRST_ADMIN_PASSWORD})
    print(f"--> POST /auth/token with the first password\n<-- {refused.status}  {shown(refused.text)}")
    check(refused.status in (401, 403), "the first password must not open anything")
    walk.send(204, "POST", "/api/v1/password", {
        "username": "admin", "current_password": FIRST_ADMIN_PASSWORD, "new_password": ADMIN_PASSWORD})
    answer = walk.send(200, "POST", "/auth/token", {"username": "admin", "password": ADMIN_PASSWORD})
    admin = answer.json["access_token"]

    walk.title("A person registers, and is refused while the account is pending")
    walk.send(202, "POST", "/api/v1/register", {"email": ada, "password": PASSWORD})
    walk.send(401, "POST", "/auth/token", {"username": ada, "password": PASSWORD})
    document = {"auth": {"username": ada, "password": PASSWORD}, "messages": question,
                "options": {"num_predict": ANSWER_TOKENS_MAX}}
    answer = walk.send(403, "POST", "/chat", document)
    check(answer.json == {"error": "unauthorized"}, "the body of a refusal on /chat is part of its contract")

    walk.title("The admin approves")
    ada_id = approve(walk, admin, ada)

    walk.title("Credentials become a token")
    token = walk.send(200, "POST", "/auth/token", {"username": ada, "password": PASSWORD}).json["access_token"]

    walk.title("A chat, with the credentials in the body")
    answer = walk.send(200, "POST", "/chat", document)
    check(answer.json["message"]["content"] and answer.json["done"], "an answer of the model")

    walk.title("The same as an OpenAI client sends it")
    answer = walk.send(200, "POST", "/v1/chat/completions", completion, token)
    check(answer.json["choices"][0]["message"]["content"], "an answer of the model")
    check(answer.json["usage"]["completion_tokens"] <= ANSWER_TOKENS_MAX, "the token limit holds")

    walk.title("And as a stream")
    streamed = {**completion, "stream": True, "stream_options": {"include_usage": True}}
    answer = walk.send(200, "POST", "/v1/chat/completions", streamed, token)
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    check(events[-1] == "[DONE]", "a stream ends with its end mark")
    check(json.loads(events[-2])["usage"]["total_tokens"] > 0, "the last chunk carries the usage")

    walk.title("A second person sends eleven at once; ten per minute pass")
    walk.send(202, "POST", "/api/v1/register", {"email": bob, "password": PASSWORD})
    approve(walk, admin, bob)
    token = walk.send(200, "POST", "/auth/token", {"username": bob, "password": PASSWORD}).json["access_token"]
    short = {**completion, "max_tokens": 4}
    print(f"--> eleven times POST /v1/chat/completions\n    {shown(json.dumps(short))}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(11) as people:
        tries = [people.submit(walk.gateway.call, "POST", "/v1/chat/completions", short, token) for _ in range(11)]
        answers = [one.result() for one in tries]
    statuses = collections.Counter(answer.status for answer in answers)
    print(f"<-- {dict(statuses)}")
    check(statuses == {200: 10, 429: 1}, "ten pass and one is refused")
    refused = next(answer for answer in answers if answer.status == 429)
    print(f"<-- 429  Retry-After: {refused.headers['Retry-After']}  {shown(refused.text)}")
    check(1 <= int(refused.headers["Retry-After"]) <= 60, "a refusal says when to come back")

    walk.title("The record of the first person, as CSV")
    export = walk.send(201, "POST", "/api/v1/exports", {"user_id": ada_id, "format": "csv"}, admin).json
    answer = walk.send(200, "GET", f"/api/v1/exports/{export['id']}", token=admin)
    head, *rows, receipt = csv.reader(io.StringIO(answer.text))
    check(head[:4] == ["log_id", "prompt", "response", "timestamp"], "the columns begin as they always did")
    completed = [row for row in rows if dict(zip(head, row))["outcome"] == "completed"]
    check(len(completed) == 3, "three chats were answered")
    check(all("Say hello" in row[1] and row[2] for row in completed), "each with its prompt and its answer")
    check(receipt[0].startswith("receipt:") and len(receipt) == len(head), "the last line is the receipt")
    print(f"    {len(completed)} answered chats, {receipt[0][:16]}…")


def approve(walk, admin, username):
    found = walk.send(200, "GET", f"/api/v1/users?search={username}", token=admin).json["items"]
    check([user["username"] for user in found] == [username], "the account is found by its name")
    walk.send(200, "POST", f"/api/v1/users/{found[0]['id']}/approve", token=admin)
    return found[0]["id"]


def shown(text):
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + f"… ({len(text)} characters)"


def check(true, what):
    if not true:
        sys.exit(f"!!! not as it should be: {what}")


if __name__ == "__main__":
    main(*sys.argv[1:])
