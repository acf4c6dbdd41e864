-- From 0.2.0 to 0.3.0.

-- Looking into a version: how it was trained.

CREATE FUNCTION teller.training_plot(model regclass, version int DEFAULT NULL) RETURNS text
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000
    AS 'MODULE_PATHNAME', 'training_plot_wrapper';
COMMENT ON FUNCTION teller.training_plot(regclass, int) IS
    'A chart of a version''s training (of the one in production) as SVG: loss and metric by step';

CREATE FUNCTION teller.describe_architecture(architecture jsonb, classes int DEFAULT 10)
    RETURNS TABLE(layer int, type text, output text, parameters bigint, flops bigint, memory bigint)
    LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 10
    AS 'MODULE_PATHNAME', 'describe_architecture_wrapper';
COMMENT ON FUNCTION teller.describe_architecture(jsonb, int) IS
    'The layers of an architecture: what each gives, learns, computes and holds for one image';
