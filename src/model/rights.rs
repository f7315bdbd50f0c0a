//! Rights of users and their tokens: scopes, models, request limits and queue weight.

pub mod quotas;

use crate::base::error::Error;
use crate::model::model_name::{ModelName, SameModel};
use crate::model::words::words_schema;

/// A permission of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Chat,
    Embeddings,
    Models,
    Usage,
    /// Needs an owner who is an admin.
    ManageModels,
    /// Needs an owner who is an admin.
    Metrics,
}

const SCOPES: [(&str, Scope); 6] = [
    ("chat", Scope::Chat),
    ("embeddings", Scope::Embeddings),
    ("models", Scope::Models),
    ("usage", Scope::Usage),
    ("models:manage", Scope::ManageModels),
    ("metrics", Scope::Metrics),
];

impl Scope {
    pub const ALL: [Scope; 6] =
        [Scope::Chat, Scope::Embeddings, Scope::Models, Scope::Usage, Scope::ManageModels, Scope::Metrics];

    /// Returns whether only an admin's token may have it.
    pub fn needs_admin(self) -> bool {
        match self {
            Scope::ManageModels | Scope::Metrics => true,
            Scope::Chat | Scope::Embeddings | Scope::Models | Scope::Usage => false,
        }
    }

    pub fn name(self) -> &'static str {
        SCOPES.iter().find(|(_, scope)| *scope == self).map_or("", |(name, _)| name)
    }

    fn of(word: &str) -> Option<Scope> {
        SCOPES.iter().find(|(name, _)| *name == word).map(|(_, scope)| *scope)
    }
}

words_schema!(impl Scope, "A permission of a token.", Scope::ALL.map(Scope::name));

/// A set of scopes, never empty when it was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Scopes, Error> {
        let mut scopes = Vec::new();
        for word in words {
            let Some(scope) = Scope::of(word.as_ref()) else {
                let known: Vec<&str> = SCOPES.iter().map(|(name, _)| *name).collect();
                return Err(Error::invalid("scopes", format!("`scopes` may hold {}", known.join(", "))));
            };
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        if scopes.is_empty() {
            return Err(Error::invalid("scopes", "`scopes` is empty; a token without a scope allows nothing"));
        }
        Ok(Scopes(scopes))
    }

    /// Reads a stored value. An unknown word gives no right.
    pub fn stored(text: &str) -> Scopes {
        Scopes(text.split(' ').filter_map(Scope::of).collect())
    }

    pub fn include(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    pub fn words(&self) -> Vec<&'static str> {
        self.0.iter().map(|scope| scope.name()).collect()
    }
}

/// The models that may be used: all, or those of a list.
#[derive(Debug, Clone, Default)]
pub struct AllowedModels(Option<Vec<ModelName>>);

/// Length limit of a list of models.
const MODELS_MAX: usize = 64;

impl AllowedModels {
    /// Parses a list. An empty one is refused: one reader would take it for all models, the next for none.
    pub fn parse(names: &[String]) -> Result<AllowedModels, Error> {
        if names.is_empty() {
            return Err(Error::invalid("models", "`models` is empty; leave it out to allow all"));
        }
        if names.len() > MODELS_MAX {
            return Err(Error::invalid("models", format!("`models` may hold at most {MODELS_MAX} names")));
        }
        let parse = |(at, name): (usize, &String)| {
            ModelName::parse(name).map_err(|error| Error::invalid(format!("models[{at}]"), error.to_string()))
        };
        Ok(AllowedModels(Some(names.iter().enumerate().map(parse).collect::<Result<_, _>>()?)))
    }

    /// Reads a stored value. A name that can't be parsed allows nothing.
    pub fn stored(text: Option<&str>) -> AllowedModels {
        let names = |text: &str| text.split(' ').filter_map(|name| ModelName::parse(name).ok()).collect();
        AllowedModels(text.map(names))
    }

    /// Returns the stored form.
    pub fn text(&self) -> Option<String> {
        self.words().map(|words| words.join(" "))
    }

    /// Returns whether the list has a name that means `model`.
    pub fn include(&self, model: &ModelName, is_same: SameModel<'_>) -> bool {
        self.0.as_ref().is_none_or(|names| names.iter().any(|name| is_same(name, model)))
    }

    /// Returns the list; `None` means all.
    pub fn words(&self) -> Option<Vec<String>> {
        self.0.as_ref().map(|names| names.iter().map(|name| name.as_str().to_owned()).collect())
    }
}

/// A higher number is no limit at all.
pub const REQUESTS_PER_MINUTE_MAX: u32 = 1_000_000;

/// Checks a limit of requests per minute, of a user or a token.
pub fn check_requests_per_minute(limit: u32) -> Result<i64, Error> {
    if !(1..=REQUESTS_PER_MINUTE_MAX).contains(&limit) {
        let message = format!("`requests_per_minute` must be from 1 to {REQUESTS_PER_MINUTE_MAX}");
        return Err(Error::invalid("requests_per_minute", message));
    }
    Ok(i64::from(limit))
}

/// Scheduling class: interactive, or batch, which takes what interactive requests leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Interactive,
    Batch,
}

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Class::Interactive => "interactive",
            Class::Batch => "batch",
        }
    }

    pub fn parse(word: &str) -> Result<Class, Error> {
        [Class::Interactive, Class::Batch]
            .into_iter()
            .find(|class| class.name() == word)
            .ok_or_else(|| Error::invalid("class", "`class` must be interactive or batch"))
    }
}

words_schema!(
    impl Class,
    "`batch` requests run when no `interactive` one waits.",
    [Class::Interactive, Class::Batch].map(Class::name)
);

/// Reads a stored value. An unknown word gives no precedence.
impl From<String> for Class {
    fn from(word: String) -> Self {
        Class::parse(&word).unwrap_or(Class::Batch)
    }
}

/// With one weight of 100, no one else keeps a noticeable share.
pub const WEIGHT_MAX: u32 = 100;

/// Checks a queue weight.
pub fn check_weight(weight: u32) -> Result<i64, Error> {
    if !(1..=WEIGHT_MAX).contains(&weight) {
        return Err(Error::invalid("weight", format!("`weight` must be from 1 to {WEIGHT_MAX}")));
    }
    Ok(i64::from(weight))
}

impl From<Option<String>> for AllowedModels {
    fn from(text: Option<String>) -> Self {
        AllowedModels::stored(text.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_survive_their_stored_form_and_unknown_words_give_no_right() {
        let scopes = Scopes::parse(&["chat", "models:manage", "chat"]).unwrap();

        assert_eq!(scopes.words(), ["chat", "models:manage"]);
        assert_eq!(Scopes::stored(&scopes.words().join(" ")), scopes);
        assert!(!Scopes::stored("chats everything").include(Scope::Chat));
        assert_eq!(Scopes::parse(&["chat", "admin"]).unwrap_err().field(), Some("scopes"));
        assert!(Scopes::parse::<&str>(&[]).is_err());
    }

    #[test]
    fn a_class_survives_its_stored_form_and_one_that_cannot_be_read_gives_no_precedence() {
        for class in [Class::Interactive, Class::Batch] {
            assert_eq!(Class::parse(class.name()).unwrap(), class);
            assert_eq!(Class::from(class.name().to_owned()), class);
        }
        assert_eq!(Class::parse("Interactive").unwrap_err().field(), Some("class"));
        assert_eq!(Class::from("urgent".to_owned()), Class::Batch);
        // Of two, the later one is the lower.
        assert_eq!(Class::Interactive.max(Class::Batch), Class::Batch);
    }

    #[test]
    fn a_weight_is_from_one_to_a_hundred() {
        assert_eq!([check_weight(1).unwrap(), check_weight(100).unwrap()], [1, 100]);
        assert_eq!(
            [check_weight(0), check_weight(101)].map(|no| no.unwrap_err().field().map(str::to_owned)),
            [Some("weight".to_owned()), Some("weight".to_owned())]
        );
    }

    #[test]
    fn a_list_of_models_knows_every_spelling_and_none_means_all() {
        let is_same = |one: &ModelName, other: &ModelName| one.as_str().eq_ignore_ascii_case(other.as_str());
        let includes = |list: &AllowedModels, name: &str| list.include(&ModelName::parse(name).unwrap(), &is_same);
        let list = AllowedModels::parse(&["Llama3.2".into(), "user/other:1b".into()]).unwrap();

        assert!(includes(&list, "llama3.2") && includes(&list, "user/other:1b"));
        assert!(!includes(&list, "llama3.2:1b"));
        let stored = AllowedModels::from(list.text());
        assert!(includes(&stored, "llama3.2") && !includes(&stored, "other"));
        assert!(includes(&AllowedModels::stored(None), "anything"));
        assert!(!includes(&AllowedModels::stored(Some("")), "anything"));
        assert_eq!(AllowedModels::parse(&["a".into(), "b c".into()]).unwrap_err().field(), Some("models[1]"));
    }
}
