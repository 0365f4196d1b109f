//! The commands, one file each.

mod completions;
mod config;
mod doctor;
mod guarded;
mod list;
mod release;
mod serve;
mod store;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::{ContextKind, ErrorKind};
use raceproof_core::guard::code;

use crate::args::{Cli, Client, ColorArg, Command};
use crate::config::{Settings, Sources, load};
use crate::failure::Failure;
use crate::say;

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(error, &args),
    };
    say::set_color(stderr_wants_color(cli.color.unwrap_or(ColorArg::Auto)));
    match dispatch(cli) {
        Ok(exit) => ExitCode::from(exit),
        Err(failure) => {
            say::error(&failure.code, &failure.text);
            ExitCode::from(failure.exit)
        }
    }
}

fn dispatch(cli: Cli) -> Result<u8, Failure> {
    match cli.command {
        // These two must work whatever the settings say.
        Command::Completions { shell } => return completions::completions(shell),
        Command::Man { command } => return completions::man(command.as_deref()),
        _ => {}
    }
    let (settings, warnings) = load(&Sources::of_this_process())?;
    say::set_color(stderr_wants_color(cli.color.unwrap_or_else(|| settings.choice("color"))));
    for warning in warnings {
        say::warning("unknown-variable", warning);
    }
    match cli.command {
        Command::Serve(args) => serve::serve(args, settings),
        Command::Lock(args) => guarded::lock(args, settings),
        Command::Elect(args) => guarded::elect(args, settings),
        Command::Locks(args) => list::locks(&args, settings),
        Command::Elections(args) => list::elections(&args, settings),
        Command::Sessions(args) => list::sessions(&args, settings),
        Command::Release(args) => release::release(&args, settings),
        Command::Store(args) => store::store(&args),
        Command::Config(args) => config::config(&args, &settings),
        Command::Doctor(args) => doctor::doctor(&args, settings),
        Command::Completions { .. } | Command::Man { .. } => Ok(0),
    }
}

/// A command line that is wrong, or a call for help.
fn usage(mut error: clap::Error, args: &[OsString]) -> ExitCode {
    let hint = forgotten_dashes(error.kind(), args);
    if hint.is_some() {
        // It would have every word of the command set apart.
        error.remove(ContextKind::Suggested);
    }
    // A reader that is gone needs no usage.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if let Some(hint) = hint {
        eprintln!("\n  hint: put -- before the command: {hint}");
    }
    ExitCode::from(code::USAGE)
}

/// `lock NAME CMD` without `--`: what was probably meant.
fn forgotten_dashes(kind: ErrorKind, args: &[OsString]) -> Option<String> {
    let wrong = matches!(kind, ErrorKind::MissingRequiredArgument | ErrorKind::UnknownArgument);
    let words: Vec<_> = args.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let (command, rest) = words.split_first()?;
    if !wrong || !matches!(&**command, "lock" | "elect") || words.iter().any(|word| word == "--") {
        return None;
    }
    // Options may have values of their own; guess only where there are none.
    let plain = |word: &std::borrow::Cow<'_, str>| !word.starts_with('-');
    match rest.split_first() {
        Some((name, cmd)) if plain(name) && cmd.first().is_some_and(plain) => {
            Some(format!("raceproof {command} {name} -- {}", cmd.join(" ")))
        }
        _ if kind == ErrorKind::MissingRequiredArgument || rest.iter().filter(|word| plain(word)).count() > 1 => {
            Some(format!("raceproof {command} [OPTIONS] NAME -- CMD [ARGS]..."))
        }
        _ => None,
    }
}

/// Whether to colour stderr: by flag or setting, else by the customs of the environment.
fn stderr_wants_color(color: ColorArg) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    match color {
        ColorArg::Always => true,
        ColorArg::Never => false,
        ColorArg::Auto if set("NO_COLOR") => false,
        ColorArg::Auto if set("CLICOLOR_FORCE") => true,
        ColorArg::Auto => std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
    }
}

/// Adds what a client command says of its server to the settings.
fn with_client(settings: Settings, client: &Client) -> Settings {
    settings.flag("server", client.server.as_deref()).flag("auth-token-file", client.auth_token_file.as_deref())
}

/// The server's address and the token for it. A token file that the command line names goes before the variable.
fn server(settings: &Settings) -> Result<(String, Option<String>), Failure> {
    use crate::config::Origin;
    let server = crate::http::base(settings.text("server").unwrap_or_default());
    if server.starts_with("https:") {
        return Err(Failure::new(
            "tls",
            code::CONFIG,
            format!("{server}: put a proxy that speaks TLS on this machine, and name it by http://"),
        ));
    }
    if !server.starts_with("http://") {
        let text = format!("{server:?} is not a server's address: the scheme is not http or ws");
        return Err(Failure::new("config", code::CONFIG, text));
    }
    if !crate::http::has_good_port(&server) {
        let text = format!("{server:?} is not a server's address: the port is not a number from 0 to 65535");
        return Err(Failure::new("config", code::CONFIG, text));
    }
    let by_flag = settings.value("auth-token-file").is_some_and(|value| value.origin == Origin::Flag);
    let token = settings.text("auth-token").filter(|_| !by_flag).map(str::to_owned);
    let token = match (token, settings.text("auth-token-file")) {
        (Some(token), _) => Some(token),
        (None, None) => None,
        (None, Some(file)) => {
            let unreadable = |error| Failure::new("config", code::CONFIG, format!("{file} cannot be read: {error}"));
            let text = std::fs::read_to_string(file).map_err(unreadable)?;
            let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
            Some(
                first.ok_or_else(|| Failure::new("config", code::CONFIG, format!("{file} holds no token")))?.to_owned(),
            )
        }
    };
    if token.as_deref().is_some_and(|token| !crate::http::is_token(token)) {
        let detail = "the token that the server asks for is not one: it has visible ASCII characters and no spaces";
        return Err(Failure::new("config", code::CONFIG, detail));
    }
    Ok((server, token))
}

/// Writes to stdout. A reader that went away is no failure: it has seen enough.
fn print(text: &str) -> Result<Reader, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Here),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::new("output", code::FAILED, format!("the output cannot be written: {error}"))),
    }
}

/// Whether anyone reads what we print.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reader {
    Here,
    Gone,
}
