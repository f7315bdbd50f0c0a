"""openai-python against a real gateway, Ollama and model. Every request has a token limit: a small model may not stop."""

import asyncio
import base64
import json
import os
import struct
import typing

import openai
import pydantic
import pytest
from stage import call

MODEL = os.environ["LGW_MODEL"]
MESSAGES = [{"role": "user", "content": "Name three colours."}]
# Answers that can be told in advance.
STEADY = {"model": MODEL, "messages": MESSAGES, "temperature": 0, "seed": 7, "max_tokens": 24}


def access_token(url, username=os.environ["LGW_USER"]):
    credentials = {"username": username, "password": os.environ["LGW_PASSWORD"]}
    return call("POST", url + "/auth/token", credentials).json["access_token"]


def client_of(url, **settings):
    return openai.OpenAI(base_url=url + "/v1", max_retries=0, timeout=120, **settings)


@pytest.fixture(scope="module")
def client():
    url = os.environ["LGW_URL"]
    return client_of(url, api_key=access_token(url))


def test_a_whole_answer_has_text_usage_and_a_reason_for_its_end(client):
    answer = client.chat.completions.create(**STEADY)

    assert answer.object == "chat.completion"
    assert answer.model == MODEL
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content.strip()
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_brings_the_same_text_as_a_whole_answer(client):
    whole = client.chat.completions.create(**STEADY)

    chunks = list(client.chat.completions.create(**STEADY, stream=True))

    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert len(chunks) > 3, "it comes in pieces"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == [
        whole.choices[0].finish_reason]


def test_a_stream_carries_usage_in_a_last_chunk_without_choices_when_asked(client):
    chunks = list(client.chat.completions.create(**STEADY, stream=True, stream_options={"include_usage": True}))

    *others, last = chunks
    assert last.choices == []
    assert last.usage.completion_tokens > 0
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens
    assert all(chunk.choices and chunk.usage is None for chunk in others)


def test_several_answers_come_whole_and_in_a_stream(client):
    varied = {**STEADY, "n": 2, "temperature": 1, "stop": "."}

    whole = client.chat.completions.create(**varied)
    with client.chat.completions.stream(**varied, stream_options={"include_usage": True}) as stream:
        streamed = stream.get_final_completion()

    for answer in (whole, streamed):
        assert [choice.index for choice in answer.choices] == [0, 1]
        assert all(choice.finish_reason in ("stop", "length") for choice in answer.choices)
        assert answer.usage.completion_tokens >= 2


def test_a_stream_carries_no_usage_unless_asked(client):
    chunks = list(client.chat.completions.create(**STEADY, stream=True))

    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_the_stream_helper_puts_an_answer_together(client):
    # Stopped by a word: the helper takes an answer that was cut by its length for an error, as the next test shows.
    first_word = client.chat.completions.create(**STEADY).choices[0].message.content.split()[0]

    with client.chat.completions.stream(**STEADY, stop=[first_word]) as stream:
        kinds = {event.type for event in stream}
        answer = stream.get_final_completion()

    assert "chunk" in kinds
    assert answer.choices[0].finish_reason == "stop"


def test_an_answer_cut_by_its_limit_says_so_to_the_stream_helper(client):
    with pytest.raises(openai.LengthFinishReasonError):
        with client.chat.completions.stream(**{**STEADY, "max_tokens": 2}) as stream:
            stream.get_final_completion()


def test_an_asynchronous_client_streams():
    async def ask():
        url = os.environ["LGW_URL"]
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=access_token(url), max_retries=0) as client:
            stream = await client.chat.completions.create(**STEADY, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(ask()).strip()


def test_a_stop_sequence_ends_the_answer_before_it(client):
    text = client.chat.completions.create(**STEADY).choices[0].message.content
    stop = text.split()[3]

    answer = client.chat.completions.create(**STEADY, stop=stop).choices[0]

    assert answer.message.content == text[: text.index(stop)]
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_both_names_of_the_token_limit_hold(client, name):
    request = {"model": MODEL, "messages": MESSAGES, "temperature": 0, name: 5}

    answer = client.chat.completions.create(**request)

    assert answer.usage.completion_tokens == 5
    assert answer.choices[0].finish_reason == "length"


def test_two_different_token_limits_are_a_bad_request(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=5, max_completion_tokens=6)

    assert refused.value.param == "max_completion_tokens"


def test_the_models_are_listed_and_found(client):
    listed = {model.id: model for model in client.models.list()}

    found = client.models.retrieve(MODEL)

    assert listed[MODEL].object == "model"
    assert found == listed[MODEL]


def test_a_model_that_is_not_there_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(**{**STEADY, "model": "no-such-model"})
    assert refused.value.code == "model_not_found"
    assert refused.value.type == "invalid_request_error"

    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("no-such-model")
    assert refused.value.code == "model_not_found"


def test_a_wrong_key_is_an_authentication_error():
    client = client_of(os.environ["LGW_URL"], api_key="not-a-key")

    for ask in (client.models.list, lambda: client.chat.completions.create(**STEADY)):
        with pytest.raises(openai.AuthenticationError) as refused:
            ask()
        assert refused.value.code == "invalid_api_key"
        assert "Incorrect API key provided" in refused.value.message


@pytest.mark.parametrize("param, wrong", [
    ("temperature", {"temperature": "hot"}),
    ("max_tokens", {"max_tokens": 0}),
    ("messages", {"messages": []}),
    ("messages[0].role", {"messages": [{"role": "wizard", "content": "Hello"}]}),
    ("n", {"n": 5}),
    ("top_logprobs", {"top_logprobs": 3}),
    ("tool_choice", {"tool_choice": "required"}),
])
def test_a_bad_request_names_the_field(client, param, wrong):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**{**STEADY, **wrong})

    assert refused.value.param == param
    assert refused.value.request_id


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
TIME = {"type": "function", "function": {"name": "get_time", "description": "The time in a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
IN_PARIS = {"model": MODEL, "messages": [{"role": "user", "content": "What is the weather in Paris?"}], "temperature": 0,
            "max_tokens": 64, "tools": [WEATHER]}


def test_a_tool_is_called_and_its_answer_goes_back(client):
    answer = client.chat.completions.create(**IN_PARIS)

    choice = answer.choices[0]
    [made] = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert (made.type, made.function.name, json.loads(made.function.arguments)) == ("function", "get_weather", {"city": "Paris"})

    messages = [*IN_PARIS["messages"], choice.message, {"role": "tool", "tool_call_id": made.id, "content": "sunny"}]
    after = client.chat.completions.create(**{**IN_PARIS, "messages": messages, "tool_choice": "none"})
    assert after.choices[0].message.content
    assert after.choices[0].message.tool_calls is None


def test_a_tool_call_streams(client):
    chunks = list(client.chat.completions.create(**IN_PARIS, stream=True))

    calls = [made for chunk in chunks for made in chunk.choices[0].delta.tool_calls or []]
    assert [(made.index, made.type, made.function.name) for made in calls] == [(0, "function", "get_weather")]
    assert calls[0].id
    assert chunks[-1].choices[0].finish_reason == "tool_calls"

    with client.chat.completions.stream(**IN_PARIS) as stream:
        answer = stream.get_final_completion()
    assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments) == {"city": "Paris"}


@pytest.mark.parametrize("choice, allowed", [
    ("required", {"get_weather", "get_time"}),
    ({"type": "function", "function": {"name": "get_time"}}, {"get_time"}),
    ({"type": "allowed_tools", "allowed_tools": {
        "mode": "required", "tools": [{"type": "function", "function": {"name": "get_time"}}]}}, {"get_time"}),
])
def test_a_tool_that_must_be_called_is_called(client, choice, allowed):
    # The question asks for no tool at all.
    request = {**IN_PARIS, "messages": MESSAGES, "tools": [WEATHER, TIME], "tool_choice": choice}

    answer = client.chat.completions.create(**request)
    chunks = list(client.chat.completions.create(**request, stream=True))

    [made] = answer.choices[0].message.tool_calls
    assert made.function.name in allowed
    assert set(json.loads(made.function.arguments)) == {"city"}
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [made.function.name for chunk in chunks for made in chunk.choices[0].delta.tool_calls or []] == [made.function.name]


def test_a_pydantic_model_is_a_tool_and_an_answer(client):
    class GetWeather(pydantic.BaseModel):
        city: typing.Literal["Paris", "Rome"]
        days: typing.Optional[int]

    class Colour(pydantic.BaseModel):
        name: typing.Literal["red", "green"]
        warm: bool

    called = client.chat.completions.parse(**{**IN_PARIS, "tools": [openai.pydantic_function_tool(GetWeather)]},
                                           tool_choice="required")
    parsed = client.chat.completions.parse(**{**STEADY, "max_tokens": 64}, response_format=Colour)

    assert isinstance(called.choices[0].message.tool_calls[0].function.parsed_arguments, GetWeather)
    assert isinstance(parsed.choices[0].message.parsed, Colour)


def test_the_tokens_come_with_their_probabilities_when_asked(client):
    answer = client.chat.completions.create(**STEADY, logprobs=True, top_logprobs=2)
    chunks = list(client.chat.completions.create(**STEADY, logprobs=True, stream=True))

    tokens = answer.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 and bytes(token.bytes) == token.token.encode() for token in tokens)
    streamed = [token for chunk in chunks if chunk.choices[0].logprobs for token in chunk.choices[0].logprobs.content]
    assert [token.token for token in streamed] == [token.token for token in tokens]


def test_an_image_reaches_the_model_server_as_its_bytes():
    url = os.environ["LGW_FAKE_URL"]
    client = client_of(url, api_key=access_token(url))
    content = [{"type": "text", "text": "image, python"},
               {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="}}]

    client.chat.completions.create(model="fake:latest", messages=[{"role": "user", "content": content}], max_tokens=5)

    sent = next(body for body in reversed(received()) if body["messages"][-1]["content"] == "image, python")
    assert sent["messages"][-1]["images"] == ["iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="]


def test_too_many_requests_are_a_rate_limit_error_with_a_time_to_wait():
    url = os.environ["LGW_NARROW_URL"]
    client = client_of(url, api_key=access_token(url, "python@example.com"))
    request = {"model": "fake:latest", "messages": MESSAGES, "max_tokens": 5}
    client.chat.completions.create(**request)
    client.chat.completions.create(**request)

    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(**request)

    assert refused.value.code == "rate_limit_exceeded"
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60
    # What the client itself waits by: it takes a minute or more for nonsense.
    assert 1 <= int(refused.value.response.headers["retry-after-ms"]) < 60_000


def test_every_answer_has_a_request_id_and_the_state_of_the_limit(client):
    raw = client.chat.completions.with_raw_response.create(**STEADY)

    assert len(raw.request_id) == 36
    assert raw.parse()._request_id == raw.request_id
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.parse().id == "chatcmpl-" + raw.request_id.replace("-", "")
    assert int(raw.headers["x-ratelimit-remaining-requests"]) < int(raw.headers["x-ratelimit-limit-requests"])


def test_a_field_without_effect_is_accepted_and_named(client):
    raw = client.chat.completions.with_raw_response.create(**STEADY, store=True, metadata={"job": "7"}, user="someone")

    assert raw.parse().choices[0].message.content.strip()
    assert {"store", "metadata", "user"} <= set(raw.headers["x-ignored-parameters"].replace(" ", "").split(","))


def test_what_is_asked_for_reaches_the_model_server():
    url = os.environ["LGW_FAKE_URL"]
    client = client_of(url, api_key=access_token(url))

    client.chat.completions.create(
        model="fake:latest", messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "python"}],
        seed=4242, temperature=0.5, top_p=0.25, presence_penalty=1, frequency_penalty=-1, stop=["END"], max_tokens=9)

    sent = next(body for body in reversed(received()) if body["messages"][-1]["content"] == "python")
    assert sent["model"] == "fake:latest"
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent["options"] == {
        "seed": 4242, "temperature": 0.5, "top_p": 0.25, "presence_penalty": 1, "frequency_penalty": -1, "stop": ["END"],
        "num_predict": 9}


def test_a_limit_of_tokens_is_sent_even_when_none_is_asked_for():
    url = os.environ["LGW_FAKE_URL"]
    client = client_of(url, api_key=access_token(url))

    client.chat.completions.create(model="fake:latest", messages=[{"role": "user", "content": "no limit, python"}])

    sent = next(body for body in reversed(received()) if body["messages"][-1]["content"] == "no limit, python")
    assert sent["options"]["num_predict"] == 8192


def received():
    return call("GET", os.environ["FAKE_URL"] + "/received").json


TEXTS = ["the sea", "the hill"]


def test_embeddings_come_as_base64_unless_floats_are_asked_for_and_are_the_same(client):
    unasked = client.embeddings.create(model=MODEL, input=TEXTS)
    floats = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    raw = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="base64")

    assert [item.index for item in unasked.data] == [0, 1]
    assert unasked.model == MODEL
    assert unasked.usage.prompt_tokens == unasked.usage.total_tokens > 0
    assert len(unasked.data[0].embedding) > 100
    for one, other, text in zip(unasked.data, floats.data, raw.data):
        bits = struct.pack(f"<{len(other.embedding)}f", *other.embedding)
        assert struct.pack(f"<{len(one.embedding)}f", *one.embedding) == bits
        assert base64.b64decode(text.embedding, validate=True) == bits


def test_one_text_and_fewer_dimensions(client):
    answer = client.embeddings.create(model=MODEL, input="the sea", dimensions=8)

    [item] = answer.data
    assert len(item.embedding) == 8
    assert sum(number * number for number in item.embedding) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("param, wrong", [
    ("input", {"input": [[15339], [14957]]}),
    ("input", {"input": []}),
    ("input[1]", {"input": ["a", ""]}),
    ("dimensions", {"dimensions": 100_000}),
    ("input", {"input": ["the sea " * 3000]}),
])
def test_embeddings_that_cannot_be_made_are_a_bad_request(client, param, wrong):
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(**{"model": MODEL, "input": TEXTS, **wrong})

    assert refused.value.param == param


REST = {"model": MODEL, "prompt": "The three primary colours are", "temperature": 0, "seed": 7, "max_tokens": 12}


def test_a_text_is_continued_whole_and_streamed(client):
    whole = client.completions.create(**REST, logprobs=2)
    chunks = list(client.completions.create(**REST, stream=True, stream_options={"include_usage": True}))

    [choice] = whole.choices
    assert choice.text.strip()
    assert choice.finish_reason in ("stop", "length")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert "".join(choice.logprobs.tokens) == choice.text
    assert len(choice.logprobs.top_logprobs) == len(choice.logprobs.token_logprobs) == len(choice.logprobs.tokens)
    *others, last = chunks
    assert "".join(chunk.choices[0].text for chunk in others) == choice.text
    assert (last.choices, last.usage) == ([], whole.usage)


def test_an_effort_does_not_keep_a_model_that_does_not_think_from_answering(client):
    answer = client.chat.completions.with_raw_response.create(**STEADY, reasoning_effort="high")

    assert answer.headers["x-ignored-parameters"] == "reasoning_effort"
    assert answer.parse().choices[0].message.content


# Each path to an answer, with a body for the gateway and the same for Ollama itself.
PLAIN = {"model": MODEL, "temperature": 0, "seed": 7, "max_tokens": 12}
OPTIONS = {"temperature": 0, "seed": 7, "num_predict": 12}
CHAT = ("/chat", {"model": MODEL, "messages": MESSAGES, "options": OPTIONS})
OPENAI_CHAT = ("/v1/chat/completions", {**PLAIN, "messages": MESSAGES})
OPENAI_REST = ("/v1/completions", {**PLAIN, "prompt": "The sea is"})
OPENAI_EMBEDDINGS = ("/v1/embeddings", {"model": MODEL, "input": TEXTS})
ASKED_BARE = {
    "/chat": ("/api/chat", {"model": MODEL, "messages": MESSAGES, "options": OPTIONS, "stream": False}),
    "/v1/completions": ("/api/generate", {"model": MODEL, "prompt": "The sea is", "options": OPTIONS, "stream": False}),
    "/v1/embeddings": ("/api/embed", {"model": MODEL, "input": TEXTS}),
}
ASKED_BARE["/v1/chat/completions"] = ASKED_BARE["/chat"]
STREAM, WITH_USAGE = {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("way, fields", [
    (CHAT, {}), (CHAT, STREAM),
    (OPENAI_CHAT, {}), (OPENAI_CHAT, STREAM), (OPENAI_CHAT, WITH_USAGE),
    (OPENAI_REST, {}), (OPENAI_REST, STREAM), (OPENAI_REST, WITH_USAGE),
    (OPENAI_EMBEDDINGS, {}), (OPENAI_EMBEDDINGS, {"encoding_format": "base64"}),
])
def test_tokens_are_counted_right_in_the_answer_and_in_the_record_on_every_path(client, way, fields):
    path, body = way
    bare_path, bare_body = ASKED_BARE[path]
    bare = call("POST", os.environ["OLLAMA_URL"] + bare_path, bare_body).json
    counted = (bare["prompt_eval_count"], bare.get("eval_count", 0))

    answer = call("POST", os.environ["LGW_URL"] + path, {**body, **fields}, token=client.api_key)

    newest = call("GET", os.environ["LGW_URL"] + "/api/v1/me/record?limit=1", token=client.api_key).json["items"][0]
    assert newest["request_id"] == answer.headers["x-request-id"]
    assert (newest["prompt_tokens"], newest["answer_tokens"] or 0) == counted
    assert counted_in(answer.text) == (None if fields == STREAM and path != "/chat" else counted)


def counted_in(text):
    """The tokens that an answer tells of, in the form of its path; None where it tells of none."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line and line != "data: [DONE]"]
    last = json.loads(lines[-1])
    if "eval_count" in last:
        return last["prompt_eval_count"], last["eval_count"]
    usage = last.get("usage")
    if usage is None:
        return None
    made = usage.get("completion_tokens", 0)
    assert usage["total_tokens"] == usage["prompt_tokens"] + made
    return usage["prompt_tokens"], made


def test_a_pydantic_model_is_put_together_from_a_stream_and_by_an_asynchronous_client():
    class Colour(pydantic.BaseModel):
        name: typing.Literal["red", "green"]
        warm: bool

    async def ask():
        url, request = os.environ["LGW_URL"], {**STEADY, "max_tokens": 64, "response_format": Colour}
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=access_token(url), max_retries=0) as client:
            async with client.chat.completions.stream(**request) as stream:
                streamed = (await stream.get_final_completion()).choices[0].message.parsed
            return streamed, (await client.chat.completions.parse(**request)).choices[0].message.parsed

    streamed, parsed = asyncio.run(ask())

    assert isinstance(parsed, Colour)
    assert streamed == parsed


def test_an_asynchronous_client_calls_tools_and_makes_embeddings():
    async def ask():
        url = os.environ["LGW_URL"]
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=access_token(url), max_retries=0) as client:
            async with client.chat.completions.stream(**IN_PARIS) as stream:
                final = await stream.get_final_completion()
            embeddings = await client.embeddings.create(model=MODEL, input=TEXTS)
            return final.choices[0].message.tool_calls[0].function.name, len(embeddings.data)

    assert asyncio.run(ask()) == ("get_weather", 2)
