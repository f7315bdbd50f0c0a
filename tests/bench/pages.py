"""How fast the pages begin on a record of a million rows, and how much of them goes over the wire when it is compressed.

The year of the fixture is moved so that it ends today: else pages that show today or the last days would have nothing to do.
"""

import contextlib
import datetime
import gzip
import http.client
import re
import sqlite3
import time
import urllib.parse

FIRST_BYTE_MS, PAGE_KB = 300, 60
COLD, WARM = 5, 15
DAY_US = 86_400_000_000
# Usage is shown for a year at most.
YEAR = "from=-364d"
YEAR_OF_USAGE = f"from={datetime.date.today() - datetime.timedelta(days=364)}"


def end_today(database):
    """Moves what is recorded in a database by whole days, so that it ends within the last day."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        last = connection.execute("SELECT max(at_us) FROM record").fetchone()[0]
        by = (int(time.time() * 1e6) - last) // DAY_US * DAY_US
        connection.execute("UPDATE record SET at_us = at_us + ?, until_us = until_us + ?", (by, by))
        # In two steps: on the way, moved quarters must not meet those that were not moved yet.
        connection.execute("UPDATE usage SET quarter_us = -(quarter_us + ?)", (by,))
        connection.execute("UPDATE usage SET quarter_us = -quarter_us")


class Visit:
    """A browser as far as this needs one: it signs in by the form and keeps the cookie."""

    def __init__(self, url, name, password):
        self.url, self.cookie = url, None
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        form = urllib.parse.urlencode({"username": name, "password": password})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": url}
        self.connection.request("POST", "/sign-in", form, headers)
        answer = self.connection.getresponse()
        answer.read()
        assert answer.status == 303, f"signing in answered {answer.status}"
        self.cookie = answer.headers["Set-Cookie"].split(";")[0]

    def get(self, path):
        """Returns milliseconds until the answer began, its status, and its body."""
        began = time.perf_counter()
        self.connection.request("GET", path, headers={"Cookie": self.cookie, "Accept": "text/html"})
        answer = self.connection.getresponse()
        first = (time.perf_counter() - began) * 1000
        return first, answer.status, answer.read()

    def close(self):
        self.connection.close()


def measure_pages(gateway, admin, person, forget, p95, report):
    """`admin` and `person`: name and password; `forget` takes the record out of the system's memory."""
    user_id = gateway.user_id(person[0])
    rows = gateway.expect(200, "GET", f"/api/v1/audit?user_id={user_id}&kind=request&limit=5", token=gateway.admin_token).json["items"]
    request_id = next(row["request_id"] for row in rows if row.get("outcome") == "completed")
    for (name, password), paths in (
        (admin, pages_of_admins(user_id, request_id)),
        (person, pages_of_everybody(request_id)),
    ):
        with contextlib.closing(Visit(gateway.url, name, password)) as visit:
            for path in paths:
                measure_page(visit, path, forget, p95, report)


def measure_page(visit, path, forget, p95, report):
    shown = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "{id}", path).replace(YEAR, "year").replace(YEAR_OF_USAGE, "year")
    for state, count in (("cold", COLD), ("warm", WARM)):
        times = []
        for _ in range(count):
            if state == "cold":
                forget()
            first, status, body = visit.get(path)
            assert status == 200, f"{path} answered {status}"
            times.append(first)
        report.set(f"first_byte_{state}_ms {shown}", p95(times), "ms")
    if not path.startswith("/live/"):
        assets = re.findall(rb'(?:href|src)="(/assets/[^"]+\.(?:css|js))"', body)
        parts = [body, *(visit.get(asset.decode())[2] for asset in sorted(set(assets)))]
        assert len(parts) == 3, f"{path}: a style sheet and a script, not {assets}"
        report.set(f"page_kb {shown}", sum(len(gzip.compress(part)) for part in parts) / 1000, "kB")


def pages_of_admins(user_id, request_id):
    person = f"/admin/users/{user_id}"
    return [
        "/admin", "/admin/queue", "/admin/users", "/admin/users?search=person&status=active", "/admin/tokens",
        person, *(f"{person}/{tab}" for tab in ("limits", "tokens", "history", "reset", "export", "delete")),
        "/admin/record", "/admin/record?outcome=failed&model=qwen2.5:7b", "/admin/record?text=the", "/admin/record?text=zeppelinpost",
        f"/admin/record?user_id={user_id}", "/admin/record?outcome=completed&cursor=100000", f"/admin/record?{YEAR}",
        f"/admin/record/{request_id}",
        "/admin/usage", f"/admin/usage?{YEAR_OF_USAGE}", "/admin/usage?time=30d&by=model&story=week", f"/admin/usage?user_id={user_id}",
        "/admin/models",
        *(f"/admin/settings/{tab}" for tab in ("limits", "queue", "runaways", "sizes", "file", "check")),
        *(f"/live/{part}" for part in ("now", "queue", "today", "needs", "record?after=1")),
    ]


def pages_of_everybody(request_id):
    own = ["usage", "record", f"record/{request_id}", "export", "setup", "account", "tokens", "tokens/new"]
    return ["/me", *(f"/me/{page}" for page in own), f"/me/usage?{YEAR_OF_USAGE}", "/me/record?text=the", "/live/me"]


def goals_of_pages(report):
    for name in report.figures:
        if name.startswith("first_byte_"):
            yield name, ("<=", FIRST_BYTE_MS, None)
        elif name.startswith("page_kb "):
            yield name, ("<=", PAGE_KB, None)
