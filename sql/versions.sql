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
