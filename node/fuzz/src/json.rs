//! JSON that is damaged in its structure, as octets say.
//!
//! ```text
//!   a valid document ─► drop, double, swap, move, another type, another number, another name, another version ─► text
//! ```

use serde_json::{Map, Number, Value};

/// More changes than that only make refusals.
const MOST_CHANGES: usize = 12;
/// Behind a name that is written once more: no name of a form has it.
const TWICE: char = '\u{1}';

/// Octets that decide.
pub(crate) struct Chances<'a>(&'a [u8]);

impl<'a> Chances<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The next octet; 0 behind the last one.
    pub(crate) fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// 0 up to `limit`, which is left out.
    fn below(&mut self, limit: usize) -> usize {
        let number = usize::from(self.octet()) << 8 | usize::from(self.octet());
        number % limit.max(1)
    }
}

/// The document with changes, as text.
pub(crate) fn damaged(document: &Value, chances: &mut Chances<'_>) -> String {
    let mut document = document.clone();
    for _ in 0..MOST_CHANGES {
        if chances.0.is_empty() {
            break;
        }
        change(&mut document, chances);
    }
    document.to_string().replace("\\u0001", "")
}

fn change(document: &mut Value, chances: &mut Chances<'_>) {
    let how = chances.octet();
    let count = size(document);
    let (place, other) = (chances.below(count), chances.below(count));
    let Some(found) = nth(document, place) else { return };
    match (how % 12, found) {
        (0, Value::Object(fields)) => {
            if let Some(name) = one_of(fields, other) {
                fields.remove(&name);
            }
        }
        (1, Value::Object(fields)) => {
            if let Some(name) = one_of(fields, other)
                && let Some(value) = fields.get(&name).cloned()
            {
                fields.insert(format!("{name}{TWICE}"), value);
            }
        }
        (2, Value::Object(fields)) => {
            if let Some(name) = one_of(fields, other)
                && let Some(value) = fields.remove(&name)
            {
                const NAMES: [&str; 8] = ["v1", "v2", "v3", "until", "due", "more", "", "192.0.2.1/32"];
                fields.insert(NAMES[other % NAMES.len()].to_owned(), value);
            }
        }
        (0 | 3, Value::Array(items)) if !items.is_empty() => drop(items.remove(other % items.len())),
        (1, Value::Array(items)) if !items.is_empty() => items.push(items[other % items.len()].clone()),
        (2, Value::Array(items)) => items.reverse(),
        (4, Value::Array(items)) if !items.is_empty() && items.len() < 1 << 8 => {
            let copies: Vec<Value> = items.iter().cycle().take(items.len() * 4).cloned().collect();
            items.extend(copies);
        }
        (5 | 6, Value::Number(number)) => *number = another(number, chances),
        (5, Value::String(text)) => {
            const TEXTS: [&str; 8] =
                ["", "tor-a", "web", "192.0.2.1/32", "::/0", "\u{0}", "2026-11-27T12:00:00Z", "all"];
            *text = TEXTS[other % TEXTS.len()].to_owned();
        }
        (5, Value::Bool(flag)) => *flag = !*flag,
        (5, Value::Null) => *found_in(document, place) = Value::from(other),
        (5, Value::Object(fields)) => drop(fields.insert("more".to_owned(), Value::Null)),
        // One of the same type, from another place.
        (7 | 8, _) => exchange(document, place, other, how % 12 == 7),
        (_, value) => *value = of_another_type(other),
    }
}

/// A number near the old one, or at an end of a type.
fn another(number: &Number, chances: &mut Chances<'_>) -> Number {
    const TELLING: [u64; 12] = [
        0,
        1,
        2,
        255,
        65_535,
        1 << 31,
        u32::MAX as u64,
        1 << 40,
        (1 << 53) + 1,
        u64::MAX / 2,
        u64::MAX / 2 + 1,
        u64::MAX,
    ];
    let old = number.as_u64().unwrap_or(0);
    let by = 1_u64 << (chances.octet() % 44);
    match chances.octet() % 4 {
        0 => Number::from(old.saturating_add(by)),
        1 => Number::from(old.saturating_sub(by)),
        2 => Number::from(TELLING[usize::from(chances.octet()) % TELLING.len()]),
        _ => Number::from(u64::from(chances.octet())),
    }
}

fn of_another_type(which: usize) -> Value {
    match which % 9 {
        0 => Value::Null,
        1 => Value::Bool(true),
        2 => Value::from(-1),
        3 => Value::from(1.5),
        4 => Value::from("x".repeat(1 << 10)),
        5 => Value::Array(Vec::new()),
        6 => Value::Object(Map::new()),
        7 => Value::from(u64::MAX),
        _ => Value::from("v1"),
    }
}

/// Puts the value at `from` also at the next place after `to` that has one of the same type, or lets the two change places.
fn exchange(document: &mut Value, to: usize, from: usize, both: bool) {
    let Some(value) = nth(document, from).cloned() else { return };
    let count = size(document);
    let same = |at: &usize| {
        let type_of = |value: &Value| std::mem::discriminant(value);
        peek(document, *at).is_some_and(|other| type_of(other) == type_of(&value))
    };
    let Some(to) = (to..count).find(same) else { return };
    // Nothing that holds the other one: a document must not grow without an end.
    if matches!(value, Value::Array(_) | Value::Object(_)) && size(&value) > 64 {
        return;
    }
    let Some(place) = nth(document, to) else { return };
    let before = std::mem::replace(place, value);
    if both && let Some(place) = nth(document, from) {
        *place = before;
    }
}

fn one_of(fields: &Map<String, Value>, which: usize) -> Option<String> {
    fields.keys().nth(which % fields.len().max(1)).cloned()
}

/// The number of values in a value, itself included.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn found_in(value: &mut Value, at: usize) -> &mut Value {
    nth(value, at).expect("it was there")
}

/// The value at this place, counted from the outside inwards.
fn nth(value: &mut Value, mut at: usize) -> Option<&mut Value> {
    if at == 0 {
        return Some(value);
    }
    at -= 1;
    let inner: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for value in inner {
        let size = size(value);
        if at < size {
            return nth(value, at);
        }
        at -= size;
    }
    None
}

fn peek(value: &Value, mut at: usize) -> Option<&Value> {
    if at == 0 {
        return Some(value);
    }
    at -= 1;
    let inner: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for value in inner {
        let size = size(value);
        if at < size {
            return peek(value, at);
        }
        at -= size;
    }
    None
}
