"""A stand-in for Ollama that answers at once and keeps what it was sent.

The real one does not tell what reached it. `GET /received` lists the bodies of the chats, oldest first.
"""

import http.server
import json
import os
import threading

MODEL = "fake:latest"
CAPABILITIES = os.environ.get("FAKE_CAPABILITIES", "completion,vision").split(",")
SHOWN = {"capabilities": CAPABILITIES, "details": {"family": "fake", "families": ["fake"]}, "model_info": {}}
LISTED = {"name": MODEL, "model": MODEL, "modified_at": "2026-01-01T00:00:00Z", "size": 1, "digest": "0" * 64,
          "details": SHOWN["details"]}
END = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop",
       "message": {"role": "assistant", "content": ""}, "total_duration": 5, "load_duration": 1,
       "prompt_eval_count": 3, "prompt_eval_duration": 2, "eval_count": 2, "eval_duration": 2}

received = []
lock = threading.Lock()


def said(schema):
    """Returns the words of an answer: a call of the first function, where the schema is that of calls."""
    if isinstance(schema, dict) and "anyOf" in schema:
        name = schema["anyOf"][0].get("properties", {}).get("name", {}).get("enum", [None])[0]
        if name is not None:
            return [json.dumps({"name": name, "arguments": {}})]
    return ["Hello", " there"]


class FakeOllama(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with lock:
            answers = {"/api/version": {"version": "0.24.0"}, "/api/tags": {"models": [LISTED]},
                       "/api/ps": {"models": []}, "/received": received}
            answer = answers.get(self.path)
        self.reply(200 if answer is not None else 404, [answer if answer is not None else {"error": "not found"}])

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/show":
            self.reply(200, [SHOWN])
        elif self.path == "/api/chat":
            with lock:
                received.append(body)
            words = said(body.get("format"))
            pieces = [{**END, "done": False, "message": {"role": "assistant", "content": word}} for word in words]
            if body.get("stream", True):
                self.reply(200, [*pieces, END])
            else:
                self.reply(200, [{**END, "message": {"role": "assistant", "content": "".join(words)}}])
        elif self.path == "/api/generate":
            self.reply(200, [{**END, "done": False, "response": " and wide"}, {**END, "response": ""}])
        elif self.path == "/api/embed":
            texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
            self.reply(200, [{"model": MODEL, "embeddings": [[0.25, -0.5]] * len(texts), "prompt_eval_count": len(texts)}])
        else:
            self.reply(404, [{"error": "not found"}])

    def reply(self, status, lines):
        body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        self.send_response(status)
        self.send_header("Content-Type", "application/x-ndjson" if len(lines) > 1 else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeOllama)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
