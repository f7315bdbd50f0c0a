//! Parameters of paths and queries: they are there or not, and only bodies know null.

use utoipa::openapi::path::Parameter;
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::{OpenApi, RefOr};

use crate::http::docs::errors::operations;

/// Takes null out of the schemas of parameters.
pub fn describe_parameters(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for (_, operation) in operations(item) {
            for parameter in operation.parameters.iter_mut().flatten() {
                if let RefOr::T(Parameter { schema: Some(schema), .. }) = parameter {
                    without_null(schema);
                }
            }
        }
    }
}

fn without_null(schema: &mut RefOr<Schema>) {
    let is_null = |one: &RefOr<Schema>| matches!(one, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null));
    let not_null = |kind: &SchemaType| match kind {
        SchemaType::Array(types) => types.iter().find(|one| **one != Type::Null).cloned().map(SchemaType::Type),
        _ => None,
    };
    match schema {
        RefOr::T(Schema::OneOf(one_of)) => {
            one_of.items.retain(|one| !is_null(one));
            if let [only] = one_of.items.as_slice() {
                *schema = only.clone();
            }
        }
        RefOr::T(Schema::Object(object)) => {
            object.schema_type = not_null(&object.schema_type).unwrap_or(object.schema_type.clone())
        }
        RefOr::T(Schema::Array(array)) => {
            array.schema_type = not_null(&array.schema_type).unwrap_or(array.schema_type.clone())
        }
        _ => {}
    }
}
