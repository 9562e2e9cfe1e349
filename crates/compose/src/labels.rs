//! The labels by which Docker Compose knows its own. **Source:** docker/compose, `pkg/api/labels.go`.

/// The project.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service.
pub const SERVICE: &str = "com.docker.compose.service";
/// Number of the container within its service, from 1.
pub const NUMBER: &str = "com.docker.compose.container-number";
/// `True` for a container of `run`.
pub const ONEOFF: &str = "com.docker.compose.oneoff";
/// Random digits of a container of `run`.
pub const SLUG: &str = "com.docker.compose.slug";
/// Hash of what was configured.
pub const HASH: &str = "com.docker.compose.config-hash";
/// Digest of the image that was meant.
pub const IMAGE: &str = "com.docker.compose.image";
/// `db:service_started:false,…`: what the service depends on.
pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// The project's folder.
pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// The project's files.
pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// The project's environment files.
pub const ENVIRONMENT_FILE: &str = "com.docker.compose.project.environment_file";
/// Version of what made it.
pub const VERSION: &str = "com.docker.compose.version";
/// The container that this one shall replace.
pub const REPLACE: &str = "com.docker.compose.replace";
/// Key of a network.
pub const NETWORK: &str = "com.docker.compose.network";
/// Key of a volume.
pub const VOLUME: &str = "com.docker.compose.volume";
/// What the service was, in canonical form: it tells which field differs. Our own.
pub const CONFIG: &str = "io.teu.compose.service";

/// The Docker Compose whose labels, names and hashes these are.
pub const COMPOSE_VERSION: &str = "5.6.1";
