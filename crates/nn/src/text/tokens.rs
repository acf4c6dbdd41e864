//! From a text to its tokens: words and punctuation marks, in one spelling.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// Bytes of a text that are read at most; what comes after them is cut off.
pub(crate) const MOST_BYTES: usize = 1 << 16;

/// A text in its one spelling: compatibility composition (Unicode Annex 15), lower case, without
/// apostrophes, which people leave out as often as not.
pub(crate) fn normalize(text: &str) -> String {
    let end = text.floor_char_boundary(MOST_BYTES);
    let is_apostrophe = |c: &char| matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{02bc}');
    text[..end].nfkc().flat_map(char::to_lowercase).filter(|c| !is_apostrophe(c)).collect()
}

/// Words and punctuation marks of a normalized text (Unicode Annex 29), at most `most`.
pub(crate) fn tokens(normalized: &str, most: usize) -> Vec<&str> {
    let words = normalized.split_word_bounds();
    words.filter(|word| !word.trim().is_empty()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Vec<String> {
        tokens(&normalize(text), 100).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn one_spelling_for_many() {
        let expected = ["why", "hasnt", "my", "card", "arrived", "?", "!"];
        assert_eq!(of("Why hasn't my card  arrived?!"), expected);
        assert_eq!(of("WHY HASN\u{2019}T\tmy card\narrived ?!"), expected);
        assert_eq!(of("Cafe\u{301} \u{fb01}nal"), ["caf\u{e9}", "final"]);
        assert_eq!(of("\u{397}\u{3a3} 2,000.50"), ["\u{3b7}\u{3c3}", "2,000.50"]);
        assert!(of(" \u{a0}\n").is_empty() && of("").is_empty() && of("'").is_empty());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "a\u{1f600}".repeat(MOST_BYTES);
        assert!(normalize(&long).len() <= MOST_BYTES);
        assert_eq!(tokens(&normalize(&"word ".repeat(1 << 18)), 7), ["word"; 7]);
    }

    proptest! {
        #[test]
        fn any_text_has_tokens_without_spaces(text in any::<String>()) {
            let normalized = normalize(&text);
            for token in tokens(&normalized, usize::MAX) {
                prop_assert!(!token.trim().is_empty());
            }
        }
    }
}
