//! Values as they are written into a configuration.

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Yaml {
    Text(String),
    Number(u64),
    Switch(bool),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

pub(super) fn text(text: impl Into<String>) -> Yaml {
    Yaml::Text(text.into())
}

pub(super) fn list(values: impl IntoIterator<Item = Yaml>) -> Yaml {
    Yaml::List(values.into_iter().collect())
}

pub(super) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Yaml)>) -> Yaml {
    Yaml::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A duration, with the largest unit that is exact.
pub(super) fn milliseconds(ms: u64) -> Yaml {
    text(if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") })
}

impl Yaml {
    /// On one line.
    pub(super) fn flow(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Switch(on) => on.to_string(),
            Self::List(values) => {
                format!("[{}]", values.iter().map(Self::flow).collect::<Vec<_>>().join(", "))
            }
            Self::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{}: {}", quoted(key), value.flow()));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A text that is read as it is: in quotes where it could be anything else, and without variables.
pub(super) fn quoted(text: &str) -> String {
    const WORDS: [&str; 7] = ["null", "true", "false", "yes", "no", "on", "off"];
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let is_word = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if begins && !is_word && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.replace("${", "$${").chars() {
        match c {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            '\0' => quoted += "\\0",
            c if (c as u32) < 0x20 || (0x7f..0xa0).contains(&(c as u32)) => {
                quoted += &format!("\\x{:02x}", c as u32)
            }
            // Line separators, a byte order mark, and what YAML does not take as it is.
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                quoted += &format!("\\u{:04x}", c as u32)
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted_where_it_could_be_something_else() {
        let table = [
            ("web", "web"),
            ("/usr/bin/curl", "/usr/bin/curl"),
            ("192.0.2.1/32", "192.0.2.1/32"),
            ("2001:db8::1", "\"2001:db8::1\""),
            ("null", "\"null\""),
            ("No", "\"No\""),
            ("", "\"\""),
            ("-", "\"-\""),
            ("a \"b\" \\ ${c} $d\n", "\"a \\\"b\\\" \\\\ $${c} $d\\n\""),
        ];
        for (text, expected) in table {
            assert_eq!(quoted(text), expected);
        }
    }
}
