-- The chain of the record (docs/chain.md). A follower of the record writes it, some rows at a time.
CREATE TABLE chain (
    -- The last row of the record in this link.
    log_id INTEGER PRIMARY KEY NOT NULL,
    first_log_id BIGINT NOT NULL,
    -- 32 bytes for each number from first_log_id to log_id: the hash of the row that has it, or zeros if none had it.
    leaves BLOB NOT NULL CHECK (length(leaves) = 32 * (log_id - first_log_id + 1)),
    -- SHA-256 of the head of the link before and of this link.
    head BLOB NOT NULL CHECK (length(head) = 32)
);

-- Signed heads, one about every hour.
CREATE TABLE checkpoints (
    log_id INTEGER PRIMARY KEY NOT NULL,
    at_us BIGINT NOT NULL,
    -- The whole text of the signed note.
    note TEXT NOT NULL CHECK (length(note) <= 1024)
);
CREATE TABLE chain_tip (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    -- Random, made once: the record that checkpoints belong to. It stays when a backup is restored elsewhere.
    origin TEXT NOT NULL CHECK (length(origin) = 32),
    -- Rows up to this one were written before there was a chain; their commitments cover less.
    older_to BIGINT NOT NULL,
    -- The signed note about the newest link; NULL before the first one.
    note TEXT CHECK (length(note) <= 1024)
);
INSERT INTO chain_tip (id, origin, older_to)
SELECT 1, lower(hex(randomblob(16))), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'record'), 0);
