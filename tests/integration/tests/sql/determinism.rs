//! The same seed gives the same bytes, whatever the number of threads.

use postgres::Client;
use teller_tests::{Database, Statements};

fn digests(client: &mut Client, model: &str) -> Vec<String> {
    let digests: Vec<String> = client.column(&format!(
        "SELECT concat_ws(' ', part, chunk, encode(sha256(payload), 'hex')) FROM {model}
         WHERE payload IS NOT NULL ORDER BY part, chunk"
    ));
    assert!(!digests.is_empty(), "{model} has no numbers");
    digests
}

/// Trains with `train(client, model, seed)` in turn, and compares the stored bytes.
fn check(client: &mut Client, train: impl Fn(&mut Client, &str, u32)) {
    client.run("SET teller.threads = 1");
    train(client, "one", 7);
    train(client, "again", 7);
    client.run("SET teller.threads = 2");
    train(client, "two", 7);
    train(client, "other", 8);
    let one = digests(client, "one");
    assert_eq!(one, digests(client, "again"), "the same seed gave other bytes");
    assert_eq!(one, digests(client, "two"), "two threads gave other bytes");
    assert_ne!(one, digests(client, "other"), "another seed gave the same bytes");
}

#[test]
fn networks() {
    let recipe = r#", "optimizer": "adamw", "clip_norm": 1, "warmup_fraction": 0.2,
        "label_smoothing": 0.1, "class_weights": "balanced",
        "augmentation": {"shift": 0.1, "rotation": 10, "blur": 1, "noise": 0.1, "mixup": 0.2}"#;
    for more in ["", recipe] {
        let mut client = Database::with_demo().connect();
        check(&mut client, |client, model, seed| {
            client.run(&format!(
                r#"SELECT teller.train('{model}', 'image_classification',
                       'SELECT image, label FROM demo.scans WHERE id <= 300 ORDER BY id',
                       '{{"architecture": "small", "epochs": 2, "seed": {seed}{more}}}')"#
            ));
        });
    }
}

#[test]
fn recommenders() {
    for algorithm in ["als", "svd"] {
        let mut client = Database::new().connect();
        super::two_groups(&mut client);
        check(&mut client, |client, model, seed| {
            client.run(&format!(
                r#"SELECT teller.train('{model}', 'recommendation',
                       'SELECT user_id, item_id FROM purchases',
                       '{{"algorithm": "{algorithm}", "factors": 4, "seed": {seed}}}')"#
            ));
        });
    }
}
