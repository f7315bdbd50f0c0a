//! Standard output and standard error of commands. It defines `print!` and its sisters for the files of this folder: those of the
//! standard library panic when a reader has gone, as after `lan-gateway user list | head -1`.
//!
//! The first error of standard output is kept, and what is printed after it is dropped, so a command still does its work and
//! closes what it opened. `end` tells of the error, if it is not that the reader has gone.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

macro_rules! print {
    ($($text:tt)*) => { $crate::cli::output::print(format_args!($($text)*)) };
}

macro_rules! println {
    () => { $crate::cli::output::print_line(format_args!("")) };
    ($($text:tt)*) => { $crate::cli::output::print_line(format_args!($($text)*)) };
}

macro_rules! eprint {
    ($($text:tt)*) => { $crate::cli::output::print_aside(format_args!($($text)*)) };
}

macro_rules! eprintln {
    () => { $crate::cli::output::print_line_aside(format_args!("")) };
    ($($text:tt)*) => { $crate::cli::output::print_line_aside(format_args!($($text)*)) };
}

/// Why standard output takes no more.
static ENDED: OnceLock<io::Error> = OnceLock::new();

/// The exit code of a command whose reader has gone: that of usual tools, which the signal SIGPIPE ends. The gateway ignores
/// that signal, because its clients leave at any time.
const READER_GONE: u8 = 128 + 13;

pub fn print(text: Arguments<'_>) {
    write(|out| out.write_fmt(text));
}

pub fn print_line(text: Arguments<'_>) {
    write(|out| out.write_fmt(format_args!("{text}\n")));
}

/// Prints to standard error. Nobody could be told that it is closed.
pub fn print_aside(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

pub fn print_line_aside(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(format_args!("{text}\n"));
}

/// Standard output for bytes. Unlike `print!` it returns its errors, so that a long copy can end.
pub struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        noted(io::stdout().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        noted(io::stdout().lock().flush())
    }
}

fn write(print: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) {
    if ENDED.get().is_none() {
        // Kept, and reported at the end.
        let _ = noted(print(&mut io::stdout().lock()));
    }
}

/// Keeps a copy of an error that ends standard output.
fn noted<T>(result: io::Result<T>) -> io::Result<T> {
    if let Err(cause) = &result
        && cause.kind() != ErrorKind::Interrupted
    {
        let copy = cause.raw_os_error().map_or_else(|| cause.kind().into(), io::Error::from_raw_os_error);
        // Only the first one counts.
        let _ = ENDED.set(copy);
    }
    result
}

/// Writes what is left, and returns the exit code of a command that ended with `result`, which it returned itself.
pub fn end(result: ExitCode) -> ExitCode {
    // Kept, and reported below.
    let _ = Output.flush();
    match ENDED.get() {
        None => result,
        Some(cause) => exit_code_of(cause),
    }
}

/// Returns whether standard output took everything so far. What a command says besides would only be noise if it did not.
pub fn is_open() -> bool {
    let _ = Output.flush();
    ENDED.get().is_none()
}

/// Reports an error of standard output, unless it is that the reader has gone, which is the reader's choice.
pub fn exit_code_of(cause: &io::Error) -> ExitCode {
    if cause.kind() == ErrorKind::BrokenPipe {
        return ExitCode::from(READER_GONE);
    }
    print_line_aside(format_args!("lan-gateway: can't write to standard output: {cause}"));
    ExitCode::FAILURE
}
