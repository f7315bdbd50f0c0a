DROP TABLE chain_tip;
DROP TABLE checkpoints;
DROP TABLE chain;
