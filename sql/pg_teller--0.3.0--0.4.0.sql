-- From 0.3.0 to 0.4.0.

-- For a basket of items in the place of a user.

CREATE FUNCTION teller.recommend_from(
        items bigint[], k int DEFAULT 10, model regclass DEFAULT NULL,
        candidates bigint[] DEFAULT NULL, include_seen boolean DEFAULT false)
    RETURNS TABLE(rank int, item_id bigint, score real)
    LANGUAGE c STABLE PARALLEL SAFE COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'recommend_from_bigint_wrapper';
COMMENT ON FUNCTION teller.recommend_from(bigint[], int, regclass, bigint[], boolean) IS
    'The k best items for somebody who has these items, of the candidates if there are any; popular ones for an empty basket';

CREATE FUNCTION teller.recommend_from(
        items text[], k int DEFAULT 10, model regclass DEFAULT NULL,
        candidates text[] DEFAULT NULL, include_seen boolean DEFAULT false)
    RETURNS TABLE(rank int, item_id text, score real)
    LANGUAGE c STABLE PARALLEL SAFE COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'recommend_from_text_wrapper';
COMMENT ON FUNCTION teller.recommend_from(text[], int, regclass, text[], boolean) IS
    'The k best items for somebody who has these items, of the candidates if there are any; popular ones for an empty basket';

-- What is like an item, and why an item is recommended.

CREATE FUNCTION teller.similar_items(
        item_id bigint, k int DEFAULT 10, model regclass DEFAULT NULL,
        candidates bigint[] DEFAULT NULL)
    RETURNS TABLE(rank int, item_id bigint, similarity real)
    LANGUAGE c STABLE PARALLEL SAFE COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'similar_items_bigint_wrapper';
COMMENT ON FUNCTION teller.similar_items(bigint, int, regclass, bigint[]) IS
    'The k items most similar to an item, of the candidates if there are any';

CREATE FUNCTION teller.similar_items(
        item_id text, k int DEFAULT 10, model regclass DEFAULT NULL,
        candidates text[] DEFAULT NULL)
    RETURNS TABLE(rank int, item_id text, similarity real)
    LANGUAGE c STABLE PARALLEL SAFE COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'similar_items_text_wrapper';
COMMENT ON FUNCTION teller.similar_items(text, int, regclass, text[]) IS
    'The k items most similar to an item, of the candidates if there are any';

CREATE FUNCTION teller.explain_recommendation(
        user_id bigint, item_id bigint, model regclass DEFAULT NULL)
    RETURNS TABLE(because text, contribution real)
    LANGUAGE c STABLE PARALLEL SAFE COST 10000 ROWS 30
    AS 'MODULE_PATHNAME', 'explain_recommendation_bigint_wrapper';
COMMENT ON FUNCTION teller.explain_recommendation(bigint, bigint, regclass) IS
    'What the score of an item for a user is made of: contributions that add up to it';

CREATE FUNCTION teller.explain_recommendation(
        user_id text, item_id text, model regclass DEFAULT NULL)
    RETURNS TABLE(because text, contribution real)
    LANGUAGE c STABLE PARALLEL SAFE COST 10000 ROWS 30
    AS 'MODULE_PATHNAME', 'explain_recommendation_text_wrapper';
COMMENT ON FUNCTION teller.explain_recommendation(text, text, regclass) IS
    'What the score of an item for a user is made of: contributions that add up to it';

CREATE FUNCTION teller.fold_in(model regclass, data text, options jsonb DEFAULT '{}')
    RETURNS TABLE(model regclass, version int, status text, metrics jsonb)
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 1
    AS 'MODULE_PATHNAME', 'fold_in_wrapper';
COMMENT ON FUNCTION teller.fold_in(regclass, text, jsonb) IS
    'Makes a version of a recommender that also knows the interactions of a SELECT, without training it again';

-- The candidates are what a query returns. Not for parallel plans: PostgreSQL has no subtransactions
-- in them, in which such a query is read.

CREATE FUNCTION teller.recommend_among(
        user_id bigint, candidates_query text, k int DEFAULT 10,
        model regclass DEFAULT NULL, include_seen boolean DEFAULT false)
    RETURNS TABLE(rank int, item_id bigint, score real)
    LANGUAGE c STABLE PARALLEL UNSAFE COST 50000 ROWS 10
    AS 'MODULE_PATHNAME', 'recommend_among_bigint_wrapper';
COMMENT ON FUNCTION teller.recommend_among(bigint, text, int, regclass, boolean) IS
    'The k best items for a user among those that a SELECT returns to the caller';

CREATE FUNCTION teller.recommend_among(
        user_id text, candidates_query text, k int DEFAULT 10,
        model regclass DEFAULT NULL, include_seen boolean DEFAULT false)
    RETURNS TABLE(rank int, item_id text, score real)
    LANGUAGE c STABLE PARALLEL UNSAFE COST 50000 ROWS 10
    AS 'MODULE_PATHNAME', 'recommend_among_text_wrapper';
COMMENT ON FUNCTION teller.recommend_among(text, text, int, regclass, boolean) IS
    'The k best items for a user among those that a SELECT returns to the caller';

CREATE FUNCTION teller.recommend_from_among(
        items bigint[], candidates_query text, k int DEFAULT 10,
        model regclass DEFAULT NULL, include_seen boolean DEFAULT false)
    RETURNS TABLE(rank int, item_id bigint, score real)
    LANGUAGE c STABLE PARALLEL UNSAFE COST 50000 ROWS 10
    AS 'MODULE_PATHNAME', 'recommend_from_among_bigint_wrapper';
COMMENT ON FUNCTION teller.recommend_from_among(bigint[], text, int, regclass, boolean) IS
    'The k best items for somebody who has these items among those that a SELECT returns to the caller';

CREATE FUNCTION teller.recommend_from_among(
        items text[], candidates_query text, k int DEFAULT 10,
        model regclass DEFAULT NULL, include_seen boolean DEFAULT false)
    RETURNS TABLE(rank int, item_id text, score real)
    LANGUAGE c STABLE PARALLEL UNSAFE COST 50000 ROWS 10
    AS 'MODULE_PATHNAME', 'recommend_from_among_text_wrapper';
COMMENT ON FUNCTION teller.recommend_from_among(text[], text, int, regclass, boolean) IS
    'The k best items for somebody who has these items among those that a SELECT returns to the caller';

-- Which rating a user would give an item.

CREATE FUNCTION teller.predict_rating(
        user_id bigint, item_id bigint, model regclass DEFAULT NULL)
    RETURNS real
    LANGUAGE c STABLE PARALLEL SAFE COST 1000
    AS 'MODULE_PATHNAME', 'predict_rating_bigint_wrapper';
COMMENT ON FUNCTION teller.predict_rating(bigint, bigint, regclass) IS
    'The rating that a user would give an item; of what the model does not know, the mean';

CREATE FUNCTION teller.predict_rating(
        user_id text, item_id text, model regclass DEFAULT NULL)
    RETURNS real
    LANGUAGE c STABLE PARALLEL SAFE COST 1000
    AS 'MODULE_PATHNAME', 'predict_rating_text_wrapper';
COMMENT ON FUNCTION teller.predict_rating(text, text, regclass) IS
    'The rating that a user would give an item; of what the model does not know, the mean';
