DROP TABLE erasure;
DROP TABLE exports;
DROP TABLE watermark;
DROP TABLE record_image_use;
DROP TABLE record_image;
DROP TABLE record_part;
DROP TABLE record;
DROP TABLE users;
