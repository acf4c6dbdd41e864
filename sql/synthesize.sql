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
