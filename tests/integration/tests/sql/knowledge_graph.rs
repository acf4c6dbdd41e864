//! Recommending by a knowledge graph: the option `graph`.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

/// Who makes the items of the two groups, and of 11 and 12, one of each, that nobody took.
const GRAPH: &str = "CREATE TABLE links AS
    SELECT i::bigint AS head, 'made by'::text AS relation,
           CASE WHEN i <= 5 OR i = 11 THEN 'Ann' ELSE 'Bob' END AS tail
    FROM generate_series(1, 12) i";

fn train(model: &str, graph: &str, items: &str) -> String {
    embed(model, "propagation", graph, items)
}

fn embed(model: &str, embedding: &str, graph: &str, items: &str) -> String {
    format!(
        r#"SELECT * FROM teller.train('{model}', 'recommendation',
               'SELECT user_id, item_id, weight FROM purchases',
               jsonb_build_object('algorithm', 'knowledge_graph', 'factors', 4, 'epochs', 60,
                                  'embedding', '{embedding}', 'learning_rate', 0.05,
                                  'graph', $q${graph}$q$, 'items', $q${items}$q$))"#
    )
}

fn shop() -> Client {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    client.run(GRAPH);
    client
}

const LINKS: &str = "SELECT head, relation, tail FROM links";
const ITEMS: &str = "SELECT head AS item_id FROM links";

#[test]
fn items_that_nobody_took_are_found_by_paths() {
    let mut client = shop();
    client.run(&train("m", LINKS, ITEMS));
    for (user, other, maker) in [(1, 11, "Ann"), (40, 12, "Bob")] {
        let sql = format!(
            "SELECT item_id FROM teller.recommend({user}, 1, 'm', candidates => ARRAY[11, 12])"
        );
        assert_eq!(client.value::<i64>(&sql), other, "user {user}");
        let why =
            format!("SELECT because FROM teller.explain_recommendation({user}, {other}, 'm')");
        let because: Vec<String> = client.column(&why);
        let path = format!(" > made by > {maker} > made by");
        assert!(
            because.iter().filter(|reason| reason.ends_with(&path)).count() == 4,
            "{because:?}"
        );
    }
    let off: f64 = client.value(
        "SELECT abs(r.score - (SELECT sum(contribution)
                               FROM teller.explain_recommendation(1, r.item_id, 'm')))::float8
         FROM teller.recommend(1, 1, 'm', candidates => ARRAY[11]) r",
    );
    assert!(off < 1e-4, "{off}");
    let alike: Vec<i64> =
        client.column("SELECT item_id FROM teller.similar_items(11, 5, 'm') ORDER BY item_id");
    assert_eq!(alike, [1, 2, 3, 4, 5]);
    for (had, other) in [(1, 11), (6, 12)] {
        let sql = format!(
            "SELECT item_id FROM teller.recommend_from(ARRAY[{had}], 1, 'm',
                                                       candidates => ARRAY[11, 12])"
        );
        assert_eq!(client.value::<i64>(&sql), other, "a basket of {had}");
    }
    client.run(
        "SELECT * FROM teller.fold_in('m', 'SELECT 1000 AS user_id, 6 AS item_id, 1.0 AS weight')",
    );
    let sql = "SELECT item_id FROM teller.recommend(1000, 1, 'm', candidates => ARRAY[11, 12])";
    assert_eq!(client.value::<i64>(sql), 12);
    client.run("CALL teller.retrain('m')");
    let same: bool = client.value("SELECT same FROM teller.retrain_check('m', 3)");
    assert!(same);
}

#[test]
fn triples_find_items_that_nobody_took_and_give_probabilities_of_paths() {
    let mut client = shop();
    for embedding in ["transe", "distmult", "rotate"] {
        client.run(&embed(embedding, embedding, LINKS, ITEMS));
        for (user, other, maker) in [(1, 11, "Ann"), (40, 12, "Bob")] {
            let best: i64 = client.value(&format!(
                "SELECT item_id FROM teller.recommend({user}, 1, '{embedding}',
                                                      candidates => ARRAY[11, 12])"
            ));
            assert_eq!(best, other, "{embedding}: user {user}");
            let paths: i64 = client.value(&format!(
                "SELECT count(*) FROM teller.explain_recommendation({user}, {other}, '{embedding}')
                 WHERE because LIKE '% > made by > {maker} > made by'
                   AND contribution BETWEEN 0 AND 1"
            ));
            assert_eq!(paths, 4, "{embedding}: user {user}");
        }
        let basket: i64 = client.value(&format!(
            "SELECT item_id FROM teller.recommend_from(ARRAY[6], 1, '{embedding}',
                                                       candidates => ARRAY[11, 12])"
        ));
        assert_eq!(basket, 12, "{embedding}");
    }
    let error =
        client.refused(&embed("m", "trance", LINKS, ITEMS), &SqlState::INVALID_PARAMETER_VALUE);
    assert!(error.message().contains("transe"), "{}", error.message());
}

#[test]
fn bad_graphs_are_refused() {
    let mut client = shop();
    for (graph, state, told) in [
        ("SELECT head, relation FROM links", SqlState::UNDEFINED_COLUMN, "tail"),
        ("SELECT *, 1 AS weight FROM links", SqlState::UNDEFINED_COLUMN, "weight"),
        (
            "SELECT 'a' AS head, 'r' AS relation, 'b' AS tail",
            SqlState::INVALID_PARAMETER_VALUE,
            "touches no item",
        ),
        ("SELECT * FROM links WHERE false", SqlState::INVALID_PARAMETER_VALUE, "no triples"),
        (
            "SELECT head, relation, NULL::text AS tail FROM links",
            SqlState::NULL_VALUE_NOT_ALLOWED,
            "tail",
        ),
        (
            "SELECT head, relation, ''::bytea AS tail FROM links",
            SqlState::DATATYPE_MISMATCH,
            "bytea",
        ),
    ] {
        let error = client.refused(&train("m", graph, ITEMS), &state);
        assert!(error.message().contains(told), "{graph}: {}", error.message());
    }
    let error = client
        .refused(&train("m", LINKS, "SELECT 1 AS item_id, 2 AS x"), &SqlState::UNDEFINED_COLUMN);
    assert!(error.message().contains("\"x\""), "{}", error.message());
    let without = r#"SELECT teller.train('m', 'recommendation',
        'SELECT user_id, item_id FROM purchases', '{"algorithm": "knowledge_graph"}')"#;
    let error = client.refused(without, &SqlState::INVALID_PARAMETER_VALUE);
    assert!(error.message().contains("expected a SELECT of head"), "{}", error.message());
    assert_eq!(client.value::<i64>("SELECT count(*) FROM pg_class WHERE relname = 'm'"), 0);
}
