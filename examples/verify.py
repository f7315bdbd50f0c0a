"""Verifies a record of lan-gateway; docs/chain.md has the format. It only reads, and needs the package `cryptography`.
Exit codes: 0 all of it is as it was written, 1 something is not, 2 it can't be read."""
import argparse, base64, hashlib, hmac, os, re, sqlite3, struct, sys, urllib.parse
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
ROWS = """SELECT log_id, kind, at_us, request_id, intent_id, user_id, via_user_id, token_id, act, subject_id, credential, api, provider,
    host, attempt, model_asked, model_served, outcome, reason, status, prompt_tokens, answer_tokens, queued_us, first_token_us,
    total_us, gpu_us, until_us, repeat, load_us, prompt_us, answer_us, commitment FROM record WHERE log_id BETWEEN ? AND ?"""
KINDS = ["request", "answer", "reasoning", "tool_calls", "notes", "address", "settings", "cut", "detail"]
COVERED = {"intent": KINDS[:1], "result": KINDS[1:8], "refusal": ["address"], "act": ["detail"]}
PARTS = "SELECT CASE encoding WHEN 0 THEN kind END, CAST(body AS BLOB) FROM record_part WHERE log_id = ? ORDER BY part"
PLACED = """SELECT CAST(u.offset AS INTEGER), CAST(body AS BLOB), CAST(sha256 AS BLOB) FROM record_image_use u LEFT JOIN record_image i
    ON i.id = image_id AND user_id = ? WHERE log_id = ? ORDER BY u.offset"""
ACTS = """SELECT log_id, subject_id, json_extract(said, '$.to_log_id'), json_extract(said, '$.public_key'), CAST(coalesce(json_extract(
    said, '$.made_after_log_id'), 0) AS INTEGER) FROM (SELECT act, log_id, subject_id, coalesce(CAST(body AS TEXT), '{}') said FROM record
    LEFT JOIN record_part USING (log_id)) WHERE act = ? AND json_valid(said) AND log_id <= (SELECT max(log_id) FROM chain) ORDER BY 1"""
LINKS = """SELECT log_id, CAST(first_log_id AS INTEGER), CAST(leaves AS BLOB), CAST(head AS BLOB) FROM chain ORDER BY log_id"""
STRAYS = """SELECT 'row ' || log_id FROM (SELECT log_id FROM record WHERE log_id <= ?1) UNION ALL SELECT 'row ' || log_id FROM (SELECT
    log_id FROM record_part EXCEPT SELECT log_id FROM record WHERE kind <> 'result' EXCEPT SELECT intent_id FROM record WHERE intent_id
    <= ?2 UNION SELECT * FROM (SELECT log_id FROM record_image_use EXCEPT SELECT log_id FROM record_part WHERE kind = 'request')) UNION
    ALL SELECT 'image ' || id FROM record_image WHERE id NOT IN (SELECT image_id FROM record_image_use) AND user_id NOT IN (SELECT
    coalesce(subject_id, 0) FROM record WHERE act = 'user_deleted' AND log_id <= ?3)"""
TIP = """SELECT * FROM (SELECT CAST(coalesce(max(origin), '') AS TEXT), CAST(coalesce(max(older_to), 0) AS INTEGER), CAST(max(note) AS TEXT)
    FROM chain_tip) WHERE 32 = (SELECT count(*) FROM pragma_table_info('record'))"""
FILE = """SELECT 'SQLite finds damage: ' || quick_check FROM pragma_quick_check(1) WHERE quick_check <> 'ok' UNION ALL
    SELECT 'it has a ' || type || ', which no gateway makes' FROM sqlite_master WHERE type IN ('trigger', 'view')"""
ENDS = """SELECT max(log_id), (SELECT max(seq) FROM sqlite_sequence WHERE name = 'record'), total(log_id > ?1), (SELECT
    max(at_us) - min(at_us) FROM record WHERE log_id > ?2) FROM record"""
NOTE = re.compile(r"^(lan-gateway/record/([0-9a-f]{32})\n(0|[1-9]\d{0,17})\n([!-~]{44})\nolder-to (0|[1-9]\d{0,17})\n"
                  r"time [!-~]{20}\nkey ([!-~]{44})\n)\n— lan-gateway ([!-~]{92})\n", re.ASCII | re.MULTILINE)
UNSIGNED, CHANGED = "its signature is wrong", "its contents are not as they were written"
ERASED = "its contents are missing, and no receipt says that they were erased"
SHOWN_MAX, BEHIND_US_MAX, NOTES_BYTES_MAX, number = 20, 60_000_000, 64 << 20, struct.Struct(">q").pack

def column(value):
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    # No gateway writes a number with a fraction: what that gives is the hash of no row.
    return (b"\0" if value is None else b"\1" + number(value) if isinstance(value, int) else b"\4" if isinstance(value, float) else
            (b"\2" if isinstance(value, str) else b"\3") + number(len(data)) + data)

def read_notes(path):
    # The checkpoints of a file with their rows, and as row 0 whatever else is in it.
    with open(path, "rb") if path != "-" else sys.stdin.buffer as file:
        text = file.read(NOTES_BYTES_MAX).decode("utf-8", "replace")
    return [(int(note[3]), note[0]) for note in NOTE.finditer(text)] + [(0, rest) for rest in [NOTE.sub("", text).lstrip()] if rest]

def read_signed(text):
    # The parts of a checkpoint, and its head; nothing if its signature is wrong.
    try:
        note = NOTE.fullmatch(text or "")
        head, key, signature = (base64.b64decode(note[group] if note else "", validate=True) for group in (4, 6, 7))
        signature = signature.removeprefix(hashlib.sha256(b"lan-gateway\n\1" + key).digest()[:4])
        Ed25519PublicKey.from_public_bytes(key).verify(signature, note[1].encode())
        return note, head
    except Exception:  # of several kinds
        return None, None

class Verifier:
    def __init__(self, say):
        self.say, self.found = say, 0
    def tell(self, place, fault):
        self.found += bool(fault)
        if fault and self.found <= SHOWN_MAX:
            self.say(f"{place}: {fault}")
    def verify(self, path, outside):
        file, beside = os.path.join(path, "lan-gateway.db") if os.path.isdir(path) else path, os.path.join(path, "checkpoints.txt")
        # A checkpoint is in the table before it is in this file, so the file is read first.
        beside = read_notes(beside) if os.path.exists(beside) else []
        how = "mode=ro" if os.path.exists(file + "-wal") else "immutable=1"
        db = sqlite3.connect(f"file:{urllib.parse.quote(os.path.abspath(file))}?{how}", uri=True, isolation_level=None)
        db.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        self.all = lambda query, *values: db.execute(query, values)
        self.all("BEGIN")
        [(self.origin, self.older_to, self.tip)] = self.all(TIP)
        for fault, in self.all(FILE):
            self.tell("file", fault)
        self.deleted = {person: act for act, person, *_ in self.all(ACTS, "user_deleted")}
        self.keys = [(after, key) for *_, key, after in self.all(ACTS, "checkpoint_key_made") if key]
        if note := read_signed(self.tip)[0]:
            self.keys = self.keys or [(0, note[6])]
            self.tell("tip", "it is of another record" if int(note[5]) != self.older_to else None)
        # An act allows nothing to be missing that was written after it.
        self.expired_to, self.removed_to = (max(0, 0, *(min(to, act - 1) for act, _, to, *_ in self.all(ACTS, name) if isinstance(to, int)))
                                            for name in ("contents_expired", "rows_removed"))
        self.check_links()
        for place, in self.all(STRAYS, self.bare_to, self.removed_to, self.end):
            self.tell(place, "nothing covers it, or its contents")
        [(newest, written, later, span)] = self.all(ENDS, self.end, max(self.end, self.older_to if self.links else 0))
        self.tell("tip", f"rows up to {written} were written, and those up to {newest} are there" if newest != written else
                  f"the chain ends at row {self.end}, more than a minute before row {newest}" if (span or 0) > BEHIND_US_MAX else None)
        self.tell("tip", self.note_fault(self.tip, self.end) if self.tip or self.links else None)
        for log_id, note in (kept := list(self.all("SELECT log_id, CAST(note AS TEXT) FROM checkpoints ORDER BY log_id"))) + outside:
            self.tell(f"checkpoint {log_id}", self.note_fault(note, log_id))
        for log_id, note in sorted(set(beside) - set(kept)):
            if (fault := log_id and self.note_fault(note, log_id)) == UNSIGNED or log_id >= self.begin and self.origin in note:
                self.tell(f"checkpoint {log_id}", fault or "checkpoints.txt has it, and the database does not")
            elif log_id == 0 and not any(whole.startswith(note) for _, whole in kept):
                self.tell("file", "checkpoints.txt has something that is no checkpoint")
        self.say(f"rows up to {newest}, {self.links} links, {len(kept)} checkpoints, {later:.0f} rows not in the chain yet")
    def check_links(self):
        [(self.begin,)], self.links, before = self.all("SELECT coalesce(min(CAST(first_log_id AS INTEGER)), 1) FROM chain"), 0, bytes(32)
        self.end, self.bare_to, gone, late = min(self.begin - 1, self.removed_to), self.begin - 1, None, []
        for last, first, leaves, head in self.all(LINKS):
            made = hashlib.sha256(b"\1" + before + number(first) + number(last) + leaves).digest()
            if not (is_whole := len(leaves) == 32 * (last - first + 1)) or first != self.end + 1:
                self.tell(f"link {last}", f"it does not have a hash for each row from {self.end + 1} on")
            elif made != head and self.links == 0 and last <= self.removed_to:
                self.bare_to, is_whole = last, False  # After rows were removed, the oldest link is there for its head alone.
            elif made != head:
                self.tell(f"link {last}", "its head is not that of its rows and of the link before")
            self.end, self.links, before, rows = last, self.links + 1, head, {row[0]: row for row in self.all(ROWS, first, last)}
            for log_id, leaf in ((first + at // 32, leaves[at:at + 32]) for at in range(0, len(leaves) if is_whole else 0, 32)):
                if log_id in rows:
                    fault = self.row_fault(rows[log_id], leaf)
                    late.append(log_id) if fault == ERASED else self.tell(f"row {log_id}", fault)
                elif leaf != bytes(32) and log_id > self.removed_to:
                    self.tell(f"row {log_id}", "it is missing, and no receipt says that it was removed" if gone != log_id - 1 else None)
                    gone = log_id
        # Without one receipt the contents of many are missing, so these come last.
        for log_id in late:
            self.tell(f"row {log_id}", ERASED)
    def row_fault(self, row, leaf):
        log_id, kind, person, commitment, is_old = row[0], row[1], row[5], row[-1], row[0] <= self.older_to
        if hashlib.sha256(b"\0\1" + b"".join(map(column, row))).digest() != leaf:
            return "it is not as it was written"
        home, parts = row[4] if kind == "result" else log_id, {}
        for part, body in self.all(PARTS, home):
            part = part if part in KINDS[1:5] or part not in parts else None  # Others are written in one piece.
            parts[part] = parts.get(part, b"") + body
        if not parts and (commitment or kind in ("intent", "result")):
            return None if kind != "act" and log_id <= max(self.expired_to, self.deleted.get(person, 0)) else ERASED
        for offset, image, digest in self.all(PLACED, person, home) if kind == "intent" else []:
            if not image or offset < 0 or hashlib.sha256(image).digest() != digest:
                return CHANGED
            parts["request"] = (request := parts.get("request", b""))[:offset] + base64.b64encode(image) + request[offset:]
        origin = parts.pop("origin", bytes(32))
        if parts.keys() - set({"refusal": [], "act": ["detail"]}.get(kind, KINDS[:5] + KINDS[6:8]) + ["address"] * is_old):
            return "it has contents that nothing covers"
        parts |= {"address": origin[32:]} if origin[32:] else {}
        covered = [part for part in COVERED[kind] if (commitment and part in KINDS[:4] if is_old else part in parts)]
        said = b"".join(bytes([KINDS.index(part) + 1]) + column(parts.get(part, b""))[1:] for part in covered)
        made = hmac.digest(origin[:32], (b"\1" if is_old else b"\2") + said, "sha256") if covered else None
        return None if made == commitment else CHANGED
    def note_fault(self, text, at):
        note, head = read_signed(text)
        if not note:
            return UNSIGNED
        key = [note[6], *(made for after, made in self.keys if after < at)][-1]
        link = [*self.all("SELECT CAST(head AS BLOB) FROM chain WHERE log_id = ?", at)]
        return ("it is of another record" if (note[2], int(note[5])) != (self.origin, self.older_to) else
                f"it is about row {note[3]}, and not about row {at}" if int(note[3]) != at else
                f"it is signed with another key, as before a restore: {note[6]}" if key != note[6] else
                f"the chain ends at row {self.end}: this copy is older, or its end was cut off" if at > self.end else
                "the chain has another head there" if link != [(head,)] and (link or at > self.removed_to) else None)

def main(path, checkpoint, say=print):
    verifier = Verifier(say)
    try:
        outside = read_notes(checkpoint) if checkpoint else []
        if checkpoint and 0 in dict(outside or [(0, "")]):
            raise ValueError(f"{checkpoint} is empty, or has something that is no checkpoint")
        verifier.verify(path, outside)
    except Exception as cause:  # of many kinds: the file may have anything in it
        return say(f"it can't be read in the form that this program knows: {cause}") or min(verifier.found, 1) or 2
    return say(f"bad: {verifier.found} faults" if verifier.found else "good: all of it is as it was written") or min(verifier.found, 1)
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", metavar="FOLDER_OR_DATABASE")
    parser.add_argument("--checkpoint", metavar="FILE", help="checkpoints that were kept elsewhere; -: standard input")
    sys.exit(main(**vars(parser.parse_args())))
