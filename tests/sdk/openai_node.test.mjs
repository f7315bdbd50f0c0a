// openai-node against a real gateway, Ollama and model. Every request has a token limit: a small model may not stop.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { eventually } from "./eventually.mjs";

const { LGW_URL, LGW_MODEL, LGW_USER, LGW_PASSWORD, LGW_FAKE_URL, FAKE_URL, LGW_NARROW_URL } = process.env;
const messages = [{ role: "user", content: "Name three colours." }];
// Answers that can be told in advance.
const steady = { model: LGW_MODEL, messages, temperature: 0, seed: 7, max_tokens: 24 };

async function accessToken(url, username = LGW_USER) {
  const answer = await fetch(`${url}/auth/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username, password: LGW_PASSWORD }),
  });
  return (await answer.json()).access_token;
}

async function clientOf(url, username) {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: await accessToken(url, username), maxRetries: 0, timeout: 120_000 });
}

async function all(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const client = await clientOf(LGW_URL);

test("a whole answer has text, usage and a reason for its end", async () => {
  const answer = await client.chat.completions.create(steady);

  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.model, LGW_MODEL);
  assert.ok(answer.choices[0].message.content.trim());
  assert.ok(["stop", "length"].includes(answer.choices[0].finish_reason));
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("a stream brings the same text as a whole answer", async () => {
  const whole = await client.chat.completions.create(steady);

  const chunks = await all(await client.chat.completions.create({ ...steady, stream: true }));

  const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("");
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(chunks.at(-1).choices[0].finish_reason, whole.choices[0].finish_reason);
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
});

test("a stream carries usage in a last chunk without choices when asked", async () => {
  const asked = { ...steady, stream: true, stream_options: { include_usage: true } };

  const chunks = await all(await client.chat.completions.create(asked));

  const last = chunks.pop();
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.completion_tokens > 0);
  assert.ok(chunks.every((chunk) => chunk.choices.length === 1 && !chunk.usage));
});

test("a stream carries no usage unless asked", async () => {
  const chunks = await all(await client.chat.completions.create({ ...steady, stream: true }));

  assert.ok(chunks.every((chunk) => chunk.choices.length === 1 && !chunk.usage));
});

test("the stream helper puts an answer together", async () => {
  const stream = client.chat.completions.stream(steady);

  const answer = await stream.finalChatCompletion();

  const whole = await client.chat.completions.create(steady);
  assert.equal(answer.choices[0].message.content, whole.choices[0].message.content);
});

test("a stream that its reader leaves ends, and does not keep the next one waiting", async () => {
  const asked = client.chat.completions.create({ ...steady, max_tokens: 1500, stream: true });
  const { data: stream, response } = await asked.withResponse();
  for await (const _ of stream) break;

  const answer = await client.chat.completions.create({ ...steady, max_tokens: 2 });

  assert.equal(answer.usage.completion_tokens, 2);
  const own = `${LGW_URL}/api/v1/me/record/${response.headers.get("x-request-id")}`;
  const headers = { authorization: `Bearer ${client.apiKey}` };
  await eventually("it was left", async () => (await (await fetch(own, { headers })).json()).outcome === "abandoned");
});

test("a stop sequence ends the answer before it", async () => {
  const text = (await client.chat.completions.create(steady)).choices[0].message.content;
  const stop = text.trim().split(/\s+/)[3];

  const [answer] = (await client.chat.completions.create({ ...steady, stop: [stop] })).choices;

  assert.equal(answer.message.content, text.slice(0, text.indexOf(stop)));
  assert.equal(answer.finish_reason, "stop");
});

for (const name of ["max_tokens", "max_completion_tokens"]) {
  test(`the token limit \`${name}\` holds`, async () => {
    const answer = await client.chat.completions.create({ model: LGW_MODEL, messages, temperature: 0, [name]: 5 });

    assert.equal(answer.usage.completion_tokens, 5);
    assert.equal(answer.choices[0].finish_reason, "length");
  });
}

test("the models are listed and found", async () => {
  const listed = await all(client.models.list());

  const found = await client.models.retrieve(LGW_MODEL);

  assert.deepEqual(listed.find((model) => model.id === LGW_MODEL), { ...found });
});

test("a model that is not there is not found", async () => {
  const missing = (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found";

  await assert.rejects(client.chat.completions.create({ ...steady, model: "no-such-model" }), missing);
  await assert.rejects(client.models.retrieve("no-such-model"), missing);
});

test("a wrong key is an authentication error", async () => {
  const stranger = new OpenAI({ baseURL: `${LGW_URL}/v1`, apiKey: "not-a-key", maxRetries: 0 });

  await assert.rejects(stranger.chat.completions.create(steady), (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.equal(error.code, "invalid_api_key");
    return true;
  });
});

for (const [param, wrong] of Object.entries({
  temperature: { temperature: "hot" },
  messages: { messages: [] },
  n: { n: 5 },
})) {
  test(`a bad request names the field \`${param}\``, async () => {
    await assert.rejects(client.chat.completions.create({ ...steady, ...wrong }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.param, param);
      assert.ok(error.requestID);
      return true;
    });
  });
}

test("several answers come whole and in a stream", async () => {
  const varied = { ...steady, n: 2, temperature: 1 };

  const whole = await client.chat.completions.create(varied);
  const streamed = await client.chat.completions.stream(varied).finalChatCompletion();

  for (const answer of [whole, streamed]) {
    assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1]);
    assert.ok(answer.choices.every((choice) => choice.message.content));
  }
});

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const weather = { type: "function", function: { name: "get_weather", description: "The weather in a city", parameters } };
const inParis = {
  model: LGW_MODEL, messages: [{ role: "user", content: "What is the weather in Paris?" }], temperature: 0,
  max_tokens: 64, tools: [weather],
};

test("a tool is called, whole and streamed", async () => {
  const [whole] = (await client.chat.completions.create(inParis)).choices;
  const streamed = await client.chat.completions.stream(inParis).finalChatCompletion();

  for (const choice of [whole, streamed.choices[0]]) {
    assert.equal(choice.finish_reason, "tool_calls");
    const [call] = choice.message.tool_calls;
    assert.ok(call.id);
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
  }
});

test("the helper that runs tools calls the function with its arguments", async () => {
  const asked = [];
  const run = { ...weather.function, parse: JSON.parse, function: ({ city }) => { asked.push(city); return "sunny"; } };
  const runner = client.chat.completions.runTools(
    { ...inParis, tools: [{ type: "function", function: run }] }, { maxChatCompletions: 1 });

  await runner.done();

  assert.deepEqual(asked, ["Paris"]);
  assert.ok(runner.messages.some((message) => message.role === "tool" && message.content === "sunny"));
});

test("a tool that must be called is called", async () => {
  for (const tool_choice of ["required", { type: "function", function: { name: "get_weather" } }]) {
    const [choice] = (await client.chat.completions.create({ ...inParis, messages, tool_choice })).choices;

    assert.equal(choice.message.tool_calls[0].function.name, "get_weather");
    assert.deepEqual(Object.keys(JSON.parse(choice.message.tool_calls[0].function.arguments)), ["city"]);
  }
});

test("too many requests are a rate limit error with a time to wait", async () => {
  const narrow = await clientOf(LGW_NARROW_URL, "node@example.com");
  const request = { model: "fake:latest", messages, max_tokens: 5 };
  await narrow.chat.completions.create(request);
  await narrow.chat.completions.create(request);

  await assert.rejects(narrow.chat.completions.create(request), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    const wait = Number(error.headers.get("retry-after"));
    assert.ok(wait >= 1 && wait <= 60);
    // What the client itself waits by: it takes a minute or more for nonsense.
    const millis = Number(error.headers.get("retry-after-ms"));
    assert.ok(millis >= 1 && millis < 60_000);
    return true;
  });
});

test("every answer has a request id", async () => {
  const { data, request_id } = await client.chat.completions.create(steady).withResponse();

  assert.match(request_id, /^[0-9a-f-]{36}$/);
  assert.equal(data._request_id, request_id);
});

test("the seed reaches the model server", async () => {
  const recorded = await clientOf(LGW_FAKE_URL);
  const request = { model: "fake:latest", messages: [{ role: "user", content: "node" }], seed: 77, max_completion_tokens: 9 };

  await recorded.chat.completions.create(request);

  const received = await (await fetch(`${FAKE_URL}/received`)).json();
  const sent = received.findLast((body) => body.messages.at(-1).content === "node");
  assert.deepEqual(sent.options, { seed: 77, num_predict: 9 });
});

test("embeddings come as base64 unless floats are asked for, and are the same", async () => {
  const request = { model: LGW_MODEL, input: ["the sea", "the hill"] };

  const unasked = await client.embeddings.create(request);
  const floats = await client.embeddings.create({ ...request, encoding_format: "float" });

  assert.equal(unasked.data.length, 2);
  assert.ok(unasked.usage.prompt_tokens > 0);
  for (const [at, { embedding }] of floats.data.entries()) {
    assert.deepEqual(Array.from(unasked.data[at].embedding), embedding.map(Math.fround));
  }
});

test("token numbers are a bad request that names the field", async () => {
  await assert.rejects(client.embeddings.create({ model: LGW_MODEL, input: [[15339]] }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "input");
    return true;
  });
});

test("a text is continued, whole and streamed", async () => {
  const request = { model: LGW_MODEL, prompt: "The sea is", temperature: 0, seed: 7, max_tokens: 12 };

  const whole = await client.completions.create(request);
  let text = "";
  for await (const chunk of await client.completions.create({ ...request, stream: true })) text += chunk.choices[0].text;

  assert.equal(text, whole.choices[0].text);
  assert.ok(whole.usage.completion_tokens > 0);
});
