DROP INDEX record_act;
DROP INDEX record_subject;
