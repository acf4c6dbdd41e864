-- The type of a model: every table of this type is one.

-- Made here and not by the control file, so that it goes with the extension, and so that a schema
-- of this name that somebody prepared is refused.
CREATE SCHEMA teller;
GRANT USAGE ON SCHEMA teller TO PUBLIC;

CREATE TYPE teller.model AS (
    version int,
    part    text COLLATE "C",
    chunk   int,
    status  text,
    info    jsonb,
    payload bytea
);
COMMENT ON TYPE teller.model IS
    'A row of a model: a manifest (part ''''), a step of its training (part log), or a chunk of its numbers';

-- A finished version is immutable: of its manifest only the status changes, and only the whole
-- version goes. While it is trained, and until its manifest is there, rows come and go.
-- All rows are written in the owner's name, after the caller's privileges were checked: whoever
-- was granted INSERT may train a version, not make one up.
CREATE FUNCTION teller.guard_rows() RETURNS trigger
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
COMMENT ON FUNCTION teller.guard_rows() IS 'Trigger of model tables: keeps finished versions as they are';

CREATE FUNCTION teller.guard_versions() RETURNS trigger
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
COMMENT ON FUNCTION teller.guard_versions() IS 'Trigger of model tables: refuses to delete parts of a version';

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

CREATE FUNCTION teller.create_model_table(schema_name text, table_name text) RETURNS regclass
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target text := format('%I.%I', schema_name, table_name);
BEGIN
    EXECUTE format('CREATE TABLE %s OF teller.model (PRIMARY KEY (version, part, chunk))', target);
    EXECUTE format($sql$CREATE UNIQUE INDEX ON %s (status)
                        WHERE part = '' AND status = 'production'$sql$, target);
    EXECUTE format('ALTER TABLE %s ALTER COLUMN payload SET STORAGE EXTERNAL', target);
    EXECUTE format('CREATE TRIGGER teller_guard_rows BEFORE INSERT OR UPDATE ON %s
                    FOR EACH ROW EXECUTE FUNCTION teller.guard_rows()', target);
    EXECUTE format('CREATE TRIGGER teller_guard_versions AFTER DELETE ON %s
                    REFERENCING OLD TABLE AS gone
                    FOR EACH STATEMENT EXECUTE FUNCTION teller.guard_versions()', target);
    EXECUTE format($sql$COMMENT ON TABLE %s IS 'A model of pg_teller'$sql$, target);
    RETURN target::regclass;
END $$;
COMMENT ON FUNCTION teller.create_model_table(text, text) IS
    'Makes an empty model with the key, the index, the storage and the triggers that a model has; teller.train calls it';
