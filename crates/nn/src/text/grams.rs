//! Short runs of characters: what words have in common, and what is left of misspelled ones.

use std::ops::RangeInclusive;

/// Calls `found` with every run of so many characters of `text`, by length and then by place.
pub(crate) fn character_grams<'t>(
    text: &'t str,
    lengths: RangeInclusive<usize>,
    mut found: impl FnMut(&'t str),
) {
    // Where each character begins, and the end.
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    for length in lengths {
        for (from, to) in starts.iter().zip(starts.iter().skip(length)) {
            found(&text[*from..*to]);
        }
    }
}

/// A token between marks, so that a gram knows beginnings and ends.
pub(crate) fn marked(token: &str) -> String {
    format!("<{token}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grams(text: &str, lengths: RangeInclusive<usize>) -> Vec<&str> {
        let mut all = Vec::new();
        character_grams(text, lengths, |gram| all.push(gram));
        all
    }

    #[test]
    fn grams_are_of_characters() {
        assert_eq!(grams(&marked("ab"), 3..=5), ["<ab", "ab>", "<ab>"]);
        assert_eq!(grams("a\u{e9}\u{1f600}", 2..=2), ["a\u{e9}", "\u{e9}\u{1f600}"]);
        assert!(grams("", 1..=3).is_empty() && grams("a", 2..=5).is_empty());
    }
}
