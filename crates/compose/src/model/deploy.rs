//! How many containers run, with which resources, and how they are replaced.

use serde::{Deserialize, Serialize};

use super::{Bytes, Duration, Mapping, Zero, record, zero};

record! {
    /// How a service is deployed.
    Deploy {
        mode: String,
        replicas: Option<i64>,
        labels: Mapping,
        update_config: Option<UpdateConfig>,
        rollback_config: Option<UpdateConfig>,
        resources: Resources,
        restart_policy: Option<RestartPolicy>,
        placement: Placement,
        endpoint_mode: String,
    }
}

record! {
    /// How containers are replaced by newer ones.
    UpdateConfig {
        parallelism: Option<u64>,
        delay: Duration,
        failure_action: String,
        monitor: Duration,
        max_failure_ratio: f32,
        order: String,
    }
}

record! {
    /// Limits and reservations.
    Resources {
        limits: Option<Resource>,
        reservations: Option<Resource>,
    }
}

record! {
    /// Amounts of processors, memory, processes and devices.
    Resource {
        cpus: f32,
        memory: Bytes,
        pids: i64,
        devices: Vec<DeviceRequest>,
        generic_resources: Vec<GenericResource>,
    }
}

/// Devices that a driver provides, such as GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// What they must be able to do.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub capabilities: Vec<String>,
    /// Who provides them.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub driver: String,
    /// How many; −1 for all.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub count: i64,
    /// Which ones.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub device_ids: Vec<String>,
    /// What the driver is told.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub options: Mapping,
}

record! {
    /// A resource that the user defines.
    GenericResource {
        discrete_resource_spec: Option<DiscreteResource>,
    }
}

/// A resource that is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscreteResource {
    /// Its name.
    pub kind: String,
    /// How many.
    pub value: i64,
}

record! {
    /// When an ended container is started again.
    RestartPolicy {
        condition: String,
        delay: Option<Duration>,
        max_attempts: Option<u64>,
        window: Option<Duration>,
    }
}

record! {
    /// Where a swarm places containers.
    Placement {
        constraints: Vec<String>,
        preferences: Vec<PlacementPreference>,
        max_replicas_per_node: u64,
    }
}

record! {
    /// A preference of a placement.
    PlacementPreference {
        spread: String,
    }
}

zero! {
    Resources => |_| false,
    Placement => |_| false,
}
