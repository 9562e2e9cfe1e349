//! Manifest lists: kept beside the client's settings as Docker keeps them, fetched and stored through the engine.
//!
//! **Source:** docker/cli, `cli/manifest/store/store.go`, `cli/command/manifest`.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_api::client::{Client, Error, escape};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Entry, registry};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::text as field;
use crate::reference::Reference;
use crate::{config, printer};

pub(super) const ENTRIES: &[Entry] = &[
    Entry { command: described("manifest annotate"), act: annotate },
    Entry { command: described("manifest create"), act: create },
    Entry { command: described("manifest inspect"), act: inspect },
    Entry { command: described("manifest push"), act: push },
    Entry { command: described("manifest rm"), act: remove },
];

const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A platform, in Docker's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Platform {
    architecture: String,
    os: String,
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    os_version: String,
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    os_features: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
}

/// An entry of a list, in Docker's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    size: u64,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
}

/// What is kept of a manifest of a list; Docker's client reads it too.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Kept {
    #[serde(rename = "Ref")]
    name: String,
    descriptor: Descriptor,
    /// The document in base64.
    raw: String,
    #[serde(rename = "SchemaV2Manifest", skip_serializing_if = "Option::is_none")]
    docker: Option<Value>,
    #[serde(rename = "OCIManifest", skip_serializing_if = "Option::is_none")]
    oci: Option<Value>,
}

/// A list as it is stored.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    schema_version: u8,
    media_type: &'a str,
    manifests: Vec<&'a Descriptor>,
}

impl Kept {
    fn document(&self) -> Outcome<Vec<u8>> {
        STANDARD.decode(&self.raw).map_err(|_| Failure::new(format!("what is kept of {} is damaged: create the list again", self.name)))
    }
}

/// A file's name for a reference.
fn file(name: &Reference) -> String {
    name.to_string().replace(':', "-").replace('/', "_")
}

fn folder(list: &Reference) -> PathBuf {
    config::folder().join("manifests").join(file(list))
}

fn name(text: &str) -> Reference {
    Reference::new(text).or_latest()
}

/// The manifests of a list by their names, or nothing where there is no such list.
fn kept(list: &Reference) -> Outcome<Vec<Kept>> {
    let Ok(entries) = std::fs::read_dir(folder(list)) else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| Ok(serde_json::from_slice(&std::fs::read(path)?)?)).collect()
}

fn missing(name: &Reference) -> Failure {
    Failure::new(format!("No such manifest: {name}"))
}

fn keep(list: &Reference, image: &Reference, kept: &Kept) -> Outcome<()> {
    std::fs::create_dir_all(folder(list))?;
    let path = folder(list).join(file(image));
    let part = path.with_extension("part");
    std::fs::write(&part, serde_json::to_vec(kept)?)?;
    Ok(std::fs::rename(part, path)?)
}

/// The engine's path of a manifest.
fn path(name: &Reference) -> String {
    format!("/teu/manifests/{}", name.to_string().split('/').map(escape).collect::<Vec<_>>().join("/"))
}

/// Only an engine of ours speaks to registries for its clients.
fn told(error: Error) -> Failure {
    match error {
        Error::Api { status: 404, message } if message == "page not found" => {
            Failure::new("this engine cannot fetch manifests for its clients: use teu's own engine, or Docker's client")
        }
        other @ (Error::Connect { .. } | Error::Api { .. } | Error::Broken(_) | Error::Json(_)) => registry::local(other),
    }
}

/// Fetches a manifest or list.
fn fetch(client: &Client, name: &Reference) -> Outcome<Kept> {
    let answer: Value = registry::client_for(client, &name.domain)?.call("GET", &path(name), None).map_err(told)?;
    let raw = field(&answer, "Raw").to_owned();
    let descriptor: Descriptor = serde_json::from_value(answer.get("Descriptor").cloned().unwrap_or_default())?;
    let document = serde_json::from_str(&raw).ok();
    let is_oci = descriptor.media_type == OCI_MANIFEST;
    let (docker, oci) = if is_oci { (None, document) } else { (document, None) };
    Ok(Kept { name: name.to_string(), descriptor, raw: STANDARD.encode(raw), docker, oci })
}

fn is_list(kept: &Kept) -> bool {
    matches!(kept.descriptor.media_type.as_str(), LIST | INDEX)
}

fn create(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let list = name(&given.args[0]);
    if !kept(&list)?.is_empty() && !given.on("amend") {
        return Err(Failure::new("refusing to amend an existing manifest list with no --amend flag"));
    }
    let client = context.client()?;
    for text in &given.args[1..] {
        let image = name(text);
        let found = fetch(&client, &image)?;
        if is_list(&found) {
            return Err(Failure::new(format!("{image} is a manifest list")));
        }
        keep(&list, &image, &found)?;
    }
    printer::line(&format!("Created manifest list {list}"));
    Ok(0)
}

fn annotate(_: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let (list, image) = (name(&given.args[0]), name(&given.args[1]));
    let found = kept(&list)?.into_iter().find(|kept| kept.name == image.to_string());
    let mut found =
        found.ok_or_else(|| Failure::new(format!("manifest for image {} does not exist in {}", given.args[1], given.args[0])))?;
    let mut platform = found.descriptor.platform.take().unwrap_or_default();
    for (flag, value) in [
        ("os", &mut platform.os),
        ("arch", &mut platform.architecture),
        ("variant", &mut platform.variant),
        ("os-version", &mut platform.os_version),
    ] {
        if let Some(text) = given.get(flag) {
            text.clone_into(value);
        }
    }
    for feature in given.all("os-features").iter().flat_map(|features| features.split(',')) {
        if !platform.os_features.iter().any(|known| known == feature) {
            platform.os_features.push(feature.to_owned());
        }
    }
    if !is_known(&platform.os, &platform.architecture) {
        let (os, architecture) = (given.get("os").unwrap_or_default(), given.get("arch").unwrap_or_default());
        return Err(Failure::new(format!("manifest entry for image has unsupported os/arch combination: {os}/{architecture}")));
    }
    found.descriptor.platform = Some(platform);
    keep(&list, &image, &found)?;
    Ok(0)
}

/// **Source:** docker/cli, `cli/command/manifest/util.go`, `validOSArches`.
fn is_known(os: &str, architecture: &str) -> bool {
    let architectures: &[&str] = match os {
        "darwin" => &["386", "amd64", "arm", "arm64"],
        "dragonfly" | "solaris" => &["amd64"],
        "freebsd" | "netbsd" | "openbsd" => &["386", "amd64", "arm"],
        "linux" => &["386", "amd64", "arm", "arm64", "ppc64le", "ppc64", "mips64", "mips64le", "riscv64", "s390x"],
        "plan9" => &["386", "amd64"],
        "windows" => &["386", "amd64", "arm", "arm64"],
        _ => &[],
    };
    architectures.contains(&architecture)
}

/// The list's document with its type.
fn document(list: &Reference, manifests: &[Kept]) -> Outcome<(&'static str, String)> {
    for kept in manifests {
        let image = Reference::new(&kept.name);
        if image.domain != list.domain {
            let (one, other) = (image.domain, &list.domain);
            return Err(Failure::new(format!(
                "cannot use source images from a different registry than the target image: {one} != {other}"
            )));
        }
    }
    let is_oci = manifests.first().is_some_and(|kept| kept.descriptor.media_type == OCI_MANIFEST);
    let media_type = if is_oci { INDEX } else { LIST };
    let list = List { schema_version: 2, media_type, manifests: manifests.iter().map(|kept| &kept.descriptor).collect() };
    Ok((media_type, indented(&serde_json::to_vec(&list)?, "   ")))
}

fn push(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let list = name(&given.args[0]);
    let manifests = kept(&list)?;
    if manifests.is_empty() {
        return Err(missing(&list));
    }
    for kept in &manifests {
        let platform = kept.descriptor.platform.as_ref();
        if platform.is_none_or(|platform| platform.os.is_empty() || platform.architecture.is_empty()) {
            return Err(Failure::new(format!("manifest {} must have an OS and Architecture to be pushed to a registry", kept.name)));
        }
    }
    let (media_type, raw) = document(&list, &manifests)?;
    let mut sources = Vec::new();
    for kept in &manifests {
        let image = Reference::new(&kept.name);
        if image.repository() != list.repository() {
            sources.push(format!("{}@{}", image.repository(), kept.descriptor.digest));
        }
    }
    let body = serde_json::json!({"MediaType": media_type, "Raw": raw, "Sources": sources});
    let client = context.client()?;
    let answer: Value = registry::client_for(&client, &list.domain)?.call("PUT", &path(&list), Some(&body)).map_err(told)?;
    for source in &sources {
        let digest = source.rsplit('@').next().unwrap_or_default();
        printer::line(&format!("Pushed ref {}@{digest} with digest: {digest}", list.repository()));
    }
    printer::line(field(&answer, "Digest"));
    if given.on("purge") {
        std::fs::remove_dir_all(folder(&list))?;
    }
    Ok(0)
}

fn inspect(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let verbose = given.on("verbose");
    if let [list, image] = given.args.as_slice() {
        let (list, image) = (name(list), name(image));
        let found = kept(&list)?.into_iter().find(|kept| kept.name == image.to_string());
        return show(&found.ok_or_else(|| missing(&image))?, verbose);
    }
    let list = name(&given.args[0]);
    let manifests = kept(&list)?;
    if !manifests.is_empty() {
        if verbose {
            printer::line(&indented(&serde_json::to_vec(&manifests)?, "\t"));
        } else {
            printer::line(&document(&list, &manifests)?.1);
        }
        return Ok(0);
    }
    let client = context.client()?;
    let found = fetch(&client, &list)?;
    if !is_list(&found) {
        return show(&found, verbose);
    }
    let document = found.document()?;
    if !verbose {
        printer::line(&indented(&document, "   "));
        return Ok(0);
    }
    let index: Value = serde_json::from_slice(&document)?;
    let mut all = Vec::new();
    for entry in crate::json::items(&index, "manifests") {
        let member = Reference { tag: None, digest: Some(field(entry, "digest").to_owned()), ..list.clone() };
        let mut kept = fetch(&client, &member)?;
        kept.descriptor.platform = entry.get("platform").cloned().map(serde_json::from_value).transpose()?;
        all.push(kept);
    }
    printer::line(&indented(&serde_json::to_vec(&all)?, "\t"));
    Ok(0)
}

fn show(kept: &Kept, verbose: bool) -> Outcome<u8> {
    let text = if verbose { serde_json::to_vec(kept)? } else { kept.document()? };
    printer::line(&indented(&text, "\t"));
    Ok(0)
}

fn remove(_: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    super::each(&given.args, |text| {
        let list = name(text);
        if kept(&list)?.is_empty() {
            return Err(missing(&list));
        }
        std::fs::remove_dir_all(folder(&list))?;
        Ok(None)
    })
}

/// Breaks JSON into lines without changing anything else. **Source:** Go, `encoding/json`, `Indent`.
fn indented(json: &[u8], indent: &str) -> String {
    let mut result = Vec::new();
    let (mut depth, mut quoted, mut escaped, mut opened) = (0usize, false, false, false);
    let newline = |result: &mut Vec<u8>, depth: usize| {
        result.push(b'\n');
        result.extend(indent.repeat(depth).bytes());
    };
    for &byte in json {
        if quoted {
            result.push(byte);
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        if byte.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(byte, b'}' | b']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // Inside what was just opened, and before what ends something that is not empty.
        if opened != closes {
            newline(&mut result, depth);
        }
        opened = matches!(byte, b'{' | b'[');
        result.push(byte);
        match byte {
            b'{' | b'[' => depth += 1,
            b',' => newline(&mut result, depth),
            b':' => result.push(b' '),
            b'"' => quoted = true,
            _ => {}
        }
    }
    String::from_utf8_lossy(&result).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_broken_into_lines_as_go_does() {
        let text = br#"{"a":[],"b":{ "c":"x,\"{}:" ,"d":[1,2]}}"#;
        let expected = "{\n\t\"a\": [],\n\t\"b\": {\n\t\t\"c\": \"x,\\\"{}:\",\n\t\t\"d\": [\n\t\t\t1,\n\t\t\t2\n\t\t]\n\t}\n}";
        assert_eq!(indented(text, "\t"), expected);
    }
}
