// A stand-in for Ollama that answers what it is told. `POST /tell` sets what comes next: `answer`, `thinking`, `models`,
// `slow` (how many seconds an answer takes to a prompt with this text in it).
import { createServer } from "node:http";

const told = { answer: "Hello there", thinking: "", models: ["told:latest"], slow: {}, tokens: 40 };
const DETAILS = { family: "told", families: ["told"], parameter_size: "12B", quantization_level: "Q4_K_M" };

const listed = (name) => ({
  name, model: name, modified_at: "2026-01-01T00:00:00Z", size: 8_149_190_253, digest: "0".repeat(64), details: DETAILS,
});
const loaded = (name) => ({ ...listed(name), size_vram: 8_149_190_253, expires_at: new Date(Date.now() + 280_000).toISOString() });
const end = (model, seconds) => ({
  model, created_at: "2026-01-01T00:00:00Z", done: true, done_reason: "stop", total_duration: seconds * 1e9,
  load_duration: 1e6, prompt_eval_count: told.promptTokens ?? 30, prompt_eval_duration: seconds * 1e8, eval_count: told.tokens,
  eval_duration: seconds * 8e8,
});

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : {};
  const reply = (status, ...lines) => {
    response.writeHead(status, { "content-type": lines.length > 1 ? "application/x-ndjson" : "application/json" });
    response.end(lines.map((line) => JSON.stringify(line) + "\n").join(""));
  };
  switch (request.url) {
    case "/tell": Object.assign(told, body); return reply(200, {});
    case "/api/version": return reply(200, { version: "0.24.0" });
    case "/api/tags": return reply(200, { models: told.models.map(listed) });
    case "/api/ps": return reply(200, { models: told.models.slice(0, 2).map(loaded) });
    case "/api/show": return reply(200, {
      capabilities: ["completion", "vision", "tools", "thinking"], details: DETAILS, model_info: { "told.context_length": 8192 },
    });
    case "/api/chat": {
      const { answer, thinking } = told, seconds = secondsOf(body);
      const message = { role: "assistant", content: answer, ...(thinking && { thinking }) };
      const last = end(body.model, Math.max(seconds, 0.2));
      if (body.stream === false) {
        await passed(seconds, response);
        return reply(200, { ...last, message });
      }
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      const first = { model: body.model, created_at: last.created_at, done: false, message };
      response.write(JSON.stringify(first) + "\n");
      await passed(seconds, response);
      return response.end(JSON.stringify({ ...last, message: { role: "assistant", content: "" } }) + "\n");
    }
    default: return reply(404, { error: "not found" });
  }
});

function secondsOf(body) {
  const asked = JSON.stringify(body.messages ?? "");
  return Object.entries(told.slow).find(([text]) => asked.includes(text))?.[1] ?? 0;
}

function passed(seconds, response) {
  return new Promise((done) => {
    const timer = setTimeout(done, seconds * 1000);
    response.on("close", () => { clearTimeout(timer); done(); });
  });
}

server.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
