ALTER TABLE record DROP COLUMN via_user_id;
ALTER TABLE tokens DROP COLUMN delegating;
