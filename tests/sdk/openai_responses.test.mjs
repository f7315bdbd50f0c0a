// The Responses of openai-node against a real gateway, Ollama and model, and against a fake. See `responses_test.py`.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const { LGW_URL, LGW_MODEL, LGW_USER, LGW_PASSWORD, LGW_FAKE_URL, FAKE_URL } = process.env;
const steady = { model: LGW_MODEL, input: "Name three colours.", temperature: 0, max_output_tokens: 24 };

async function clientOf(url) {
  const answer = await fetch(`${url}/auth/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: LGW_USER, password: LGW_PASSWORD }),
  });
  const { access_token: apiKey } = await answer.json();
  return new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, timeout: 120_000 });
}

const client = await clientOf(LGW_URL);
const fake = await clientOf(LGW_FAKE_URL);

test("a stream brings the text of a whole response in numbered events", async () => {
  const whole = await client.responses.create(steady);

  const events = [];
  for await (const event of await client.responses.create({ ...steady, stream: true })) events.push(event);

  assert.ok(whole.output_text.trim());
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, number) => number));
  const text = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("");
  assert.equal(text, whole.output_text);
  assert.equal(events.at(-1).response.usage.total_tokens, whole.usage.total_tokens);
});

test("the stream helper puts a response together", async () => {
  const stream = client.responses.stream({ ...steady, max_output_tokens: 200 });
  let text = "";
  stream.on("response.output_text.delta", (event) => { text += event.delta; });

  const final = await stream.finalResponse();

  assert.equal(final.output_text, text);
});

test("a response is kept, followed and deleted", async () => {
  const first = await fake.responses.create({ model: "fake:latest", instructions: "Be brief.", input: "one" });
  const second = await fake.responses.create({ model: "fake:latest", input: "two", previous_response_id: first.id });

  const received = await (await fetch(`${FAKE_URL}/received`)).json();
  assert.deepEqual(received.at(-1).messages.map(({ content }) => content), ["one", "Hello there", "two"]);
  assert.equal((await fake.responses.retrieve(first.id)).output_text, "Hello there");
  const items = [];
  for await (const item of fake.responses.inputItems.list(second.id, { order: "asc", limit: 2 })) items.push(item);
  assert.deepEqual(items.map((item) => item.content[0].text), ["one", "Hello there", "two"]);
  await fake.responses.delete(first.id);
  await assert.rejects(fake.responses.retrieve(first.id), OpenAI.NotFoundError);
});

test("what is refused names its parameter", async () => {
  await assert.rejects(fake.responses.create({ model: "fake:latest", input: "hi", conversation: "conv_1" }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    return error.param === "conversation";
  });
});
