-- Training and evaluating.

CREATE FUNCTION teller.train(model text, task text, data text, options jsonb DEFAULT '{}')
    RETURNS TABLE(model regclass, version int, status text, metrics jsonb)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 1
    AS 'MODULE_PATHNAME', 'train_wrapper';
COMMENT ON FUNCTION teller.train(text, text, text, jsonb) IS
    'Trains a version of a model on the rows of a SELECT, and makes the model''s table if it is missing';

CREATE FUNCTION teller.evaluate(model regclass, data text, version int DEFAULT NULL)
    RETURNS TABLE(metric text, value double precision)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 10
    AS 'MODULE_PATHNAME', 'evaluate_wrapper';
COMMENT ON FUNCTION teller.evaluate(regclass, text, int) IS
    'Measures a version of a model (the one in production) on the rows of a SELECT';

CREATE FUNCTION teller.fold_in(model regclass, data text, options jsonb DEFAULT '{}')
    RETURNS TABLE(model regclass, version int, status text, metrics jsonb)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 1
    AS 'MODULE_PATHNAME', 'fold_in_wrapper';
COMMENT ON FUNCTION teller.fold_in(regclass, text, jsonb) IS
    'Makes a version of a recommender that also knows the interactions of a SELECT, without training it again';
