//! A person's role, limits, share, class and models: one form.

use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use serde_json::{Value, json};

use crate::base::error::Error;
use crate::gateway::Gateway;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::frame::{Flash, Frame, NavEntry};
use crate::http::pages::people::limits_form::{LimitsForm, MADE_FROM, ModelChoice, NumberField, of_form};
use crate::http::pages::people::person::{PersonHead, Tab};
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::{FormProblem, about};
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::acts::changes;
use crate::http::pages::words::{sentences, states};
use crate::model::model_name::ModelName;
use crate::model::people::{User, UserRole};
use crate::model::rights::Class;
use crate::rules::accounts::Accounts;
use crate::store::Store;
use crate::store::users::governed;

page_routes! {
    "GET" "/admin/users/{id}/limits" Admin limits_page;
    "POST" "/admin/users/{id}/limits" Admin change_limits;
}

#[derive(Template)]
#[template(path = "people/limits.html")]
struct LimitsPage {
    frame: Frame,
    head: PersonHead,
    roles: Vec<(&'static str, &'static str, bool)>,
    classes: Vec<(&'static str, String, bool)>,
    limits: Vec<NumberField>,
    share: NumberField,
    has_all_models: bool,
    models: Vec<ModelChoice>,
    /// Whether the model servers told what they have.
    are_models_known: bool,
    made_from: String,
    problem: Option<FormProblem>,
    /// What somebody else changed since the form was made.
    meanwhile: Option<String>,
}

impl LimitsPage {
    async fn of(
        visit: &AdminVisit,
        user: &User,
        form: &LimitsForm,
        problem: Option<FormProblem>,
    ) -> Result<Self, Fault> {
        let (accounts, gateway): (&Accounts, &Gateway) = (visit.part()?, visit.part()?);
        let settings = visit.part::<Store>()?.settings().now();
        let times = visit.times()?;
        let (served, are_models_known) = match gateway.models(None).await {
            Ok(cards) => (cards.into_iter().map(|card| card.name).collect::<Vec<ModelName>>(), true),
            Err(_) => (Vec::new(), false),
        };
        let role = |role: UserRole| (role.name(), states::role(role), form.role == role.name());
        let class = |class: Class| {
            let text = format!("{}, {}", states::class(class), states::about_class(class));
            (class.name(), text, form.class == class.name())
        };
        let title = plain(user.name());
        let title = if problem.is_some() { format!("Problem: {title}") } else { title.into_owned() };
        Ok(LimitsPage {
            frame: visit.frame(title, NavEntry::People),
            head: PersonHead::of(user, &accounts.facts(user).await?, &times, Tab::Limits),
            roles: vec![role(UserRole::User), role(UserRole::Admin)],
            classes: vec![class(Class::Interactive), class(Class::Batch)],
            limits: form.limits(&settings, problem.as_ref()),
            share: form.share(problem.as_ref()),
            has_all_models: form.has_all_models,
            models: form.models(&served, |one, other| gateway.is_same_model(one, other)),
            are_models_known,
            made_from: form.made_from.clone(),
            problem,
            meanwhile: None,
        })
    }

    fn problems(&self) -> Vec<(String, String)> {
        let of = |problem: &FormProblem| (problem.field.clone().unwrap_or_default(), problem.message.clone());
        self.problem.iter().map(of).collect()
    }
}

async fn limits_page(visit: AdminVisit, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let user = accounts.by_id(&id)?;
    visit.page(&LimitsPage::of(&visit, &user, &LimitsForm::of(&user), None).await?)
}

async fn change_limits(form: Posted<AdminVisit>, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let visit = &form.visit;
    let user = accounts.by_id(&id)?;
    let sent = LimitsForm::sent(&form.fields);
    let edit = match sent.edit(&form.fields) {
        Ok(edit) => edit,
        Err(error) => return with_problem(visit, &user, &sent, error).await,
    };
    if sent.role != user.role.name() {
        let (name, role) = (plain(user.name()), UserRole::parse(&sent.role).map_or("…", states::role));
        form.needs_password(format!("make {name} {}", if role == "admin" { "an admin" } else { "a member" }))?;
    }
    let seen = edit.made_from.clone().unwrap_or_default();
    match accounts.edit(visit.actor(), &id, edit).await {
        Ok(new) => {
            // The inverse is the same form as it was before.
            let before = LimitsForm { made_from: governed(&new).to_string(), ..LimitsForm::of(&user) };
            let home = format!("/admin/users/{id}/limits");
            let is_same = governed(&new) == governed(&user);
            let undo = Flash::with_undo(sentences::SAVED, home.clone(), &before.fields());
            visit.done(home, if is_same { Flash::from(sentences::SAVED) } else { undo })
        }
        Err(error) => {
            let now = accounts.by_id(&id)?;
            match error {
                Error::Conflict { .. } if seen != governed(&now) => changed_meanwhile(visit, &now, sent, &seen).await,
                error => with_problem(visit, &now, &sent, error).await,
            }
        }
    }
}

async fn with_problem(visit: &AdminVisit, user: &User, sent: &LimitsForm, error: Error) -> PageResult {
    let problem = of_form(FormProblem::of(error)?);
    let status = problem.status();
    visit.page_as(status, &LimitsPage::of(visit, user, sent, Some(problem)).await?)
}

/// Shows the form again, as it was sent, with what somebody else changed meanwhile. Sent once more, it is saved.
async fn changed_meanwhile(visit: &AdminVisit, user: &User, sent: LimitsForm, seen: &Value) -> PageResult {
    let said = changes::of_person(&json!({ "old": seen, "new": governed(user) }));
    let form = LimitsForm { made_from: governed(user).to_string(), ..sent };
    let mut page = LimitsPage::of(visit, user, &form, None).await?;
    page.frame.title = format!("Problem: {}", page.frame.title);
    page.meanwhile = Some(said);
    visit.page_as(StatusCode::CONFLICT, &page)
}
