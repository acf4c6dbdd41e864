-- What `make demo` shows, run in the root of the repository. psql prints each statement, its result and its time.
\pset footer off
\timing on

\echo
\echo '== 1. The extension =='
CREATE EXTENSION pg_teller;

\echo
\echo '== 2. Real scans of digits, read by the model that comes with the extension =='
\echo '(it was made for larger scans of another make, 28 x 28; these have 8 x 8)'
\set ECHO none
\timing off
\i demo/digits.sql
\timing on
\set ECHO queries
SELECT id, label, teller.classify_image(image) AS read_as
FROM demo.scans ORDER BY id LIMIT 10;
SELECT round(100.0 * avg((teller.classify_image(image) = label)::int), 1) AS percent_right, count(*)
FROM demo.scans;

\echo
\echo '== 3. A network of our own: trained on four fifths of the scans, tried on the rest =='
SELECT count(*) AS scans, min(length(image)) AS smallest_png, max(length(image)) AS largest_png
FROM demo.scans;
SELECT model, version, status
FROM teller.train('scan_digits', 'image_classification',
                  'SELECT image, label FROM demo.scans WHERE id % 5 <> 0',
                  '{"architecture": "small", "epochs": 20, "learning_rate": 0.003}');
SELECT metric, round(value::numeric, 4) AS value
FROM teller.evaluate('scan_digits', 'SELECT image, label FROM demo.scans WHERE id % 5 = 0');
SELECT label, teller.classify_image(image, 'scan_digits') AS read_as, count(*)
FROM demo.scans WHERE id % 5 = 0
GROUP BY label, read_as ORDER BY label, read_as
\crosstabview label read_as count read_as

\echo
\echo '== 4. How sure it is of one scan that it has not seen =='
SELECT s.id, s.label AS truth, p.label, round(p.probability::numeric, 4) AS probability
FROM demo.scans s, teller.image_probabilities(s.image, 'scan_digits') p
WHERE s.id = 5 AND p.probability > 0.0001;

\echo
\echo '== 5. A broken scan: an error, or NULL where one bad row must not spoil a report =='
\set ON_ERROR_STOP off
SELECT teller.classify_image(substr(image, 1, length(image) / 2), 'scan_digits')
FROM demo.scans WHERE id = 5;
\set ON_ERROR_STOP on
SELECT teller.try_classify_image(substr(image, 1, length(image) / 2), 'scan_digits') AS read_as
FROM demo.scans WHERE id = 5;

\echo
\echo '== 6. A recommender for a simulated bank: no real customers, no real purchases =='
\set ECHO none
\timing off
\i demo/bank.sql
\timing on
\set ECHO queries
SELECT segment, count(*) AS customers FROM demo.customers GROUP BY segment ORDER BY segment;
SELECT model, version, status
FROM teller.train('next_offer', 'recommendation',
                  'SELECT user_id, item_id, weight FROM demo.purchases',
                  '{"algorithm": "als", "factors": 8}');

\echo
\echo '== 7. The five best products for a customer who is known =='
SELECT p.category, p.name AS bought
FROM demo.purchases b JOIN demo.products p ON p.id = b.item_id
WHERE b.user_id = 1 ORDER BY p.category, p.name;
SELECT c.segment, r.rank, p.category, p.name, round(r.score::numeric, 3) AS score
FROM demo.customers c, teller.recommend(c.id, 5, 'next_offer') r
JOIN demo.products p ON p.id = r.item_id
WHERE c.id = 1 ORDER BY r.rank;

\echo
\echo '== 8. For a customer who is unknown: what is popular =='
SELECT r.rank, p.category, p.name, round(r.score::numeric, 3) AS score
FROM teller.recommend(999999, 5, 'next_offer') r JOIN demo.products p ON p.id = r.item_id
ORDER BY r.rank;

\echo
\echo '== 9. Among eligible products alone: they are cut first, so there are still five =='
SELECT r.rank, p.category, p.name, round(r.score::numeric, 3) AS score
FROM teller.recommend(1, 5, 'next_offer',
                      candidates => ARRAY(SELECT id FROM demo.products WHERE id % 2 = 0)) r
JOIN demo.products p ON p.id = r.item_id
ORDER BY r.rank;

\echo
\echo '== 10. The registry =='
SELECT model, task, algorithm, production, versions, pg_size_pretty(bytes) AS size
FROM teller.models ORDER BY model::text;
SELECT model, version, status, rows, round(seconds::numeric, 2) AS seconds, left(digest, 12) AS digest
FROM teller.model_versions ORDER BY model::text, version;
SELECT model, version, step, round(loss::numeric, 4) AS loss, metric, round(value::numeric, 4) AS value
FROM teller.training_log WHERE model = 'scan_digits'::regclass ORDER BY step DESC LIMIT 5;

\timing off
\echo
\echo 'To go on by hand in this server:  make psql'
