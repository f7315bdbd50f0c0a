ALTER TABLE record DROP COLUMN answer_us;
ALTER TABLE record DROP COLUMN prompt_us;
ALTER TABLE record DROP COLUMN load_us;
