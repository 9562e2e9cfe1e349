//! `--call outline` and `--call targets`: what a Dockerfile offers and asks for.

#![expect(clippy::wildcard_enum_match_arm, reason = "few instructions ask for anything")]

use std::collections::{BTreeMap, BTreeSet};

use super::lines::{self, Logical};
use super::{Dockerfile, Instruction, ParseError, RunMountKind, expand};

/// Something that a build may be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What the comment above says of it.
    pub description: String,
    /// An argument's default, with variables replaced.
    pub value: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// Its line.
    pub line: usize,
}

/// What one stage and those that it needs ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Name of the stage.
    pub name: String,
    /// What the comment above its `FROM` says.
    pub description: String,
    /// Arguments.
    pub arguments: Vec<Parameter>,
    /// Secrets.
    pub secrets: Vec<Parameter>,
    /// Agents of ssh keys.
    pub agents: Vec<Parameter>,
    /// Caches.
    pub caches: Vec<Parameter>,
}

/// A stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Its name; empty for one without.
    pub name: String,
    /// What the comment above its `FROM` says.
    pub description: String,
    /// Its base.
    pub base: String,
    /// Its platform, as written.
    pub platform: String,
    /// Whether it is built where no target is asked for.
    pub default: bool,
    /// First line of its `FROM`.
    pub line: usize,
}

/// The comment that describes `name`: it begins with the name.
fn description(logical: Option<&Logical>, name: &str) -> String {
    let comments = logical.into_iter().flat_map(|logical| &logical.comments);
    let mut found = comments.filter_map(|comment| comment.strip_prefix(name)?.strip_prefix(' '));
    found.next().unwrap_or_default().trim().to_owned()
}

fn read(bytes: &[u8]) -> Result<(Dockerfile, BTreeMap<usize, Logical>), ParseError> {
    let file = Dockerfile::parse(bytes)?;
    let (_, all) = lines::split(&String::from_utf8_lossy(bytes))?;
    Ok((file, all.into_iter().map(|logical| (logical.line, logical)).collect()))
}

/// All stages of a file, in order.
///
/// # Errors
/// [`ParseError`].
pub fn targets(bytes: &[u8]) -> Result<Vec<Target>, ParseError> {
    let (file, all) = read(bytes)?;
    let last = file.stages.len() - 1;
    let target = |(index, stage): (usize, &super::Stage)| {
        let name = stage.name.clone().unwrap_or_default();
        Target {
            description: description(all.get(&stage.line), &name),
            name,
            base: stage.base.clone(),
            platform: stage.platform.clone().unwrap_or_default(),
            default: index == last,
            line: stage.line,
        }
    };
    Ok(file.stages.iter().enumerate().map(target).collect())
}

#[expect(clippy::too_many_lines, reason = "one walk over stages and steps, a few lines for each kind")]
/// What a stage asks for; none is the last.
///
/// # Errors
/// [`ParseError`], also where there is no such stage.
pub fn outline(bytes: &[u8], target: Option<&str>, given: &BTreeMap<String, Option<String>>) -> Result<Outline, ParseError> {
    let (file, all) = read(bytes)?;
    let find = |name: &str, before: usize| {
        let lower = name.to_ascii_lowercase();
        let named = file.stages[..before].iter().rposition(|stage| stage.name.as_deref() == Some(&lower));
        named.or_else(|| name.parse().ok().filter(|index| *index < before))
    };
    let index = match target {
        None => file.stages.len() - 1,
        Some(name) => {
            find(name, file.stages.len()).ok_or_else(|| ParseError::new(0, format!("target stage \"{name}\" could not be found")))?
        }
    };
    let name = file.stages[index].name.clone().unwrap_or_default();
    let mut outline = Outline { description: description(all.get(&file.stages[index].line), &name), name, ..Outline::default() };
    let mut globals = BTreeMap::new();
    let mut places: BTreeMap<&str, Parameter> = BTreeMap::new();
    let top = all.values().filter(|logical| logical.line < file.stages[0].line);
    let of = |name: &str| top.clone().find(|logical| words_hold(logical, name));
    for (name, default) in &file.arguments {
        let value = given
            .get(name)
            .cloned()
            .flatten()
            .or_else(|| expand(default.as_deref()?, file.directives.escape, &|name| globals.get(name).cloned()).ok());
        let place = of(name);
        let line = place.map_or(0, |logical| logical.line);
        let description = description(place, name);
        places.insert(name, Parameter { name: name.clone(), description, value: value.clone().unwrap_or_default(), required: false, line });
        globals.extend(value.map(|value| (name.clone(), value)));
    }
    let mut needed = BTreeSet::new();
    let mut waiting = vec![index];
    while let Some(index) = waiting.pop() {
        if !needed.insert(index) {
            continue;
        }
        let stage = &file.stages[index];
        waiting.extend(find(&stage.base, index));
        for (name, place) in &places {
            let used = [Some(&stage.base), stage.platform.as_ref()].into_iter().flatten().any(|text| mentions(text, name));
            if used {
                add(&mut outline.arguments, place.clone());
            }
        }
        for step in &stage.steps {
            let logical = all.get(&step.line);
            match &step.instruction {
                Instruction::Copy(copy) => waiting.extend(copy.from.as_deref().and_then(|name| find(name, index))),
                Instruction::Arg(arguments) => {
                    for (name, default) in arguments {
                        let global = places.get(name.as_str());
                        let own = description(logical, name);
                        let value = given.get(name).cloned().flatten();
                        let value = value.or_else(|| default.clone()).or_else(|| global.map(|global| global.value.clone()));
                        add(
                            &mut outline.arguments,
                            Parameter {
                                name: name.clone(),
                                description: if own.is_empty() { global.map(|it| it.description.clone()).unwrap_or_default() } else { own },
                                value: value.unwrap_or_default(),
                                required: false,
                                line: step.line,
                            },
                        );
                    }
                }
                Instruction::Run(run) => {
                    for mount in &run.mounts {
                        let get = |key: &str| mount.options.get(key).cloned();
                        waiting.extend(get("from").and_then(|name| find(&name, index)));
                        let target = get("target").unwrap_or_default();
                        let base = target.rsplit('/').next().unwrap_or_default().to_owned();
                        let (list, name) = match mount.kind {
                            RunMountKind::Secret => (&mut outline.secrets, get("id").or_else(|| get("source")).unwrap_or(base)),
                            RunMountKind::Ssh => (&mut outline.agents, get("id").unwrap_or_else(|| "default".to_owned())),
                            RunMountKind::Cache => (&mut outline.caches, get("id").unwrap_or(target)),
                            RunMountKind::Bind | RunMountKind::Tmpfs => continue,
                        };
                        let required = get("required").is_some_and(|text| text == "true");
                        add(list, Parameter { name, required, line: step.line, ..Parameter::default() });
                    }
                }
                _ => {}
            }
        }
    }
    for list in [&mut outline.arguments, &mut outline.secrets, &mut outline.agents, &mut outline.caches] {
        list.sort_by_key(|parameter| parameter.line);
    }
    Ok(outline)
}

/// Adds what is not there; something that one step needs is needed.
fn add(list: &mut Vec<Parameter>, new: Parameter) {
    match list.iter_mut().find(|known| known.name == new.name) {
        Some(known) => known.required |= new.required,
        None => list.push(new),
    }
}

fn words_hold(logical: &Logical, name: &str) -> bool {
    logical.text.split_whitespace().skip(1).any(|word| word.split('=').next() == Some(name))
}

/// Whether a text reads a variable.
fn mentions(text: &str, name: &str) -> bool {
    let seen = std::cell::Cell::new(false);
    let _ = expand(text, '\\', &|asked| {
        seen.set(seen.get() || asked == name);
        None
    });
    seen.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"# VERSION of the base\nARG VERSION=1\n# build compiles\nFROM a:$VERSION AS build\n# MODE is debug or release\nARG MODE=debug\nRUN --mount=type=secret,id=key,required --mount=type=cache,target=/c x\n\nFROM scratch\nCOPY --from=build /x /\n";

    #[test]
    fn stages_and_what_they_ask_for_are_told() {
        let all = targets(FILE).unwrap();
        assert_eq!((all[0].name.as_str(), all[0].description.as_str(), all[0].default), ("build", "compiles", false));
        assert_eq!((all[1].base.as_str(), all[1].default, all[1].line), ("scratch", true, 9));
        let outline = outline(FILE, None, &BTreeMap::new()).unwrap();
        let arguments: Vec<_> = outline.arguments.iter().map(|it| (it.name.as_str(), it.value.as_str(), it.description.as_str())).collect();
        assert_eq!(arguments, [("VERSION", "1", "of the base"), ("MODE", "debug", "is debug or release")]);
        assert_eq!((outline.secrets[0].name.as_str(), outline.secrets[0].required), ("key", true));
        assert_eq!(outline.caches[0].name, "/c");
        assert!(super::outline(FILE, Some("none"), &BTreeMap::new()).is_err());
    }
}
