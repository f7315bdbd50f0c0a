"""An Ollama with one model, which says what a function tells it to. `GET /received` lists the bodies of the chats, the oldest first."""

import http.server
import json
import threading

# The last line of a stream, beside the name of the model and what was said.
END = {"created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop", "total_duration": 5, "load_duration": 1,
       "prompt_eval_count": 3, "prompt_eval_duration": 2, "eval_count": 2, "eval_duration": 2}


def said(text):
    return {"role": "assistant", "content": text}


def called(name, arguments):
    return {"role": "assistant", "content": "", "tool_calls": [{"id": f"call_{name}", "function": {"name": name, "arguments": arguments}}]}


def serve(model, answer, **more):
    """Serves `model` on a free port, for ever; see `server_of`."""
    server = server_of(model, answer, **more)
    print(f"listening on {server.url}", flush=True)
    server.serve_forever()


def server_of(model, answer, capabilities=("completion", "tools"), others=()):
    """Returns a server for `model` on a free port. `answer` makes the messages of a stream from the body of a chat. `others` has
    functions for other paths, which make whole lines."""
    details = {"family": "scripted", "families": ["scripted"]}
    listed = {"name": model, "model": model, "modified_at": "2026-01-01T00:00:00Z", "size": 1, "digest": "0" * 64, "details": details}
    shown = {"capabilities": list(capabilities), "details": details, "model_info": {}}
    received = []
    lock = threading.Lock()

    def chat(body):
        with lock:
            received.append(body)
        return [*({**END, "done": False, "message": message} for message in answer(body)), {**END, "message": said("")}]

    streams = {"/api/chat": chat, **dict(others)}

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
                self.reply(200, [shown])
            elif self.path in streams:
                self.reply(200, [{"model": model, **line} for line in streams[self.path](body)])
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

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ScriptedOllama)
    server.url = f"http://127.0.0.1:{server.server_port}"
    return server
