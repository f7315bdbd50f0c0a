ALTER TABLE tokens DROP COLUMN pause_example;
ALTER TABLE tokens DROP COLUMN pause_seconds;
ALTER TABLE tokens DROP COLUMN pause_count;
