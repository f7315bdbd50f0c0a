"""ollama-python against a real gateway, Ollama and model. Every request has a token limit: a small model may not stop."""

import asyncio
import json
import math
import os

import ollama
import pytest
from stage import call

URL, MODEL, TOKEN = os.environ["LGW_URL"], os.environ["LGW_MODEL"], os.environ["LGW_TOKEN"]
OLLAMA = os.environ["OLLAMA_URL"]
MESSAGES = [{"role": "user", "content": "Name three colours."}]
# Answers that can be told in advance.
STEADY = {"model": MODEL, "messages": MESSAGES, "options": {"temperature": 0, "seed": 7, "num_predict": 24}}
PROMPT = {"model": MODEL, "prompt": "Name three colours.", "options": STEADY["options"]}
TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def embeddings_token():
    credentials = {"username": os.environ["LGW_USER"], "password": os.environ["LGW_PASSWORD"]}
    jwt = call("POST", URL + "/auth/token", credentials).json["access_token"]
    wish = {"name": "ollama embeddings", "scopes": ["embeddings"]}
    return call("POST", URL + "/api/v1/tokens", wish, token=jwt).json["token"]


@pytest.fixture(scope="module")
def client():
    return ollama.Client(host=URL, headers=bearer(TOKEN))


@pytest.fixture(scope="module")
def bare():
    return ollama.Client(host=OLLAMA)


def steady(answer):
    """An answer without what is new each time: when it came, how long it took, and the last digits of probabilities."""
    fields = answer.model_dump(exclude_none=True, exclude={"created_at", "context", "logprobs"})
    fields["tokens"] = [one.token for one in answer.logprobs or []]
    return {name: value for name, value in fields.items() if not name.endswith("_duration")}


def test_a_whole_answer_is_that_of_ollama_itself(client, bare):
    answer = client.chat(**STEADY)

    assert answer.message.content.strip() and answer.done and answer.done_reason in ("stop", "length")
    assert answer.prompt_eval_count > 0 and answer.eval_count > 0 and answer.total_duration > answer.eval_duration > 0
    assert steady(answer) == steady(bare.chat(**STEADY))


def test_a_stream_brings_the_same_text_as_a_whole_answer(client):
    whole = client.chat(**STEADY)

    parts = list(client.chat(**STEADY, stream=True))

    assert "".join(part.message.content for part in parts) == whole.message.content
    assert len(parts) > 3, "it comes in pieces"
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == whole.eval_count


def test_an_asynchronous_client_streams():
    async def ask():
        stream = await ollama.AsyncClient(host=URL, headers=bearer(TOKEN)).chat(**STEADY, stream=True)
        return "".join([part.message.content async for part in stream])

    assert asyncio.run(ask()).strip()


def test_a_tool_is_called_and_its_result_taken_back(client):
    question = {"role": "user", "content": "What is the weather in Paris?"}
    request = {**STEADY, "messages": [question], "tools": [TOOL], "options": {"temperature": 0, "num_predict": 60}}

    called = client.chat(**request).message
    streamed = [part.message.tool_calls for part in client.chat(**request, stream=True) if part.message.tool_calls]

    (tool_call,) = called.tool_calls
    assert tool_call.function.name == "get_weather" and "Paris" in tool_call.function.arguments["city"]
    assert streamed[0][0].function == tool_call.function
    result = {"role": "tool", "content": "21 degrees", "tool_name": "get_weather"}
    assert client.chat(**{**request, "messages": [question, called, result]}).done


def test_a_python_function_is_a_tool_and_reaches_the_model_as_ollama_itself_shows_it(client, bare):
    def get_weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: its name
        """
        return city

    answers = [one.chat(**STEADY, tools=[get_weather]) for one in (client, bare)]

    assert steady(answers[0]) == steady(answers[1])


def test_a_schema_binds_the_answer(client):
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}

    answer = client.chat(**{**STEADY, "format": schema})

    assert json.loads(answer.message.content)["colour"] in ("red", "blue")


def test_the_tokens_have_their_probabilities(client, bare):
    request = {**STEADY, "logprobs": True, "top_logprobs": 2}

    answer = client.chat(**request)

    assert len(answer.logprobs) > 0 and len(answer.logprobs[0].top_logprobs) == 2
    assert [one.token for one in answer.logprobs] == [one.token for one in bare.chat(**request).logprobs]


@pytest.mark.parametrize("more", [
    {}, {"system": "Answer in French."}, {"format": "json"}, {"raw": True}, {"logprobs": True}])
def test_a_generated_text_is_that_of_ollama_itself(client, bare, more):
    answer = client.generate(**PROMPT, **more)

    assert answer.response.strip()
    assert steady(answer) == steady(bare.generate(**PROMPT, **more))


def test_a_generated_text_is_streamed(client):
    whole = client.generate(**PROMPT)

    parts = list(client.generate(**PROMPT, stream=True))

    assert "".join(part.response for part in parts) == whole.response and len(parts) > 3


def test_embeddings_are_those_of_ollama_itself(bare):
    client = ollama.Client(host=URL, headers=bearer(embeddings_token()))
    texts = ["the sea", "the mountains"]

    answer = client.embed(MODEL, texts)
    one = client.embeddings(MODEL, texts[0])

    assert answer.embeddings == bare.embed(MODEL, texts).embeddings and answer.prompt_eval_count > 0
    assert list(one.embedding) == list(answer.embeddings[0])
    theirs = bare.embeddings(MODEL, texts[0]).embedding
    length = math.hypot(*theirs)
    assert one.embedding == pytest.approx([number / length for number in theirs], abs=1e-5), "scaled, and else the same"


def test_the_lists_are_those_of_ollama_itself(client, bare):
    def of(models):
        return {model.model: (model.digest, model.size, model.details.family, model.details.quantization_level) for model in models}

    assert of(client.list().models)[MODEL] == of(bare.list().models)[MODEL]


def test_a_model_is_shown_without_what_the_host_keeps_to_itself(client, bare):
    ours, theirs = client.show(MODEL), bare.show(MODEL)

    assert (ours.template, ours.parameters, ours.capabilities) == (theirs.template, theirs.parameters, theirs.capabilities)
    assert ours.modelinfo == theirs.modelinfo and ours.details.family == theirs.details.family
    assert theirs.modelfile and not ours.modelfile and not ours.details.parent_model


def test_a_request_without_a_prompt_loads_the_model(client, bare):
    assert [client.chat(MODEL).done_reason, client.generate(MODEL).done_reason] == ["load", "load"]

    loaded = {model.model: (model.size, model.size_vram, model.context_length) for model in client.ps().models}
    assert loaded[MODEL] == {model.model: (model.size, model.size_vram, model.context_length) for model in bare.ps().models}[MODEL]
    with pytest.raises(ollama.ResponseError, match="unload"):
        client.generate(MODEL, keep_alive=0)


def test_fields_about_the_server_are_left_out_and_the_answer_names_them():
    body = {**PROMPT, "stream": False, "keep_alive": "5m", "options": {**PROMPT["options"], "num_ctx": 512, "num_gpu": None}}
    answer = call("POST", URL + "/api/generate", body, token=TOKEN)

    assert answer.status == 200
    assert set(answer.headers["x-ignored-parameters"].split(", ")) == {"keep_alive", "options.num_ctx"}


def test_a_key_in_the_environment_is_sent(monkeypatch):
    monkeypatch.setenv("OLLAMA_API_KEY", TOKEN)

    assert MODEL in [model.model for model in ollama.Client(host=URL).list().models]


@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_ollamas_class_with_status_and_text(client, stream):
    def refused(client, **request):
        with pytest.raises(ollama.ResponseError) as raised:
            answer = client.chat(**{**STEADY, **request}, stream=stream)
            for _ in answer if stream else []:
                pass
        return raised.value

    unknown = refused(client, model="no-such-model")
    assert unknown.status_code == 404 and "no-such-model" in unknown.error
    wrong = refused(client, options={"temperature": -1})
    assert wrong.status_code == 400 and "options.temperature" in wrong.error
    for headers in [{}, bearer("lgw_wrong")]:
        stranger = refused(ollama.Client(host=URL, headers=headers))
        assert stranger.status_code == 401 and "OLLAMA_API_KEY" in stranger.error
