//! An answer on its way: a body that is sent line by line, and ends its request when it is
//! dropped.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Sleep;

use super::queue::{Part, Ticket, error};

/// A request's time.
pub const TIME: Duration = Duration::from_secs(120);

/// The answer to a request.
pub struct Lines {
    first: Option<Part>,
    rest: UnboundedReceiver<Part>,
    deadline: Pin<Box<Sleep>>,
    over: bool,
    /// Held for its drop.
    _ticket: Ticket,
}

impl Lines {
    /// The answer whose first part is there already.
    pub fn new(
        first: Part,
        rest: UnboundedReceiver<Part>,
        deadline: Pin<Box<Sleep>>,
        ticket: Ticket,
    ) -> Self {
        Self {
            first: Some(first),
            rest,
            deadline,
            over: false,
            _ticket: ticket,
        }
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let part = match self.first.take() {
            Some(part) => Poll::Ready(Some(part)),
            None => self.rest.poll_recv(cx),
        };
        let line = match part {
            Poll::Ready(Some(part)) => {
                self.over = !matches!(part, Part::Line(_));
                part.line()
            }
            Poll::Ready(None) => {
                self.over = true;
                error("failed", "the thread that computes has ended")
            }
            Poll::Pending if self.deadline.as_mut().poll(cx).is_ready() => {
                self.over = true;
                error("time", &too_long())
            }
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(line + "\n")))))
    }
}

/// What is said of a request that takes too long.
pub fn too_long() -> String {
    format!("no answer within {} s", TIME.as_secs())
}
