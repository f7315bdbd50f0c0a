//! Reads values of the tree into types with `#[derive(Deserialize)]`.
//!
//! A struct lists the fields of an object and its types say what each may hold, so that a dialect needs no loop over keys.
//! The deserializer adds what such a type can't say:
//!
//! - an error names the field by its path, and never shows its value;
//! - a field that the struct lacks, or that it holds as `NoEffect`, is noted in `Ignored`;
//! - another spelling of a field (`Model` for `model`) is refused;
//! - `None` is a field that is missing, null or empty; `Sent` makes a difference between empty and missing;
//! - a field of the type `Unread` takes any value and is not noted;
//! - an array has at most `ITEMS_MAX` items, since a type may need far more memory than `{}`;
//! - an enum with variants named after kinds of values (`a string`, `an array of parts`) takes the one that fits the value.
//!   A kind in parentheses is recognised, but not named among the choices of an error.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::CowStrDeserializer;
use serde::de::{self, DeserializeSeed, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess};
use serde::de::{Unexpected, VariantAccess, Visitor};

use crate::base::error::Error;
use crate::dialect::data::Data;
use crate::dialect::json::at::At;
use crate::dialect::json::ignored::Ignored;
use crate::dialect::json::{Json, Object, tree};

/// The type of a known field that has no effect here. Its name is noted.
pub type NoEffect = de::IgnoredAny;

/// The type of a field that is accepted and not read.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Unread;

/// Maximum number of items in an array that is read into a type.
pub const ITEMS_MAX: usize = 16 * 1024;

/// Takes the value of a field out of an object, to be read apart from the others.
pub fn take<'de>(object: &mut Object<'de>, name: &str) -> Option<Json<'de>> {
    let value = object.iter_mut().find(|(key, _)| key == name)?;
    Some(std::mem::replace(&mut value.1, Json::Null)).filter(|value| !value.is_absent())
}

/// Reads a body, and notes in `ignored` what has no effect.
pub fn read_body<'de, T: Deserialize<'de>>(body: Object<'de>, ignored: &mut Ignored) -> Result<T, Error> {
    Json::Object(body).read(&At::Body, ignored)
}

impl<'de> Json<'de> {
    /// Reads a value into a type, and notes in `ignored` what has no effect.
    pub fn read<T: Deserialize<'de>>(self, at: &At<'_>, ignored: &mut Ignored) -> Result<T, Error> {
        T::deserialize(Value { value: self, at, ignored }).map_err(|fault| fault.error(at))
    }
}

/// Returns the error of a value that is understood, but can't be honoured: `unsupported_parameter`.
pub fn unsupported<E: de::Error>(why: &str) -> E {
    E::invalid_value(Unexpected::Other(UNSUPPORTED), &why)
}

const UNSUPPORTED: &str = "unsupported";

/// The reason why a value can't be read, until its path is known.
#[derive(Debug)]
enum Fault {
    Placed(Error),
    Invalid(String),
    Unsupported(String),
    Missing(&'static str),
}

impl Fault {
    /// Returns the error of a fault in the value at `at`, unless it was found further inside.
    fn error(self, at: &At<'_>) -> Error {
        match self {
            Fault::Placed(error) => error,
            Fault::Invalid(why) => at.invalid(why),
            Fault::Unsupported(why) => at.unsupported(why),
            Fault::Missing(field) => at.key(field).invalid("is missing"),
        }
    }

    fn placed(self, at: &At<'_>) -> Fault {
        Fault::Placed(self.error(at))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Placed(error) => error.fmt(f),
            Fault::Invalid(why) | Fault::Unsupported(why) => f.write_str(why),
            Fault::Missing(field) => write!(f, "`{field}` is missing"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Placed(error)
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Fault::Invalid(why.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Fault::Invalid(format!("must be {expected}, not {}", kind_of(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match found {
            Unexpected::Other(UNSUPPORTED) => Fault::Unsupported(expected.to_string()),
            _ => Fault::Invalid(format!("must be {expected}")),
        }
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Fault::Invalid(match expected {
            [one] => format!("must be `{one}`"),
            [one, other] => format!("must be `{one}` or `{other}`"),
            several => format!("must be one of `{}`", several.join("`, `")),
        })
    }

    fn missing_field(field: &'static str) -> Self {
        Fault::Missing(field)
    }
}

fn kind_of(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        Unexpected::Unit | Unexpected::Option => "null",
        _ => "a string",
    }
}

/// The deserializer of one value.
struct Value<'de, 'r> {
    value: Json<'de>,
    at: &'r At<'r>,
    ignored: &'r mut Ignored,
}

impl<'de> de::Deserializer<'de> for Value<'de, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Json::Null => visitor.visit_unit(),
            Json::Bool(value) => visitor.visit_bool(value),
            Json::Number(number) => number.deserialize_any(visitor).map_err(de::Error::custom),
            Json::Text(text) => visit_text(text, visitor),
            Json::Array(_) => self.deserialize_seq(visitor),
            Json::Object(_) => self.deserialize_map(visitor),
            Json::Data(data) => {
                serde_json::Deserializer::from_str(data.text()).deserialize_any(visitor).map_err(de::Error::custom)
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(self.value.boolean(self.at)?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_i64(self.value.integer(self.at)?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f64(self.value.number(self.at)?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visit_text(self.value.text(self.at)?, visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.value.is_absent() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let items = self.value.array(self.at)?;
        if items.len() > ITEMS_MAX {
            return Err(Fault::Invalid(format!("may hold at most {ITEMS_MAX} items")));
        }
        let items = items.into_iter();
        visitor.visit_seq(Items { items, index: 0, at: self.at, ignored: self.ignored })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let fields = self.value.object(self.at)?.into_iter();
        visitor.visit_map(Fields { fields, known: None, next: None, at: self.at, ignored: self.ignored })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let fields = self.value.object(self.at)?.into_iter();
        visitor.visit_map(Fields { fields, known: Some(known), next: None, at: self.at, ignored: self.ignored })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match name {
            SENT if self.value.is_null() => visitor.visit_none(),
            SENT => visitor.visit_some(self),
            DATA => visitor.visit_borrowed_str(self.value.data(self.at)?.text()),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let kind = self.value.kind();
        if !variants.iter().any(|variant| is_kind(variant)) {
            let name = self.value.text(self.at)?;
            return visitor.visit_enum(Variant { name, value: None });
        }
        let Some(variant) = variants.iter().find(|variant| bare(variant).starts_with(kind)) else {
            let choices: Vec<&str> = variants.iter().copied().filter(|variant| bare(variant) == *variant).collect();
            return Err(Fault::Invalid(format!("must be {}, not {kind}", choices.join(" or "))));
        };
        visitor.visit_enum(Variant { name: Cow::Borrowed(*variant), value: Some(self) })
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if !self.value.is_absent() {
            self.ignored.add(self.at.without_indices());
        }
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 u8 u16 u32 u64 i128 u128 f32 char bytes byte_buf unit tuple tuple_struct identifier
    }
}

fn visit_text<'de, V: Visitor<'de>>(text: Cow<'de, str>, visitor: V) -> Result<V::Value, Fault> {
    match text {
        Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
        Cow::Owned(text) => visitor.visit_string(text),
    }
}

/// Whether a variant is named after a kind of values.
fn is_kind(variant: &str) -> bool {
    let variant = bare(variant);
    variant.starts_with("a ") || variant.starts_with("an ")
}

fn bare(variant: &str) -> &str {
    variant.trim_start_matches('(').trim_end_matches(')')
}

struct Items<'de, 'r> {
    items: std::vec::IntoIter<Json<'de>>,
    index: usize,
    at: &'r At<'r>,
    ignored: &'r mut Ignored,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some(value) = self.items.next() else { return Ok(None) };
        let at = self.at.index(self.index);
        self.index += 1;
        let read = seed.deserialize(Value { value, at: &at, ignored: self.ignored });
        read.map(Some).map_err(|fault| fault.placed(&at))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Fields<'de, 'r> {
    fields: <Object<'de> as IntoIterator>::IntoIter,
    /// The fields of the struct that is read; `None`: a map, which may have any.
    known: Option<&'static [&'static str]>,
    next: Option<(Cow<'de, str>, Json<'de>)>,
    at: &'r At<'r>,
    ignored: &'r mut Ignored,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((key, value)) = self.fields.next() else { return Ok(None) };
        if let Some(known) = self.known {
            let name = known.iter().copied().find(|name| *name == key);
            if name.is_none() {
                Ignored::check_spelling(known, self.at, &key)?;
            }
            if matches!(self.at, At::Body) {
                self.ignored.comes_next(name);
            }
        }
        let read = seed.deserialize(CowStrDeserializer::<Fault>::new(Cow::Borrowed(&key)))?;
        self.next = Some((key, value));
        Ok(Some(read))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((key, value)) = self.next.take() else {
            return Err(de::Error::custom("can't be read: its value was asked for before its name"));
        };
        let at = self.at.key(&key);
        seed.deserialize(Value { value, at: &at, ignored: self.ignored }).map_err(|fault| fault.placed(&at))
    }
}

/// A variant of an enum: its name, and the value that it holds if it was chosen by kind.
struct Variant<'de, 'r> {
    name: Cow<'de, str>,
    value: Option<Value<'de, 'r>>,
}

impl<'de, 'r> EnumAccess<'de> for Variant<'de, 'r> {
    type Error = Fault;
    type Variant = Held<'de, 'r>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Held<'de, 'r>), Fault> {
        let variant = seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(self.name))?;
        Ok((variant, Held(self.value)))
    }
}

struct Held<'de, 'r>(Option<Value<'de, 'r>>);

impl<'de> VariantAccess<'de> for Held<'de, '_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        let value = self.0.ok_or_else(|| Fault::Invalid("must be an object".into()))?;
        seed.deserialize(value)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &visitor))
    }
}

/// A field that counts even when it is empty: only null and a missing field are `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent<T>(pub Option<T>);

const SENT: &str = "Sent";

impl<T> Default for Sent<T> {
    fn default() -> Self {
        Sent(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Sent<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Sent<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or null")
            }

            fn visit_none<E>(self) -> Result<Sent<T>, E> {
                Ok(Sent(None))
            }

            fn visit_some<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Sent<T>, D::Error> {
                T::deserialize(deserializer).map(|value| Sent(Some(value)))
            }
        }

        deserializer.deserialize_newtype_struct(SENT, Reader(std::marker::PhantomData))
    }
}

const DATA: &str = "Data";

/// Client data as it was sent. Its field must be among the names that `json::read` was given.
impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Data<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Data<'de>, E> {
                Data::of(text).ok_or_else(|| E::invalid_type(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_newtype_struct(DATA, Reader)
    }
}

/// Client data, such as a JSON schema, as a tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree(pub serde_json::Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        tree(Data::deserialize(deserializer)?).map(Tree).map_err(de::Error::custom)
    }
}

#[cfg(test)]
pub mod tests;
