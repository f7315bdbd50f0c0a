use super::*;

fn text(pattern: &str) -> Option<String> {
    rewrite(pattern, 0, None).map(|written| written.text)
}

fn same(pattern: &str) {
    assert_eq!(text(pattern).as_deref(), Some(pattern));
}

#[test]
fn plain_patterns_stay_as_they_are() {
    for pattern in ["^abc$", "^[a-z]+$", "^[0-9]{5}$".replace("{5}", "{5,5}").as_str(), "^(ab|cd)?x[A-Z]*$"] {
        same(pattern);
    }
}

#[test]
fn what_is_written_is_read_as_the_same() {
    for pattern in
        [r"^\d+$", r"^.*$", r#"^[^a-z"]{2,3}$"#, "x", r"^(a?b?)*c$", r"^[\w\-]+(\.[\w\-]+)*$", "^$", "^é{2}$"]
    {
        let once = text(pattern).unwrap();

        // `(…|[\x5C]…)` says JSON's escapes; read as a pattern it says other things, so only what has none is the same.
        if !once.contains(r"\x5C") {
            assert_eq!(text(&once), Some(once));
        }
    }
}

#[test]
fn classes_and_escapes_that_the_compiler_does_not_know_are_spelled_out() {
    assert_eq!(text(r"^\d{5}$").unwrap(), "^[0-9]{5,5}$");
    assert_eq!(text(r"^\w+\-\/$").unwrap(), r"^[0-9A-Z\x5Fa-z]+-/$");
    assert_eq!(text(r"^[\s\S]$").unwrap(), text(r"^[^]$").unwrap());
    assert_eq!(text(r"^\u{1F600}\uD83D\uDE00\x41\u0042$").unwrap(), r"^[\U0001F600][\U0001F600]AB$");
}

#[test]
fn quotation_marks_and_ends_of_lines_are_written_as_json_has_them() {
    assert_eq!(text("^\"$").unwrap(), r"^([\x5C][\x22])$");
    assert_eq!(text(r"^[\n\t\\a]$").unwrap(), r"^([a]|[\x5C][\x5Cnt])$");
    // Nothing ends the text too early, and no end of a line stands in it as it is.
    assert_eq!(
        text("^.$").unwrap(),
        r"^([\x20\x21\x23-\x5B\x5D-\x7E\x80-\u2027\u202A-\uD7FF\uE000-\U0010FFFF]|[\x5C][\x22\x5Cbft])$"
    );
}

#[test]
fn a_pattern_without_anchors_matches_anywhere() {
    let anything = "([\\x20\\x21\\x23-\\x5B\\x5D-\\x7E\\x80-\\uD7FF\\uE000-\\U0010FFFF]|[\\x5C][\\x22\\x5Cbfnrt])*";

    assert_eq!(text("x").unwrap(), format!("^{anything}x{anything}$"));
    assert_eq!(text("^x").unwrap(), format!("^x{anything}$"));
    assert_eq!(text("^a$|b$").unwrap(), format!("^(a|{anything}b)$"));
    assert_eq!(text("^(?:^a$)$"), None);
    assert_eq!(text("(?:^a$)").unwrap(), "^a$");
}

#[test]
fn nothing_that_is_repeated_can_be_empty() {
    assert_eq!(text("^(a?)*$").unwrap(), "^[a]*$");
    assert_eq!(text("^((a?){0,5}){0,5}$").unwrap(), "^([a]{1,5}){0,5}$");
    assert_eq!(text("^(a?b?)*$").unwrap(), "^(a[b]?|b)*$");
    assert_eq!(text("^(|a)+$").unwrap(), "^[a]*$");
    assert_eq!(text("^(a*)*$").unwrap(), "^([a]+)*$");
    assert_eq!(text("^(){5}$").unwrap(), "^$");
    assert_eq!(text("^a{0}$").unwrap(), "^$");
}

#[test]
fn what_a_grammar_can_not_say_is_left_out() {
    for pattern in [
        "^(?=a)b$",
        "^(?!a)b$",
        "^(?<=a)b$",
        "^(?<!a)b$",
        "^(?i)a$",
        r"^\ba$",
        r"^(a)\1$",
        r"^\p{L}$",
        r"^\k<a>$",
        "^a**$",
        "^+$",
        "^a{2,1}$",
        "^(a$",
        "^a)$",
        "^[a$",
        "^[z-a]$",
        r"^a\",
        "^[]$",
        r"^\uD800$",
        "^[\u{1}]$",
        "a^b",
        "^a{2001}$",
        "^a{5000000000}$",
    ] {
        assert_eq!(text(pattern), None, "{pattern}");
    }
}

#[test]
fn names_of_groups_and_lazy_counts_say_nothing_about_texts() {
    assert_eq!(text("^(?<year>a)(?P<month>b)(?:c)+?$").unwrap(), "^ab[c]+$");
}

#[test]
fn braces_that_count_nothing_are_characters() {
    assert_eq!(text("^{a}$").unwrap(), r"^[\x7B]a[\x7D]$");
    assert_eq!(text("^a{,5}$").unwrap(), r"^a[\x7B],5[\x7D]$");
}

#[test]
fn counts_up_to_the_compilers_limit_pass_and_larger_ones_do_not() {
    assert_eq!(text("^a{0,2000}$").unwrap(), "^[a]{0,2000}$");
    assert_eq!(text("^a{0,2001}$"), None);
    assert_eq!(rewrite("^a{3,20}b{5}$", 0, None).unwrap().repeats, 25);
}

#[test]
fn a_pattern_in_which_a_text_is_in_many_states_at_once_is_left_out() {
    assert!(text("^[a-z]{0,128}[a-z]{0,128}$").is_some());
    assert!(text("^[a-z]{0,128}[a-z]{0,129}$").is_none());
    // Large counts alone are none of them.
    assert!(text("^[a-z]{0,1000}[0-9]{0,1000}$").is_some());
    assert!(text("^([a-z]{1,500}[0-9]){1,500}$").is_some());
    assert!(text("^([a-z]{1,500}){1,500}$").is_none());
}

#[test]
fn patterns_that_double_themselves_end() {
    let nested = (0..15).fold("a?".to_owned(), |inner, _| format!("({inner})?({inner})?"));
    let deep = format!("^{}a{}$", "(".repeat(1000), ")".repeat(1000));
    let long = format!("^{}$", "a?".repeat(1000));

    assert_eq!((text(&nested), text(&deep), text(&long)), (None, None, None));
}

#[test]
fn limits_of_length_go_into_a_pattern_of_one_set() {
    let with = |pattern, least, most| {
        let written = rewrite(pattern, least, most).unwrap();
        (written.text, written.keeps_lengths)
    };

    assert_eq!(with("^[a-z]+$", 0, Some(20)), ("^[a-z]{1,20}$".into(), true));
    assert_eq!(with("^[a-z]*$", 3, Some(20)), ("^[a-z]{3,20}$".into(), true));
    assert_eq!(with("^[a-z]*$", 0, Some(20)), ("^[a-z]{0,20}$".into(), true));
    assert_eq!(with(r"^\d{5}$", 5, Some(5)), ("^[0-9]{5,5}$".into(), true));
    assert!(!with("^a|bc$", 0, Some(5)).1);
    assert_eq!(with("^[a-z]+-[a-z]+$", 0, Some(20)), ("^[a-z]+-[a-z]+$".into(), false));
    assert_eq!(with("^[a-z]+$", 0, Some(0)), ("^[a-z]+$".into(), false));
}
