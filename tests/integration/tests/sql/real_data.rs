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
