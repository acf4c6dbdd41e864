//! Quality on real data, as far as the larger data sets are there (`TELLER_DATA`).

use teller_tests::{Database, Statements, external, load_mnist, load_tsv};

#[test]
fn mnist() {
    let Some(file) = external("mnist_train.tsv.gz") else { return };
    let mut client = Database::new().connect();
    load_mnist(&mut client, &file);
    client.run(
        r#"SELECT teller.train('mnist_reference', 'image_classification',
               'SELECT image, label FROM mnist ORDER BY md5(id::text) LIMIT 20000', '{"epochs": 3}')"#,
    );
    let held_out = "SELECT image, label FROM mnist ORDER BY md5(id::text) OFFSET 20000 LIMIT 5000";
    let accuracy: f64 = client.value(&format!(
        "SELECT value FROM teller.evaluate('mnist_reference', '{held_out}')
         WHERE metric = 'accuracy'"
    ));
    println!("MNIST: accuracy {accuracy:.4} on 5,000 images after 3 epochs of 20,000");
    assert!(accuracy >= 0.98, "{accuracy}");
    let shipped: f64 = client.value(&format!(
        "SELECT avg((teller.classify_image(image) = label)::int)::float8 FROM ({held_out}) t"
    ));
    println!("MNIST: the shipped model reads {shipped:.4} of them right, seen in its training");
    assert!(shipped >= 0.99, "{shipped}");
}

/// What five digits have taught helps to read the other five from few images.
#[test]
fn mnist_fine_tuned() {
    let Some(file) = external("mnist_train.tsv.gz") else { return };
    let mut client = Database::new().connect();
    load_mnist(&mut client, &file);
    let mut train = |model: &str, labels: &str, rows: u32, options: &str| -> f64 {
        client.run(&format!(
            "SELECT teller.train('{model}', 'image_classification',
                 $$SELECT image, label FROM mnist WHERE label {labels} ORDER BY md5(id::text)
                   LIMIT {rows}$$, '{options}')"
        ));
        client.value(&format!(
            "SELECT value FROM teller.evaluate('{model}',
                 $$SELECT image, label FROM mnist WHERE label {labels} ORDER BY md5(id::text)
                   OFFSET 12000 LIMIT 3000$$) WHERE metric = 'accuracy'"
        ))
    };
    train("low", "< '5'", 12_000, r#"{"epochs": 2}"#);
    let few = r#""epochs": 5, "batch_size": 10, "validation_fraction": 0"#;
    let fresh = train("fresh", ">= '5'", 200, &format!("{{{few}}}"));
    let start = r#""start_from": {"model": "low", "freeze": ["0.conv2d", "2.conv2d"]}"#;
    let tuned = train("tuned", ">= '5'", 200, &format!("{{{start}, {few}}}"));
    println!("digits 5 to 9 after 200 images: {fresh:.3} from scratch, {tuned:.3} fine-tuned");
    assert!(tuned > 0.9 && tuned > fresh, "{tuned} {fresh}");
}

#[test]
fn lastfm() {
    let Some(file) = external("lastfm_plays.tsv") else { return };
    let mut client = Database::new().connect();
    load_tsv(&mut client, "plays", "user_id bigint, item_id bigint, plays float8", &file);
    client.run(
        "ALTER TABLE plays ADD held boolean;
         UPDATE plays SET held = abs(hashint8(user_id * 1000003 + item_id)) % 5 = 0",
    );
    let mut ndcg = |algorithm: &str| -> f64 {
        client.run(&format!(
            r#"SELECT teller.train('music_{algorithm}', 'recommendation',
                   'SELECT user_id, item_id, plays AS weight FROM plays
                    WHERE NOT held AND plays > 0',
                   '{{"algorithm": "{algorithm}"}}')"#
        ));
        client.value(&format!(
            "SELECT value FROM teller.evaluate('music_{algorithm}',
                 'SELECT user_id, item_id, plays AS weight FROM plays WHERE held AND plays > 0')
             WHERE metric = 'ndcg@10'"
        ))
    };
    let (als, svd, popular) = (ndcg("als"), ndcg("svd"), ndcg("popular"));
    println!("Last.FM: NDCG@10 als {als:.4}, svd {svd:.4}, popular {popular:.4}");
    assert!(als >= 2.0 * popular, "als {als}, popular {popular}");
    assert!(svd > popular, "svd {svd}, popular {popular}");
}
