//! Shell completions and the manual page, made from the arguments themselves.

use std::io;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Arguments;

/// `midlayer completions`.
pub fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "midlayer", &mut text);
    super::output::print(&String::from_utf8(text)?)
}

/// `midlayer man`: the program's page, then one for each command.
pub fn man() -> anyhow::Result<()> {
    let mut text = Vec::new();
    let mut command = Arguments::command();
    command.build();
    page(&command, &mut text)?;
    for command in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        if command.get_name() != "help" {
            page(command, &mut text)?;
        }
    }
    super::output::print(&String::from_utf8(text)?)
}

fn page(command: &clap::Command, out: &mut Vec<u8>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    clap_mangen::Man::new(command.clone())
        .title(name)
        .render(out)
}
