// 10,000 generated responses, read by the parser and the stream helper of openai-node. See `response_streams_test.py`.

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { test } from "node:test";

import OpenAI from "openai";

import { inPieces } from "./pieces.mjs";

let now = "";
let number = 0;
const client = new OpenAI({
  baseURL: "http://replay/v1", apiKey: "none", maxRetries: 0,
  fetch: async () => new Response(inPieces(now, ++number, 2000), { headers: { "content-type": "text/event-stream" } }),
});

async function* answers() {
  const input = createReadStream(process.env.LGW_RESPONSE_STREAMS);
  for await (const line of createInterface({ input })) yield JSON.parse(line);
}

// What an output says, however its items are cut: thought, text, and calls.
function said(output) {
  const of = (type) => output.filter((item) => item.type === type);
  return [
    of("reasoning").flatMap((item) => item.summary).map((part) => part.text).join(""),
    of("message").flatMap((item) => item.content).map((part) => part.text).join(""),
    of("function_call").map((item) => [item.call_id, item.name, item.arguments]),
  ];
}

test("every generated response is read by the parser as it was meant", async () => {
  let count = 0;
  for await (const { stream, whole } of answers()) {
    now = stream;
    count += 1;
    const events = [];
    for await (const event of await client.responses.create({ model: "M:1", input: "hi", stream: true })) events.push(event);

    assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, place) => place));
    assert.equal(events.at(-1).type, `response.${whole.status}`);
    assert.deepEqual(said(events.at(-1).response.output), said(whole.output));
    const text = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("");
    assert.equal(text, said(whole.output)[1]);
  }
  assert.equal(count, 10000);
});

test("the stream helper puts every generated response together", async () => {
  for await (const { stream, whole } of answers()) {
    now = stream;
    const final = await client.responses.stream({ model: "M:1", input: "hi" }).finalResponse();

    assert.deepEqual(said(final.output), said(whole.output));
    assert.equal(final.status, whole.status);
  }
});
