//! A Python that has pandas and pyarrow.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `python3`, with a folder of further packages if it needs one.
pub struct Python(Option<PathBuf>);

impl Python {
    /// The `python3` that is there if it has both; else pip puts them into the target folder,
    /// once. The error says why neither is possible.
    pub fn with_pandas() -> Result<Self, String> {
        let own = Python(None);
        if own.imports() {
            return Ok(own);
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let lock = File::create(folder.join("pandas.lock")).map_err(|e| e.to_string())?;
        lock.lock().map_err(|e| e.to_string())?;
        let packages = folder.join("pandas");
        let installed = Python(Some(packages.clone()));
        if packages.is_dir() && installed.imports() {
            return Ok(installed);
        }
        install(folder, &packages)?;
        if installed.imports() {
            Ok(installed)
        } else {
            Err("python3 cannot import the pandas and pyarrow that pip installed".into())
        }
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new("python3");
        if let Some(packages) = &self.0 {
            command.env("PYTHONPATH", packages);
        }
        command
    }

    fn imports(&self) -> bool {
        let mut command = self.command();
        command.args(["-c", "import pandas, pyarrow"]);
        let status = command.stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

/// Installs into a folder of its own, which takes its name when it is complete.
fn install(folder: &Path, packages: &Path) -> Result<(), String> {
    let part = tempfile::tempdir_in(folder).map_err(|e| e.to_string())?;
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--only-binary", ":all:"])
        .args(["--retries", "1", "--timeout", "20", "--target"])
        .arg(part.path())
        .args(["pandas>=2", "pyarrow>=14"])
        .output()
        .map_err(|e| format!("python3 does not start: {e}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or("pip says nothing");
        return Err(format!("pip cannot install them: {last}"));
    }
    fs::remove_dir_all(packages).ok();
    fs::rename(part.keep(), packages).map_err(|e| e.to_string())
}
