-- Where notices go (docs/notices.md). Secrets are sealed with the key in secrets/master.key.
CREATE TABLE notice_channels (
    -- AUTOINCREMENT: what is still to be sent to a channel that was removed must not reach the next one.
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    public_id TEXT NOT NULL UNIQUE CHECK (length(public_id) = 36),
    name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    kind TEXT NOT NULL CHECK (length(kind) <= 16),
    is_on BOOLEAN NOT NULL,
    -- Kinds of notices, with spaces between them.
    notices TEXT NOT NULL CHECK (length(notices) <= 400),
    -- For a webhook: scheme, host and port of its URL. For mail: the host of the server.
    place TEXT NOT NULL CHECK (length(place) <= 300),
    -- The URL of a webhook, sealed.
    url BLOB CHECK (length(url) <= 4096),
    -- The key that signs a webhook, or the password for the mail server, sealed.
    secret BLOB CHECK (length(secret) <= 4096),
    port BIGINT,
    tls TEXT CHECK (length(tls) <= 16),
    username TEXT CHECK (length(username) <= 300),
    sender TEXT CHECK (length(sender) <= 300),
    -- Addresses, with spaces between them.
    recipients TEXT CHECK (length(recipients) <= 4096),
    created_at_us BIGINT NOT NULL,
    delivered_at_us BIGINT,
    failed_at_us BIGINT,
    failure TEXT CHECK (length(failure) <= 1000)
);

-- What was told, so that it is not told again after a restart. The subject '' has the time of the last notice of its kind.
CREATE TABLE notices_told (
    kind TEXT NOT NULL CHECK (length(kind) <= 64),
    subject TEXT NOT NULL CHECK (length(subject) <= 300),
    at_us BIGINT NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;

-- Notices that a channel has not taken yet.
CREATE TABLE notices_unsent (
    notice_id TEXT NOT NULL CHECK (length(notice_id) <= 64),
    channel_id BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    body TEXT NOT NULL CHECK (length(body) <= 8192),
    PRIMARY KEY (notice_id, channel_id)
) WITHOUT ROWID;
