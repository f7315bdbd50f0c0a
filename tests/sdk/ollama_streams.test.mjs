// 10,000 generated chats, read by ollama-js. See `ollama_streams_test.py`.

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { test } from "node:test";

import { Ollama } from "ollama";

import { inPieces } from "./pieces.mjs";

let now = "";
let number = 0;
const client = new Ollama({
  host: "http://replay",
  fetch: async () => new Response(inPieces(now, ++number), { headers: { "content-type": "application/x-ndjson" } }),
});

test("every generated chat is read as it was meant", async () => {
  let count = 0;
  for await (const line of createInterface({ input: createReadStream(process.env.LGW_OLLAMA_STREAMS) })) {
    const { request, stream, whole } = JSON.parse(line);
    now = stream;
    count += 1;
    let [text, thinking, calls, last] = ["", "", [], undefined];
    for await (const part of await client.chat({ model: "m", messages: request.messages, stream: true })) {
      text += part.message.content ?? "";
      thinking += part.message.thinking ?? "";
      calls.push(...(part.message.tool_calls ?? []));
      last = part;
    }

    const { message, ...end } = whole;
    assert.equal(text, message.content);
    assert.equal(thinking, message.thinking ?? "");
    const called = ({ function: { name, arguments: of } }) => ({ name, of });
    assert.deepEqual(calls.map(called), (message.tool_calls ?? []).map(called));
    for (const field of ["done", "done_reason", "prompt_eval_count", "eval_count", "total_duration", "load_duration"]) {
      assert.equal(last[field], end[field], field);
    }
  }
  assert.equal(count, 10000);
});
