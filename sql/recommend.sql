-- Recommending items. The bigint functions serve models whose ids are integers, the text
-- functions serve every model.

CREATE FUNCTION teller.recommend(
        user_id bigint, k int DEFAULT 10, model regclass DEFAULT NULL,
        candidates bigint[] DEFAULT NULL, include_seen boolean DEFAULT false)
    RETURNS TABLE(rank int, item_id bigint, score real)
    LANGUAGE c STABLE PARALLEL SAFE COST 5000 ROWS 10
    AS 'MODULE_PATHNAME', 'recommend_bigint_wrapper';
COMMENT ON FUNCTION teller.recommend(bigint, int, regclass, bigint[], boolean) IS
    'The k best items for a user, of the candidates if there are any; popular ones for an unknown user';

CREATE FUNCTION teller.recommend(
        user_id text, k int DEFAULT 10, model regclass DEFAULT NULL,
        candidates text[] DEFAULT NULL, include_seen boolean DEFAULT false)
    RETURNS TABLE(rank int, item_id text, score real)
    LANGUAGE c STABLE PARALLEL SAFE COST 5000 ROWS 10
    AS 'MODULE_PATHNAME', 'recommend_text_wrapper';
COMMENT ON FUNCTION teller.recommend(text, int, regclass, text[], boolean) IS
    'The k best items for a user, of the candidates if there are any; popular ones for an unknown user';
