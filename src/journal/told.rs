//! One record in words, and the macro that states it for the log and the events at once.

use serde_json::Value;

use crate::control::api::{EventKind, Level};

/// A record in words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) kind: EventKind,
    pub(crate) level: Level,
    pub(crate) message: String,
    /// The values by name, in the order of the line, without those that are missing.
    pub(crate) fields: Vec<(&'static str, Value)>,
}

impl Told {
    pub(super) fn new(kind: EventKind, level: Level) -> Self {
        Self { kind, level, message: String::new(), fields: Vec::new() }
    }

    pub(super) fn add(&mut self, name: &'static str, value: impl Field) {
        if let Some(value) = value.value() {
            self.fields.push((name, value));
        }
    }
}

/// The value of a field.
pub(super) trait Field {
    /// `None`: it is missing.
    fn value(&self) -> Option<Value>;
}

macro_rules! plain {
    ($($type:ty),+) => { $(
        impl Field for $type {
            fn value(&self) -> Option<Value> {
                Some(Value::from(self.to_owned()))
            }
        }
    )+ };
}

plain!(bool, u16, u32, u64, usize, str, String);

impl<T: Field + ?Sized> Field for &T {
    fn value(&self) -> Option<Value> {
        (**self).value()
    }
}

impl<T: Field> Field for Option<T> {
    fn value(&self) -> Option<Value> {
        self.as_ref()?.value()
    }
}

/// Writes a line to the log and returns it: `told!(warn Withdrawn: %vip, reason, "VIP withdrawn")`, the level, the kind of
/// the event, and the fields and text as in `tracing`.
macro_rules! told {
    ($level:ident $kind:ident: $($line:tt)+) => {{
        ::tracing::$level!($($line)+);
        let mut told = $crate::journal::told::Told::new(
            $crate::control::api::EventKind::$kind,
            $crate::journal::told::level!($level),
        );
        $crate::journal::told::fields!(told; $($line)+);
        told
    }};
}

macro_rules! level {
    (debug) => {
        $crate::control::api::Level::Debug
    };
    (info) => {
        $crate::control::api::Level::Info
    };
    (warn) => {
        $crate::control::api::Level::Warning
    };
    (error) => {
        $crate::control::api::Level::Error
    };
}

macro_rules! fields {
    ($told:ident; $format:literal $(, $argument:expr)* $(,)?) => {
        $told.message = format!($format $(, $argument)*);
    };
    ($told:ident; % $name:ident, $($rest:tt)+) => {
        $told.add(stringify!($name), $name.to_string());
        $crate::journal::told::fields!($told; $($rest)+);
    };
    ($told:ident; $name:ident = % $value:expr, $($rest:tt)+) => {
        $told.add(stringify!($name), $value.to_string());
        $crate::journal::told::fields!($told; $($rest)+);
    };
    ($told:ident; $name:ident = $value:expr, $($rest:tt)+) => {
        $told.add(stringify!($name), &$value);
        $crate::journal::told::fields!($told; $($rest)+);
    };
    ($told:ident; $name:ident, $($rest:tt)+) => {
        $told.add(stringify!($name), &$name);
        $crate::journal::told::fields!($told; $($rest)+);
    };
}

pub(super) use {fields, level, told};
