//! Child processes: how they are shown, run and blamed.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// Lines of a program's standard error that an error message quotes.
const QUOTED_LINES: usize = 8;

/// Returns the command as a user would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = String::new();
    for word in std::iter::once(command.get_program()).chain(command.get_args()) {
        let word = word.to_string_lossy();
        let plain = !word.is_empty() && !word.contains([' ', '"', '\'', '$', '*', ';', '&', '|']);
        let separator = if text.is_empty() { "" } else { " " };
        // Writing to a String can't fail.
        let _ = if plain {
            write!(text, "{separator}{word}")
        } else {
            write!(text, "{separator}'{word}'")
        };
    }
    text
}

/// Runs to the end with the terminal as its own; an error unless it exits with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .map_err(|error| not_started(command, &error))?;
    expect_success(command, status)
}

/// Shows a command behind a `$`, then runs it.
pub(crate) fn show_and_run(command: &mut Command) -> Result<()> {
    println!("    $ {}", shown(command));
    run(command)
}

/// Runs to the end and returns its standard output. The error quotes its standard error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| not_started(command, &error))?;
    expect_success(command, output.status).with_context(|| quoted(&output))?;
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something that isn't UTF-8", shown(command)))
}

/// Runs to the end, at most for `limit`, and returns its output.
///
/// The output has to fit the pipes: meant for programs that say a line or two.
pub(crate) fn output_within(command: &mut Command, limit: Duration) -> Result<Output> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| not_started(command, &error))?;
    while child.try_wait()?.is_none() {
        if started.elapsed() > limit {
            kill(&mut child);
            bail!(
                "`{}` didn't end within {} s",
                shown(command),
                limit.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(child.wait_with_output()?)
}

/// Ends a child and takes its exit status, so that neither process nor zombie stays.
pub(crate) fn kill(child: &mut Child) {
    // Both fail only when the child has ended already, which is what is wanted.
    let _ = child.kill();
    let _ = child.wait();
}

/// Returns where `name` is on PATH, if anywhere.
pub(crate) fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

/// Returns whether `file` exists and may be executed by somebody.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Returns the last lines of a text, for error messages.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}

fn quoted(output: &Output) -> String {
    tail(&String::from_utf8_lossy(&output.stderr), QUOTED_LINES)
}

fn not_started(command: &Command, error: &std::io::Error) -> anyhow::Error {
    let program = command.get_program().to_string_lossy();
    if error.kind() == ErrorKind::NotFound {
        anyhow!("`{program}` isn't installed, or not on PATH")
    } else {
        anyhow!("can't start `{program}`: {error}")
    }
}

fn expect_success(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let cause = match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    };
    bail!("`{}` failed with {cause}", shown(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_quotes_what_a_shell_would_split() {
        let mut command = Command::new("npm");
        command.args(["install", "a b", ""]);
        assert_eq!(shown(&command), "npm install 'a b' ''");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("penstock-no-such-program")).expect_err("it isn't there");
        assert_eq!(
            error.to_string(),
            "`penstock-no-such-program` isn't installed, or not on PATH"
        );
    }

    #[test]
    fn a_failed_program_is_named_with_its_exit_code() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).expect_err("it fails");
        assert_eq!(
            error.to_string(),
            "`sh -c 'exit 3'` failed with exit code 3"
        );
    }

    #[test]
    fn a_failed_capture_quotes_standard_error() {
        let error = capture(Command::new("sh").args(["-c", "echo no space left >&2; exit 1"]))
            .expect_err("it fails");
        assert!(format!("{error:#}").contains("no space left"), "{error:#}");
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let error = output_within(Command::new("sleep").arg("60"), Duration::ZERO)
            .expect_err("it takes too long");
        assert_eq!(error.to_string(), "`sleep 60` didn't end within 0 s");
    }

    #[test]
    fn the_tail_skips_empty_lines() {
        assert_eq!(tail("one\n\ntwo\nthree\n\n", 2), "two\nthree");
    }
}
