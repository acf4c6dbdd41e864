//! The same seed gives the same bytes, whatever the number of threads and the instruction set.

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

/// Calls `on` for each path that the processor has, forced one after another.
fn on_every_path(client: &mut Client, mut on: impl FnMut(&mut Client, &str)) {
    let mut paths = 0;
    for path in ["auto", "avx512", "avx2", "neon", "scalar"] {
        match client.batch_execute(&format!("SET teller.instruction_set = {path}")) {
            Ok(()) => on(client, path),
            Err(error) => {
                assert!(!["auto", "scalar"].contains(&path), "{error:?}");
                println!("{path}: skipped, the processor has none");
                continue;
            }
        }
        paths += 1;
    }
    assert!(paths >= 2);
    client.run("RESET teller.instruction_set");
}

#[test]
fn every_path_answers_and_learns_the_same_bits() {
    let mut client = Database::with_demo().connect();
    let mut all = Vec::new();
    on_every_path(&mut client, |client, path| {
        let answers: String = client.value(
            "SELECT string_agg(p.label || float4send(probability)::text, ' ' ORDER BY id, p.label)
             FROM demo.scans, teller.image_probabilities(image) p WHERE id <= 12",
        );
        let model = format!("on_{path}");
        client.run(&format!(
            r#"SELECT teller.train('{model}', 'image_classification',
                   'SELECT image, label FROM demo.scans WHERE id <= 60 ORDER BY id',
                   '{{"architecture": "small", "epochs": 1, "seed": 7}}')"#
        ));
        all.push((path.to_owned(), answers, digests(client, &model)));
    });
    let (_, answers, numbers) = &all[0];
    for (path, other_answers, other_numbers) in &all[1..] {
        assert_eq!(other_answers, answers, "{path} answers otherwise");
        assert_eq!(other_numbers, numbers, "{path} learned other numbers");
    }
}
