//! The models that the caller may use, in OpenAI's format.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::base::error::Error;
use crate::dialect::models::{ModelList, ModelObject};
use crate::gateway::Gateway;
use crate::http::callers::ModelReader;
use crate::http::reply::{self, ApiError};
use crate::model::model_name::ModelName;

/// The models that you may use.
#[utoipa::path(get, path = "/v1/models", tag = "models",
    responses((status = 200, body = ModelList), crate::http::errors::Refusals))]
pub async fn list(
    reader: ModelReader,
    request: HttpRequest,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let cards = gateway.models(reader.0.identity()).await.map_err(|error| ApiError::new(error, &request))?;
    Ok(reply::json(StatusCode::OK, &ModelList::of(&cards)))
}

/// One model. Its id may contain `/` and `:`, encoded or not.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models", params(("id" = String, Path)),
    responses((status = 200, body = ModelObject), crate::http::errors::Refusals))]
pub async fn one(
    reader: ModelReader,
    request: HttpRequest,
    id: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    if id.is_empty() {
        let message = "no such route; the list is `/v1/models`, without a slash at the end".to_owned();
        return Err(ApiError::new(Error::UnknownRoute { message }, &request));
    }
    let found = async {
        let unknown = || Error::ModelNotFound { model: id.chars().take(256).collect() };
        let name = ModelName::parse(&id).map_err(|_| unknown())?;
        let cards = gateway.models(reader.0.identity()).await?;
        cards.iter().find(|card| card.name == name).map(ModelObject::of).ok_or_else(unknown)
    };
    let found = found.await.map_err(|error| ApiError::new(error, &request))?;
    Ok(reply::json(StatusCode::OK, &found))
}
