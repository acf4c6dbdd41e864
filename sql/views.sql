-- The registry: views over all model tables that the caller may use.

CREATE FUNCTION teller.list_versions()
    RETURNS TABLE(model regclass, version int, status text, info jsonb)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'list_versions_wrapper';
COMMENT ON FUNCTION teller.list_versions() IS
    'The manifests of all models that the caller may run; without the training query, search_path and options for who may not read the model';

CREATE FUNCTION teller.list_steps()
    RETURNS TABLE(model regclass, version int, step int, info jsonb)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 100
    AS 'MODULE_PATHNAME', 'list_steps_wrapper';
COMMENT ON FUNCTION teller.list_steps() IS
    'The training steps of all models that the caller may run';

CREATE VIEW teller.model_versions AS
SELECT model,
       version,
       status,
       info ->> 'task' AS task,
       info ->> 'algorithm' AS algorithm,
       info -> 'metrics' AS metrics,
       (info ->> 'rows')::bigint AS rows,
       (info ->> 'trained_at')::timestamptz AS trained_at,
       info ->> 'trained_by' AS trained_by,
       (info ->> 'seconds')::double precision AS seconds,
       info ->> 'extension' AS extension_version,
       info ->> 'digest' AS digest,
       info -> 'options' AS options,
       info ->> 'data' AS data
FROM teller.list_versions();
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
FROM teller.model_versions v
JOIN pg_catalog.pg_class c ON c.oid = v.model
GROUP BY v.model, c.relowner;
COMMENT ON VIEW teller.models IS 'All models that the caller may run';

CREATE VIEW teller.training_log AS
SELECT model,
       version,
       step,
       (info ->> 'of')::int AS of,
       (info ->> 'loss')::double precision AS loss,
       info ->> 'metric' AS metric,
       (info ->> 'value')::double precision AS value,
       (info ->> 'rows')::bigint AS rows,
       (info ->> 'seconds')::double precision AS seconds
FROM teller.list_steps();
COMMENT ON VIEW teller.training_log IS
    'Epochs and sweeps of all trainings of models that the caller may run';

GRANT SELECT ON teller.models, teller.model_versions, teller.training_log TO PUBLIC;
