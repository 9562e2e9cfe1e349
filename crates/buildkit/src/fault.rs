//! Errors with the place in the Dockerfile that they come from.

use base64::Engine as _;
use bollard_buildkit_proto::google::protobuf::Any;
use bollard_buildkit_proto::google::rpc;
use prost::Message as _;
use serde_json::json;
use tonic::{Code, Status};

/// Says why a build failed, and where in which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub message: String,
    /// The vertex that failed.
    pub vertex: Option<String>,
    /// Name and bytes of the file.
    pub file: Option<(String, Vec<u8>)>,
    /// First and last line, from 1; 0 is no line.
    pub lines: (usize, usize),
}

impl Fault {
    /// The error as clients of BuildKit read it: they print the lines of the file. Its details are JSON.
    ///
    /// **Source:** moby/buildkit, `util/grpcerrors` and `solver/errdefs/errdefs.proto`.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut details = Vec::new();
        let mut add = |kind: &str, json: serde_json::Value| {
            let type_url = format!("github.com/moby/buildkit/errdefs.{kind}+json");
            details.push(Any { type_url, value: json.to_string().into_bytes() });
        };
        if let Some(vertex) = &self.vertex {
            add("Vertex", json!({"digest": vertex}));
        }
        if let (Some((name, bytes)), (first @ 1.., last)) = (&self.file, self.lines) {
            let info = json!({"filename": name, "data": base64::engine::general_purpose::STANDARD.encode(bytes), "language": "Dockerfile"});
            let range = json!({"start": {"line": first}, "end": {"line": last.max(first)}});
            add("Source", json!({"info": info, "ranges": [range]}));
        }
        let code = Code::Unknown;
        let whole = rpc::Status { code: i32::from(code), message: self.message.clone(), details };
        Status::with_details(code, self.message.clone(), whole.encode_to_vec().into())
    }
}

/// A status with its details, as a client sent it back.
pub(crate) fn returned(error: &rpc::Status) -> Status {
    Status::with_details(Code::from_i32(error.code), error.message.clone(), error.encode_to_vec().into())
}
