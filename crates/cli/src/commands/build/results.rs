//! Where the result of a build goes beside the engine's store: `--output`, `--push`, `--load`, and the files about it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use docker_api::archive::{ExtractOptions, Owner, Tree, extract};
use docker_api::client::{Client, escape};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::printer;

/// One `--output`.
#[derive(Debug, PartialEq, Eq)]
enum Output {
    /// The files, into a directory.
    Local(PathBuf),
    /// The files as an archive; none is standard output.
    Tar(Option<PathBuf>),
    /// The image as an archive.
    Image(Option<PathBuf>),
    /// The image as a directory.
    Layout(PathBuf),
    /// Names for the image, and whether it goes to their registries.
    Names(Vec<String>, bool),
}

/// All that is wished for.
#[derive(Debug, Default)]
pub(super) struct Results {
    outputs: Vec<Output>,
}

impl Results {
    pub(super) fn new(given: &Given) -> Outcome<Self> {
        let mut outputs = given.all("output").iter().map(|text| parse(text).map_err(Failure::new)).collect::<Outcome<Vec<_>>>()?;
        if given.on("push") {
            if given.all("tag").is_empty() {
                return Err(Failure::new("--push needs a name: give it with --tag"));
            }
            outputs.push(Output::Names(Vec::new(), true));
        }
        Ok(Self { outputs })
    }

    /// Names that outputs bring beside `--tag`.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.outputs.iter().flat_map(|output| match output {
            Output::Names(names, _) => names.as_slice(),
            Output::Local(_) | Output::Tar(_) | Output::Image(_) | Output::Layout(_) => &[],
        })
    }

    /// Brings the image to where it shall be.
    pub(super) fn deliver(&self, context: &Context, image: &str, tags: &[String]) -> Outcome<()> {
        let mut client = context.client()?;
        for output in &self.outputs {
            match output {
                Output::Local(directory) => files(&mut client, image, &mut |stream| unpack(directory, stream))?,
                Output::Tar(file) => files(&mut client, image, &mut |stream| write(file.as_deref(), stream))?,
                Output::Image(file) => write(file.as_deref(), &mut archive(&mut client, image, tags)?)?,
                Output::Layout(directory) => unpack(directory, &mut archive(&mut client, image, tags)?)?,
                Output::Names(_, false) => {}
                Output::Names(names, true) => {
                    for name in if names.is_empty() { tags } else { names } {
                        crate::commands::registry::push_name(context, name)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads `type=…,dest=…`; a lone path is a directory, `-` an archive on standard output.
fn parse(text: &str) -> Result<Output, String> {
    if !text.contains('=') {
        return Ok(if text == "-" { Output::Tar(None) } else { Output::Local(PathBuf::from(text)) });
    }
    let (mut kind, mut dest, mut names, mut push, mut tar) = ("", None, Vec::new(), false, true);
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, "true"));
        let on = || value.parse::<bool>().map_err(|_| format!("invalid output \"{text}\": {key} is true or false"));
        match key.trim().to_ascii_lowercase().as_str() {
            "type" => kind = value,
            "dest" => dest = Some(value).filter(|value| *value != "-").map(PathBuf::from),
            "name" => names.push(value.to_owned()),
            "push" => push = on()?,
            "tar" => tar = on()?,
            other => return Err(format!("invalid output \"{text}\": there is no option {other}; use type, dest, name, push or tar")),
        }
    }
    let needed = |dest: Option<PathBuf>| dest.ok_or_else(|| format!("invalid output \"{text}\": dest is required for {kind} output"));
    match kind {
        "local" => Ok(Output::Local(needed(dest)?)),
        "tar" => Ok(Output::Tar(dest)),
        "oci" | "docker" if tar => match (kind, &dest) {
            // Without a place the image only goes to the engine, where it is already.
            ("docker", None) if !text.contains("dest=") => Ok(Output::Names(names, false)),
            _ => Ok(Output::Image(dest)),
        },
        "oci" | "docker" => Ok(Output::Layout(needed(dest)?)),
        "image" => Ok(Output::Names(names, push)),
        "registry" => Ok(Output::Names(names, true)),
        "" => Err(format!("invalid output \"{text}\": type is required; use local, tar, oci, docker, image or registry")),
        other => Err(format!("invalid output type \"{other}\"; use local, tar, oci, docker, image or registry")),
    }
}

fn archive(client: &mut Client, image: &str, tags: &[String]) -> Outcome<impl Read + use<>> {
    let names = if tags.is_empty() { vec![image.to_owned()] } else { tags.to_vec() };
    let query: Vec<String> = names.iter().map(|name| format!("names={}", escape(name))).collect();
    Ok(client.stream("GET", &format!("/images/get?{}", query.join("&")), None)?)
}

/// The files of an image, through a container that never runs.
fn files(client: &mut Client, image: &str, write: &mut dyn FnMut(&mut dyn Read) -> Outcome<()>) -> Outcome<()> {
    let body = json!({"Image": image, "Cmd": ["none"], "NetworkDisabled": true});
    let made: Value = client.call("POST", "/containers/create", Some(&body))?;
    let id = made.get("Id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let written =
        client.stream("GET", &format!("/containers/{id}/export"), None).map_err(Failure::from).and_then(|mut stream| write(&mut stream));
    let removed = client.call::<Value>("DELETE", &format!("/containers/{id}?force=1&v=1"), None);
    written?;
    removed?;
    Ok(())
}

fn write(file: Option<&Path>, stream: &mut dyn Read) -> Outcome<()> {
    let Some(path) = file else {
        if printer::stdout_is_terminal() {
            return Err(Failure::new("dest file is required: an archive is not written to a terminal"));
        }
        io::copy(stream, &mut io::stdout().lock())?;
        return Ok(());
    };
    let failed = |error: io::Error| Failure::new(format!("cannot write {}: {error}", path.display()));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let mut out = File::create(&part).map_err(failed)?;
    let done = io::copy(stream, &mut out).and_then(|_| out.sync_all()).and_then(|()| std::fs::rename(&part, path));
    if done.is_err() {
        // What is half-made does not stay.
        let _ = std::fs::remove_file(&part);
    }
    done.map_err(failed)
}

fn unpack(directory: &Path, stream: &mut dyn Read) -> Outcome<()> {
    let failed = |error: io::Error| Failure::new(format!("cannot write to {}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    let tree = Tree::of_container(File::open(directory).map_err(failed)?.into());
    let owner = if rustix::process::geteuid().is_root() { Owner::Archive } else { Owner::Caller };
    let options = ExtractOptions { folder: "/".to_owned(), keep_kinds: false, owner, rename: None };
    extract(&tree, &options, stream).map(drop).map_err(|error| Failure::new(format!("cannot write to {}: {error}", directory.display())))
}

/// Writes the files that say what came of the build.
pub(super) fn describe(context: &Context, given: &Given, image: &str, tags: &[String]) -> Outcome<()> {
    if let Some(file) = given.get("iidfile") {
        std::fs::write(file, image).map_err(|error| Failure::new(format!("cannot write the image ID to {file}: {error}")))?;
    }
    let Some(file) = given.get("metadata-file") else { return Ok(()) };
    let inspected: Value = context.client()?.call("GET", &format!("/images/{image}/json"), None)?;
    let mut metadata = json!({"containerimage.config.digest": image, "containerimage.digest": image});
    if let Some(descriptor) = inspected.get("Descriptor").filter(|it| it.is_object()) {
        metadata["containerimage.descriptor"] = descriptor.clone();
        metadata["containerimage.digest"] = descriptor["digest"].clone();
    }
    if !tags.is_empty() {
        metadata["image.name"] = json!(tags.join(","));
    }
    let mut text = serde_json::to_string_pretty(&metadata).map_err(|error| Failure::new(error.to_string()))?;
    text.push('\n');
    std::fs::write(file, text).map_err(|error| Failure::new(format!("cannot write the metadata to {file}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read() {
        assert_eq!(parse("out"), Ok(Output::Local("out".into())));
        assert_eq!(parse("-"), Ok(Output::Tar(None)));
        assert_eq!(parse("type=tar,dest=a.tar"), Ok(Output::Tar(Some("a.tar".into()))));
        assert_eq!(parse("type=oci,dest=-"), Ok(Output::Image(None)));
        assert_eq!(parse("type=oci,dest=d,tar=false"), Ok(Output::Layout("d".into())));
        assert_eq!(parse("type=docker"), Ok(Output::Names(Vec::new(), false)));
        assert_eq!(parse("type=image,name=a,push=true"), Ok(Output::Names(vec!["a".to_owned()], true)));
        for bad in ["type=local", "type=x", "dest=a", "type=oci,dest=a,what=b"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
