//! The table: every attribute of a Compose file and what it may hold.
//!
//! **Source:** the Compose Specification, `compose-spec.json`, as of Docker Compose 5.6.1.

use super::Shape::{
    Any, Bool, Either, Form, Int, List, Map, Named, Null, Number, Optional, Plain, Record as Group, Scalar, Set, Text, Truth, Whole, Words,
};
use super::{Record, Shape};

type Part = &'static [(&'static str, Shape)];

/// A closed group that takes attributes `x-…`.
const fn open(parts: &'static [Part], required: &'static [&'static str]) -> Record {
    Record { parts, required, extensions: true }
}

/// A closed group.
const fn closed(parts: &'static [Part], required: &'static [&'static str]) -> Record {
    Record { parts, required, extensions: false }
}

const STRINGS: Shape = Set(&Text);
const STRING_OR_LIST: Shape = Either(&[Text, STRINGS]);
const TEXTS: Shape = List(&Text);
const PAIRS: Shape = Either(&[Map(&Optional), STRINGS]);
const COMMAND: Shape = Either(&[Null, Text, TEXTS]);
const WHOLE: Shape = Int(i64::MIN, i64::MAX);
const OPTIONS: Shape = Map(&Plain);
const HOSTS: Shape = Either(&[Map(&Either(&[Text, TEXTS])), STRINGS]);
const LIMITS: Shape = Map(&Either(&[WHOLE, Group(&open(&[&[("hard", WHOLE), ("soft", WHOLE)]], &["soft", "hard"]))]));
const REFERENCES: Shape =
    List(&Either(&[Text, Group(&open(&[&[("source", Text), ("target", Text), ("uid", Text), ("gid", Text), ("mode", Number)]], &[]))]));
const EXTERNAL: Shape = Either(&[Bool, Group(&open(&[&[("name", Text)]], &[]))]);
const RATES: Shape = List(&Group(&closed(&[&[("path", Text), ("rate", WHOLE)]], &[])));
const REQUEST: Part = &[("capabilities", STRINGS), ("count", WHOLE), ("device_ids", STRINGS), ("driver", Text), ("options", PAIRS)];

/// A file.
pub(super) static FILE: Record = open(
    &[&[
        ("version", Text),
        ("name", Text),
        ("include", Any),
        ("services", Named(&Group(&SERVICE))),
        ("models", Named(&Group(&MODEL))),
        ("networks", Named(&Either(&[Null, Group(&NETWORK)]))),
        ("volumes", Named(&Either(&[Null, Group(&VOLUME)]))),
        ("secrets", Named(&Group(&SECRET))),
        ("configs", Named(&Group(&CONFIG))),
        ("jobs", Named(&Group(&JOB))),
    ]],
    &[],
);

static SERVICE: Record = open(&[SERVICE_ONLY, CONTAINER, WORKLOAD], &[]);
static JOB: Record = open(&[JOB_ONLY, CONTAINER, WORKLOAD], &["triggers"]);
static PRE_START: Record = open(&[&[("per_replica", Bool)], CONTAINER], &[]);
static HOOK: Record =
    open(&[&[("command", COMMAND), ("user", Text), ("privileged", Bool), ("working_dir", Text), ("environment", PAIRS)]], &["command"]);

const SERVICE_ONLY: Part = &[
    ("deploy", Either(&[Null, Group(&DEPLOY)])),
    ("develop", Either(&[Null, Group(&DEVELOP)])),
    ("profiles", STRINGS),
    ("restart", Text),
    ("scale", WHOLE),
    ("attach", Bool),
    ("container_name", Form(container_name, "a container's name: letters, digits, `_`, `.` and `-`")),
    ("provider", Group(&open(&[&[("type", Text), ("options", Map(&Either(&[Scalar, List(&Scalar)])))]], &["type"]))),
    ("extends", Either(&[Text, Group(&closed(&[&[("service", Text), ("file", Text)]], &["service"]))])),
    ("links", STRINGS),
    ("external_links", STRINGS),
    ("pre_start", List(&Group(&PRE_START))),
    ("post_start", List(&Group(&HOOK))),
    ("pre_stop", List(&Group(&HOOK))),
];

const JOB_ONLY: Part = &[
    ("profiles", STRINGS),
    (
        "triggers",
        Group(&open(
            &[&[
                ("manual", Bool),
                (
                    "schedule",
                    List(&Either(&[
                        Text,
                        Group(&open(
                            &[&[
                                ("cron", Text),
                                ("timezone", Text),
                                ("concurrency", Words(&["forbid", "queue"])),
                                ("missed_fires", Words(&["one", "skip"])),
                            ]],
                            &["cron"],
                        )),
                    ])),
                ),
            ]],
            &[],
        )),
    ),
];

const CONTAINER: Part = &[
    ("annotations", PAIRS),
    (
        "blkio_config",
        Group(&closed(
            &[&[
                ("device_read_bps", RATES),
                ("device_read_iops", RATES),
                ("device_write_bps", RATES),
                ("device_write_iops", RATES),
                ("weight", WHOLE),
                ("weight_device", List(&Group(&closed(&[&[("path", Text), ("weight", WHOLE)]], &[])))),
            ]],
            &[],
        )),
    ),
    ("cap_add", STRINGS),
    ("cap_drop", STRINGS),
    ("cgroup", Words(&["host", "private"])),
    ("cgroup_parent", Text),
    ("command", COMMAND),
    ("configs", REFERENCES),
    ("cpu_count", Int(0, i64::MAX)),
    ("cpu_percent", Int(0, 100)),
    ("cpu_shares", Number),
    ("cpu_quota", Number),
    ("cpu_period", Number),
    ("cpu_rt_period", Number),
    ("cpu_rt_runtime", Number),
    ("cpus", Number),
    ("cpuset", Text),
    ("credential_spec", Group(&open(&[&[("config", Text), ("file", Text), ("registry", Text)]], &[]))),
    ("device_cgroup_rules", STRINGS),
    ("devices", List(&Either(&[Text, Group(&open(&[&[("source", Text), ("target", Text), ("permissions", Text)]], &["source"]))]))),
    ("dns", STRING_OR_LIST),
    ("dns_opt", STRINGS),
    ("dns_search", STRING_OR_LIST),
    ("domainname", Text),
    ("entrypoint", COMMAND),
    ("env_file", ENV_FILE),
    ("label_file", Either(&[Text, TEXTS])),
    ("environment", PAIRS),
    ("extra_hosts", HOSTS),
    ("gpus", Either(&[Words(&["all"]), List(&Group(&open(&[REQUEST], &[])))])),
    ("group_add", Set(&Plain)),
    ("hostname", Text),
    ("image", Text),
    ("init", Bool),
    ("ipc", Text),
    ("isolation", Text),
    ("labels", PAIRS),
    ("logging", Group(&open(&[&[("driver", Text), ("options", Map(&Either(&[Plain, Null])))]], &[]))),
    ("mac_address", Text),
    ("mem_limit", Number),
    ("mem_reservation", WHOLE),
    ("mem_swappiness", WHOLE),
    ("memswap_limit", Number),
    ("network_mode", Text),
    ("models", Either(&[STRINGS, Named(&Either(&[Null, Group(&open(&[&[("endpoint_var", Text), ("model_var", Text)]], &[]))]))])),
    ("networks", Either(&[STRINGS, Named(&Either(&[Null, Group(&MEMBERSHIP)]))])),
    ("oom_kill_disable", Bool),
    ("oom_score_adj", Int(-1000, 1000)),
    ("pid", Either(&[Text, Null])),
    ("pids_limit", Number),
    ("platform", Text),
    ("privileged", Bool),
    ("pull_policy", Form(pull_policy, "a pull policy: always, never, build, missing, refresh, daily, weekly or every_12h")),
    ("pull_refresh_after", Text),
    ("read_only", Bool),
    ("runtime", Text),
    ("security_opt", STRINGS),
    ("shm_size", Number),
    ("secrets", REFERENCES),
    ("sysctls", PAIRS),
    ("stop_grace_period", Text),
    ("stop_signal", Text),
    ("storage_opt", Map(&Any)),
    ("tmpfs", STRING_OR_LIST),
    ("ulimits", LIMITS),
    ("use_api_socket", Truth),
    ("user", Text),
    ("uts", Text),
    ("userns_mode", Text),
    ("volumes", Set(&Either(&[Text, Group(&MOUNT)]))),
    ("volumes_from", STRINGS),
    ("working_dir", Text),
];

static MEMBERSHIP: Record = open(
    &[&[
        ("aliases", STRINGS),
        ("interface_name", Text),
        ("ipv4_address", Text),
        ("ipv6_address", Text),
        ("link_local_ips", STRINGS),
        ("mac_address", Text),
        ("driver_opts", OPTIONS),
        ("priority", Number),
        ("gw_priority", Number),
    ]],
    &[],
);

static MOUNT: Record = open(
    &[&[
        ("type", Words(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"])),
        ("source", Text),
        ("target", Text),
        ("read_only", Bool),
        ("consistency", Text),
        (
            "bind",
            Group(&open(
                &[&[
                    ("propagation", Text),
                    ("create_host_path", Bool),
                    ("recursive", Words(&["enabled", "disabled", "writable", "readonly"])),
                    ("selinux", Words(&["z", "Z"])),
                ]],
                &[],
            )),
        ),
        ("volume", Group(&open(&[&[("labels", PAIRS), ("nocopy", Bool), ("subpath", Text)]], &[]))),
        ("tmpfs", Group(&open(&[&[("size", Int(0, i64::MAX)), ("mode", Number)]], &[]))),
        ("image", Group(&open(&[&[("subpath", Text)]], &[]))),
    ]],
    &["type"],
);

const ENV_FILE: Shape =
    Either(&[Text, List(&Either(&[Text, Group(&closed(&[&[("path", Text), ("format", Text), ("required", Bool)]], &["path"]))]))]);

const WORKLOAD: Part = &[
    ("build", Either(&[Text, Group(&BUILD)])),
    ("depends_on", Either(&[STRINGS, Named(&Group(&DEPENDENCY))])),
    (
        "healthcheck",
        Group(&open(
            &[&[
                ("disable", Bool),
                ("interval", Text),
                ("retries", Number),
                ("test", Either(&[Text, TEXTS])),
                ("timeout", Text),
                ("start_period", Text),
                ("start_interval", Text),
            ]],
            &[],
        )),
    ),
    ("ports", Set(&Either(&[Plain, Group(&PORT)]))),
    ("expose", Set(&Plain)),
    ("stdin_open", Bool),
    ("tty", Bool),
];

static DEPENDENCY: Record = open(
    &[&[
        ("restart", Bool),
        ("required", Truth),
        ("condition", Words(&["service_started", "service_healthy", "service_completed_successfully"])),
    ]],
    &["condition"],
);

static PORT: Record = open(
    &[&[
        ("name", Text),
        ("mode", Text),
        ("host_ip", Text),
        ("target", WHOLE),
        ("published", WHOLE),
        ("protocol", Text),
        ("app_protocol", Text),
    ]],
    &[],
);

static BUILD: Record = open(
    &[&[
        ("context", Text),
        ("dockerfile", Text),
        ("dockerfile_inline", Text),
        ("entitlements", TEXTS),
        ("args", PAIRS),
        ("ssh", PAIRS),
        ("labels", PAIRS),
        ("cache_from", TEXTS),
        ("cache_to", TEXTS),
        ("no_cache", Bool),
        ("no_cache_filter", STRING_OR_LIST),
        ("additional_contexts", PAIRS),
        ("network", Text),
        ("provenance", Bool),
        ("sbom", Bool),
        ("pull", Bool),
        ("target", Text),
        ("shm_size", WHOLE),
        ("extra_hosts", HOSTS),
        ("isolation", Text),
        ("privileged", Bool),
        ("secrets", REFERENCES),
        ("tags", TEXTS),
        ("ulimits", LIMITS),
        ("platforms", TEXTS),
    ]],
    &[],
);

static DEVELOP: Record = open(
    &[&[(
        "watch",
        List(&Group(&open(
            &[&[
                ("ignore", STRING_OR_LIST),
                ("include", STRING_OR_LIST),
                ("path", Text),
                ("action", Words(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"])),
                ("target", Text),
                ("exec", Group(&HOOK)),
                ("initial_sync", Truth),
            ]],
            &["path", "action"],
        ))),
    )]],
    &[],
);

static UPDATE: Record = open(
    &[&[
        ("parallelism", WHOLE),
        ("delay", Text),
        ("failure_action", Text),
        ("monitor", Text),
        ("max_failure_ratio", Number),
        ("order", Words(&["start-first", "stop-first"])),
    ]],
    &[],
);

static DEPLOY: Record = open(
    &[&[
        ("mode", Text),
        ("endpoint_mode", Text),
        ("replicas", WHOLE),
        ("labels", PAIRS),
        ("rollback_config", Group(&UPDATE)),
        ("update_config", Group(&UPDATE)),
        (
            "resources",
            Group(&open(
                &[&[
                    ("limits", Group(&open(&[&[("cpus", Number), ("memory", Text), ("pids", WHOLE)]], &[]))),
                    (
                        "reservations",
                        Group(&open(
                            &[&[
                                ("cpus", Number),
                                ("memory", Text),
                                (
                                    "generic_resources",
                                    List(&Group(&open(
                                        &[&[("discrete_resource_spec", Group(&open(&[&[("kind", Text), ("value", Number)]], &[])))]],
                                        &[],
                                    ))),
                                ),
                                ("devices", List(&Group(&open(&[REQUEST], &["capabilities"])))),
                            ]],
                            &[],
                        )),
                    ),
                ]],
                &[],
            )),
        ),
        ("restart_policy", Group(&open(&[&[("condition", Text), ("delay", Text), ("max_attempts", WHOLE), ("window", Text)]], &[]))),
        (
            "placement",
            Group(&open(
                &[&[
                    ("constraints", TEXTS),
                    ("preferences", List(&Group(&open(&[&[("spread", Text)]], &[])))),
                    ("max_replicas_per_node", WHOLE),
                ]],
                &[],
            )),
        ),
    ]],
    &[],
);

static NETWORK: Record = open(
    &[&[
        ("name", Text),
        ("driver", Text),
        ("driver_opts", OPTIONS),
        (
            "ipam",
            Group(&open(
                &[&[
                    ("driver", Text),
                    (
                        "config",
                        List(&Group(&open(
                            &[&[("subnet", Text), ("ip_range", Text), ("gateway", Text), ("aux_addresses", Map(&Text))]],
                            &[],
                        ))),
                    ),
                    ("options", Map(&Text)),
                ]],
                &[],
            )),
        ),
        ("external", EXTERNAL),
        ("internal", Bool),
        ("enable_ipv4", Bool),
        ("enable_ipv6", Bool),
        ("attachable", Bool),
        ("labels", PAIRS),
    ]],
    &[],
);

static VOLUME: Record =
    open(&[&[("name", Text), ("driver", Text), ("driver_opts", OPTIONS), ("external", EXTERNAL), ("labels", PAIRS)]], &[]);

static SECRET: Record = open(
    &[&[
        ("name", Text),
        ("environment", Text),
        ("file", Text),
        ("external", EXTERNAL),
        ("labels", PAIRS),
        ("driver", Text),
        ("driver_opts", OPTIONS),
        ("template_driver", Text),
    ]],
    &[],
);

static CONFIG: Record = open(
    &[&[
        ("name", Text),
        ("content", Text),
        ("environment", Text),
        ("file", Text),
        ("external", EXTERNAL),
        ("labels", PAIRS),
        ("template_driver", Text),
    ]],
    &[],
);

static MODEL: Record = open(&[&[("name", Text), ("model", Text), ("context_size", Whole), ("runtime_flags", TEXTS)]], &["model"]);

/// Where an attribute belongs that stands where nobody knows it.
pub(super) fn place_of(key: &str) -> Option<&'static str> {
    let places: [(&Record, &'static str); 6] = [
        (&FILE, "at the top of the file"),
        (&SERVICE, "into a service"),
        (&BUILD, "into `build`"),
        (&DEPLOY, "into `deploy`"),
        (&MEMBERSHIP, "into a network of a service"),
        (&NETWORK, "into a network at the top of the file"),
    ];
    places.into_iter().find(|(record, _)| record.get(key).is_some()).map(|(_, place)| place)
}

/// At least two letters, digits, `_`, `.` or `-` in a row, the first of them a letter or digit.
fn container_name(text: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
    let letters: Vec<char> = text.chars().collect();
    letters.windows(2).any(|pair| pair[0].is_ascii_alphanumeric() && inner(pair[1]))
}

fn pull_policy(text: &str) -> bool {
    let known = ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
    if known.contains(&text) {
        return true;
    }
    let Some(mut rest) = text.strip_prefix("every_").filter(|rest| !rest.is_empty()) else {
        return false;
    };
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || !rest[digits..].starts_with(['w', 'd', 'h', 'm', 's']) {
            return false;
        }
        rest = &rest[digits + 1..];
    }
    true
}
