//! Fills what stands around a page: who is signed in, what waits, and whether all is well.

use actix_web::web;

use crate::gateway::Gateway;
use crate::http::pages::assets;
use crate::http::pages::frame::{Frame, FrameUser, HealthLine, KEYS, NavEntry, THEME, Theme};
use crate::http::pages::visit::Visit;
use crate::model::people::UserStatus;
use crate::rules::routing::Condition;
use crate::store::Store;

impl Visit {
    /// Returns what stands around a page.
    pub fn frame(&self, title: impl Into<String>, nav: NavEntry) -> Frame {
        let gateway = self.request().app_data::<web::Data<Gateway>>();
        let can_record = gateway.is_none_or(|gateway| gateway.audit().can_record());
        let is_full = gateway.is_some_and(|gateway| gateway.audit().check_disk().is_err());
        let who = self.session().and_then(|session| session.identity());
        let is_admin = who.as_ref().is_some_and(|who| who.is_admin());
        let (in_queue, waiting) = gateway.filter(|_| is_admin).map(|gateway| queue_counts(gateway)).unwrap_or_default();
        let pending =
            self.request().app_data::<web::Data<Store>>().filter(|_| is_admin).map_or(0, |store| pending(store));
        Frame {
            title: title.into(),
            nav,
            host: self.host(),
            user: who.as_ref().map(|who| FrameUser {
                name: who.user().name().to_owned(),
                is_admin,
                keys: self.choice(KEYS).as_deref() != Some("off"),
            }),
            theme: self.choice(THEME).map(|word| Theme::parse(&word)).unwrap_or_default(),
            csrf: self.session().map(|session| session.form_token().to_owned()).unwrap_or_default(),
            in_queue,
            waiting,
            pending,
            health: gateway.map(|gateway| health(gateway, is_admin, can_record)).unwrap_or_default(),
            flash: self.take_flash(),
            alarm: alarm(can_record, is_full).map(str::to_owned),
            is_plain: self.is_plain(),
            style_path: assets::path("style.css"),
            script_path: assets::path("app.js"),
            icon_path: assets::path("icon.svg"),
        }
    }
}

const ALARM: &str =
    "The record can't be written, so nothing is answered. Look at the log, and whether the data disk is full.";

const ALARM_DISK: &str =
    "The data disk is nearly full, so nothing is answered. Free space on it: it then goes on by itself.";

fn alarm(can_record: bool, is_full: bool) -> Option<&'static str> {
    match (can_record, is_full) {
        (false, _) => Some(ALARM),
        (true, true) => Some(ALARM_DISK),
        (true, false) => None,
    }
}

fn queue_counts(gateway: &Gateway) -> (usize, usize) {
    let all = gateway.queue().forecast();
    (all.len(), all.iter().filter(|one| one.ahead.is_some()).count())
}

fn pending(store: &Store) -> usize {
    store.people().all().filter(|user| user.status == UserStatus::Pending).count()
}

fn health(gateway: &Gateway, is_admin: bool, can_record: bool) -> Vec<HealthLine> {
    let line = |is_good: bool, good: &str, bad: &str| HealthLine {
        is_good,
        text: if is_good { good } else { bad }.to_owned(),
    };
    let is_full = gateway.audit().check_disk().is_err();
    if !is_admin {
        return vec![line(can_record && !is_full, "The gateway is up", "Nothing is answered now")];
    }
    let mut lines = vec![line(can_record, "Recording", "Can't record")];
    if is_full {
        lines.push(line(false, "", "The data disk is full"));
    }
    for (name, seen) in gateway.upstream_names().zip(gateway.routing().seen()) {
        let shown = if name == "local" { "Ollama".to_owned() } else { name };
        let text = match seen.condition {
            Condition::Up => format!("{shown} answers"),
            Condition::Down { .. } => format!("{shown} does not answer"),
            Condition::Unknown => continue,
        };
        lines.push(HealthLine { is_good: matches!(seen.condition, Condition::Up), text });
    }
    lines
}
