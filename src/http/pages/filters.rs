//! Filters of the templates. A file whose templates use them has `use crate::http::pages::filters;`.

use std::fmt::Display;

use askama::{Result, Values};

use crate::http::pages::markup::Markup;
use crate::http::pages::{format, visible as shown};

/// Shows text of others between tags: `{{ name|visible }}`.
#[askama::filter_fn]
pub fn visible(text: impl Display, _: &dyn Values) -> Result<Markup> {
    Ok(shown::visible(&text.to_string()))
}

/// Shows text of others in an attribute or a title, where it is escaped by the template: `title="{{ name|plain }}"`.
#[askama::filter_fn]
pub fn plain(text: impl Display, _: &dyn Values) -> Result<String> {
    Ok(shown::plain(&text.to_string()).into_owned())
}

/// Shows a sentence with what stands between backticks as code: `{{ remedy|coded }}`.
#[askama::filter_fn]
pub fn coded(text: impl Display, _: &dyn Values) -> Result<Markup> {
    Ok(shown::with_code(&text.to_string()))
}

/// Shows a whole number with commas: `{{ requests|commas }}`.
#[askama::filter_fn]
pub fn commas(number: impl Display, _: &dyn Values) -> Result<String> {
    Ok(format::commas_in(&number.to_string()))
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use crate::http::pages::filters;

    #[derive(Template)]
    #[template(
        source = r#"<i title="{{ name|plain }}">{{ name|visible }}</i> {{ count|commas }} {{ own|visible }}"#,
        ext = "html"
    )]
    struct Line<'a> {
        name: &'a str,
        own: String,
        count: u64,
    }

    #[test]
    fn filters_work_in_a_template_and_nothing_is_escaped_twice_or_not_at_all() {
        let line = Line { name: "<b \"\u{202e}'&", own: "a&b".into(), count: 12345 };

        assert_eq!(
            line.render().unwrap(),
            "<i title=\"&#60;b &#34;[U+202E]&#39;&#38;\">&lt;b &quot;\
             <span class=\"chip-char\" title=\"right-to-left override\">U+202E</span>&#39;&amp;</i> 12,345 a&amp;b"
        );
    }
}
