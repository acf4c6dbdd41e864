-- Codes of rows and of images, and how unlike the usual they are.

CREATE FUNCTION teller.encode(features real[], model regclass) RETURNS real[]
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 5000
    AS 'MODULE_PATHNAME', 'encode_features_wrapper';
COMMENT ON FUNCTION teller.encode(real[], regclass) IS
    'The code of a row of numbers by an autoencoder: a few numbers that tell the row';

CREATE FUNCTION teller.encode(image bytea, model regclass) RETURNS real[]
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10000
    AS 'MODULE_PATHNAME', 'encode_image_wrapper';
COMMENT ON FUNCTION teller.encode(bytea, regclass) IS
    'The code of an image by an autoencoder: a few numbers that tell the image';

CREATE FUNCTION teller.decode(latent real[], model regclass) RETURNS real[]
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 5000
    AS 'MODULE_PATHNAME', 'decode_wrapper';
COMMENT ON FUNCTION teller.decode(real[], regclass) IS
    'The row of numbers that a code tells; of an image its values from 0 to 1, row by row';

CREATE FUNCTION teller.reconstruct(features real[], model regclass) RETURNS real[]
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10000
    AS 'MODULE_PATHNAME', 'reconstruct_features_wrapper';
COMMENT ON FUNCTION teller.reconstruct(real[], regclass) IS
    'The row of numbers that a row''s code tells';

CREATE FUNCTION teller.reconstruct(image bytea, model regclass) RETURNS bytea
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 15000
    AS 'MODULE_PATHNAME', 'reconstruct_image_wrapper';
COMMENT ON FUNCTION teller.reconstruct(bytea, regclass) IS
    'The image that an image''s code tells, as a PNG';

CREATE FUNCTION teller.anomaly_score(features real[], model regclass) RETURNS real
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10000
    AS 'MODULE_PATHNAME', 'anomaly_score_features_wrapper';
COMMENT ON FUNCTION teller.anomaly_score(real[], regclass) IS
    'How unlike the training rows a row is: the share of them that the autoencoder tells better, 0 to 1';

CREATE FUNCTION teller.anomaly_score(image bytea, model regclass) RETURNS real
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 15000
    AS 'MODULE_PATHNAME', 'anomaly_score_image_wrapper';
COMMENT ON FUNCTION teller.anomaly_score(bytea, regclass) IS
    'How unlike the training images an image is: the share of them that the autoencoder tells better, 0 to 1';

CREATE FUNCTION teller.interpolate(a real[], b real[], steps int, model regclass)
    RETURNS SETOF real[]
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 50000 ROWS 10
    AS 'MODULE_PATHNAME', 'interpolate_features_wrapper';
COMMENT ON FUNCTION teller.interpolate(real[], real[], int, regclass) IS
    'Rows of numbers from one to another, evenly by their codes';

CREATE FUNCTION teller.interpolate(a bytea, b bytea, steps int, model regclass)
    RETURNS SETOF bytea
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 50000 ROWS 10
    AS 'MODULE_PATHNAME', 'interpolate_images_wrapper';
COMMENT ON FUNCTION teller.interpolate(bytea, bytea, int, regclass) IS
    'PNGs from one image to another, evenly by their codes';
