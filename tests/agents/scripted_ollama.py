"""An Ollama with one model, which says what a function tells it to. `GET /received` lists the bodies of the chats it was sent."""

import http.server
import json
import threading

DETAILS = {"family": "scripted", "families": ["scripted"]}
SHOWN = {"capabilities": ["completion", "tools"], "details": DETAILS, "model_info": {}}


def said(text):
    return {"role": "assistant", "content": text}


def called(name, arguments):
    return {"role": "assistant", "content": "", "tool_calls": [{"id": f"call_{name}", "function": {"name": name, "arguments": arguments}}]}


def serve(model, answer):
    """Serves `model` on a free port, for ever. `answer` makes the next message from the body of a chat."""
    listed = {"name": model, "model": model, "modified_at": "2026-01-01T00:00:00Z", "size": 1, "digest": "0" * 64, "details": DETAILS}
    end = {"model": model, "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop", "total_duration": 5,
           "load_duration": 1, "prompt_eval_count": 300, "prompt_eval_duration": 2, "eval_count": 9, "eval_duration": 2}
    received = []
    lock = threading.Lock()

    class ScriptedOllama(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            with lock:
                answers = {"/api/version": {"version": "0.24.0"}, "/api/tags": {"models": [listed]},
                           "/api/ps": {"models": []}, "/received": received}
                found = answers.get(self.path)
            self.reply(200 if found is not None else 404, [found if found is not None else {"error": "not found"}])

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/api/show":
                return self.reply(200, [SHOWN])
            with lock:
                received.append(body)
            self.reply(200, [{**end, "done": False, "message": answer(body)}, {**end, "message": said("")}])

        def reply(self, status, lines):
            body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
            self.send_response(status)
            self.send_header("Content-Type", "application/x-ndjson" if len(lines) > 1 else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ScriptedOllama)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
