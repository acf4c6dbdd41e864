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
