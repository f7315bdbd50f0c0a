//! Answers that the record keeps, for the clients that made them: fetched, deleted, and followed by further requests.

use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::auth::Identity;
use crate::auth::own_acts::OwnAct;
use crate::base::clock::UpstreamTime;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::{Dialect, KeptRoute, Reply};
use crate::http::callers::{auth, chat_caller};
use crate::http::head::request_id;
use crate::http::reply;
use crate::model::chat::{ChatReply, End, Finish, Timings, ToolCall, Usage};
use crate::model::kept::{KeptAnswer, KeptReply, missing_answer};
use crate::model::people::Actor;
use crate::model::provider_kind::ProviderKind;
use crate::provider;
use crate::rules::export::lines::Contents;
use crate::store::Store;
use crate::store::audit::{self, KeptFor, KeptRequest, Row, StoredPart};

/// Serves a route of a dialect about an answer of the caller.
pub async fn answer(dialect: &'static dyn Dialect, kept: KeptRoute, request: HttpRequest) -> HttpResponse {
    reply::respond(show(dialect, kept, &request).await.unwrap_or_else(|error| {
        let id = request_id(&request);
        reply::log(&error, &id);
        dialect.error(&error, &id)
    }))
}

async fn show(dialect: &dyn Dialect, kept: KeptRoute, request: &HttpRequest) -> Result<Reply, Error> {
    let who = chat_caller(dialect, request).await?;
    let id: web::Path<String> = web::Path::extract(request).await.unwrap_or_else(|_| String::new().into());
    let wanted = wanted(&who, (kept.request)(&id), kept.api);
    let found = find(request, wanted).await?;
    let shown = (kept.shown)(found, request.query_string())?;
    if kept.deletes {
        auth(request)?.own_acts.count(&who, OwnAct::Change)?;
        store(request)?.delete_answer(Actor(Some(who.user_id())), wanted).await?;
    }
    Ok(shown)
}

/// Returns the answers that a request of `who` has parts of.
pub async fn referred(
    request: &HttpRequest,
    who: &Identity,
    refers: &[RequestId],
    api: &'static str,
) -> Result<Vec<KeptReply>, Error> {
    let wanted = refers.iter().map(|refers| self::wanted(who, Some(*refers), api)).collect();
    let found = store(request)?.kept_answers(wanted).await?.ok_or_else(missing_answer)?;
    let read = |(id, found): (&RequestId, KeptRequest)| {
        let KeptRequest { result, parts, .. } = found;
        let settings = settings_of(&parts)?;
        Ok(KeptReply { request: *id, settings, reply: read_reply(&result, &Contents::of(parts), Finish::Stop)? })
    };
    refers.iter().zip(found).map(read).collect()
}

/// Returns the answer that a request of `who` goes on from.
pub async fn followed(
    request: &HttpRequest,
    who: &Identity,
    follows: RequestId,
    api: &'static str,
) -> Result<KeptAnswer, Error> {
    find(request, wanted(who, Some(follows), api)).await
}

/// A token finds what it made itself; its user finds all that is theirs.
fn wanted(who: &Identity, request: Option<RequestId>, api: &'static str) -> KeptFor {
    // An id that can't be one of ours is looked for like any other, which takes the same time.
    let request = request.unwrap_or_else(RequestId::fresh);
    KeptFor { request, user_id: who.user_id(), token_id: who.token_id(), api }
}

fn store(request: &HttpRequest) -> Result<&Store, Error> {
    let store = request.app_data::<web::Data<Store>>();
    store.map(|store| store.get_ref()).ok_or_else(|| Error::internal(anyhow::anyhow!("no Store")))
}

async fn find(request: &HttpRequest, wanted: KeptFor) -> Result<KeptAnswer, Error> {
    let found = store(request)?.kept_request(wanted).await?;
    // Large conversations take a while to be read.
    let read = found.map(|found| web::block(move || read(wanted.request, found)));
    match read {
        Some(read) => read.await.map_err(Error::internal)?,
        None => Err(missing_answer()),
    }
}

fn read(id: RequestId, found: KeptRequest) -> Result<KeptAnswer, Error> {
    let KeptRequest { intent, result, provider, parts } = found;
    let settings = settings_of(&parts)?;
    let was_cut = parts.iter().any(|part| part.kind == audit::PART_CUT);
    let finish = if was_cut { Finish::Length } else { Finish::Stop };
    let kind = provider.and_then(|name| ProviderKind::NAMED.iter().find(|(known, _)| *known == name));
    let (_, kind) = kind.ok_or_else(missing_answer)?;
    let contents = Contents::of(parts);
    Ok(KeptAnswer {
        request: id,
        model: intent.model_asked.unwrap_or_default(),
        settings,
        conversation: provider::of(*kind).conversation(&contents.request)?,
        reply: read_reply(&result, &contents, finish)?,
    })
}

/// Returns the settings of a request. Without them, its contents were erased, or it was made by a version that kept none.
fn settings_of(parts: &[StoredPart]) -> Result<Vec<u8>, Error> {
    let settings = parts.iter().find(|part| part.kind == audit::PART_SETTINGS);
    settings.map(|part| part.body.clone()).ok_or_else(missing_answer)
}

fn read_reply(result: &Row, contents: &Contents, finish: Finish) -> Result<ChatReply, Error> {
    let number = |column: Option<i64>| column.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    let usage = Usage { prompt_tokens: number(result.prompt_tokens), answer_tokens: number(result.answer_tokens) };
    let at = UpstreamTime::from_nanoseconds(i128::from(result.at_us) * 1000);
    Ok(ChatReply {
        at: at.ok_or_else(|| Error::internal(anyhow::anyhow!("a row has no time")))?,
        text: String::from_utf8_lossy(&contents.answer).into_owned(),
        reasoning: String::from_utf8_lossy(&contents.reasoning).into_owned(),
        tool_calls: read_calls(&contents.tool_calls)?,
        logprobs: Vec::new(),
        embeddings: Vec::new(),
        end: End { finish, usage, timings: Timings::default() },
    })
}

/// Reads calls as the record has them, one a line.
fn read_calls(lines: &[u8]) -> Result<Vec<ToolCall>, Error> {
    #[derive(Deserialize)]
    struct Line {
        id: String,
        name: String,
        arguments: Box<RawValue>,
    }
    let calls = serde_json::Deserializer::from_slice(lines).into_iter::<Line>();
    let calls = calls.map(|line| line.map(|Line { id, name, arguments }| ToolCall { id, name, arguments }));
    calls.collect::<Result<_, _>>().map_err(Error::internal)
}
