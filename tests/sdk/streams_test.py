"""10,000 generated answers, read by the parsers and helpers of openai-python, and every answer held against its models.

`LGW_STREAMS` names a file that `tests/letter.rs` wrote: in each line a request, the stream that our encoder made of an
answer, and the same answer in one piece.
"""

import json
import os
import pathlib
import random

import httpx2
import openai
import pydantic
import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden/dialect"
# What models with thoughts add everywhere, and OpenAI's models do not know.
OURS = {"reasoning"}


def strict(model, value):
    """Reads `value` as this model, and finds nothing in it that the model does not name."""
    read = model.model_validate(value)
    assert extras(read) <= OURS, value
    return read


def extras(value):
    if isinstance(value, list):
        return set().union(*map(extras, value))
    if not isinstance(value, pydantic.BaseModel):
        return set()
    fields = [getattr(value, name) for name in type(value).model_fields]
    return set(value.model_extra or ()).union(*map(extras, fields))


def in_pieces(text, chance):
    """The bytes of a stream, cut anywhere."""
    rest = text.encode()
    while rest:
        size = chance.randint(1, 200)
        yield rest[:size]
        rest = rest[size:]


@pytest.fixture(scope="module")
def answers():
    with open(os.environ["LGW_STREAMS"], encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def replay():
    """A client whose network plays the stream that is set."""
    chance = random.Random(5)
    stream = {}

    def play(_):
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=in_pieces(stream["now"], chance))

    http = httpx2.Client(transport=httpx2.MockTransport(play))
    client = openai.OpenAI(base_url="http://replay/v1", api_key="none", http_client=http)

    def request(answer):
        stream["now"] = answer["stream"]
        chat = answer["path"] == CHAT
        fields = {"messages": answer["request"]["messages"]} if chat else {"prompt": answer["request"]["prompt"]}
        return (client.chat.completions if chat else client.completions), {"model": "M:1", **fields}

    return request


def test_every_generated_answer_is_read_by_the_parser_as_it_was_meant(answers, replay):
    assert len(answers) == 10_000
    for answer in answers:
        route, fields = replay(answer)
        chunks = list(route.create(**fields, stream=True))

        choices = [choice for chunk in chunks for choice in chunk.choices]
        [whole] = answer["whole"]["choices"]
        assert [choice.finish_reason for choice in choices if choice.finish_reason] == [whole["finish_reason"]]
        if answer["path"] == COMPLETIONS:
            assert "".join(choice.text for choice in choices) == whole["text"]
            for list_name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
                read = [item for choice in choices if choice.logprobs for item in getattr(choice.logprobs, list_name)]
                assert read == (whole["logprobs"] or {}).get(list_name, [])
            continue
        deltas = [choice.delta for choice in choices]
        message = whole["message"]
        assert deltas[0].role == "assistant" and not any(delta.role for delta in deltas[1:])
        assert "".join(delta.content or "" for delta in deltas) == (message["content"] or "")
        assert "".join(getattr(delta, "reasoning", "") for delta in deltas) == message.get("reasoning", "")
        tokens = [token.to_dict() for choice in choices if choice.logprobs for token in choice.logprobs.content]
        assert tokens == (whole["logprobs"] or {}).get("content", [])
        include_usage = answer["request"]["stream_options"]["include_usage"]
        assert [chunk.usage.to_dict() for chunk in chunks if chunk.usage] == [answer["whole"]["usage"]] * include_usage


def test_the_stream_helper_puts_every_generated_chat_together(answers, replay):
    for answer in answers:
        if answer["path"] != CHAT:
            continue
        route, fields = replay(answer)
        try:
            with route.stream(**fields) as stream:
                final = stream.get_final_completion()
        except openai.LengthFinishReasonError as cut:
            assert answer["whole"]["choices"][0]["finish_reason"] == "length"
            final = cut.completion

        [choice], [whole] = final.choices, answer["whole"]["choices"]
        assert (choice.message.content or None) == (whole["message"]["content"] or None)
        calls = [(made.id, made.function.name, made.function.arguments) for made in choice.message.tool_calls or []]
        wanted = whole["message"].get("tool_calls", [])
        assert calls == [(made["id"], made["function"]["name"], made["function"]["arguments"]) for made in wanted]
        assert choice.finish_reason == whole["finish_reason"]


def test_every_generated_answer_keeps_to_the_models_and_adds_nothing(answers):
    for answer in answers:
        chat = answer["path"] == CHAT
        strict(ChatCompletion if chat else Completion, answer["whole"])
        if chat:
            for line in answer["stream"].split("\n"):
                if line.startswith("data: {"):
                    strict(ChatCompletionChunk, json.loads(line[6:]))


@pytest.mark.parametrize("folder, whole, chunk", [
    ("openai", ChatCompletion, ChatCompletionChunk),
    ("openai_completions", Completion, None),
    ("openai_embeddings", CreateEmbeddingResponse, None),
])
def test_golden_answers_keep_to_the_models_and_add_nothing(folder, whole, chunk):
    checked = 0
    for file in sorted((GOLDEN / folder).glob("*/answer.txt")):
        text = file.read_text(encoding="utf-8")
        if text.startswith("{"):
            value = json.loads(text)
            for item in value.get("data", []):
                # The client decodes base64 by itself, after the model.
                item["embedding"] = [0.0] if isinstance(item["embedding"], str) else item["embedding"]
            strict(whole, value)
        elif chunk:
            events = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
            for event in events:
                if "error" not in event:
                    strict(chunk, event)
        checked += 1
    assert checked >= 3
