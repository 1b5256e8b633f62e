//! A test run in a mount namespace of its own, so that nothing it mounts is left however it ends.

use std::path::Path;
use std::process::Command;

use super::require::not_run;

const INSIDE: &str = "MIDLAYER_TEST_NAMESPACE";

pub fn works(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

pub fn must(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Whether this is the test in its own namespace. If it is not, it is run in one, where that is
/// possible and `able` (given how to make one) says that what it needs is there; see
/// [`not_run`] for where it is not.
pub fn in_namespace(test: &str, needs: &str, able: impl Fn(&[&str]) -> Result<(), String>) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let ways: [&[&str]; 2] = [&["--mount"], &["--mount", "--map-root-user"]];
    let may = |way: &&&[&str]| works("unshare", &[way, &["true"][..]].concat());
    let Some(way) = ways.iter().find(may) else {
        let why = "mount namespaces are not allowed here (unshare --mount)";
        not_run(test, needs, why);
        return false;
    };
    if let Err(why) = able(way) {
        not_run(test, needs, &why);
        return false;
    }
    let status = Command::new("unshare")
        .args(*way)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} in a namespace of its own");
    false
}
