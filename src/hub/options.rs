//! Where the hub is, who asks, and where files are kept: the variables of the hub's own tools.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::PathBuf;

/// The variables that forbid going online, in order.
const OFFLINE: [&str; 3] = [
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_DATASETS_OFFLINE",
];

/// How the hub is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct HubOptions {
    /// The address of a mirror; without one, the hub itself.
    pub endpoint: Option<String>,
    /// Sent as the bearer token.
    pub token: Option<String>,
    /// The folder of the cache, the one that holds `models--user--repo`.
    pub cache: PathBuf,
    /// The environment variable that allows only files in the cache, if one does.
    pub offline: Option<&'static str>,
}

impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("endpoint", &self.endpoint)
            // Debug output ends in logs, and a token is a secret.
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .finish()
    }
}

impl HubOptions {
    /// What the environment says:
    ///
    /// - `HF_ENDPOINT`;
    /// - `HF_TOKEN`, or the file `HF_TOKEN_PATH`, or the file `token` in `HF_HOME`, where the
    ///   hub's own program leaves it (the files not with `HF_HUB_DISABLE_IMPLICIT_TOKEN`);
    /// - `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or in `huggingface` in `XDG_CACHE_HOME`, or in
    ///   `.cache/huggingface` in the home folder;
    /// - `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` or `HF_DATASETS_OFFLINE`, when it is `1`,
    ///   `on`, `yes` or `true`.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// The same with another environment. An empty variable is as good as none.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let text = |name: &str| {
            let value = variable(name)?.into_string().ok()?;
            Some(value.trim().to_string()).filter(|v| !v.is_empty())
        };
        let truth = |name: &str| {
            text(name).is_some_and(|v| ["1", "on", "yes", "true"].contains(&&*v.to_lowercase()))
        };
        let home = path("HF_HOME")
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("huggingface")))
            .unwrap_or_else(|| {
                let user = dirs::home_dir().unwrap_or_else(std::env::temp_dir);
                user.join(".cache").join("huggingface")
            });
        let token = text("HF_TOKEN")
            .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| {
                if truth("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
                    return None;
                }
                let file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
                let token = fs::read_to_string(file).ok()?;
                Some(token.trim().to_string()).filter(|t| !t.is_empty())
            });
        Self {
            endpoint: text("HF_ENDPOINT"),
            token,
            cache: path("HF_HUB_CACHE")
                .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
                .unwrap_or_else(|| home.join("hub")),
            offline: OFFLINE.into_iter().find(|name| truth(name)),
        }
    }
}
