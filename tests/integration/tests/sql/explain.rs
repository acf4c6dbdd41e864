//! Looking into a version: `training_plot`, `explain_image`.

use postgres::error::SqlState;
use teller_tests::{Database, Statements};

#[test]
fn a_training_is_drawn_by_its_log() {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "als");
    super::train_purchases(&mut client, "shop", "popular");
    super::train_purchases(&mut client, "shop", "svd");
    let plot = |version: &str| format!("SELECT teller.training_plot('shop', {version})");
    let als: String = client.value(&plot("1"));
    assert!(als.starts_with("<svg") && als.trim_end().ends_with("</svg>"), "{als}");
    assert!(als.contains("public.shop, version 1") && als.contains("loss"), "{als}");
    let sweeps: i64 = client.value(
        "SELECT count(*) FROM teller.training_log WHERE model = 'shop'::regclass AND version = 1",
    );
    let dots = als.matches("<circle").count() as i64;
    assert_eq!(dots, sweeps + 1, "a dot for each sweep, and one for the validation");
    assert_eq!(client.value::<String>(&plot("1")), als, "the same version, other bytes");

    let popular: String = client.value(&plot("2"));
    assert!(popular.contains("no steps were recorded"), "{popular}");
    let production: String = client.value("SELECT teller.training_plot('shop')");
    assert_eq!(production, client.value::<String>(&plot("3")));
    assert_ne!(production, als);
    let well_formed: bool =
        client.value("SELECT xml_is_well_formed_document(teller.training_plot('shop', 1))");
    assert!(well_formed);
}

#[test]
fn the_plot_of_an_epoch_log_has_its_metric() {
    let mut client = Database::with_demo().connect();
    client.run(
        r#"SELECT teller.train('scans', 'image_classification',
               'SELECT image, label FROM demo.scans WHERE id <= 200',
               '{"architecture": "small", "epochs": 2}')"#,
    );
    let plot: String = client.value("SELECT teller.training_plot('scans')");
    let metric: String = client.value(
        "SELECT metric FROM teller.training_log WHERE model = 'scans'::regclass AND step = 1",
    );
    assert!(plot.contains(&metric), "no {metric} in {plot}");
    assert_eq!(plot.matches("<circle").count(), 4, "two lines of two epochs");
}

#[test]
fn what_has_no_plot_is_refused() {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "popular");
    client.refused("SELECT teller.training_plot('shop', 7)", &SqlState::UNDEFINED_OBJECT);
    client.refused("SELECT teller.training_plot('purchases')", &SqlState::WRONG_OBJECT_TYPE);
    client.refused("SELECT teller.training_plot(NULL)", &SqlState::NULL_VALUE_NOT_ALLOWED);
    client.run("UPDATE shop SET status = 'archived' WHERE part = ''");
    client.refused(
        "SELECT teller.training_plot('shop')",
        &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
    );
}

#[test]
fn a_forged_log_draws_what_can_be_drawn() {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "als");
    client.run(
        r#"ALTER TABLE shop DISABLE TRIGGER ALL;
           UPDATE shop SET info = CASE chunk
               WHEN 1 THEN '{"loss": 1e308, "metric": "</text><script>", "value": -1e308}'
               WHEN 2 THEN '{"loss": "x", "metric": 3}'
               WHEN 3 THEN '[]'
               WHEN 4 THEN '{"loss": 0.5, "metric": "</text><script>", "value": 1e29}'
               ELSE NULL END::jsonb
           WHERE part = 'log'"#,
    );
    let plot: String = client.value("SELECT teller.training_plot('shop')");
    assert!(!plot.contains("<script"), "{plot}");
    assert_eq!(plot.matches("<circle").count(), 2, "{plot}");
}

#[test]
fn an_explanation_is_a_png_of_the_answer_or_of_a_label() {
    let mut client = Database::with_demo().connect();
    let explained = |rest: &str| {
        format!("SELECT teller.explain_image(image{rest}) FROM demo.scans WHERE id = 5")
    };
    let png: Vec<u8> = client.value(&explained(""));
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "{:?}", &png[..8]);
    // The shipped network sees 28 x 28 pixels.
    assert_eq!((&png[16..20], &png[20..24]), (&[0, 0, 0, 224][..], &[0, 0, 0, 224][..]));
    assert_eq!(client.value::<Vec<u8>>(&explained("")), png, "other bytes the second time");
    let answer: String =
        client.value("SELECT teller.classify_image(image) FROM demo.scans WHERE id = 5");
    let other = if answer == "3" { "8" } else { "3" };
    let of = |label: &str| explained(&format!(", 'teller.digits', '{label}'"));
    assert_eq!(client.value::<Vec<u8>>(&of(&answer)), png);
    assert_ne!(client.value::<Vec<u8>>(&of(other)), png);
    let cam: Vec<u8> = client.value(&explained(", method => 'grad_cam'"));
    assert!(cam.starts_with(b"\x89PNG") && cam != png);
    let nothing: Option<Vec<u8>> = client.value("SELECT teller.explain_image(NULL)");
    assert_eq!(nothing, None);
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let mut client = Database::with_demo().connect();
    let explained = |rest: &str| {
        format!("SELECT teller.explain_image(image{rest}) FROM demo.scans WHERE id = 5")
    };
    let error =
        client.refused(&explained(", method => 'oclusion'"), &SqlState::INVALID_PARAMETER_VALUE);
    assert!(error.hint().is_some_and(|hint| hint.contains("\"occlusion\"")), "{error:?}");
    let error =
        client.refused(&explained(", label => 'seven'"), &SqlState::INVALID_PARAMETER_VALUE);
    assert!(error.message().contains("seven"), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("7, 8, 9")), "{error:?}");
    let long = explained(", label => repeat('7', 1000000)");
    let error = client.refused(&long, &SqlState::INVALID_PARAMETER_VALUE);
    assert!(error.message().len() < 300);
    client.refused(&explained(", method => NULL"), &SqlState::NULL_VALUE_NOT_ALLOWED);
    client.refused(
        "SELECT teller.explain_image('\\x89504e47')",
        &SqlState::INVALID_BINARY_REPRESENTATION,
    );
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "popular");
    client.refused(&explained(", 'shop'"), &SqlState::WRONG_OBJECT_TYPE);
}
