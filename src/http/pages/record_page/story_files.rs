//! What is too long for a request's story, as files, and the images of its prompt. Each look of an admin is recorded.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, web};

use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::record_page::said::image;
use crate::http::pages::route::page_routes;
use crate::http::pages::visit::{AdminVisit, Member};
use crate::http::story::{Story, story_for_admin, story_for_owner};
use crate::store::Store;

page_routes! {
    "GET" "/admin/record/{request_id}/files/{name}" Admin file;
    "GET" "/admin/record/{request_id}/images/{number}" Admin picture;
    "GET" "/me/record/{request_id}/files/{name}" Member own_file;
    "GET" "/me/record/{request_id}/images/{number}" Member own_picture;
}

/// A page made of what a stranger sent may do nothing at all.
const SANDBOX: &str = "default-src 'none'; sandbox";

type Asked = web::Path<(String, String)>;

async fn file(visit: AdminVisit, asked: Asked, store: web::Data<Store>) -> PageResult {
    let (id, name) = asked.into_inner();
    check_name(&name)?;
    attachment(story_for_admin(&store, visit.actor(), &id).await?, &name)
}

async fn own_file(visit: Member, asked: Asked, store: web::Data<Store>) -> PageResult {
    let (id, name) = asked.into_inner();
    attachment(story_for_owner(&store, visit.who().user_id(), &id).await?, &name)
}

async fn picture(visit: AdminVisit, asked: Asked, store: web::Data<Store>) -> PageResult {
    let (id, number) = asked.into_inner();
    let number = numbered(&number)?;
    shown(story_for_admin(&store, visit.actor(), &id).await?, number)
}

async fn own_picture(visit: Member, asked: Asked, store: web::Data<Store>) -> PageResult {
    let (id, number) = asked.into_inner();
    let number = numbered(&number)?;
    shown(story_for_owner(&store, visit.who().user_id(), &id).await?, number)
}

const NAMES: [&str; 4] = ["forwarded.json", "answer.txt", "reasoning.txt", "calls.json"];

/// Looks before the story is read: what isn't there was not seen.
fn check_name(name: &str) -> Result<(), Fault> {
    if NAMES.contains(&name) { Ok(()) } else { Err(Fault::Missing) }
}

fn numbered(number: &str) -> Result<usize, Fault> {
    number.parse().map_err(|_| Fault::Missing)
}

fn attachment(story: Story, name: &str) -> PageResult {
    let (text, media_type) = match name {
        "forwarded.json" => (story.request, "application/json"),
        "answer.txt" => (story.answer, "text/plain; charset=utf-8"),
        "reasoning.txt" => (story.reasoning, "text/plain; charset=utf-8"),
        "calls.json" => (story.tool_calls, "application/json"),
        _ => return Err(Fault::Missing),
    };
    if text.is_empty() {
        return Err(Fault::Missing);
    }
    let log_id = story.item.log_id;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media_type))
        .insert_header((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX)))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{log_id}-{name}\"")))
        .body(text))
}

fn shown(story: Story, number: usize) -> PageResult {
    let (media_type, bytes) = image(&story.request, number).ok_or(Fault::Missing)?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media_type))
        .insert_header((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX)))
        .insert_header((header::CONTENT_DISPOSITION, "inline"))
        .body(bytes))
}
