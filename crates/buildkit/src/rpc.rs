//! Calls over one HTTP/2 connection, in either direction.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::{ServerStreamingService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// Bytes of one message. **Source:** containerd, `defaults.DefaultMaxRecvMsgSize`.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Bytes that a peer may send before they are read, of one call and of all.
const WINDOW_BYTES: u32 = 2 << 20;
/// Calls at a time on one connection.
const CALLS_MAX: u32 = 1024;

/// An answer to a call.
pub(crate) type Reply = http::Response<Body>;
/// An answer that takes time.
pub(crate) type Later = Pin<Box<dyn Future<Output = Reply> + Send>>;
/// A stream of messages that are sent.
pub(crate) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves calls until the peer ends the connection. A call whose peer has gone is dropped.
pub(crate) async fn serve<S, H, F>(io: S, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(http::Request<Incoming>) -> F + Clone,
    F: Future<Output = Reply> + Send + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let reply = handle(request);
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES).max_concurrent_streams(CALLS_MAX);
    // The peer has gone or spoke another language: there is nobody to tell.
    let _ = builder.serve_connection(TokioIo::new(io), service).await;
}

struct Unary<F>(F);

impl<Q, A, F, Fut> UnaryService<Q> for Unary<F>
where
    F: FnMut(Request<Q>) -> Fut,
    Fut: Future<Output = Result<A, Status>> + Send + 'static,
{
    type Response = A;
    type Future = Pin<Box<dyn Future<Output = Result<Response<A>, Status>> + Send>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { answer.await.map(Response::new) })
    }
}

struct Many<F>(F);

impl<Q, A, F, Fut> ServerStreamingService<Q> for Many<F>
where
    F: FnMut(Request<Q>) -> Fut,
    Fut: Future<Output = Result<Messages<A>, Status>> + Send + 'static,
{
    type Response = A;
    type ResponseStream = Messages<A>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Messages<A>>, Status>> + Send>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { answer.await.map(Response::new) })
    }
}

struct Both<F>(F);

impl<Q, A, F, Fut> StreamingService<Q> for Both<F>
where
    F: FnMut(Request<Streaming<Q>>) -> Fut,
    Fut: Future<Output = Result<Messages<A>, Status>> + Send + 'static,
{
    type Response = A;
    type ResponseStream = Messages<A>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Messages<A>>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Q>>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { answer.await.map(Response::new) })
    }
}

fn server<Q, A>() -> tonic::server::Grpc<ProstCodec<A, Q>>
where
    Q: Message + Default + 'static,
    A: Message + 'static,
{
    tonic::server::Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// Answers a call of one message by one message.
pub(crate) fn unary<Q, A, F, Fut>(request: http::Request<Incoming>, handle: F) -> Later
where
    Q: Message + Default + Send + Sync + 'static,
    A: Message + Send + Sync + 'static,
    F: Send + Sync + 'static + FnMut(Request<Q>) -> Fut,
    Fut: Future<Output = Result<A, Status>> + Send + 'static,
{
    Box::pin(async move { server::<Q, A>().unary(Unary(handle), request).await })
}

/// Answers a call of one message by many.
pub(crate) fn many<Q, A, F, Fut>(request: http::Request<Incoming>, handle: F) -> Later
where
    Q: Message + Default + Send + Sync + 'static,
    A: Message + Send + Sync + 'static,
    F: Send + Sync + 'static + FnMut(Request<Q>) -> Fut,
    Fut: Future<Output = Result<Messages<A>, Status>> + Send + 'static,
{
    Box::pin(async move { server::<Q, A>().server_streaming(Many(handle), request).await })
}

/// Answers a call of many messages by many.
pub(crate) fn both<Q, A, F, Fut>(request: http::Request<Incoming>, handle: F) -> Later
where
    Q: Message + Default + Send + Sync + 'static,
    A: Message + Send + Sync + 'static,
    F: Send + Sync + 'static + FnMut(Request<Streaming<Q>>) -> Fut,
    Fut: Future<Output = Result<Messages<A>, Status>> + Send + 'static,
{
    Box::pin(async move { server::<Q, A>().streaming(Both(handle), request).await })
}

/// A connection that calls are made over.
#[derive(Clone, Debug)]
pub(crate) struct Channel(SendRequest<Body>);

impl tower_service::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Channel {
    /// Speaks as a client over `io`. The second part goes on until the connection ends, and must be awaited.
    ///
    /// # Errors
    /// The peer does not speak HTTP/2.
    pub(crate) async fn new<S>(io: S) -> Result<(Self, impl Future<Output = ()> + Send), hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
        // How it ended is seen by the calls.
        Ok((Self(sender), async move { drop(connection.await) }))
    }

    pub(crate) fn grpc(&self) -> tonic::client::Grpc<Self> {
        let origin = http::Uri::from_static("http://localhost");
        tonic::client::Grpc::with_origin(self.clone(), origin).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Calls with one message.
    ///
    /// # Errors
    /// What the peer says, or that it has gone.
    pub(crate) async fn unary<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let codec = ProstCodec::<Q, A>::default();
        self.grpc().unary(Request::new(message), PathAndQuery::from_static(path), codec).await.map(Response::into_inner)
    }

    /// Calls with a stream of messages, answered by a stream.
    ///
    /// # Errors
    /// What the peer says, or that it has gone.
    pub(crate) async fn streaming<Q, A, S>(&self, path: &'static str, messages: S, metadata: MetadataMap) -> Result<Streaming<A>, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
        S: Stream<Item = Q> + Send + 'static,
    {
        let request = Request::from_parts(metadata, tonic::Extensions::default(), messages);
        let codec = ProstCodec::<Q, A>::default();
        self.grpc().streaming(request, PathAndQuery::from_static(path), codec).await.map(Response::into_inner)
    }
}

/// The receiving end of a queue as a stream.
pub(crate) fn stream<T: Send + 'static>(mut queue: tokio::sync::mpsc::Receiver<T>) -> impl Stream<Item = T> + Send {
    futures_util::stream::poll_fn(move |context| queue.poll_recv(context))
}
