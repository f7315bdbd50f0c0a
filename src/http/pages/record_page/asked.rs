//! What is asked of the record: the address, read with the names of people and access tokens, and in the words of its chips.

use std::sync::Arc;

use crate::base::error::Error;
use crate::http::me::own_rows;
use crate::http::pages::format::PageTimes;
use crate::http::pages::problem::FormProblem;
use crate::http::pages::record_page::address::RecordAddress;
use crate::http::pages::record_page::typed_time::{TypedTime, in_words};
use crate::http::pages::words::{outcome, states};
use crate::model::people::{People, User};
use crate::model::record::Kind;
use crate::rules::export::filter::Filter;
use crate::store::Store;
use crate::store::audit::Wanted;

/// The person whose record is read.
#[derive(Debug, Clone, Copy)]
pub enum RecordReader<'a> {
    Admin,
    /// A person in their own record.
    Own(&'a User),
}

impl RecordReader<'_> {
    pub fn path(self) -> &'static str {
        match self {
            RecordReader::Admin => "/admin/record",
            RecordReader::Own(_) => "/me/record",
        }
    }

    pub fn is_own(self) -> bool {
        matches!(self, RecordReader::Own(_))
    }
}

/// A filter, checked.
pub struct RecordAsked {
    /// With ids for names, and RFC 3339 for times.
    pub address: RecordAddress,
    /// With times in place of words.
    pub filter: Filter,
    pub wanted: Wanted,
    pub from: Option<TypedTime>,
    pub to: Option<TypedTime>,
    /// What is filtered, in words, with the fields that the chip takes away.
    pub chips: Vec<(String, &'static [&'static str])>,
}

/// Reads an address as it was typed, or says what is wrong with it.
pub async fn asked(
    store: &Store,
    reader: RecordReader<'_>,
    typed: &RecordAddress,
    times: &PageTimes,
) -> Result<Result<RecordAsked, FormProblem>, Error> {
    let people = store.people();
    let mut address = typed.clone();
    let mut names = Names::default();
    if typed.cursor().is_none() {
        address = address.newest();
    }
    match reader {
        RecordReader::Own(_) => address = address.without(&["user_id"]),
        RecordReader::Admin => {
            if let Some(person) = typed.get("user_id") {
                let Some((id, name)) = found_person(store, &people, person).await? else {
                    return Ok(Err(FormProblem::new(Some("user_id"), "Nobody has this name or id.")));
                };
                address = address.with("user_id", &id);
                names.person = name;
            }
        }
    }
    let owner = match reader {
        RecordReader::Own(user) => Some(user.id),
        RecordReader::Admin => address.get("user_id").and_then(|id| people.by_public_id(id)).map(|user| user.id),
    };
    if let Some(token) = typed.get("token_id") {
        match found_token(store, &people, reader, owner, token).await? {
            Ok((id, name)) => {
                address = address.with("token_id", &id);
                names.token = name;
            }
            Err(problem) => return Ok(Err(FormProblem::new(Some("token_id"), problem))),
        }
    }
    let mut time = |name: &'static str| -> Result<Option<TypedTime>, FormProblem> {
        let Some(text) = typed.get(name) else { return Ok(None) };
        let wrong = "Type a time as in 2026-01-31 12:00, or today, or -2d for the last two days.";
        let time = TypedTime::parse(text, times.zone()).ok_or_else(|| FormProblem::new(Some(name), wrong))?;
        address = address.with(name, &time.in_address());
        Ok(Some(time))
    };
    let (from, to) = match (time("from"), time("to")) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(problem), _) | (_, Err(problem)) => return Ok(Err(problem)),
    };
    let filter = filter_of(&address, from, to, times);
    let wanted = match reader {
        RecordReader::Admin => filter.wanted(store).await,
        RecordReader::Own(user) => own_rows(store, user.id, &filter).await,
    };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(error @ Error::Invalid { .. }) => {
            let field = error.field().map(str::to_owned);
            return Ok(Err(FormProblem { field, message: crate::http::pages::problem::sentence(&error.to_string()) }));
        }
        Err(error) => return Err(error),
    };
    let chips = names.chips(&address, in_words(from, to, times));
    Ok(Ok(RecordAsked { address, filter, wanted, from, to, chips }))
}

fn filter_of(address: &RecordAddress, from: Option<TypedTime>, to: Option<TypedTime>, times: &PageTimes) -> Filter {
    let field = |name: &str| address.get(name).map(str::to_owned);
    let at = |time: Option<TypedTime>| time.map(|time| time.at(times).rfc3339());
    Filter {
        user_id: field("user_id"),
        token_id: field("token_id"),
        kind: field("kind"),
        outcome: field("outcome"),
        model: field("model"),
        api: field("api"),
        text: field("text"),
        from: at(from),
        to: at(to),
        ..Filter::default()
    }
}

/// Returns the id and the name of a person by either of them, also of one who was deleted.
async fn found_person(store: &Store, people: &People, typed: &str) -> Result<Option<(String, String)>, Error> {
    let known: Option<&Arc<User>> =
        people.by_public_id(typed).or_else(|| people.by_name(typed)).or_else(|| people.by_name(&typed.to_lowercase()));
    if let Some(user) = known {
        return Ok(Some((user.public_id.clone(), user.name().to_owned())));
    }
    match store.user_key(typed.to_owned()).await {
        Ok(key) => Ok(Some((typed.to_owned(), people.name_of(key)))),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the id and the name of an access token by either of them, or what is wrong. `owner`: whose it must be by its name.
async fn found_token(
    store: &Store,
    people: &People,
    reader: RecordReader<'_>,
    owner: Option<i64>,
    typed: &str,
) -> Result<Result<(String, String), &'static str>, Error> {
    match store.token_key(typed.to_owned()).await {
        Ok(key) if !reader.is_own() || Some(key.user_id) == owner => {
            let labels = store.token_labels(vec![key.id]).await?;
            let name = labels.get(&key.id).map_or_else(String::new, |label| label.name().to_owned());
            return Ok(Ok((typed.to_owned(), name)));
        }
        Ok(_) | Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut named =
        people.tokens().filter(|token| token.name == typed && owner.is_none_or(|owner| token.user_id == owner));
    Ok(match (named.next(), named.next()) {
        (Some(one), None) => Ok((one.public_id.clone(), one.name.clone())),
        (Some(_), Some(_)) => {
            Err("Several access tokens have this name. Choose the person first, and then one of theirs.")
        }
        (None, _) => Err("No access token has this name or id."),
    })
}

/// The names behind the ids of an address.
#[derive(Default)]
struct Names {
    person: String,
    token: String,
}

impl Names {
    fn chips(&self, address: &RecordAddress, time: String) -> Vec<(String, &'static [&'static str])> {
        let outcomes = address.text("outcome").split(',').map(|one| outcome(Some(one)).word.text.to_lowercase());
        let kind = Kind::wanted(address.text("kind")).map_or("", states::kind);
        let of = |name: &str, value: String| address.get(name).map(|_| value);
        let chips: [(Option<String>, &'static [&'static str]); 7] = [
            (of("user_id", format!("Person: {}", self.person)), &["user_id"]),
            (of("token_id", format!("Access token: {}", self.token)), &["token_id"]),
            (of("kind", format!("Only {kind}")), &["kind"]),
            (of("outcome", format!("Outcome: {}", outcomes.collect::<Vec<_>>().join(", "))), &["outcome"]),
            (of("model", format!("Model: {}", address.text("model"))), &["model"]),
            (of("api", format!("Route: {}", address.text("api"))), &["api"]),
            (Some(time).filter(|time| !time.is_empty()), &["from", "to"]),
        ];
        chips.into_iter().filter_map(|(said, fields)| Some((said?, fields))).collect()
    }
}
