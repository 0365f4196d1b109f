//! Completion scripts and the manual, both made from the command line's own description.

use clap::CommandFactory as _;
use raceproof_core::guard::code;

use super::print;
use crate::args::{Cli, EXIT_CODES};
use crate::failure::Failure;

pub(super) fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "raceproof", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

pub(super) fn man(command: Option<&str>) -> Result<u8, Failure> {
    let mut cli = Cli::command();
    cli.build();
    let page = match command {
        None => cli.after_long_help(EXIT_CODES),
        Some(name) => {
            let found = cli.find_subcommand(name).cloned();
            let found = found.ok_or_else(|| {
                Failure::new("usage", code::USAGE, format!("there is no command {name:?}; see raceproof --help"))
            })?;
            // The page of a command is called after both, as its file is.
            found.display_name(format!("raceproof-{name}"))
        }
    };
    let mut roff = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut roff)
        .map_err(|error| Failure::system("the manual cannot be made", error))?;
    print(&String::from_utf8_lossy(&roff))?;
    Ok(0)
}
