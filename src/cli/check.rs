//! `lan-gateway config check`: what is wrong with the configuration, or where it was read from.

use std::process::ExitCode;

use serde_json::json;

use crate::base::text::visible;
use crate::cli::{BAD_CONFIG, print_json};
use crate::config::{Config, Origin, Problem};

/// Keys that flags of the command line set, too.
const FLAGGED: [&str; 2] = ["listen", "data_dir"];

pub fn report(config: &Result<Config, Vec<Problem>>, origin: &Origin, json: bool) -> ExitCode {
    let (keys, notes, problems) = match config {
        Ok(config) => (&config.keys[..], &config.notes[..], &[][..]),
        Err(problems) => (&[][..], &[][..], &problems[..]),
    };
    if json {
        let list = |problems: &[Problem]| -> Vec<_> {
            problems.iter().map(|one| json!({ "key": one.key, "message": one.message })).collect()
        };
        let keys = keys.iter().map(|key| json!({ "key": key.key, "value": key.value, "from": key.source.shown() }));
        let answer = json!({
            "good": problems.is_empty(),
            "file": origin.file,
            "variables": origin.variables,
            "flags": origin.flags,
            "problems": list(problems),
            "notes": list(notes),
            "keys": keys.collect::<Vec<_>>(),
        });
        return match print_json(&answer) {
            Ok(()) if problems.is_empty() => ExitCode::SUCCESS,
            _ => ExitCode::from(BAD_CONFIG),
        };
    }
    if !problems.is_empty() {
        return self::problems(problems, origin);
    }
    println!("the configuration is good; {origin}");
    notes.iter().for_each(|note| println!("note: {note}"));
    let shown = keys.iter().filter(|key| FLAGGED.contains(&key.key.as_str()));
    for key in shown {
        let value = key.value.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        println!("{:8}  {}  (from {})", key.key, visible(value), key.source.shown());
    }
    ExitCode::SUCCESS
}

/// Prints every problem and where the configuration was read from.
pub fn problems(problems: &[Problem], origin: &Origin) -> ExitCode {
    eprintln!("lan-gateway: the configuration has {} problem(s):", problems.len());
    for problem in problems {
        eprintln!("  {problem}");
    }
    eprintln!("{origin}");
    ExitCode::from(BAD_CONFIG)
}
