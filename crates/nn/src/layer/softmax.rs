//! The probabilities at the end of a classifier. In training it is one with the loss, see
//! [`crate::loss`].

use teller_numeric::math;

/// Turns the logits of each image into probabilities in place.
pub(crate) fn softmax(logits: &mut [f32], classes: usize) {
    for row in logits.chunks_exact_mut(classes) {
        math::softmax(row);
    }
}
