"""10,000 generated responses, read by the parser and the stream helper of openai-python. See `streams_test.py`.

`LGW_RESPONSE_STREAMS` names a file that `tests/letter.rs` wrote.
"""

import json
import os
import random

import httpx2
import openai
import pydantic
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from streams_test import GOLDEN, extras, in_pieces

EVENTS = pydantic.TypeAdapter(ResponseStreamEvent)
# The first four are in OpenAI's document or in Open Responses; tokens have their bytes in whole answers alone, for OpenAI.
OURS = {"presence_penalty", "frequency_penalty", "store", "name", "bytes"}


@pytest.fixture(scope="module")
def answers():
    with open(os.environ["LGW_RESPONSE_STREAMS"], encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def replay():
    """A client whose network plays the stream that is set."""
    chance, stream = random.Random(5), {}

    def play(_):
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=in_pieces(stream["now"], chance))

    http = httpx2.Client(transport=httpx2.MockTransport(play))
    client = openai.OpenAI(base_url="http://replay/v1", api_key="none", http_client=http)

    def responses(answer):
        stream["now"] = answer["stream"]
        return client.responses

    return responses


def said(output):
    """What an output says, however its items are cut: thought, text, and calls."""
    calls = [(item["call_id"], item["name"], item["arguments"]) for item in output if item["type"] == "function_call"]
    texts = [part["text"] for item in output if item["type"] == "message" for part in item["content"]]
    thoughts = [part["text"] for item in output if item["type"] == "reasoning" for part in item["summary"]]
    return "".join(thoughts), "".join(texts), calls


def test_every_generated_response_is_read_by_the_parser_as_it_was_meant(answers, replay):
    assert len(answers) == 10_000
    for answer in answers:
        events = list(replay(answer).create(model="M:1", input="hi", stream=True))

        whole = answer["whole"]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[0].type == "response.created" and events[-1].type == f"response.{whole['status']}"
        thought, text, calls = said(whole["output"])
        deltas = {kind: "" for kind in ("output_text", "reasoning_summary_text")}
        for event in events:
            kind = event.type.removeprefix("response.").removesuffix(".delta")
            if event.type.endswith(".delta") and kind in deltas:
                deltas[kind] += event.delta
        assert (deltas["reasoning_summary_text"], deltas["output_text"]) == (thought, text)
        done = [event for event in events if event.type == "response.function_call_arguments.done"]
        assert [(event.name, event.arguments) for event in done] == [call[1:] for call in calls]
        final = events[-1].response.to_dict()
        assert said(final["output"]) == (thought, text, calls)
        assert final["usage"] == whole["usage"]
        items = [event.item.to_dict() for event in events if event.type == "response.output_item.done"]
        assert items == final["output"]


def test_the_stream_helper_puts_every_generated_response_together(answers, replay):
    for answer in answers:
        with replay(answer).stream(model="M:1", input="hi") as stream:
            if answer["whole"]["status"] == "completed":
                final = stream.get_final_response()
                assert said(final.to_dict()["output"]) == said(answer["whole"]["output"])
            else:
                assert [event.type for event in stream][-1] == "response.incomplete"


def test_every_generated_response_keeps_to_the_models_and_adds_nothing(answers):
    # Strict reading takes its time.
    for answer in answers[::10]:
        assert extras(Response.model_validate(answer["whole"])) <= OURS
        for line in answer["stream"].split("\n"):
            if line.startswith("data: {"):
                assert extras(EVENTS.validate_python(json.loads(line[6:]))) <= OURS, line


def test_golden_responses_keep_to_the_models_and_add_nothing():
    checked = 0
    for file in sorted((GOLDEN / "openai_responses").glob("*/answer.txt")):
        text = file.read_text(encoding="utf-8")
        if text.startswith("{"):
            assert extras(Response.model_validate_json(text)) <= OURS, file
        for line in text.split("\n"):
            if line.startswith("data: {"):
                assert extras(EVENTS.validate_python(json.loads(line[6:]))) <= OURS, f"{file}: {line}"
        checked += 1
    assert checked >= 10
