//! BuildKit's wire: the services that its clients call, and the session through which a client is called back.
//!
//! Nothing is known here of builders, images or disks beyond a directory that files are put in: an [`Engine`] does the work.
//! **Source:** moby/buildkit, `api/services/control`, `frontend/gateway/pb` and `session`.

mod build;
mod control;
mod engine;
mod fault;
mod files;
mod rpc;
mod session;
#[cfg(test)]
mod tests;

pub use bollard_buildkit_proto::moby::buildkit::v1 as proto;
pub use bollard_buildkit_proto::pb;
pub use build::{Build, Vertex};
pub use control::Doors;
pub use engine::{Answer, Ask, Engine, Solved, private_image};
pub use fault::Fault;
pub use files::Wanted;
pub use session::{Session, Sessions};
pub use tonic::{Code, Status};

/// The time as messages have it.
#[must_use]
pub fn now() -> bollard_buildkit_proto::google::protobuf::Timestamp {
    let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    bollard_buildkit_proto::google::protobuf::Timestamp { seconds, nanos: i32::try_from(age.subsec_nanos()).unwrap_or_default() }
}
