use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Command as ClapCommand, CommandFactory};

use super::*;

#[test]
fn json_on_a_terminal_holds_no_control_and_means_the_same() {
    let value = serde_json::json!({ "name": "a\u{9b}b\u{202e}\u{e0041}\u{1b}ß" });

    let text = escaped(&serde_json::to_string_pretty(&value).unwrap());

    assert!(text.chars().all(|character| character == '\n' || !is_hidden(character)), "{text:?}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
}

/// Every command that has no commands below it, with its words.
fn commands() -> Vec<(Vec<String>, ClapCommand)> {
    fn walk(words: &[String], command: &ClapCommand, found: &mut Vec<(Vec<String>, ClapCommand)>) {
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            let words = [words, &[below.get_name().to_owned()]].concat();
            walk(&words, below, found);
            found.push((words, below.clone()));
        }
    }
    let mut all = Cli::command();
    all.build();
    let mut found = Vec::new();
    walk(&[], &all, &mut found);
    found.retain(|(_, command)| !command.has_subcommands());
    found
}

fn usage(command: &ClapCommand) -> String {
    command.clone().render_usage().to_string()
}

/// A value that the argument with this name in a usage line takes.
fn value_of(command: &ClapCommand, name: &str) -> String {
    let named = |arg: &&Arg| {
        let is_id = arg.get_id().as_str().to_uppercase() == name;
        is_id || arg.get_value_names().is_some_and(|names| names.iter().any(|one| one == name))
    };
    let values: Vec<PossibleValue> =
        command.get_arguments().find(named).map(Arg::get_possible_values).unwrap_or_default();
    match values.first() {
        Some(value) => value.get_name().to_owned(),
        None if name == "TIME" => "today".to_owned(),
        None => "7".to_owned(),
    }
}

/// Returns every command line that a usage line allows: `<a|b>` is a choice, `[a]` may be left out.
fn command_lines(command: &ClapCommand, line: &str) -> Vec<Vec<String>> {
    let mut lines = vec![Vec::new()];
    let mut rest = line.trim();
    while !rest.is_empty() {
        // A bracket ends where it was opened, whatever it holds.
        let mut depth = 0;
        let end = rest.find(|letter| {
            depth += match letter {
                '<' | '[' => 1,
                '>' | ']' => -1,
                _ => 0,
            };
            letter == ' ' && depth == 0
        });
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after.trim_start();
        let word = word.trim_end_matches("...");
        let choices: Vec<Vec<String>> = match (word.strip_prefix('['), word.strip_prefix('<')) {
            (Some("OPTIONS]"), _) => vec![vec![]],
            (Some(inner), _) => vec![vec![], filled(command, inner.trim_end_matches(']'))],
            (_, Some(inner)) => inner[..inner.len() - 1].split('|').map(|one| filled(command, one)).collect(),
            _ => vec![vec![word.to_owned()]],
        };
        let longer = |line: &Vec<String>| choices.iter().map(|choice| [&line[..], choice].concat()).collect::<Vec<_>>();
        lines = lines.iter().flat_map(longer).collect();
    }
    lines
}

/// Returns the words of `USER`, `--none` or `--token <TOKEN>`.
fn filled(command: &ClapCommand, part: &str) -> Vec<String> {
    let fill = |word: &str| match word.starts_with("--") {
        true => word.to_owned(),
        false => value_of(command, word.trim_matches(['<', '>', '.'])),
    };
    part.split(' ').map(fill).collect()
}

#[test]
fn each_usage_line_works_as_it_is_written() {
    for (words, command) in commands() {
        let usage = usage(&command);
        let usage = usage.strip_prefix("Usage: ").unwrap_or_else(|| panic!("{usage}"));
        for line in usage.lines() {
            assert!(line.trim().starts_with(&format!("lan-gateway {}", words.join(" "))), "{line}");
            for typed in command_lines(&command, line) {
                if let Err(said) = Cli::try_parse_from(&typed) {
                    panic!("{line}\nas {typed:?}\n{said}");
                }
            }
        }
    }
}

#[test]
fn what_must_be_given_stands_in_the_usage_line_in_its_order_and_no_option_takes_two_values() {
    for (words, command) in commands() {
        let usage = usage(&command);
        let positionals: Vec<&Arg> = command.get_positionals().filter(|arg| arg.is_required_set()).collect();
        let places: Vec<Option<usize>> =
            positionals.iter().map(|arg| usage.find(&format!("<{}", arg.get_id().as_str().to_uppercase()))).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{words:?}: {usage}");
        for option in command.get_opts() {
            assert!(option.get_num_args().is_none_or(|count| count.max_values() <= 1), "{words:?} {option}");
            let shown = !option.is_required_set() || usage.contains(&format!("--{}", option.get_id().as_str()));
            assert!(shown, "{words:?}: {usage}");
        }
        for group in command.get_groups().filter(|group| group.is_required_set()) {
            let has = |arg: &clap::Id| {
                let name = arg.as_str().replace('_', "-");
                usage.contains(&format!("--{name}")) || usage.contains(&arg.as_str().to_uppercase()) || {
                    let arg = command.get_arguments().find(|one| one.get_id() == arg);
                    arg.and_then(Arg::get_value_names)
                        .is_some_and(|names| names.iter().any(|name| usage.contains(name.as_str())))
                }
            };
            assert!(group.get_args().all(has), "{words:?}: {usage}");
        }
    }
}

#[test]
fn every_list_and_single_answer_can_be_json_and_says_so_for_scripts() {
    /// They print a document, a table of another form or one line about what was done.
    const WITHOUT: &[&str] =
        &["serve", "metrics", "openapi", "completions", "export", "backup", "restore", "config example", "keys rotate"];
    for (words, command) in commands() {
        let words = words.join(" ");
        let lists = [
            "list", "show", "exports", "file", "usage", "models", "status", "reset", "create", "rotate", "set", "unset",
        ];
        let last = words.rsplit(' ').next().unwrap_or_default();
        if lists.contains(&last) && !WITHOUT.contains(&words.as_str()) && words != "user models" {
            let json = command.get_opts().chain(command.get_arguments()).find(|arg| arg.get_id() == "json");
            assert!(json.is_some_and(|arg| matches!(arg.get_action(), ArgAction::SetTrue)), "{words}");
        }
    }
}

#[test]
fn every_command_and_option_is_explained() {
    for (words, command) in commands() {
        assert!(command.get_about().is_some(), "{words:?}");
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{words:?} {arg}");
        }
    }
}
