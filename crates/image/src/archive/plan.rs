//! The second step: which images the documents describe.

use oci::image::{Descriptor, ImageConfig, Index, Manifest, media_type};
use oci::{Digest, ImageRef, Platform};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Contents;
use crate::error::LoadError;
use crate::images::indexes::{IndexPlan, ListedKind, Member};

/// Most layers of an image. **Source:** Linux, `fs/overlayfs/params.h`, `OVL_MAX_STACK`.
const LAYERS_MAX: usize = 500;
/// Deepest nesting of indexes.
const INDEX_DEPTH_MAX: usize = 8;
/// Most manifests of all indexes together.
const MANIFESTS_MAX: usize = 10_000;

/// An image to be recorded.
#[derive(Debug)]
pub(crate) struct Planned {
    /// Its configuration as it stands in the archive.
    pub(crate) config: String,
    pub(crate) names: Vec<ImageRef>,
    /// Layers, the lowest first, as indexes into [`Contents::layers`].
    pub(crate) layers: Vec<usize>,
    /// Its manifest, where it had one.
    pub(crate) manifest: Option<String>,
    /// The image it was made of on this host.
    pub(crate) parent: Option<crate::model::ImageId>,
    /// The index that its names lead to, with what else of it comes along.
    pub(crate) index: Option<crate::images::indexes::IndexPlan>,
}

/// One entry of Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Finds the images for `platform`; without one, all of them.
/// A layer that the archive leaves out may be `known`.
pub(crate) fn plan(contents: &Contents, platform: Option<&Platform>, known: &dyn Fn(&Digest) -> bool) -> Result<Vec<Planned>, LoadError> {
    let index = contents.document("index.json");
    let planned = if let Some(bytes) = index.filter(|bytes| has_platforms(contents, bytes)) {
        // Docker's document beside it names one platform of each index.
        oci(contents, bytes, platform, known)?
    } else if let Some(bytes) = contents.document("manifest.json") {
        docker(contents, bytes, platform, known)?
    } else if let Some(bytes) = index {
        oci(contents, bytes, platform, known)?
    } else {
        return Err(invalid("invalid archive: does not contain a manifest.json"));
    };
    if planned.is_empty() {
        let platform = platform.cloned().unwrap_or_else(Platform::host);
        return Err(LoadError::Platform { platform: platform.to_string() });
    }
    Ok(planned)
}

/// Says whether an index names an index that is in the archive.
fn has_platforms(contents: &Contents, bytes: &[u8]) -> bool {
    let index: Option<Index> = serde_json::from_slice(bytes).ok();
    let is_index = |entry: &Descriptor| matches!(entry.media_type.as_str(), media_type::INDEX | media_type::DOCKER_LIST);
    index.is_some_and(|index| index.manifests.iter().any(|entry| is_index(entry) && contents.document(&path(&entry.digest)).is_some()))
}

fn oci(contents: &Contents, bytes: &[u8], platform: Option<&Platform>, known: &dyn Fn(&Digest) -> bool) -> Result<Vec<Planned>, LoadError> {
    let mut walk = Walk { contents, wanted: platform, known, manifests: 0, members: Vec::new() };
    walk.index(&parse(bytes, "index.json")?, None, INDEX_DEPTH_MAX)
}

fn docker(
    contents: &Contents,
    bytes: &[u8],
    platform: Option<&Platform>,
    known: &dyn Fn(&Digest) -> bool,
) -> Result<Vec<Planned>, LoadError> {
    let mut planned = Vec::new();
    for entry in parse::<Vec<DockerManifest>>(bytes, "manifest.json")? {
        let bytes =
            contents.document(&entry.config).ok_or_else(|| invalid(format!("configuration {} is missing in the archive", entry.config)))?;
        let (text, config) = configuration(bytes)?;
        if platform.is_some_and(|wanted| !wanted.matches(&config.platform())) {
            continue;
        }
        let mut names = Vec::new();
        for tag in entry.repo_tags.unwrap_or_default() {
            let name: ImageRef = tag.parse().map_err(|error| invalid(format!("invalid tag {tag:?}: {error}")))?;
            names.push(name.or_latest());
        }
        let paths = entry.layers.unwrap_or_default();
        let layers = layers(contents, &config, paths.iter().map(String::as_str), known)?;
        planned.push(Planned { config: text, names, layers, manifest: None, parent: None, index: None });
    }
    Ok(planned)
}

struct Walk<'a> {
    contents: &'a Contents,
    wanted: Option<&'a Platform>,
    known: &'a dyn Fn(&Digest) -> bool,
    manifests: usize,
    /// What else is there of the index that is being followed, with the manifest that it is about.
    members: Vec<(Option<Digest>, Member)>,
}

impl Walk<'_> {
    /// Follows the entries of an index; `name` is that of the index itself.
    fn index(&mut self, index: &Index, name: Option<&ImageRef>, depth: usize) -> Result<Vec<Planned>, LoadError> {
        let mut planned = Vec::new();
        let top = depth == INDEX_DEPTH_MAX;
        for descriptor in &index.manifests {
            self.manifests += 1;
            if self.manifests > MANIFESTS_MAX {
                return Err(invalid("the index has too many manifests"));
            }
            match ListedKind::of(descriptor) {
                ListedKind::Image => {}
                ListedKind::Attestation(about) => {
                    let artifact = self.artifact(descriptor);
                    self.members.extend(artifact.map(|artifact| (Some(about), artifact)));
                    continue;
                }
                ListedKind::Unknown => continue,
            }
            let name = reference(descriptor).or_else(|| name.cloned());
            let foreign = |offered: &Platform| !top && !matches!(offered.os.as_str(), "" | "linux");
            let unwanted = descriptor.platform.as_ref().is_some_and(|offered| !self.runs(offered) || foreign(offered));
            if unwanted {
                continue;
            }
            // A nested index lists platforms that `save` left out; only what is there can be meant.
            let path = path(&descriptor.digest);
            let Some(bytes) = self.contents.document(&path) else {
                if top {
                    return Err(invalid(format!("manifest {} is missing in the archive", descriptor.digest)));
                }
                continue;
            };
            let kind: Kind = parse(bytes, &path)?;
            if kind.manifests.is_some() {
                let depth = depth.checked_sub(1).ok_or_else(|| invalid("indexes are nested too deep"))?;
                let mut images = self.index(&parse(bytes, &path)?, name.as_ref(), depth)?;
                let document = utf8(bytes, &path)?;
                if top {
                    let members = self.members_about(&images);
                    for image in &mut images {
                        image.index = Some(IndexPlan { document: document.clone(), members: members.clone() });
                    }
                } else {
                    self.members.push((None, Member::Index { document }));
                }
                planned.append(&mut images);
            } else if let Some(image) = self.manifest(bytes, &path, name, top)? {
                planned.push(image);
            }
        }
        Ok(planned)
    }

    /// Without a wish all platforms are taken.
    fn runs(&self, offered: &Platform) -> bool {
        self.wanted.is_none_or(|wanted| wanted.matches(offered))
    }

    /// Finds an attestation whose documents are all in the archive.
    fn artifact(&self, descriptor: &Descriptor) -> Option<Member> {
        let document = |digest: &Digest| self.contents.document(&path(digest));
        let bytes = document(&descriptor.digest)?;
        let manifest: Manifest = serde_json::from_slice(bytes).ok()?;
        let blobs = std::iter::once(&manifest.config).chain(&manifest.layers).map(|blob| document(&blob.digest).map(<[u8]>::to_vec));
        Some(Member::Artifact { manifest: String::from_utf8(bytes.to_vec()).ok()?, blobs: blobs.collect::<Option<_>>()? })
    }

    /// Takes the further indexes, and the attestations of these images.
    fn members_about(&mut self, images: &[Planned]) -> Vec<Member> {
        let here: Vec<Digest> = images.iter().filter_map(|image| image.manifest.as_ref()).map(|text| Digest::of(text.as_bytes())).collect();
        let members = std::mem::take(&mut self.members).into_iter();
        members.filter(|(about, _)| about.is_none_or(|about| here.contains(&about))).map(|(_, member)| member).collect()
    }

    fn manifest(&self, bytes: &[u8], path: &str, name: Option<ImageRef>, top: bool) -> Result<Option<Planned>, LoadError> {
        let manifest: Manifest = parse(bytes, path)?;
        if !matches!(manifest.config.media_type.as_str(), "" | oci::image::media_type::CONFIG | oci::image::media_type::DOCKER_CONFIG) {
            return Ok(None);
        }
        let Some(config_bytes) = self.contents.document(&self::path(&manifest.config.digest)) else {
            return if top {
                Err(invalid(format!("configuration {} is missing in the archive", manifest.config.digest)))
            } else {
                Ok(None)
            };
        };
        let (config_text, config) = configuration(config_bytes)?;
        if !self.runs(&config.platform()) {
            return Ok(None);
        }
        let paths: Vec<String> = manifest.layers.iter().map(|layer| self::path(&layer.digest)).collect();
        let layers = layers(self.contents, &config, paths.iter().map(String::as_str), self.known)?;
        let manifest = utf8(bytes, path)?;
        Ok(Some(Planned {
            config: config_text,
            names: name.into_iter().collect(),
            layers,
            manifest: Some(manifest),
            parent: None,
            index: None,
        }))
    }
}

#[derive(Deserialize)]
struct Kind {
    manifests: Option<serde::de::IgnoredAny>,
}

/// Finds the full name of an image in an index: containerd's annotation, or OCI's where it is more than a tag.
fn reference(descriptor: &Descriptor) -> Option<ImageRef> {
    let annotation = |key: &str| descriptor.annotations.get(key);
    let full = annotation("io.containerd.image.name");
    let text = full.or_else(|| annotation("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/'])))?;
    let name: ImageRef = text.parse().ok()?;
    let name = name.or_latest();
    name.tag().is_some().then(|| name.repository().with_tag(name.tag().unwrap_or("latest")).ok()).flatten()
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Finds the layers of an image and compares them with what the configuration says.
fn layers<'a>(
    contents: &Contents,
    config: &ImageConfig,
    paths: impl ExactSizeIterator<Item = &'a str>,
    known: &dyn Fn(&Digest) -> bool,
) -> Result<Vec<usize>, LoadError> {
    let expected = &config.rootfs.diff_ids;
    if paths.len() != expected.len() {
        return Err(invalid(format!("invalid manifest, layers length mismatch: expected {}, got {}", paths.len(), expected.len())));
    }
    if expected.len() > LAYERS_MAX {
        return Err(invalid(format!("the image has {} layers, at most {LAYERS_MAX} can be used", expected.len())));
    }
    let mut layers = Vec::with_capacity(expected.len());
    for (path, &expected) in paths.zip(expected) {
        let index = contents.layer(path, &expected, known)?;
        if let Some(actual) = contents.diff_id(index).filter(|actual| *actual != expected) {
            return Err(LoadError::Digest { expected, actual });
        }
        layers.push(index);
    }
    Ok(layers)
}

fn configuration(bytes: &[u8]) -> Result<(String, ImageConfig), LoadError> {
    let config: ImageConfig = parse(bytes, "the image configuration")?;
    if !matches!(config.os.as_str(), "" | "linux") {
        return Err(invalid(format!("cannot load {} image on linux", config.os.escape_debug())));
    }
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| invalid("the image configuration is not UTF-8"))?;
    Ok((text, config))
}

fn utf8(bytes: &[u8], path: &str) -> Result<String, LoadError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| invalid(format!("{path} is not UTF-8")))
}

fn parse<T: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T, LoadError> {
    serde_json::from_slice(bytes).map_err(|error| invalid(format!("cannot read {name}: {error}")))
}

fn invalid(reason: impl Into<String>) -> LoadError {
    LoadError::Invalid { reason: reason.into() }
}
