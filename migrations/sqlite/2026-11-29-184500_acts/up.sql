-- Acts about a user, and acts of one kind: few among many rows, so each has an index of its own that requests don't pay for.
CREATE INDEX record_subject ON record (subject_id, log_id) WHERE subject_id IS NOT NULL;
CREATE INDEX record_act ON record (act, log_id) WHERE act IS NOT NULL;
