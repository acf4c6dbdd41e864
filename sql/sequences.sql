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
