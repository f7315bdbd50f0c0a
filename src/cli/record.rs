//! `lan-gateway record …`: lists the record, and shows one request in full.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::base::text::visible;
use crate::cli::host::{HostApi, escaped, maybe, need};
use crate::cli::times::CommandTime;
use crate::cli::{print_json, table};
use crate::model::record::{Act, Kind};

#[derive(Subcommand)]
pub enum RecordCommand {
    /// List requests, refusals and acts, newest first
    List(Box<RecordList>),
    /// List the exports that were made, newest first
    Exports {
        /// Only of this person's record
        user: Option<String>,
        /// Print one JSON list, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Show one request in full, with prompt and answer; viewing it is recorded
    Show {
        /// As lists and answers show it (`x-request-id`)
        request_id: String,
        /// Print one JSON object, for scripts
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
#[command(after_help = concat!(
    time_help!(),
    "\n\nExamples:\n  \
    lan-gateway record list ann@example.org --from today\n  \
    lan-gateway record list --kind refusal --from 7d\n  \
    lan-gateway record list --token n8n --outcome failed,abandoned --json"
))]
pub struct RecordList {
    /// Only of this person
    user: Option<String>,
    /// Sent with this token: its name, OWNER/NAME or beginning
    #[arg(long)]
    token: Option<String>,
    /// Only rows of this kind
    #[arg(long, value_parser = Kind::SHOWN)]
    kind: Option<String>,
    /// completed, failed, refused, abandoned or interrupted; several with commas
    #[arg(long)]
    outcome: Option<String>,
    /// What was done, such as user_approved
    #[arg(long, value_parser = acts(), hide_possible_values = true)]
    act: Option<String>,
    /// Acts about this person
    #[arg(long, value_name = "USER")]
    about: Option<String>,
    /// Acts about this person, and acts of theirs
    #[arg(long, value_name = "USER")]
    history: Option<String>,
    /// The name of a model, as it was asked for
    #[arg(long)]
    model: Option<String>,
    /// A route, such as /v1/chat/completions
    #[arg(long)]
    api: Option<String>,
    /// At this time or later
    #[arg(long, value_name = "TIME")]
    from: Option<CommandTime>,
    /// Before this time, or until the end of this day
    #[arg(long, value_name = "TIME")]
    to: Option<CommandTime>,
    /// Words in prompts and answers; the search is recorded
    #[arg(long)]
    text: Option<String>,
    /// Number of items at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// Print one JSON list, for scripts
    #[arg(long)]
    json: bool,
}

/// Returns the names of all acts.
fn acts() -> PossibleValuesParser {
    PossibleValuesParser::new(Act::ALL.iter().map(|act| act.name()))
}

const PATH: &str = "/api/v1/audit";

pub async fn run(host: &HostApi, command: RecordCommand) -> anyhow::Result<()> {
    match command {
        RecordCommand::List(list) => {
            let RecordList { user, token, kind, outcome, act, about, history, model, api, from, to, text, limit, json } =
                *list;
            let user = host.person(user.as_deref()).await?;
            let about = host.person(about.as_deref()).await?;
            let history = host.person(history.as_deref()).await?;
            let token = host.token_on_record(token.as_deref()).await?;
            let (from, to) = (host.times.from(from.as_ref()), host.times.to(to.as_ref()));
            let asked = [
                ("user_id", user.as_deref()),
                ("token_id", token.as_deref()),
                ("kind", kind.as_deref()),
                ("outcome", outcome.as_deref()),
                ("act", act.as_deref()),
                ("subject_id", about.as_deref()),
                ("history_of", history.as_deref()),
                ("model", model.as_deref()),
                ("api", api.as_deref()),
                ("from", from.as_deref()),
                ("to", to.as_deref()),
                ("text", text.as_deref()),
            ];
            let items = host.list(PATH, &asked, Some(usize::from(limit))).await?;
            if json { print_json(&items) } else { print_items(&items) }
        }
        RecordCommand::Exports { user, json } => {
            let user = host.person(user.as_deref()).await?;
            let exports = host.list("/api/v1/exports", &[("user_id", user.as_deref())], None).await?;
            if json { print_json(&exports) } else { print_exports(&exports) }
        }
        RecordCommand::Show { request_id, json } => {
            let story = host.get(&format!("{PATH}/{}", escaped(&request_id))).await?;
            if json { print_json(&story) } else { print_story(&story) }
        }
    }
}

fn print_items(items: &[Value]) -> anyhow::Result<()> {
    if items.is_empty() {
        println!("nothing is on record");
        return Ok(());
    }
    let row = |item: &Value| {
        let or = |field: &str| maybe(item, field).unwrap_or_default();
        let is_act = item["kind"] == "act";
        let (what, about) = if is_act { ("act", or("subject")) } else { ("api", or("model_asked")) };
        Ok([
            table::minute(&need(item, "at")?),
            need(item, "kind")?,
            // Acts on the host have no account.
            maybe(item, "user").unwrap_or_else(|| if is_act { "the host".to_owned() } else { String::new() }),
            or(what),
            about,
            or("outcome"),
            or("reason"),
            or("request_id"),
        ])
    };
    let rows = items.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    table::print(["AT", "KIND", "USER", "WHAT", "MODEL OR SUBJECT", "OUTCOME", "REASON", "REQUEST"], &rows);
    Ok(())
}

fn print_exports(exports: &[Value]) -> anyhow::Result<()> {
    if exports.is_empty() {
        println!("nothing was exported");
        return Ok(());
    }
    let row = |one: &Value| {
        let time = |field: &str| maybe(one, field).as_deref().map_or_else(String::new, table::minute);
        let user = maybe(one, "user").unwrap_or_else(|| "everybody".into());
        Ok([
            need(one, "id")?,
            table::minute(&need(one, "created_at")?),
            maybe(one, "by").unwrap_or_else(|| "the host".into()),
            if one["whole"] == true { user } else { format!("{user}, filtered") },
            maybe(one, "lines").unwrap_or_default(),
            if one["running"] == true { "runs".into() } else { time("finished_at") },
            time("opens_deletion_until"),
        ])
    };
    let rows = exports.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    table::print(["EXPORT", "MADE", "BY", "OF", "LINES", "FINISHED", "OPENS DELETION UNTIL"], &rows);
    Ok(())
}

/// Contents have lines of their own, so they are printed below the facts.
const CONTENTS: [&str; 5] = ["request", "reasoning", "answer", "tool_calls", "notes"];

fn print_story(story: &Value) -> anyhow::Result<()> {
    need(story, "kind")?;
    for (name, _) in story.as_object().into_iter().flatten() {
        let value = maybe(story, name).filter(|_| !CONTENTS.contains(&name.as_str())).unwrap_or_default();
        if !value.is_empty() {
            println!("{:19}  {}", name.replace('_', " "), visible(&value));
        }
    }
    for name in CONTENTS {
        let text = maybe(story, name).filter(|text| !text.is_empty());
        for (number, line) in text.iter().flat_map(|text| text.lines()).enumerate() {
            if number == 0 {
                println!("\n{}:", name.replace('_', " "));
            }
            println!("  {}", visible(line));
        }
    }
    Ok(())
}
