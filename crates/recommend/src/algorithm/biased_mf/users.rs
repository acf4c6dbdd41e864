//! Users with the items fixed: what a training ends with, and what new ratings give.

use teller_numeric::{Cancelled, Control};
use teller_payload::{Array, Payload, PayloadError, PayloadWriter};

use super::NAMES;
use super::rows::{Given, Row, Shape, Sums};

/// Where a start's factors go.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) member: usize,
    pub(super) of: usize,
    /// Numbers of a row of all.
    pub(super) count: usize,
}

/// What turns ratings into numbers of mean 0 and variance 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

impl Scale {
    pub(super) fn of(ratings: &[f32]) -> Self {
        let count = ratings.len().max(1) as f64;
        let mean = ratings.iter().map(|&rating| f64::from(rating)).sum::<f64>() / count;
        let squares = ratings.iter().map(|&rating| (f64::from(rating) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        Self { mean, deviation: if deviation > 0.0 { deviation } else { 1.0 } }
    }

    pub(super) fn standard(self, rating: f32) -> f32 {
        ((f64::from(rating) - self.mean) / self.deviation) as f32
    }

    /// Puts a start's factors in their place, and adds its part of the bias, so that the products
    /// of all add up to the mean.
    pub(super) fn put(
        self,
        shape: Shape,
        rows: &[f32],
        place: Place,
        bias: usize,
        out: &mut [f32],
    ) {
        let width = shape.width - 1;
        let part = self.deviation / place.of as f64;
        let rows = rows.chunks_exact(shape.len());
        for (row, out) in rows.zip(out.chunks_exact_mut(place.count)) {
            out[bias] += (f64::from(row[0]) * part) as f32;
            let factors = &mut out[place.member * width..][..width];
            for (out, &x) in factors.iter_mut().zip(&row[1..shape.width]) {
                *out = (f64::from(x) * part.sqrt()) as f32;
            }
        }
    }
}

/// What is known of the items when a training ends, in each of its starts.
pub(super) struct Items<'a> {
    pub(super) shape: Shape,
    pub(super) scale: Scale,
    pub(super) starts: Vec<Start<'a>>,
}

/// What one start knows.
pub(super) struct Start<'a> {
    /// How users are solved.
    pub(super) given: Given<'a>,
    /// The items' numbers.
    pub(super) items: &'a [f32],
}

impl Items<'_> {
    /// The factors of a user of these ratings, which are of mean 0 and variance 1: those of all
    /// starts, the bias with the mean, and 1.
    pub(super) fn user(
        &self,
        ratings: (&[u32], &[f32]),
        control: &dyn Control,
    ) -> Result<Vec<f32>, Cancelled> {
        let Self { shape, scale, starts } = self;
        let count = starts.len() * (shape.width - 1) + 2;
        let (mut user, mut solved) = (vec![0f32; count], vec![0f32; shape.len()]);
        let mut row = Row::new(*shape);
        for (member, start) in starts.iter().enumerate() {
            row.gather(ratings, start.items, control)?;
            row.solve(start.given, &mut solved, &mut Sums::none(*shape));
            let place = Place { member, of: starts.len(), count };
            scale.put(*shape, &solved, place, count - 2, &mut user);
        }
        user[count - 2] = (scale.mean + f64::from(user[count - 2])) as f32;
        user[count - 1] = 1.0;
        Ok(user)
    }

    /// Each start's variances: those of the users' priors, and of the noise.
    pub(super) fn variances(&self) -> Vec<f64> {
        let of = |start: &Start<'_>| [start.given.priors, &[start.given.noise]].concat();
        self.starts.iter().flat_map(of).collect()
    }
}

/// The same, read in place from a payload.
#[derive(Debug)]
pub(crate) struct StoredItems {
    payload: Payload,
    shape: Shape,
    scale: Scale,
    variances: Array<f64>,
    items: Vec<Array<f32>>,
}

impl StoredItems {
    /// Adds what [`Self::load`] reads; `numbers` are the [`Items::variances`] and the scale's.
    pub(super) fn write<'a>(
        items: &Items<'a>,
        (variances, scale): (&'a [f64], &'a [f64; 2]),
        writer: &mut PayloadWriter<'a>,
    ) {
        let len = items.shape.len();
        writer.array("scale", &[2], scale);
        writer.array("variances", &[items.starts.len(), items.shape.width + 1], variances);
        for (name, start) in NAMES.iter().zip(&items.starts) {
            writer.array(name, &[start.items.len() / len, len], start.items);
        }
    }

    /// Of so many items with so many factors; nothing where this was not stored.
    pub(crate) fn load(
        payload: &Payload,
        items: usize,
        count: usize,
    ) -> Result<Option<Self>, PayloadError> {
        if !payload.arrays().any(|(name, ..)| name == "variances") {
            return Ok(None);
        }
        let (variances, sizes) = payload.array::<f64>("variances")?;
        let scale = payload.get(payload.array_of::<f64>("scale", &[2])?);
        let scale = Scale { mean: scale[0], deviation: scale[1] };
        let refused = |got: String, expected| {
            Err(PayloadError::Value { name: "variances".to_owned(), got, expected })
        };
        let shape = match sizes[..] {
            [starts, numbers]
                if (1..=NAMES.len()).contains(&starts)
                    && numbers >= 2
                    && starts * (numbers - 2) + 2 == count =>
            {
                Shape { width: numbers - 1 }
            }
            _ => return refused(format!("of shape {sizes:?}"), "those of each start's factors"),
        };
        let mut given = payload.get(variances).iter().chain([&scale.deviation]);
        if let Some(bad) = given.find(|x| !(x.is_finite() && **x > 0.0)) {
            return refused(bad.to_string(), "finite numbers greater than 0");
        }
        let named = NAMES.iter().take(sizes[0]);
        let items = named
            .map(|name| payload.array_of(name, &[items, shape.len()]))
            .collect::<Result<_, PayloadError>>()?;
        Ok(Some(Self { payload: payload.clone(), shape, scale, variances, items }))
    }

    /// The factors of a user of these ratings.
    pub(crate) fn user(
        &self,
        (items, ratings): (&[u32], &[f32]),
        control: &dyn Control,
    ) -> Result<Vec<f32>, Cancelled> {
        let standard: Vec<f32> =
            ratings.iter().map(|&rating| self.scale.standard(rating)).collect();
        self.items().user((items, &standard), control)
    }

    fn items(&self) -> Items<'_> {
        let variances = self.payload.get(self.variances).chunks_exact(self.shape.width + 1);
        let starts = variances.zip(&self.items).filter_map(|(variances, &items)| {
            let (&noise, priors) = variances.split_last()?;
            Some(Start { given: Given { priors, noise }, items: self.payload.get(items) })
        });
        Items { shape: self.shape, scale: self.scale, starts: starts.collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use teller_numeric::Uninterrupted;

    use super::*;

    const ITEMS: usize = 12;

    /// Of each item the places where it may be.
    type Places = Vec<Vec<Vec<f32>>>;

    /// The solution of a linear system, by Gauss with pivots.
    fn solution(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
        let n = rows.len();
        for k in 0..n {
            let largest = (k..n).max_by(|&a, &b| rows[a][k].abs().total_cmp(&rows[b][k].abs()));
            rows.swap(k, largest.unwrap());
            let row = rows[k].clone();
            for (_, other) in rows.iter_mut().enumerate().filter(|&(i, _)| i != k) {
                let factor = other[k] / row[k];
                other.iter_mut().zip(&row).for_each(|(x, y)| *x -= factor * y);
            }
        }
        (0..n).map(|k| rows[k][n] / rows[k][k]).collect()
    }

    /// E[z] and E[zz'] of items that are equally likely to be at each of a few places.
    fn moments(places: &[Vec<f32>], shape: Shape) -> Vec<f32> {
        let mean = |number: &dyn Fn(&Vec<f32>) -> f32| {
            places.iter().map(number).sum::<f32>() / places.len() as f32
        };
        let mut known = vec![0f32; shape.len()];
        for i in 0..shape.width {
            known[i] = mean(&|z| z[i]);
            for j in i..shape.width {
                known[shape.square(i, j)] = mean(&|z| z[i] * z[j]);
            }
        }
        known
    }

    fn items(width: usize) -> impl Strategy<Value = Places> {
        let z = prop::collection::vec(-1f32..1.0, width);
        prop::collection::vec(prop::collection::vec(z, 1..4), ITEMS)
    }

    fn starts() -> impl Strategy<Value = (usize, (Places, Places, Vec<f64>))> {
        (1usize..6).prop_flat_map(|width| {
            let variances = prop::collection::vec(0.05f64..3.0, 2 * (width + 1));
            (Just(width), (items(width), items(width), variances))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A start's numbers of a user have the least expected squared error over all that the items
        /// may be, plus what the prior says.
        #[test]
        fn users_of_stored_items_have_the_least_expected_loss(
            (width, (first, second, variances)) in starts(),
            ratings in prop::collection::btree_map(0..ITEMS as u32, 1f32..5.0, 1..ITEMS),
        ) {
            let shape = Shape { width };
            let scale = Scale { mean: 3.1, deviation: 1.3 };
            let known = [&first, &second].map(|items| {
                items.iter().flat_map(|places| moments(places, shape)).collect::<Vec<f32>>()
            });
            let given = variances.chunks_exact(width + 1).map(|v| {
                Given { priors: &v[..width], noise: v[width] }
            });
            let starts = given.zip(&known).map(|(given, items)| Start { given, items }).collect();
            let items = Items { shape, scale, starts };
            let (numbers, in_double) = (items.variances(), [scale.mean, scale.deviation]);
            let mut writer = PayloadWriter::new();
            StoredItems::write(&items, (&numbers, &in_double), &mut writer);
            let payload = Payload::parse(Arc::new(writer.finish())).unwrap();
            let count = 2 * (width - 1) + 2;
            prop_assert!(StoredItems::load(&payload, ITEMS, count + 1).is_err());
            prop_assert!(StoredItems::load(&payload, ITEMS + 1, count).is_err());
            let stored = StoredItems::load(&payload, ITEMS, count).unwrap().unwrap();
            let (columns, values): (Vec<u32>, Vec<f32>) = ratings.into_iter().unzip();
            let user = stored.user((&columns, &values), &Uninterrupted).unwrap();

            let mut bias = scale.mean;
            for (start, places) in [&first, &second].into_iter().enumerate() {
                let variances = &variances[start * (width + 1)..][..width + 1];
                let mut system = vec![vec![0f64; width + 1]; width];
                (0..width).for_each(|i| system[i][i] = variances[width] / variances[i]);
                for (&item, &rating) in columns.iter().zip(&values) {
                    let places = &places[item as usize];
                    for z in places {
                        let z: Vec<f64> = z.iter().map(|&x| f64::from(x)).collect();
                        let h = |i: usize| if i == 0 { 1.0 } else { z[i] };
                        let target = (f64::from(rating) - scale.mean) / scale.deviation - z[0];
                        let share = 1.0 / places.len() as f64;
                        for (i, row) in system.iter_mut().enumerate() {
                            (0..width).for_each(|j| row[j] += share * h(i) * h(j));
                            row[width] += share * h(i) * target;
                        }
                    }
                }
                let z = solution(system);
                bias += scale.deviation / 2.0 * z[0];
                let factors = &user[start * (width - 1)..][..width - 1];
                for (factor, z) in factors.iter().zip(&z[1..]) {
                    let expected = (scale.deviation / 2.0).sqrt() * z;
                    prop_assert!((f64::from(*factor) - expected).abs() < 1e-4);
                }
            }
            prop_assert!((f64::from(user[count - 2]) - bias).abs() < 1e-4);
            prop_assert_eq!(user[count - 1], 1.0);
        }
    }
}
