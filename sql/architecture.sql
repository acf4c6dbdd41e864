-- What a network costs, before it is trained.

CREATE FUNCTION teller.describe_architecture(architecture jsonb, classes int DEFAULT 10)
    RETURNS TABLE(layer text, type text, output text, parameters bigint, flops bigint, memory bigint)
    LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 10
    AS 'MODULE_PATHNAME', 'describe_architecture_wrapper';
COMMENT ON FUNCTION teller.describe_architecture(jsonb, int) IS
    'The layers of an architecture: what each gives, learns, computes and holds for one image';
