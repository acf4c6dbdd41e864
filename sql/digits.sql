-- The shipped digit model. It is a member of the extension, so pg_dump does not write it.

CREATE FUNCTION teller.shipped_digits()
    RETURNS TABLE(version int, part text, chunk int, status text, info jsonb, payload bytea)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'shipped_digits_wrapper';

SELECT teller.create_model_table('teller', 'digits');
INSERT INTO teller.digits SELECT * FROM teller.shipped_digits();
DROP FUNCTION teller.shipped_digits();

COMMENT ON TABLE teller.digits IS
    'The shipped model: handwritten digits, trained on the MNIST training set';
GRANT SELECT ON teller.digits TO PUBLIC;
