//! How many requests the Ollama of this host runs at once. No API of Ollama tells, so it is read from its process.

use std::path::Path;

/// Returns how many requests this host's Ollama runs at once, as far as this user may read its environment. `None`: there is no
/// Ollama, several differ, or it is hidden.
pub fn parallel_of_ollama(proc: &Path) -> Option<usize> {
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
}
