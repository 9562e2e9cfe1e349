//! Docker Compose's configuration hash: whether a container, network or volume still is what the file says.
//!
//! **Source:** the hashes that Docker Compose 5.6.1 prints; a golden test compares them.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use sha2::{Digest, Sha256};

use crate::emit::compact_json;
use crate::error::Error;
use crate::model::{Network, Service, Volume};
use crate::print::{Form, Shown, shape};

/// The digest of a member of a section, printed in JSON.
fn digest(section: &str, member: Shown) -> String {
    let mut wrapped = Shown::Map(vec![(section.to_owned(), Shown::Map(vec![(String::new(), member)]))]);
    shape(&mut wrapped, Form::Json);
    let Shown::Map(mut sections) = wrapped else {
        return String::new();
    };
    let Some((_, Shown::Map(mut members))) = sections.pop() else {
        return String::new();
    };
    let text = members.pop().map(|(_, member)| compact_json(&member)).unwrap_or_default();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The order of a service's attributes in the hash: that of Docker Compose before 5.6, which put them into another
/// order for printing and kept this one, so that no container is replaced by an upgrade.
const ORDER: [&str; 92] = [
    "annotations",
    "attach",
    "build",
    "develop",
    "blkio_config",
    "cap_add",
    "cap_drop",
    "cgroup_parent",
    "cgroup",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpus",
    "cpuset",
    "cpu_shares",
    "command",
    "configs",
    "container_name",
    "credential_spec",
    "depends_on",
    "deploy",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "provider",
    "environment",
    "env_file",
    "expose",
    "extends",
    "external_links",
    "extra_hosts",
    "group_add",
    "gpus",
    "hostname",
    "healthcheck",
    "image",
    "init",
    "ipc",
    "isolation",
    "labels",
    "label_file",
    "links",
    "logging",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "mem_swappiness",
    "mac_address",
    "models",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "privileged",
    "pull_policy",
    "read_only",
    "restart",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "user",
    "userns_mode",
    "uts",
    "volumes",
    "volumes_from",
    "working_dir",
    "pre_start",
    "post_start",
    "pre_stop",
    "pull_refresh_after",
];

impl Service {
    /// The hash of what its containers are made of; how many there are, how the image is built and what is waited
    /// for does not count.
    ///
    /// # Errors
    /// None that a loaded service can have.
    pub fn config_hash(&self) -> Result<String, Error> {
        let mut service = self.clone();
        service.workload.build = None;
        service.container.pull_policy.clear();
        service.scale = None;
        if let Some(deploy) = &mut service.deploy {
            deploy.replicas = None;
        }
        service.workload.depends_on.clear();
        service.profiles.clear();
        let mut shown = Shown::of(&service)?;
        if let Shown::Map(map) = &mut shown {
            map.sort_by_key(|(key, _)| ORDER.iter().position(|known| known == key));
        }
        Ok(digest("services", shown))
    }
}

impl Network {
    /// The hash of the network's attributes.
    ///
    /// # Errors
    /// None that a loaded network can have.
    pub fn config_hash(&self) -> Result<String, Error> {
        Ok(digest("networks", Shown::of(self)?))
    }
}

impl Volume {
    /// The hash of the volume's attributes.
    ///
    /// # Errors
    /// None that a loaded volume can have.
    pub fn config_hash(&self) -> Result<String, Error> {
        let mut volume = self.clone();
        if volume.driver.is_empty() {
            "local".clone_into(&mut volume.driver);
        }
        Ok(digest("volumes", Shown::of(&volume)?))
    }
}
