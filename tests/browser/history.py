"""Two weeks of a small team, written into a gateway's record before it starts: what a page shows is then as in real life.

Accounts are made by the gateway; its rows are put into the file (its writer would stamp them with today), and its own followers
then sum up usage and index the words. Every run writes the same, but for the ids and the end of it, which is now.
"""

import contextlib
import hashlib
import hmac
import json
import random
import sqlite3
import time
import uuid

DAYS = 14
# So much more than `HABITS` say is asked.
BUSY = 2.5
DAY_US, HOUR_US, SECOND_US = 86_400_000_000, 3_600_000_000, 1_000_000
# Nothing is written of the last minute, which the requests of the script fill.
REST_US = 60 * SECOND_US

SMALL, CODER, LARGE = "llama3.2:latest", "qwen2.5-coder:14b", "gemma3:12b"

# Who, with which access token, asks which model how often a day, in which hours, about how many tokens, and about what.
HABITS = [
    ("jonas@example.org", "editor", CODER, 46, (8, 18), (1200, 320), "code"),
    ("priya@example.org", None, SMALL, 30, (9, 19), (140, 260), "text"),
    ("tomas@example.org", None, CODER, 18, (10, 17), (700, 240), "code"),
    ("wei@example.org", None, LARGE, 9, (9, 18), (1800, 420), "text"),
    ("fatima@example.org", None, LARGE, 6, (8, 16), (400, 300), "text"),
    ("maria@example.org", None, SMALL, 4, (9, 17), (120, 180), "text"),
    ("n8n@example.org", "mail triage", SMALL, 60, (0, 24), (320, 24), "mail"),
    ("ci@example.org", "nightly eval", CODER, 70, (1, 6), (900, 400), "code"),
]

ASKED = {
    "code": [
        ("Why does this test fail only on Mondays? The fixture takes the week from the clock.",
         "The fixture asks for the week's first day, and on a Monday that is today: the range is empty.\n\nPass the day in:\n\n"
         "    def week_of(day):\n        return day - timedelta(days=day.weekday())\n\nThen the test can name a day of its own."),
        ("Write a shell loop that retries a deploy three times and waits longer each time.",
         "for wait in 1 5 25; do\n    ./deploy.sh && break\n    sleep \"$wait\"\ndone\n\nThe last exit status is lost in this form; keep it "
         "if a later step depends on it."),
        ("Explain the difference between a mutex and a semaphore in three sentences.",
         "A mutex lets one thread in and belongs to the thread that took it. A semaphore counts: it lets so many in, and anyone may "
         "give a place back. Use the first to protect data, the second to limit how many work at once."),
        ("Rename the column `usr` to `person` in this migration without a table lock.",
         "Add the new column, write to both, copy in batches, move the readers, then drop the old one. A rename alone is quick, but "
         "every running query that names `usr` fails at once."),
    ],
    "text": [
        ("Make this paragraph shorter and keep the numbers: the pump ran for 41 hours at 3.2 bar before the valve began to leak.",
         "After 41 hours at 3.2 bar the valve began to leak."),
        ("Translate to German: The delivery arrives on Thursday between nine and noon.",
         "Die Lieferung kommt am Donnerstag zwischen neun und zwölf Uhr."),
        ("Which questions should I ask before we deploy a new model for the service desk?",
         "Who reads the answers, and what happens after a wrong one? How will you notice that it got worse? Which texts may it see? "
         "What is the way back? Ask them before the first deploy, and write the answers down."),
        ("Draft three subject lines for a mail about the moved maintenance window.",
         "1. Maintenance moved to Sunday, 06:00 to 08:00\n2. New time for Sunday's maintenance\n3. No sign-in on Sunday until 08:00"),
    ],
    "mail": [
        ("Sort this mail into one of: invoice, question, complaint, other. Mail: Where is my parcel from last week?", "question"),
        ("Sort this mail into one of: invoice, question, complaint, other. Mail: Please find attached our bill no. 2217.", "invoice"),
    ],
}
SPEED = {SMALL: 90, CODER: 34, LARGE: 28}
OUTCOMES = [("completed", None, 200, 95), ("abandoned", None, None, 3), ("failed", "upstream_error", 502, 1), ("failed", "upstream_timeout", 504, 1)]
REFUSED = [("rate_limit_exceeded", 429, 5), ("context_length_exceeded", 400, 1), ("model_not_found", 404, 2)]


def write(path, local_midnight_us, now_us):
    """Writes the weeks before `now_us` into the database of a gateway that does not run."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        History(database, random.Random(7)).write(local_midnight_us, now_us)


class History:
    def __init__(self, database, dice):
        self.database, self.dice = database, dice
        self.people = dict(database.execute("SELECT username, id FROM users WHERE username IS NOT NULL"))
        self.tokens = dict(database.execute("SELECT name, id FROM tokens"))
        self.log_id = database.execute("SELECT max(log_id) FROM record").fetchone()[0] or 0

    def write(self, midnight_us, now_us):
        begin = midnight_us - DAYS * DAY_US
        # What is there already is how the accounts were made.
        self.database.execute("UPDATE record SET at_us = ? + log_id * 60000000", (begin - 5 * DAY_US,))
        self.database.execute("UPDATE users SET created_at_us = ? + id * 60000000 WHERE status != 'pending'", (begin - 6 * DAY_US,))
        self.database.execute("UPDATE users SET approved_at_us = created_at_us + 600000000 WHERE approved_at_us IS NOT NULL")
        self.database.execute("UPDATE users SET created_at_us = ? + id * 900000000, registered_from = '192.168.1.' || (50 + id) WHERE status = 'pending'",
                              (midnight_us + 6 * HOUR_US,))
        self.database.execute("UPDATE tokens SET created_at_us = ? WHERE name != 'laptop'", (begin - 4 * DAY_US,))
        self.pause("nightly docs", midnight_us + 12 * HOUR_US + 4 * 60 * SECOND_US)
        for event in sorted(self.events(begin, now_us - REST_US)):
            at, write, *about = event[0], event[2], *event[3:]
            write(at, *about)

    def events(self, begin, end):
        """What happened: when, a number that sorts what happened at once, and what to write."""
        number = 0
        for day in range(DAYS + 1):
            midnight = begin + day * DAY_US
            weekday = time.gmtime(midnight / 1e6).tm_wday
            for habit in HABITS:
                works = habit[1] is not None or weekday < 5 or day == DAYS
                a_day = BUSY * habit[3] * (1 if works else 0.15) * self.dice.uniform(0.7, 1.3)
                for _ in range(int(a_day)):
                    first, last = habit[4]
                    at = midnight + int(self.dice.triangular(first, last) * HOUR_US)
                    number += 1
                    if at < end and self.dice.random() < 0.03 and habit[1] is None:
                        yield at, number, self.refusal, habit
                    elif at < end:
                        yield at, number, self.request, habit
            at = midnight + 12 * HOUR_US + 5 * 60 * SECOND_US
            if day == DAYS and at < end:
                yield at, 0, self.paused, HABITS[-1]

    def pause(self, name, at):
        self.database.execute(
            "UPDATE tokens SET suspended_at_us = ?, pause_reason = 'repeats', pause_count = 60, pause_seconds = 600 WHERE name = ?",
            (at, name))

    def paused(self, at, habit):
        self.row("refusal", at, user_id=self.people[habit[0]], token_id=self.tokens["nightly docs"], credential="token",
                 api="/v1/chat/completions", model_asked=habit[2], outcome="refused", reason="token_paused", status=403, repeat=28,
                 until_us=at + 20 * 60 * SECOND_US)

    def refusal(self, at, habit):
        reason, status, _ = self.dice.choices(REFUSED, [weight for *_, weight in REFUSED])[0]
        repeat = self.dice.randint(1, 4)
        self.row("refusal", at, **self.who(habit), outcome="refused", reason=reason, status=status, repeat=repeat,
                 until_us=at + 8 * SECOND_US if repeat > 1 else None)

    def request(self, at, habit):
        name, _, model, *_ = habit
        asked, answer = self.dice.choice(ASKED[habit[6]])
        prompt, written = (max(8, int(self.dice.lognormvariate(0, 0.5) * count)) for count in habit[5])
        outcome, reason, status, _ = self.dice.choices(OUTCOMES, [weight for *_, weight in OUTCOMES])[0]
        queued = int(self.dice.expovariate(1 / 2.5) * SECOND_US) if self.dice.random() < 0.45 else 2000
        read = int(prompt / 900 * SECOND_US) + 60_000
        answered = int(written / SPEED[model] * SECOND_US)
        if outcome != "completed":
            written, answered = written // 5, answered // 5
        salt = self.dice.randbytes(32)
        body = json.dumps({
            "model": model, "stream": True, "options": {"num_predict": 8192}, "truncate": False, "messages": [
                {"role": "system", "content": "Answer in plain words."}, {"role": "user", "content": asked}],
        }).encode()
        failed = outcome == "failed"
        text = b"" if failed else answer.encode() if outcome == "completed" else answer.encode()[: len(answer) // 4]
        who = self.who(habit)
        request_id = self.request_id(at)
        intent = self.row("intent", at, request_id=request_id, provider="ollama", attempt=1, commitment=commitment(salt, (1, body)), **who)
        address = f"192.168.1.{20 + self.people[name]}"
        self.parts(intent, 0, ("request", body), ("origin", salt + address.encode()))
        self.row("result", at + queued + read + answered, request_id=request_id, intent_id=intent, provider="ollama", attempt=1,
                 host="local", model_served=model, outcome=outcome, reason=reason, status=status, prompt_tokens=prompt,
                 answer_tokens=None if failed else written, queued_us=queued, first_token_us=None if failed else queued + read,
                 total_us=queued + read + answered + 3000, gpu_us=read + answered, load_us=8000, prompt_us=read, answer_us=answered,
                 commitment=commitment(salt, *[(2, text)] * bool(text), (6, address.encode())), **who)
        if text:
            self.parts(intent, 2, ("answer", text))

    def who(self, habit):
        name, token, model, *_ = habit
        token_id = self.tokens[token] if token else None
        return {"user_id": self.people[name], "token_id": token_id, "credential": "token" if token else "jwt",
                "api": "/v1/chat/completions", "model_asked": model}

    def request_id(self, at):
        millis = at // 1000
        random_bits = int.from_bytes(self.dice.randbytes(10), "big")
        value = (millis << 80) | random_bits
        value = value & ~(0xF << 76) | (7 << 76)
        return uuid.UUID(int=value & ~(0x3 << 62) | (2 << 62)).bytes

    def row(self, kind, at, request_id=None, **columns):
        self.log_id += 1
        columns |= {"log_id": self.log_id, "kind": kind, "at_us": int(at), "request_id": request_id or self.request_id(int(at))}
        names = ", ".join(columns)
        self.database.execute(f"INSERT INTO record ({names}) VALUES ({', '.join('?' * len(columns))})", list(columns.values()))
        return self.log_id

    def parts(self, log_id, first, *contents):
        self.database.executemany(
            "INSERT INTO record_part (log_id, part, kind, encoding, body) VALUES (?, ?, ?, 0, ?)",
            [(log_id, number, kind, body) for number, (kind, body) in enumerate(contents, first)])


def commitment(salt, *contents):
    mac = hmac.new(salt, b"\x02", hashlib.sha256)
    for kind, body in contents:
        mac.update(bytes([kind]) + len(body).to_bytes(8, "big") + body)
    return mac.digest()
