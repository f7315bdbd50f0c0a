//! `lan-gateway doctor`: checks what operators usually ask about, and says what to do.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;

use crate::base::error::Error;
use crate::config::{Config, Origin, UpstreamSlots};
use crate::model::provider_kind::ProviderKind;
use crate::serve::files;
use crate::serve::server;
use crate::serve::socket::SOCKET;
use crate::store::{self, FILE};
use crate::upstream::UpstreamClient;

#[derive(Args)]
pub struct DoctorCommand {
    /// Read the whole database and look for damage (SQLite's quick_check), whether or not the gateway runs. Takes about a
    /// second for each 100 MiB; the gateway keeps answering meanwhile, and contents of deleted people are erased later
    #[arg(long)]
    deep: bool,
}

/// Interval of progress messages.
const PROGRESS: Duration = Duration::from_secs(5);

/// Prints the findings; returns `false` if something is wrong.
pub async fn run(config: &Config, origin: &Origin, command: &DoctorCommand) -> bool {
    println!("configuration  good; {origin}");
    config.notes.iter().for_each(|note| println!("               note: {note}"));
    println!("listens on     {}", config.listen);
    println!("data folder    {}", data_folder(&config.data_dir));
    println!("files          {}", files_of(config));
    let whole = !command.deep || check_database(&config.data_dir).await;
    ask_hosts(config).await && whole
}

/// Reads the whole database; returns `false` if it is damaged or can't be read.
async fn check_database(folder: &Path) -> bool {
    let file = folder.join(FILE);
    if !file.exists() {
        println!("database       there is none to look at");
        return true;
    }
    let begun = Instant::now();
    let mut check = tokio::task::spawn_blocking(move || store::quick_check(&file));
    let checked = loop {
        match tokio::time::timeout(PROGRESS, &mut check).await {
            Ok(checked) => break checked,
            Err(_) => eprintln!("database       still reading, {} s", begun.elapsed().as_secs()),
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    match checked.map_err(anyhow::Error::from).flatten() {
        Ok(damage) if damage.is_empty() => {
            println!("database       whole: quick_check found nothing, in {seconds:.1} s");
            true
        }
        Ok(damage) => {
            println!("database       DAMAGED: stop the gateway, keep a copy, restore a backup. quick_check found:");
            damage.iter().for_each(|line| println!("               {line}"));
            false
        }
        Err(cause) => {
            println!("database       can't be checked, which may be damage: {cause:#}");
            false
        }
    }
}

/// Asks each upstream for its models; returns `false` if one does not answer.
async fn ask_hosts(config: &Config) -> bool {
    let upstream = UpstreamClient::new(config);
    let parallel = parallel_of_ollama(Path::new("/proc"));
    let mut good = true;
    for (id, host) in upstream.all().zip(&config.upstreams) {
        let models = upstream.models(id).await;
        good &= models.is_ok();
        println!("\nupstream `{}`   {}: {}", host.name, host.url, answers(models.map(|models| models.len())));
        // Other kinds of upstreams have none to explain.
        if host.kind() == ProviderKind::Ollama {
            println!("{}", about_slots(host.slots(), parallel));
        }
    }
    good
}

/// Describes the limit of open files of a gateway that is started from here. A service may have another limit, which its log
/// shows.
fn files_of(config: &Config) -> String {
    let limit = files::raise_limit();
    let room = files::room_for_connections(limit, config, server::workers(config));
    let shown = files::describe(limit, room, &config.settings);
    match files::shortage(limit, room, &config.settings) {
        Some(shortage) => format!("{shown}\n  {shortage}"),
        None => shown,
    }
}

fn data_folder(folder: &Path) -> String {
    let shown = folder.display();
    match std::fs::metadata(folder.join(FILE)) {
        Err(_) => format!("{shown} has no database yet; the first `lan-gateway serve` makes it"),
        Ok(file) => {
            let runs = std::os::unix::net::UnixStream::connect(folder.join(SOCKET)).is_ok();
            let runs = if runs { "a gateway runs on it" } else { "no gateway runs on it, or none that you may ask" };
            format!("{shown}, {:.1} MiB; {runs}", file.len() as f64 / f64::from(1 << 20))
        }
    }
}

fn answers(models: Result<usize, Error>) -> String {
    match models {
        Ok(0) => "it answers, and has no model; `ollama pull llama3.2` fetches one".to_owned(),
        Ok(models) => format!("it answers, with {models} models"),
        Err(Error::UpstreamDown { cause }) => format!("down: the model server can't be reached: {cause:#}"),
        Err(error) => format!("down: {error}"),
    }
}

/// Explains the slots, since no API of Ollama tells how many requests it runs at once.
fn about_slots(slots: UpstreamSlots, parallel: Option<usize>) -> String {
    let UpstreamSlots { total, per_model, .. } = slots;
    let own = per_model.min(total);
    let mut text = format!(
        "  slots {total}, of these {own} for one model: requests that are sent there at the same time. Others wait in the\n  \
         gateway's fair queue. They should be what Ollama runs at once for a model: OLLAMA_NUM_PARALLEL, 1 by default;\n  \
         Ollama has no API that shows it. With more slots, requests wait inside Ollama, first come, first served; with\n  \
         fewer, Ollama is idle while requests wait."
    );
    match parallel {
        Some(parallel) if parallel == own => {
            text += &format!("\n  The Ollama that runs on this host has OLLAMA_NUM_PARALLEL={parallel}, which fits.");
        }
        Some(parallel) => {
            text += &format!(
                "\n  The Ollama that runs on this host has OLLAMA_NUM_PARALLEL={parallel}: set slots = {parallel}, or change it."
            );
        }
        None => {}
    }
    text
}

/// Returns how many requests this host's Ollama runs at once, as far as this user may read its environment. `None`: there is no
/// Ollama, several differ, or it is hidden.
fn parallel_of_ollama(proc: &Path) -> Option<usize> {
    let processes = std::fs::read_dir(proc).ok()?.flatten();
    let mut found = processes.filter_map(|process| {
        let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
        let environment =
            (name.trim_end() == "ollama").then(|| std::fs::read(process.path().join("environ")).ok())??;
        parallel_in(&environment)
    });
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// Reads it from the environment of an Ollama: entries that end with a zero byte (proc(5)).
fn parallel_in(environment: &[u8]) -> Option<usize> {
    let entries = environment.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok());
    match entries.filter_map(|entry| entry.strip_prefix("OLLAMA_NUM_PARALLEL=")).next_back() {
        None | Some("") => Some(1),
        // Ollama takes 0 for its own choice.
        Some(number) => number.parse().ok().filter(|number| *number > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_ollama_runs_at_once_is_read_from_its_environment() {
        assert_eq!(parallel_in(b"HOME=/\0OLLAMA_NUM_PARALLEL=4\0"), Some(4));
        assert_eq!(parallel_in(b"HOME=/\0"), Some(1));
        assert_eq!(parallel_in(b"OLLAMA_NUM_PARALLEL=many\0"), None);
        assert_eq!(parallel_in(b"OLLAMA_NUM_PARALLEL=0\0"), None);
    }

    #[test]
    fn processes_of_other_names_say_nothing_and_two_that_differ_say_nothing_either() {
        let proc = tempfile::tempdir().unwrap();
        let process = |id: &str, name: &str, parallel: usize| {
            let folder = proc.path().join(id);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
            std::fs::write(folder.join("environ"), format!("OLLAMA_NUM_PARALLEL={parallel}\0")).unwrap();
        };
        process("1", "init", 9);
        assert_eq!(parallel_of_ollama(proc.path()), None);

        process("2", "ollama", 4);
        assert_eq!(parallel_of_ollama(proc.path()), Some(4));
        process("3", "ollama", 2);
        assert_eq!(parallel_of_ollama(proc.path()), None);
    }

    #[test]
    fn slots_that_do_not_fit_are_named_with_what_to_do() {
        let slots = |total, per_model| UpstreamSlots { total, per_model, models_loaded: 1 };

        assert!(about_slots(slots(4, 1024), Some(4)).contains("which fits"));
        assert!(about_slots(slots(4, 2), Some(2)).contains("which fits"), "what one model gets is what counts");
        assert!(about_slots(slots(1, 1024), Some(4)).contains("set slots = 4"));
        assert!(!about_slots(slots(1, 1024), None).contains("on this host has"));
    }
}
