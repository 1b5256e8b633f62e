//! The program `midlayer`.

use midlayer::{SPIN, SPIN_SET};

fn main() -> std::process::ExitCode {
    midlayer::runtime::explain_illegal_instructions();
    #[cfg(target_os = "linux")]
    spin_briefly();
    midlayer::program(std::env::args_os()).into()
}

/// Threads that wait for each other spin. OpenMP's runtime lets them spin so long that a busy
/// neighbour on the same cores makes a forward pass five times slower (`midlayer bench
/// neighbours`); with this it is three times, and alone nothing is lost. The runtime reads the
/// variable once, when the program is loaded, so the program starts itself again with it.
#[cfg(target_os = "linux")]
fn spin_briefly() {
    use std::env;
    use std::os::unix::process::CommandExt;

    let chosen = [SPIN, "OMP_WAIT_POLICY"];
    if chosen.iter().any(|name| env::var_os(name).is_some()) {
        return;
    }
    if let Ok(program) = env::current_exe() {
        let mut again = std::process::Command::new(program);
        let mut arguments = env::args_os();
        if let Some(name) = arguments.next() {
            again.arg0(name);
        }
        // Comes back only if it fails, and then all goes on as it is.
        let _ = again
            .args(arguments)
            .env(SPIN, "10000")
            .env(SPIN_SET, "1")
            .exec();
    }
}
