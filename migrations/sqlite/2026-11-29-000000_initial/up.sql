-- This file is frozen since version 0.2.0: databases were made with it. A later change is a migration of its own.
--
-- Times are microseconds since the Unix epoch, UTC. CHECK tests types and lengths, never lists of words: changing one would
-- rebuild a table of a million rows.

CREATE TABLE users (
    -- AUTOINCREMENT: the id of a deleted user is never given to the next one.
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    -- The only id that leaves the process.
    public_id TEXT NOT NULL UNIQUE CHECK (length(public_id) = 36),
    -- A parsed e-mail address or `admin`; NULL on the tombstone of a deleted user.
    username TEXT CHECK (length(username) <= 254),
    role TEXT NOT NULL CHECK (length(role) <= 16),
    status TEXT NOT NULL CHECK (length(status) <= 16),
    -- A PHC string; NULL: this user can't sign in with a password.
    password_hash TEXT CHECK (length(password_hash) <= 256),
    -- Raised to end every JWT and session of this user.
    version BIGINT NOT NULL DEFAULT 1,
    -- Until it is changed, this password only allows changing it.
    must_change BOOLEAN NOT NULL DEFAULT FALSE,
    -- Until when a reset password is accepted; NULL: no end.
    reset_until_us BIGINT,
    requests_per_minute BIGINT,
    -- Quotas; NULL: those of the settings.
    tokens_per_minute BIGINT,
    requests_per_day BIGINT,
    tokens_per_day BIGINT,
    gpu_seconds_per_day BIGINT,
    answer_tokens_max BIGINT,
    context_tokens_max BIGINT,
    -- Names separated by spaces; NULL: all.
    models TEXT CHECK (length(models) <= 20000),
    note TEXT CHECK (length(note) <= 1000),
    -- Queue weight: a higher one gets more GPU time while others wait.
    weight BIGINT NOT NULL DEFAULT 1,
    -- interactive or batch
    class TEXT NOT NULL DEFAULT 'interactive' CHECK (length(class) <= 16),
    -- The network that a registration came from, while it waits for approval: an IPv4 address or an IPv6 /64.
    registered_from TEXT CHECK (length(registered_from) <= 64),
    created_at_us BIGINT NOT NULL,
    approved_at_us BIGINT,
    deleted_at_us BIGINT
);
CREATE UNIQUE INDEX users_username ON users (username) WHERE username IS NOT NULL;
CREATE INDEX users_pending ON users (registered_from) WHERE status = 'pending';

-- Tokens of machines. Of a secret only the SHA-256 is kept. Lists are words separated by spaces; NULL: no limit.
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    -- A part of the token itself, and its id in the API.
    public_id TEXT NOT NULL UNIQUE CHECK (length(public_id) = 10),
    user_id BIGINT NOT NULL,
    -- NULL on the tombstone of a deleted user's token.
    name TEXT CHECK (length(name) <= 100),
    scopes TEXT NOT NULL CHECK (length(scopes) <= 256),
    models TEXT CHECK (length(models) <= 20000),
    networks TEXT CHECK (length(networks) <= 2000),
    requests_per_minute BIGINT,
    -- Quotas besides the owner's; NULL: none.
    tokens_per_minute BIGINT,
    requests_per_day BIGINT,
    tokens_per_day BIGINT,
    gpu_seconds_per_day BIGINT,
    answer_tokens_max BIGINT,
    context_tokens_max BIGINT,
    -- interactive or batch; NULL: the owner's.
    class TEXT CHECK (length(class) <= 16),
    secret_sha256 BLOB NOT NULL CHECK (length(secret_sha256) = 32),
    -- The secret before the last rotation, and until when it is still accepted.
    old_secret_sha256 BLOB CHECK (length(old_secret_sha256) = 32),
    old_until_us BIGINT,
    created_at_us BIGINT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    -- Written at most every five minutes.
    last_used_at_us BIGINT,
    suspended_at_us BIGINT,
    -- Why the breaker paused it: repeats or errors; NULL: suspended with its owner.
    pause_reason TEXT CHECK (length(pause_reason) <= 16),
    revoked_at_us BIGINT
);
CREATE INDEX tokens_user ON tokens (user_id, id);

-- The record: INSERT only. An intent is a request that is about to be forwarded; its result is a row of its own.
-- diesel builds tables of up to 32 columns, and a wider row costs every request. So what only some rows have (a cost, a link
-- of the hash chain) goes into a side table keyed by log_id.
CREATE TABLE record (
    log_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    -- intent, result, refusal or act
    kind TEXT NOT NULL CHECK (length(kind) <= 8),
    at_us BIGINT NOT NULL,
    request_id BLOB NOT NULL CHECK (length(request_id) = 16),
    -- On a result: the row of its intent.
    intent_id BIGINT,
    -- The user whose request it is. No foreign key: the record outlives the account.
    user_id BIGINT,
    token_id BIGINT,
    -- On an act: what was done, and to whom.
    act TEXT CHECK (length(act) <= 64),
    subject_id BIGINT,
    credential TEXT CHECK (length(credential) <= 16),
    api TEXT CHECK (length(api) <= 64),
    provider TEXT CHECK (length(provider) <= 32),
    host TEXT CHECK (length(host) <= 64),
    attempt BIGINT,
    model_asked TEXT CHECK (length(model_asked) <= 256),
    model_served TEXT CHECK (length(model_served) <= 256),
    outcome TEXT CHECK (length(outcome) <= 16),
    reason TEXT CHECK (length(reason) <= 64),
    status BIGINT,
    prompt_tokens BIGINT,
    answer_tokens BIGINT,
    queued_us BIGINT,
    first_token_us BIGINT,
    total_us BIGINT,
    gpu_us BIGINT,
    -- On a refusal: how many more of its kind, and until when.
    until_us BIGINT,
    repeat BIGINT,
    -- HMAC-SHA-256 under the request's salt over its contents.
    commitment BLOB CHECK (length(commitment) = 32)
);
CREATE INDEX record_user ON record (user_id, log_id);

-- Contents, in the order of arrival, so rows of different requests are mixed. Inserting an answer beside its prompt would split
-- pages that were just filled. The index, which is small, finds the parts of one request.
CREATE TABLE record_part (
    id INTEGER PRIMARY KEY NOT NULL,
    -- That of the intent, for all parts of a request.
    log_id BIGINT NOT NULL,
    part BIGINT NOT NULL,
    -- request, answer, reasoning, tool_calls, notes, detail, address (of refusals), origin (of intents: a salt of 32 bytes,
    -- then the address)
    kind TEXT NOT NULL CHECK (length(kind) <= 16),
    -- 0: plain
    encoding BIGINT NOT NULL DEFAULT 0,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX record_part_place ON record_part (log_id, part);

-- Images are kept once per user and put back into part 0 at `offset`, byte for byte.
CREATE TABLE record_image (
    id INTEGER PRIMARY KEY NOT NULL,
    user_id BIGINT NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    body BLOB NOT NULL,
    UNIQUE (user_id, sha256)
);
CREATE TABLE record_image_use (
    id INTEGER PRIMARY KEY NOT NULL,
    log_id BIGINT NOT NULL,
    "offset" BIGINT NOT NULL,
    image_id BIGINT NOT NULL,
    UNIQUE (log_id, "offset")
);
CREATE INDEX record_image_use_image ON record_image_use (image_id);

-- How far each follower of the record is: everything up to and including log_id is done.
CREATE TABLE watermark (
    name TEXT PRIMARY KEY NOT NULL CHECK (length(name) <= 32),
    log_id BIGINT NOT NULL
);

-- Exports of the record. Only the reader of the last line knows the receipt.
CREATE TABLE exports (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    public_id TEXT NOT NULL UNIQUE CHECK (length(public_id) = 36),
    -- NULL: on the host's own command line.
    by_user_id BIGINT,
    -- The user whose record it is; NULL: everybody's.
    user_id BIGINT,
    -- As JSON, without the text that was searched for; NULL: the whole record of a user.
    filter TEXT CHECK (length(filter) <= 4000),
    format TEXT NOT NULL CHECK (length(format) <= 8),
    created_at_us BIGINT NOT NULL,
    finished_at_us BIGINT,
    -- The last row of the record that was read.
    upto_log_id BIGINT,
    lines BIGINT,
    sha256 BLOB CHECK (length(sha256) = 32),
    -- SHA-256 of the receipt's code.
    receipt BLOB CHECK (length(receipt) = 32)
);

-- Deleted users whose contents are still being erased, and how far that is done.
CREATE TABLE erasure (
    user_id INTEGER PRIMARY KEY NOT NULL,
    log_id BIGINT NOT NULL DEFAULT 0
);

-- Usage per UTC quarter of an hour, so that the day of every time zone can be summed up. A follower of the record writes it.
-- 0 means no user or no token, '' no model.
CREATE TABLE usage (
    quarter_us BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    token_id BIGINT NOT NULL,
    model TEXT NOT NULL CHECK (length(model) <= 256),
    requests BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    answer_tokens BIGINT NOT NULL,
    gpu_us BIGINT NOT NULL,
    total_us BIGINT NOT NULL,
    PRIMARY KEY (quarter_us, user_id, token_id, model)
) WITHOUT ROWID;

-- Settings that an admin has changed from those of the configuration file. A setting that was reset has no row.
CREATE TABLE settings (
    name TEXT PRIMARY KEY NOT NULL CHECK (length(name) <= 64),
    value BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL,
    -- NULL: on the host's own command line.
    changed_by BIGINT
);

-- The index for searching the record. A follower writes it; rowid is the log_id of a result, refusal or act. Texts are kept in
-- record_part alone. A removed word is marked as removed, and leaves the file when the index is merged into one segment.
CREATE VIRTUAL TABLE record_words USING fts5(marks, said, content='', columnsize=0, tokenize='unicode61 remove_diacritics 2');
