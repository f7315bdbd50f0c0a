"""Models are changed with Ollama's own Python package, by a token of an admin that may, on a real Ollama."""

import hashlib
import os

import ollama
import pytest
from stage import ADMIN_PASSWORD, call

URL, MODEL = os.environ["LGW_URL"], os.environ["LGW_MODEL"]


def client(bearer):
    return ollama.Client(host=URL, headers={"Authorization": f"Bearer {bearer}"})


@pytest.fixture(scope="module")
def admin():
    return call("POST", f"{URL}/auth/token", {"username": "admin", "password": ADMIN_PASSWORD}).json["access_token"]


@pytest.fixture(scope="module")
def manager(admin):
    wish = {"name": "manager", "scopes": ["models:manage", "models"], "requests_per_minute": 1000}
    made = call("POST", f"{URL}/api/v1/tokens", wish, admin)
    assert made.status == 201, made.text
    return client(made.json["token"])


def served(manager):
    return {model.model for model in manager.list().models}


def test_a_copy_is_there_at_once_and_gone_at_once(manager):
    assert manager.copy(MODEL, "sdk-copy:1").status == "success"
    assert "sdk-copy:1" in served(manager)

    assert manager.delete("sdk-copy:1").status == "success"
    assert "sdk-copy:1" not in served(manager)
    with pytest.raises(ollama.ResponseError) as gone:
        manager.delete("sdk-copy:1")
    assert gone.value.status_code == 404


def test_a_model_is_made_step_by_step_with_what_was_said_of_it(manager):
    steps = [step.status for step in manager.create(
        "sdk-terse:1", from_=MODEL, system="Be terse.", parameters={"num_ctx": 2048, "stop": ["END"]}, stream=True)]
    try:
        assert steps[-1] == "success" and len(steps) > 1
        assert manager.create("sdk-terse:1", from_=MODEL).status == "success"
    finally:
        manager.delete("sdk-terse:1")


def test_a_file_is_uploaded_and_found_again(manager, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(os.urandom(300_000))
    digest = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()

    assert manager.create_blob(file) == digest
    assert manager.create_blob(file) == digest, "again"
    with pytest.raises(ollama.ResponseError) as wrong:
        manager.create("sdk-file:1", files={"model.gguf": digest})
    assert wrong.value.error, "it is no model"


def test_a_pull_that_fails_says_why_in_the_stream_too(manager):
    # Nobody listens there.
    missing = "127.0.0.1:9/nobody/nothing:1"
    with pytest.raises(ollama.ResponseError) as whole:
        manager.pull(missing)
    assert whole.value.status_code == 502 and "manifest" in whole.value.error
    steps = []
    with pytest.raises(ollama.ResponseError) as streamed:
        steps.extend(step.status for step in manager.pull(missing, stream=True))
    assert "manifest" in streamed.value.error
    with pytest.raises(ollama.ResponseError) as insecure:
        manager.pull(missing, insecure=True)
    assert insecure.value.status_code == 400 and "`insecure`" in insecure.value.error


def test_a_person_is_told_that_it_takes_a_token(admin):
    with pytest.raises(ollama.ResponseError) as refused:
        client(admin).delete(MODEL)
    assert refused.value.status_code == 403 and "models:manage" in refused.value.error
