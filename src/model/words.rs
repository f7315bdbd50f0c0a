//! Closed lists of words, described as such in the OpenAPI document.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

/// Describes a type as one of its words. With a name alone, makes a type that does nothing else.
macro_rules! words_schema {
    ($(#[doc = $about:literal])+ $name:ident: $words:expr) => {
        $(#[doc = $about])+
        #[derive(Debug)]
        pub enum $name {}

        $crate::model::words::words_schema!(impl $name, concat!($($about),+), $words);
    };
    (impl $type:ident, $about:expr, $words:expr) => {
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                $crate::model::words::one_of($about, $words)
            }
        }

        impl utoipa::ToSchema for $type {}
    };
}
pub(crate) use words_schema;

/// Returns the schema of one of these words.
pub fn one_of(about: &str, words: impl IntoIterator<Item = &'static str>) -> RefOr<Schema> {
    let about = Some(about.trim()).filter(|about| !about.is_empty());
    ObjectBuilder::new().schema_type(Type::String).description(about).enum_values(Some(words)).build().into()
}
