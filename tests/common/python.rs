//! A Python that has the packages that a test needs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `python3`, with a folder of further packages if it needs one.
pub struct Python(Option<PathBuf>);

impl Python {
    /// With pandas and pyarrow.
    pub fn with_pandas() -> Result<Self, String> {
        Self::with("pandas", "pandas, pyarrow", &["pandas>=2", "pyarrow>=14"])
    }

    /// With jinja2.
    pub fn with_jinja2() -> Result<Self, String> {
        Self::with("jinja2", "jinja2", &["jinja2>=3.1,<4"])
    }

    /// With playwright, which drives a browser; none of its own is fetched.
    pub fn with_playwright() -> Result<Self, String> {
        Self::with("playwright", "playwright", &["playwright>=1.40"])
    }

    /// The same, by version: from 1.65 on it sends what Firefox 153 does not know.
    pub fn with_playwright_for_firefox() -> Result<Self, String> {
        let packages = ["playwright>=1.57,<1.65"];
        Self::installed("playwright-firefox", "playwright", &packages)
    }

    /// The `python3` that is there if it can import the modules; else pip puts the packages into
    /// the target folder, once, under `name`. The error says why neither is possible.
    fn with(name: &str, modules: &str, packages: &[&str]) -> Result<Self, String> {
        let own = Python(None);
        if own.imports(modules) {
            return Ok(own);
        }
        Self::installed(name, modules, packages)
    }

    /// With a folder of packages of its own, which is kept.
    fn installed(name: &str, modules: &str, packages: &[&str]) -> Result<Self, String> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let lock = File::create(folder.join(format!("{name}.lock")));
        let lock = lock.map_err(|e| e.to_string())?;
        lock.lock().map_err(|e| e.to_string())?;
        let place = folder.join(name);
        let installed = Python(Some(place.clone()));
        if place.is_dir() && installed.imports(modules) {
            return Ok(installed);
        }
        install(folder, &place, packages)?;
        if installed.imports(modules) {
            Ok(installed)
        } else {
            Err(format!(
                "python3 cannot import what pip installed ({modules})"
            ))
        }
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new("python3");
        if let Some(packages) = &self.0 {
            command.env("PYTHONPATH", packages);
        }
        command
    }

    fn imports(&self, modules: &str) -> bool {
        let mut command = self.command();
        command.args(["-c", &format!("import {modules}")]);
        let status = command.stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

/// Installs into a folder of its own, which takes its name when it is complete.
fn install(folder: &Path, place: &Path, packages: &[&str]) -> Result<(), String> {
    let part = tempfile::tempdir_in(folder).map_err(|e| e.to_string())?;
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--only-binary", ":all:"])
        .args(["--retries", "1", "--timeout", "20", "--target"])
        .arg(part.path())
        .args(packages)
        .output()
        .map_err(|e| format!("python3 does not start: {e}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or("pip says nothing");
        return Err(format!("pip cannot install them: {last}"));
    }
    fs::remove_dir_all(place).ok();
    fs::rename(part.keep(), place).map_err(|e| e.to_string())
}
