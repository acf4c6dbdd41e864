-- Loads demo.scans: 1,797 handwritten digits, 8 x 8 pixels each, as PNG files in a bytea column.
-- Run by psql in the folder that holds demo/. Source and licence: demo/README.md.
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS demo;
RESET client_min_messages;
CREATE TABLE demo.scans (
    id bigint PRIMARY KEY,
    label text NOT NULL,
    image bytea NOT NULL
);
COMMENT ON TABLE demo.scans IS
    'Real handwritten digits: UCI Optical Recognition of Handwritten Digits, CC BY 4.0';
\copy demo.scans FROM PROGRAM 'gzip -dc demo/digits.tsv.gz'
ANALYZE demo.scans;
