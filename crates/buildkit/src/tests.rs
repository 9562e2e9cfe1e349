//! A client of this wire's own: its calls, and the session through which it is called back.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::buildkit::v1::types::WorkerRecord;
use bollard_buildkit_proto::moby::buildkit::v1::{self as proto, frontend};
use futures_util::StreamExt as _;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::files::{receive, send};
use crate::rpc::{self, Channel, Later};
use crate::{Answer, Ask, Build, Doors, Engine, Fault, Solved, Wanted};

const METHODS: [&str; 3] =
    ["/moby.filesync.v1.FileSync/DiffCopy", "/moby.buildkit.secrets.v1.Secrets/GetSecret", "/moby.filesync.v1.FileSend/DiffCopy"];

/// Builds nothing: takes files and a secret of the client, and sends the files back as the result.
struct Fake {
    place: PathBuf,
    /// Hears that a build without an end has begun, and that any has ended.
    dropped: mpsc::UnboundedSender<()>,
}

struct Told(mpsc::UnboundedSender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

impl Engine for Fake {
    fn worker(&self) -> WorkerRecord {
        WorkerRecord { id: "fake".to_owned(), ..WorkerRecord::default() }
    }

    fn solve(&self, build: Arc<Build>, ask: Ask) -> Answer<Solved> {
        let (place, told) = (self.place.clone(), Told(self.dropped.clone()));
        Box::pin(async move {
            let told = told;
            if ask.options.contains_key("forever") {
                let _ = told.0.send(());
                std::future::pending::<()>().await;
            }
            if ask.options.contains_key("fail") {
                let file = Some(("Dockerfile".to_owned(), b"FROM x".to_vec()));
                return Err(Fault { message: "no".to_owned(), vertex: Some("sha256:0".to_owned()), file, lines: (1, 1) }.status());
            }
            let session = build.session(None).await?;
            let vertex = build.vertex("[1/1] COPY").await;
            let wanted = Wanted { name: "context".to_owned(), exclude: vec!["*.log".to_owned()], follow: Some(vec!["ü".to_owned()]) };
            let mut bytes = 0;
            session.receive(wanted, open(&place), |count| bytes = count).await?;
            vertex.part("transferring context:", bytes, None, true);
            let secret = session.secret("token").await?.unwrap_or_default();
            assert_eq!(session.secret("other").await?, None);
            vertex.log(1, secret).await;
            vertex.done().await;
            Ok(Solved { images: vec![(None, "sha256:1".to_owned())], metadata: HashMap::new() })
        })
    }

    fn export(&self, build: Arc<Build>, result: Solved, exporters: Vec<proto::Exporter>) -> Answer<HashMap<String, String>> {
        let place = self.place.clone();
        Box::pin(async move {
            assert_eq!(exporters.len(), 2);
            let session = build.session(None).await?;
            session.send_files(0, open(&place)).await?;
            let (sender, pieces) = mpsc::channel(1);
            let sending = async {
                for piece in ["a", "b"] {
                    sender.send(piece.into()).await.unwrap();
                }
                drop(sender);
            };
            let (sent, ()) = tokio::join!(session.send(1, pieces), sending);
            sent?;
            Ok(HashMap::from([("containerimage.digest".to_owned(), result.images[0].1.clone())]))
        })
    }

    fn usage(&self) -> Answer<Vec<proto::UsageRecord>> {
        Box::pin(async { Ok(vec![proto::UsageRecord { id: "a".to_owned(), ..proto::UsageRecord::default() }]) })
    }

    fn prune(&self, _: bool, _: i64) -> Answer<Vec<proto::UsageRecord>> {
        self.usage()
    }
}

/// What a client answers over its session: files out of `from`, results into `to`.
fn session(from: PathBuf, to: PathBuf) -> impl Fn(http::Request<Incoming>) -> Later + Clone {
    move |request| {
        let (from, to) = (from.clone(), to.clone());
        match request.uri().path() {
            "/moby.filesync.v1.FileSync/DiffCopy" => {
                assert_eq!(request.headers()["dir-name"], "context");
                assert_eq!(request.headers()["exclude-patterns"], "*.log");
                assert_eq!(
                    (&request.headers()["followpaths"], &request.headers()["followpaths-encoded"]),
                    (&"%C3%BC".parse().unwrap(), &"1".parse().unwrap())
                );
                rpc::both(request, move |packets: Request<Streaming<Packet>>| {
                    let (sender, queue) = mpsc::channel(4);
                    tokio::spawn(send::send(std::future::ready(Ok(packets.into_inner())), sender, open(&from)));
                    std::future::ready(Ok(Box::pin(rpc::stream(queue).map(Ok)) as rpc::Messages<Packet>))
                })
            }
            "/moby.filesync.v1.FileSend/DiffCopy" if request.headers()["buildkit-attachable-exporter-id"] == "0" => {
                rpc::both(request, move |packets: Request<Streaming<Packet>>| {
                    let (ask, mut asked) = mpsc::unbounded_channel();
                    tokio::spawn(receive::receive(packets.into_inner(), ask, open(&to), |_| {}));
                    let asked = futures_util::stream::poll_fn(move |context| asked.poll_recv(context));
                    std::future::ready(Ok(Box::pin(asked.map(Ok)) as rpc::Messages<Packet>))
                })
            }
            "/moby.filesync.v1.FileSend/DiffCopy" => rpc::both(request, move |bytes: Request<Streaming<proto::BytesMessage>>| {
                let to = to.join("archive");
                async move {
                    let mut bytes = bytes.into_inner();
                    let mut all = Vec::new();
                    while let Some(piece) = bytes.message().await? {
                        all.extend(piece.data);
                    }
                    std::fs::write(to, all).unwrap();
                    Ok(Box::pin(futures_util::stream::empty()) as rpc::Messages<proto::BytesMessage>)
                }
            }),
            _ => rpc::unary(request, |ask: Request<GetSecretRequest>| {
                std::future::ready(match ask.into_inner().id.as_str() {
                    "token" => Ok(GetSecretResponse { data: b"hidden".to_vec() }),
                    _ => Err(Status::not_found("no")),
                })
            }),
        }
    }
}

struct Client {
    doors: Doors,
    calls: Channel,
    dropped: mpsc::UnboundedReceiver<()>,
    place: tempfile::TempDir,
}

impl Client {
    async fn new() -> Self {
        let (near, far) = tokio::io::duplex(64 << 10);
        let doors = Doors::new("1");
        let place = tempfile::tempdir().unwrap();
        let (told, dropped) = mpsc::unbounded_channel();
        let engine = Arc::new(Fake { place: place.path().to_owned(), dropped: told });
        let serving = doors.clone();
        tokio::spawn(async move { serving.serve(far, engine).await });
        let (calls, connection) = Channel::new(near).await.unwrap();
        tokio::spawn(connection);
        Self { doors, calls, dropped, place }
    }

    /// Calls about the build `b`.
    async fn bridge<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut request = Request::new(message);
        request.metadata_mut().insert("buildkit-controlapi-buildid", "b".parse().unwrap());
        let codec = ProstCodec::<Q, A>::default();
        self.calls.grpc().unary(request, PathAndQuery::from_static(path), codec).await.map(tonic::Response::into_inner)
    }

    async fn solve(&self) -> Result<proto::SolveResponse, Status> {
        let exporters = vec![proto::Exporter::default(), proto::Exporter::default()];
        let ask = proto::SolveRequest { r#ref: "b".to_owned(), session: "s".to_owned(), exporters, ..proto::SolveRequest::default() };
        self.calls.unary("/moby.buildkit.v1.Control/Solve", ask).await
    }

    /// What the client's front end does: asks, and gives back what it got.
    async fn front_end(&self, option: &str) -> Result<(), Status> {
        let _: frontend::PongResponse = self.bridge("/moby.buildkit.v1.frontend.LLBBridge/Ping", frontend::PingRequest {}).await?;
        let ask = frontend::SolveRequest {
            frontend: "dockerfile.v0".to_owned(),
            frontend_opt: HashMap::from([(option.to_owned(), String::new())]),
            ..frontend::SolveRequest::default()
        };
        let solved: Result<frontend::SolveResponse, Status> = self.bridge("/moby.buildkit.v1.frontend.LLBBridge/Solve", ask).await;
        let back = match &solved {
            Ok(solved) => frontend::ReturnRequest { result: solved.result.clone(), error: None },
            Err(status) => frontend::ReturnRequest { result: None, error: Some(prost::Message::decode(status.details()).unwrap()) },
        };
        let _: frontend::ReturnResponse = self.bridge("/moby.buildkit.v1.frontend.LLBBridge/Return", back).await?;
        solved.map(drop)
    }

    async fn status(&self) -> Vec<proto::StatusResponse> {
        let ask = Request::new(proto::StatusRequest { r#ref: "b".to_owned() });
        let path = PathAndQuery::from_static("/moby.buildkit.v1.Control/Status");
        let codec = ProstCodec::<proto::StatusRequest, proto::StatusResponse>::default();
        let mut stream = self.calls.grpc().server_streaming(ask, path, codec).await.unwrap().into_inner();
        let mut all = Vec::new();
        while let Some(status) = stream.message().await.unwrap() {
            all.push(status);
        }
        all
    }
}

fn files() -> (tempfile::TempDir, tempfile::TempDir) {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir_all(from.path().join("d/e")).unwrap();
    std::fs::write(from.path().join("d/big"), vec![7; 300_000]).unwrap();
    std::fs::write(from.path().join("d/e/small"), "x").unwrap();
    std::os::unix::fs::symlink("big", from.path().join("d/link")).unwrap();
    (from, to)
}

fn same(one: &Path, other: &Path) {
    assert_eq!(std::fs::read(one.join("d/big")).unwrap(), std::fs::read(other.join("d/big")).unwrap());
    assert_eq!(std::fs::read(other.join("d/e/small")).unwrap(), b"x");
    assert_eq!(std::fs::read_link(other.join("d/link")).unwrap(), Path::new("big"));
}

#[tokio::test]
async fn a_build_takes_from_its_session_and_gives_to_it() {
    let client = Client::new().await;
    let (from, to) = files();
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::spawn(rpc::serve(near, session(from.path().to_owned(), to.path().to_owned())));
    let sessions = Arc::clone(client.doors.sessions());
    tokio::spawn(async move { sessions.hold(far, "s", METHODS.map(str::to_owned).into_iter()).await });
    // The front end and the listener come first: they wait for the build.
    let (front, told, solved) = tokio::join!(client.front_end("ok"), client.status(), client.solve());
    front.unwrap();
    assert_eq!(solved.unwrap().exporter_response["containerimage.digest"], "sha256:1");
    same(from.path(), client.place.path());
    same(from.path(), to.path());
    assert_eq!(std::fs::read(to.path().join("archive")).unwrap(), b"ab");
    let vertexes: Vec<_> = told.iter().flat_map(|status| &status.vertexes).collect();
    assert_eq!(vertexes.len(), 2, "begun and done: {vertexes:?}");
    assert!(vertexes[1].completed.is_some() && vertexes[1].digest == vertexes[0].digest);
    assert_eq!(told.iter().flat_map(|status| &status.logs).next().unwrap().msg, b"hidden");
    assert!(told.iter().flat_map(|status| &status.statuses).next().unwrap().current > 300_000);
}

#[tokio::test]
async fn a_session_may_come_inside_of_a_call() {
    let client = Client::new().await;
    let (from, to) = files();
    let (near, far): (DuplexStream, DuplexStream) = tokio::io::duplex(64 << 10);
    tokio::spawn(rpc::serve(near, session(from.path().to_owned(), to.path().to_owned())));
    let (mut from_session, mut to_session) = tokio::io::split(far);
    let (sender, queue) = mpsc::channel(4);
    let mut metadata = tonic::metadata::MetadataMap::new();
    metadata.insert("x-docker-expose-session-uuid", "s".parse().unwrap());
    for method in METHODS {
        metadata.append("x-docker-expose-session-grpc-method", method.parse().unwrap());
    }
    let call = client.calls.streaming::<_, proto::BytesMessage, _>("/moby.buildkit.v1.Control/Session", rpc::stream(queue), metadata);
    let mut answers = call.await.unwrap();
    tokio::spawn(async move {
        use tokio::io::AsyncReadExt as _;
        let mut buffer = vec![0; 4096];
        while let Ok(count @ 1..) = from_session.read(&mut buffer).await {
            sender.send(proto::BytesMessage { data: buffer[..count].to_vec() }).await.unwrap();
        }
    });
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        while let Ok(Some(message)) = answers.message().await {
            to_session.write_all(&message.data).await.unwrap();
        }
    });
    let (front, solved) = tokio::join!(client.front_end("ok"), client.solve());
    front.unwrap();
    solved.unwrap();
    same(from.path(), to.path());
}

#[tokio::test]
async fn a_failed_build_says_where() {
    let client = Client::new().await;
    let (front, told, solved) = tokio::join!(client.front_end("fail"), client.status(), client.solve());
    assert!(told.is_empty());
    for status in [front.unwrap_err(), solved.unwrap_err()] {
        assert_eq!((status.code(), status.message()), (Code::Unknown, "no"));
        let details = String::from_utf8_lossy(status.details()).into_owned();
        assert!(details.contains("errdefs.Source+json") && details.contains(r#""start":{"line":1}"#), "{details}");
    }
    // It has ended: who comes late hears so at once.
    assert!(client.status().await.is_empty());
    assert_eq!(client.solve().await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_client_that_gives_up_ends_its_build() {
    let mut client = Client::new().await;
    let mut engine = std::mem::replace(&mut client.dropped, mpsc::unbounded_channel().1);
    {
        let begun = engine.recv();
        let building = async { tokio::join!(client.front_end("forever"), client.solve()) };
        tokio::pin!(building);
        tokio::select! {
            _ = &mut building => panic!("a build without an end has ended"),
            begun = begun => begun.unwrap(),
        }
    }
    engine.recv().await.unwrap();
}

#[tokio::test]
async fn other_calls_are_answered_or_refused() {
    let client = Client::new().await;
    let workers: proto::ListWorkersResponse =
        client.calls.unary("/moby.buildkit.v1.Control/ListWorkers", proto::ListWorkersRequest::default()).await.unwrap();
    assert_eq!(workers.record[0].buildkit_version.as_ref().unwrap().version, "1");
    let refused = client.calls.unary::<_, proto::InfoResponse>("/moby.buildkit.v1.Control/Nothing", proto::InfoRequest {}).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    let nameless = client.calls.unary::<_, frontend::PongResponse>("/moby.buildkit.v1.frontend.LLBBridge/Ping", frontend::PingRequest {});
    assert_eq!(nameless.await.unwrap_err().code(), Code::InvalidArgument);
}
