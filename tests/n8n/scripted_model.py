"""An Ollama whose model lets a calculator answer: it calls the tool, and repeats the result in a sentence."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"))

from scripted_ollama import called, said, serve  # noqa: E402

MODEL = "scripted:latest"


def answer(body):
    results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    if results:
        return [said(f"The calculator says {results[-1]}.")]
    if not body.get("tools"):
        return [said("Hello.")]
    return [called(body["tools"][0]["function"]["name"], {"input": "6 * 7"})]


if __name__ == "__main__":
    serve(MODEL, answer)
