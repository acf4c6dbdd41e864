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
