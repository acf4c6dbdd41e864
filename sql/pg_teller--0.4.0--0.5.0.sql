-- From 0.4.0 to 0.5.0.

COMMENT ON FUNCTION teller.explain_recommendation(bigint, bigint, regclass) IS
    'What the score of an item for a user is made of: contributions that add up to it, or probabilities of paths';
COMMENT ON FUNCTION teller.explain_recommendation(text, text, regclass) IS
    'What the score of an item for a user is made of: contributions that add up to it, or probabilities of paths';

-- Classifying texts.

CREATE FUNCTION teller.classify_text(text text, model regclass) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 20000
    AS 'MODULE_PATHNAME', 'classify_text_wrapper';
COMMENT ON FUNCTION teller.classify_text(text, regclass) IS
    'The most probable label of a text';

CREATE FUNCTION teller.text_probabilities(text text, model regclass)
    RETURNS TABLE(label text, probability real)
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 20000 ROWS 10
    AS 'MODULE_PATHNAME', 'text_probabilities_wrapper';
COMMENT ON FUNCTION teller.text_probabilities(text, regclass) IS
    'All labels of a model with their probabilities for a text, the most probable first';

CREATE FUNCTION teller.text_embedding(text text, model regclass) RETURNS real[]
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 20000
    AS 'MODULE_PATHNAME', 'text_embedding_wrapper';
COMMENT ON FUNCTION teller.text_embedding(text, regclass) IS
    'What a recurrent network knows of a text before it decides: near for texts that mean the same to it';

CREATE FUNCTION teller.explain_text(text text, model regclass)
    RETURNS TABLE(token text, contribution real)
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 200000 ROWS 20
    AS 'MODULE_PATHNAME', 'explain_text_wrapper';
COMMENT ON FUNCTION teller.explain_text(text, regclass) IS
    'The words and punctuation marks of a text, in order, and how much each adds to the logarithm of the answer''s probability';

-- Classifying sequences of numbers.

CREATE FUNCTION teller.classify_sequence(sequence real[], model regclass,
                                         static real[] DEFAULT NULL)
    RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE COST 10000
    AS 'MODULE_PATHNAME', 'classify_sequence_wrapper';
COMMENT ON FUNCTION teller.classify_sequence(real[], regclass, real[]) IS
    'The most probable label of a sequence: an array of time x features, or of time alone';

CREATE FUNCTION teller.sequence_probabilities(sequence real[], model regclass,
                                              static real[] DEFAULT NULL)
    RETURNS TABLE(label text, probability real)
    LANGUAGE c STABLE PARALLEL SAFE COST 10000 ROWS 2
    AS 'MODULE_PATHNAME', 'sequence_probabilities_wrapper';
COMMENT ON FUNCTION teller.sequence_probabilities(real[], regclass, real[]) IS
    'All labels of a model with their probabilities for a sequence, the most probable first';

-- Rows like those of a table.

CREATE FUNCTION teller.synthesize(model regclass, n int,
        seed bigint DEFAULT (pg_catalog.random() * 9007199254740992)::bigint,
        options jsonb DEFAULT '{}')
    RETURNS SETOF jsonb
    LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 1000
    AS 'MODULE_PATHNAME', 'synthesize_wrapper';
COMMENT ON FUNCTION teller.synthesize(regclass, int, bigint, jsonb) IS
    'Synthetic rows like those of the table that a model has learned from; the same for the same seed';

CREATE FUNCTION teller.synthesize_into(model regclass, target regclass, n int,
        seed bigint DEFAULT (pg_catalog.random() * 9007199254740992)::bigint,
        options jsonb DEFAULT '{}')
    RETURNS bigint
    LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE AS $$
DECLARE
    columns text;
    inserted bigint;
BEGIN
    SELECT pg_catalog.string_agg(pg_catalog.quote_ident(key), ', ')
        INTO columns
        FROM teller.synthesize(model, 1, seed) made, pg_catalog.jsonb_object_keys(made) key;
    EXECUTE pg_catalog.format(
        'INSERT INTO %1$s (%2$s) SELECT %2$s FROM teller.synthesize($1, $2, $3, $4) made, '
        'pg_catalog.jsonb_populate_record(NULL::%1$s, made)', target, columns)
        USING model, n, seed, options;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    RETURN inserted;
END $$;
COMMENT ON FUNCTION teller.synthesize_into(regclass, regclass, int, bigint, jsonb) IS
    'Inserts synthetic rows into a table that has the columns of the one that a model has learned from; how many';

-- Images like those that a model has learned from, and many on one sheet.

CREATE FUNCTION teller.generate(model regclass, n int,
        seed bigint DEFAULT (pg_catalog.random() * 9007199254740992)::bigint,
        label text DEFAULT NULL)
    RETURNS SETOF real[]
    LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 100
    AS 'MODULE_PATHNAME', 'generate_wrapper';
COMMENT ON FUNCTION teller.generate(regclass, int, bigint, text) IS
    'Synthetic images as their values from 0 to 1, row by row; the same for the same seed';

CREATE FUNCTION teller.generate_images(model regclass, n int,
        seed bigint DEFAULT (pg_catalog.random() * 9007199254740992)::bigint,
        label text DEFAULT NULL)
    RETURNS SETOF bytea
    LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 100
    AS 'MODULE_PATHNAME', 'generate_images_wrapper';
COMMENT ON FUNCTION teller.generate_images(regclass, int, bigint, text) IS
    'Synthetic images as PNGs; the same for the same seed';

CREATE FUNCTION teller.image_grid(images bytea[]) RETURNS bytea
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 100000
    AS 'MODULE_PATHNAME', 'image_grid_wrapper';
COMMENT ON FUNCTION teller.image_grid(bytea[]) IS
    'A PNG of all images of an array, row by row; the place of a NULL stays empty';

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

-- What a search tried, beside how good it was.

CREATE FUNCTION teller.list_trials()
    RETURNS TABLE(model regclass, version int, step int, options jsonb)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'list_trials_wrapper';
COMMENT ON FUNCTION teller.list_trials() IS
    'The parameters that each step of a search tried, of all models that the caller may read';

CREATE OR REPLACE VIEW teller.training_log AS
SELECT model, version, step, "of", loss, metric, value, rows, seconds, options
FROM teller.list_steps() LEFT JOIN teller.list_trials() USING (model, version, step);
