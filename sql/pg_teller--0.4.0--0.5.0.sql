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
