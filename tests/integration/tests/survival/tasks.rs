//! A small model of each task that has no test of its own here, and what it answers.

use postgres::Client;
use teller_tests::Statements;

const TRAININGS: [&str; 5] = [
    r#"SELECT teller.train('texts', 'text_classification',
           'SELECT (ARRAY[''lost card'', ''new loan''])[1 + i % 2] || '' please '' || i AS text,
                i % 2 AS label FROM generate_series(1, 60) i',
           '{"algorithm": "ensemble", "epochs": 2, "units": 8, "vector_size": 8}')"#,
    r#"SELECT teller.train('sequences', 'sequence_classification',
           'SELECT ARRAY[i, i * s, i + s]::real[] AS sequence, s AS label
            FROM generate_series(1, 30) i, (VALUES (9), (-9)) v(s)',
           '{"epochs": 2, "units": 8}')"#,
    r#"SELECT teller.train('codes', 'autoencoding',
           'SELECT ARRAY[sin(i), cos(i), sin(i + 1)]::real[] AS features
            FROM generate_series(1, 200) i',
           '{"epochs": 2, "hidden": 8, "latent": 2}')"#,
    r#"SELECT teller.train('tables', 'generation',
           'SELECT i AS amount, i % 3 AS kind FROM generate_series(1, 400) i',
           '{"epochs": 2, "hidden": 8, "gate": {"metric": "column_variation", "max": 1,
             "data": "SELECT i AS amount, i % 3 AS kind FROM generate_series(1, 400) i"}}')"#,
    r#"SELECT teller.train('pictures', 'generation',
           'SELECT image, label FROM demo.scans WHERE id <= 200 ORDER BY id',
           '{"algorithm": "gan", "input": {"height": 8, "width": 8}, "filters": 8, "epochs": 2}')"#,
];

const ANSWERS: [&str; 5] = [
    "SELECT string_agg(concat_ws(' ', label, float4send(probability)), ',')
     FROM teller.text_probabilities('please, a loan', 'texts')",
    "SELECT string_agg(concat_ws(' ', label, float4send(probability)), ',')
     FROM teller.sequence_probabilities('{1, 2, 3}', 'sequences')",
    "SELECT concat_ws(' ', teller.encode('{1, 0, 0.5}'::real[], 'codes'),
                           teller.anomaly_score('{1, 0, 0.5}'::real[], 'codes'))",
    "SELECT string_agg(made::text, ',') FROM teller.synthesize('tables', 5, 7) made",
    "SELECT string_agg(made::text, ',') FROM teller.generate_images('pictures', 5, 7) made",
];

/// Trains them all.
pub(crate) fn train_all(client: &mut Client) {
    TRAININGS.iter().for_each(|training| client.run(training));
}

/// Their answers, bit by bit.
pub(crate) fn answers_of_all(client: &mut Client) -> Vec<String> {
    ANSWERS.iter().map(|answer| client.value(answer)).collect()
}
