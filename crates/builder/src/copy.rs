//! `COPY` and `ADD`: files of the context, of stages, of images, of the Dockerfile and of the network.

use std::io::Read as _;
use std::sync::Arc;

use docker_api::archive::{ExtractOptions, Owner, Tree, extract};
use image::ImageId;
use rustix::fs::{FileType, OFlags};
use sha2::{Digest as _, Sha256};

use crate::dockerfile::{Copy, Step};
use crate::error::BuildError;
use crate::git::GitRef;
use crate::source::Named;
use crate::stage::{Work, absolute, fail};
use crate::tree::{self, Attributes, Copier, ModeChange, View};

/// One source that was found.
struct Found {
    tree: View,
    path: String,
    /// What it is called at the destination.
    name: String,
    directory: bool,
    /// Whether it is an archive to unpack.
    archive: bool,
    /// Where it goes below the destination, for `--parents`.
    parent: String,
}

/// What is copied, where to and how.
struct Plan {
    found: Vec<Found>,
    target: String,
    /// Whether the destination is meant to be a directory.
    into: bool,
    attributes: Attributes,
    exclude: Vec<String>,
}

/// Does one instruction. Answers whether its result was there already.
pub(crate) async fn copy(work: &mut Work<'_>, step: &Step, instruction: &Copy, add: bool) -> Result<bool, BuildError> {
    let failed = |reason: String| fail(step, reason);
    let sources = instruction.sources.iter().map(|source| work.expand(source)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let destination = work.expand(&instruction.destination).map_err(failed)?;
    let owner = instruction.chown.as_deref().map(|text| owner(work, text)).transpose().map_err(failed)?;
    let mode = match instruction.chmod.as_deref().map(|text| work.expand(text)).transpose().map_err(failed)? {
        Some(text) => Some(
            ModeChange::parse(&text)
                .ok_or_else(|| failed(format!("invalid chmod parameter: '{text}'; use an octal number or clauses such as u=rwX,go=rX")))?,
        ),
        None => None,
    };
    // What comes from the context belongs to root, what comes from an image keeps its owner.
    let owner = owner.or_else(|| instruction.from.is_none().then_some((0, 0)));
    let attributes = Attributes { owner, mode };
    let main = origin(work, instruction.from.as_deref()).await.map_err(failed)?;
    let (target, text) = (absolute(&work.config.working_dir, &destination), step.text.clone());
    let into =
        sources.len() + instruction.inline.len() > 1 || destination.ends_with('/') || destination.ends_with("/.") || destination == ".";
    let key = work.key.clone();
    let key_of = move |target: &str, into: bool, digest: &[u8; 32]| key.then(&[b"copy", target.as_bytes(), &[u8::from(into)], digest]);
    // An image does not change: what was once read of it need not be read again.
    let selection = match &main {
        Origin::Image(image) if instruction.inline.is_empty() && !add => {
            let wanted = format!("{image} {sources:?} {} {:?} {attributes:?} {into}", instruction.parents, instruction.exclude);
            Some(Sha256::digest(wanted).into())
        }
        Origin::Image(_) | Origin::View(_) => None,
    };
    if let Some((into, digest)) = selection.and_then(|selection| work.context.builder.selections.get(&selection))
        && work.cached(&key_of(&target, into, &digest))
    {
        return Ok(true);
    }
    let mut found = fetch(work, instruction, &sources, add).await.map_err(failed)?;
    inline(work, instruction, &mut found).map_err(failed)?;
    let unpack = add && instruction.unpack.unwrap_or(true);
    let (parents, exclude) = (instruction.parents, instruction.exclude.clone());
    let plain: Vec<String> = sources.into_iter().filter(|source| !(add && is_remote(source))).collect();
    let main = if plain.is_empty() { None } else { Some(main.open(work).await.map_err(failed)?) };
    let located = tokio::task::spawn_blocking(move || -> Result<(Plan, [u8; 32]), String> {
        for (main, source) in main.iter().flat_map(|main| plain.iter().map(move |source| (main, source))) {
            found.extend(locate(main, source, unpack, parents)?);
        }
        let plan = Plan { into: into || found.len() > 1, found, target, attributes, exclude };
        let digest = plan.digest()?;
        Ok((plan, digest))
    });
    let (plan, digest) = located.await.map_err(|panic| BuildError::Internal(panic.to_string()))?.map_err(failed)?;
    if let Some(selection) = selection {
        work.context.builder.selections.put(selection, (plan.into, digest));
    }
    let key = key_of(&plan.target, plan.into, &digest);
    work.layer(step, key, format!("{text} # buildkit"), move |root| plan.write(root)).await
}

fn is_remote(source: &str) -> bool {
    is_url(source) || matches!(GitRef::parse(source), Ok(Some(_)) | Err(_))
}

fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// Where sources are looked for.
pub(crate) enum Origin {
    /// Files that are open.
    View(View),
    /// An image, which is opened where it must be.
    Image(ImageId),
}

impl Origin {
    pub(crate) async fn open(self, work: &Work<'_>) -> Result<View, String> {
        let image = match self {
            Self::View(view) => return Ok(view),
            Self::Image(image) => image,
        };
        let images = work.context.builder.images.clone();
        let opened = tokio::task::spawn_blocking(move || images.open_image(&image)).await.map_err(|panic| panic.to_string())?;
        opened.map(|root| View::whole(Arc::new(root))).map_err(|error| crate::stage::chain(&error))
    }
}

/// Finds out what `--from` means.
pub(crate) async fn origin(work: &Work<'_>, from: Option<&str>) -> Result<Origin, String> {
    let Some(from) = from else { return work.context.files(None, work.triggered).await.map(Origin::View) };
    let platform = work.context.request.platform.as_ref();
    let image = match (work.context.request.contexts.get(from), work.context.find_stage(from, work.index)) {
        (Some(Named::Files), _) => return work.context.files(Some(from), true).await.map(Origin::View),
        (Some(Named::Image(name)), _) => work.context.sources.image(name, platform, false).await?,
        (None, Some(stage)) => work.context.stage(stage).await.map_err(|error| error.to_string())?.image,
        (None, None) => work.context.sources.image(from, platform, false).await?,
    };
    Ok(Origin::Image(image))
}

/// `user[:group]` as numbers, by the files of the stage.
fn owner(work: &Work<'_>, text: &str) -> Result<(u32, u32), String> {
    let text = work.expand(text)?;
    let (user, group) = text.split_once(':').map_or((text.as_str(), None), |(user, group)| (user, Some(group)));
    let read = |path: &str| {
        let file = work.context.builder.images.read_file(&work.image, std::path::Path::new(path)).map_err(|error| error.to_string())?;
        Ok::<_, String>(file.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
    };
    let field = |file: &str, name: &str, index: usize| {
        let line = file.lines().find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(index)?.parse::<u32>().ok()
    };
    let passwd = read("etc/passwd")?;
    let uid = match user.parse::<u32>() {
        Ok(uid) => uid,
        Err(_) => field(&passwd, user, 2).ok_or_else(|| format!("unable to find user {user}: no matching entries in passwd file"))?,
    };
    let gid = match group {
        None => match user.parse::<u32>() {
            // A number alone is meant for both.
            Ok(uid) => uid,
            Err(_) => field(&passwd, user, 3).unwrap_or(uid),
        },
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => field(&read("etc/group")?, group, 2)
                .ok_or_else(|| format!("unable to find group {group}: no matching entries in group file"))?,
        },
    };
    Ok((uid, gid))
}

/// Fetches the sources of `ADD` that are addresses.
async fn fetch(work: &Work<'_>, instruction: &Copy, sources: &[String], add: bool) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    let checksum = instruction.checksum.as_deref().map(|text| work.expand(text)).transpose()?;
    for source in sources.iter().filter(|source| add && is_remote(source)) {
        let directory = work.context.work.0.join(format!("remote-{}-{}-{}", work.index, work.position(), found.len()));
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        if let Some(mut repository) = GitRef::parse(source)? {
            if let Some(checksum) = &checksum {
                checksum.clone_into(&mut repository.checksum);
            }
            let (_, folder) = repository.checkout(&directory, instruction.keep_git_dir).await?;
            let tree = open_directory(&folder)?;
            found.push(Found { tree, path: String::new(), name: String::new(), directory: true, archive: false, parent: String::new() });
            continue;
        }
        let (name, modified) = work.context.sources.url(source, &directory).await?;
        let path = directory.join(&name);
        if let Some(checksum) = &checksum {
            check(&path, checksum)?;
        }
        let file = std::fs::File::open(&path).map_err(|error| error.to_string())?;
        let time = modified.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
        // A time that is not known is the beginning of time, so that the result is the same each time.
        let set = file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(time));
        set.and_then(|()| file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))).map_err(|error| error.to_string())?;
        let archive = instruction.unpack == Some(true);
        found.push(Found { tree: open_directory(&directory)?, path: name.clone(), name, directory: false, archive, parent: String::new() });
    }
    if checksum.is_some() && found.is_empty() {
        return Err("--checksum is for sources that are addresses".to_owned());
    }
    Ok(found)
}

fn open_directory(path: &std::path::Path) -> Result<View, String> {
    let opened = std::fs::File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    Ok(View::whole(Arc::new(opened.into())))
}

fn check(path: &std::path::Path, expected: &str) -> Result<(), String> {
    let mut hash = Sha256::new();
    let mut file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    std::io::copy(&mut file, &mut hash).map_err(|error| error.to_string())?;
    let actual = format!("sha256:{}", hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    if actual == expected { Ok(()) } else { Err(format!("digest mismatch: expected {expected}, got {actual}")) }
}

/// Writes the here-documents of the instruction to files.
fn inline(work: &Work<'_>, instruction: &Copy, found: &mut Vec<Found>) -> Result<(), String> {
    if instruction.inline.is_empty() {
        return Ok(());
    }
    let directory = work.context.work.0.join(format!("inline-{}-{:02x}{:02x}", work.index, work.key.0[0], work.key.0[1]));
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    for doc in &instruction.inline {
        let content = if doc.expand { work.expand(&doc.content)? } else { doc.content.clone() };
        if doc.name.contains('/') {
            return Err(format!("`{}` is no name of a file", doc.name));
        }
        std::fs::write(directory.join(&doc.name), content).map_err(|error| error.to_string())?;
        found.push(Found {
            tree: open_directory(&directory)?,
            path: doc.name.clone(),
            name: doc.name.clone(),
            directory: false,
            archive: false,
            parent: String::new(),
        });
    }
    Ok(())
}

fn locate(main: &View, source: &str, unpack: bool, parents: bool) -> Result<Vec<Found>, String> {
    // What stands before `./` is not kept.
    let pivot = if parents { source.split_once("/./").map_or(0, |(before, _)| tree::clean(before).len()) } else { 0 };
    let paths = tree::find(main, source).map_err(|error| format!("cannot read `{source}`: {error}"))?;
    if paths.is_empty() {
        return Err(format!("\"/{}\": not found", tree::clean(source)));
    }
    let mut found = Vec::new();
    for path in paths {
        let Some(stat) = tree::stat(main.fd(), &path).map_err(|error| format!("cannot read `{path}`: {error}"))? else { continue };
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let directory = tree::is_directory(&stat);
        let archive = unpack && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && is_archive(main, &path);
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        let parent = match parents {
            true if directory => path.get(pivot..).unwrap_or_default().trim_matches('/').to_owned(),
            true => above.get(pivot.min(above.len())..).unwrap_or_default().trim_matches('/').to_owned(),
            false => String::new(),
        };
        found.push(Found { tree: main.clone(), path, name, directory, archive, parent });
    }
    Ok(found)
}

/// Whether a file is a tar, plain or compressed, by its content.
fn is_archive(tree: &View, path: &str) -> bool {
    let head = || -> std::io::Result<bool> {
        let file = std::fs::File::from(tree::open(tree.fd(), path, OFlags::RDONLY)?);
        let mut plain = image::sniffing(file)?;
        let mut block = [0; 512];
        plain.read_exact(&mut block)?;
        Ok(&block[257..262] == b"ustar")
    };
    head().unwrap_or(false)
}

impl Plan {
    fn digest(&self) -> Result<[u8; 32], String> {
        let mut hash = Sha256::new();
        for found in &self.found {
            for text in [&found.name, &found.parent] {
                hash.update(text.len().to_le_bytes());
                hash.update(text);
            }
            hash.update([u8::from(found.directory), u8::from(found.archive)]);
            let skip = |path: &str| self.excluded(path);
            tree::digest(&found.tree, &found.path, &self.attributes, &skip, &mut hash)
                .map_err(|error| format!("cannot read `{}`: {error}", found.path))?;
        }
        hash.update(format!("{:?} {:?}", self.attributes, self.exclude));
        Ok(hash.finalize().into())
    }

    /// Whether a path below a source is left out.
    fn excluded(&self, path: &str) -> bool {
        let fits = |pattern: &String| {
            let pattern = tree::clean(pattern);
            match pattern.strip_prefix("**/") {
                Some(rest) => path.split('/').any(|part| docker_api::ignore::matches(rest, part)),
                None => {
                    let (parts, names): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
                    parts.len() == names.len() && parts.iter().zip(&names).all(|(part, name)| docker_api::ignore::matches(part, name))
                }
            }
        };
        self.exclude.iter().any(fits)
    }

    fn write(self, root: std::os::fd::BorrowedFd<'_>) -> Result<(), String> {
        let there = tree::stat(root, &self.target).map_err(|error| error.to_string())?;
        let is_directory = there.as_ref().is_some_and(tree::is_directory);
        if self.into && there.is_some() && !is_directory {
            return Err(format!("cannot copy to `{}`: it is no directory", self.target));
        }
        for found in &self.found {
            let skip = |path: &str| self.excluded(path);
            let copier = Copier { from: &found.tree, to: root, attributes: &self.attributes, skip: &skip };
            let below = if found.parent.is_empty() { self.target.clone() } else { format!("{}/{}", self.target, found.parent) };
            let failed = |error: std::io::Error| format!("cannot copy `{}`: {error}", found.path);
            if found.archive {
                unpack(found, root, &below, self.attributes.owner)?;
            } else if found.directory || !(self.into || is_directory) {
                if !found.parent.is_empty() && !found.directory {
                    copier.copy(&found.path, &format!("{below}/{}", found.name)).map_err(failed)?;
                } else {
                    copier.copy(&found.path, &below).map_err(failed)?;
                }
            } else if !self.excluded(&found.name) {
                copier.copy(&found.path, &format!("{below}/{}", found.name)).map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn unpack(found: &Found, root: std::os::fd::BorrowedFd<'_>, target: &str, owner: Option<(u32, u32)>) -> Result<(), String> {
    tree::make_directories(root, target, owner).map_err(|error| error.to_string())?;
    let file = std::fs::File::from(tree::open(found.tree.fd(), &found.path, OFlags::RDONLY).map_err(|error| error.to_string())?);
    let plain = image::sniffing(file).map_err(|error| format!("cannot unpack `{}`: {error}", found.path))?;
    let options = ExtractOptions { folder: target.to_owned(), keep_kinds: false, owner: Owner::Archive, rename: None };
    let tree = Tree::of_container(root.try_clone_to_owned().map_err(|error| error.to_string())?);
    extract(&tree, &options, plain).map(drop).map_err(|error| format!("cannot unpack `{}`: {error}", found.path))
}
