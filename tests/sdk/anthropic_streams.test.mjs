// 10,000 generated answers, read by the parsers and helpers of @anthropic-ai/sdk. See `anthropic_streams_test.py`.

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";

import { inPieces } from "./pieces.mjs";

let now = "";
let number = 0;
const client = new Anthropic({
  baseURL: "http://replay", apiKey: "none", maxRetries: 0,
  fetch: async () => new Response(inPieces(now, ++number), { headers: { "content-type": "text/event-stream" } }),
});

async function* answers() {
  for await (const line of createInterface({ input: createReadStream(process.env.LGW_ANTHROPIC_STREAMS) })) yield JSON.parse(line);
}

const said = (content, kind) => content.filter((block) => block.type === kind).map((block) => block[kind]).join("");

test("every generated answer is read by the parser, in order", async () => {
  let count = 0;
  for await (const answer of answers()) {
    now = answer.stream;
    count += 1;
    const kinds = [];
    const { messages } = answer.request;
    for await (const event of await client.messages.create({ model: "M:1", max_tokens: 9, messages, stream: true })) kinds.push(event.type);

    assert.equal(kinds[0], "message_start");
    assert.deepEqual(kinds.slice(-2), ["message_delta", "message_stop"]);
  }
  assert.equal(count, 10000);
});

test("the stream helper puts every generated message together", async () => {
  for await (const answer of answers()) {
    now = answer.stream;
    const { whole } = answer;
    const final = await client.messages.stream({ model: "M:1", max_tokens: 9, messages: answer.request.messages }).finalMessage();

    assert.equal(said(final.content, "text"), said(whole.content, "text"));
    assert.equal(said(final.content, "thinking"), said(whole.content, "thinking"));
    const calls = (content) => content.filter((block) => block.type === "tool_use").map(({ id, name, input }) => [id, name, input]);
    assert.deepEqual(calls(final.content), calls(whole.content));
    for (const name of ["id", "model", "role", "stop_reason", "stop_sequence", "usage"]) assert.deepEqual(final[name], whole[name], name);
  }
});
