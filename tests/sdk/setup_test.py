"""What the page of a new access token shows to paste is run as it stands: curl, Python, Node and the CI job's script.

Not run: PowerShell, where none is installed, and what is typed into n8n and Open WebUI.
"""

import html
import http.cookiejar
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap
import urllib.parse
import urllib.request

import pytest

GATEWAY = os.environ["LGW_FAKE_URL"]
SECONDS_MAX = 60


class Browser:
    """As much of a browser as the pages need: cookies, an origin, the session's field."""

    def __init__(self):
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(jar)
        self.field = ""

    def get(self, path):
        return self._read(urllib.request.Request(GATEWAY + path))

    def post(self, path, fields):
        body = urllib.parse.urlencode([("csrf", self.field), *fields]).encode()
        return self._read(urllib.request.Request(GATEWAY + path, body, {"Origin": GATEWAY}))

    def _read(self, request):
        with self.opener.open(request, timeout=SECONDS_MAX) as answer:
            page = answer.read().decode()
        found = re.search(r'name="csrf" value="([^"]+)"', page)
        self.field = found.group(1) if found else self.field
        return page


@pytest.fixture(scope="module")
def shown():
    """The texts of the page by their ids, and the secret."""
    browser = Browser()
    browser.post("/sign-in", [("username", os.environ["LGW_USER"]), ("password", os.environ["LGW_PASSWORD"])])
    browser.get("/me/tokens/new")
    page = browser.post("/me/tokens/new", [("name", "setup"), ("scopes", "chat"), ("scopes", "models"), ("ends", "30")])
    texts = re.findall(r'<pre id="setup-([a-z0-9-]+)"[^>]*><code>(.*?)</code></pre>', page, re.DOTALL)
    secret = re.search(r'<code id="secret"[^>]*>(lgw_[^<]+)</code>', page).group(1)
    return {name: html.unescape(text) for name, text in texts}, secret


def run(command, **settings):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=SECONDS_MAX, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_curl(shown):
    assert '"chat.completion"' in run(["sh", "-c", shown[0]["curl"]])


def test_python(shown):
    assert run([sys.executable, "-c", shown[0]["python"]]).strip()


def test_node(shown, tmp_path):
    # Node looks for packages beside the script.
    (tmp_path / "ask.mjs").write_text(shown[0]["node"])
    (tmp_path / "node_modules").symlink_to(pathlib.Path(__file__).parent / "node_modules")

    assert run(["node", "--preserve-symlinks", tmp_path / "ask.mjs"]).strip()


def test_the_script_of_the_ci_job_answers_and_fails_with_a_wrong_secret(shown, tmp_path):
    texts, secret = shown
    script = textwrap.dedent(texts["ci"].split("- |\n")[1])
    assert secret not in texts["ci"]
    person = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    run(["git", "init", "-q", tmp_path])
    run(["git", *person, "-C", tmp_path, "commit", "-q", "--allow-empty", "-m", 'Fix the "login" page'])

    assert run(["sh", "-e", "-c", script], cwd=tmp_path, env={**os.environ, "LGW_TOKEN": secret}).strip()
    with pytest.raises(AssertionError):
        run(["sh", "-e", "-c", script], cwd=tmp_path, env={**os.environ, "LGW_TOKEN": "lgw_m_wrong"})


@pytest.mark.skipif(not shutil.which("pwsh"), reason="no PowerShell here")
def test_powershell(shown):
    assert run(["pwsh", "-NoProfile", "-Command", shown[0]["powershell"]]).strip()
