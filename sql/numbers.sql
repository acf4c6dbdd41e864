-- Trained numbers as data, for whoever may read the model's table.

CREATE FUNCTION teller.weights(model regclass)
    RETURNS TABLE(layer text, shape int[], "values" real[])
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'weights_wrapper';
COMMENT ON FUNCTION teller.weights(regclass) IS
    'The weights of the network in production, an array a row, in row-major order of its shape';

CREATE FUNCTION teller.user_factors(model regclass) RETURNS TABLE(user_id text, factors real[])
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10000 ROWS 1000
    AS 'MODULE_PATHNAME', 'user_factors_wrapper';
COMMENT ON FUNCTION teller.user_factors(regclass) IS
    'The users'' factors of the recommender in production';

CREATE FUNCTION teller.item_factors(model regclass) RETURNS TABLE(item_id text, factors real[])
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10000 ROWS 1000
    AS 'MODULE_PATHNAME', 'item_factors_wrapper';
COMMENT ON FUNCTION teller.item_factors(regclass) IS
    'The items'' factors of the recommender in production';
