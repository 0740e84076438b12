//! Macros that state a type of the API once, with its descriptions, and make the struct or enum, its JSON and its
//! schema from it.

/// A struct. A field marked `[default]` is left out of the JSON when it has the default of its type; `=> {…}` adds to the schema.
/// `includes base: Base` has the fields of another struct beside its own, in one object. Unknown fields of an `answer`
/// are ignored, because a later version may have more; in a `request` they are an error.
macro_rules! api {
    (answer $($rest:tt)+) => { api!(@struct [false] [] $($rest)+); };
    (request $($rest:tt)+) => { api!(@struct [true] [#[serde(deny_unknown_fields)]] $($rest)+); };
    (@struct [$is_closed:literal] [$($strict:tt)*]
        $(#[doc = $about:literal])+
        $name:ident $(includes $base:ident: $of:ty)? {
            $( $(#[doc = $doc:literal])+ $field:ident $([$default:ident])? : $type:ty $(=> $more:tt)? ),+ $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        $($strict)*
        pub struct $name {
            $(
                #[doc = concat!("All that [`", stringify!($of), "`] says.")]
                #[serde(flatten)]
                pub $base: $of,
            )?
            $(
                $(#[doc = $doc])+
                $(#[serde($default, skip_serializing_if = "is_default")])?
                pub $field: $type,
            )+
        }

        impl $crate::control::api::Schema for $name {
            fn schema(named: &mut $crate::control::api::schema::Named) -> ::serde_json::Value {
                use $crate::control::api::schema::{Field, object};
                named.refer(stringify!($name), |named| {
                    let fields = vec![$(
                        Field {
                            name: stringify!($field),
                            doc: &[$($doc),+],
                            is_optional: false $(|| stringify!($default) == "default")?,
                            schema: <$type as $crate::control::api::Schema>::schema(named),
                            more: None $(.or(Some(::serde_json::json!($more))))?,
                        }
                    ),+];
                    let base = None $(.or(Some(<$of as $crate::control::api::Schema>::schema(named))))?;
                    object(&[$($about),+], fields, base, $is_closed)
                })
            }
        }
    };
}

/// Words for a state. A later version may have more words: a client takes those as `Other`, and shows them unchanged.
/// The daemon never makes an `Other`.
macro_rules! words {
    ($( $(#[doc = $about:literal])+ $name:ident { $( $(#[doc = $doc:literal])+ $word:ident = $said:literal ),+ $(,)? } )+) => { $(
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $( $(#[doc = $doc])+ $word, )+
            /// A word that this version does not know.
            Other(String),
        }

        impl $name {
            /// All that this version knows.
            pub const KNOWN: &[Self] = &[$(Self::$word),+];

            /// The word itself.
            pub fn word(&self) -> &str {
                match self {
                    $(Self::$word => $said,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($said => Self::$word,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(deserializer)?.as_str()))
            }
        }

        impl $crate::control::api::Schema for $name {
            fn schema(named: &mut $crate::control::api::schema::Named) -> ::serde_json::Value {
                use $crate::control::api::schema::text;
                named.refer(stringify!($name), |_| {
                    let mut about = text(&[$($about),+]);
                    $( about += &format!("\n* `{}`: {}", $said, text(&[$($doc),+])); )+
                    ::serde_json::json!({"type": "string", "enum": [$($said),+], "description": about})
                })
            }
        }
    )+ };
}

pub(super) use {api, words};
