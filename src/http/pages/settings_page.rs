//! The settings that admins may change while the gateway runs, and what the configuration file says.

use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::config::Config;
use crate::config::settings::{Live, Setting, TABLE};
use crate::http::configuration::ConfigurationView;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::format::commas;
use crate::http::pages::frame::{Flash, Frame, NavEntry};
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::FormProblem;
use crate::http::pages::route::page_routes;
use crate::http::pages::settings_page::channels::{ChannelRows, TEST_FAILED, channel_rows, try_channel};
use crate::http::pages::settings_page::of_file::{FileSection, file_sections};
use crate::http::pages::settings_page::rows::{SettingGroup, in_words, is_on, setting_groups};
use crate::http::pages::settings_page::sent::{PUT_BACK, SEEN, SentSettings, SettingEdit};
use crate::http::pages::settings_page::tabs::{OF_FILE, SettingsTabs, settings_tabs, tab_path};
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::counted;
use crate::http::pages::words::sentences::SAVED;
use crate::http::pages::words::settings::{SettingTab, setting};
use crate::rules::notices::Notices;
use crate::store::Store;

pub mod channel_form;
pub mod channels;
pub mod of_file;
pub mod rows;
pub mod sent;
pub mod tabs;

page_routes! {
    "GET" "/admin/settings" Admin first_tab;
    "GET" "/admin/settings/limits" Admin limits;
    "POST" "/admin/settings/limits" Admin save_limits;
    "GET" "/admin/settings/queue" Admin queue;
    "POST" "/admin/settings/queue" Admin save_queue;
    "GET" "/admin/settings/runaways" Admin runaways;
    "POST" "/admin/settings/runaways" Admin save_runaways;
    "GET" "/admin/settings/sizes" Admin sizes;
    "POST" "/admin/settings/sizes" Admin save_sizes;
    "GET" "/admin/settings/record" Admin kept;
    "POST" "/admin/settings/record" Admin save_kept;
    "GET" "/admin/settings/notices" Admin notices;
    "POST" "/admin/settings/notices" Admin save_notices;
    "POST" "/admin/settings/notices/{id}/test" Admin test_channel;
    "GET" "/admin/settings/file" Admin of_file_page;
}

async fn first_tab(visit: AdminVisit) -> PageResult {
    visit.to(tab_path(SettingTab::Limits))
}

/// Makes the handlers of a tab.
macro_rules! tab {
    ($tab:ident, $show:ident, $save:ident) => {
        async fn $show(visit: AdminVisit, store: web::Data<Store>) -> PageResult {
            let page = values_page(SettingTab::$tab, &visit, &store, &SentSettings::default()).await?;
            visit.page(&page)
        }

        async fn $save(form: Posted<AdminVisit>, store: web::Data<Store>) -> PageResult {
            save(SettingTab::$tab, &form, &store).await
        }
    };
}

tab!(Limits, limits, save_limits);
tab!(Queue, queue, save_queue);
tab!(Runaways, runaways, save_runaways);
tab!(Sizes, sizes, save_sizes);
tab!(Record, kept, save_kept);
tab!(Notices, notices, save_notices);

/// The values of one tab.
#[derive(Template)]
#[template(path = "settings/values.html")]
struct SettingValuesPage {
    frame: Frame,
    tabs: SettingsTabs,
    path: &'static str,
    groups: Vec<SettingGroup>,
    problems: Vec<(String, String)>,
    /// What is not saved yet.
    unsaved: String,
    /// The channels for notices, on their tab.
    channels: Option<ChannelRows>,
}

async fn values_page(
    tab: SettingTab,
    visit: &AdminVisit,
    store: &Store,
    sent: &SentSettings,
) -> Result<SettingValuesPage, Fault> {
    let states = store.setting_states().await?;
    let path = tab_path(tab);
    let names: Vec<&str> = sent.edits.iter().filter_map(|edit| Some(setting(edit.name)?.label)).collect();
    let unsaved = match names.len() as u64 {
        0 => "Saved together, or none.".to_owned(),
        changes => format!("{}, not saved yet: {}", counted(changes, "change", "changes"), names.join(", ")),
    };
    let problems = sent.problems.iter().map(|(name, problem)| ((*name).to_owned(), named(name, problem))).collect();
    let channels = match tab {
        SettingTab::Notices => Some(channel_rows(visit.part::<Notices>()?, &visit.times()?)),
        _ => None,
    };
    Ok(SettingValuesPage {
        frame: visit.frame("Settings", NavEntry::Settings),
        tabs: settings_tabs(path),
        path,
        groups: setting_groups(tab, &states, &store.people(), &visit.times()?, sent),
        problems,
        unsaved,
        channels,
    })
}

/// Returns what is wrong with a field, for the summary above the form.
fn named(name: &str, problem: &str) -> String {
    setting(name).map_or_else(|| problem.to_owned(), |words| format!("{}: {problem}", words.label))
}

async fn save(tab: SettingTab, form: &Posted<AdminVisit>, store: &Store) -> PageResult {
    let mut sent = SentSettings::read(&form.fields, TABLE.iter().filter(|known| is_on(tab, known)));
    if let Some(name) = form.fields.filled(PUT_BACK) {
        return put_back(tab, name, form, store, sent).await;
    }
    if !sent.problems.is_empty() {
        return again(StatusCode::BAD_REQUEST, tab, form, store, &sent).await;
    }
    if sent.changes.is_empty() {
        return form.visit.done(tab_path(tab), "Nothing was changed.");
    }
    let start = store.settings().start();
    let now = store.settings().now();
    let asked = sent.asked_for(|known| (known.get)(&start));
    match store.change_settings_seen(form.visit.actor(), asked, sent.seen()).await {
        Ok(()) => {
            let before = |known: &'static Setting, seen: Option<u64>| seen.unwrap_or_else(|| (known.get)(&now));
            let undone = sent.changes.iter().map(|one| (one.setting, before(one.setting, one.seen), one.value));
            form.visit.done(tab_path(tab), saved(tab, SAVED, undone))
        }
        Err(Error::Conflict { .. }) => {
            tell_of_others(store, form, &mut sent).await?;
            again(StatusCode::CONFLICT, tab, form, store, &sent).await
        }
        Err(error) => {
            let problem = FormProblem::of(error)?;
            let at_fault = problem.field.as_deref().and_then(Setting::named).map_or("", |known| known.name);
            sent.problems.push((at_fault, in_words(&problem.message)));
            again(problem.status(), tab, form, store, &sent).await
        }
    }
}

/// Returns what is said after saving, with the way back: what was before is set where the new value still is.
fn saved(
    tab: SettingTab,
    text: impl Into<String>,
    changes: impl Iterator<Item = (&'static Setting, u64, u64)>,
) -> Flash {
    let mut fields = Vec::new();
    for (known, before, after) in changes {
        fields.push((known.name.to_owned(), before.to_string()));
        fields.push((format!("{SEEN}{}", known.name), after.to_string()));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Flash::with_undo(text, tab_path(tab), &fields)
}

/// Shows the form again, with all that was typed.
async fn again(
    status: StatusCode,
    tab: SettingTab,
    form: &Posted<AdminVisit>,
    store: &Store,
    sent: &SentSettings,
) -> PageResult {
    form.visit.page_as(status, &values_page(tab, &form.visit, store, sent).await?)
}

/// Says who changed what meanwhile. Saved once more, the form then stands above what is known now.
async fn tell_of_others(store: &Store, form: &Posted<AdminVisit>, sent: &mut SentSettings) -> Result<(), Fault> {
    let (states, people, times) = (store.setting_states().await?, store.people(), form.visit.times()?);
    for change in &sent.changes {
        let Some(state) = states.iter().find(|state| state.setting.name == change.setting.name) else { continue };
        if change.seen.is_none_or(|seen| seen == state.value) {
            continue;
        }
        let value = commas(state.value);
        let text = match &state.changed {
            None => format!("It was put back to {value} meanwhile. Save again to set it to {}.", commas(change.value)),
            Some(changed) => {
                let who = changed.changed_by.map_or("Somebody on the host".to_owned(), |id| people.name_of(id));
                let who = plain(&who);
                let when = times.in_sentence(Timestamp(changed.changed_at_us)).text;
                format!("{who} set it to {value} {when}. Save again to set it to {}.", commas(change.value))
            }
        };
        sent.problems.push((change.setting.name, text));
    }
    for edit in &mut sent.edits {
        if sent.problems.iter().any(|(name, _)| *name == edit.name) {
            edit.seen = None;
        }
    }
    Ok(())
}

/// Gives a setting the file's value again. What else was typed is not lost.
async fn put_back(
    tab: SettingTab,
    name: &str,
    form: &Posted<AdminVisit>,
    store: &Store,
    mut sent: SentSettings,
) -> PageResult {
    let known = Setting::named(name).filter(|known| is_on(tab, known)).ok_or(Fault::Missing)?;
    let before = (known.get)(&store.settings().now());
    let of_file = (known.get)(&store.settings().start());
    let is_other = |edit: &SettingEdit| edit.name != known.name;
    sent.edits.retain(is_other);
    if let Err(error) = store.change_settings(form.visit.actor(), vec![(known, None)]).await {
        let problem = FormProblem::of(error)?;
        sent.problems = vec![(known.name, in_words(&problem.message))];
        return again(problem.status(), tab, form, store, &sent).await;
    }
    let label = setting(known.name).map_or(known.name, |words| words.label);
    let flash = saved(
        tab,
        format!("Put back: “{label}” is {} again, as the file has it.", commas(of_file)),
        std::iter::once((known, before, of_file)),
    );
    if sent.edits.is_empty() {
        return form.visit.done(tab_path(tab), flash);
    }
    sent.problems.clear();
    let mut page = values_page(tab, &form.visit, store, &sent).await?;
    page.frame.flash = Some(flash);
    form.visit.page(&page)
}

/// Sends a test by a channel for notices. A failure is shown above the list.
async fn test_channel(
    form: Posted<AdminVisit>,
    id: web::Path<String>,
    notices: web::Data<Notices>,
    store: web::Data<Store>,
) -> PageResult {
    match try_channel(&form, &id, &notices).await? {
        Ok(text) => form.visit.done(tab_path(SettingTab::Notices), text),
        Err(problem) => {
            let sent = SentSettings::default();
            let mut page = values_page(SettingTab::Notices, &form.visit, &store, &sent).await?;
            page.problems.push((format!("channel-{id}"), problem));
            form.visit.page_as(TEST_FAILED, &page)
        }
    }
}

/// The keys of the file.
#[derive(Template)]
#[template(path = "settings/file.html")]
struct SettingsFilePage {
    frame: Frame,
    tabs: SettingsTabs,
    file: Option<String>,
    sections: Vec<FileSection>,
}

async fn of_file_page(visit: AdminVisit, config: web::Data<Config>, live: web::Data<Live>) -> PageResult {
    let view = ConfigurationView::of(&config, &live.now());
    visit.page(&SettingsFilePage {
        frame: visit.frame("Settings", NavEntry::Settings),
        tabs: settings_tabs(OF_FILE),
        sections: file_sections(&view),
        file: view.file,
    })
}
