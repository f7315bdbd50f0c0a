"""An Ollama whose model does for a chat in Open WebUI what the small real one can't: a title, tags and follow-ups as JSON, and a call
of a tool. It answers nothing while there is a file of the path that is its argument."""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"))

from scripted_ollama import called, said, serve  # noqa: E402

MODEL = "tasks:latest"
TITLE = "A Greeting Between Neighbours"
# One of the tools that Open WebUI has built in.
CLOCK = "get_current_timestamp"


def answer(body):
    waits = pathlib.Path(sys.argv[1])
    while waits.exists():
        time.sleep(0.05)
    results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    if results:
        return [said(f"The clock says {results[-1]}.")]
    if CLOCK in [tool["function"]["name"] for tool in body.get("tools", [])]:
        return [called(CLOCK, {})]
    return [said(json.dumps({"title": TITLE, "tags": ["greeting"], "follow_ups": ["And how are you?"]}))]


if __name__ == "__main__":
    serve(MODEL, answer)
