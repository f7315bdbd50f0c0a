//! What the layout shows around a page.

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
    /// As the browser prefers.
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
#[derive(Debug, Clone)]
pub struct Flash {
    pub text: String,
    pub undo: Option<Undo>,
}

/// A form that does the inverse of what was just done.
#[derive(Debug, Clone)]
pub struct Undo {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

/// Everything around the content of a page. Templates have it as `frame`.
#[derive(Debug, Clone)]
pub struct Frame {
    /// As in the heading and, with the number of those who wait, in the window's title.
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
