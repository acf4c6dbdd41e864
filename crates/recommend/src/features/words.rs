/// The words of a text in lower case: runs of letters and digits.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_letters_and_digits() {
        let found: Vec<String> = words("Toy Story (1995), l'été—ÜBER 3.5%").collect();
        assert_eq!(found, ["toy", "story", "1995", "l", "été", "über", "3", "5"]);
        assert_eq!(words(" ,. ").count(), 0);
    }
}
