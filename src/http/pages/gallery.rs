//! Every component and layout rendered once. With `GALLERY=folder` the pages are also written there, to look at them.

use std::path::Path;

use askama::Template;

use crate::http::pages::frame::{Flash, Frame, FrameUser, HealthLine, NavEntry, Theme, Undo};
use crate::http::pages::icons;
use crate::http::pages::markup::Markup;

const SPARK: &str = r#"<svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" aria-hidden="true"><path class="area" d="M0 26L40 25L60 8L70 16L85 6L100 20V28H0z"/><path class="line" d="M0 26L40 25L60 8L70 16L85 6L100 20"/></svg>"#;
const PULSE: &str = r#"<svg class="pulse" role="group" aria-label="Requests per hour"><rect class="shade" x="75%" width="25%" height="100%"/><a href="/x"><title>14:00: 12 requests</title><rect class="n" x="80%" y="40%" width="2%" height="60%"/><rect class="refused" x="80%" y="36%" width="2%" height="4%"/></a><a href="/y"><title>15:00: 20 requests</title><rect class="n" x="84%" y="20%" width="2%" height="80%"/><rect class="failed" x="84%" y="16%" width="2%" height="4%"/></a></svg>"#;
const PHASE: &str = r#"<svg class="phase" aria-hidden="true"><rect class="wait" width="37%" height="100%"/><rect class="load" x="38%" width="8%" height="100%"/><rect class="answer" x="47%" width="53%" height="100%"/></svg>"#;
const PHASE_LARGE: &str = r#"<svg class="phase large" role="img" aria-label="Waited 12.4 s, first token after 3.1 s, answered 18.2 s"><rect class="wait" width="36.8%" height="100%"/><rect class="load" x="37%" width="9%" height="100%"/><rect class="answer" x="46.2%" width="53.8%" height="100%"/></svg>"#;
const BARS: &str = r#"<svg class="bars" role="group" aria-label="GPU time per day"><line class="grid" x1="0" x2="100%" y1="50%" y2="50%"/><a href="/x"><title>25 November: 52 min</title><rect class="b" x="70%" y="30%" width="5%" height="70%"/></a><a href="/y"><title>today: 1 h</title><rect class="b hi" x="80%" y="10%" width="5%" height="90%"/></a><line class="base" x1="0" x2="100%" y1="100%" y2="100%"/></svg>"#;

/// Text that would be markup if it were not escaped.
const HOSTILE: &str = "<b>maria</b>@example.org";

type Links = Vec<(&'static str, &'static str, bool)>;

#[derive(Template)]
#[template(path = "gallery.html")]
struct Gallery {
    frame: Frame,
    name: String,
    tabs: Links,
    segs: Links,
    options: Links,
    problems: Vec<(&'static str, String)>,
    spark: Markup,
    is_sheet: bool,
}

#[derive(Template)]
#[template(path = "gallery_door.html")]
struct GalleryDoor {
    frame: Frame,
}

fn frame(user: Option<FrameUser>, theme: Theme) -> Frame {
    Frame {
        title: "Overview".to_owned(),
        nav: NavEntry::People,
        host: "gpu-box.lan".to_owned(),
        user,
        theme,
        csrf: "field-of-the-session".to_owned(),
        in_queue: 7,
        waiting: 5,
        pending: 2,
        health: vec![
            HealthLine { is_good: true, text: "Recording".to_owned() },
            HealthLine { is_good: false, text: "Ollama does not answer".to_owned() },
        ],
        flash: Some(Flash {
            text: "carl@example.org is disabled.".to_owned(),
            undo: Some(Undo {
                action: "/admin/users/1/enable".to_owned(),
                fields: vec![("id".to_owned(), "1".to_owned())],
            }),
        }),
        alarm: Some("The record can't be written, so nothing is answered.".to_owned()),
        is_plain: true,
        style_path: "style.css",
        script_path: "app.js",
        icon_path: "icon.svg",
    }
}

fn person(is_admin: bool) -> FrameUser {
    FrameUser { name: HOSTILE.to_owned(), is_admin, keys: is_admin }
}

fn gallery(frame: Frame, is_sheet: bool) -> String {
    let page = Gallery {
        frame,
        name: HOSTILE.to_owned(),
        tabs: vec![("/a", "At a glance", true), ("/b", "Limits", false), ("/c", "Access tokens 3", false)],
        segs: vec![("/a", "People", true), ("/b", "Access tokens", false)],
        options: vec![("interactive", "interactive", false), ("batch", "batch", true)],
        problems: vec![("email", "That is no e-mail address.".to_owned())],
        spark: Markup::of_html(SPARK.to_owned()),
        is_sheet,
    };
    page.render().unwrap()
}

fn keep(name: &str, html: &str) {
    if let Some(folder) = std::env::var_os("GALLERY") {
        std::fs::write(std::path::Path::new(&folder).join(name), html).unwrap();
    }
}

#[test]
fn an_admin_sees_both_groups_of_the_navigation_and_the_counts() {
    let html = gallery(frame(Some(person(true)), Theme::Browser), false);
    keep("admin.html", &html);

    assert!(html.contains("<title>(5 wait) Overview · lan-gateway</title>"));
    assert!(html.contains(r#"<html lang="en">"#));
    assert!(html.contains(r#"<a href="/admin/users" aria-current="page">"#));
    assert!(html.contains(r#"href="/me/setup""#));
    assert!(html.contains(r#"<form class="inline" method="post" action="/sign-out"><input type="hidden" name="csrf" value="field-of-the-session">"#));
}

#[test]
fn a_member_sees_the_own_pages_alone() {
    let html = gallery(frame(Some(person(false)), Theme::Dark), true);
    keep("member.html", &html);

    let side = html.split(r#"id="menu""#).nth(1).unwrap().split("</header>").next().unwrap();
    assert!(!side.contains("/admin"));
    assert!(html.contains(r#"<html lang="en" data-theme="dark">"#));
    assert!(html.contains(r#"<body data-keys="off">"#));
}

#[test]
fn the_door_has_no_sidebar() {
    let html = GalleryDoor { frame: frame(None, Theme::Light) }.render().unwrap();
    keep("door.html", &html);

    assert!(!html.contains(r#"id="menu""#));
    assert!(!html.contains("/sign-out"));
}

#[test]
fn text_is_escaped_in_every_component() {
    let html = gallery(frame(Some(person(true)), Theme::Browser), true);

    assert!(!html.contains("<b>maria"));
    assert!(html.contains("&#60;b&#62;maria"));
    // The argument is the page's own `name`, although the macro has a parameter for the name of the field.
    assert!(html.contains(r#"name="email" type="email" value="&#60;b&#62;maria"#));
}

#[test]
fn no_markup_needs_more_than_the_content_security_policy_allows() {
    let html = gallery(frame(Some(person(true)), Theme::Browser), true);

    for forbidden in [" style=", "<style", " onclick=", "javascript:", "<script>"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn the_script_has_at_most_8_kib() {
    assert!(include_str!("../../../assets/app.js").len() <= 8 * 1024);
}

/// Returns every template's text.
fn templates(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(templates(&path));
        } else {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
    texts
}

#[test]
fn every_icon_that_a_template_names_exists() {
    let texts = templates(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")));

    assert!(texts.len() > 10);
    for text in texts {
        for name in text.split("icon(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(!icons::shape(name).is_empty(), "{name}");
        }
    }
}

#[test]
fn no_template_prints_the_text_of_others_unescaped() {
    for text in templates(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/templates"))) {
        // The shape of an icon and the theme's attribute are the gateway's own.
        let raw: Vec<&str> = text
            .match_indices("|safe }}")
            .chain(text.match_indices("|safe}}"))
            .map(|(at, _)| &text[at.saturating_sub(60)..at])
            .collect();
        let is_own = |before: &&str| before.contains("icons::shape(") || before.contains("theme_attribute()");
        assert!(raw.iter().all(is_own), "{raw:?}");
    }
}
