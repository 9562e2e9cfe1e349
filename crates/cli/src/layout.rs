//! Archives and directories of images, as far as a client looks into them: a layer that the engine has need not be sent.
//!
//! **Source:** OCI image specification, `image-layout.md`; Docker Image Specification 1.2, "Combined Image JSON".

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Largest document that is looked into.
const DOCUMENT_BYTES_MAX: u64 = 8 << 20;
/// Deepest nesting of indexes.
const INDEX_DEPTH_MAX: usize = 4;
/// Bytes of a block of a tar.
const BLOCK: u64 = 512;

/// Files by their names.
trait Files {
    /// Reads a document; nothing where there is none.
    fn document(&mut self, name: &str) -> Option<Value>;
}

/// Finds the files that hold layers, each with the digest of its plain tar as the configuration says it.
fn layers(files: &mut dyn Files) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Some(Value::Array(images)) = files.document("manifest.json") {
        for image in images {
            let names: Vec<String> = texts(image.get("Layers")).collect();
            if let Some(config) = image.get("Config").and_then(Value::as_str) {
                add(files, config, names, &mut found);
            }
        }
    } else if let Some(index) = files.document("index.json") {
        walk(files, &index, INDEX_DEPTH_MAX, &mut found);
    }
    found
}

fn walk(files: &mut dyn Files, index: &Value, depth: usize, found: &mut BTreeMap<String, String>) {
    for entry in index.get("manifests").and_then(Value::as_array).into_iter().flatten() {
        let Some(document) = blob(entry).and_then(|name| files.document(&name)) else { continue };
        if document.get("manifests").is_some() && depth > 0 {
            walk(files, &document, depth - 1, found);
        } else if let Some(config) = document.get("config").and_then(blob) {
            let layers = document.get("layers").and_then(Value::as_array).into_iter().flatten();
            let names = layers.map(|layer| blob(layer).unwrap_or_default()).collect();
            add(files, &config, names, found);
        }
    }
}

fn add(files: &mut dyn Files, config: &str, names: Vec<String>, found: &mut BTreeMap<String, String>) {
    let Some(config) = files.document(config) else { return };
    let diff_ids: Vec<String> = texts(config.pointer("/rootfs/diff_ids")).collect();
    if diff_ids.len() == names.len() {
        found.extend(names.into_iter().zip(diff_ids));
    }
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = String> {
    list.and_then(Value::as_array).into_iter().flatten().map(|text| text.as_str().unwrap_or_default().to_owned())
}

/// The file that a descriptor points to.
fn blob(descriptor: &Value) -> Option<String> {
    let (algorithm, hex) = descriptor.get("digest")?.as_str()?.split_once(':')?;
    Some(format!("blobs/{algorithm}/{hex}"))
}

/// Which layers may be left out: asked once, with the digests of all.
pub(crate) type Ask<'a> = &'a mut dyn FnMut(Vec<String>) -> BTreeSet<String>;

/// The names that need not be sent.
fn superfluous(files: &mut dyn Files, ask: Ask<'_>) -> BTreeSet<String> {
    let layers = layers(files);
    if layers.is_empty() {
        return BTreeSet::new();
    }
    let known = ask(layers.values().cloned().collect());
    layers.into_iter().filter(|(_, diff_id)| known.contains(diff_id)).map(|(name, _)| name).collect()
}

/// An archive and where its files are.
struct Indexed {
    file: File,
    /// By name: where the entry begins with all its headers, where its content begins, its size, where the next one begins.
    entries: BTreeMap<String, [u64; 4]>,
}

impl Files for Indexed {
    fn document(&mut self, name: &str) -> Option<Value> {
        let &[_, content, size, _] = self.entries.get(name).filter(|entry| entry[2] <= DOCUMENT_BYTES_MAX)?;
        self.file.seek(SeekFrom::Start(content)).ok()?;
        serde_json::from_reader((&self.file).take(size)).ok()
    }
}

/// An archive without the layers that the engine has. What cannot be looked into, such as a compressed one, is sent whole.
///
/// # Errors
/// If the file cannot be read from its start again.
pub(crate) fn thin(file: File, ask: Ask<'_>) -> io::Result<Box<dyn Read>> {
    let Ok(mut indexed) = index(&file) else {
        (&file).seek(SeekFrom::Start(0))?;
        return Ok(Box::new(file));
    };
    let left_out = superfluous(&mut indexed, ask);
    let mut gaps: Vec<(u64, u64)> =
        left_out.iter().filter_map(|name| indexed.entries.get(name)).map(|entry| (entry[0], entry[3])).collect();
    gaps.sort_unstable();
    let (mut pieces, mut at) = (VecDeque::new(), 0);
    for (begin, end) in gaps {
        pieces.push_back((at, begin.saturating_sub(at)));
        at = end;
    }
    pieces.push_back((at, u64::MAX));
    Ok(Box::new(Pieces { file, pieces, left: 0 }))
}

fn index(file: &File) -> io::Result<Indexed> {
    let mut entries = BTreeMap::new();
    let mut begin = 0;
    for entry in tar::Archive::new(file).entries_with_seek()? {
        let entry = entry?;
        let (content, size) = (entry.raw_file_position(), entry.size());
        let stored = if entry.header().entry_type().is_file() { size } else { 0 };
        let next = content + stored.div_ceil(BLOCK) * BLOCK;
        if entry.header().entry_type().is_file() {
            let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            entries.insert(name, [begin, content, size, next]);
        }
        begin = next;
    }
    if entries.is_empty() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Indexed { file: file.try_clone()?, entries })
}

/// Parts of a file, one after another.
struct Pieces {
    file: File,
    /// Offsets and lengths that are still to come.
    pieces: VecDeque<(u64, u64)>,
    left: u64,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let Some((offset, length)) = self.pieces.pop_front() else { return Ok(0) };
            self.file.seek(SeekFrom::Start(offset))?;
            self.left = length;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        self.left = if count == 0 { 0 } else { self.left - count as u64 };
        Ok(count)
    }
}

/// A directory as it lies on the disk.
struct Directory<'a>(&'a Path);

impl Files for Directory<'_> {
    fn document(&mut self, name: &str) -> Option<Value> {
        let file = File::open(self.0.join(name)).ok()?;
        serde_json::from_reader(file.take(DOCUMENT_BYTES_MAX)).ok()
    }
}

/// Finds which files of a directory need not be sent; refuses what is no directory of images.
///
/// # Errors
/// If it has neither `manifest.json` nor `index.json`.
pub(crate) fn look(path: &Path, ask: Ask<'_>) -> io::Result<BTreeSet<String>> {
    if !path.join("manifest.json").is_file() && !path.join("index.json").is_file() {
        let text = format!("{} holds no image: it has neither manifest.json nor index.json", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(superfluous(&mut Directory(path), ask))
}

/// Writes a directory of images as a tar without the files named; links are sent as links and not followed.
///
/// # Errors
/// If a file cannot be read, or the tar cannot be written.
pub(crate) fn pack(path: &Path, left_out: &BTreeSet<String>, out: &mut dyn Write) -> io::Result<()> {
    let mut builder = tar::Builder::new(io::BufWriter::with_capacity(256 << 10, out));
    builder.follow_symlinks(false);
    let mut pending = vec![PathBuf::new()];
    while let Some(below) = pending.pop() {
        let mut names: Vec<PathBuf> =
            std::fs::read_dir(path.join(&below))?.map(|entry| Ok(below.join(entry?.file_name()))).collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            let kind = path.join(&name).symlink_metadata()?.file_type();
            if kind.is_dir() {
                pending.push(name);
            } else if (kind.is_file() || kind.is_symlink()) && !left_out.contains(&*name.to_string_lossy()) {
                builder.append_path_with_name(path.join(&name), &name)?;
            }
        }
    }
    builder.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn names(tar: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(tar);
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn layers_that_the_engine_has_are_left_out_of_either_format() {
        let long = "l".repeat(150);
        let docker = format!(r#"[{{"Config":"c.json","Layers":["one/layer.tar","{long}"]}}]"#);
        let config = br#"{"rootfs":{"diff_ids":["sha256:1","sha256:2"]}}"#;
        let index = br#"{"manifests":[{"digest":"sha256:m"}]}"#;
        let manifest = br#"{"config":{"digest":"sha256:c"},"layers":[{"digest":"sha256:a"},{"digest":"sha256:b"}]}"#;
        let docker = tar_of(&[("one/layer.tar", &[7; 1500]), (&long, &[8; 512]), ("c.json", config), ("manifest.json", docker.as_bytes())]);
        let oci = tar_of(&[
            ("blobs/sha256/a", &[7; 1]),
            ("blobs/sha256/b", b""),
            ("blobs/sha256/c", config),
            ("blobs/sha256/m", manifest),
            ("index.json", index),
        ]);
        for (archive, first, second, rest) in [(docker, "one/layer.tar", long.as_str(), 2), (oci, "blobs/sha256/a", "blobs/sha256/b", 3)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("archive");
            std::fs::write(&path, &archive).unwrap();
            let sent = |known: &[&str]| {
                let mut asked = Vec::new();
                let mut ask = |digests: Vec<String>| {
                    asked = digests;
                    known.iter().map(|&digest| digest.to_owned()).collect()
                };
                let mut bytes = Vec::new();
                thin(File::open(&path).unwrap(), &mut ask).unwrap().read_to_end(&mut bytes).unwrap();
                asked.sort();
                assert_eq!(asked, ["sha256:1", "sha256:2"]);
                bytes
            };
            assert_eq!(sent(&[]), archive);
            let thin = names(&sent(&["sha256:2"]));
            assert!(thin.iter().any(|name| name == first) && !thin.iter().any(|name| name == second), "{thin:?}");
            assert_eq!(names(&sent(&["sha256:1", "sha256:2"])).len(), rest);
        }
    }

    #[test]
    fn what_is_no_archive_is_sent_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive");
        for bytes in [&b"garbage"[..], &[0; 2048], &[0x1f, 0x8b, 8, 0, 1, 2]] {
            std::fs::write(&path, bytes).unwrap();
            let mut read = Vec::new();
            thin(File::open(&path).unwrap(), &mut |_| BTreeSet::new()).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
        }
    }
}
