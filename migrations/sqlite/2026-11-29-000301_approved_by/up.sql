-- Who approved an account. NULL with a time of approval: somebody on the host.
ALTER TABLE users ADD COLUMN approved_by BIGINT;
UPDATE users SET approved_by = acts.user_id
FROM (SELECT subject_id, user_id, max(log_id) FROM record WHERE act = 'user_approved' GROUP BY subject_id) AS acts
WHERE acts.subject_id = users.id;
