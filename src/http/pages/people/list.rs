//! The list of people: who waits for approval, then everybody by the GPU time that they used today.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use actix_web::web;
use askama::Template;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::gateway::Gateway;
use crate::http::pages::charts::{BarColour, rank};
use crate::http::pages::fault::PageResult;
use crate::http::pages::filters;
use crate::http::pages::format::{Moment, PageTimes};
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::markup::Markup;
use crate::http::pages::people::shown::{Badge, badges, gpu_time, own_limits, whole};
use crate::http::pages::people::tokens::people_tabs;
use crate::http::pages::route::page_routes;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::counted;
use crate::model::people::{User, UserStatus};
use crate::model::rights::Class;
use crate::rules::accounts::Accounts;
use crate::rules::accounts::lists::{UserCounts, UserFound};
use crate::rules::usage::{Question, UsageItem, lines};
use crate::store::Store;

page_routes! {
    "GET" "/admin/users" Admin list_page;
}

/// Rows of a page.
const ROWS: usize = 50;

/// Those who wait for approval, at most: more are shown once these are decided.
const PENDING_SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "people/list.html")]
struct ListPage {
    frame: Frame,
    address: String,
    pending: Vec<PendingRow>,
    /// How many more wait.
    pending_more: usize,
    tabs: Vec<(String, String, bool)>,
    states: Vec<(String, String, bool)>,
    status: String,
    search: String,
    rows: Vec<PersonRow>,
    /// Whether nobody but the admin who looks is here.
    is_alone: bool,
    /// "10 of 13 people".
    count: String,
    newest: String,
    older: String,
}

struct PendingRow {
    id: String,
    name: String,
    asked: Moment,
    from: Option<String>,
}

struct PersonRow {
    href: String,
    name: String,
    badges: Vec<Badge>,
    requests: u64,
    /// None: no GPU time today.
    bar: Option<Markup>,
    gpu: String,
    limits: String,
    runs: bool,
    last: Option<Moment>,
}

/// What the address asks for.
struct Asked {
    search: String,
    status: Option<UserStatus>,
    after: Option<(i64, String)>,
}

impl Asked {
    fn of(visit: &AdminVisit) -> Asked {
        let status = match visit.query("status").as_deref() {
            Some("active") => Some(UserStatus::Active),
            Some("disabled") => Some(UserStatus::Disabled),
            _ => None,
        };
        let search = visit.query("search").unwrap_or_default().trim().to_owned();
        let after = visit.query("cursor").and_then(|cursor| {
            let (gpu_ms, name) = cursor.split_once('.')?;
            Some((gpu_ms.parse().ok()?, name.to_owned()))
        });
        Asked { search, status, after }
    }

    fn href(&self, status: Option<UserStatus>, cursor: Option<String>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.search.is_empty() {
            query.append_pair("search", &self.search);
        }
        if let Some(status) = status {
            query.append_pair("status", status.name());
        }
        if let Some(cursor) = cursor {
            query.append_pair("cursor", &cursor);
        }
        match query.finish() {
            query if query.is_empty() => "/admin/users".to_owned(),
            query => format!("/admin/users?{query}"),
        }
    }

    fn states(&self, counts: UserCounts) -> Vec<(String, String, bool)> {
        let UserCounts { active, disabled, .. } = counts;
        let tab = |status: Option<UserStatus>, label: &str, count: usize| {
            (self.href(status, None), format!("{label} {count}"), self.status == status)
        };
        vec![
            tab(None, "All", active + disabled),
            tab(Some(UserStatus::Active), "Active", active),
            tab(Some(UserStatus::Disabled), "Disabled", disabled),
        ]
    }
}

async fn list_page(
    visit: AdminVisit,
    accounts: web::Data<Accounts>,
    store: web::Data<Store>,
    gateway: web::Data<Gateway>,
) -> PageResult {
    let (asked, times) = (Asked::of(&visit), visit.times()?);
    let used = used_today(&store, &times).await?;
    let gpu_of = |user: &User| used.get(&user.public_id).map_or(0, |used| used.gpu_ms);
    let place = |user: &User| (Reverse(gpu_of(user)), user.name().to_owned());
    let (found, counts) = accounts.named(Some(asked.search.as_str()).filter(|search| !search.is_empty()));
    let mut listed: Vec<Arc<User>> = found.into_iter().filter(|user| is_listed(user, asked.status)).collect();
    let (all, busiest) = (listed.len(), listed.iter().map(|user| gpu_of(user)).max().unwrap_or(0));
    listed.sort_by_cached_key(|user| place(user));
    if let Some((gpu_ms, name)) = asked.after.clone() {
        let after = (Reverse(gpu_ms), name);
        listed.retain(|user| place(user) > after);
    }
    let goes_on = listed.len() > ROWS;
    listed.truncate(ROWS);
    let last = listed.last().filter(|_| goes_on).map(|user| format!("{}.{}", gpu_of(user), user.name()));
    let rows = accounts.with_facts(listed).await?;
    let row = |found: &UserFound| PersonRow {
        runs: gateway.running().has(found.user.id),
        ..row(found, used.get(&found.user.public_id), busiest, &times)
    };
    let rows: Vec<PersonRow> = rows.iter().map(row).collect();
    let (pending, pending_more) = pending(&accounts, &times);
    let page = ListPage {
        address: format!("{}/register", visit.base_url()),
        pending,
        pending_more,
        tabs: people_tabs(false),
        states: asked.states(counts),
        status: asked.status.map(|status| status.name().to_owned()).unwrap_or_default(),
        is_alone: asked.search.is_empty() && all <= 1 && asked.status.is_none(),
        count: if rows.len() == all {
            counted(all as u64, "person", "people")
        } else {
            format!("{} of {}", rows.len(), counted(all as u64, "person", "people"))
        },
        newest: asked.after.as_ref().map(|_| asked.href(asked.status, None)).unwrap_or_default(),
        older: last.map(|cursor| asked.href(asked.status, Some(cursor))).unwrap_or_default(),
        search: asked.search,
        rows,
        frame: visit.frame("People", NavEntry::People),
    };
    visit.page(&page)
}

/// Those who wait for approval are above the list, and not in it.
fn is_listed(user: &User, wanted: Option<UserStatus>) -> bool {
    matches!(user.status, UserStatus::Active | UserStatus::Disabled)
        && wanted.is_none_or(|status| user.status == status)
}

/// Returns what everybody used today, by public id.
async fn used_today(store: &Store, times: &PageTimes) -> Result<HashMap<String, UsageItem>, Error> {
    let from = times.zone().day_of(times.now()).begins.rfc3339();
    let asked = Question { from: Some(from), by: Some("user".into()), ..Question::default() };
    let used = lines(store, times.zone(), asked).await?;
    Ok(used.into_iter().filter_map(|item| Some((item.id.clone()?, item))).collect())
}

fn row(found: &UserFound, used: Option<&UsageItem>, busiest: i64, times: &PageTimes) -> PersonRow {
    let user = &found.user;
    let gpu_ms = used.map_or(0, |used| used.gpu_ms);
    let colour = if user.class == Class::Batch { BarColour::Batch } else { BarColour::Plain };
    PersonRow {
        href: format!("/admin/users/{}", user.public_id),
        name: user.name().to_owned(),
        badges: badges(user),
        requests: used.map_or(0, |used| whole(used.requests)),
        bar: (gpu_ms > 0).then(|| rank(gpu_ms as f64, busiest as f64, colour)),
        gpu: gpu_time(gpu_ms),
        limits: own_limits(user),
        runs: false,
        last: found.facts.last_request_at.map(|at| times.minute(at)),
    }
}

/// Returns where a person who waits came from: the network, and the tool that named them.
fn came_from(user: &User) -> Option<String> {
    let by = user.registered_by.as_ref().map(|token| format!("by the access token {token}"));
    let parts: Vec<String> = user.registered_from.clone().into_iter().chain(by).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Returns those who wait for approval, who asked first at the top, and how many more there are.
fn pending(accounts: &Accounts, times: &PageTimes) -> (Vec<PendingRow>, usize) {
    let (mut waiting, _) = accounts.named(None);
    waiting.retain(|user| user.status == UserStatus::Pending);
    waiting.sort_by_key(|user| (user.created_at_us, user.id));
    let row = |user: &Arc<User>| PendingRow {
        id: user.public_id.clone(),
        name: user.name().to_owned(),
        asked: times.in_sentence(Timestamp(user.created_at_us)),
        from: came_from(user),
    };
    (waiting.iter().take(PENDING_SHOWN).map(row).collect(), waiting.len().saturating_sub(PENDING_SHOWN))
}
