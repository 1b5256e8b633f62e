//! Stored runs under `/v1/runs`: what is asked for, and the thread that reads them.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::{Address, Refusal};

/// Requests that wait while one is answered.
const WAITING: usize = 8;

/// What is asked of stored runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunsAsk {
    /// All runs.
    List,
    /// A run's progress and curves.
    Show(String),
    /// Its report, a page.
    Report(String),
    /// Some items of one of its variants.
    Items {
        /// The run's id.
        run: String,
        /// The variant's number.
        variant: usize,
        /// The first item that is listed.
        from: usize,
    },
    /// An item's results.
    Item {
        /// The run's id.
        run: String,
        /// The variant's number.
        variant: usize,
        /// The item's number.
        item: usize,
    },
}

/// Stored runs. A thread of their own asks them.
pub trait Stored: Send + 'static {
    /// Answers with JSON, or with a page.
    ///
    /// # Errors
    /// Why there is no answer.
    fn answer(&mut self, ask: &RunsAsk) -> Result<String, Refusal>;
}

type Answered = Result<String, Refusal>;
type Asked = (RunsAsk, oneshot::Sender<Answered>);

/// The way to the thread that reads runs.
#[derive(Clone)]
pub struct Reader(SyncSender<Asked>);

impl Reader {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's.
    pub fn start(stored: impl Stored) -> std::io::Result<Self> {
        let (sender, asked) = sync_channel(WAITING);
        let work = move || work(stored, &asked);
        std::thread::Builder::new()
            .name("runs".into())
            .spawn(work)?;
        Ok(Self(sender))
    }

    /// Asks; none where too many wait.
    pub async fn ask(&self, ask: RunsAsk) -> Option<Answered> {
        let (out, answer) = oneshot::channel();
        match self.0.try_send((ask, out)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return None,
            Err(TrySendError::Disconnected(_)) => return Some(Err(ended())),
        }
        Some(answer.await.unwrap_or_else(|_| Err(ended())))
    }
}

fn ended() -> Refusal {
    Refusal::Failed("the thread that reads runs has ended".into())
}

fn work(mut stored: impl Stored, asked: &Receiver<Asked>) {
    while let Ok((ask, out)) = asked.recv() {
        // Who has gone is not answered.
        if !out.is_closed() {
            let _ = out.send(stored.answer(&ask));
        }
    }
}

/// What a path and its query ask for, if anything.
pub fn asked(path: &str, query: &str) -> Option<RunsAsk> {
    let rest = path.strip_prefix("/v1/runs")?;
    let mut parts = rest.split('/').skip(1);
    let number = |name: &str| -> Option<usize> {
        match value(query, name) {
            None => Some(0),
            Some(text) => text.parse().ok(),
        }
    };
    let Some(run) = parts.next() else {
        return rest.is_empty().then_some(RunsAsk::List);
    };
    let run = run.to_string();
    let ask = match (parts.next(), parts.next()) {
        (None, _) => RunsAsk::Show(run),
        (Some("report"), None) => RunsAsk::Report(run),
        (Some("items"), None) => RunsAsk::Items {
            run,
            variant: number("variant")?,
            from: number("from")?,
        },
        (Some("items"), Some(item)) => RunsAsk::Item {
            run,
            variant: number("variant")?,
            item: item.parse().ok()?,
        },
        _ => return None,
    };
    parts.next().is_none().then_some(ask)
}

/// A query's value.
fn value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .into_iter()
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// What opens one run's report and nothing else, where there is a token: a browser shows a page
/// without it.
fn key(token: &str, run: &str) -> String {
    let hash = Sha256::digest(format!("report {token} {run}").as_bytes());
    hash.iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// Where a run's report is.
pub fn report_address(address: &Address, run: &str) -> String {
    let key = address.token.as_ref().map(|token| key(token, run));
    let key = key.map_or(String::new(), |key| format!("?key={key}"));
    format!("/v1/runs/{run}/report{key}")
}

/// Whether a request for a run's report shows its key.
pub fn has_key(address: &Address, ask: &RunsAsk, query: &str) -> bool {
    let (Some(token), RunsAsk::Report(run)) = (&address.token, ask) else {
        return false;
    };
    let given = value(query, "key").unwrap_or_default();
    super::guard::same(given.as_bytes(), key(token, run).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_asks() {
        let ab = || "ab".to_string();
        assert_eq!(asked("/v1/runs", ""), Some(RunsAsk::List));
        assert_eq!(asked("/v1/runs/ab", ""), Some(RunsAsk::Show(ab())));
        assert_eq!(asked("/v1/runs/ab/report", ""), Some(RunsAsk::Report(ab())));
        let items = RunsAsk::Items {
            run: ab(),
            variant: 1,
            from: 50,
        };
        assert_eq!(asked("/v1/runs/ab/items", "from=50&variant=1"), Some(items));
        let item = RunsAsk::Item {
            run: ab(),
            variant: 0,
            item: 3,
        };
        assert_eq!(asked("/v1/runs/ab/items/3", ""), Some(item));
        for (path, query) in [
            ("/v1/runsab", ""),
            ("/v1/runs/ab/items/3/4", ""),
            ("/v1/runs/ab/report/x", ""),
            ("/v1/runs/ab/items/x", ""),
            ("/v1/runs/ab/items", "variant=-1"),
            ("/v1/model", ""),
        ] {
            assert_eq!(asked(path, query), None, "{path}?{query}");
        }
    }
}
