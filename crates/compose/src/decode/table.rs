//! The table: what each attribute becomes; texts are not listed.

/// What an attribute becomes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cast {
    /// A text.
    Text,
    Bool,
    Int,
    Float,
    /// A number of bytes, also as `5m`.
    Bytes,
    Duration,
    /// Words of a command line, or a list.
    Words,
    /// Words of a check: a text is for a shell.
    Test,
    /// A text or a list of texts.
    Texts,
    /// `key=value` as list or map.
    Mapping,
    /// `key[=value]` as list or map.
    Optional,
    /// Each option may have several values.
    Options,
    Hosts,
    Mode,
    Count,
    /// Keys of an SSH agent.
    Keys,
    /// A group of attributes.
    Record(&'static [(&'static str, Cast)]),
    /// A list of groups.
    List(&'static [(&'static str, Cast)]),
    /// A map of groups; null stays null.
    Named(&'static [(&'static str, Cast)]),
    /// Limits: numbers or groups.
    Limits,
}

use Cast::{
    Bool, Bytes, Count, Duration as Span, Float, Hosts, Int, Keys, Limits, List, Mapping, Mode, Named, Optional, Options, Record, Test,
    Texts, Words,
};

pub(super) type Table = &'static [(&'static str, Cast)];

/// Attributes that are not plain texts; those are not listed.
pub(super) const CONTAINER: Table = &[
    ("annotations", Mapping),
    ("blkio_config", Record(BLKIO)),
    ("cap_add", Texts),
    ("cap_drop", Texts),
    ("command", Words),
    ("configs", List(REFERENCE)),
    ("cpu_count", Int),
    ("cpu_percent", Float),
    ("cpu_period", Int),
    ("cpu_quota", Int),
    ("cpu_rt_period", Int),
    ("cpu_rt_runtime", Int),
    ("cpu_shares", Int),
    ("cpus", Float),
    ("credential_spec", Record(&[])),
    ("device_cgroup_rules", Texts),
    ("devices", List(&[])),
    ("dns", Texts),
    ("dns_opt", Texts),
    ("dns_search", Texts),
    ("entrypoint", Words),
    ("env_file", List(&[("required", Bool)])),
    ("environment", Optional),
    ("extra_hosts", Hosts),
    ("gpus", List(REQUEST)),
    ("group_add", Texts),
    ("init", Bool),
    ("label_file", Texts),
    ("labels", Mapping),
    ("logging", Record(&[("options", Mapping)])),
    ("mem_limit", Bytes),
    ("mem_reservation", Bytes),
    ("mem_swappiness", Bytes),
    ("memswap_limit", Bytes),
    ("models", Named(&[])),
    (
        "networks",
        Named(&[("aliases", Texts), ("driver_opts", Mapping), ("gw_priority", Int), ("link_local_ips", Texts), ("priority", Int)]),
    ),
    ("oom_kill_disable", Bool),
    ("oom_score_adj", Int),
    ("pids_limit", Int),
    ("privileged", Bool),
    ("read_only", Bool),
    ("secrets", List(REFERENCE)),
    ("security_opt", Texts),
    ("shm_size", Bytes),
    ("stop_grace_period", Span),
    ("storage_opt", Mapping),
    ("sysctls", Mapping),
    ("tmpfs", Texts),
    ("ulimits", Limits),
    ("use_api_socket", Bool),
    (
        "volumes",
        List(&[
            ("read_only", Bool),
            ("bind", Record(&[("create_host_path", Bool)])),
            ("volume", Record(&[("nocopy", Bool), ("labels", Mapping)])),
            ("tmpfs", Record(&[("size", Bytes), ("mode", Int)])),
            ("image", Record(&[])),
        ]),
    ),
    ("volumes_from", Texts),
    // What services and jobs have beyond a container.
    ("build", Record(BUILD)),
    ("depends_on", Named(&[("required", Bool), ("restart", Bool)])),
    ("expose", Texts),
    (
        "healthcheck",
        Record(&[
            ("disable", Bool),
            ("interval", Span),
            ("retries", Int),
            ("start_interval", Span),
            ("start_period", Span),
            ("test", Test),
            ("timeout", Span),
        ]),
    ),
    ("ports", List(&[("target", Int)])),
    ("stdin_open", Bool),
    ("tty", Bool),
    // What services have beyond jobs.
    ("attach", Bool),
    ("deploy", Record(DEPLOY)),
    ("develop", Record(&[("watch", List(&[("exec", Record(HOOK)), ("ignore", Texts), ("include", Texts), ("initial_sync", Bool)]))])),
    ("extends", Record(&[])),
    ("external_links", Texts),
    ("links", Texts),
    ("per_replica", Bool),
    ("post_start", List(HOOK)),
    ("pre_stop", List(HOOK)),
    ("profiles", Texts),
    ("provider", Record(&[("options", Options)])),
    ("scale", Int),
    ("triggers", Record(&[("manual", Bool), ("schedule", List(&[]))])),
];

const HOOK: Table = &[("command", Words), ("environment", Optional), ("privileged", Bool), ("per_replica", Bool)];

const REFERENCE: Table = &[("mode", Mode)];

const REQUEST: Table = &[("capabilities", Texts), ("count", Count), ("device_ids", Texts), ("options", Mapping)];

const RATE: Table = &[("rate", Bytes)];

const BLKIO: Table = &[
    ("device_read_bps", List(RATE)),
    ("device_read_iops", List(RATE)),
    ("device_write_bps", List(RATE)),
    ("device_write_iops", List(RATE)),
    ("weight", Int),
    ("weight_device", List(&[("weight", Int)])),
];

const BUILD: Table = &[
    ("additional_contexts", Mapping),
    ("args", Optional),
    ("cache_from", Texts),
    ("cache_to", Texts),
    ("entitlements", Texts),
    ("extra_hosts", Hosts),
    ("labels", Mapping),
    ("no_cache", Bool),
    ("no_cache_filter", Texts),
    ("platforms", Texts),
    ("privileged", Bool),
    ("pull", Bool),
    ("secrets", List(REFERENCE)),
    ("shm_size", Bytes),
    ("ssh", Keys),
    ("tags", Texts),
    ("ulimits", Limits),
];

const UPDATE: Table = &[("delay", Span), ("max_failure_ratio", Float), ("monitor", Span), ("parallelism", Int)];

const RESOURCE: Table = &[
    ("cpus", Float),
    ("devices", List(REQUEST)),
    ("generic_resources", List(&[("discrete_resource_spec", Record(&[("value", Int)]))])),
    ("memory", Bytes),
    ("pids", Int),
];

const DEPLOY: Table = &[
    ("labels", Mapping),
    ("placement", Record(&[("constraints", Texts), ("max_replicas_per_node", Int), ("preferences", List(&[]))])),
    ("replicas", Int),
    ("resources", Record(&[("limits", Record(RESOURCE)), ("reservations", Record(RESOURCE))])),
    ("restart_policy", Record(&[("delay", Span), ("max_attempts", Int), ("window", Span)])),
    ("rollback_config", Record(UPDATE)),
    ("update_config", Record(UPDATE)),
];

const NETWORK: Table = &[
    ("attachable", Bool),
    ("driver_opts", Mapping),
    ("enable_ipv4", Bool),
    ("enable_ipv6", Bool),
    ("external", Bool),
    ("internal", Bool),
    ("ipam", Record(&[("config", List(&[("aux_addresses", Mapping)])), ("options", Mapping)])),
    ("labels", Mapping),
];

const SHARED: Table = &[("driver_opts", Mapping), ("external", Bool), ("labels", Mapping)];

const MODEL: Table = &[("context_size", Int), ("runtime_flags", Texts)];

/// The sections of a file.
pub(super) const SECTIONS: [(&str, Table); 7] = [
    ("services", CONTAINER),
    ("jobs", CONTAINER),
    ("networks", NETWORK),
    ("volumes", SHARED),
    ("secrets", SHARED),
    ("configs", SHARED),
    ("models", MODEL),
];
