//! What this process uses, as the kernel tells it. Reading takes longer the more files are open.

use std::fs;

use crate::metrics::ProcessUse;

/// Linux gives programs their times in hundredths of a second (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads what this process uses. `None`: the kernel doesn't tell.
pub fn look() -> Option<ProcessUse> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let Times { cpu_ticks, started_ticks } = times(&stat)?;
    let booted_at = fs::read_to_string("/proc/stat").ok().and_then(|all| number_after(&all, "btime "));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    Some(ProcessUse {
        resident_bytes: number_after(&status, "VmRSS:")? * 1024,
        cpu_seconds: cpu_ticks as f64 / TICKS_PER_SECOND,
        open_files: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        open_files_max: limit.unwrap_or(u64::MAX),
        started_at: booted_at? as f64 + started_ticks as f64 / TICKS_PER_SECOND,
    })
}

struct Times {
    cpu_ticks: u64,
    started_ticks: u64,
}

/// Reads a line of `/proc/PID/stat`. The second field is the program's name, which may hold spaces and parentheses.
fn times(stat: &str) -> Option<Times> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The first of these is the third field of the line.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Times { cpu_ticks: field(14)? + field(15)?, started_ticks: field(22)? })
}

/// Returns the number that follows `name` at the beginning of a line.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let seen = look().unwrap();

        assert!(seen.resident_bytes > 1 << 20 && seen.open_files > 2 && seen.open_files_max > seen.open_files);
        assert!(seen.started_at > 1.6e9, "{seen:?}");
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = format!("7 (a (b) c) S {}", (4..=30).map(|n| n.to_string()).collect::<Vec<_>>().join(" "));

        let Times { cpu_ticks, started_ticks } = times(&stat).unwrap();

        assert_eq!((cpu_ticks, started_ticks), (14 + 15, 22));
    }
}
