"""A stand-in for Ollama that answers at once and keeps what it was sent: the real one does not tell what reached it."""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"))

from scripted_ollama import END, said, serve  # noqa: E402

MODEL = "fake:latest"
CAPABILITIES = os.environ.get("FAKE_CAPABILITIES", "completion,vision").split(",")


def answer(body):
    """Says hello; where the schema is that of calls, the answer is a call of the first function."""
    schema = body.get("format")
    if isinstance(schema, dict) and "anyOf" in schema:
        name = schema["anyOf"][0].get("properties", {}).get("name", {}).get("enum", [None])[0]
        if name is not None:
            return [said(json.dumps({"name": name, "arguments": {}}))]
    return [said("Hello"), said(" there")]


def complete(_):
    return [{**END, "done": False, "response": " and wide"}, {**END, "response": ""}]


def embed(body):
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    return [{"embeddings": [[0.25, -0.5]] * len(texts), "prompt_eval_count": len(texts)}]


if __name__ == "__main__":
    serve(MODEL, answer, capabilities=CAPABILITIES, others={"/api/generate": complete, "/api/embed": embed})
