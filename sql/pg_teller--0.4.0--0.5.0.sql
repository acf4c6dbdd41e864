-- From 0.4.0 to 0.5.0.

COMMENT ON FUNCTION teller.explain_recommendation(bigint, bigint, regclass) IS
    'What the score of an item for a user is made of: contributions that add up to it, or probabilities of paths';
COMMENT ON FUNCTION teller.explain_recommendation(text, text, regclass) IS
    'What the score of an item for a user is made of: contributions that add up to it, or probabilities of paths';
