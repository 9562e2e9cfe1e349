//! Commands around the life of a container, and what is done when files change.

use super::{ContainerSpec, OptionalMapping, Words, record, zero};

record! {
    /// A command in the running container.
    Hook {
        command: Words,
        image: String,
        user: String,
        privileged: bool,
        working_dir: String,
        environment: OptionalMapping,
        per_replica: bool,
    }
}

record! {
    /// A container that runs to its end before the service starts.
    PreStartHook {
        /// What any container has; taken from the service where it is not given.
        #[serde(flatten)]
        container: ContainerSpec,
        /// Whether it runs once for each container of the service.
        per_replica: bool,
    }
}

record! {
    /// What is done while somebody works on a service.
    Develop {
        watch: Vec<WatchTrigger>,
    }
}

/// What is done when files below a path change.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct WatchTrigger {
    /// The file or folder.
    pub path: String,
    /// `sync`, `rebuild`, `restart`, `sync+restart` or `sync+exec`.
    pub action: String,
    /// Where it goes in the container.
    #[serde(skip_serializing_if = "super::Zero::is_zero")]
    pub target: String,
    /// What is run afterwards.
    pub exec: Hook,
    /// Patterns of what counts.
    #[serde(skip_serializing_if = "super::Zero::is_zero")]
    pub include: Vec<String>,
    /// Patterns of what does not count.
    #[serde(skip_serializing_if = "super::Zero::is_zero")]
    pub ignore: Vec<String>,
    /// Whether all is copied at the begin.
    #[serde(skip_serializing_if = "super::Zero::is_zero")]
    pub initial_sync: bool,
    /// Attributes that begin with `x-`.
    #[serde(rename = "#extensions", skip_serializing_if = "super::Zero::is_zero")]
    pub extensions: super::Extensions,
}

zero! {
    Hook => |_| false,
}
