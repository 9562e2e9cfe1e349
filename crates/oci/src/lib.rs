//! The words of OCI: digests, image references, manifests, image configuration, runtime specification.

pub mod runtime;
