-- Looking into a version: how it was trained.

CREATE FUNCTION teller.training_plot(model regclass, version int DEFAULT NULL) RETURNS text
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000
    AS 'MODULE_PATHNAME', 'training_plot_wrapper';
COMMENT ON FUNCTION teller.training_plot(regclass, int) IS
    'A chart of a version''s training (of the one in production) as SVG: loss and metric by step';
