-- Training again: from the stored definition, committing as it goes.

CREATE PROCEDURE teller.retrain(model regclass, options jsonb DEFAULT '{}')
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'retrain_wrapper';
COMMENT ON PROCEDURE teller.retrain(regclass, jsonb) IS
    'Trains the version in production again on the rows that its query gives today; goes on where an interrupted training stopped';

CREATE FUNCTION teller.retrain_check(model regclass, version int)
    RETURNS TABLE(same boolean, same_rows boolean, stored_digest text, trained_digest text)
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 1000000 ROWS 1
    AS 'MODULE_PATHNAME', 'retrain_check_wrapper';
COMMENT ON FUNCTION teller.retrain_check(regclass, int) IS
    'Trains a version again, stores nothing, and says whether its rows and its numbers are the same';

CREATE FUNCTION teller.list_runs()
    RETURNS TABLE(model regclass, version int, status text, progress jsonb, trained_by text,
                  started timestamptz, updated timestamptz, error text)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'list_runs_wrapper';
COMMENT ON FUNCTION teller.list_runs() IS
    'The trainings of all models that the caller may run, in progress and past';

-- A retraining holds the lock that stands here on its model's row of pg_class.
CREATE VIEW teller.training_runs AS
SELECT model, version,
       CASE WHEN status IN ('candidate', 'production', 'archived') THEN 'finished'
            WHEN status <> 'training' THEN status
            WHEN pg_catalog.pg_is_in_recovery() THEN 'unknown'
            WHEN EXISTS (
                SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
                WHERE d.datname = pg_catalog.current_database() AND l.locktype = 'object'
                    AND l.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND l.objid = model AND l.objsubid = 1) THEN 'running'
            ELSE 'interrupted' END AS state,
       (progress->>'step')::int AS step,
       (progress->>'of')::int AS "of",
       (progress->>'loss')::double precision AS loss,
       progress->>'metric' AS metric,
       (progress->>'value')::double precision AS value,
       (progress->>'rows')::double precision
           / nullif((progress->>'seconds')::double precision, 0) AS rows_per_second,
       trained_by, started, updated,
       CASE WHEN status = 'training' THEN
           updated + pg_catalog.make_interval(secs =>
               ((progress->>'of')::int - (progress->>'step')::int)
               * (progress->>'seconds')::double precision) END AS estimated_end,
       error
FROM teller.list_runs();
COMMENT ON VIEW teller.training_runs IS
    'How far the trainings of the models are that the caller may run: running, interrupted, failed, finished';
GRANT SELECT ON teller.training_runs TO PUBLIC;
