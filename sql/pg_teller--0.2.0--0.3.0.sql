-- From 0.2.0 to 0.3.0.

CREATE FUNCTION teller.image_embedding(image bytea, model regclass DEFAULT NULL) RETURNS real[]
    LANGUAGE c STABLE PARALLEL SAFE COST 5000
    AS 'MODULE_PATHNAME', 'image_embedding_wrapper';
COMMENT ON FUNCTION teller.image_embedding(bytea, regclass) IS
    'What a network knows of an image before it decides: near for images that look alike to it';

-- How a classifier did on the images that its training kept apart.

CREATE FUNCTION teller.confusion_matrix(model regclass, version int DEFAULT NULL)
    RETURNS TABLE(actual text, predicted text, images bigint)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 100
    AS 'MODULE_PATHNAME', 'confusion_matrix_wrapper';
COMMENT ON FUNCTION teller.confusion_matrix(regclass, int) IS
    'How often images of each label were answered with each, on the part that the training of a version (the one in production) kept apart';

CREATE FUNCTION teller.class_metrics(model regclass, version int DEFAULT NULL)
    RETURNS TABLE(label text, images bigint, "precision" double precision,
                  recall double precision, f1 double precision)
    LANGUAGE sql STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
    SET search_path = pg_catalog, pg_temp AS $$
WITH counted AS (SELECT * FROM teller.confusion_matrix(model, version)),
     own AS (SELECT actual AS label, sum(images) AS images,
                    coalesce(sum(images) FILTER (WHERE actual = predicted), 0) AS hits
             FROM counted GROUP BY actual),
     answered AS (SELECT predicted AS label, sum(images) AS images FROM counted GROUP BY predicted)
SELECT label, coalesce(own.images, 0)::bigint,
       coalesce(own.hits, 0)::double precision / answered.images,
       own.hits::double precision / own.images,
       2 * coalesce(own.hits, 0)::double precision
           / (coalesce(own.images, 0) + coalesce(answered.images, 0))
FROM own FULL JOIN answered USING (label)
ORDER BY label COLLATE "C"
$$;
COMMENT ON FUNCTION teller.class_metrics(regclass, int) IS
    'Precision, recall and F1 of each label, from teller.confusion_matrix';

-- Looking into a version: how it was trained, why it answers what it does.

CREATE FUNCTION teller.training_plot(model regclass, version int DEFAULT NULL) RETURNS text
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000
    AS 'MODULE_PATHNAME', 'training_plot_wrapper';
COMMENT ON FUNCTION teller.training_plot(regclass, int) IS
    'A chart of a version''s training (of the one in production) as SVG: loss and metric by step';

CREATE FUNCTION teller.explain_image(image bytea, model regclass DEFAULT NULL,
                                     label text DEFAULT NULL, method text DEFAULT 'occlusion')
    RETURNS bytea
    LANGUAGE c STABLE PARALLEL SAFE COST 1000000
    AS 'MODULE_PATHNAME', 'explain_image_wrapper';
COMMENT ON FUNCTION teller.explain_image(bytea, regclass, text, text) IS
    'The image as the network sees it, as a PNG, and over it in red and yellow what speaks for a label (the answer)';

-- What a network costs, before it is trained.

CREATE FUNCTION teller.describe_architecture(architecture jsonb, classes int DEFAULT 10)
    RETURNS TABLE(layer text, type text, output text, parameters bigint, flops bigint, memory bigint)
    LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 10
    AS 'MODULE_PATHNAME', 'describe_architecture_wrapper';
COMMENT ON FUNCTION teller.describe_architecture(jsonb, int) IS
    'The layers of an architecture: what each gives, learns, computes and holds for one image';

-- Where a version's training started from.

CREATE FUNCTION teller.list_starts()
    RETURNS TABLE(model regclass, version int, start_model text, start_version int,
                  start_digest text)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'list_starts_wrapper';
COMMENT ON FUNCTION teller.list_starts() IS
    'The versions whose weights trainings started from, of all models that the caller may read';

CREATE OR REPLACE VIEW teller.model_versions AS
SELECT model, version, status, task, algorithm, metrics, rows, trained_at, trained_by, seconds,
       extension_version, digest, options, data, rows_digest, seed, peak_memory,
       start_model, start_version, start_digest
FROM teller.list_versions() LEFT JOIN teller.list_lineage() USING (model, version)
     LEFT JOIN teller.list_starts() USING (model, version);
