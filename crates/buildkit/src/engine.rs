//! What this wire needs of who builds.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::types::WorkerRecord;
use bollard_buildkit_proto::moby::buildkit::v1::{CacheOptionsEntry, Exporter, UsageRecord};
use bollard_buildkit_proto::pb;
use prost::Message as _;
use tonic::Status;

use crate::build::Build;

/// An answer that takes time; dropping it ends the work.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;

/// Builds, and keeps what was built.
pub trait Engine: Send + Sync + 'static {
    /// What this engine can do.
    fn worker(&self) -> WorkerRecord;
    /// Builds what a front end is asked for.
    fn solve(&self, build: Arc<Build>, ask: Ask) -> Answer<Solved>;
    /// Brings a result to where the client wants it; answers what the client may know of it.
    fn export(&self, build: Arc<Build>, result: Solved, exporters: Vec<Exporter>) -> Answer<HashMap<String, String>>;
    /// What is kept for later builds.
    fn usage(&self) -> Answer<Vec<UsageRecord>>;
    /// Deletes what is kept and was not used for `unused` nanoseconds; answers what has gone.
    fn prune(&self, all: bool, unused: i64) -> Answer<Vec<UsageRecord>>;
}

/// What a front end is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// The front end's name, such as `dockerfile.v0`.
    pub frontend: String,
    /// Its options.
    pub options: HashMap<String, String>,
    /// Results of other builds, by the names of contexts: the ids of [`private_image`].
    pub inputs: HashMap<String, String>,
    /// Caches to take results from.
    pub caches: Vec<CacheOptionsEntry>,
}

/// A result: images by platform, and what else is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Solved {
    /// Ids of images, each with its platform where there are several or one was asked for.
    pub images: Vec<(Option<String>, String)>,
    /// Answers of the front end by key.
    pub metadata: HashMap<String, Vec<u8>>,
}

/// How an image of this engine is called in a definition.
const IMAGE: &str = "teu-image://";

/// A definition that stands for an image of this engine: what one build returns, another takes as an input.
///
/// **Source:** moby/buildkit, `client/llb.NewDefinitionOp`: the last operation names the one that is meant.
#[must_use]
pub fn private_image(id: &str) -> pb::Definition {
    let source = pb::SourceOp { identifier: format!("{IMAGE}{id}"), attrs: std::collections::BTreeMap::new() };
    let source = pb::Op { op: Some(pb::op::Op::Source(source)), ..pb::Op::default() }.encode_to_vec();
    let input = pb::Input { digest: digest(&source), index: 0 };
    let last = pb::Op { inputs: vec![input], ..pb::Op::default() }.encode_to_vec();
    let metadata = [&source, &last].into_iter().map(|op| (digest(op), pb::OpMetadata::default())).collect();
    pb::Definition { def: vec![source, last], metadata, source: None }
}

/// The image that a definition stands for.
pub(crate) fn image_of(definition: &pb::Definition) -> Option<String> {
    definition.def.iter().find_map(|bytes| {
        let op = pb::Op::decode(bytes.as_slice()).ok()?;
        let Some(pb::op::Op::Source(source)) = op.op else { return None };
        source.identifier.strip_prefix(IMAGE).map(str::to_owned)
    })
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(bytes);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_image_is_found_again_in_its_definition() {
        assert_eq!(super::image_of(&super::private_image("sha256:ab")).as_deref(), Some("sha256:ab"));
        assert_eq!(super::image_of(&Default::default()), None);
    }
}
