//! The channels for notices, as the list shows them, and their pages: add, change, remove, test.

use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use crate::base::clock::Timestamp;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::format::PageTimes;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::people::acts::SurePage;
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::{FormProblem, about, sentence};
use crate::http::pages::route::page_routes;
use crate::http::pages::settings_page::channel_form::{ChannelFields, edit_of, wish_of};
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::notices as words;
use crate::model::notice::{ChannelKind, ChannelWay, MailTls, NoticeChannel, NoticeKind};
use crate::rules::notices::Notices;

page_routes! {
    // Before the route whose id could be anything.
    "GET" "/admin/settings/notices/new" Admin new_page;
    "POST" "/admin/settings/notices/new" Admin make;
    "GET" "/admin/settings/notices/{id}" Admin change_page;
    "POST" "/admin/settings/notices/{id}" Admin change;
    "GET" "/admin/settings/notices/{id}/remove" Admin remove_page;
    "POST" "/admin/settings/notices/{id}/remove" Admin remove;
}

const LIST: &str = "/admin/settings/notices";

/// The channels, for `templates/settings/channels.html`.
pub struct ChannelRows {
    pub rows: Vec<ChannelRow>,
}

pub struct ChannelRow {
    pub id: String,
    pub icon: &'static str,
    pub colour: &'static str,
    pub name: String,
    pub kind: &'static str,
    pub place: String,
    pub is_on: bool,
    pub gets: String,
    /// How the last delivery ended, or what is wrong.
    pub last: String,
    pub is_bad: bool,
}

/// Returns the rows of all channels.
pub fn channel_rows(notices: &Notices, times: &PageTimes) -> ChannelRows {
    ChannelRows { rows: notices.channels().iter().map(|channel| row(channel, notices, times)).collect() }
}

fn row(channel: &NoticeChannel, notices: &Notices, times: &PageTimes) -> ChannelRow {
    let when = |at_us: Option<i64>| at_us.map(|at_us| times.in_sentence(Timestamp(at_us)).text).unwrap_or_default();
    let is_lost = !notices.opens(channel);
    let failure = channel.last.open_failure();
    let last = match (is_lost, failure, channel.last.delivered_at_us) {
        (true, ..) => {
            "Its secret can't be opened, as after a restore without the folder of secrets: set it again.".into()
        }
        (_, Some(failure), _) => format!("Not delivered {}: {}", when(channel.last.failed_at_us), sentence(failure)),
        (_, None, Some(at_us)) => format!("Last delivered {}.", when(Some(at_us))),
        (_, None, None) => "Nothing was sent by it yet.".to_owned(),
    };
    let is_bad = is_lost || failure.is_some();
    ChannelRow {
        id: channel.public_id.clone(),
        icon: if is_bad { "circle-alert" } else { "check" },
        colour: if is_bad { "bad" } else { "ok" },
        name: channel.name.clone(),
        kind: words::channel(channel.way.kind()),
        place: channel.way.place(),
        is_on: channel.is_on,
        gets: words::kinds(&channel.kinds),
        last,
        is_bad,
    }
}

/// A checkbox or an option: value, label, is chosen.
type Choice = (&'static str, &'static str, bool);

#[derive(Template)]
#[template(path = "settings/channel.html")]
struct ChannelPage {
    frame: Frame,
    action: String,
    kind: &'static str,
    is_mail: bool,
    is_new: bool,
    is_on: bool,
    has_secret: bool,
    fields: ChannelFields,
    tls: Vec<Choice>,
    notices: Vec<Choice>,
    url_hint: String,
    secret_hint: &'static str,
    /// Whether one's own password is asked for again.
    asks_password: bool,
    account: String,
    button: &'static str,
    problem: Option<FormProblem>,
}

impl ChannelPage {
    /// Returns the form of a new channel, or of one that there is.
    fn of(visit: &AdminVisit, kind: ChannelKind, channel: Option<&NoticeChannel>) -> ChannelPage {
        let is_mail = kind == ChannelKind::Mail;
        let has_secret = match channel.map(|channel| &channel.way) {
            Some(ChannelWay::Webhook { secret, .. }) => secret.is_some(),
            Some(ChannelWay::Mail { password, .. }) => password.is_some(),
            None => false,
        };
        let title = match channel {
            Some(channel) => format!("Change {}", plain(&channel.name)),
            None if is_mail => "Notices by mail".to_owned(),
            None => "Notices by webhook".to_owned(),
        };
        let chosen = channel.map_or(NoticeKind::ALL.to_vec(), |channel| channel.kinds.clone());
        let tls = match channel.map(|channel| &channel.way) {
            Some(ChannelWay::Mail { tls, .. }) => *tls,
            _ => MailTls::Starttls,
        };
        ChannelPage {
            frame: visit.frame(title, NavEntry::Settings),
            action: match channel {
                Some(channel) => format!("{LIST}/{}", channel.public_id),
                None => format!("{LIST}/new"),
            },
            kind: kind.name(),
            is_mail,
            is_new: channel.is_none(),
            is_on: channel.is_none_or(|channel| channel.is_on),
            has_secret,
            fields: channel.map(ChannelFields::of).unwrap_or_default(),
            tls: tls_choices(tls.name()),
            notices: kind_choices(|kind| chosen.contains(&kind)),
            url_hint: match channel {
                Some(channel) => {
                    format!("It leads to {}. Empty: it stays as it is.", plain(&channel.way.place()))
                }
                None => {
                    "Notices are posted there as JSON. It is kept as a secret: only its host is shown again.".to_owned()
                }
            },
            secret_hint: match (is_mail, has_secret) {
                (_, true) => "One is set, and is never shown. Empty: it stays.",
                (true, false) => "Needed with a user name. It is never shown again.",
                (false, false) => {
                    "24 to 64 bytes in base64, as `openssl rand -base64 32` makes them. Empty: nothing is signed."
                }
            },
            asks_password: !visit.session().is_some_and(|session| session.is_proven()),
            account: visit.who().user().name().to_owned(),
            button: if channel.is_none() { "Add" } else { "Save" },
            problem: None,
        }
    }

    /// Fills in what was sent, but for secrets.
    fn filled(mut self, form: &Posted<AdminVisit>, problem: FormProblem) -> ChannelPage {
        self.fields = ChannelFields::sent(&form.fields);
        self.is_on = form.fields.has("on");
        self.tls = tls_choices(form.fields.text("tls"));
        self.notices = kind_choices(|kind| form.fields.values("notices").any(|word| word == kind.name()));
        self.problem = Some(problem);
        self
    }
}

fn tls_choices(chosen: &str) -> Vec<Choice> {
    let order = [MailTls::Starttls, MailTls::Implicit, MailTls::None];
    order.into_iter().map(|tls| (tls.name(), words::tls(tls), tls.name() == chosen)).collect()
}

fn kind_choices(is_chosen: impl Fn(NoticeKind) -> bool) -> Vec<Choice> {
    NoticeKind::ALL.into_iter().map(|kind| (kind.name(), words::kind(kind), is_chosen(kind))).collect()
}

/// Returns what is wrong while the own password was not given again.
fn unproven(form: &Posted<AdminVisit>) -> Result<Option<FormProblem>, Fault> {
    match form.needs_password("set where notices go") {
        Ok(()) => Ok(None),
        Err(Fault::Confirm(confirmation)) => {
            let message =
                confirmation.problem.map_or("Your own password is needed, too.".to_owned(), |why| sentence(&why));
            Ok(Some(FormProblem::new(Some("password_again"), message)))
        }
        Err(fault) => Err(fault),
    }
}

async fn new_page(visit: AdminVisit) -> PageResult {
    let kind = visit.query("kind").and_then(|kind| ChannelKind::parse(&kind).ok()).unwrap_or(ChannelKind::Webhook);
    visit.page(&ChannelPage::of(&visit, kind, None))
}

async fn make(form: Posted<AdminVisit>, notices: web::Data<Notices>) -> PageResult {
    let visit = &form.visit;
    let kind = ChannelKind::parse(form.fields.text("kind")).unwrap_or(ChannelKind::Webhook);
    let again = |problem: FormProblem| {
        let status = problem.status();
        visit.page_as(status, &ChannelPage::of(visit, kind, None).filled(&form, problem))
    };
    if let Some(problem) = unproven(&form)? {
        return again(problem);
    }
    let made = async { notices.add(visit.actor(), wish_of(kind, &form.fields)?).await };
    match made.await {
        Ok(channel) => visit.done(LIST, format!("{} was added. Test it.", plain(&channel.name))),
        Err(error) => again(FormProblem::of(error)?),
    }
}

async fn change_page(visit: AdminVisit, id: web::Path<String>, notices: web::Data<Notices>) -> PageResult {
    let channel = notices.channel(&id)?;
    visit.page(&ChannelPage::of(&visit, channel.way.kind(), Some(&channel)))
}

async fn change(form: Posted<AdminVisit>, id: web::Path<String>, notices: web::Data<Notices>) -> PageResult {
    let visit = &form.visit;
    let channel = notices.channel(&id)?;
    let kind = channel.way.kind();
    let again = |problem: FormProblem| {
        let status = problem.status();
        visit.page_as(status, &ChannelPage::of(visit, kind, Some(&channel)).filled(&form, problem))
    };
    if let Some(problem) = unproven(&form)? {
        return again(problem);
    }
    let changed = async { notices.change(visit.actor(), &id, edit_of(kind, &form.fields)?).await };
    match changed.await {
        Ok(channel) => {
            visit.done(LIST, format!("{} was saved. It holds from the next notice on.", plain(&channel.name)))
        }
        Err(error) => again(FormProblem::of(error)?),
    }
}

async fn remove_page(visit: AdminVisit, id: web::Path<String>, notices: web::Data<Notices>) -> PageResult {
    let channel = notices.channel(&id)?;
    let name = plain(&channel.name);
    visit.page(&SurePage {
        crumbs: vec![(LIST.into(), "Notices".into())],
        text: format!(
            "Nobody is told by it any more, and its secrets are gone. It leads to {}.",
            plain(&channel.way.place())
        ),
        action: format!("{LIST}/{id}/remove"),
        button: "Remove".into(),
        keep: LIST.into(),
        frame: visit.frame(format!("Remove {name}"), NavEntry::Settings),
    })
}

async fn remove(form: Posted<AdminVisit>, id: web::Path<String>, notices: web::Data<Notices>) -> PageResult {
    let name = notices.channel(&id)?.name;
    notices.remove(form.visit.actor(), &id).await?;
    form.visit.done(LIST, format!("{} was removed.", plain(&name)))
}

/// Sends a test. Returns what went wrong, for the page, or what is told after it.
pub async fn try_channel(
    form: &Posted<AdminVisit>,
    id: &str,
    notices: &Notices,
) -> Result<Result<String, String>, Fault> {
    let channel = notices.channel(id)?;
    let name = plain(&channel.name).into_owned();
    Ok(match notices.test(form.visit.actor(), id).await {
        Ok(Ok(())) => Ok(format!("The test was delivered by {name}.")),
        Ok(Err(failure)) => Err(format!("The test was not delivered by {name}: {}", sentence(&failure.words))),
        Err(error) => Err(FormProblem::of(error)?.message),
    })
}

/// The status of a page that tells of a test that failed.
pub const TEST_FAILED: StatusCode = StatusCode::BAD_REQUEST;
