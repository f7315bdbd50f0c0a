//! The query of a request to the gateway's own API.

use actix_web::{HttpRequest, web};
use serde::de::DeserializeOwned;

use crate::base::error::Error;

const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 500;

/// Parses the query, or names the field that is wrong.
pub fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Error> {
    web::Query::<T>::from_query(request.query_string()).map(web::Query::into_inner).map_err(|cause| {
        let message = cause.to_string();
        let field = message.split('`').nth(1).unwrap_or("query").to_owned();
        Error::invalid(field, message.chars().take(200).collect::<String>())
    })
}

/// Returns the number of items of a page, from the caller's `limit` if given.
pub fn page_size(asked: Option<usize>) -> Result<usize, Error> {
    match asked {
        None => Ok(PAGE_DEFAULT),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(_) => Err(Error::invalid("limit", format!("`limit` must be from 1 to {PAGE_MAX}"))),
    }
}
