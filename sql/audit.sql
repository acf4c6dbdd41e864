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
