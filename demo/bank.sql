-- Makes the demo's bank: customers, products and purchases, all of it simulated.
--
-- Who buys what follows from md5 of a text that names the draw, so every server makes the same
-- bank. A customer belongs to one segment, a product to one category. A customer buys
--   * a product of the category of his segment with a chance of 30 to 60 %, by its appeal;
--   * a product for everyone with a chance of 15 to 60 %; the current account always;
--   * any other product with a chance of up to 1 %.
-- The weight counts how often, 1 to 5. A right recommender finds the segments again, although it
-- is shown neither segments nor categories. There are six tastes in the data, so a few factors (8)
-- say it all and more of them only learn the noise.
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS demo;
RESET client_min_messages;

-- A number in [0, 1) that depends on nothing but the text.
CREATE FUNCTION demo.draw(what text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ('x' || left(md5(what), 8))::bit(32)::bigint / 4294967296::double precision;

CREATE TABLE demo.products (
    id bigint PRIMARY KEY,
    name text NOT NULL UNIQUE,
    category text NOT NULL
);
COMMENT ON TABLE demo.products IS 'Simulated: the products of a bank that does not exist';
INSERT INTO demo.products (id, name, category)
SELECT row_number() OVER (ORDER BY c.place, p.place), p.name, c.category
FROM (VALUES
    (1, 'everyone', ARRAY[
        'Current account', 'Debit card', 'Savings account', 'Mobile banking', 'Overdraft',
        'Travel insurance']),
    (2, 'students', ARRAY[
        'Student account', 'Student loan', 'Shared flat account', 'Prepaid card',
        'Semester abroad card', 'Festival ticket plan', 'Laptop instalments', 'Rail pass plan']),
    (3, 'families', ARRAY[
        'Mortgage', 'Home insurance', 'Child savings plan', 'Family credit card', 'Car loan',
        'Term life insurance', 'Renovation loan', 'School fee plan']),
    (4, 'investors', ARRAY[
        'Brokerage account', 'Equity fund', 'Bond fund', 'Gold account', 'Lombard credit',
        'Options trading', 'Sustainable index fund', 'Currency account']),
    (5, 'retired', ARRAY[
        'Pension account', 'Annuity', 'Care insurance', 'Estate planning',
        'Fixed-term deposit', 'Safe deposit box', 'Cruise travel insurance', 'Charity account']),
    (6, 'businesses', ARRAY[
        'Business account', 'Card terminal', 'Payroll service', 'Invoice factoring',
        'Equipment leasing', 'Company credit card', 'Export guarantee', 'Cash logistics'])
) AS c (place, category, names), unnest(c.names) WITH ORDINALITY AS p (name, place);

CREATE TABLE demo.customers (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    segment text NOT NULL
);
COMMENT ON TABLE demo.customers IS 'Simulated: 2,000 customers of a bank that does not exist';
INSERT INTO demo.customers (id, name, segment)
SELECT id,
       first[1 + floor(demo.draw('first name ' || id) * cardinality(first))::int]
           || ' ' || last[1 + floor(demo.draw('last name ' || id) * cardinality(last))::int],
       CASE WHEN place < 0.20 THEN 'students'
            WHEN place < 0.50 THEN 'families'
            WHEN place < 0.65 THEN 'investors'
            WHEN place < 0.85 THEN 'retired'
            ELSE 'businesses' END
FROM generate_series(1, 2000) AS id,
     demo.draw('segment ' || id) AS place,
     (VALUES (
         ARRAY['Ada', 'Bruno', 'Carla', 'David', 'Elena', 'Farid', 'Greta', 'Hugo', 'Ines', 'Jonas',
               'Kira', 'Liam', 'Mara', 'Nils', 'Olga', 'Pablo', 'Rosa', 'Samir', 'Tessa', 'Yusuf'],
         ARRAY['Adler', 'Becker', 'Costa', 'Duran', 'Eriksen', 'Fontaine', 'Garcia', 'Horvat',
               'Ivanova', 'Jansen', 'Keller', 'Lopez', 'Moreau', 'Novak', 'Okafor', 'Petrov',
               'Rossi', 'Schmidt', 'Tanaka', 'Weber']
     )) AS names (first, last);

CREATE TABLE demo.purchases (
    user_id bigint NOT NULL REFERENCES demo.customers,
    item_id bigint NOT NULL REFERENCES demo.products,
    weight real NOT NULL,
    PRIMARY KEY (user_id, item_id)
);
COMMENT ON TABLE demo.purchases IS
    'Simulated: which customer uses which product, and how often (weight, 1 to 5)';
INSERT INTO demo.purchases (user_id, item_id, weight)
SELECT c.id, p.id, 1 + floor(5 * demo.draw('weight ' || c.id || ' ' || p.id))
FROM demo.customers AS c
CROSS JOIN (SELECT id, category, demo.draw('appeal ' || id) AS appeal FROM demo.products) AS p
WHERE demo.draw('purchase ' || c.id || ' ' || p.id) <
      CASE WHEN p.id = 1 THEN 1
           WHEN p.category = c.segment THEN 0.30 + 0.30 * p.appeal
           WHEN p.category = 'everyone' THEN 0.15 + 0.45 * p.appeal
           ELSE 0.01 * p.appeal END;

ANALYZE demo.products, demo.customers, demo.purchases;
