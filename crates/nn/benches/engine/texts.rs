//! Training on texts: a bidirectional GRU of 128 units a direction over vectors of 128 numbers, 64
//! texts a step, beside PyTorch; and whole trainings on real questions.

use std::time::Instant;

use serde_json::{Value, json};
use teller_bench::{Folder, compared, in_turns, title};
use teller_nn::{PreparedTexts, TextDataset, TextDatasetBuilder, TextParams};
use teller_numeric::{Options, Stream, Uninterrupted};

use crate::training::Elapsed;
use crate::{common, peers};

const TEXTS: usize = 1_600;
const WORDS: u32 = 2_400;
const ROUNDS: usize = 8;
/// Theirs takes at least this many times as long.
const GOAL: f64 = 1.0 / 1.5;

fn params(given: &Value) -> TextParams {
    let mut options = Options::new("texts", given).unwrap();
    let params = TextParams::read(&mut options).unwrap();
    options.finish().unwrap();
    params
}

/// Texts of 4 to 24 words, of which low numbers are the common ones, as numbers and in letters.
fn noise(folder: &Folder) -> TextDataset {
    let mut stream = Stream::new(1, "bench", 2);
    let (mut words, mut ends, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let mut builder = TextDatasetBuilder::default();
    for row in 0..TEXTS as u32 {
        let first = words.len();
        for _ in 0..4 + stream.below(21) {
            let most = 1 + stream.below(WORDS);
            words.push(stream.below(most));
        }
        ends.push(words.len() as u32);
        labels.push(row % 77);
        let letters: Vec<String> = words[first..].iter().map(|&word| letters(word)).collect();
        builder.push(&letters.join(" "), &format!("{:02}", row % 77)).unwrap();
    }
    folder.write_indexes("words", &words);
    folder.write_indexes("ends", &ends);
    folder.write_indexes("labels", &labels);
    builder.finish().unwrap()
}

/// A word of its own for every number.
fn letters(mut word: u32) -> String {
    let mut letters = String::new();
    for _ in 0..5 {
        letters.push(char::from(b'a' + (word % 5) as u8));
        word /= 5;
    }
    letters
}

pub(crate) fn run() {
    let folder = Folder::new("texts");
    let data = noise(&folder);
    let network = params(&json!({"epochs": 1, "validation_fraction": 0}));
    let prepared = PreparedTexts::new(&network, &data, &Uninterrupted).unwrap();
    title("Learning from one text");
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut ours = || {
            let elapsed = Elapsed::default();
            pool.install(|| prepared.fit(None, &elapsed)).unwrap();
            elapsed.seconds() / TEXTS as f64
        };
        let taken = match peers::start("gru_peer.py", threads, &folder) {
            Some(mut peer) => {
                let mut theirs = || peer.ask("rate") / TEXTS as f64;
                let [ours, theirs] = in_turns(ROUNDS, [&mut ours, &mut theirs]);
                let what = format!("{threads} threads, n-grams too");
                compared(&what, &ours, "PyTorch, words alone", &theirs, GOAL);
                ours
            }
            None => {
                let [ours] = in_turns(ROUNDS, [&mut ours]);
                ours
            }
        };
        println!("  {:<28} {:.0} texts/s", "which is", 1.0 / taken.fastest());
    }
    whole();
}

/// Whole trainings on nine tenths of Banking77, and how well the rest is told apart.
fn whole() {
    let Some([held_out, training]) = common::questions([1_000, usize::MAX]) else { return };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for algorithm in ["gru", "ensemble"] {
        let params = params(&json!({"algorithm": algorithm}));
        let begun = Instant::now();
        let prepared = PreparedTexts::new(&params, &training, &Uninterrupted).unwrap();
        let fitted = pool.install(|| prepared.fit(None, &Uninterrupted)).unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        let classifier = fitted.classifier().unwrap();
        let figures = pool.install(|| classifier.evaluate(&held_out, &Uninterrupted)).unwrap();
        let rows = training.len();
        println!("  {algorithm} of {rows} questions, 2 threads: {seconds:.1} s; {:?}", figures[1]);
    }
}
