//! Finds what was probably meant by a misspelt name.

/// Less similar names count as different, not as misspelt.
const LIKENESS_LEAST: f64 = 0.6;

/// Returns the name that was probably meant by `typed`; `None` if none is similar. Capital letters and how words are joined
/// don't matter.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = plain(typed);
    let likeness = |name: &str| {
        let name = plain(name);
        let whole = strsim::normalized_damerau_levenshtein(&typed, &name);
        // The part before an `@` is often all that is typed.
        let local =
            name.split_once('@').map_or(0.0, |(local, _)| strsim::normalized_damerau_levenshtein(&typed, local));
        whole.max(local)
    };
    let likely = names.into_iter().map(|name| (likeness(name), name));
    let (most, name) = likely.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (most >= LIKENESS_LEAST).then_some(name)
}

/// Returns the end of an error about an unknown name: what was probably meant, or nothing.
pub fn did_you_mean<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, names).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn plain(name: &str) -> String {
    name.to_lowercase().replace(['-', '.', ' '], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["ann@example.org", "bob@example.org", "tokens_per_day", "tokens_per_minute"];

    #[test]
    fn a_misspelt_name_is_found_and_a_foreign_one_is_not() {
        for (typed, meant) in [
            ("anne@example.org", Some("ann@example.org")),
            ("ANN@exmaple.org", Some("ann@example.org")),
            ("bob", Some("bob@example.org")),
            ("tokens-per-day", Some("tokens_per_day")),
            ("token_per_day", Some("tokens_per_day")),
            ("gpu", None),
            ("", None),
            ("zacharias", None),
        ] {
            assert_eq!(nearest(typed, NAMES), meant, "{typed}");
        }
        assert_eq!(did_you_mean("token_per_day", NAMES), "; did you mean `tokens_per_day`?");
        assert_eq!(did_you_mean("x", NAMES), "");
    }
}
