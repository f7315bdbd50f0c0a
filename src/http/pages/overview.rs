//! The first page of admins: who uses the GPU now, what needs them, how today was.
//!
//! Its parts renew themselves. One that takes long is left to its own request, with an empty frame in its place.

mod busiest;
mod facts;
mod needs;
mod now;
mod refusals;
mod tiles;
mod today;

use actix_web::cookie::time::Duration as CookieAge;
use askama::Template;

use crate::base::error::Error;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::host::watch::HostWatch;
use crate::http::host_view::HostView;
use crate::http::pages::fault::PageResult;
use crate::http::pages::format::Moment;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::live;
use crate::http::pages::overview::busiest::BusiestBy;
use crate::http::pages::overview::facts::HostFactsPart;
use crate::http::pages::overview::needs::{Needs, NeedsPart};
use crate::http::pages::overview::now::NowPart;
use crate::http::pages::overview::today::TodayPart;
use crate::http::pages::posted::Posted;
use crate::http::pages::route::page_routes;
use crate::http::pages::visit::{AdminVisit, own_cookie};
use crate::http::queue;
use crate::rules::accounts::Accounts;
use crate::store::Store;

page_routes! {
    "GET" "/admin" Admin overview_page;
    "GET" "/live/now" Admin now_part;
    "GET" "/live/needs" Admin needs_part;
    "GET" "/live/today" Admin today_part;
    "POST" "/admin/needs/hide" Admin hide_plain_http;
}

/// The cookie of a person who does not want to be told of plain HTTP for a while; its value is their id.
const HIDDEN: &str = "lgw_plain_http";

const HIDDEN_FOR: CookieAge = CookieAge::days(30);

#[derive(Template)]
#[template(path = "overview/page.html")]
struct OverviewPage {
    frame: Frame,
    today: Moment,
    now: NowPart,
    by: BusiestBy,
    /// `None`: it was not ready in time.
    host: Option<HostParts>,
    /// `None`: it was not ready in time.
    day: Option<TodayPart>,
}

/// What a look at the host shows: what needs an admin, and some facts.
#[derive(Template)]
#[template(path = "overview/host_parts.html")]
struct HostParts {
    needs: NeedsPart,
    facts: HostFactsPart,
}

/// What the overview is made of.
struct OverviewSources<'a> {
    visit: &'a AdminVisit,
    gateway: &'a Gateway,
    store: &'a Store,
    accounts: &'a Accounts,
    config: &'a Config,
    watch: &'a HostWatch,
}

impl<'a> OverviewSources<'a> {
    fn of(visit: &'a AdminVisit) -> Result<Self, Error> {
        Ok(OverviewSources {
            visit,
            gateway: visit.part()?,
            store: visit.part()?,
            accounts: visit.part()?,
            config: visit.part()?,
            watch: visit.part()?,
        })
    }

    fn now(&self) -> Result<NowPart, Error> {
        let view = queue::view(Some(self.visit.who()), self.gateway, self.store);
        Ok(NowPart::of(&view, &self.visit.times()?))
    }

    async fn host(&self) -> Result<HostParts, Error> {
        let view = HostView::look(self.gateway, self.store, self.accounts, self.config, self.watch).await;
        let hides_plain_http = self.visit.choice(HIDDEN).as_deref() == Some(self.visit.who().user().public_id.as_str());
        let queue = queue::view(Some(self.visit.who()), self.gateway, self.store);
        let times = self.visit.times()?;
        let people = self.store.people();
        let needs = Needs { warnings: &view.warnings, runaways: &queue.runaways, people: &people, hides_plain_http };
        Ok(HostParts {
            needs: NeedsPart::new(needs.lines(&times), self.visit.open().form_token()),
            facts: HostFactsPart::of(&view, &times),
        })
    }

    async fn today(&self) -> Result<TodayPart, Error> {
        let by = BusiestBy::parse(self.visit.query("busiest").as_deref());
        TodayPart::of(self.store, &self.visit.times()?, by).await
    }
}

async fn overview_page(visit: AdminVisit) -> PageResult {
    let sources = OverviewSources::of(&visit)?;
    let by = BusiestBy::parse(visit.query("busiest").as_deref());
    let (host, day) = if visit.query("whole").is_some() {
        let (host, day) = tokio::join!(sources.host(), sources.today());
        (host.map(Some), day.map(Some))
    } else {
        tokio::join!(live::soon(sources.host()), live::soon(sources.today()))
    };
    let times = visit.times()?;
    visit.page(&OverviewPage {
        frame: visit.frame("Overview", NavEntry::Overview),
        today: times.date_with_weekday(times.now()),
        now: sources.now()?,
        by,
        host: host?,
        day: day?,
    })
}

async fn now_part(visit: AdminVisit) -> PageResult {
    live::part(&visit, &OverviewSources::of(&visit)?.now()?)
}

async fn needs_part(visit: AdminVisit) -> PageResult {
    live::part(&visit, &OverviewSources::of(&visit)?.host().await?)
}

async fn today_part(visit: AdminVisit) -> PageResult {
    live::part(&visit, &OverviewSources::of(&visit)?.today().await?)
}

async fn hide_plain_http(form: Posted<AdminVisit>) -> PageResult {
    let who = form.visit.who().user().public_id.clone();
    let mut cookie = own_cookie(form.visit.request(), HIDDEN, who);
    cookie.set_max_age(HIDDEN_FOR);
    let mut response = form.visit.done("/admin", "Hidden for 30 days.")?;
    response.add_cookie(&cookie).map_err(|cause| Error::internal(anyhow::anyhow!("{cause}")))?;
    Ok(response)
}
