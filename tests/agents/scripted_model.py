"""An Ollama whose model edits one file, as it was told: it reads the file, changes a word, and says that it is done.

Which step comes next depends on the results of tools in the conversation alone. `GET /received` lists what it was sent.
"""

import http.server
import json
import sys
import threading

MODEL = "claude-scripted:latest"
DETAILS = {"family": "scripted", "families": ["scripted"]}
LISTED = {"name": MODEL, "model": MODEL, "modified_at": "2026-01-01T00:00:00Z", "size": 1, "digest": "0" * 64, "details": DETAILS}
SHOWN = {"capabilities": ["completion", "tools"], "details": DETAILS, "model_info": {}}
END = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop", "total_duration": 5,
       "load_duration": 1, "prompt_eval_count": 300, "prompt_eval_duration": 2, "eval_count": 9, "eval_duration": 2}

received = []
lock = threading.Lock()


def said(text):
    return {"role": "assistant", "content": text}


def called(name, arguments):
    return {"role": "assistant", "content": "", "tool_calls": [{"id": f"call_{name}", "function": {"name": name, "arguments": arguments}}]}


def answer(body, path, old, new):
    """What the model says next. Agents also ask for titles and the like, without tools."""
    tools = {tool["function"]["name"] for tool in body.get("tools", [])}
    results = [message for message in body["messages"] if message["role"] == "tool"]
    if not {"Read", "Edit"} <= tools:
        return said("A word")
    if not results:
        return called("Read", {"file_path": path})
    if len(results) == 1:
        return called("Edit", {"file_path": path, "old_string": old, "new_string": new})
    return said("I have changed the word.")


class ScriptedModel(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with lock:
            answers = {"/api/version": {"version": "0.24.0"}, "/api/tags": {"models": [LISTED]},
                       "/api/ps": {"models": []}, "/received": received}
            found = answers.get(self.path)
        self.reply(200 if found is not None else 404, [found if found is not None else {"error": "not found"}])

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/show":
            return self.reply(200, [SHOWN])
        with lock:
            received.append(body)
        self.reply(200, [{**END, "done": False, "message": answer(body, *sys.argv[1:4])}, {**END, "message": said("")}])

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
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ScriptedModel)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
