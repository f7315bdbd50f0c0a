"""`make screenshots`: the main pages from a real gateway, with the data of a small team made by this script, into docs/screens/.

The team's two weeks are in `history.py`. What runs, waits and was refused a moment ago is really sent, to a fake Ollama that
takes its time. The gateway lives in a zone where it is early afternoon, so that today is not empty.
"""

import datetime
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import zoneinfo

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

import history  # noqa: E402
from stage import PASSWORD, ROOT, Stage, call, end  # noqa: E402

SECONDS_MAX = 600
PEOPLE = ["maria", "jonas", "priya", "tomas", "wei", "fatima", "n8n", "ci", "carl"]
PENDING = ["ann", "lena"]
TOKENS = [("jonas", "editor"), ("jonas", "laptop"), ("ci", "nightly eval"), ("ci", "nightly docs"), ("n8n", "mail triage")]
# Cities whose clocks don't change with the seasons, around the world.
ZONES = ["Pacific/Honolulu", "America/Phoenix", "America/Bogota", "America/Sao_Paulo", "Africa/Abidjan", "Africa/Lagos", "Africa/Nairobi",
         "Asia/Dubai", "Asia/Karachi", "Asia/Kolkata", "Asia/Bangkok", "Asia/Singapore", "Asia/Tokyo", "Australia/Brisbane", "Pacific/Noumea"]
AFTERNOON = 14.5
QUESTION = "Compare these two release notes and name what is missing."


def main():
    zone = min(ZONES, key=lambda name: abs(hour_in(name) - AFTERNOON))
    with Stage() as stage:
        fake, _ = stage.program(["node", HERE / "told_ollama.mjs"], "told")
        call("POST", fake + "/tell", {"models": [history.SMALL, history.CODER, history.LARGE]})
        settings = {"LGW_ALLOWED_HOSTS": '["gpu-box.lan"]', "LGW_DEFAULT_MODEL": history.SMALL, "LGW_TIMEZONE": zone, "LGW_OLLAMA__SLOTS": 2}
        gateway = stage.gateway("gateway", fake, **settings)
        secrets = make_people(gateway)
        end(gateway.process)
        now = datetime.datetime.now(zoneinfo.ZoneInfo(zone))
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        database = stage.folder / "gateway" / "lan-gateway.db"
        history.write(database, int(midnight.timestamp() * 1e6), int(now.timestamp() * 1e6))

        gateway = stage.gateway("gateway", fake, **settings)
        gateway.admin_token = gateway.token("maria@example.org")
        happen(gateway, fake, secrets)
        wait_for_followers(gateway)
        ids = {name: gateway.user_id(f"{name}@example.org") for name in PEOPLE}
        environment = {**os.environ, "LGW_URL": gateway.url, "LGW_PASSWORD": PASSWORD, "LGW_IDS": json.dumps(ids), "LGW_SHOWN_AS": "gpu-box.lan:7000"}
        done = subprocess.run(["node", HERE / "screenshots.mjs", *sys.argv[1:]], cwd=ROOT, env=environment, timeout=SECONDS_MAX)
        if done.returncode:
            sys.exit("not all pictures were made")


def hour_in(zone):
    now = datetime.datetime.now(zoneinfo.ZoneInfo(zone))
    return now.hour + now.minute / 60


def make_people(gateway):
    """Makes the accounts and their access tokens; returns the secrets by the names of the tokens."""
    gateway.change_admin_password()
    for name in PEOPLE:
        gateway.approved(f"{name}@example.org")
    for name in PENDING:
        gateway.expect(202, "POST", "/api/v1/register", {"email": f"{name}@example.org", "password": PASSWORD})
    secrets = {}
    for owner, name in TOKENS:
        made = gateway.expect(201, "POST", "/api/v1/tokens", {"name": name}, gateway.token(f"{owner}@example.org"))
        secrets[name] = made.json["token"]
    change(gateway, "maria", {"role": "admin"})
    change(gateway, "ci", {"class": "batch", "requests_per_minute": 600, "note": "The build server. Ask Jonas."})
    change(gateway, "n8n", {"requests_per_minute": 120})
    change(gateway, "tomas", {"requests_per_minute": 3})
    return secrets


def change(gateway, name, what):
    gateway.expect(200, "PATCH", f"/api/v1/users/{gateway.user_id(f'{name}@example.org')}", what, gateway.admin_token)


def happen(gateway, fake, secrets):
    """What happens while the pages are looked at."""
    call("POST", fake + "/tell", {"slow": {QUESTION: 45, "rebase": 2}})
    change(gateway, "fatima", {"quotas": {"tokens_per_day": 200_000}})
    gateway.expect(200, "POST", f"/api/v1/users/{gateway.user_id('carl@example.org')}/disable", token=gateway.admin_token)
    export(gateway, gateway.user_id("carl@example.org"))
    for _ in range(3):
        gateway.call("POST", "/auth/token", {"username": "root@example.org", "password": "letmein please"})
    # From these the gateway learns how long a request takes.
    first = [send(gateway, gateway.token("maria@example.org"), model) for model in (history.CODER, history.SMALL)]
    for thread in first:
        thread.join()
    tomas = gateway.token("tomas@example.org")
    for _ in range(7):
        send(gateway, tomas, history.LARGE, "What does `git rebase --onto` do?").join()
    # A search, as an act of the record.
    gateway.expect(200, "GET", "/api/v1/audit?text=deploy", token=gateway.admin_token)
    call("POST", fake + "/tell", {"slow": {QUESTION: 900}})
    for name, token, model in [
        ("ci", "nightly eval", history.CODER), ("priya", None, history.SMALL), ("jonas", "editor", history.CODER),
        ("wei", None, history.LARGE), ("n8n", "mail triage", history.SMALL), ("fatima", None, history.LARGE), ("priya", None, history.SMALL),
    ]:
        send(gateway, secrets[token] if token else gateway.token(f"{name}@example.org"), model)
        # Each comes a little later than the one before.
        time.sleep(1.5)


def export(gateway, user_id):
    """Exports all of a person, which opens the deletion."""
    made = gateway.expect(201, "POST", "/api/v1/exports", {"user_id": user_id, "format": "csv"}, gateway.admin_token).json
    gateway.expect(200, "GET", made["url"], token=gateway.admin_token)


def send(gateway, secret, model, question=QUESTION):
    """Sends a request from a thread of its own, which is returned."""
    thread = threading.Thread(target=chat, args=(gateway, secret, model, question), daemon=True)
    thread.start()
    return thread


def chat(gateway, secret, model, question):
    try:
        gateway.call("POST", "/v1/chat/completions", {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}, secret)
    except OSError:
        # The gateway ended first.
        pass


def wait_for_followers(gateway):
    """Waits until usage and words are summed up to the end of the record."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = gateway.expect(200, "GET", "/api/v1/audit?text=maintenance&limit=1", token=gateway.admin_token).json["items"]
        usage = gateway.expect(200, "GET", "/api/v1/usage?by=day", token=gateway.admin_token).json
        if found and usage["items"]:
            return
        time.sleep(0.5)
    sys.exit("the record was not summed up within a minute")


if __name__ == "__main__":
    main()
