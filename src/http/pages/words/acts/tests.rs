use serde_json::json;

use super::*;

const MARIA: Option<&str> = Some("maria@example.org");
const ANN: Option<&str> = Some("ann@example.org");

fn told(act: Act, by: Option<&str>, subject: Option<&str>, detail: Value) -> String {
    RecordedAct { act: act.name(), by, subject, token: Some("nightly docs"), detail: Some(&detail) }.sentence().text()
}

#[test]
fn each_act_is_a_sentence_with_every_hole_in_it() {
    for act in Act::ALL {
        for by in [MARIA, None] {
            for subject in [ANN, MARIA, None] {
                for token in [Some("editor"), None] {
                    let text = RecordedAct { act: act.name(), by, subject, token, detail: None }.sentence().text();
                    assert!(!text.contains("  ") && !text.contains("_") && text.split(' ').count() > 1, "{text:?}");
                }
            }
        }
        assert!(!act_word(act.name()).is_code);
    }
}

#[test]
fn people_are_let_in_and_what_they_wrote_is_read() {
    assert_eq!(told(Act::UserApproved, MARIA, ANN, json!({})), "maria@example.org let in ann@example.org");
    assert_eq!(told(Act::UserRegistered, None, ANN, json!({})), "ann@example.org asked for an account");
    assert_eq!(told(Act::UserRegistered, None, Some("admin"), json!({})), "the gateway made the account admin");
    assert_eq!(told(Act::UserDisabled, None, ANN, json!({})), "the host disabled ann@example.org");
    assert_eq!(told(Act::ContentsViewed, MARIA, ANN, json!({})), "maria@example.org read what ann@example.org wrote");
    assert_eq!(
        told(Act::ContentsSearched, MARIA, None, json!({ "found": 3 })),
        "maria@example.org searched what everybody wrote, 3 found"
    );
    assert_eq!(told(Act::PasswordChanged, ANN, ANN, json!({})), "ann@example.org changed their password");
    assert_eq!(
        told(Act::PasswordReset, MARIA, ANN, json!({})),
        "maria@example.org reset the password of ann@example.org to admin123"
    );
    assert_eq!(
        told(Act::ContentsErased, None, ANN, json!({})),
        "the gateway erased the prompts and answers of ann@example.org"
    );
    let detail =
        |contents: bool| json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z", "contents": contents });
    assert_eq!(
        [true, false].map(|contents| told(Act::IncidentReportMade, MARIA, None, detail(contents))),
        [", with the beginnings of prompts", ""].map(|with| format!(
            "maria@example.org made an incident report of 2026-01-01T00:00:00Z to 2026-01-01T01:00:00Z{with}"
        ))
    );
    assert_eq!(
        told(Act::ContentsExpired, None, None, json!({ "requests": 1204, "days": 30 })),
        "the gateway began to erase the prompts and answers of 1,204 requests for their age, more than 30 days"
    );
    assert_eq!(
        told(Act::RowsRemoved, None, None, json!({ "rows": 1, "days": 365 })),
        "the gateway began to remove 1 row of the record for their age, more than 365 days"
    );
    assert_eq!(
        told(Act::ExportFinished, MARIA, ANN, json!({ "lines": 1204 })),
        "maria@example.org finished an export of the record of ann@example.org, 1,204 lines"
    );
    assert_eq!(
        told(Act::ExportCreated, ANN, ANN, json!({ "format": "csv" })),
        "ann@example.org began an export of their own record"
    );
}

#[test]
fn a_change_of_a_person_says_what_it_was_before() {
    let old = json!({ "role": "user", "requests_per_minute": null, "quotas": {}, "models": null, "weight": 1, "class": "interactive" });
    let new = json!({
        "role": "admin", "requests_per_minute": 1200, "quotas": { "tokens_per_day": 200_000 },
        "models": ["llama3.2:1b", "gemma3:12b"], "weight": 1, "class": "batch",
    });
    assert_eq!(
        told(Act::UserChanged, MARIA, ANN, json!({ "old": old, "new": new })),
        "maria@example.org changed ann@example.org: the role from member to admin; requests a minute from the default to 1,200; \
         model tokens a day from the default to 200,000; the models from all to llama3.2:1b, gemma3:12b; \
         the class from interactive to batch"
    );
    assert_eq!(
        told(Act::UserChanged, MARIA, ANN, json!({ "old": new, "new": new })),
        "maria@example.org changed ann@example.org"
    );
    let taken = json!({ "old": { "quotas": { "tokens_per_day": 7 } }, "new": { "quotas": {} } });
    assert!(told(Act::UserChanged, MARIA, ANN, taken).ends_with(": model tokens a day from 7 to the default"));
}

#[test]
fn changes_of_models_say_what_was_done_with_which_model_and_how_it_ended() {
    let begun = |detail: Value| told(Act::ModelChangeBegun, MARIA, None, detail);
    let ended = |detail: Value| told(Act::ModelChangeEnded, MARIA, None, detail);

    assert_eq!(
        begun(json!({ "action": "pull", "model": "gemma3:4b", "upstream": "local" })),
        "maria@example.org began to pull the model gemma3:4b on local"
    );
    assert_eq!(
        ended(json!({ "action": "copy", "source": "a", "model": "b", "upstream": "local", "outcome": "completed" })),
        "maria@example.org copied the model a to b on local"
    );
    assert_eq!(
        ended(
            json!({ "action": "create", "source": "a", "model": "b", "outcome": "failed", "reason": "upstream_error" })
        ),
        "maria@example.org tried to make the model b from a: the model server gave up"
    );
    assert_eq!(
        ended(json!({ "action": "upload", "digest": "sha256:0", "upstream": "gpu", "outcome": "abandoned" })),
        "maria@example.org tried to upload a file for a model on gpu, but the client left"
    );
    assert_eq!(ended(json!({ "action": "melt" })), "maria@example.org changed a model");
}

#[test]
fn acts_on_access_tokens_name_their_owner_unless_it_is_who_acts() {
    let limits = json!({ "old": { "class": null, "requests_per_minute": 5 }, "new": { "class": "batch", "requests_per_minute": null } });
    assert_eq!(
        told(Act::TokenChanged, MARIA, ANN, limits),
        "maria@example.org changed the access token nightly docs of ann@example.org: \
         the class from the owner's to batch; requests a minute from 5 to no limit"
    );
    assert_eq!(told(Act::TokenCreated, ANN, ANN, json!({})), "ann@example.org made the access token nightly docs");
    let paused = |reason| json!({ "reason": reason, "count": 60, "within_seconds": 600 });
    assert_eq!(
        told(Act::TokenPaused, None, ANN, paused("repeats")),
        "the gateway paused the access token nightly docs of ann@example.org: the same request 60 times in 10 min"
    );
    assert!(told(Act::TokenPaused, None, ANN, paused("errors")).ends_with(": 60 failures in a row"));
    assert!(told(Act::TokenPaused, None, ANN, paused("boredom")).ends_with(": boredom"));
}

#[test]
fn settings_are_named_as_their_page_names_them() {
    let set = |old: Value, new: Value| told(Act::SettingsChanged, MARIA, None, json!({ "old": old, "new": new }));
    assert_eq!(
        set(json!({ "requests_per_minute": 10 }), json!({ "requests_per_minute": 20 })),
        "maria@example.org set requests a minute from 10 to 20"
    );
    assert_eq!(
        set(
            json!({ "gpu_seconds_per_day": 0, "of_another_version": 1 }),
            json!({ "gpu_seconds_per_day": 7200, "of_another_version": 2 })
        ),
        "maria@example.org set GPU time a day from 0 seconds to 7,200 seconds; of_another_version from 1 to 2"
    );
}

#[test]
fn a_clock_set_back_says_how_far() {
    let detail = json!({ "from": "2026-01-31T12:03:02Z", "to": "2026-01-31T12:00:00Z" });

    assert_eq!(told(Act::ClockSetBack, None, None, detail), "the clock of the host was set back by 3 min 02 s");
}

#[test]
fn names_are_bold_and_never_markup_and_unknown_acts_are_shown_as_they_are() {
    let act =
        RecordedAct { act: "user_<praised>", by: Some("<i>"), subject: Some("\u{202e}x"), ..RecordedAct::default() };

    assert_eq!(
        act.sentence().to_string(),
        "<b>&lt;i&gt;</b> <code>user_&lt;praised&gt;</code> \
         <b><span class=\"chip-char\" title=\"right-to-left override\">U+202E</span>x</b>"
    );
    let detail = json!({ "old": { "role": "user" }, "new": { "role": "<b>" } });
    let act = RecordedAct { act: "user_changed", by: MARIA, subject: ANN, token: None, detail: Some(&detail) };
    assert_eq!(
        act.sentence().to_string(),
        "<b>maria@example.org</b> changed <b>ann@example.org</b>: the role from member to &lt;b&gt;"
    );
    let odd = [
        json!(null),
        json!([1]),
        json!({ "old": 1, "new": [] }),
        json!({ "old": { "quotas": 3 }, "new": { "quotas": null } }),
    ];
    for detail in odd {
        told(Act::UserChanged, MARIA, ANN, detail.clone());
        told(Act::SettingsChanged, MARIA, None, detail.clone());
        told(Act::ClockSetBack, None, None, detail);
    }
}
