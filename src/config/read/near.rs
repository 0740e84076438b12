//! Similar words: suggestions for an unknown word.

/// The most similar word, if one is similar enough.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Names are at most this long, and the work grows with the square of it.
    const LONGEST: usize = 64;
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let folded = folded(word);
    let length = folded.chars().count();
    let allowed = (length / 3).clamp(1, 3);
    known
        .into_iter()
        .filter(|key| !is_opposite(&folded, key))
        // Most words are too different in length already, and to see that costs nothing.
        .filter(|key| key.len().abs_diff(folded.len()) <= allowed || is_beginning(&folded, key))
        .map(|key| (strsim::osa_distance(&folded, &key.replace('-', "_").to_lowercase()), key))
        .filter(|(distance, key)| {
            (*distance <= allowed && *distance < key.chars().count()) || is_beginning(&folded, key)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

/// A word as words are compared: in lower case, with `_` for `-`.
pub(crate) fn folded(word: &str) -> String {
    word.replace('-', "_").to_lowercase()
}

/// Whether one of the words negates the other: `nopreempt` and `preempt`, `secure` and `insecure`. Such words are
/// similar, but one is not a mistyped other. `word` is folded.
pub(crate) fn is_opposite(word: &str, key: &str) -> bool {
    const NO: [&str; 10] = ["no", "non", "not", "un", "in", "dis", "de", "disable", "without", "dont"];
    let key = folded(key);
    let says_no = |long: &str, short: &str| {
        let prefix = long.strip_suffix(short).map(|prefix| prefix.trim_end_matches('_'));
        prefix.is_some_and(|prefix| NO.contains(&prefix))
    };
    says_no(word, &key) || says_no(&key, word)
}

/// Whether one of the words is the beginning of the other (`warning`, `tor` for `tor-a`).
fn is_beginning(word: &str, key: &str) -> bool {
    /// Shorter beginnings say nothing.
    const LEAST: usize = 3;
    word.len().min(key.len()) >= LEAST && (word.starts_with(key) || key.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_words_are_not_all_alike() {
        assert_eq!(nearest("x", ["a", "b"]), None);
        assert_eq!(nearest("web", ["dns", "db"]), None);
        assert_eq!(nearest("wbe", ["web", "db"]), Some("web"));
        assert_eq!(nearest(&"w".repeat(1000), ["web"]), None);
    }

    #[test]
    fn nobody_is_told_that_the_opposite_was_meant() {
        assert_eq!(nearest("inactive", ["active", "standby"]), None);
        assert_eq!(nearest("no_demote", ["withdraw", "demote"]), None);
        assert_eq!(nearest("activ", ["active", "standby"]), Some("active"));
    }
}
