DROP TABLE notices_unsent;
DROP TABLE notices_told;
DROP TABLE notice_channels;
