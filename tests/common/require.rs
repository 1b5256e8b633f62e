//! What a test needs of the machine. Where it is missing the test says so and passes, unless
//! `MIDLAYER_REQUIRE` names it: then its absence is a failure.

use std::io::Write;

/// Full and failing disks: mount namespaces, loop devices.
pub const DISKS: &str = "disks";
/// Network file systems: mount namespaces, FUSE, bindfs, sshfs and an SFTP server.
pub const NETWORK_DISKS: &str = "network-disks";
/// A Python with pandas and pyarrow.
pub const PANDAS: &str = "pandas";

/// A Python with jinja2.
pub const JINJA2: &str = "jinja2";

/// Chromium, and a Python with playwright.
pub const CHROMIUM: &str = "chromium";

/// Firefox, and a Python with a playwright that drives it.
pub const FIREFOX: &str = "firefox";

/// Node's npx, and a registry that has TypeScript.
pub const NODE: &str = "node";

/// A SLURM, which is brought up on this machine: root, and Debian's packages.
pub const SLURM: &str = "slurm";

/// The same, for the quickest of its steps: one array.
pub const SLURM_ARRAY: &str = "slurm-array";

/// GNU parallel.
pub const PARALLEL: &str = "parallel";

/// OpenBLAS, as a library that a program loads when it runs.
pub const BLAS: &str = "blas";

const KNOWN: [&str; 11] = [
    DISKS,
    NETWORK_DISKS,
    PANDAS,
    JINJA2,
    CHROMIUM,
    FIREFOX,
    NODE,
    SLURM,
    SLURM_ARRAY,
    PARALLEL,
    BLAS,
];

/// Says that a test was not run, past the test harness, which keeps what passing tests print to
/// itself.
///
/// # Panics
/// If what it needs is required.
pub fn not_run(test: &str, needs: &str, why: &str) {
    let required = std::env::var("MIDLAYER_REQUIRE").unwrap_or_default();
    assert!(
        !is_required(&required, needs),
        "{test} needs {needs}, which MIDLAYER_REQUIRE asks for: {why}"
    );
    let line = format!("\nNOT RUN: {test}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Whether a list as `disks,pandas` names something.
pub fn is_required(list: &str, what: &str) -> bool {
    let names = list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let names: Vec<&str> = names.collect();
    for name in &names {
        assert!(
            KNOWN.contains(name),
            "MIDLAYER_REQUIRE names {name}; known are {}",
            KNOWN.join(", ")
        );
    }
    names.contains(&what)
}
