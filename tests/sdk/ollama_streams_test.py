"""10,000 generated chats, read by ollama-python. `LGW_OLLAMA_STREAMS` names a file that `tests/streams.rs` wrote."""

import json
import os
import random

import httpx
import ollama
from streams_test import in_pieces


def answers():
    with open(os.environ["LGW_OLLAMA_STREAMS"], encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_every_generated_chat_is_read_by_ollamas_client_as_it_was_meant():
    chance, stream = random.Random(5), {}

    def play(_):
        return httpx.Response(200, headers={"content-type": "application/x-ndjson"}, content=in_pieces(stream["now"], chance))

    client = ollama.Client(host="http://replay", transport=httpx.MockTransport(play))
    generated = answers()
    assert len(generated) == 10_000
    for answer in generated:
        stream["now"], whole = answer["stream"], answer["whole"]

        parts = list(client.chat("m", messages=answer["request"]["messages"], stream=True))

        message = whole["message"]
        assert "".join(part.message.content or "" for part in parts) == message["content"]
        assert "".join(part.message.thinking or "" for part in parts) == message.get("thinking", "")
        calls = [call for part in parts for call in part.message.tool_calls or []]
        wanted = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", [])]
        assert [(call.function.name, dict(call.function.arguments)) for call in calls] == wanted
        last, read = parts[-1], ollama.ChatResponse.model_validate(whole)
        assert (last.done, last.done_reason) == (read.done, read.done_reason) == (True, whole["done_reason"])
        for field in ("prompt_eval_count", "eval_count", "total_duration", "load_duration"):
            assert getattr(last, field) == getattr(read, field)
