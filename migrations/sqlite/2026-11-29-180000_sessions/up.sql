-- Sessions of the pages. Only the browser knows the id; here is its SHA-256.
CREATE TABLE sessions (
    id_sha256 BLOB PRIMARY KEY NOT NULL CHECK (length(id_sha256) = 32),
    user_id BIGINT NOT NULL,
    -- The account's version at the sign-in: a later password change or reset ends the session.
    version BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    -- The last page, in steps of a minute.
    seen_at_us BIGINT NOT NULL,
    -- Where it was opened, for its owner.
    address TEXT CHECK (length(address) <= 64),
    browser TEXT CHECK (length(browser) <= 256)
) WITHOUT ROWID;
