//! What a builder needs: an image without files.

use oci::Platform;
use oci::image::{ImageConfig, RootFs};

use super::loading::Lease;
use crate::archive::Planned;
use crate::error::LoadError;
use crate::{ImageId, Images};

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
        let planned = Planned { config, names: Vec::new(), layers: Vec::new(), manifest: None, parent: None, index: None };
        let loaded = self.commit(&Lease::new(self), &[], vec![planned])?;
        Ok(loaded[0].id)
    }
}
