-- The name of the delegating token by which a person came who waits for approval; NULL: they registered themselves.
ALTER TABLE users ADD COLUMN registered_by TEXT CHECK (length(registered_by) <= 100);
