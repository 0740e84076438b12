//! Command lines, split as a shell splits them, and numbers with units.

/// The words of a command line; `None` if a quote has no end. Nothing is expanded.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '"' => break,
                        '\\' => match characters.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(characters.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// Seconds as a decimal number, in milliseconds.
pub(super) fn seconds(text: &str) -> Option<u64> {
    const MOST: f64 = 31_536_000.0;
    let seconds: f64 = text.trim().parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within bounds")]
    (0.0..=MOST).contains(&seconds).then(|| (seconds * 1000.0).round() as u64)
}

/// A duration of Go, such as `1m30s`, `500ms` or `1.5s`, in milliseconds.
pub(super) fn go_duration(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let unit_end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        sum = sum.checked_add(seconds(&(number * factor).to_string())?)?;
        rest = behind;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        let split = |line| split(line).map(|words| words.join("|"));
        assert_eq!(split("a  'b c' \"d \\\" e\" f\\ g").as_deref(), Some("a|b c|d \" e|f g"));
        assert_eq!(split("a''b \"\"").as_deref(), Some("ab|"));
        assert_eq!(split("it's"), None);
        assert_eq!(split("").as_deref(), Some(""));
    }

    #[test]
    fn durations_are_milliseconds() {
        assert_eq!(seconds("0.5"), Some(500));
        assert_eq!(seconds("-1"), None);
        assert_eq!(seconds("inf"), None);
        assert_eq!(go_duration("1m30s"), Some(90_000));
        assert_eq!(go_duration("1.5s"), Some(1500));
        assert_eq!(go_duration("250ms"), Some(250));
        for text in ["", "5", "s", "1y", "-1s"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }
}
