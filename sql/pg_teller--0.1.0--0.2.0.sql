-- From 0.1.0 to 0.2.0: versions are promoted, rolled back, retired, retrained and audited.

-- Only the owner's name writes rows, and a version that is being trained may still change.
CREATE FUNCTION teller.require_writer(model regclass) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT pg_has_role((SELECT relowner FROM pg_class WHERE oid = model), 'USAGE') THEN
        RAISE EXCEPTION 'permission denied to write rows of model %', model
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Its privileges are for teller.train, teller.promote, teller.rollback and teller.drop_version.';
    END IF;
END $$;
COMMENT ON FUNCTION teller.require_writer(regclass) IS
    'Fails unless the current user is a model''s owner, in whose name all rows are written';

CREATE OR REPLACE FUNCTION teller.guard_rows() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    finished boolean;
BEGIN
    PERFORM teller.require_writer(TG_RELID);
    IF TG_OP = 'UPDATE' THEN
        IF OLD.part <> '' OR (OLD.version, OLD.part, OLD.chunk)
               IS DISTINCT FROM (NEW.version, NEW.part, NEW.chunk)
           OR OLD.status <> 'training' AND (NEW.status = 'training'
               OR (OLD.info, OLD.payload) IS DISTINCT FROM (NEW.info, NEW.payload)) THEN
            RAISE EXCEPTION 'version % of model % is immutable: only its status changes',
                OLD.version, TG_RELID::regclass USING ERRCODE = 'restrict_violation';
        END IF;
    ELSE
        EXECUTE format($sql$SELECT EXISTS (SELECT FROM ONLY %s
                            WHERE version = $1 AND part = '' AND status <> 'training')$sql$,
                       TG_RELID::regclass)
            INTO finished USING NEW.version;
        IF finished THEN
            RAISE EXCEPTION 'version % of model % is finished: nothing is added to it',
                NEW.version, TG_RELID::regclass USING ERRCODE = 'restrict_violation';
        END IF;
    END IF;
    IF NEW.part = '' AND NEW.status NOT IN ('training', 'candidate', 'production', 'archived', 'failed') THEN
        RAISE EXCEPTION 'a version''s status cannot be %', NEW.status
            USING ERRCODE = 'check_violation',
                  HINT = 'It is one of training, candidate, production, archived, failed.';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION teller.guard_versions() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    torn int;
BEGIN
    PERFORM teller.require_writer(TG_RELID);
    EXECUTE format($sql$SELECT min(version) FROM ONLY %1$s
                        WHERE version IN (SELECT version FROM gone) AND version NOT IN (
                            SELECT version FROM ONLY %1$s WHERE part = '' AND status = 'training')$sql$,
                   TG_RELID::regclass)
        INTO torn;
    IF torn IS NOT NULL THEN
        RAISE EXCEPTION 'version % of model % is deleted as a whole or not at all',
            torn, TG_RELID::regclass USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;

-- The registry tells more of where a version comes from.
CREATE FUNCTION teller.list_lineage()
    RETURNS TABLE(model regclass, version int, rows_digest text, seed bigint, peak_memory bigint)
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
    AS 'MODULE_PATHNAME', 'list_lineage_wrapper';
COMMENT ON FUNCTION teller.list_lineage() IS
    'What is noted of the trainings of all models that the caller may run: the digest of the rows in order, the seed, and bytes of memory at most';

CREATE OR REPLACE VIEW teller.model_versions AS
SELECT model, version, status, task, algorithm, metrics, rows, trained_at, trained_by, seconds,
       extension_version, digest, options, data, rows_digest, seed, peak_memory
FROM teller.list_versions() LEFT JOIN teller.list_lineage() USING (model, version);

-- The life of a version, and who may run a model.

CREATE FUNCTION teller.promote(model regclass, version int) RETURNS int
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'promote_wrapper';
COMMENT ON FUNCTION teller.promote(regclass, int) IS
    'Puts a version into production and archives the one that is there; returns the version';

CREATE FUNCTION teller.rollback(model regclass) RETURNS int
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'rollback_wrapper';
COMMENT ON FUNCTION teller.rollback(regclass) IS
    'Puts the version back that was in production before; returns it';

CREATE FUNCTION teller.drop_version(model regclass, version int) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'drop_version_wrapper';
COMMENT ON FUNCTION teller.drop_version(regclass, int) IS
    'Deletes a version that is not in production';

-- GRANT itself only warns when the caller may not grant.
CREATE FUNCTION teller.require_grant_option(model regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT has_column_privilege(model, 'version', 'SELECT WITH GRANT OPTION') THEN
        RAISE EXCEPTION 'permission denied to grant or revoke the use of model %', model
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Its owner may, and whoever has SELECT (version) WITH GRANT OPTION.';
    END IF;
END $$;
COMMENT ON FUNCTION teller.require_grant_option(regclass) IS
    'Fails unless the caller may grant the use of a model';

CREATE FUNCTION teller.grant_usage(model regclass, grantee regrole) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM teller.require_grant_option(model);
    EXECUTE format('GRANT SELECT (version) ON %s TO %s', model, grantee);
END $$;
COMMENT ON FUNCTION teller.grant_usage(regclass, regrole) IS
    'Lets a role run a model: GRANT SELECT (version)';

CREATE FUNCTION teller.revoke_usage(model regclass, grantee regrole) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM teller.require_grant_option(model);
    EXECUTE format('REVOKE SELECT (version) ON %s FROM %s', model, grantee);
END $$;
COMMENT ON FUNCTION teller.revoke_usage(regclass, regrole) IS
    'Takes back what teller.grant_usage gave: REVOKE SELECT (version)';

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

-- The audit log: who did what to which model, append-only, each row chained to the one before it.

CREATE TABLE teller.audit_log (
    id             bigint PRIMARY KEY,
    at             timestamptz NOT NULL,
    session_role   text NOT NULL,
    acting_role    text NOT NULL,
    action         text NOT NULL,
    model          text NOT NULL,
    from_version   int,
    to_version     int,
    detail         jsonb,
    previous_hash  bytea NOT NULL,
    hash           bytea NOT NULL
);
COMMENT ON TABLE teller.audit_log IS
    'Every training, promotion, rollback and retirement of a version, failed gate, and change of a model''s owner, name or privileges; append-only';
SELECT pg_catalog.pg_extension_config_dump('teller.audit_log', '');
-- Whoever owns the database can dump it, and lets auditors read.
GRANT SELECT ON teller.audit_log TO pg_database_owner WITH GRANT OPTION;

CREATE FUNCTION teller.audit_hash(entry teller.audit_log) RETURNS bytea
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
SELECT sha256(entry.previous_hash || convert_to(jsonb_build_array(
    entry.id, to_char(entry.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
    entry.session_role, entry.acting_role, entry.action, entry.model,
    entry.from_version, entry.to_version, entry.detail)::text, 'UTF8'))
$$;
COMMENT ON FUNCTION teller.audit_hash(teller.audit_log) IS
    'The hash that a row of the audit log must have';

CREATE FUNCTION teller.append_audit(
        session_role text, acting_role text, action text, model text,
        from_version int, to_version int, detail jsonb)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entry teller.audit_log;
    last  teller.audit_log;
BEGIN
    -- One writer at a time: the chain has one end.
    LOCK TABLE teller.audit_log IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO last FROM teller.audit_log ORDER BY id DESC LIMIT 1;
    entry := (coalesce(last.id, 0) + 1, clock_timestamp(), session_role, acting_role, action,
              model, from_version, to_version, detail, coalesce(last.hash, ''), '');
    entry.hash := teller.audit_hash(entry);
    -- The id is taken only if a repeatable read transaction does not see the last row: then this
    -- raises a serialization failure, after which programs try again.
    INSERT INTO teller.audit_log SELECT entry.* ON CONFLICT (id) DO NOTHING;
END $$;
COMMENT ON FUNCTION teller.append_audit(text, text, text, text, int, int, jsonb) IS
    'Adds a row to the audit log; for the extension itself';
REVOKE EXECUTE ON FUNCTION teller.append_audit(text, text, text, text, int, int, jsonb) FROM PUBLIC;

CREATE FUNCTION teller.verify_audit_log() RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
SELECT min(id) FROM (
    SELECT id, hash = teller.audit_hash(entry) AS intact,
           previous_hash = coalesce(lag(hash) OVER chain, '') AS follows,
           id = row_number() OVER chain AS counted
    FROM teller.audit_log entry
    WINDOW chain AS (ORDER BY id)) checked
WHERE NOT (intact AND follows AND counted)
$$;
COMMENT ON FUNCTION teller.verify_audit_log() IS
    'The first row of the audit log that was altered or follows a missing one; NULL if none is';

CREATE FUNCTION teller.guard_audit_log() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % is refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
COMMENT ON FUNCTION teller.guard_audit_log() IS 'Trigger of the audit log: rows stay as they are';
CREATE TRIGGER guard_rows BEFORE UPDATE OR DELETE OR TRUNCATE ON teller.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION teller.guard_audit_log();

-- What GRANT and REVOKE did is found by comparing: PostgreSQL does not tell event triggers which
-- tables a GRANT was for.
CREATE VIEW teller.model_access AS
SELECT c.oid AS model, c.oid::pg_catalog.regclass::text AS name,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       nullif(pg_catalog.concat_ws(' ', c.relacl::text, (
           SELECT pg_catalog.string_agg(a.attname || a.attacl::text, ' ' ORDER BY a.attnum)
           FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL)), '') AS acl
FROM pg_catalog.pg_class c
WHERE c.reloftype = 'teller.model'::pg_catalog.regtype;
COMMENT ON VIEW teller.model_access IS 'Names, owners and privileges of all models';

-- Not dumped: the numbers of tables are others after a restore.
CREATE TABLE teller.known_access (model oid PRIMARY KEY, name text, owner text, acl text);
COMMENT ON TABLE teller.known_access IS
    'Names, owners and privileges of models as the audit log knows them; for the extension itself';

CREATE FUNCTION teller.audit_access(action text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    change record;
    -- While a dump is restored, owners are set before the log's own rows come.
    silent boolean := NOT EXISTS (SELECT FROM teller.audit_log);
BEGIN
    FOR change IN
        SELECT a.*, k.model IS NOT NULL AS known, k.name AS old_name, k.owner AS old_owner,
               k.acl AS old_acl
        FROM teller.model_access a LEFT JOIN teller.known_access k USING (model)
        WHERE (a.name, a.owner, a.acl) IS DISTINCT FROM (k.name, k.owner, k.acl)
    LOOP
        INSERT INTO teller.known_access VALUES (change.model, change.name, change.owner, change.acl)
            ON CONFLICT (model) DO UPDATE
            SET name = excluded.name, owner = excluded.owner, acl = excluded.acl;
        CONTINUE WHEN silent OR NOT change.known AND change.acl IS NULL;
        PERFORM teller.append_audit(
            session_user, teller.acting_role(), action, change.name, NULL, NULL,
            jsonb_strip_nulls(jsonb_build_object(
                'old_name', nullif(change.old_name, change.name),
                'owner', change.owner, 'old_owner', nullif(change.old_owner, change.owner),
                'privileges', change.acl, 'old_privileges', change.old_acl)));
    END LOOP;
END $$;
COMMENT ON FUNCTION teller.audit_access(text) IS
    'Writes changes of models'' names, owners and privileges to the audit log; for the extension itself';
REVOKE EXECUTE ON FUNCTION teller.audit_access(text) FROM PUBLIC;

CREATE FUNCTION teller.acting_role() RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
SELECT coalesce(nullif(current_setting('role'), 'none'), session_user)
$$;
COMMENT ON FUNCTION teller.acting_role() IS 'The role that SET ROLE chose, or the session''s';

CREATE FUNCTION teller.audit_command() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM teller.audit_access(lower(tg_tag));
END $$;
COMMENT ON FUNCTION teller.audit_command() IS
    'Event trigger: audits changes of models'' owners, names and privileges';
CREATE EVENT TRIGGER teller_audit_command ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'GRANT', 'REVOKE', 'DROP OWNED')
    EXECUTE FUNCTION teller.audit_command();

CREATE FUNCTION teller.audit_drop() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone teller.known_access;
BEGIN
    FOR gone IN
        DELETE FROM teller.known_access k USING pg_event_trigger_dropped_objects() d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = k.model AND d.objsubid = 0
        RETURNING k.*
    LOOP
        PERFORM teller.append_audit(session_user, teller.acting_role(), lower(tg_tag), gone.name,
                                    NULL, NULL, jsonb_build_object('owner', gone.owner));
    END LOOP;
END $$;
COMMENT ON FUNCTION teller.audit_drop() IS 'Event trigger: audits dropped models';
CREATE EVENT TRIGGER teller_audit_drop ON sql_drop EXECUTE FUNCTION teller.audit_drop();

-- The models that are there already.
INSERT INTO teller.known_access SELECT * FROM teller.model_access;
