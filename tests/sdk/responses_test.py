"""The Responses of openai-python against a real gateway, Ollama and model, and against a fake that tells what reached it."""

import json
import os

import openai
import pydantic
import pytest
from openai_python_test import access_token, client_of
from stage import call

MODEL = os.environ["LGW_MODEL"]
# Answers that can be told in advance.
STEADY = {"model": MODEL, "input": "Name three colours.", "temperature": 0, "max_output_tokens": 24}
WEATHER = {"type": "function", "name": "get_weather", "description": "The weather in a city", "strict": True, "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}


@pytest.fixture(scope="module")
def client():
    url = os.environ["LGW_URL"]
    return client_of(url, api_key=access_token(url))


@pytest.fixture(scope="module")
def fake():
    url = os.environ["LGW_FAKE_URL"]
    return client_of(url, api_key=access_token(url))


def received():
    return call("GET", os.environ["FAKE_URL"] + "/received").json


def test_a_whole_response_has_text_and_usage(client):
    response = client.responses.create(**STEADY, instructions="You are brief.", metadata={"suite": "python"})

    assert response.object == "response" and response.id.startswith("resp_")
    assert response.model == MODEL
    assert response.output_text.strip()
    assert (response.status, response.incomplete_details is None) in [("completed", True), ("incomplete", False)]
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
    assert response.metadata == {"suite": "python"}


def test_a_response_that_was_cut_is_incomplete(client):
    response = client.responses.create(model=MODEL, input="Count to a thousand.", max_output_tokens=4)

    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_stream_brings_the_same_text_in_numbered_events(client):
    whole = client.responses.create(**STEADY)

    events = list(client.responses.create(**STEADY, stream=True))

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events][:2] == ["response.created", "response.in_progress"]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text == events[-1].response.output_text
    assert events[-1].type in ("response.completed", "response.incomplete")


def test_the_stream_helper_parses_a_format(client):
    class Animal(pydantic.BaseModel):
        name: str

    asked = {"model": MODEL, "input": "Name an animal.", "text_format": Animal, "max_output_tokens": 100, "temperature": 0}
    parsed = client.responses.parse(**asked)
    with client.responses.stream(**asked) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                assert event.snapshot.endswith(event.delta)
        final = stream.get_final_response()

    assert isinstance(parsed.output_parsed, Animal)
    assert isinstance(final.output_parsed, Animal)


def test_a_required_call_comes_back_with_parsed_arguments(client):
    asked = {"model": MODEL, "input": "How warm is it in Graz?", "tools": [WEATHER], "tool_choice": "required",
             "max_output_tokens": 100, "temperature": 0}
    response = client.responses.parse(**asked)

    [made] = [item for item in response.output if item.type == "function_call"]
    assert made.name == "get_weather" and isinstance(made.parsed_arguments["city"], str)
    result = {"type": "function_call_output", "call_id": made.call_id, "output": "21 degrees"}
    answer = client.responses.create(model=MODEL, input=[result], previous_response_id=response.id, max_output_tokens=24)
    assert answer.previous_response_id == response.id
    stateless = [{"role": "user", "content": asked["input"]}, *response.output, result]
    assert client.responses.create(model=MODEL, input=stateless, max_output_tokens=24).output_text is not None


def test_a_response_is_kept_followed_and_deleted(fake):
    first = fake.responses.create(model="fake:latest", instructions="Be brief.", input="one")
    second = fake.responses.create(model="fake:latest", input="two", previous_response_id=first.id)

    said = [(message["role"], message["content"]) for message in received()[-1]["messages"]]
    assert said == [("user", "one"), ("assistant", "Hello there"), ("user", "two")]
    again = fake.responses.retrieve(first.id)
    assert (again.id, again.output_text, again.instructions) == (first.id, "Hello there", "Be brief.")
    assert again.output[0].id == first.output[0].id
    items = list(fake.responses.input_items.list(second.id, order="asc", limit=1))
    assert [item.content[0].text for item in items] == ["one", "Hello there", "two"]
    assert fake.responses.delete(first.id) is None
    for gone in (fake.responses.retrieve, fake.responses.delete, fake.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            gone(first.id)
    with pytest.raises(openai.NotFoundError):
        fake.responses.create(model="fake:latest", input="three", previous_response_id=first.id)
    # The second holds the whole conversation.
    fake.responses.create(model="fake:latest", input="three", previous_response_id=second.id)
    assert len(received()[-1]["messages"]) == 5


def test_what_is_not_stored_is_not_found(fake):
    response = fake.responses.create(model="fake:latest", input="one", store=False)

    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        fake.responses.retrieve(response.id)


def test_tools_that_run_elsewhere_are_left_out_and_named(fake):
    raw = fake.responses.with_raw_response.create(model="fake:latest", input="hi", tools=[{"type": "web_search"}], user="u")

    assert raw.headers["x-ignored-parameters"] == "tools[].web_search, user"
    assert "tools" not in received()[-1]


def test_errors_have_the_classes_and_fields_of_openai(fake):
    with pytest.raises(openai.BadRequestError) as refused:
        fake.responses.create(model="fake:latest", input="hi", background=True)
    assert (refused.value.param, refused.value.code) == ("background", "unsupported_parameter")
    with pytest.raises(openai.NotFoundError) as unknown:
        fake.responses.create(model="none:latest", input="hi")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as image:
        content = [{"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"}]
        fake.responses.create(model="fake:latest", input=[{"role": "user", "content": content}])
    assert image.value.param == "input[0].content[0].image_url"
    assert json.loads(image.value.response.text)["error"]["type"] == "invalid_request_error"
