-- What the breaker had seen of a token when it paused it: so many requests in so many seconds, and the id of one of them.
ALTER TABLE tokens ADD COLUMN pause_count BIGINT;
ALTER TABLE tokens ADD COLUMN pause_seconds BIGINT;
ALTER TABLE tokens ADD COLUMN pause_example BLOB CHECK (length(pause_example) = 16);
