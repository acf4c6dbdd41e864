//! The first statement of a fresh connection, without the connecting.

use std::cell::RefCell;

use teller_tests::Statements;

use crate::models::{Models, large_top};
use crate::report::Report;
use crate::timing::{in_turns, milliseconds};

pub(crate) fn run(models: &Models, report: &Report) {
    digits(models, report);
    large_recommender(models, report);
}

fn digits(models: &Models, report: &Report) {
    report.subject("First statement: the shipped digit model");
    let mut kept = models.connect();
    let scan: String = kept.value("SELECT image::text FROM demo.scans WHERE id = 1");
    let classify = format!("SELECT teller.classify_image('{scan}')");
    milliseconds(&mut kept, &classify);
    let fresh = |sql| milliseconds(&mut models.connect(), sql);
    let [one, load, first, again] = in_turns(201, |index| match index {
        0 => fresh("SELECT 1"),
        1 => fresh("LOAD 'pg_teller'"),
        2 => fresh(&classify),
        _ => milliseconds(&mut kept, &classify),
    });
    report.figure("SELECT 1", one.ms(), None);
    report.figure("LOAD 'pg_teller'", load.ms(), Some(("SELECT 1", one.ms())));
    report.goal("classify_image", first.ms(), 2.0, Some(("its second call", again.ms())));
}

fn large_recommender(models: &Models, report: &Report) {
    report.subject("First statement: 1,000,000 items x 64, file in place");
    models.large_recommender();
    let three = large_top(Some("ARRAY[1, 2, 3]"));
    let all = large_top(None);
    let kept = RefCell::new(models.connect());
    let again = |sql| milliseconds(&mut kept.borrow_mut(), sql);
    let fresh = |sql| milliseconds(&mut models.connect(), sql);
    again(&all);
    let [three_first, three_again, all_first, all_again] = in_turns(31, |index| match index {
        0 => fresh(&three),
        1 => again(&three),
        2 => fresh(&all),
        _ => again(&all),
    });
    drop(kept);
    let restarted = |sql| {
        models.restart();
        milliseconds(&mut models.connect(), sql)
    };
    let [one_restarted, three_restarted, all_restarted] =
        in_turns(7, |index| restarted(["SELECT 1", &three, &all][index]));
    let second = "its second call";
    let (three, all) = ((second, three_again.ms()), (second, all_again.ms()));
    report.goal("the best of 3", three_first.ms(), 15.0, Some(three));
    report.goal("the best of all", all_first.ms(), 15.0, Some(all));
    report.figure("the server just started: SELECT 1", one_restarted.ms(), None);
    report.goal("the server just started: the best of 3", three_restarted.ms(), 15.0, Some(three));
    report.goal("the server just started: the best of all", all_restarted.ms(), 15.0, Some(all));
}
