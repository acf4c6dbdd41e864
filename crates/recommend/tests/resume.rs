//! A training that goes on from a checkpoint ends like one that was never interrupted.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Row, algorithm, dataset, on_threads};
use teller_numeric::{Cancelled, CheckpointBytes, Control, Moment, Step, Stream};
use teller_payload::{AlignedBytes, CheckpointError, Payload, PayloadWriter, SharedBytes};
use teller_recommend::{Error, FittedRecommender, Part, Size, memory_needed};

/// Keeps what a training tells, and ends it after so many checkpoints.
struct Listener {
    most: usize,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    checkpoints: Vec<(Moment, Vec<u8>)>,
    steps: Vec<Step>,
}

impl Listener {
    fn new(most: usize) -> Self {
        Self { most, heard: Mutex::default() }
    }

    fn heard(self) -> Heard {
        self.heard.into_inner().unwrap()
    }
}

impl Control for Listener {
    fn check(&self) -> Result<(), Cancelled> {
        if self.heard.lock().unwrap().checkpoints.len() < self.most {
            Ok(())
        } else {
            Err(Cancelled)
        }
    }

    fn report(&self, step: Step) {
        self.heard.lock().unwrap().steps.push(Step { elapsed: Duration::ZERO, ..step });
    }

    fn checkpoint(&self, moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        let bytes = (*state().unwrap()).as_ref().to_vec();
        self.heard.lock().unwrap().checkpoints.push((moment, bytes));
    }
}

fn run(
    given: &Value,
    rows: &[Row],
    threads: usize,
    resume: Option<&[u8]>,
    control: &dyn Control,
) -> Result<FittedRecommender, Error> {
    let data = dataset(rows.iter().copied());
    on_threads(threads, || algorithm(given).fit(&data, resume.map(shared), control))
}

fn shared(bytes: &[u8]) -> SharedBytes {
    Arc::new(AlignedBytes::from(bytes))
}

/// Everything that is stored of a recommender.
fn stored(fitted: &FittedRecommender) -> Vec<(String, Vec<u8>)> {
    let owned = |(name, bytes): &Part| (name.clone().into_owned(), bytes.to_vec());
    fitted.parts.iter().map(owned).collect()
}

fn assert_same(one: &FittedRecommender, other: &FittedRecommender) {
    assert_eq!(one.metrics, other.metrics);
    assert_eq!(one.validation, other.validation);
    assert!(stored(one) == stored(other), "other bytes");
}

/// Runs a training, and again from each of its checkpoints; gives the number of these.
fn resume_everywhere(given: &Value, rows: &[Row], threads: usize) -> usize {
    let listener = Listener::new(usize::MAX);
    let whole = run(given, rows, 1, None, &listener).unwrap();
    let heard = listener.heard();
    let mut done = 0;
    for (at, (moment, checkpoint)) in heard.checkpoints.iter().enumerate() {
        done += usize::from(*moment == Moment::EndOfStep);
        let listener = Listener::new(usize::MAX);
        let resumed = run(given, rows, threads, Some(checkpoint), &listener).unwrap();
        assert_same(&whole, &resumed);
        let rest = listener.heard();
        assert_eq!(rest.steps[..], heard.steps[done..]);
        assert!(rest.checkpoints[..] == heard.checkpoints[at + 1..], "other checkpoints");
    }
    assert_eq!(done, heard.steps.len(), "a checkpoint after every step");
    heard.checkpoints.len()
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0i64..30, 0i64..20, 0.1f32..9.0), 1..200)
}

fn algorithms() -> impl Strategy<Value = Value> {
    let als = (1..12, 1..4, any::<bool>(), 0..99).prop_map(|(factors, iterations, exact, seed)| {
        let solver = if exact { "cholesky" } else { "conjugate_gradient" };
        json!({"algorithm": "als", "factors": factors, "iterations": iterations,
               "solver": solver, "seed": seed})
    });
    let svd = (1..8, 0..5, 0..4).prop_map(|(factors, power_iterations, oversampling)| {
        json!({"algorithm": "svd", "factors": factors, "power_iterations": power_iterations,
               "oversampling": oversampling})
    });
    let graph = (1..6, 1..3, 1..4, 0..4usize).prop_map(|(factors, hops, epochs, embedding)| {
        let mut given =
            json!({"algorithm": "knowledge_graph", "embedding": "propagation", "factors": factors, "epochs": epochs});
        match ["transe", "distmult", "rotate"].get(embedding) {
            Some(embedding) => given["embedding"] = json!(embedding),
            None => given["hops"] = json!(hops),
        }
        given
    });
    let ratings = (1..8, 1..4, 0..99).prop_map(|(factors, iterations, seed)| {
        json!({"algorithm": "biased_mf", "factors": factors, "iterations": iterations,
               "seed": seed})
    });
    let hybrid = (als.clone(), svd.clone()).prop_map(|(als, svd)| {
        json!({"algorithm": "hybrid", "validation": 0, "members": [als, svd, {"algorithm": "item_knn"}]})
    });
    let tuned = (1i64..5, 0..4).prop_map(|(more, power_iterations)| {
        let factors: Vec<i64> = (1..=more).collect();
        json!({"algorithm": "svd", "power_iterations": power_iterations, "validation": 0.2,
               "tune": {"grid": {"factors": factors}}})
    });
    let alone = prop_oneof![als, svd, graph, ratings, hybrid, tuned];
    (alone, prop_oneof![Just(None), (0.01..0.5).prop_map(Some)]).prop_map(|(mut given, share)| {
        if let Some(share) = share {
            given["validation"] = json!(share);
        }
        given
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_checkpoint_leads_to_the_same_end(
        given in algorithms(),
        rows in rows(),
        threads in 1usize..4,
    ) {
        resume_everywhere(&given, &rows, threads);
    }

    /// Stopped again and again, each time by a cancel, and each time gone on from the last
    /// checkpoint.
    #[test]
    fn a_resumed_training_can_be_resumed(
        given in algorithms(),
        rows in rows(),
        most in 1usize..4,
    ) {
        let whole = run(&given, &rows, 2, None, &Listener::new(usize::MAX)).unwrap();
        let mut last: Option<Vec<u8>> = None;
        let (mut steps, mut runs) = (0, 0);
        let resumed = loop {
            runs += 1;
            prop_assert!(runs < 1000, "it does not get on");
            let listener = Listener::new(most);
            let result = run(&given, &rows, 1, last.as_deref(), &listener);
            let mut heard = listener.heard();
            for step in &heard.steps {
                steps += 1;
                prop_assert_eq!(step.step, steps);
            }
            match result {
                Ok(fitted) => break fitted,
                Err(error) => prop_assert_eq!(error, Error::Cancelled(Cancelled)),
            }
            last = heard.checkpoints.pop().map(|(_, checkpoint)| checkpoint);
        };
        assert_same(&whole, &resumed);
    }
}

/// Enough users that a sweep offers checkpoints while it solves them.
#[test]
fn a_long_sweep_goes_on_inside_one_side() {
    let rows: Vec<Row> = (0..70_000)
        .flat_map(|user| {
            let mut stream = Stream::new(3, "rows", user as u64);
            [0, 1].map(|_| (user, i64::from(stream.below(50)), 1.0))
        })
        .collect();
    for solver in ["cholesky", "conjugate_gradient"] {
        let given = json!({"factors": 3, "iterations": 2, "solver": solver});
        // Three parts of the users, the items, and the end.
        assert_eq!(resume_everywhere(&given, &rows, 2), 2 * 5);
    }
}

#[test]
fn svd_tells_its_iterations() {
    let rows: Vec<Row> = (0..40)
        .flat_map(|user| (0..30).map(move |item| (user, item, 1.0 + ((user * item) % 7) as f32)))
        .collect();
    let listener = Listener::new(usize::MAX);
    let given = json!({"algorithm": "svd", "factors": 5, "oversampling": 0, "power_iterations": 6});
    let fitted = run(&given, &rows, 2, None, &listener).unwrap();
    let steps = listener.heard().steps;
    assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(steps.iter().all(|step| step.of == 6 && step.rows == 40 * 30));
    let losses: Vec<f64> = steps.iter().map(|step| step.loss).collect();
    assert!(losses.windows(2).all(|pair| pair[1] <= pair[0] + 1e-6), "{losses:?}");
    let last = fitted.metrics.iter().find(|(name, _)| *name == "loss").unwrap().1;
    assert!(losses[0] < 1.0 && losses[5] + 1e-6 >= last, "{losses:?} {last}");
    assert!(losses[5] - last < 0.01, "{losses:?} {last}");
}

fn trainings() -> [Value; 4] {
    [
        json!({"algorithm": "als", "factors": 3, "iterations": 2}),
        json!({"algorithm": "svd", "factors": 3, "oversampling": 1, "power_iterations": 2}),
        json!({"algorithm": "als", "factors": 2, "iterations": 2, "validation": 0.3}),
        json!({"algorithm": "hybrid", "validation": 0, "members": [
            {"algorithm": "als", "factors": 2, "iterations": 1}, {"algorithm": "popular"},
        ]}),
    ]
}

fn some_rows() -> Vec<Row> {
    (0..12).flat_map(|user| (0..9).map(move |item| (user, item, 1.0))).step_by(2).collect()
}

fn checkpoints(given: &Value) -> Vec<Vec<u8>> {
    let listener = Listener::new(usize::MAX);
    run(given, &some_rows(), 1, None, &listener).unwrap();
    listener.heard().checkpoints.into_iter().map(|(_, checkpoint)| checkpoint).collect()
}

fn refusal(given: &Value, rows: &[Row], checkpoint: &[u8]) -> CheckpointError {
    match run(given, rows, 1, Some(checkpoint), &Listener::new(usize::MAX)) {
        Err(Error::Checkpoint(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn another_training_refuses_the_checkpoint() {
    let [als, svd, ..] = trainings();
    let parameters = CheckpointError::OtherTraining("parameters");
    let popular = json!({"algorithm": "popular"});
    for (given, other, iterations) in [(&als, &svd, "iterations"), (&svd, &als, "power_iterations")]
    {
        let rows = some_rows();
        let checkpoint = checkpoints(given).pop().unwrap();
        assert_eq!(refusal(other, &rows, &checkpoint), parameters);
        assert_eq!(refusal(&popular, &rows, &checkpoint), parameters);
        for (name, value) in [("seed", 43), ("factors", 4), (iterations, 3)] {
            let mut changed = given.clone();
            changed[name] = json!(value);
            assert_eq!(refusal(&changed, &rows, &checkpoint), parameters, "{name}");
        }
        let data = CheckpointError::OtherTraining("data");
        assert_eq!(refusal(given, &rows[1..], &checkpoint), data);
        let mut heavier = rows.clone();
        heavier[3].2 = 1.5;
        assert_eq!(refusal(given, &heavier, &checkpoint), data);
        // The ids alone may change: they are read from the data.
        let renamed: Vec<Row> = rows.iter().map(|&(u, i, weight)| (u + 5, i, weight)).collect();
        let resumed =
            run(given, &renamed, 1, Some(&checkpoint), &Listener::new(usize::MAX)).unwrap();
        let whole = run(given, &renamed, 1, None, &Listener::new(usize::MAX)).unwrap();
        assert_same(&whole, &resumed);
    }
}

/// The arrays of a checkpoint, written anew with the right checksum around another position.
fn forged(checkpoint: &[u8], position: &[u64]) -> AlignedBytes {
    let payload = Payload::parse(shared(checkpoint)).unwrap();
    let key = payload.get(payload.array_of::<u64>("training", &[2]).unwrap());
    let mut writer = PayloadWriter::new();
    writer.array("training", &[2], key);
    writer.array("position", &[position.len()], position);
    for name in ["users", "items", "subspace"] {
        if let Ok((array, shape)) = payload.array::<f32>(name) {
            writer.array(name, &shape, payload.get(array));
        }
    }
    writer.finish()
}

#[test]
fn a_forged_position_is_refused() {
    let [als, svd, ..] = trainings();
    let nan = f64::NAN.to_bits();
    let rows = some_rows();
    let last = checkpoints(&als).pop().unwrap();
    let refuse = |position: &[u64]| refusal(&als, &rows, &forged(&last, position));
    let error = CheckpointError::Position { what: "sweep", got: 3, expected: 2 };
    assert_eq!(refuse(&[3, 0, 0, 0]), error);
    let error = CheckpointError::Position { what: "row", got: 22, expected: 21 };
    assert_eq!(refuse(&[1, 22, 0, 0]), error);
    for position in [[1, 0, nan, 0], [1, 15, 0, nan]] {
        assert_eq!(refuse(&position), CheckpointError::NotFinite("loss"));
    }
    assert!(matches!(refuse(&[1]), CheckpointError::Payload(_)));

    let last = checkpoints(&svd).pop().unwrap();
    let refuse = |position: &[u64]| refusal(&svd, &rows, &forged(&last, position));
    let error = CheckpointError::Position { what: "half iteration", got: 5, expected: 4 };
    assert_eq!(refuse(&[5, 0]), error);
    assert_eq!(refuse(&[2, nan]), CheckpointError::NotFinite("loss"));
    assert!(matches!(refuse(&[1, 0]), CheckpointError::Payload(_)), "users are no items");
}

proptest! {
    #[test]
    fn damage_is_refused(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        static CHECKPOINTS: std::sync::OnceLock<[Vec<Vec<u8>>; 4]> = std::sync::OnceLock::new();
        let all = CHECKPOINTS.get_or_init(|| trainings().map(|given| checkpoints(&given)));
        for (given, checkpoints) in trainings().iter().zip(all) {
            let mut bytes = at.get(checkpoints).clone();
            let at = at.index(bytes.len());
            refusal(given, &some_rows(), &bytes[..at]);
            bytes[at] ^= flip;
            refusal(given, &some_rows(), &bytes);
        }
    }

    /// Whatever a forger writes into the position, a training goes on or refuses.
    #[test]
    fn no_position_breaks_it(
        position in prop::collection::vec(prop_oneof![0u64..30, any::<u64>()], 2..6),
    ) {
        for given in trainings() {
            let bytes = forged(checkpoints(&given).last().unwrap(), &position);
            let _ = run(&given, &some_rows(), 1, Some(&bytes), &Listener::new(usize::MAX));
        }
    }
}

#[test]
fn memory_for_a_checkpoint_is_counted() {
    let size = |users| Size { users, items: 1_000_000, interactions: 1_000_000, ..Size::default() };
    // One user and one item more need their factors, those times an inverse, and a checkpoint's.
    let als = algorithm(&json!({"algorithm": "als", "factors": 1000}));
    let needed = |users| memory_needed(&*als, &size(users));
    let more = needed(1_100_000) - needed(1_000_000);
    assert!(more >= 100_000 * 1000 * 4 * 3, "{more}");
    let svd = algorithm(&json!({"algorithm": "svd", "factors": 900, "oversampling": 100}));
    let needed = |users| memory_needed(&*svd, &size(users));
    let more = needed(1_100_000) - needed(1_000_000);
    assert!(more >= 100_000 * 1000 * 4 * 3, "{more}");
}
