"""10,000 generated answers, read by the parsers and helpers of anthropic-python. See `streams_test.py`.

`LGW_ANTHROPIC_STREAMS` names a file that `tests/letter.rs` wrote.
"""

import json
import os
import pathlib
import random

import anthropic
import httpx2
import pydantic
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from streams_test import extras, in_pieces

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden/dialect/anthropic"
EVENT = pydantic.TypeAdapter(RawMessageStreamEvent)


@pytest.fixture(scope="module")
def answers():
    with open(os.environ["LGW_ANTHROPIC_STREAMS"], encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def replay():
    """A client whose network plays the stream that is set."""
    chance = random.Random(5)
    stream = {}

    def play(_):
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=in_pieces(stream["now"], chance))

    http = httpx2.Client(transport=httpx2.MockTransport(play))
    client = anthropic.Anthropic(base_url="http://replay", api_key="none", http_client=http)

    def request(answer):
        stream["now"] = answer["stream"]
        return client.messages, {"model": "M:1", "max_tokens": 9, "messages": answer["request"]["messages"]}

    return request


def said(content, kind):
    return "".join(block[kind] for block in content if block["type"] == kind)


def calls(content):
    return [(block["id"], block["name"], block["input"]) for block in content if block["type"] == "tool_use"]


def test_the_stream_helper_puts_every_generated_message_together(answers, replay):
    assert len(answers) == 10_000
    for answer in answers:
        route, fields = replay(answer)
        with route.stream(**fields) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message().to_dict()

        whole = answer["whole"]
        assert said(final["content"], "text") == said(whole["content"], "text") == text
        assert said(final["content"], "thinking") == said(whole["content"], "thinking")
        assert calls(final["content"]) == calls(whole["content"])
        for name in ("id", "model", "role", "stop_reason", "stop_sequence", "usage"):
            assert final[name] == whole[name], name


def test_generated_answers_keep_to_the_models_and_add_nothing(answers):
    # Each event is validated against all of the SDK's events, which takes long.
    for answer in answers[::5]:
        assert not extras(Message.model_validate(answer["whole"]))
        for line in answer["stream"].split("\n"):
            if line.startswith("data: ") and line != 'data: {"type":"ping"}':
                assert not extras(EVENT.validate_python(json.loads(line[6:]))), line


def test_golden_answers_keep_to_the_models_and_add_nothing():
    checked = 0
    for file in sorted(GOLDEN.glob("*/answer.txt")):
        text = file.read_text(encoding="utf-8")
        if text.startswith("{"):
            assert not extras(Message.model_validate(json.loads(text)))
        else:
            for line in text.split("\n"):
                if line.startswith("data: ") and '"type":"ping"' not in line and '"type":"error"' not in line:
                    assert not extras(EVENT.validate_python(json.loads(line[6:]))), line
        checked += 1
    assert checked >= 10
