//! What a builder needs: an image without files, and a snapshot to write into.

use std::os::fd::OwnedFd;

use oci::Platform;
use oci::image::{ImageConfig, RootFs};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::loading::Lease;
use crate::archive::Planned;
use crate::error::{LoadError, SnapshotError};
use crate::{ImageId, Images, Snapshot};

impl Images {
    /// Makes the image that `FROM scratch` means: no layers, no configuration.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn scratch(&self, platform: Platform) -> Result<ImageId, LoadError> {
        let image = ImageConfig {
            architecture: platform.architecture,
            variant: platform.variant,
            os: platform.os,
            os_version: platform.os_version,
            rootfs: RootFs::default(),
            ..ImageConfig::default()
        };
        let config = serde_json::to_string(&image)
            .map_err(|source| LoadError::Io { act: "write the configuration".to_owned(), source: source.into() })?;
        let planned = Planned { config, names: Vec::new(), layers: Vec::new(), manifest: None, parent: None };
        let loaded = self.commit(&Lease::new(self), &[], vec![planned])?;
        Ok(loaded[0].id)
    }

    /// Opens the merged root directory of a snapshot for writing: a detached overlay mount that nothing else sees.
    ///
    /// No container may use the snapshot meanwhile. Open paths below it with `openat2` and
    /// `RESOLVE_IN_ROOT`; the mount ends with the last descriptor.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn open_writable(&self, snapshot: &Snapshot) -> Result<OwnedFd, SnapshotError> {
        let mount = || -> rustix::io::Result<OwnedFd> {
            let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
            for option in &snapshot.mount.options {
                match option.split_once('=') {
                    Some((key, value)) => rustix::mount::fsconfig_set_string(&context, key, value)?,
                    None => rustix::mount::fsconfig_set_flag(&context, option.as_str())?,
                }
            }
            rustix::mount::fsconfig_create(&context)?;
            let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
            rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        };
        mount().map_err(|error| SnapshotError::Io { holder: snapshot.upper.display().to_string(), source: error.into() })
    }
}
