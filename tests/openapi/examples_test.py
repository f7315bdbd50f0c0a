"""What the document says of requests and answers is what a gateway takes and gives: examples, bounds, words, real answers."""

import json
import os
import urllib.parse

import jsonschema
import pytest
from stage import call

FAKE = os.environ["LGW_FAKE_URL"]
REAL = os.environ["LGW_URL"]
MODEL = os.environ["LGW_MODEL"]
USER, PASSWORD = os.environ["LGW_USER"], os.environ["LGW_PASSWORD"]
JSON, SSE, NDJSON = "application/json", "text/event-stream", "application/x-ndjson"

# As it is served: with the model of this gateway in its examples.
DOCUMENT = call("GET", f"{FAKE}/openapi.json").json


def token(url, username, password):
    return call("POST", f"{url}/auth/token", {"username": username, "password": password}).json["access_token"]


TOKEN = token(FAKE, USER, PASSWORD)
ADMIN = token(FAKE, "admin", os.environ["LGW_ADMIN_PASSWORD"])


def followed(value):
    while "$ref" in value:
        name = value["$ref"].removeprefix("#/").split("/")
        value = DOCUMENT
        for step in name:
            value = value[step]
    return value


def check(value, schema):
    validator = jsonschema.Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]}, format_checker=jsonschema.FormatChecker())
    validator.validate(value)


def operations():
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def contents():
    """Each content of the document, with where it is."""
    for method, path, operation in operations():
        if "requestBody" in operation:
            for kind, content in operation["requestBody"]["content"].items():
                yield f"{method} {path} takes {kind}", content
        for status, response in operation["responses"].items():
            for kind, content in followed(response).get("content", {}).items():
                yield f"{method} {path} answers {status} {kind}", content


def examples_of(content):
    if "example" in content:
        yield "example", content["example"]
    for name, example in content.get("examples", {}).items():
        yield name, example["value"]


EXAMPLES = [pytest.param(value, content["schema"], id=f"{place} {name}")
            for place, content in contents() for name, value in examples_of(content)]


EXAMPLES += [pytest.param(schema["example"], schema, id=name)
             for name, schema in DOCUMENT["components"]["schemas"].items() if "example" in schema]


@pytest.mark.parametrize("value, schema", EXAMPLES)
def test_an_example_matches_its_schema(value, schema):
    check(value, schema)


MODEL_ROUTES = ["/chat", "/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
REQUESTS = [pytest.param(path, value, id=f"{path} {name}") for path in MODEL_ROUTES
            for name, value in examples_of(DOCUMENT["paths"][path]["post"]["requestBody"]["content"][JSON])]


# What the `data` of their events hold.
CHUNKS = {"/v1/chat/completions": {"$ref": "#/components/schemas/ChatCompletionChunk"},
          "/v1/completions": {"$ref": "#/components/schemas/Completion"},
          "/v1/messages": {"$ref": "#/components/schemas/AnthropicStreamData"}}


def ask(path, body, url=FAKE, bearer=TOKEN):
    """Asks a model, and holds what it answers against the schema of the document."""
    answer = call("POST", url + path, body, bearer)
    if answer.status == 200:
        contents = DOCUMENT["paths"][path]["post"]["responses"]["200"]["content"]
        kind = answer.headers["content-type"].split(";")[0]
        for value in parts(kind, answer.text):
            check(value, CHUNKS[path] if kind == SSE else contents[kind]["schema"])
    return answer


def parts(kind, text):
    if kind == SSE:
        events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
        if not events[-1].startswith("{"):
            assert events.pop() == "[DONE]" and events
        return [json.loads(event) for event in events]
    return [json.loads(line) for line in text.splitlines()] if kind == NDJSON else [json.loads(text)]


@pytest.mark.parametrize("path, body", REQUESTS)
def test_an_example_is_answered(path, body):
    if "auth" in body:
        assert call("POST", FAKE + path, body).status == 403, "the example holds no usable password"
        body = {**body, "auth": {"username": USER, "password": PASSWORD}}
        assert ask(path, body, bearer=None).status == 200
        return

    answer = ask(path, body)

    assert answer.status == 200, answer.text


@pytest.mark.parametrize("path", MODEL_ROUTES)
def test_other_parameters_are_taken_and_named(path):
    body = {**next(examples_of(DOCUMENT["paths"][path]["post"]["requestBody"]["content"][JSON]))[1], "unheard_of": {"a": 1}}
    check(body, DOCUMENT["paths"][path]["post"]["requestBody"]["content"][JSON]["schema"])

    answer = ask(path, body)

    assert (answer.status, answer.headers["x-ignored-parameters"]) == (200, "unheard_of"), answer.text


# What each of them needs beside it.
COMPANIONS = {"top_logprobs": lambda _: {"logprobs": True}, "best_of": lambda count: {"n": count}}


def with_companions(name, value):
    return {name: value, **COMPANIONS.get(name, lambda _: {})(value)}


def bounds():
    for path in MODEL_ROUTES:
        schema = followed(DOCUMENT["paths"][path]["post"]["requestBody"]["content"][JSON]["schema"])
        for name, field in schema["properties"].items():
            yield from bounds_of(path, name, field, with_companions)
    for name, field in DOCUMENT["components"]["schemas"]["OllamaOptions"]["properties"].items():
        yield from bounds_of("/chat", name, field, lambda name, value: {"options": {name: value}})


def bounds_of(path, name, field, body):
    for bound, step in (("minimum", -1), ("maximum", 1)):
        # The fake does not shorten embeddings.
        if bound in field and name != "dimensions":
            at, beyond = field[bound], field[bound] + step
            yield pytest.param(path, body(name, at), body(name, beyond), id=f"{path} {name} {bound}")


@pytest.mark.parametrize("path, inside, outside", list(bounds()))
def test_a_bound_of_a_field_is_the_bound_that_holds(path, inside, outside):
    body = next(examples_of(DOCUMENT["paths"][path]["post"]["requestBody"]["content"][JSON]))[1]

    taken, refused = ask(path, {**body, **inside}), ask(path, {**body, **outside})

    assert (taken.status, refused.status) == (200, 400), f"{taken.text} {refused.text}"


def test_a_body_may_be_as_the_schema_lets_it_be():
    """Every word, and both forms of what has two."""
    question = {"model": "fake:latest", "messages": [{"role": "user", "content": "Hello"}]}
    schemas = DOCUMENT["components"]["schemas"]
    image = f"data:image/png;base64,{PNG}"
    tools = [{"type": "function", "function": {"name": "f"}}]
    bodies = [
        *({**question, "reasoning_effort": word} for word in schemas["ReasoningEffort"]["enum"]),
        *({**question, "reasoning": {"effort": word}} for word in schemas["ReasoningEffort"]["enum"]),
        *({**question, "tools": tools, "tool_choice": word} for word in ("none", "auto")),
        *({**question, "response_format": {"type": kind}} for kind in ("text", "json_object")),
        {**question, "tools": tools, "tool_choice": {"type": "allowed_tools", "allowed_tools": {
            "mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}}},
        *({**question, "messages": [{"role": role, "content": "Hello"}, *question["messages"]]}
          for role in schemas["ChatRole"]["enum"] if role != "tool"),
        {**question, "messages": [{"role": "user", "content": [
            {"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": image}}]}]},
        {**question, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": image}]}]},
        {**question, "stop": "end"}, {**question, "stop": ["a", "b", "c", "d"]},
        *({**question, name: None} for name in schemas["ChatCompletionRequest"]["properties"] if name not in question),
    ]
    for body in bodies:
        check(body, {"$ref": "#/components/schemas/ChatCompletionRequest"})
        answer = ask("/v1/chat/completions", body)
        assert answer.status == 200, f"{body}: {answer.text}"
    legacy = [
        *({"messages": question["messages"], "think": level} for level in (True, False, *schemas["OllamaThinkLevel"]["enum"])),
        *({"messages": question["messages"], "format": form} for form in ("json", {"type": "object"})),
        *({"messages": [{"role": role, "content": "Hello"}]} for role in schemas["OllamaRole"]["enum"]),
        *({"messages": question["messages"], name: None} for name in schemas["OllamaChatRequest"]["properties"] if name != "messages"),
    ]
    for body in legacy:
        check(body, {"$ref": "#/components/schemas/OllamaChatRequest"})
        answer = ask("/chat", body)
        assert answer.status == 200, f"{body}: {answer.text}"


# One dot.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def lists():
    """The routes that only read and need no id."""
    for method, path, operation in operations():
        if method == "GET" and "{" not in path and JSON in operation["responses"]["200"].get("content", {}):
            yield pytest.param(path, operation, id=path)


@pytest.mark.parametrize("path, operation", list(lists()))
def test_an_answer_matches_its_schema_and_each_word_of_a_parameter_is_taken(path, operation):
    questions = [""]
    for parameter in operation.get("parameters", []):
        schema = followed(parameter["schema"])
        words = followed(schema["items"]) if schema.get("type") == "array" else schema
        questions += [f"?{parameter['name']}={urllib.parse.quote(word)}" for word in words.get("enum", [])]
    for question in questions:
        answer = call("GET", FAKE + path + question, token=ADMIN)
        assert answer.status == 200, f"{question}: {answer.text}"
        if answer.headers["content-type"].startswith(JSON):
            check(answer.json, operation["responses"]["200"]["content"][JSON]["schema"])


def test_a_real_model_answers_as_the_document_says():
    bearer = token(REAL, USER, PASSWORD)
    question = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    legacy = {"messages": question["messages"], "options": {"num_predict": 8}}
    for path, body in [
        ("/v1/chat/completions", question),
        ("/v1/chat/completions", {**question, "logprobs": True, "top_logprobs": 2}),
        ("/v1/chat/completions", {**question, "stream": True, "stream_options": {"include_usage": True}, "logprobs": True}),
        ("/v1/completions", {"model": MODEL, "prompt": "The sea is", "max_tokens": 8, "logprobs": 2}),
        ("/v1/completions", {"model": MODEL, "prompt": ["The sea is"], "max_tokens": 8, "stream": True}),
        ("/v1/embeddings", {"model": MODEL, "input": ["the sea", "the hills"]}),
        ("/v1/embeddings", {"model": MODEL, "input": "the sea", "encoding_format": "base64"}),
        ("/chat", legacy),
        ("/chat", {**legacy, "stream": True}),
    ]:
        answer = ask(path, body, REAL, bearer)
        assert answer.status == 200, f"{body}: {answer.text}"
