//! The date that a chat template is told.

use std::fmt::{self, Write};
use std::str::FromStr;

use chrono::NaiveDate;
use minijinja::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

/// The day on which a chat is said to take place. Some templates write it, so it is fixed:
/// the same command gives the same prompt on any day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChatDate(NaiveDate);

impl Default for ChatDate {
    /// 26 July 2024: what Llama 3's template writes where it is not told the date.
    fn default() -> Self {
        Self(NaiveDate::from_ymd_opt(2024, 7, 26).expect("a day of the calendar"))
    }
}

impl ChatDate {
    /// The day as C's `strftime` writes it, which Python's does too. It is midnight, in no
    /// time zone.
    pub(super) fn formatted(self, format: &str) -> Result<String, Error> {
        let midnight = self.0.and_hms_opt(0, 0, 0).expect("there is a midnight");
        let format = format.replace("%Z", "").replace("%z", "");
        let mut text = String::new();
        write!(text, "{}", midnight.format(&format)).map_err(|_| {
            let reason = format!("strftime_now knows no format {format:?}");
            Error::new(ErrorKind::InvalidOperation, reason)
        })?;
        Ok(text)
    }
}

impl fmt::Display for ChatDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%d"))
    }
}

impl FromStr for ChatDate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .map(Self)
            .map_err(|_| format!("'{text}' is not a date, such as 2024-07-26"))
    }
}

impl TryFrom<String> for ChatDate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ChatDate> for String {
    fn from(date: ChatDate) -> Self {
        date.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_written() {
        let date: ChatDate = "2025-01-03".parse().unwrap();
        assert_eq!(date.to_string(), "2025-01-03");
        assert_eq!(serde_json::to_string(&date).unwrap(), "\"2025-01-03\"");
        assert_eq!(
            serde_json::from_str::<ChatDate>("\"2025-01-03\"").unwrap(),
            date
        );
        for wrong in ["", "3 Jan", "2025-02-30", "2025-01-03T10:00"] {
            assert!(wrong.parse::<ChatDate>().is_err(), "{wrong}");
        }
        assert_eq!(date.formatted("%d %b %Y").unwrap(), "03 Jan 2025");
        assert_eq!(
            date.formatted("%A, %B %-d, %H:%M%Z").unwrap(),
            "Friday, January 3, 00:00"
        );
        assert!(date.formatted("%!").is_err());
    }
}
