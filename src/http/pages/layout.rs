//! Links, title and theme of the layout, read by its templates from `Frame`.

use crate::http::pages::frame::{Frame, NavEntry, Theme};

/// A link of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NavLink {
    pub href: &'static str,
    pub label: &'static str,
    pub icon: &'static str,
    pub is_current: bool,
    /// Zero shows no count.
    pub count: usize,
    /// Whether the count is of things that wait for an admin.
    pub is_for_you: bool,
}

impl Frame {
    /// Returns the title of the window, with the number of requests that wait.
    pub fn window_title(&self) -> String {
        window_title(&self.title, self.waiting)
    }

    /// Returns the attribute of `html` that chooses the colours: markup, and empty when the browser chooses.
    pub const fn theme_attribute(&self) -> &'static str {
        match self.theme {
            Theme::Browser => "",
            Theme::Light => r#" data-theme="light""#,
            Theme::Dark => r#" data-theme="dark""#,
        }
    }

    /// Returns whether single keys are shortcuts on this page.
    pub fn has_keys(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.keys)
    }

    /// Returns the links of an admin.
    pub fn admin_links(&self) -> [NavLink; 7] {
        [
            self.link(NavEntry::Overview, "/admin", "Overview", "gauge"),
            NavLink { count: self.in_queue, ..self.link(NavEntry::Queue, "/admin/queue", "Queue", "list-ordered") },
            NavLink {
                count: self.pending,
                is_for_you: true,
                ..self.link(NavEntry::People, "/admin/users", "People", "users")
            },
            self.link(NavEntry::Record, "/admin/record", "Record", "scroll-text"),
            self.link(NavEntry::Usage, "/admin/usage", "Usage", "chart-column"),
            self.link(NavEntry::Models, "/admin/models", "Models", "box"),
            self.link(NavEntry::Settings, "/admin/settings/limits", "Settings", "sliders-horizontal"),
        ]
    }

    /// Returns the links of every person.
    pub fn own_links(&self) -> [NavLink; 5] {
        [
            self.link(NavEntry::MyPage, "/me", "My page", "circle-user"),
            self.link(NavEntry::MyTokens, "/me/tokens", "Access tokens", "key-round"),
            self.link(NavEntry::MyRecord, "/me/record", "My record", "scroll-text"),
            self.link(NavEntry::MyUsage, "/me/usage", "My usage", "chart-column"),
            self.link(NavEntry::MySetup, "/me/setup", "Set up a client", "terminal"),
        ]
    }

    /// Returns the four links at the bottom of a phone.
    pub fn phone_links(&self) -> [NavLink; 4] {
        if self.user.as_ref().is_some_and(|user| user.is_admin) {
            let [overview, queue, people, record, ..] = self.admin_links();
            [overview, queue, people, record]
        } else {
            let [page, tokens, record, usage, _] = self.own_links();
            [
                page,
                NavLink { label: "Tokens", ..tokens },
                NavLink { label: "Record", ..record },
                NavLink { label: "Usage", ..usage },
            ]
        }
    }

    fn link(&self, entry: NavEntry, href: &'static str, label: &'static str, icon: &'static str) -> NavLink {
        NavLink { href, label, icon, is_current: self.nav == entry, count: 0, is_for_you: false }
    }
}

/// Returns the title of the window for a page and the number of requests that wait.
pub fn window_title(page: &str, waiting: usize) -> String {
    match waiting {
        0 => format!("{page} · lan-gateway"),
        waiting => format!("({waiting} wait) {page} · lan-gateway"),
    }
}

/// Returns the words of a value, and of each whether it is a unit, which is shown smaller.
pub fn figure_words(value: impl AsRef<str>) -> Vec<(String, bool)> {
    let is_unit = |word: &str| matches!(word, "ms" | "s" | "min" | "h" | "d" | "kB" | "MB" | "GB" | "TB" | "%");
    value.as_ref().split_whitespace().map(|word| (word.to_owned(), is_unit(word))).collect()
}
