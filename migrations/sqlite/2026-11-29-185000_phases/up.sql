-- What the GPU time of a request was spent on, as its upstream told; NULL: not told, or written before these columns were.
ALTER TABLE record ADD COLUMN load_us BIGINT;
ALTER TABLE record ADD COLUMN prompt_us BIGINT;
ALTER TABLE record ADD COLUMN answer_us BIGINT;
