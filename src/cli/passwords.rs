//! Reads a new password: hidden and twice on a terminal, otherwise one line of standard input. It is never an argument, which
//! others on the host could read.

use std::io::{BufRead, IsTerminal, Read};

use anyhow::{Context, ensure};

/// Length limit of what is read; the gateway's own is shorter.
const LINE_BYTES_MAX: u64 = 64 * 1024;

pub fn read_new(user: &str) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let ask = |prompt: &str| rpassword::prompt_password(prompt).context("can't read the password");
        let password = ask(&format!("New password for {}: ", crate::base::text::visible(user)))?;
        let again = ask("The same once more: ")?;
        ensure!(password == again, "the two passwords differ; nothing was changed");
        return Ok(password);
    }
    let mut line = String::new();
    let read = stdin.lock().take(LINE_BYTES_MAX).read_line(&mut line);
    read.context("can't read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "there is no password on standard input");
    Ok(password.to_owned())
}
