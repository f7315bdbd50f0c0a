"""A client that openapi-python-client generated from the document works: typed requests, typed answers, typed errors."""

import importlib
import os
import pkgutil
import uuid

import lan_ai_gateway_client as package
import pytest
from lan_ai_gateway_client import AuthenticatedClient, Client
from lan_ai_gateway_client.api.account import get_me, sign_in
from lan_ai_gateway_client.api.chat import chat, create_chat_completion
from lan_ai_gateway_client.api.models import list_models
from lan_ai_gateway_client.api.record import get_request, list_requests
from lan_ai_gateway_client.api.tokens import create_token, revoke_token
from lan_ai_gateway_client.api.users import get_user, list_users
from lan_ai_gateway_client.models import (
    AccessToken, AuditPage, ChatCompletion, ChatCompletionRequest, ChatMessage, ChatRole, Credentials, ErrorBody, FinishReason,
    FreshToken, Kind, LegacyError, ModelList, OllamaChat, OllamaChatRequest, OllamaMessage, OllamaOptions, OllamaRole,
    Outcome, OwnView, Scope, Story, TokenError, TokenStatus, UserPage, UserRole, UserStatus, Wish,
)

URL, MODEL = os.environ["LGW_URL"], os.environ["LGW_MODEL"]
USER, PASSWORD = os.environ["LGW_USER"], os.environ["LGW_PASSWORD"]


def signed_in(username, password):
    answer = sign_in.sync(client=Client(base_url=URL), body=Credentials(username=username, password=password))
    assert isinstance(answer, AccessToken)
    # An undeclared status is an error here.
    return AuthenticatedClient(base_url=URL, token=answer.access_token, raise_on_unexpected_status=True, timeout=120)


@pytest.fixture(scope="module")
def user():
    return signed_in(USER, PASSWORD)


@pytest.fixture(scope="module")
def admin():
    return signed_in("admin", os.environ["LGW_ADMIN_PASSWORD"])


def test_every_module_of_the_client_can_be_imported():
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def test_a_person_signs_in_and_reads_their_account(user):
    me = get_me.sync(client=user)

    assert isinstance(me, OwnView)
    assert (me.username, me.role, me.status) == (USER, UserRole.USER, UserStatus.ACTIVE)
    assert me.left.requests_per_minute.limit > 0


def test_a_wrong_password_is_a_typed_error():
    answer = sign_in.sync_detailed(client=Client(base_url=URL), body=Credentials(username="nobody@example.com", password="wrong"))

    assert (answer.status_code, type(answer.parsed), answer.parsed.error) == (401, TokenError, "invalid_grant")


def test_chat_answers_in_ollamas_format(user):
    body = OllamaChatRequest(
        messages=[OllamaMessage(role=OllamaRole.USER, content="Say hello.")], options=OllamaOptions(num_predict=8, seed=7))

    answer = chat.sync(client=user, body=body)

    assert isinstance(answer, OllamaChat)
    assert answer.done and answer.message.content and answer.eval_count > 0


def test_a_chat_completion_answers_in_openais_format_and_is_on_the_record(user, admin):
    body = ChatCompletionRequest(
        model=MODEL, messages=[ChatMessage(role=ChatRole.USER, content="Say hello.")], max_tokens=8, seed=7)

    answer = create_chat_completion.sync_detailed(client=user, body=body)

    completion = answer.parsed
    assert isinstance(completion, ChatCompletion)
    assert completion.choices[0].message.content and completion.choices[0].finish_reason in list(FinishReason)
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    page = list_requests.sync(client=admin, kind=Kind.REQUEST, outcome=[Outcome.COMPLETED], limit=5)
    assert isinstance(page, AuditPage)
    newest = page.items[0]
    assert (str(newest.request_id), newest.user) == (answer.headers["x-request-id"], USER)
    story = get_request.sync(client=admin, request_id=newest.request_id)
    assert isinstance(story, Story)
    assert story.answer == completion.choices[0].message.content


def test_an_admin_lists_users(admin):
    page = list_users.sync(client=admin, status=UserStatus.ACTIVE, limit=10)

    assert isinstance(page, UserPage)
    assert {line.username for line in page.items} == {"admin", USER}
    assert all(isinstance(line.id, uuid.UUID) for line in page.items)


def test_a_user_makes_a_token_and_uses_and_revokes_it(user):
    fresh = create_token.sync(client=user, body=Wish(name="a test", scopes=[Scope.CHAT, Scope.MODELS]))

    assert isinstance(fresh, FreshToken)
    assert fresh.status == TokenStatus.ACTIVE
    models = list_models.sync(client=AuthenticatedClient(base_url=URL, token=fresh.token))
    assert isinstance(models, ModelList) and MODEL in [model.id for model in models.data]
    assert revoke_token.sync_detailed(fresh.id, client=user).status_code == 204


def test_errors_are_typed(user, admin):
    refused = list_users.sync_detailed(client=user)
    missing = get_user.sync_detailed(uuid.uuid4(), client=admin)
    question = OllamaChatRequest(messages=[OllamaMessage(role=OllamaRole.USER, content="Hello")], model="no-such-model")
    unknown = chat.sync_detailed(client=user, body=question)

    assert (refused.status_code, type(refused.parsed), refused.parsed.error.code) == (403, ErrorBody, "permission_denied")
    assert (missing.status_code, type(missing.parsed), missing.parsed.error.code) == (404, ErrorBody, "not_found")
    assert (unknown.status_code, type(unknown.parsed)) == (404, LegacyError)
    assert "no-such-model" in unknown.parsed.error
