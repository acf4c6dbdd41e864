//! The rules as a whole against the formulas of their papers, in double precision.

use serde_json::{Value, json};
use teller_numeric::Stream;

use super::*;

const KERNEL: usize = 40_000;
const WEIGHTS: usize = KERNEL + 10;

/// Weights after some steps on gradients of a quadratic bowl, `w - 1`.
fn run(isa: Isa, rule: UpdateRule, steps: u32) -> Vec<f32> {
    let mut stream = Stream::new(5, "weights", 0);
    let mut weights: Vec<f32> = (0..WEIGHTS).map(|_| stream.normal() as f32).collect();
    let mut state = rule
        .start(WEIGHTS, std::iter::once(0..WEIGHTS).collect(), std::iter::once(0..KERNEL).collect())
        .unwrap();
    for step in 0..steps {
        let mut gradient: Vec<f32> = weights.iter().map(|w| w - 1.0).collect();
        state.update(isa, 0.01 / f64::from(step + 1), &mut weights, &mut gradient);
    }
    weights
}

/// The same in double precision, one formula after the other.
fn naive(rule: UpdateRule, steps: u32) -> Vec<f64> {
    let mut stream = Stream::new(5, "weights", 0);
    let mut weights: Vec<f64> = (0..WEIGHTS).map(|_| f64::from(stream.normal() as f32)).collect();
    let (mut m, mut v) = (vec![0.0; WEIGHTS], vec![0.0; WEIGHTS]);
    for step in 0..steps {
        let rate = 0.01 / f64::from(step + 1);
        let mut gradient: Vec<f64> = weights.iter().map(|w| w - 1.0).collect();
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        if let Some(longest) = rule.clip_norm.filter(|&longest| norm > longest) {
            gradient.iter_mut().for_each(|g| *g *= longest / norm);
        }
        for i in 0..WEIGHTS {
            let decay = if i < KERNEL { rule.weight_decay } else { 0.0 };
            let mut g = gradient[i];
            if rule.optimizer != Optimizer::AdamW {
                g += decay * weights[i];
            }
            match rule.optimizer {
                Optimizer::Sgd { momentum, nesterov } => {
                    // As PyTorch writes it, but with the rate inside the velocity.
                    m[i] = momentum * m[i] + rate * g;
                    weights[i] -= if nesterov { rate * g + momentum * m[i] } else { m[i] };
                }
                Optimizer::Adam | Optimizer::AdamW => {
                    if rule.optimizer == Optimizer::AdamW {
                        weights[i] -= rate * decay * weights[i];
                    }
                    m[i] = 0.9 * m[i] + 0.1 * g;
                    v[i] = 0.999 * v[i] + 0.001 * g * g;
                    let time = f64::from(step + 1);
                    let mean = m[i] / (1.0 - 0.9f64.powf(time));
                    let square = v[i] / (1.0 - 0.999f64.powf(time));
                    weights[i] -= rate * mean / (square.sqrt() + 1e-7);
                }
            }
        }
    }
    weights
}

fn rules() -> Vec<UpdateRule> {
    let sgd = |nesterov| Optimizer::Sgd { momentum: 0.9, nesterov };
    let mut rules = Vec::new();
    for optimizer in [Optimizer::Adam, Optimizer::AdamW, sgd(false), sgd(true)] {
        for weight_decay in [0.0, 0.3] {
            for clip_norm in [None, Some(20.0)] {
                rules.push(UpdateRule {
                    optimizer,
                    weight_decay,
                    clip_norm,
                    ..UpdateRule::default()
                });
            }
        }
    }
    rules
}

#[test]
fn every_rule_follows_its_paper() {
    for rule in rules() {
        for (got, expected) in run(Isa::detect(), rule, 12).iter().zip(naive(rule, 12)) {
            assert!((f64::from(*got) - expected).abs() < 2e-5, "{rule:?}: {got} {expected}");
        }
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    for rule in rules() {
        let first = run(Isa::SCALAR, rule, 3);
        for isa in Isa::available() {
            for threads in 1..=4 {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let other = pool.install(|| run(isa, rule, 3));
                let same = first.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{rule:?} {} {threads}", isa.name());
            }
        }
    }
}

#[test]
fn options_make_a_rule() {
    let read = |given: Value| {
        let mut options = Options::new("cnn", &given).unwrap();
        let rule = UpdateRule::read(&mut options, UpdateRule::default())?;
        options.finish().map(|()| rule)
    };
    assert_eq!(read(json!({})), Ok(UpdateRule::default()));
    let adamw = read(json!({"optimizer": "adamw"})).unwrap();
    assert_eq!((adamw.optimizer, adamw.weight_decay), (Optimizer::AdamW, 0.01));
    let given = json!({"optimizer": "sgd", "nesterov": true, "weight_decay": 1e-4, "clip_norm": 1});
    let expected = UpdateRule {
        optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: true },
        weight_decay: 1e-4,
        clip_norm: Some(1.0),
        ..UpdateRule::default()
    };
    assert_eq!(read(given), Ok(expected));
    for wrong in [
        json!({"momentum": 0.5}),
        json!({"optimizer": "adamw", "nesterov": true}),
        json!({"optimizer": "sgd", "momentum": 1}),
        json!({"weight_decay": -0.1}),
        json!({"weight_decay": 1.1}),
        json!({"clip_norm": 0}),
        json!({"beta1": 1}),
        json!({"optimizer": "sgd", "beta2": 0.9}),
        json!({"clip_norm": "much"}),
    ] {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_not_given_is_as_usual() {
    let usual = UpdateRule {
        optimizer: Optimizer::AdamW,
        weight_decay: 0.05,
        clip_norm: Some(1.0),
        betas: [0.5, 0.9],
    };
    let read = |given: Value| UpdateRule::read(&mut Options::new("gru", &given).unwrap(), usual);
    assert_eq!(read(json!({})), Ok(usual));
    let adam = UpdateRule { optimizer: Optimizer::Adam, weight_decay: 0.0, ..usual };
    assert_eq!(read(json!({"optimizer": "adam"})), Ok(adam));
    assert_eq!(read(json!({"clip_norm": 5})), Ok(UpdateRule { clip_norm: Some(5.0), ..usual }));
}
