//! The program `midlayer`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
