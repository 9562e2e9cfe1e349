//! What services share: networks, volumes, secrets, configs, models.

use super::{Mapping, record, zero};

record! {
    /// A network.
    Network {
        name: String,
        driver: String,
        driver_opts: Mapping,
        ipam: Ipam,
        external: bool,
        internal: bool,
        attachable: bool,
        labels: Mapping,
        enable_ipv4: Option<bool>,
        enable_ipv6: Option<bool>,
    }
}

record! {
    /// How addresses are given out.
    Ipam {
        driver: String,
        config: Vec<IpamPool>,
        options: Mapping,
    }
}

zero! {
    Ipam => |_| false,
}

record! {
    /// A range of addresses.
    IpamPool {
        subnet: String,
        gateway: String,
        ip_range: String,
        aux_addresses: Mapping,
    }
}

record! {
    /// A named volume.
    Volume {
        name: String,
        driver: String,
        driver_opts: Mapping,
        external: bool,
        labels: Mapping,
    }
}

record! {
    /// A secret or config: a file, a variable or a text.
    Source {
        name: String,
        file: String,
        environment: String,
        content: String,
        external: bool,
        labels: Mapping,
        driver: String,
        driver_opts: Mapping,
        template_driver: String,
    }
}

record! {
    /// A language model.
    Model {
        name: String,
        model: String,
        context_size: i64,
        runtime_flags: Vec<String>,
    }
}
