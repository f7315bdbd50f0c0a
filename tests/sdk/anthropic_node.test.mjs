// @anthropic-ai/sdk against a real gateway, Ollama and model. See `anthropic_python_test.py`.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";

const { LGW_URL, LGW_MODEL, LGW_TOKEN } = process.env;
const messages = [{ role: "user", content: "Name three colours." }];
// Answers that can be told in advance.
const steady = { model: LGW_MODEL, messages, temperature: 0, max_tokens: 24 };
const client = new Anthropic({ baseURL: LGW_URL, apiKey: LGW_TOKEN, maxRetries: 0, timeout: 120_000 });

test("a whole message has text, usage and a reason for its end", async () => {
  const { data: message, request_id: id, response } = await client.messages.create(steady).withResponse();

  assert.equal(message.model, LGW_MODEL);
  assert.ok(message.content[0].text.trim());
  assert.ok(["end_turn", "max_tokens"].includes(message.stop_reason));
  assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
  assert.equal(id, response.headers.get("x-request-id"));
});

test("the stream helper brings the same message as a whole answer", async () => {
  const whole = await client.messages.create(steady);
  const texts = [];
  const kinds = [];

  const stream = client.messages.stream(steady).on("text", (text) => texts.push(text)).on("streamEvent", (event) => kinds.push(event.type));
  const final = await stream.finalMessage();

  assert.ok(texts.length > 3, "it comes in pieces");
  assert.equal(texts.join(""), whole.content[0].text);
  assert.equal(await stream.finalText(), whole.content[0].text);
  assert.deepEqual([final.stop_reason, final.usage], [whole.stop_reason, whole.usage]);
  assert.equal(kinds[0], "message_start");
  assert.equal(kinds.at(-1), "message_stop");
});

test("a stop sequence is told and left out", async () => {
  const text = (await client.messages.create(steady)).content[0].text;
  const stop = text.split(/\s+/)[3];

  const message = await client.messages.stream({ ...steady, stop_sequences: [stop] }).finalMessage();

  assert.deepEqual([message.stop_reason, message.stop_sequence], ["stop_sequence", stop]);
  assert.equal(message.content[0].text, text.slice(0, text.indexOf(stop)));
});

test("a tool is called where it must be", async () => {
  const tools = [{ name: "get_weather", input_schema: { type: "object", properties: { city: { enum: ["Graz", "Rome"] } }, required: ["city"] } }];
  const calls = [];

  const stream = client.messages.stream({ ...steady, max_tokens: 60, tools, tool_choice: { type: "any" } });
  stream.on("contentBlock", (block) => calls.push(block));
  const message = await stream.finalMessage();

  assert.equal(message.stop_reason, "tool_use");
  assert.deepEqual(calls, message.content);
  assert.ok(["Graz", "Rome"].includes(message.content[0].input.city));
});

test("tokens are counted as the model counts them", async () => {
  const message = await client.messages.create(steady);

  const { input_tokens: counted } = await client.messages.countTokens({ model: LGW_MODEL, messages });

  assert.equal(counted, message.usage.input_tokens);
});

test("the models are listed and found", async () => {
  const ids = [];
  for await (const model of client.models.list({ limit: 1 })) ids.push(model.id);

  const found = await client.models.retrieve(LGW_MODEL);

  assert.ok(ids.includes(LGW_MODEL));
  assert.equal(found.type, "model");
});

test("errors have their class and type", async () => {
  const cases = [
    [{ model: "llama9" }, Anthropic.NotFoundError, "not_found_error"],
    [{ temperature: 7 }, Anthropic.BadRequestError, "invalid_request_error"],
  ];
  for (const [fields, kind, type] of cases) {
    for (const stream of [false, true]) {
      await assert.rejects(client.messages.create({ ...steady, ...fields, stream }), (error) => {
        assert.ok(error instanceof kind);
        assert.equal(error.error.error.type, type);
        assert.equal(error.requestID, error.error.request_id);
        return true;
      });
    }
  }
  const stranger = new Anthropic({ baseURL: LGW_URL, apiKey: "sk-ant-none", maxRetries: 0 });
  await assert.rejects(stranger.messages.create(steady), Anthropic.AuthenticationError);
});
