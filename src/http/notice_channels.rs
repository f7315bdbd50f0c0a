//! Channels for notices: where they go, and whether they arrive. For admins.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::config::Config;
use crate::http::body::{self, present};
use crate::http::callers::Admin;
use crate::http::reply::{ApiResult, answer, answer_as, answer_done};
use crate::model::notice::{ChannelKind, ChannelWay, MailTls, NoticeChannel, NoticeKind};
use crate::rules::notices::{NoticeChannelEdit, NoticeChannelWish, Notices};

/// A channel for notices. Its secrets are never shown.
#[derive(Serialize, ToSchema)]
pub struct NoticeChannelView {
    #[schema(format = Uuid)]
    pub id: String,
    #[schema(example = "the admins")]
    pub name: String,
    #[schema(value_type = ChannelKind)]
    pub kind: &'static str,
    /// Whether notices are sent.
    pub on: bool,
    /// Which notices it gets.
    #[schema(value_type = Vec<NoticeKind>)]
    pub notices: Vec<&'static str>,
    /// Where it leads: scheme, host and port of a webhook's URL, or the mail server.
    #[schema(example = "https://n8n.example.org")]
    pub place: String,
    /// Whether a secret is set: the one that signs a webhook's requests, or the password of mail.
    pub has_secret: bool,
    /// Whether a secret can't be opened and must be set again, as in a database that was restored without
    /// `secrets/master.key`.
    pub secret_lost: bool,
    /// For mail: the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MailTls>)]
    pub tls: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<String>>,
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When a notice was last delivered.
    #[schema(format = DateTime)]
    pub delivered_at: Option<String>,
    /// When and why the last one was not, unless one was delivered since.
    #[schema(format = DateTime)]
    pub failed_at: Option<String>,
    pub failure: Option<String>,
}

impl NoticeChannelView {
    pub fn of(channel: &NoticeChannel, notices: &Notices) -> NoticeChannelView {
        let time = |at_us: Option<i64>| at_us.map(|at_us| Timestamp(at_us).rfc3339());
        let failure = channel.last.open_failure().map(str::to_owned);
        let mut view = NoticeChannelView {
            id: channel.public_id.clone(),
            name: channel.name.clone(),
            kind: channel.way.kind().name(),
            on: channel.is_on,
            notices: channel.kinds.iter().map(|kind| kind.name()).collect(),
            place: channel.way.place(),
            has_secret: false,
            secret_lost: !notices.opens(channel),
            host: None,
            port: None,
            tls: None,
            username: None,
            from: None,
            to: None,
            created_at: Timestamp(channel.created_at_us).rfc3339(),
            delivered_at: time(channel.last.delivered_at_us),
            failed_at: time(channel.last.failed_at_us).filter(|_| failure.is_some()),
            failure,
        };
        match &channel.way {
            ChannelWay::Webhook { secret, .. } => view.has_secret = secret.is_some(),
            ChannelWay::Mail { host, port, tls, username, password, from, to } => {
                view.has_secret = password.is_some();
                (view.host, view.port, view.tls) = (Some(host.clone()), Some(*port), Some(tls.name()));
                (view.username, view.from, view.to) = (username.clone(), Some(from.clone()), Some(to.clone()));
            }
        }
        view
    }
}

#[derive(Serialize, ToSchema)]
pub struct NoticeChannelList {
    items: Vec<NoticeChannelView>,
}

/// Lists the channels for notices.
///
/// They come in the order in which they were made.
#[utoipa::path(get, path = "/api/v1/notice-channels", operation_id = "list_notice_channels", tag = "notices",
    responses((status = 200, body = NoticeChannelList)))]
pub async fn list(_: Admin, request: HttpRequest, notices: web::Data<Notices>) -> ApiResult {
    let items = notices.channels().iter().map(|channel| NoticeChannelView::of(channel, &notices)).collect();
    answer(&request, Ok(NoticeChannelList { items }))
}

/// Adds a channel for notices.
///
/// A webhook needs `url`; mail needs `host`, `from` and `to`.
#[utoipa::path(post, path = "/api/v1/notice-channels", operation_id = "create_notice_channel", tag = "notices",
    request_body = NoticeChannelWish, responses((status = 201, body = NoticeChannelView), (status = 409)))]
pub async fn create(
    admin: Admin,
    request: HttpRequest,
    mut payload: web::Payload,
    notices: web::Data<Notices>,
    config: web::Data<Config>,
) -> ApiResult {
    let made = async {
        let wish: NoticeChannelWish = body::json(&request, &mut payload, &config.limits).await?;
        let channel = notices.add(admin.0.actor(), wish).await?;
        Ok::<_, Error>(NoticeChannelView::of(&channel, &notices))
    };
    answer_as(StatusCode::CREATED, &request, made.await)
}

/// The fields to change. A field that is left out is not changed; null removes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoticeChannelPatch {
    #[schema(example = "the admins", min_length = 1, max_length = 100)]
    name: Option<String>,
    /// Whether notices are sent.
    #[schema(example = true)]
    on: Option<bool>,
    /// Which notices it gets.
    #[schema(value_type = Option<Vec<NoticeKind>>, example = json!(["disk_low", "record_unwritable"]))]
    notices: Option<Vec<String>>,
    /// For a webhook: where notices are posted.
    #[schema(value_type = Option<String>, write_only, max_length = 2000, example = json!(null))]
    url: Option<Secret<String>>,
    /// For a webhook: what signs the requests. Null: they are not signed.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, write_only)]
    secret: Option<Option<Secret<String>>>,
    /// For mail: another server gets the password only if it is given again.
    #[schema(max_length = 253, example = json!(null))]
    host: Option<String>,
    #[schema(minimum = 1, maximum = 65_535, example = json!(null))]
    port: Option<u32>,
    #[schema(value_type = Option<MailTls>, example = json!(null))]
    tls: Option<String>,
    /// For mail: null turns authentication off; then `password` must be null, too.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 254)]
    username: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, write_only, max_length = 1000)]
    password: Option<Option<Secret<String>>>,
    #[schema(max_length = 254, example = json!(null))]
    from: Option<String>,
    #[schema(max_items = 10, example = json!(null))]
    to: Option<Vec<String>>,
}

impl From<NoticeChannelPatch> for NoticeChannelEdit {
    fn from(patch: NoticeChannelPatch) -> Self {
        let NoticeChannelPatch { name, on, notices, url, secret, host, port, tls, username, password, from, to } =
            patch;
        NoticeChannelEdit { name, on, notices, url, secret, host, port, tls, username, password, from, to }
    }
}

/// Changes a channel for notices.
///
/// The change holds from the next notice on.
#[utoipa::path(patch, path = "/api/v1/notice-channels/{id}", operation_id = "change_notice_channel", tag = "notices",
    params(("id" = String, Path)), request_body = NoticeChannelPatch, responses((status = 200, body = NoticeChannelView)))]
pub async fn change(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    notices: web::Data<Notices>,
    config: web::Data<Config>,
) -> ApiResult {
    let changed = async {
        let patch: NoticeChannelPatch = body::json(&request, &mut payload, &config.limits).await?;
        let channel = notices.change(admin.0.actor(), &id, patch.into()).await?;
        Ok::<_, Error>(NoticeChannelView::of(&channel, &notices))
    };
    answer(&request, changed.await)
}

/// Removes a channel for notices.
///
/// What is still to be sent to it is dropped.
#[utoipa::path(delete, path = "/api/v1/notice-channels/{id}", operation_id = "delete_notice_channel", tag = "notices",
    params(("id" = String, Path)), responses((status = 204, description = "Removed")))]
pub async fn remove(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    notices: web::Data<Notices>,
) -> ApiResult {
    answer_done(&request, notices.remove(admin.0.actor(), &id).await)
}

/// How a test ended.
#[derive(Serialize, ToSchema)]
pub struct NoticeTest {
    /// Whether the receiver took it.
    #[schema(example = true)]
    pub delivered: bool,
    /// Why not.
    #[schema(example = json!(null))]
    pub failure: Option<String>,
}

/// Sends a notice by a channel to try it.
///
/// It is sent at once and once, also if the channel is off.
#[utoipa::path(post, path = "/api/v1/notice-channels/{id}/test", operation_id = "test_notice_channel", tag = "notices",
    params(("id" = String, Path)), responses((status = 200, body = NoticeTest), (status = 409)))]
pub async fn test(admin: Admin, request: HttpRequest, id: web::Path<String>, notices: web::Data<Notices>) -> ApiResult {
    let tested = notices.test(admin.0.actor(), &id).await.map(|result| {
        let failure = result.err().map(|failure| failure.words);
        NoticeTest { delivered: failure.is_none(), failure }
    });
    answer(&request, tested)
}
