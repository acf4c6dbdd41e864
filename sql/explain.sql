-- Looking into a version: how it was trained, why it answers what it does.

CREATE FUNCTION teller.training_plot(model regclass, version int DEFAULT NULL) RETURNS text
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000
    AS 'MODULE_PATHNAME', 'training_plot_wrapper';
COMMENT ON FUNCTION teller.training_plot(regclass, int) IS
    'A chart of a version''s training (of the one in production) as SVG: loss and metric by step';

CREATE FUNCTION teller.explain_image(image bytea, model regclass DEFAULT NULL,
                                     label text DEFAULT NULL, method text DEFAULT 'occlusion')
    RETURNS bytea
    LANGUAGE c STABLE PARALLEL SAFE COST 1000000
    AS 'MODULE_PATHNAME', 'explain_image_wrapper';
COMMENT ON FUNCTION teller.explain_image(bytea, regclass, text, text) IS
    'The image as the network sees it, as a PNG, and over it in red and yellow what speaks for a label (the answer)';
