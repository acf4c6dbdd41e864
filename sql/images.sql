-- Classifying images.

CREATE FUNCTION teller.classify_image(image bytea, model regclass DEFAULT NULL) RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE COST 5000
    AS 'MODULE_PATHNAME', 'classify_image_wrapper';
COMMENT ON FUNCTION teller.classify_image(bytea, regclass) IS
    'The most probable label of an image; an error for an image that cannot be read';

CREATE FUNCTION teller.try_classify_image(image bytea, model regclass DEFAULT NULL) RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE COST 5000
    AS 'MODULE_PATHNAME', 'try_classify_image_wrapper';
COMMENT ON FUNCTION teller.try_classify_image(bytea, regclass) IS
    'The most probable label of an image; NULL for an image that cannot be read';

CREATE FUNCTION teller.image_probabilities(image bytea, model regclass DEFAULT NULL)
    RETURNS TABLE(label text, probability real)
    LANGUAGE c STABLE PARALLEL SAFE COST 5000 ROWS 10
    AS 'MODULE_PATHNAME', 'image_probabilities_wrapper';
COMMENT ON FUNCTION teller.image_probabilities(bytea, regclass) IS
    'All labels of a model with their probabilities for an image, the most probable first';

CREATE FUNCTION teller.image_embedding(image bytea, model regclass DEFAULT NULL) RETURNS real[]
    LANGUAGE c STABLE PARALLEL SAFE COST 5000
    AS 'MODULE_PATHNAME', 'image_embedding_wrapper';
COMMENT ON FUNCTION teller.image_embedding(bytea, regclass) IS
    'What a network knows of an image before it decides: near for images that look alike to it';
