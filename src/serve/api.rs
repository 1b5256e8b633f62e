//! Routes, and what is answered under each.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{sleep, timeout};

use super::guard::Private;
use super::lines::{Lines, TIME, too_long};
use super::queue::{Part, Queue, error};
use super::server::Of;
use super::stored::{self, Reader, RunsAsk};
use super::{Address, Ask, Refusal, files, guard, openapi};

/// What an answer is made of.
pub type Answer = Response<BoxBody<Bytes, Infallible>>;

/// How a body is read.
type Read = fn(&[u8]) -> serde_json::Result<Ask>;

/// Bytes of a request's body at most.
const BODY: usize = 64 * 1024;
/// A body's time to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Headers of every answer. Nothing is loaded from elsewhere, nothing is kept, no other page
/// frames this one.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// The policy of a run's report: a page of its own origin, which reaches nothing of this one. Which
/// scripts run, it says itself.
const REPORT: &str = "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Answers a request.
pub async fn answer(of: &Of, request: Request<Incoming>) -> Answer {
    let mut answer = route(of, request).await;
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        // A report has a policy of its own.
        answer.headers_mut().entry(name).or_insert(value);
    }
    answer
}

async fn route(of: &Of, request: Request<Incoming>) -> Answer {
    let Of {
        address,
        queue,
        runs,
    } = of;
    let path = request.uri().path().to_string();
    let query = request.uri().query().unwrap_or_default().to_string();
    let of_runs = stored::asked(&path, &query);
    let method = request.method().clone();
    let keyed = |ask: &RunsAsk| stored::has_key(address, ask, &query);
    let private = match (path.starts_with("/v1/"), &of_runs) {
        (false, _) => Private::No,
        (true, Some(ask)) if keyed(ask) => Private::Key,
        (true, _) => Private::Token,
    };
    if let Err((status, why)) = guard::admit(address, &method, request.headers(), private) {
        return refuse(status, "forbidden", why);
    }
    let read: Option<Read> = match &*path {
        "/v1/tokens" => Some(|body| serde_json::from_slice(body).map(Ask::Tokens)),
        "/v1/try" => Some(|body| serde_json::from_slice(body).map(Ask::Try)),
        "/v1/generate" => Some(|body| serde_json::from_slice(body).map(Ask::Generate)),
        "/v1/plan" => Some(|body| serde_json::from_slice(body).map(Ask::Plan)),
        "/v1/map" => Some(|body| serde_json::from_slice(body).map(Ask::Map)),
        "/v1/open" => Some(|body| serde_json::from_slice(body).map(Ask::Open)),
        _ => None,
    };
    match (&method, read) {
        (&Method::POST, Some(_)) if queue.is_closed() => {
            let why = "no model is served here; start midlayer serve with one (`model`)";
            refuse(StatusCode::CONFLICT, "no-model", why)
        }
        (&Method::POST, Some(read)) => ask(queue, request, read).await,
        (_, Some(_)) => refuse(StatusCode::METHOD_NOT_ALLOWED, "method", "use POST"),
        (&Method::GET, None) => match (&*path, files::file(&path)) {
            ("/v1/model", _) => {
                let about = queue.about();
                let mut known = about.unwrap_or_else(|| json!({"state": "loading"}));
                known["runs"] = json!(runs.is_some());
                text(StatusCode::OK, JSON, known.to_string())
            }
            ("/v1/openapi.json", _) => {
                text(StatusCode::OK, JSON, openapi::description().to_string())
            }
            (_, Some((kind, contents))) => text(StatusCode::OK, kind, contents),
            _ => match (of_runs, runs) {
                (Some(ask), Some(runs)) => of_run(address, runs, ask).await,
                (Some(_), None) => {
                    let why = "no runs are served here; start midlayer serve with their folder";
                    refuse(StatusCode::NOT_FOUND, "not-found", why)
                }
                (None, _) => refuse(StatusCode::NOT_FOUND, "not-found", "there is nothing here"),
            },
        },
        (_, None) => refuse(StatusCode::METHOD_NOT_ALLOWED, "method", "use GET"),
    }
}

/// Answers what is asked of stored runs.
async fn of_run(address: &Address, runs: &Reader, ask: RunsAsk) -> Answer {
    let report = matches!(ask, RunsAsk::Report(_));
    let shown = match &ask {
        RunsAsk::Show(run) => Some(stored::report_address(address, run)),
        _ => None,
    };
    let answered = match timeout(TIME, runs.ask(ask)).await {
        Ok(Some(answered)) => answered,
        Ok(None) => return busy(),
        Err(_) => return refuse(StatusCode::SERVICE_UNAVAILABLE, "time", &too_long()),
    };
    match answered {
        Ok(page) if report => {
            let mut answer = text(StatusCode::OK, "text/html; charset=utf-8", page);
            let policy = HeaderValue::from_static(REPORT);
            answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            answer
        }
        Ok(mut json) => {
            if let Some(shown) = shown {
                // An object, to which its report's address is added.
                json.pop();
                json.push_str(&format!(",\"report\":{}}}", json!(shown)));
            }
            text(StatusCode::OK, JSON, json)
        }
        Err(refusal) => refuse(status(&refusal), refusal.code(), refusal.message()),
    }
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Usage(_) => StatusCode::BAD_REQUEST,
        Refusal::Unknown(_) => StatusCode::NOT_FOUND,
        Refusal::Loading(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Failed(_) | Refusal::Stopped => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn busy() -> Answer {
    let busy = "others are being answered; ask again";
    later(refuse(StatusCode::TOO_MANY_REQUESTS, "busy", busy))
}

/// Hands a request to the thread that computes. What is wrong with it is known before its first
/// line and becomes the status.
async fn ask(queue: &Arc<Queue>, request: Request<Incoming>, read: Read) -> Answer {
    let body = Limited::new(request.into_body(), BODY).collect();
    let body = match timeout(ARRIVAL, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let why = format!("a request has at most {BODY} bytes");
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too-large", &why);
        }
        Ok(Err(_)) => return refuse(StatusCode::BAD_REQUEST, "body", "the body broke off"),
        Err(_) => {
            return refuse(
                StatusCode::REQUEST_TIMEOUT,
                "time",
                "the body did not arrive",
            );
        }
    };
    let ask = match read(&body) {
        Ok(ask) => ask,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "json", &error.to_string()),
    };
    if let Some(why) = ask.excess() {
        return refuse(StatusCode::BAD_REQUEST, "too-much", &why);
    }
    let (out, mut parts) = unbounded_channel();
    let Ok(ticket) = queue.put(ask, out) else {
        return busy();
    };
    let mut deadline = Box::pin(sleep(TIME));
    let first = tokio::select! {
        part = parts.recv() => part,
        () = &mut deadline => {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "time", &too_long());
        }
    };
    let loading = matches!(&first, Some(Part::Refused(Refusal::Loading(_))));
    let status = match &first {
        None => {
            let why = "the thread that computes has ended";
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", why);
        }
        Some(Part::Refused(refusal)) => self::status(refusal),
        Some(Part::Superseded) => StatusCode::CONFLICT,
        Some(Part::Line(_) | Part::Done) => StatusCode::OK,
    };
    let first = first.expect("none is answered above");
    let lines = Lines::new(first, parts, deadline, ticket);
    let answer = respond(status, "application/x-ndjson", BodyExt::boxed(lines));
    match loading {
        true => later(answer),
        false => answer,
    }
}

const JSON: &str = "application/json";

/// An answer that says when to ask again.
fn later(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

fn refuse(status: StatusCode, code: &str, why: &str) -> Answer {
    text(status, JSON, error(code, why) + "\n")
}

fn text(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Answer {
    respond(status, kind, Full::new(text.into()).boxed())
}

fn respond(status: StatusCode, kind: &'static str, body: BoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
