//! One build: what the calls about it have in common.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{self as proto, SolveRequest, StatusResponse};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::engine::{Solved, digest};
use crate::now;
use crate::session::{Session, Sessions};

/// What is told of a build and waits for a client.
const TOLD_MAX: usize = 256;
/// Builds that have ended and are remembered, for calls that come late.
const ENDED_MAX: usize = 128;

/// A build as its client sees it.
#[derive(Debug)]
pub struct Build {
    /// The client's name of it.
    pub id: String,
    /// The client's request, once it came.
    request: watch::Sender<Option<Arc<SolveRequest>>>,
    told: mpsc::Sender<StatusResponse>,
    listener: Mutex<Option<mpsc::Receiver<StatusResponse>>>,
    /// Whether somebody listens: else nothing waits for room.
    heard: AtomicBool,
    /// Results by the names that the client knows.
    results: Mutex<HashMap<String, Solved>>,
    /// What the client says to be the result.
    returned: watch::Sender<Option<Result<String, Status>>>,
    ended: watch::Sender<bool>,
    serial: AtomicUsize,
    sessions: Arc<Sessions>,
}

/// One step as its client sees it.
#[derive(Clone, Debug)]
pub struct Vertex {
    build: Arc<Build>,
    /// Its name among all steps.
    pub digest: String,
    name: String,
    started: Timestamp,
}

impl Build {
    /// The client's session.
    ///
    /// # Errors
    /// It did not come, or has gone.
    pub async fn session(&self, named: Option<&str>) -> Result<Arc<Session>, Status> {
        let request = self.request().await?;
        self.sessions.get(named.unwrap_or(&request.session)).await
    }

    /// The client's request; calls about a build may come before it.
    pub(crate) async fn request(&self) -> Result<Arc<SolveRequest>, Status> {
        let mut request = self.request.subscribe();
        let waited = tokio::time::timeout(std::time::Duration::from_secs(10), request.wait_for(Option::is_some)).await;
        let unknown = || Status::not_found(format!("no such job {}", self.id));
        let found = waited.map_err(|_| unknown())?.map_err(|_| unknown())?;
        found.clone().ok_or_else(unknown)
    }

    pub(crate) fn begin(&self, request: SolveRequest) -> Result<Arc<SolveRequest>, Status> {
        if self.request.borrow().is_some() {
            return Err(Status::already_exists(format!("job {} already exists", self.id)));
        }
        let request = Arc::new(request);
        self.request.send_replace(Some(Arc::clone(&request)));
        Ok(request)
    }

    /// Tells the client; waits while it is slow, and not at all where nobody listens.
    pub async fn tell(&self, status: StatusResponse) {
        if self.heard.load(Ordering::Acquire) {
            // A listener that has gone hears no more.
            let _ = self.told.send(status).await;
        } else {
            let _ = self.told.try_send(status);
        }
    }

    /// Begins a step.
    pub async fn vertex(self: &Arc<Self>, name: &str) -> Vertex {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let digest = digest(format!("{} {serial}", self.id).as_bytes());
        let vertex = Vertex { build: Arc::clone(self), digest, name: name.to_owned(), started: now() };
        self.tell(StatusResponse { vertexes: vec![vertex.proto()], ..StatusResponse::default() }).await;
        vertex
    }

    /// What is told of this build, for the first that asks.
    pub(crate) fn listen(&self) -> Option<mpsc::Receiver<StatusResponse>> {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if listener.is_some() {
            self.heard.store(true, Ordering::Release);
        }
        listener
    }

    pub(crate) fn keep(&self, solved: Solved) -> String {
        let name = format!("{}-{}", self.id, self.serial.fetch_add(1, Ordering::Relaxed));
        self.results.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), solved);
        name
    }

    pub(crate) fn result(&self, name: &str) -> Option<Solved> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Says what the client returned: the name of a result, or why there is none.
    pub(crate) fn give_back(&self, result: Result<String, Status>) {
        self.returned.send_replace(Some(result));
    }

    pub(crate) async fn given_back(&self) -> Result<String, Status> {
        let mut returned = self.returned.subscribe();
        let gone = || Status::cancelled("the build was given up");
        let given = returned.wait_for(Option::is_some).await.map_err(|_| gone())?;
        given.clone().ok_or_else(gone)?
    }

    pub(crate) async fn wait_end(&self) {
        // Never an error: the sender lives as long as the build.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }
}

impl Vertex {
    fn proto(&self) -> proto::Vertex {
        proto::Vertex { digest: self.digest.clone(), name: self.name.clone(), started: Some(self.started), ..proto::Vertex::default() }
    }

    async fn end(&self, change: impl FnOnce(&mut proto::Vertex)) {
        let mut vertex = proto::Vertex { completed: Some(now()), ..self.proto() };
        change(&mut vertex);
        self.build.tell(StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() }).await;
    }

    /// It is done.
    pub async fn done(&self) {
        self.end(|_| {}).await;
    }

    /// Its result was there already.
    pub async fn cached(&self) {
        self.end(|vertex| vertex.cached = true).await;
    }

    /// It failed.
    pub async fn failed(&self, reason: &str) {
        self.end(|vertex| reason.clone_into(&mut vertex.error)).await;
    }

    /// Output of it. `stream` is 1 or 2, as the command's descriptor.
    pub async fn log(&self, stream: i64, msg: Vec<u8>) {
        let log = proto::VertexLog { vertex: self.digest.clone(), timestamp: Some(now()), stream, msg };
        self.build.tell(StatusResponse { logs: vec![log], ..StatusResponse::default() }).await;
    }

    /// Something to know.
    pub async fn warning(&self, warning: proto::VertexWarning) {
        let warning = proto::VertexWarning { vertex: self.digest.clone(), ..warning };
        self.build.tell(StatusResponse { warnings: vec![warning], ..StatusResponse::default() }).await;
    }

    /// How far a part of it is; nothing waits for this.
    pub fn part(&self, name: &str, current: u64, total: Option<u64>, done: bool) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let status = proto::VertexStatus {
            id: name.to_owned(),
            vertex: self.digest.clone(),
            name: name.to_owned(),
            current: number(current),
            total: number(total.unwrap_or_default()),
            timestamp: Some(now()),
            started: Some(self.started),
            completed: done.then(now),
        };
        // The next one says more.
        let _ = self.build.told.try_send(StatusResponse { statuses: vec![status], ..StatusResponse::default() });
    }
}

/// All builds that go on, and the names of some that have ended.
#[derive(Debug, Default)]
pub(crate) struct Builds {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    open: HashMap<String, Arc<Build>>,
    /// Names, the oldest first.
    ended: VecDeque<String>,
}

impl Builds {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The build of a name, which any call may be the first to tell of; none if it has ended.
    pub(crate) fn find(&self, id: &str, sessions: &Arc<Sessions>) -> Option<Arc<Build>> {
        let Known { open, ended } = &mut *self.lock();
        if ended.iter().any(|ended| ended == id) {
            return None;
        }
        let build = open.entry(id.to_owned()).or_insert_with(|| {
            let (told, listener) = mpsc::channel(TOLD_MAX);
            Arc::new(Build {
                id: id.to_owned(),
                request: watch::Sender::new(None),
                told,
                listener: Mutex::new(Some(listener)),
                heard: AtomicBool::new(false),
                results: Mutex::default(),
                returned: watch::Sender::new(None),
                ended: watch::Sender::new(false),
                serial: AtomicUsize::new(1),
                sessions: Arc::clone(sessions),
            })
        });
        Some(Arc::clone(build))
    }

    /// Forgets a build, all but its name.
    pub(crate) fn end(&self, build: &Build) {
        build.end();
        let Known { open, ended } = &mut *self.lock();
        if open.remove(&build.id).is_some() {
            ended.push_back(build.id.clone());
            if ended.len() > ENDED_MAX {
                ended.pop_front();
            }
        }
    }

    /// Forgets a build of which calls told, but which nobody began.
    pub(crate) fn never_began(&self, build: &Build) {
        if build.request.borrow().is_none() {
            build.end();
            self.lock().open.remove(&build.id);
        }
    }
}
