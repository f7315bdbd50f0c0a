//! What the layout shows around a page.

use serde::{Deserialize, Serialize};

/// Entries of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NavEntry {
    /// A page that no entry leads to.
    Elsewhere,
    Overview,
    Queue,
    People,
    Record,
    Usage,
    Models,
    Settings,
    MyPage,
    MyTokens,
    MyRecord,
    MyUsage,
    MySetup,
}

/// The colours that a person chose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Theme {
    /// The browser's preference.
    #[default]
    Browser,
    Light,
    Dark,
}

/// The person who is signed in.
#[derive(Debug, Clone)]
pub struct FrameUser {
    pub name: String,
    pub is_admin: bool,
    /// Whether single keys are shortcuts.
    pub keys: bool,
}

/// A line about the health of the gateway.
#[derive(Debug, Clone)]
pub struct HealthLine {
    pub is_good: bool,
    pub text: String,
}

/// What was just done, told once at the top of the next page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flash {
    pub text: String,
    pub undo: Option<Undo>,
}

impl<T: Into<String>> From<T> for Flash {
    fn from(text: T) -> Self {
        Flash { text: text.into(), undo: None }
    }
}

impl Flash {
    /// Adds a form that does the inverse.
    pub fn with_undo(text: impl Into<String>, action: impl Into<String>, fields: &[(&str, &str)]) -> Flash {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Flash { text: text.into(), undo: Some(Undo { action: action.into(), fields }) }
    }
}

/// A form that does the inverse of what was just done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Undo {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

/// Everything around the content of a page. Templates have it as `frame`.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The text of the heading and, with the number of those who wait, of the window's title.
    pub title: String,
    pub nav: NavEntry,
    /// The name of this host, as the browser wrote it.
    pub host: String,
    /// `None`: nobody is signed in, and there is no sidebar.
    pub user: Option<FrameUser>,
    pub theme: Theme,
    /// The session's field of forms.
    pub csrf: String,
    /// Requests that run or wait.
    pub in_queue: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Accounts that wait for approval.
    pub pending: usize,
    pub health: Vec<HealthLine>,
    pub flash: Option<Flash>,
    /// Why nothing is answered, if so: shown in red on every page.
    pub alarm: Option<String>,
    /// Whether the page came over plain HTTP.
    pub is_plain: bool,
    pub style_path: &'static str,
    pub script_path: &'static str,
    pub icon_path: &'static str,
}

/// The cookies with what a person chose for this browser.
pub const THEME: &str = "lgw_theme";
pub const KEYS: &str = "lgw_keys";

impl Theme {
    /// Returns the word that the cookie, the form and `data-theme` have.
    pub fn name(self) -> &'static str {
        match self {
            Theme::Browser => "browser",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    pub fn parse(word: &str) -> Theme {
        [Theme::Light, Theme::Dark].into_iter().find(|theme| theme.name() == word).unwrap_or_default()
    }
}
