//! `lan-gateway usage`: sums of usage, by person, token, model, hour or day.

use std::io::Write;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::base::text::visible;
use crate::cli::host::{HostApi, maybe, need, unexpected, with_query};
use crate::cli::output::Output;
use crate::cli::times::CommandTime;
use crate::cli::{print_json, table};
use crate::rules::usage::{UsageItem, as_csv};

#[derive(Args)]
#[command(after_help = concat!(
    time_help!(),
    "\n\nExamples:\n  \
    lan-gateway usage --from today --sort gpu\n  \
    lan-gateway usage --by user,day --from 2026-01-01 --to 2026-01-31 --csv\n  \
    lan-gateway usage --timeline day"
))]
pub struct UsageCommand {
    /// user, token, model, hour or day, or one of the first three in each hour or day, as in user,day
    #[arg(long, default_value = "user")]
    by: String,
    /// By name, or the largest first
    #[arg(long, default_value = "name", value_parser = ["name", "gpu", "requests", "tokens", "refused", "failed"])]
    sort: String,
    /// Only this person
    #[arg(long)]
    user: Option<String>,
    /// Only this token: its name, OWNER/NAME or beginning
    #[arg(long)]
    token: Option<String>,
    /// At this time or later, rounded down to a quarter of an hour [default: 30d]
    #[arg(long, value_name = "TIME")]
    from: Option<CommandTime>,
    /// Before this time, or until the end of this day [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<CommandTime>,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Begin the CSV with a byte order mark, which Excel needs to read UTF-8
    #[arg(long, requires = "csv")]
    bom: bool,
    /// Show who used the GPU in each interval of an hour, a day or a week, and who waited
    #[arg(long, value_name = "SPAN", value_parser = ["hour", "day", "week"], conflicts_with_all = ["by", "sort", "token", "from", "csv"])]
    timeline: Option<String>,
    /// Print one JSON list, or one object for a timeline
    #[arg(long)]
    json: bool,
}

pub async fn run(host: &HostApi, command: UsageCommand) -> anyhow::Result<()> {
    let UsageCommand { by, sort, user, token, from, to, csv, bom, timeline, json } = command;
    let user = host.person(user.as_deref()).await?;
    let (from, to) = (host.times.from(from.as_ref()), host.times.to(to.as_ref()));
    if let Some(span) = timeline {
        let asked = [("span", Some(span.as_str())), ("to", to.as_deref()), ("user_id", user.as_deref())];
        let story = host.get(&with_query("/api/v1/usage/timeline", asked)).await?;
        return if json { print_json(&story) } else { print_story(&story) };
    }
    let token = host.token_on_record(token.as_deref()).await?;
    let path = with_query(
        "/api/v1/usage",
        [
            ("by", Some(by.as_str())),
            ("sort", Some(sort.as_str())),
            ("user_id", user.as_deref()),
            ("token_id", token.as_deref()),
            ("from", from.as_deref()),
            ("to", to.as_deref()),
        ],
    );
    let answer = host.get(&path).await?["items"].take();
    let mut items = Vec::<UsageItem>::deserialize(&answer).map_err(|_| unexpected())?;
    if json {
        return print_json(&answer);
    }
    if csv {
        for item in &mut items {
            item.key = visible(&item.key).into_owned();
        }
        Output.write_all(&as_csv(&items, bom))?;
    } else if items.is_empty() {
        println!("nothing was used in that time");
    } else {
        print_items(&items, &by.to_uppercase());
    }
    Ok(())
}

/// Prints the intervals in which the GPU was used or somebody waited.
fn print_story(story: &Value) -> anyhow::Result<()> {
    let list = |value: &Value| value.as_array().cloned().ok_or_else(unexpected);
    let names: Vec<String> =
        list(&story["people"])?.iter().map(|person| need(person, "name")).collect::<anyhow::Result<_>>()?;
    let seconds = |millis: i64| format!("{}.{}", millis / 1000, millis % 1000 / 100);
    let mut rows = Vec::new();
    for interval in list(&story["intervals"])? {
        let parts: Vec<i64> = list(&interval["gpu_ms"])?.iter().filter_map(Value::as_i64).collect();
        let waited = maybe(&interval, "waited").unwrap_or_default();
        if parts.iter().all(|part| *part == 0) && ["", "0"].contains(&waited.as_str()) {
            continue;
        }
        let who = names.iter().zip(&parts).filter(|(_, part)| **part > 0);
        let who: Vec<String> = who.map(|(name, part)| format!("{} {}", visible(name), seconds(*part))).collect();
        let longest = interval["longest_wait_ms"].as_i64().map(seconds).unwrap_or_default();
        rows.push([need(&interval, "begins_at")?, seconds(parts.iter().sum()), waited, longest, who.join(", ")]);
    }
    if rows.is_empty() {
        println!("nothing was used in that time");
    } else {
        table::print(["BEGINS", "GPU SECONDS", "WAITED", "LONGEST WAIT", "WHO"], &rows);
    }
    Ok(())
}

fn print_items(items: &[UsageItem], title: &str) {
    let seconds = |millis: i64| format!("{}.{}", millis / 1000, millis % 1000 / 100);
    let rows: Vec<[String; 8]> = items
        .iter()
        .map(|item| {
            let mut key = match &item.user {
                Some(user) => format!("{} ({user})", item.key),
                None => item.key.clone(),
            };
            key.extend(item.when.iter().flat_map(|when| ["  ", when]));
            [
                key,
                item.requests.to_string(),
                item.failed.to_string(),
                item.refused.to_string(),
                item.prompt_tokens.to_string(),
                item.answer_tokens.to_string(),
                seconds(item.gpu_ms),
                seconds(item.total_ms),
            ]
        })
        .collect();
    table::print(
        [title, "REQUESTS", "FAILED", "REFUSED", "PROMPT TOKENS", "ANSWER TOKENS", "GPU SECONDS", "SECONDS"],
        &rows,
    );
}
