//! Trains on nine tenths of the credit default data as six months with static columns, and tells
//! the AUC on the rest: `cargo run --release --example credit -- file.tsv '{"algorithm": "gru"}'`.

#![allow(clippy::unwrap_used, reason = "an example may end with a panic")]

use std::time::Instant;

use teller_nn::{SequenceDatasetBuilder, SequenceParams, fit_sequences};
use teller_numeric::{Options, Stream, Uninterrupted};

/// The months, the oldest first, 15 features each, and the static columns.
fn months(columns: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let [limit, sex, education, marriage, age] = columns[1..6].try_into().unwrap();
    let (status, bills, payments) = (&columns[6..12], &columns[12..18], &columns[18..24]);
    let signed_log = |x: f32| x.signum() * (1.0 + x.abs()).ln();
    let mut months = Vec::new();
    for month in (0..6).rev() {
        let (bill, payment) = (bills[month], payments[month]);
        let before = bills.get(month + 1).copied().unwrap_or(bill).max(1.0);
        months.extend([signed_log(bill), signed_log(payment), bill / limit]);
        months.push((payment.max(0.0) / limit).sqrt());
        months.push((payment / before).clamp(0.0, 3.0));
        months.push(status[month]);
        let code = status[month].clamp(-2.0, 6.0);
        months.extend((-2..7).map(|known| f32::from(u8::from(code == known as f32))));
    }
    let one_hot = |value: f32, count: i32| {
        (0..count).map(move |known| f32::from(u8::from(value == known as f32)))
    };
    let mut statics = vec![limit.ln(), age, sex];
    statics.extend(one_hot(education, 7));
    statics.extend(one_hot(marriage, 4));
    (months, statics)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap();
    let given = serde_json::from_str(&arguments.next().unwrap_or("{}".to_owned())).unwrap();
    let mut options = Options::new("sequences", &given).unwrap();
    let params = SequenceParams::read(&mut options).unwrap();
    options.finish().unwrap();
    let file = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<&str> = file.lines().skip(1).collect();
    Stream::new(1, "held out", 0).shuffle(&mut lines);
    let held_out = lines.len() / 10;
    let [held_out, training] = [&lines[..held_out], &lines[held_out..]].map(|lines| {
        let mut builder = SequenceDatasetBuilder::new(params.max_steps);
        for line in lines {
            let columns: Vec<f32> = line.split('\t').map(|field| field.parse().unwrap()).collect();
            let (months, statics) = months(&columns);
            let label = if columns[24] == 1.0 { "default" } else { "-" };
            builder.push(&months, months.len() / 6, &statics, label).unwrap();
        }
        builder.finish().unwrap()
    });
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let begun = Instant::now();
    let fitted = pool.install(|| fit_sequences(&params, &training, None, &Uninterrupted)).unwrap();
    println!("trained in {:?}: {:?}", begun.elapsed(), fitted.metrics());
    let classifier = fitted.classifier().unwrap();
    let figures = pool.install(|| classifier.evaluate(&held_out, &Uninterrupted)).unwrap();
    println!("{:?}", &figures[..6]);
}
