use super::*;
use crate::http::pages::markup::Markup;

const HOSTILE: &str = "\"><script>alert(1)</script>'&\u{202e}";

fn bar(value: f64) -> Bar {
    Bar { value, title: format!("{value}"), label: "12 Nov".into(), ..Bar::default() }
}

fn chart(bars: &[Bar], has_axis: bool) -> Markup {
    super::bars(&BarChart { name: "GPU time per day", bars, unit: BarUnit::Seconds, has_axis })
}

/// Fails where a chart is no well-formed markup, has a style, or a number that is none.
fn check(markup: &Markup) {
    let svg = markup.as_str();
    assert!(!svg.contains("style=") && !svg.contains("NaN") && !svg.contains("inf") && !svg.contains("%%"), "{svg}");
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(at) = rest.find('<') {
        let end = at + rest[at..].find('>').unwrap_or_else(|| panic!("a tag never ends in {svg}"));
        let tag = &rest[at + 1..end];
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        assert!(["svg", "rect", "path", "line", "text", "title", "a"].contains(&name), "<{tag}> in {svg}");
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}> in {svg}");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{svg}"),
            None if tag.ends_with('/') => {}
            None => open.push(name),
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?} in {svg}");
    for number in svg.split('%').filter_map(|before| before.rsplit('"').next()) {
        assert!(
            number.parse::<f64>().is_ok_and(|number| (-0.01..=100.01).contains(&number))
                || number.is_empty()
                || number.contains(['<', '>']),
            "{number} in {svg}"
        );
    }
}

#[test]
fn a_meter_says_how_much_is_used_and_held_and_when_it_becomes_scarce() {
    let class_of = |used| {
        let svg = meter(used, 0, 100);
        ["bad", "warn"].into_iter().find(|class| svg.as_str().contains(&format!("f {class}"))).unwrap_or("")
    };

    assert_eq!(
        [class_of(80), class_of(81), class_of(95), class_of(96), class_of(1_000)],
        ["", "warn", "warn", "bad", "bad"]
    );
    assert_eq!(
        meter(71, 3, 100).as_str(),
        r#"<svg class="meter" aria-hidden="true"><rect class="t" width="100%"/><rect class="f" width="71%"/><rect class="held" x="71%" width="3%"/></svg>"#
    );
    assert!(meter(90, 50, 100).as_str().contains(r#"x="90%" width="10%""#), "what is held ends with the limit");
    for markup in [meter(0, 0, 0), meter(u64::MAX, u64::MAX, u64::MAX), meter(0, 7, 7), meter(1, 0, 3)] {
        check(&markup);
    }
}

#[test]
fn ranks_and_lanes_are_full_at_most() {
    assert!(rank(1.0, 3.0, BarColour::Batch).as_str().contains(r#"<rect class="f batch" width="33.33%"/>"#));
    assert!(lane(60.0, Some(55.0), BarColour::Now).as_str().contains(r#"<rect class="f now" width="100%"/>"#));
    assert!(lane(60.0, None, BarColour::Now).as_str().contains(r#"width="0%""#));
    for odd in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, u64::MAX as f64] {
        check(&rank(odd, odd, BarColour::Plain));
        check(&rank(1.0, odd, BarColour::Chosen));
        check(&lane(odd, Some(odd), BarColour::Plain));
    }
}

#[test]
fn a_spark_draws_nothing_one_value_and_many() {
    assert!(!spark(&[]).as_str().contains("path"));
    assert!(spark(&[5.0]).as_str().contains(r#"d="M0 2.0L100 2.0""#));
    assert!(spark(&[0.0, 0.0]).as_str().contains(r#"d="M0.0 26.0L100.0 26.0""#), "all zero is a line at the bottom");
    assert!(spark(&[0.0, 4.0, 2.0]).as_str().contains(r#"d="M0.0 26.0L50.0 2.0L100.0 14.0""#));
    for values in [vec![], vec![f64::NAN], vec![f64::MAX, 0.0], vec![-1.0, f64::INFINITY, 1.0], vec![1.0; 1_000]] {
        check(&spark(&values));
    }
}

#[test]
fn empty_days_are_gaps_on_the_base_line_and_small_ones_are_seen() {
    let svg = chart(&[bar(3_600.0), bar(0.0), bar(1.0)], false);

    assert_eq!(svg.as_str().matches(r#"<rect class="b""#).count(), 2);
    assert!(svg.as_str().contains(r#"height="1.5%""#), "{}", svg.as_str());
    assert!(svg.as_str().contains(r#"<line class="base""#));
    check(&svg);
}

#[test]
fn a_highlighted_part_is_in_front_of_its_bar_and_a_whole_one_instead_of_it() {
    let part = Bar { highlighted: 1_800.0, ..bar(3_600.0) };
    let whole = Bar { highlighted: 3_600.0, ..bar(3_600.0) };

    let svg = chart(&[part], false);
    assert!(
        svg.as_str().contains(r#"height="100%""#) && svg.as_str().contains(r#"<rect class="b hi" x="16%" y="50%""#)
    );
    assert_eq!(chart(&[whole], false).as_str().matches("<rect").count(), 1);
}

#[test]
fn a_chart_has_at_most_three_lines_with_round_numbers() {
    let svg = chart(&[bar(5.4 * 3_600.0), bar(60.0)], true);

    for label in [">2 h<", ">4 h<", ">6 h<"] {
        assert!(svg.as_str().contains(label), "{label} in {}", svg.as_str());
    }
    assert_eq!(svg.as_str().matches(r#"class="grid""#).count(), 3);
    check(&svg);
    let things = super::bars(&BarChart { name: "", bars: &[bar(1.0)], unit: BarUnit::Things, has_axis: true });
    assert_eq!(things.as_str().matches(r#"class="grid""#).count(), 1, "there is no half request");
}

#[test]
fn bars_with_links_are_a_group_and_others_an_image_and_only_own_pages_are_linked() {
    let linked = |href: &str| chart(&[Bar { href: Some(href.into()), ..bar(1.0) }], false);

    let svg = linked("/admin/usage?from=2026-11-01&to=2026-11-02");
    assert!(svg.as_str().contains(r#"role="group""#));
    assert!(
        svg.as_str().contains(r#"<a href="/admin/usage?from=2026-11-01&amp;to=2026-11-02"><title>1</title>"#),
        "{}",
        svg.as_str()
    );
    assert!(chart(&[bar(1.0)], false).as_str().contains(r#"role="img""#));
    assert!(linked("?day=1").as_str().contains("<a "));
    for elsewhere in ["javascript:alert(1)", "//evil.example", "https://evil.example", ""] {
        assert!(!linked(elsewhere).as_str().contains("<a"), "{elsewhere}");
    }
}

#[test]
fn labels_that_would_touch_are_left_out_and_the_last_one_never_is() {
    let bars: Vec<Bar> = (0..30).map(|at| Bar { label: format!("d{at}"), ..bar(1.0) }).collect();
    let svg = chart(&bars, false);

    assert!(svg.as_str().contains(">d0<") && svg.as_str().contains(">d29<") && !svg.as_str().contains(">d28<"));
    assert!(svg.as_str().matches("<text").count() <= 9);
    check(&svg);

    // A long one needs more room.
    let label = |at| match at {
        0 => "Fri 13:00",
        11 => "Sat 00:00",
        23 => "Sat 12:00",
        _ => "",
    };
    let hours: Vec<Bar> = (0..48).map(|at| Bar { label: label(at).into(), ..bar(1.0) }).collect();
    let svg = chart(&hours, false);
    assert!(svg.as_str().contains("Fri 13:00") && svg.as_str().contains("Sat 12:00"));
    assert!(!svg.as_str().contains("Sat 00:00"), "{}", svg.as_str());
}

#[test]
fn the_pulse_stacks_refused_and_failed_on_top_and_shades_the_rows_below() {
    let hour = |others, refused, failed| Hour { others, refused, failed, title: "14:00: 9".into(), ..Hour::default() };
    let hours = [hour(80, 10, 10), hour(0, 0, 0), hour(20, 0, 0), hour(0, 0, 1)];

    let svg = pulse("Requests per hour", &hours, Some(2..4));
    assert!(svg.as_str().contains(r#"<rect class="shade" x="50%" y="0%" width="50%" height="100%"/>"#));
    assert!(
        svg.as_str().contains(r#"<rect class="refused" x="4%" y="10%" width="17%" height="10%">"#),
        "{}",
        svg.as_str()
    );
    assert!(svg.as_str().contains(r#"<rect class="failed" x="4%" y="0%""#));
    check(&svg);
    for shaded in [None, Some(0..9), Some(3..3)] {
        assert!(!pulse("", &hours, shaded).as_str().contains("shade"));
    }
    check(&pulse("", &[], Some(0..1)));
    check(&pulse("", &[hour(u64::MAX, u64::MAX, u64::MAX)], Some(0..1)));
}

#[test]
fn phases_follow_the_numbers_of_the_record_whatever_they_are() {
    let phases = Phases::of(33_800, Some(12_400), Some(15_500));
    assert_eq!(phases, Phases { waited: 12_400, read: 3_100, answered: 18_300 });
    assert_eq!(phases.in_words(), "waited 12.4 s, read 3.1 s, answered 18.3 s");
    assert_eq!(Phases::of(100, None, None), Phases { waited: 0, read: 100, answered: 0 });
    assert_eq!(Phases::of(100, Some(200), Some(50)), Phases { waited: 100, read: 0, answered: 0 });
    assert_eq!(Phases::of(100, Some(50), Some(20)), Phases { waited: 50, read: 0, answered: 50 });
}

#[test]
fn a_phase_bar_has_its_pages_scale_and_a_large_one_its_own_axis() {
    let phases = Phases { waited: 5_000, read: 2_500, answered: 2_500 };

    let row = phase_bar(phases, 20_000);
    assert!(row.as_str().contains(r#"<rect class="load" x="25%""#), "{}", row.as_str());
    assert!(phase_bar(phases, 0).as_str().contains(r#"<rect class="load" x="50%""#), "a scale is ten seconds at least");
    let large = phase_bar_large(Phases { waited: 12_400, read: 3_100, answered: 18_300 });
    for label in [">0 s<", ">5 s<", ">30 s<"] {
        assert!(large.as_str().contains(label), "{label} in {}", large.as_str());
    }
    let huge = Phases { waited: u64::MAX, read: u64::MAX, answered: u64::MAX };
    for phases in [phases, Phases::default(), huge, Phases { answered: 1, ..Phases::default() }] {
        check(&phase_bar(phases, 1));
        check(&phase_bar_large(phases));
    }
}

#[test]
fn the_timeline_shows_work_and_where_requests_waited() {
    let interval = |busy_s, highlighted_s, waited| Interval {
        busy_s,
        highlighted_s,
        waited,
        title: "14:00".into(),
        label: "14:00".into(),
        href: Some("/admin/record?from=x".into()),
    };
    let intervals = [interval(600.0, 300.0, 4), interval(0.0, 0.0, 0), interval(700.0, 0.0, 0), interval(0.0, 0.0, 1)];

    let svg = timeline(&TimelineChart { name: "The GPU today", intervals: &intervals, capacity_s: 600.0 });
    assert_eq!(svg.as_str().matches("<a ").count(), 3, "an idle interval is a gap");
    assert!(svg.as_str().contains(r#"<rect class="hi" x="4%" y="61%""#), "{}", svg.as_str());
    assert!(svg.as_str().contains(r#"<rect class="waited" x="4%" y="0%""#));
    check(&svg);
    for capacity_s in [0.0, f64::NAN, -1.0] {
        check(&timeline(&TimelineChart { name: "", intervals: &intervals, capacity_s }));
    }
    check(&timeline(&TimelineChart { name: "", intervals: &[], capacity_s: 0.0 }));
}

#[test]
fn texts_of_others_stay_texts_in_every_chart() {
    let bars = [Bar { title: HOSTILE.into(), label: HOSTILE.into(), href: Some(format!("/{HOSTILE}")), ..bar(1.0) }];
    let hours = [Hour {
        others: 1,
        title: HOSTILE.into(),
        label: HOSTILE.into(),
        href: Some(format!("/{HOSTILE}")),
        ..Hour::default()
    }];
    let intervals = [Interval {
        busy_s: 1.0,
        title: HOSTILE.into(),
        label: HOSTILE.into(),
        href: Some(format!("?{HOSTILE}")),
        ..Interval::default()
    }];
    let all = [
        super::bars(&BarChart { name: HOSTILE, bars: &bars, unit: BarUnit::Things, has_axis: true }),
        pulse(HOSTILE, &hours, None),
        timeline(&TimelineChart { name: HOSTILE, intervals: &intervals, capacity_s: 1.0 }),
    ];
    for markup in all {
        assert!(!markup.as_str().contains("<script") && !markup.as_str().contains('\u{202e}'));
        check(&markup);
    }
}
