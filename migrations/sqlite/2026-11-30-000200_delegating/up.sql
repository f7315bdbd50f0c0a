-- A delegating token brings requests of other people than its owner.
ALTER TABLE tokens ADD COLUMN delegating BOOLEAN NOT NULL DEFAULT FALSE;
-- The owner of the delegating token that a request came by; NULL: it came by its own person's credential.
ALTER TABLE record ADD COLUMN via_user_id BIGINT;
