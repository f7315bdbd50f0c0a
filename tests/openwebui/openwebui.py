"""A real Open WebUI on a data folder of its own, and the people who are signed in to it."""

import json
import time
import uuid

from stage import PASSWORD, call, free_port, reached

START_SECONDS_MAX = 300
ANSWER_SECONDS_MAX = 120

# It reaches nothing but the gateway, takes its settings from here alone, and sends its tools only if a chat asks for them: they are
# 5,000 tokens, more than the small model can read.
SETTINGS = {
    "OFFLINE_MODE": "true", "HF_HUB_OFFLINE": "1", "RAG_EMBEDDING_ENGINE": "openai", "ENABLE_OLLAMA_API": "false",
    "ENABLE_PERSISTENT_CONFIG": "false", "ENABLE_VERSION_UPDATE_CHECK": "false", "ANONYMIZED_TELEMETRY": "false",
    "ENABLE_FORWARD_USER_INFO_HEADERS": "true", "DEFAULT_USER_ROLE": "user", "WEBUI_SECRET_KEY": "only for these tests, which is long enough",
    "DEFAULT_MODEL_PARAMS": json.dumps({"function_calling": "legacy", "max_tokens": 24}),
    # Otherwise an admin of Open WebUI has to share each model; here the gateway decides who may use which.
    "BYPASS_MODEL_ACCESS_CONTROL": "true",
    # Its own words for what a request is for; empty for an answer.
    "OPENAI_API_CONFIGS": json.dumps({"0": {"headers": {"X-OpenWebUI-Task": "{{TASK}}"}}}),
}


class OpenWebUI:
    def __init__(self, stage, program, gateway_url, token, model, task_model):
        port, log, folder = free_port(), stage.folder / "openwebui.log", stage.folder / "openwebui"
        folder.mkdir()
        settings = {
            **SETTINGS, "DATA_DIR": folder, "HOME": folder, "DEFAULT_MODELS": model, "TASK_MODEL_EXTERNAL": task_model,
            "OPENAI_API_BASE_URLS": f"{gateway_url}/v1", "OPENAI_API_KEYS": token,
        }
        process = stage.start([program, "serve", "--host", "127.0.0.1", "--port", str(port)], log, settings)
        self.url, self.model = f"http://127.0.0.1:{port}", model
        stage.wait_for(process, log, lambda: reached(self.url + "/health"), START_SECONDS_MAX)

        admin = {"name": "Owen Owner", "email": "owner@example.com", "password": PASSWORD}
        self.admin_session = self.expect("/api/v1/auths/signup", admin).json["token"]

    def expect(self, path, body, session=None):
        answer = call("POST", self.url + path, body, session)
        assert answer.status == 200, f"{path} answered {answer.status}: {answer.text}"
        return answer

    def connect(self, api_type=None):
        """Sets which of OpenAI's two ways to chat the connection speaks: `responses`, or chat completions."""
        config = call("GET", self.url + "/openai/config", token=self.admin_session).json
        config["OPENAI_API_CONFIGS"]["0"]["api_type"] = api_type
        self.expect("/openai/config/update", config, self.admin_session)

    def person(self, name, email):
        """Gives somebody an account of Open WebUI, and signs them in."""
        wish = {"name": name, "email": email, "password": PASSWORD}
        self.expect("/api/v1/auths/add", {**wish, "role": "user"}, self.admin_session)
        return Person(self, email, self.expect("/api/v1/auths/signin", wish).json["token"])


class Person:
    """Somebody who is signed in to Open WebUI."""

    def __init__(self, openwebui, email, session):
        self.openwebui, self.email, self.session = openwebui, email, session

    def call(self, method, path, body=None, headers=None):
        return call(method, self.openwebui.url + path, body, self.session, headers)

    def models(self):
        return [model["id"] for model in self.call("GET", "/api/models").json["data"] if not model.get("arena")]

    def ask(self, text, headers=None, **more):
        """Asks as a script does that uses Open WebUI's API: the answer is a stream, and nothing is kept."""
        body = {"model": self.openwebui.model, "messages": [{"role": "user", "content": text}], "stream": True, **more}
        return self.call("POST", "/api/chat/completions", body, headers)

    def chat(self, text, tasks=(), model=None, **more):
        """Begins a chat as Open WebUI's page does. Returns its id."""
        asked, answer = str(uuid.uuid4()), str(uuid.uuid4())
        model = model or self.openwebui.model
        begun = self.call("POST", "/api/chat/completions", {
            "model": model, "messages": [{"role": "user", "content": text}], "stream": True, "parent_id": None, "id": answer,
            "session_id": "tests", "background_tasks": {task: True for task in tasks}, "user_message": {
                "id": asked, "parentId": None, "childrenIds": [answer], "role": "user", "content": text,
                "timestamp": int(time.time()), "models": [model]}, **more})
        assert begun.status == 200, begun.text
        return begun.json["chat_id"]

    def answer_in(self, chat_id):
        """Waits for the answer in a chat. Returns Open WebUI's message of it, which has `content` or `error`."""
        return until(lambda: next((message for message in self.messages(chat_id) if message.get("done")), None))

    def messages(self, chat_id):
        messages = self.call("GET", f"/api/v1/chats/{chat_id}").json["chat"]["history"]["messages"]
        return [message for message in messages.values() if message["role"] == "assistant"]

    def title_of(self, chat_id):
        return self.call("GET", f"/api/v1/chats/{chat_id}").json["title"]

    def stop(self, chat_id):
        """Does what the stop button does."""
        return self.call("POST", f"/api/tasks/chat/{chat_id}/stop")


def text_of(stream):
    """Returns the words of a streamed answer."""
    events = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", []))


def until(found, seconds_max=ANSWER_SECONDS_MAX):
    """Asks again until something is found. Returns that."""
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError(f"not there after {seconds_max} s")
