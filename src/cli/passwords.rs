//! Reads secrets: hidden on a terminal, new passwords twice, otherwise a line of standard input each. They are never arguments,
//! which others on the host could read.

use std::io::{BufRead, IsTerminal, Read};

use anyhow::{Context, ensure};

/// Length limit of what is read; the gateway's own is shorter.
const LINE_BYTES_MAX: u64 = 64 * 1024;

pub fn read_new(user: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        let ask = |prompt: &str| rpassword::prompt_password(prompt).context("can't read the password");
        let password = ask(&format!("New password for {}: ", crate::base::text::visible(user)))?;
        let again = ask("The same once more: ")?;
        ensure!(password == again, "the two passwords differ; nothing was changed");
        return Ok(password);
    }
    read_line("password")
}

/// Reads a secret of another service, once: `prompt` ends with a colon.
pub fn read_secret(prompt: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        let secret = rpassword::prompt_password(prompt).context("can't read from the terminal")?;
        ensure!(!secret.is_empty(), "nothing was typed; nothing was changed");
        return Ok(secret);
    }
    read_line("secret")
}

/// Reads the next line of standard input.
fn read_line(what: &str) -> anyhow::Result<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line);
    read.with_context(|| format!("can't read the {what} from standard input"))?;
    let read = line.trim_end_matches(['\r', '\n']);
    ensure!(!read.is_empty(), "there is no {what} on standard input");
    Ok(read.to_owned())
}
