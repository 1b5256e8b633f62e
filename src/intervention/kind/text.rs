//! A manipulation as it is written and stored: `scale:factor=0.5`.

use std::fmt;
use std::str::FromStr;

use super::Kind;

/// `scale`, or `scale:factor=2` where a parameter is not the default.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name().to_string();
        for (name, value) in self.given() {
            text.push_str(&format!(":{name}={value}"));
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let called =
            |kind: &Kind| kind.name() == name || kind.manipulation().synonyms().contains(&name);
        let kind = Self::ALL.into_iter().find(called);
        let mut kind = kind.ok_or_else(|| {
            let names = Self::names(|_| true);
            format!("'{name}' is not a manipulation; choose from {names}")
        })?;
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| {
                format!("'{part}' after {name}: is not a parameter; write {name}:NAME=VALUE")
            })?;
            kind = kind.with(key, value)?;
        }
        Ok(kind)
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.to_string()
    }
}
