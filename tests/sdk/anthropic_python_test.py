"""anthropic-python against a real gateway, Ollama and model. Every request has a token limit: a small model may not stop."""

import asyncio
import os

import anthropic
import pydantic
import pytest
from stage import call

MODEL = os.environ["LGW_MODEL"]
MESSAGES = [{"role": "user", "content": "Name three colours."}]
# Answers that can be told in advance. The client's newest version has no name of its own for the temperature.
COLD = {"extra_body": {"temperature": 0}}
STEADY = {"model": MODEL, "messages": MESSAGES, "max_tokens": 24, **COLD}
WEATHER = {"name": "get_weather", "description": "The weather of a city", "input_schema": {
    "type": "object", "properties": {"city": {"type": "string", "enum": ["Graz", "Rome"]}}, "required": ["city"]}}


def access_token(url):
    credentials = {"username": os.environ["LGW_USER"], "password": os.environ["LGW_PASSWORD"]}
    return call("POST", url + "/auth/token", credentials).json["access_token"]


def client_of(url, **settings):
    return anthropic.Anthropic(base_url=url, max_retries=0, timeout=120, **settings)


@pytest.fixture(scope="module")
def client():
    return client_of(os.environ["LGW_URL"], api_key=os.environ["LGW_TOKEN"])


@pytest.fixture(scope="module")
def faked():
    url = os.environ["LGW_FAKE_URL"]
    return client_of(url, auth_token=access_token(url))


def received():
    return call("GET", os.environ["FAKE_URL"] + "/received").json[-1]


def test_a_whole_message_has_text_usage_and_a_reason_for_its_end(client):
    raw = client.messages.with_raw_response.create(**STEADY)
    message = raw.parse()

    assert message.id.startswith("msg_") and message.model == MODEL and message.role == "assistant"
    [block] = message.content
    assert block.type == "text" and block.text.strip()
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert message.usage.input_tokens > 0 and 0 < message.usage.output_tokens <= 24
    assert raw.headers["request-id"] == raw.headers["x-request-id"] == message._request_id


def test_a_stream_brings_the_same_message_as_a_whole_answer(client):
    whole = client.messages.create(**STEADY)

    with client.messages.stream(**STEADY) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()

    assert len(texts) > 3, "it comes in pieces"
    assert "".join(texts) == final.content[0].text == whole.content[0].text == stream.get_final_text()
    assert (final.stop_reason, final.usage.input_tokens) == (whole.stop_reason, whole.usage.input_tokens)
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_a_raw_stream_has_its_events_in_order(client):
    kinds = [event.type for event in client.messages.create(**STEADY, stream=True)]

    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_an_asynchronous_client_streams():
    async def ask():
        async with anthropic.AsyncAnthropic(
                base_url=os.environ["LGW_URL"], api_key=os.environ["LGW_TOKEN"], max_retries=0) as client:
            async with client.messages.stream(**STEADY) as stream:
                return "".join([text async for text in stream.text_stream])

    assert asyncio.run(ask()).strip()


def test_a_stop_sequence_is_told_and_left_out(client):
    text = client.messages.create(**STEADY).content[0].text
    stop = text.split()[3]

    whole = client.messages.create(**STEADY, stop_sequences=["never comes", stop])
    with client.messages.stream(**STEADY, stop_sequences=["never comes", stop]) as stream:
        streamed = stream.get_final_message()

    for message in (whole, streamed):
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)
        assert message.content[0].text == text[: text.index(stop)]
        assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0


def test_a_limit_of_tokens_is_told(client):
    message = client.messages.create(**{**STEADY, "max_tokens": 5})

    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 5)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_tool_is_called_where_it_must_be_and_its_result_is_taken(client, choice):
    ask = {"model": MODEL, "max_tokens": 60, "tools": [WEATHER], **COLD}
    question = {"role": "user", "content": "How warm is it in Graz?"}
    with client.messages.stream(**ask, messages=[question], tool_choice=choice) as stream:
        called = stream.get_final_message()
    assert called.stop_reason == "tool_use"
    [call_block] = called.content
    assert (call_block.type, call_block.name) == ("tool_use", "get_weather")
    assert call_block.input["city"] in ("Graz", "Rome")

    result = {"type": "tool_result", "tool_use_id": call_block.id, "content": "21 degrees"}
    # The small model's template knows no tools, so they are left out of the second turn.
    answer = client.messages.create(model=MODEL, max_tokens=10, messages=[
        question, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}])

    assert answer.content[0].text


def test_what_is_sent_reaches_the_upstream(faked):
    faked.messages.create(model="fake:latest", max_tokens=50, system=[{"type": "text", "text": "Be brief."}], messages=[
        {"role": "user", "content": "How warm is it?"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Graz"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "21"}], "is_error": False},
            {"type": "text", "text": "And now?"}]}])

    assert received()["messages"] == [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "How warm is it?"},
        {"role": "assistant", "content": "I look.", "thinking": "hm", "tool_calls": [
            {"id": "call_1", "function": {"index": 0, "name": "get_weather", "arguments": {"city": "Graz"}}}]},
        {"role": "tool", "content": "21", "tool_name": "get_weather", "tool_call_id": "call_1"},
        {"role": "user", "content": "And now?"}]


def test_thinking_is_asked_for_and_ignored_by_a_model_that_cannot(faked):
    raw = faked.messages.with_raw_response.create(
        model="fake:latest", max_tokens=2000, messages=MESSAGES, thinking={"type": "enabled", "budget_tokens": 1024})

    assert "think" not in received()
    assert raw.headers["x-ignored-parameters"] == "thinking.budget_tokens, thinking"


def test_an_answer_is_parsed_by_the_schema_of_a_model(client):
    class Animal(pydantic.BaseModel):
        legs: int

    message = client.messages.parse(model=MODEL, max_tokens=40, output_format=Animal, **COLD,
                                    messages=[{"role": "user", "content": "How many legs has a dog?"}])

    assert isinstance(message.parsed_output, Animal)


def test_the_beta_part_of_the_client_works_and_its_betas_are_named(client):
    raw = client.beta.messages.with_raw_response.create(**STEADY, betas=["context-management-2025-06-27"])

    assert raw.parse().content[0].text.strip()
    assert "anthropic-beta" in raw.headers["x-ignored-parameters"]


def test_tokens_are_counted_as_the_model_counts_them(client):
    system = "You are a poet."
    message = client.messages.create(**STEADY, system=system)

    raw = client.messages.with_raw_response.count_tokens(model=MODEL, messages=MESSAGES, system=system)

    assert raw.parse().input_tokens == message.usage.input_tokens
    assert "x-token-count" not in raw.headers


def test_the_models_are_listed_and_found(client):
    listed = list(client.models.list(limit=1))

    found = client.models.retrieve(MODEL)
    assert MODEL in [model.id for model in listed]
    assert (found.type, found.display_name) == ("model", MODEL) and found.created_at.year > 2000


@pytest.mark.parametrize("fields, error, kind", [
    ({"model": "llama9"}, anthropic.NotFoundError, "not_found_error"),
    ({"extra_body": {"temperature": 7}}, anthropic.BadRequestError, "invalid_request_error"),
    ({"messages": []}, anthropic.BadRequestError, "invalid_request_error"),
])
def test_errors_have_their_class_and_type(client, fields, error, kind):
    for stream in (False, True):
        with pytest.raises(error) as refused:
            client.messages.create(**{**STEADY, **fields}, stream=stream)
        assert refused.value.body["error"]["type"] == refused.value.type == kind
        assert refused.value.request_id == refused.value.body["request_id"]


def test_a_wrong_key_is_an_authentication_error():
    for key in ({"api_key": "sk-ant-none"}, {"auth_token": "none"}):
        with pytest.raises(anthropic.AuthenticationError):
            client_of(os.environ["LGW_URL"], **key).messages.create(**STEADY)
