//! Lists and lookups of models in all dialects: the models that the caller may use.

use actix_web::{FromRequest, HttpRequest, HttpResponse, web};

use crate::auth::Identity;
use crate::base::error::Error;
use crate::config::Config;
use crate::dialect::{AskedModel, Dialect, Reply, Route, Serves};
use crate::gateway::Gateway;
use crate::http::callers::model_reader;
use crate::http::head::{RequestHead, request_id};
use crate::http::{body, reply};
use crate::model::catalog::ModelCard;
use crate::model::model_name::ModelName;

/// Model names in an error, at most.
const SHOWN_LETTERS_MAX: usize = 256;

/// Serves a list or a lookup of a dialect.
pub async fn answer(
    dialect: &'static dyn Dialect,
    route: &'static Route,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let answered = read_models(dialect, route, &request, payload).await;
    reply::respond(answered.unwrap_or_else(|error| {
        let id = request_id(&request);
        reply::log(&error, &id);
        dialect.error(&error, &id)
    }))
}

async fn read_models(
    dialect: &'static dyn Dialect,
    route: &'static Route,
    request: &HttpRequest,
    mut payload: web::Payload,
) -> Result<Reply, Error> {
    let reader = model_reader(dialect, request).await?;
    let (Some(gateway), Some(config)) =
        (request.app_data::<web::Data<Gateway>>(), request.app_data::<web::Data<Config>>())
    else {
        return Err(Error::internal(anyhow::anyhow!("the parts are missing")));
    };
    let head = &RequestHead::of(request, "");
    match route.serves {
        Serves::List(list) => list(head, &gateway.models(reader.identity()).await?),
        Serves::Lookup(lookup) => {
            // A route whose name is in the body has no `{id}`.
            let id: web::Path<String> = web::Path::extract(request).await.unwrap_or_else(|_| String::new().into());
            let name = if route.method == "GET" {
                (lookup.name)(head, &id, &[])?
            } else {
                (lookup.name)(head, &id, &body::read_own(request, &mut payload, &config.limits).await?)?
            };
            (lookup.found)(head, &find(&name, gateway, reader.identity()).await?)
        }
        Serves::Description(description) => {
            let body = body::read_own(request, &mut payload, &config.limits).await?;
            let AskedModel { name, ignored } = (description.asked)(&body)?;
            let card = find(&name, gateway, reader.identity()).await?;
            let mut reply = (description.found)(head, &card, gateway.description(&card.name).await?)?;
            if !ignored.is_empty() {
                reply.headers.push(("x-ignored-parameters", ignored.join(", ")));
            }
            Ok(reply)
        }
        Serves::Loaded(list) => list(head, &gateway.loaded_for(reader.identity()).await?),
        Serves::Version(version) => version(head, gateway.version().await?.as_deref()),
        Serves::Inference(_) | Serves::Manage(_) | Serves::Kept(_) => {
            Err(Error::internal(anyhow::anyhow!("a route that is neither a list nor a lookup")))
        }
    }
}

async fn find(name: &str, gateway: &Gateway, who: Option<&Identity>) -> Result<ModelCard, Error> {
    let unknown = || Error::ModelNotFound { model: name.chars().take(SHOWN_LETTERS_MAX).collect() };
    let name = ModelName::parse(name).map_err(|_| unknown())?;
    gateway.model(who, &name).await?.ok_or_else(unknown)
}
