//! Writing images out: `save`.
//!
//! The archive is an OCI layout with Docker's `manifest.json` and `repositories` beside, as
//! Docker writes it since version 25. Layers are written again byte for byte from their tapes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::time::UNIX_EPOCH;

use oci::image::{Descriptor, ImageConfig, Index, Manifest, media_type};
use oci::{Digest, ImageRef};
use serde::Serialize;
use sha2::Digest as _;

use super::Images;
use super::loading::Lease;
use super::naming::find;
use crate::error::SaveError;
use crate::layer::Layer;
use crate::model::ImageId;
use crate::tar::write::{header, padding};

/// An image to be written.
struct Chosen {
    id: ImageId,
    names: BTreeSet<ImageRef>,
    config: String,
    layers: Vec<Digest>,
    created: u64,
}

/// One entry of Docker's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    layer_sources: BTreeMap<Digest, Descriptor>,
}

impl Images {
    /// Writes images as `docker save` does; a name without a tag means all tags of the repository.
    ///
    /// # Errors
    /// [`SaveError`]; what was written by then is no whole archive.
    pub fn save(&self, names: &[String], archive: impl Write) -> Result<(), SaveError> {
        let lease = Lease::new(self);
        let chosen = self.choose(names, &lease)?;
        let written = |source| io_error("write the archive", source);
        let out = BufWriter::with_capacity(256 << 10, archive);
        let mut out = Output { out, mtime: 0, done: BTreeSet::new() };
        out.directory("blobs/").and_then(|()| out.directory("blobs/sha256/")).map_err(written)?;
        let mut documents = Documents::default();
        for image in &chosen {
            out.mtime = image.created;
            let layers = image.layers.iter().map(|diff_id| self.save_layer(diff_id, &mut out));
            let layers = layers.collect::<Result<Vec<_>, _>>()?;
            documents.add(image, layers, &mut out).map_err(written)?;
        }
        documents.write(&mut out).map_err(written)
    }

    /// Finds the images by name; each comes once, with the names that were asked for.
    fn choose(&self, names: &[String], lease: &Lease<'_>) -> Result<Vec<Chosen>, SaveError> {
        let mut state = self.state();
        let mut chosen: Vec<Chosen> = Vec::new();
        for text in names {
            let given = text.parse::<ImageRef>().ok();
            let mut found: Vec<(ImageId, Option<ImageRef>)> = Vec::new();
            if let Some(given) = given.filter(|given| given.digest().is_none()) {
                let named = state.names.iter().filter(|(name, _)| {
                    name.tag().is_some() && name.repository() == given.repository() && given.tag().is_none_or(|tag| name.tag() == Some(tag))
                });
                found.extend(named.map(|(name, record)| (record.image, Some(name.clone()))));
            }
            if found.is_empty() {
                found.push((find(&state, text)?, None));
            }
            for (id, name) in found {
                if let Some(known) = chosen.iter_mut().find(|known| known.id == id) {
                    known.names.extend(name);
                    continue;
                }
                let Some(image) = state.image(&id) else {
                    continue;
                };
                let config = state.visible(&id).map(|entry| entry.record.config.clone()).unwrap_or_default();
                for layer in &image.layers {
                    lease.take(&mut state, *layer);
                }
                let created = image.created.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                chosen.push(Chosen {
                    id,
                    names: name.into_iter().collect(),
                    config,
                    layers: image.layers,
                    created: created.map_or(0, |time| time.as_secs()),
                });
            }
        }
        Ok(chosen)
    }

    /// Writes a layer and checks that it is what it was.
    fn save_layer(&self, diff_id: &Digest, out: &mut Output<impl Write>) -> Result<Descriptor, SaveError> {
        let failed = |source| io_error(&format!("write layer {diff_id}"), source);
        let layer = Layer::find(&self.disk, diff_id).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let size = layer.tar_bytes().map_err(failed)?;
        if out.done.insert(*diff_id) {
            out.start(&path(diff_id), size).map_err(failed)?;
            let mut hashing = Hashing { out: &mut out.out, hash: sha2::Sha256::new() };
            layer.write_tar(&mut hashing).map_err(failed)?;
            let actual = Digest::from_bytes(hashing.hash.finalize().into());
            if actual != *diff_id {
                return Err(failed(io::Error::new(io::ErrorKind::InvalidData, format!("its files were changed: digest {actual}"))));
            }
            out.out.write_all(padding(size)).map_err(failed)?;
        }
        Ok(descriptor(*diff_id, size, media_type::LAYER))
    }
}

/// What is said of the images at the end of the archive.
#[derive(Default)]
struct Documents {
    docker: Vec<DockerManifest>,
    manifests: Vec<Descriptor>,
    /// The topmost layer by repository and tag, for engines before Docker 1.10.
    repositories: BTreeMap<String, BTreeMap<String, String>>,
}

impl Documents {
    /// Writes configuration and manifest of an image.
    fn add(&mut self, image: &Chosen, layers: Vec<Descriptor>, out: &mut Output<impl Write>) -> io::Result<()> {
        let config = out.blob(image.config.as_bytes(), media_type::CONFIG)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            config: config.clone(),
            layers: layers.clone(),
            annotations: BTreeMap::new(),
        };
        let manifest = out.blob(&json(&manifest)?, media_type::MANIFEST)?;
        let platform = serde_json::from_str::<ImageConfig>(&image.config)?.platform();
        let manifest = Descriptor { platform: Some(platform), ..manifest };
        if image.names.is_empty() {
            self.manifests.push(manifest.clone());
        }
        for name in &image.names {
            let tag = name.tag().unwrap_or_default().to_owned();
            let annotations = BTreeMap::from([
                ("io.containerd.image.name".to_owned(), name.to_string()),
                ("org.opencontainers.image.ref.name".to_owned(), tag.clone()),
            ]);
            self.manifests.push(Descriptor { annotations, ..manifest.clone() });
            let top = image.layers.last().map_or_else(|| image.id.0.hex(), Digest::hex);
            self.repositories.entry(name.familiar_repository()).or_default().insert(tag, top);
        }
        let tags = image.names.iter().map(ImageRef::familiar);
        self.docker.push(DockerManifest {
            config: path(&config.digest),
            repo_tags: (!image.names.is_empty()).then(|| tags.collect()),
            layers: layers.iter().map(|layer| path(&layer.digest)).collect(),
            layer_sources: layers.into_iter().map(|layer| (layer.digest, layer)).collect(),
        });
        Ok(())
    }

    /// Ends the archive.
    fn write(self, out: &mut Output<impl Write>) -> io::Result<()> {
        out.mtime = 0;
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            manifests: self.manifests,
            annotations: BTreeMap::new(),
        };
        out.file("index.json", &json(&index)?)?;
        out.file("manifest.json", &json(&self.docker)?)?;
        out.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        if !self.repositories.is_empty() {
            out.file("repositories", &json(&self.repositories)?)?;
        }
        out.out.write_all(&[0; 1024])?;
        out.out.flush()
    }
}

/// The archive that is being written.
struct Output<W: Write> {
    out: BufWriter<W>,
    /// Time of the following entries.
    mtime: u64,
    /// Blobs that are in it.
    done: BTreeSet<Digest>,
}

impl<W: Write> Output<W> {
    fn start(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.out.write_all(&header(name, size, self.mtime))
    }

    fn directory(&mut self, name: &str) -> io::Result<()> {
        self.start(name, 0)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.start(name, size)?;
        self.out.write_all(bytes)?;
        self.out.write_all(padding(size))
    }

    fn blob(&mut self, bytes: &[u8], kind: &str) -> io::Result<Descriptor> {
        let digest = Digest::of(bytes);
        if self.done.insert(digest) {
            self.file(&path(&digest), bytes)?;
        }
        Ok(descriptor(digest, u64::try_from(bytes.len()).unwrap_or(u64::MAX), kind))
    }
}

/// Passes bytes on and digests them.
struct Hashing<'a, W> {
    out: &'a mut W,
    hash: sha2::Sha256,
}

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn descriptor(digest: Digest, size: u64, kind: &str) -> Descriptor {
    Descriptor {
        media_type: kind.to_owned(),
        digest,
        size,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
        artifact_type: None,
    }
}

fn json(document: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(document)?)
}

fn io_error(act: &str, source: io::Error) -> SaveError {
    SaveError::Io { act: act.to_owned(), source }
}
