//! Connections: who is let in, and for how long.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::lines::TIME;
use super::queue::{Bell, Queue};
use super::stored::{Reader, Stored};
use super::{Subject, api};
use crate::runtime::Stop;

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 64;
/// A request's head has this time to arrive, and so has the next one on a connection.
const HEAD: Duration = Duration::from_secs(15);
/// Bytes of a request's head at most.
const HEAD_BYTES: usize = 16 * 1024;

/// Where a server listens.
#[derive(Clone, Debug)]
pub struct Address {
    /// Address and port.
    pub socket: SocketAddr,
    /// What a client must show, where others than this machine's programs can connect.
    pub token: Option<String>,
}

impl Address {
    /// The page's address. A browser keeps what follows `#` to itself.
    pub fn url(&self) -> String {
        let token = self.token.as_ref();
        let token = token.map_or(String::new(), |token| format!("#token={token}"));
        format!("http://{}/{token}", self.socket)
    }
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    address: Address,
    queue: Arc<Queue>,
    /// The way to stored runs, if any are served.
    runs: Option<Reader>,
}

impl Server {
    /// Listens. On anything but this machine's own address, clients must show `token`.
    ///
    /// # Errors
    /// Why that address cannot be listened on.
    pub fn bind(socket: SocketAddr, token: impl FnOnce() -> String) -> std::io::Result<Self> {
        let listener = TcpListener::bind(socket)?;
        listener.set_nonblocking(true)?;
        let socket = listener.local_addr()?;
        let token = (!socket.ip().is_loopback()).then(token);
        Ok(Self {
            listener,
            address: Address { socket, token },
            queue: Arc::default(),
            runs: None,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Serves stored runs, too.
    ///
    /// # Errors
    /// Why there is no thread for them.
    pub fn with_runs(self, stored: impl Stored) -> std::io::Result<Self> {
        Ok(Self {
            runs: Some(Reader::start(stored)?),
            ..self
        })
    }

    /// Answers requests until the process ends, without any model.
    ///
    /// # Errors
    /// Why there is no runtime for connections.
    pub fn run_without(self) -> anyhow::Result<()> {
        self.queue.close();
        runtime()?.block_on(self.accept())
    }

    /// Answers requests until the process ends, with a subject that `make` makes in a thread of
    /// its own. It is given the wish that ends a computation, for the engines' contexts, and the
    /// bell that lets the subject take in what comes later.
    ///
    /// # Errors
    /// Why there is no subject, or no runtime for connections.
    pub fn run<S: Subject>(
        self,
        make: impl FnOnce(Stop, Bell) -> anyhow::Result<S> + Send + 'static,
    ) -> anyhow::Result<()> {
        let (ended, end) = oneshot::channel();
        let queue = self.queue.clone();
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || match make(queue.stop(), Bell(queue.clone())) {
                Ok(subject) => queue.work(subject),
                Err(error) => drop(ended.send(error)),
            })?;
        runtime()?.block_on(async {
            tokio::select! {
                error = end => Err(error.unwrap_or_else(|_| anyhow::anyhow!(
                    "the thread that computes has ended"
                ))),
                served = self.accept() => served,
            }
        })
    }

    async fn accept(self) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let address = Arc::new(self.address);
        loop {
            let place = places.clone().acquire_owned().await?;
            let Ok((stream, _)) = listener.accept().await else {
                // Too many files are open, or the client has gone already.
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let of = Of {
                address: address.clone(),
                queue: self.queue.clone(),
                runs: self.runs.clone(),
            };
            tokio::spawn(async move {
                serve(stream, &of).await;
                drop(place);
            });
        }
    }
}

/// One thread does all connections.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
}

/// What requests are answered with.
pub struct Of {
    pub address: Arc<Address>,
    pub queue: Arc<Queue>,
    pub runs: Option<Reader>,
}

/// Answers a connection's requests. A client that neither reads nor goes away loses it.
async fn serve(stream: TcpStream, of: &Of) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(async |request| Ok::<_, Infallible>(api::answer(of, request).await));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(TIME) => connection.as_mut().graceful_shutdown(),
    }
    // What it is being sent may take its time to the end.
    let _ = tokio::time::timeout(TIME + HEAD, connection).await;
}
