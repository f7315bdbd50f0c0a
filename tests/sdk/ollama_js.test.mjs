// ollama-js against a real gateway, Ollama and model. Every request has a token limit: a small model may not stop.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ollama } from "ollama";
import { eventually } from "./eventually.mjs";

const { LGW_URL, LGW_MODEL, LGW_TOKEN, OLLAMA_URL } = process.env;
const messages = [{ role: "user", content: "Name three colours." }];
// Answers that can be told in advance.
const options = { temperature: 0, seed: 7, num_predict: 24 };
const steady = { model: LGW_MODEL, messages, options };

const bearer = (token) => ({ Authorization: `Bearer ${token}` });
const client = new Ollama({ host: LGW_URL, headers: bearer(LGW_TOKEN) });
const bare = new Ollama({ host: OLLAMA_URL });

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

test("a whole answer is that of Ollama itself", async () => {
  const answer = await client.chat(steady);

  assert.ok(answer.message.content.trim());
  assert.equal(answer.message.content, (await bare.chat(steady)).message.content);
  assert.ok(answer.done && answer.eval_count > 0 && answer.total_duration > 0);
});

test("a stream brings the same text as a whole answer", async () => {
  const whole = await client.chat(steady);

  const parts = await all(await client.chat({ ...steady, stream: true }));

  assert.equal(parts.map((part) => part.message.content).join(""), whole.message.content);
  assert.ok(parts.length > 3 && parts.at(-1).done);
});

test("a tool is called", async () => {
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const tools = [{ type: "function", function: { name: "get_weather", description: "The weather of a city", parameters } }];
  const asked = [{ role: "user", content: "What is the weather in Paris?" }];

  const answer = await client.chat({ model: LGW_MODEL, messages: asked, tools, options: { temperature: 0, num_predict: 60 } });

  assert.equal(answer.message.tool_calls[0].function.name, "get_weather");
});

test("a schema binds the answer", async () => {
  const format = { type: "object", properties: { colour: { enum: ["red", "blue"] } }, required: ["colour"] };

  const answer = await client.chat({ ...steady, format });

  assert.ok(["red", "blue"].includes(JSON.parse(answer.message.content).colour));
});

test("a text is generated, whole and as a stream", async () => {
  const asked = { model: LGW_MODEL, prompt: "Name three colours.", system: "You are brief.", options };

  const whole = await client.generate(asked);
  const parts = await all(await client.generate({ ...asked, stream: true }));

  assert.equal(whole.response, (await bare.generate(asked)).response);
  assert.equal(parts.map((part) => part.response).join(""), whole.response);
});

test("the models are listed as Ollama lists them", async () => {
  const of = ({ models }) => models.find((model) => model.model === LGW_MODEL);
  const [ours, theirs] = [of(await client.list()), of(await bare.list())];

  assert.deepEqual([ours.digest, ours.size, ours.details.family], [theirs.digest, theirs.size, theirs.details.family]);
  assert.deepEqual((await client.show({ model: LGW_MODEL })).model_info, (await bare.show({ model: LGW_MODEL })).model_info);
  // On a busy machine Ollama may take long to tell it, and the list is empty for three seconds.
  await eventually("the model in memory is listed", async () => (await client.ps()).models.some((model) => model.model === LGW_MODEL));
  assert.deepEqual(await client.version(), await bare.version());
});

test("a stream that its reader aborts ends", async () => {
  const stream = await client.chat({ ...steady, options: { num_predict: 1500 }, stream: true });
  await assert.rejects(async () => {
    for await (const _ of stream) stream.abort();
  }, { name: "AbortError" });

  assert.ok((await client.chat(steady)).done);
});

test("errors have the class of the package, with status and text", async () => {
  const refused = async (asked, who = client) => {
    try {
      await who.chat({ ...steady, ...asked });
    } catch (error) {
      return [error.name, error.status_code, error.message];
    }
  };

  const [name, status, text] = await refused({ model: "no-such-model" });
  assert.deepEqual([name, status], ["ResponseError", 404]);
  assert.match(text, /no-such-model/);
  assert.equal((await refused({ options: { temperature: -1 } }))[1], 400);
  const [, unauthorized, hint] = await refused({}, new Ollama({ host: LGW_URL }));
  assert.equal(unauthorized, 401);
  assert.match(hint, /Authorization.*Bearer lgw_/);
});
