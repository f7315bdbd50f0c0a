ALTER TABLE users DROP COLUMN approved_by;
