-- The registry: views over all model tables that the caller may use.

CREATE FUNCTION teller.list_versions()
    RETURNS TABLE(model regclass, version int, status text, task text, algorithm text,
                  metrics jsonb, rows bigint, trained_at timestamptz, trained_by text,
                  seconds double precision, extension_version text, digest text,
                  options jsonb, data text)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'list_versions_wrapper';
COMMENT ON FUNCTION teller.list_versions() IS
    'The versions of all models that the caller may run; options and data only of those that he may read';

CREATE FUNCTION teller.list_lineage()
    RETURNS TABLE(model regclass, version int, rows_digest text, seed bigint, peak_memory bigint)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'list_lineage_wrapper';
COMMENT ON FUNCTION teller.list_lineage() IS
    'What is noted of the trainings of all models that the caller may run: the digest of the rows in order, the seed, and bytes of memory at most';

CREATE FUNCTION teller.list_steps()
    RETURNS TABLE(model regclass, version int, step int, "of" bigint, loss double precision,
                  metric text, value double precision, rows bigint, seconds double precision)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 100
    AS 'MODULE_PATHNAME', 'list_steps_wrapper';
COMMENT ON FUNCTION teller.list_steps() IS
    'The training steps of all models that the caller may run';

CREATE FUNCTION teller.list_starts()
    RETURNS TABLE(model regclass, version int, start_model text, start_version int,
                  start_digest text)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'list_starts_wrapper';
COMMENT ON FUNCTION teller.list_starts() IS
    'The versions whose weights trainings started from, of all models that the caller may read';

CREATE FUNCTION teller.list_trials()
    RETURNS TABLE(model regclass, version int, step int, options jsonb)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'list_trials_wrapper';
COMMENT ON FUNCTION teller.list_trials() IS
    'The parameters that each step of a search tried, of all models that the caller may read';

CREATE VIEW teller.model_versions AS
SELECT model, version, status, task, algorithm, metrics, rows, trained_at, trained_by, seconds,
       extension_version, digest, options, data, rows_digest, seed, peak_memory,
       start_model, start_version, start_digest
FROM teller.list_versions() LEFT JOIN teller.list_lineage() USING (model, version)
     LEFT JOIN teller.list_starts() USING (model, version);
COMMENT ON VIEW teller.model_versions IS 'All versions of all models that the caller may run';

CREATE VIEW teller.models AS
SELECT v.model,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       max(v.task) AS task,
       max(v.algorithm) FILTER (WHERE v.status = 'production') AS algorithm,
       max(v.version) FILTER (WHERE v.status = 'production') AS production,
       count(*)::int AS versions,
       max(v.trained_at) AS last_trained_at,
       pg_catalog.pg_table_size(v.model) AS bytes
FROM teller.list_versions() v
JOIN pg_catalog.pg_class c ON c.oid = v.model
GROUP BY v.model, c.relowner;
COMMENT ON VIEW teller.models IS 'All models that the caller may run';

CREATE VIEW teller.training_log AS
SELECT model, version, step, "of", loss, metric, value, rows, seconds, options
FROM teller.list_steps() LEFT JOIN teller.list_trials() USING (model, version, step);
COMMENT ON VIEW teller.training_log IS
    'Epochs and sweeps of all trainings of models that the caller may run';

GRANT SELECT ON teller.models, teller.model_versions, teller.training_log TO PUBLIC;
