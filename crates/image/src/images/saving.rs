//! Writing images out: `save`.
//!
//! The archive is an OCI layout with Docker's `manifest.json` and `repositories` beside, as
//! Docker writes it since version 25. Layers are written again byte for byte from their tapes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::time::UNIX_EPOCH;

use oci::image::{Descriptor, ImageConfig, Index, Manifest, media_type};
use oci::{Digest, ImageRef, Platform};
use serde::Serialize;
use sha2::Digest as _;

use super::Images;
use super::indexes::Listed;
use super::loading::Lease;
use crate::error::SaveError;
use crate::layer::Layer;
use crate::model::ImageId;
use crate::tar::write::{header, padding};

/// What is written under some names.
struct Chosen {
    names: BTreeSet<ImageRef>,
    image: ChosenImage,
    /// The index, where more of it is here than the image.
    index: Option<ChosenIndex>,
}

/// An image to be written.
struct ChosenImage {
    id: ImageId,
    config: String,
    /// The manifest that it came with.
    manifest: Option<String>,
    layers: Vec<Digest>,
    created: u64,
}

/// An index to be written, with all of it that is here.
struct ChosenIndex {
    listed: Listed,
    images: BTreeMap<ImageId, ChosenImage>,
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
    /// Writes images as `docker save` does; a name without a tag means all tags of the repository. Of an index all platforms
    /// and attestations that are here are written, or with `platform` that image alone.
    ///
    /// # Errors
    /// [`SaveError`]; what was written by then is no whole archive.
    pub fn save(&self, names: &[String], platform: Option<&Platform>, archive: impl Write) -> Result<(), SaveError> {
        let lease = Lease::new(self);
        let chosen = self.choose(names, platform, &lease)?;
        self.write_archive(&chosen, archive)
    }

    /// Writes one image as `docker save` does, under names that need not be its own.
    ///
    /// # Errors
    /// [`SaveError`]; what was written by then is no whole archive.
    pub fn save_as(&self, id: &ImageId, names: &[ImageRef], archive: impl Write) -> Result<(), SaveError> {
        let lease = Lease::new(self);
        let image = self.choose_image(id, &lease).ok_or_else(|| crate::ResolveError::NotFound { name: id.to_string() })?;
        self.write_archive(&[Chosen { names: names.iter().cloned().collect(), image, index: None }], archive)
    }

    fn write_archive(&self, chosen: &[Chosen], archive: impl Write) -> Result<(), SaveError> {
        let written = |source| io_error("write the archive", source);
        let out = BufWriter::with_capacity(256 << 10, archive);
        let mut out = Output { out, mtime: 0, done: BTreeSet::new() };
        out.directory("blobs/").and_then(|()| out.directory("blobs/sha256/")).map_err(written)?;
        let mut documents = Documents::default();
        for chosen in chosen {
            let whole = chosen.index.as_ref().map(|index| self.save_index(index, &mut out)).transpose()?;
            let saved = self.save_image(&chosen.image, &mut out)?;
            documents.add(chosen, saved, whole);
        }
        documents.write(&mut out).map_err(written)
    }

    /// Finds the images by name; each comes once, with the names that were asked for.
    fn choose(&self, names: &[String], platform: Option<&Platform>, lease: &Lease<'_>) -> Result<Vec<Chosen>, SaveError> {
        let mut chosen: Vec<Chosen> = Vec::new();
        for text in names {
            let given = text.parse::<ImageRef>().ok();
            let mut found: Vec<(String, Option<ImageRef>)> = Vec::new();
            if let Some(given) = given.filter(|given| given.digest().is_none()) {
                let state = self.state();
                let named = state.names.keys().filter(|name| {
                    name.tag().is_some() && name.repository() == given.repository() && given.tag().is_none_or(|tag| name.tag() == Some(tag))
                });
                found.extend(named.map(|name| (name.to_string(), Some(name.clone()))));
            }
            if found.is_empty() {
                found.push((text.clone(), None));
            }
            for (text, name) in found {
                let id = self.resolve_for(&text, platform)?.id;
                let digest = name.as_ref().and_then(|name| self.state().names.get(name)?.index).filter(|_| platform.is_none());
                let listed = digest.and_then(|digest| self.listed(&digest)).filter(Listed::has_more);
                let same = |known: &&mut Chosen| {
                    known.image.id == id
                        && known.index.as_ref().map(|index| index.listed.digest) == listed.as_ref().map(|listed| listed.digest)
                };
                if let Some(known) = chosen.iter_mut().find(same) {
                    known.names.extend(name);
                    continue;
                }
                let Some(image) = self.choose_image(&id, lease) else {
                    continue;
                };
                let index = listed.map(|listed| {
                    let members = listed.entries.iter().filter_map(|entry| entry.image);
                    let images = members.filter_map(|id| Some((id, self.choose_image(&id, lease)?))).collect();
                    ChosenIndex { listed, images }
                });
                chosen.push(Chosen { names: name.into_iter().collect(), image, index });
            }
        }
        Ok(chosen)
    }

    fn choose_image(&self, id: &ImageId, lease: &Lease<'_>) -> Option<ChosenImage> {
        let mut state = self.state();
        let image = state.image(id)?;
        let record = &state.visible(id)?.record;
        let (config, manifest) = (record.config.clone(), record.manifest.clone());
        for layer in &image.layers {
            lease.take(&mut state, *layer);
        }
        let created = image.created.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Some(ChosenImage { id: *id, config, manifest, layers: image.layers, created: created.map_or(0, |time| time.as_secs()) })
    }

    /// Writes the layers, the configuration and the manifest of an image.
    fn save_image(&self, image: &ChosenImage, out: &mut Output<impl Write>) -> Result<Saved, SaveError> {
        let written = |source| io_error("write the archive", source);
        out.mtime = image.created;
        let layers = image.layers.iter().map(|diff_id| self.save_layer(diff_id, out)).collect::<Result<Vec<_>, _>>()?;
        let config = out.blob(image.config.as_bytes(), media_type::CONFIG).map_err(written)?;
        let original = image.manifest.as_ref().and_then(|text| Some((text, serde_json::from_str::<Manifest>(text).ok()?)));
        let layer_digests = || layers.iter().map(|layer| layer.digest);
        let manifest = match original {
            // Its layers were never compressed: it stays what it is.
            Some((text, manifest))
                if manifest.config.digest == config.digest && manifest.layers.iter().map(|layer| layer.digest).eq(layer_digests()) =>
            {
                out.blob(text.as_bytes(), manifest.media_type.as_deref().unwrap_or(media_type::MANIFEST))
            }
            original => {
                let manifest = Manifest {
                    schema_version: 2,
                    media_type: Some(media_type::MANIFEST.to_owned()),
                    config: config.clone(),
                    layers: layers.clone(),
                    annotations: original.map(|(_, manifest)| manifest.annotations).unwrap_or_default(),
                };
                json(&manifest).and_then(|bytes| out.blob(&bytes, media_type::MANIFEST))
            }
        };
        let platform = serde_json::from_str::<ImageConfig>(&image.config).map_err(|error| written(error.into()))?.platform();
        let manifest = Descriptor { platform: Some(platform), ..manifest.map_err(written)? };
        Ok(Saved { manifest, config, layers })
    }

    /// Writes all of an index that is here. Where layers were compressed their manifests become others, and so does the index;
    /// attestations are about the new ones then.
    fn save_index(&self, index: &ChosenIndex, out: &mut Output<impl Write>) -> Result<Descriptor, SaveError> {
        let written = |source| io_error("write the archive", source);
        let mut manifests = Vec::new();
        let mut renamed: BTreeMap<Digest, Digest> = BTreeMap::new();
        let mut whole = index.listed.entries.iter().all(|entry| entry.nested_in.is_none());
        for entry in &index.listed.entries {
            let image = entry.image.and_then(|id| index.images.get(&id));
            let descriptor = match image {
                Some(image) => {
                    let image = ChosenImage {
                        manifest: entry.manifest.clone(),
                        layers: image.layers.clone(),
                        config: image.config.clone(),
                        ..*image
                    };
                    let saved = self.save_image(&image, out)?;
                    renamed.insert(entry.descriptor.digest, saved.manifest.digest);
                    saved.manifest
                }
                None => match entry.manifest.as_ref().filter(|_| !entry.blobs.is_empty()) {
                    Some(manifest) => {
                        for blob in &entry.blobs {
                            let bytes = self.document(blob).map_err(|source| io_error(&format!("read document {blob}"), source))?;
                            out.blob(&bytes, "").map_err(written)?;
                        }
                        out.blob(manifest.as_bytes(), &entry.descriptor.media_type).map_err(written)?
                    }
                    None => {
                        whole = false;
                        continue;
                    }
                },
            };
            whole &= descriptor.digest == entry.descriptor.digest;
            let (digest, size, media_type) = (descriptor.digest, descriptor.size, descriptor.media_type);
            manifests.push(Descriptor { digest, size, media_type, ..entry.descriptor.clone() });
        }
        if whole {
            return out.blob(index.listed.document.as_bytes(), &index.listed.media_type()).map_err(written);
        }
        let document = index.listed.rewritten(manifests, &renamed);
        json(&document).and_then(|bytes| out.blob(&bytes, &index.listed.media_type())).map_err(written)
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

/// What was written of an image.
struct Saved {
    manifest: Descriptor,
    config: Descriptor,
    layers: Vec<Descriptor>,
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
    /// Notes an image, and the index whose image it is.
    fn add(&mut self, chosen: &Chosen, saved: Saved, index: Option<Descriptor>) {
        let manifest = index.unwrap_or(saved.manifest);
        if chosen.names.is_empty() {
            self.manifests.push(manifest.clone());
        }
        for name in &chosen.names {
            let tag = name.tag().unwrap_or_default().to_owned();
            let annotations = BTreeMap::from([
                ("io.containerd.image.name".to_owned(), name.to_string()),
                ("org.opencontainers.image.ref.name".to_owned(), tag.clone()),
            ]);
            self.manifests.push(Descriptor { annotations, ..manifest.clone() });
            let top = chosen.image.layers.last().map_or_else(|| chosen.image.id.0.hex(), Digest::hex);
            self.repositories.entry(name.familiar_repository()).or_default().insert(tag, top);
        }
        let tags = chosen.names.iter().map(ImageRef::familiar);
        self.docker.push(DockerManifest {
            config: path(&saved.config.digest),
            repo_tags: (!chosen.names.is_empty()).then(|| tags.collect()),
            layers: saved.layers.iter().map(|layer| path(&layer.digest)).collect(),
            layer_sources: saved.layers.into_iter().map(|layer| (layer.digest, layer)).collect(),
        });
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
