"""An Ollama whose model edits one file, as it was told: it reads the file, changes a word, and says that it is done.

Which step comes next depends on the results of tools in the conversation alone.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"))

from scripted_ollama import called, said, serve  # noqa: E402

MODEL = "claude-scripted:latest"


def answer(body):
    """What the model says next. Agents also ask for titles and the like, without tools."""
    path, old, new = sys.argv[1:4]
    tools = {tool["function"]["name"] for tool in body.get("tools", [])}
    results = [message for message in body["messages"] if message["role"] == "tool"]
    if not {"Read", "Edit"} <= tools:
        return [said("A word")]
    if not results:
        return [called("Read", {"file_path": path})]
    if len(results) == 1:
        return [called("Edit", {"file_path": path, "old_string": old, "new_string": new})]
    return [said("I have changed the word.")]


if __name__ == "__main__":
    serve(MODEL, answer)
