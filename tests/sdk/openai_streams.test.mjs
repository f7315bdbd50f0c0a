// 10,000 generated answers, read by the parsers and helpers of openai-node. See `streams_test.py`.

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { test } from "node:test";

import OpenAI from "openai";

import { inPieces } from "./pieces.mjs";

const CHAT = "/v1/chat/completions";

let now = "";
let number = 0;
const client = new OpenAI({
  baseURL: "http://replay/v1", apiKey: "none", maxRetries: 0,
  fetch: async () => new Response(inPieces(now, ++number), { headers: { "content-type": "text/event-stream" } }),
});

async function* answers() {
  for await (const line of createInterface({ input: createReadStream(process.env.LGW_STREAMS) })) yield JSON.parse(line);
}

const joined = (list, pick) => list.map((item) => pick(item) ?? "").join("");

test("every generated answer is read by the parser as it was meant", async () => {
  let count = 0;
  for await (const answer of answers()) {
    now = answer.stream;
    count += 1;
    const chat = answer.path === CHAT;
    const { messages, prompt } = answer.request;
    const stream = chat
      ? await client.chat.completions.create({ model: "M:1", messages, stream: true })
      : await client.completions.create({ model: "M:1", prompt, stream: true });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);

    const choices = chunks.flatMap((chunk) => chunk.choices);
    const [whole] = answer.whole.choices;
    assert.deepEqual(choices.map((choice) => choice.finish_reason).filter(Boolean), [whole.finish_reason]);
    if (!chat) {
      assert.equal(joined(choices, (choice) => choice.text), whole.text);
      continue;
    }
    assert.equal(joined(choices, (choice) => choice.delta.content), whole.message.content ?? "");
    assert.equal(joined(choices, (choice) => choice.delta.reasoning), whole.message.reasoning ?? "");
    const calls = choices.flatMap((choice) => choice.delta.tool_calls ?? []);
    assert.deepEqual(calls.map((call) => call.index), calls.map((_, index) => index));
    assert.deepEqual(calls.map(({ index: _, ...call }) => call), whole.message.tool_calls ?? []);
  }
  assert.equal(count, 10000);
});

test("the stream helper puts every generated chat together", async () => {
  for await (const answer of answers()) {
    if (answer.path !== CHAT) continue;
    now = answer.stream;
    const final = await client.chat.completions.stream({ model: "M:1", messages: answer.request.messages }).finalChatCompletion();

    const [choice] = final.choices;
    const [whole] = answer.whole.choices;
    assert.equal(choice.finish_reason, whole.finish_reason);
    assert.equal(choice.message.content || null, whole.message.content || null);
    assert.deepEqual(
      (choice.message.tool_calls ?? []).map(({ id, type, function: { name, arguments: text } }) => [id, type, name, text]),
      (whole.message.tool_calls ?? []).map(({ id, type, function: made }) => [id, type, made.name, made.arguments]));
  }
});
