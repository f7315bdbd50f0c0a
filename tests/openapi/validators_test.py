"""Three validators that share no code find nothing to say of the OpenAPI document, and each sees one that is broken."""

import json
import os
import pathlib
import subprocess

import pytest
from openapi_spec_validator import validate

HERE = pathlib.Path(__file__).resolve().parent
DOCUMENT = HERE.parent.parent / "openapi/openapi.json"
SECONDS_MAX = 120


def openapi_spec_validator(path):
    validate(json.loads(path.read_text()))


def swagger_parser(path):
    run(["node", "swagger_parser.mjs", path])


def redocly(path):
    said = run(["node_modules/.bin/redocly", "lint", "--config", "redocly.yaml", "--format", "json", path])
    found = json.loads(said[said.index("{"):])
    assert found["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, json.dumps(found["problems"], indent=1)[:4000]


def run(command):
    # It is not to tell anybody that it ran.
    environment = os.environ | {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    done = subprocess.run([str(word) for word in command], cwd=HERE, env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=SECONDS_MAX)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


VALIDATORS = [openapi_spec_validator, swagger_parser, redocly]


@pytest.mark.parametrize("validator", VALIDATORS)
def test_the_document_is_valid(validator):
    validator(DOCUMENT)


@pytest.mark.parametrize("validator", VALIDATORS)
def test_a_response_without_a_description_is_seen(validator, tmp_path):
    document = json.loads(DOCUMENT.read_text())
    del document["paths"]["/api/v1/me"]["get"]["responses"]["200"]["description"]
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(document))

    with pytest.raises(Exception, match="description"):
        validator(broken)
