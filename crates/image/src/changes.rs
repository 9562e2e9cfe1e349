//! Dockerfile instructions that change a configuration: `--change` of `import` and `commit`.
//!
//! **Source:** Dockerfile reference; moby, `builder/dockerfile`, `BuildFromConfig` (texts of errors).

mod words;

use oci::image::{Config, Empty, Healthcheck};

/// Applies instructions in order.
///
/// # Errors
/// What is wrong, in Docker's words; `config` may then be changed in part.
pub fn apply(config: &mut Config, changes: &[String]) -> Result<(), String> {
    let mut cmd_given = false;
    for line in changes.iter().flat_map(|change| change.lines()).map(str::trim).filter(|line| !line.is_empty()) {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let name = name.to_ascii_uppercase();
        instruction(config, &name, rest.trim())?;
        cmd_given |= name == "CMD";
        if name == "ENTRYPOINT" && !cmd_given {
            // A command that was meant for another entry point is dropped.
            config.cmd = None;
        }
    }
    Ok(())
}

fn instruction(config: &mut Config, name: &str, rest: &str) -> Result<(), String> {
    let missing = || Err(format!("{name} requires at least one argument"));
    match name {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            for (key, value) in words::pairs(name, rest)? {
                config.env.retain(|known| known.split_once('=').is_none_or(|(other, _)| other != key));
                config.env.push(format!("{key}={value}"));
            }
        }
        "LABEL" => config.labels.extend(words::pairs(name, rest)?),
        "EXPOSE" if rest.is_empty() => return missing(),
        "EXPOSE" => {
            for word in words::split(rest)? {
                expose(config, &word)?;
            }
        }
        "USER" => config.user = one(name, rest)?,
        "VOLUME" if rest.is_empty() => return missing(),
        "VOLUME" => {
            let paths = words::json(rest).map_or_else(|| words::split(rest), Ok)?;
            if paths.iter().any(String::is_empty) {
                return Err("VOLUME specified can not be an empty string".to_owned());
            }
            config.volumes.extend(paths.into_iter().map(|path| (path, Empty {})));
        }
        "WORKDIR" => config.working_dir = directory(&config.working_dir, &one(name, rest)?),
        "ONBUILD" => {
            let trigger = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            match trigger.as_str() {
                "" => return missing(),
                "ONBUILD" => {
                    return Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned());
                }
                "FROM" | "MAINTAINER" => {
                    return Err(format!("{trigger} isn't allowed as an ONBUILD trigger"));
                }
                _ => config.on_build.push(rest.to_owned()),
            }
        }
        "STOPSIGNAL" => config.stop_signal = Some(one(name, rest)?),
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        _ => return Err(format!("{name} is not a valid change command")),
    }
    Ok(())
}

/// The exec form is JSON; everything else is for a shell.
fn command(rest: &str) -> Vec<String> {
    match words::json(rest) {
        Some(list) => list,
        None if rest.is_empty() => Vec::new(),
        None => vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.to_owned()],
    }
}

fn one(name: &str, rest: &str) -> Result<String, String> {
    match words::split(rest)?.as_slice() {
        [word] => Ok(word.clone()),
        _ => Err(format!("{name} requires exactly one argument")),
    }
}

fn expose(config: &mut Config, word: &str) -> Result<(), String> {
    let wrong = || format!("invalid containerPort: {word}");
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| text.parse::<u16>().ok().filter(|&port| port > 0).ok_or_else(wrong);
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(wrong());
    }
    config.exposed_ports.extend((first..=last).map(|port| (format!("{port}/{protocol}"), Empty {})));
    Ok(())
}

/// A relative directory is one below the former.
fn directory(former: &str, new: &str) -> String {
    let joined = if new.starts_with('/') { new.to_owned() } else { format!("{former}/{new}") };
    let mut parts = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn healthcheck(mut rest: &str) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (key, value) = flag.split_once('=').ok_or_else(|| format!("missing a value on flag: {flag}"))?;
        match key {
            "interval" => check.interval = words::duration(value)?,
            "timeout" => check.timeout = words::duration(value)?,
            "start-period" => check.start_period = words::duration(value)?,
            "start-interval" => check.start_interval = words::duration(value)?,
            "retries" => {
                let retries = value.parse().ok().filter(|&count: &i64| (0..=i64::from(i32::MAX)).contains(&count));
                check.retries = retries.ok_or_else(|| format!("--retries must be at least 0 (not {value})"))?;
            }
            _ => return Err(format!("unknown flag: {key}")),
        }
        rest = after.trim_start();
    }
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rest = rest.trim();
    check.test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.is_empty() => vec!["NONE".to_owned()],
        "NONE" => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" if rest.is_empty() => return Err("Missing command after HEALTHCHECK CMD".to_owned()),
        "CMD" => match words::json(rest) {
            Some(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
            None => vec!["CMD-SHELL".to_owned(), rest.to_owned()],
        },
        "" => return Err("HEALTHCHECK requires at least one argument".to_owned()),
        other => return Err(format!("Unknown type \"{other}\" in HEALTHCHECK (try CMD)")),
    };
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(changes: &[&str]) -> Result<Config, String> {
        let mut config = Config::default();
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        apply(&mut config, &changes).map(|()| config)
    }

    #[test]
    fn every_instruction_changes_its_field() {
        let config = applied(&[
            "CMD [\"sh\", \"-c\", \"echo hi\"]",
            "entrypoint /bin/run it",
            "ENV A=1 B=\"two words\" C='x\"y'",
            "ENV A 2  3",
            "EXPOSE 80 9000-9001/udp",
            "LABEL a=b \"c d\"=e",
            "USER 1000:1000",
            "VOLUME [\"/data\"]",
            "VOLUME /a /b",
            "WORKDIR /srv\nWORKDIR ../app",
            "ONBUILD RUN true",
            "STOPSIGNAL SIGQUIT",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl localhost",
        ])
        .unwrap();
        assert_eq!(config.cmd.unwrap(), ["sh", "-c", "echo hi"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "/bin/run it"]);
        assert_eq!(config.env, ["B=two words", "C=x\"y", "A=2  3"]);
        let ports: Vec<&str> = config.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(ports, ["80/tcp", "9000/udp", "9001/udp"]);
        assert_eq!(config.labels.get("c d").map(String::as_str), Some("e"));
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("1000:1000", "/app"));
        assert_eq!(config.volumes.len(), 3);
        assert_eq!(config.on_build, ["RUN true"]);
        assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (90_000_000_000, 3));
        assert_eq!(check.test, ["CMD-SHELL", "curl localhost"]);
    }

    #[test]
    fn an_entry_point_drops_a_command_that_was_not_given_with_it() {
        let base = Config { cmd: Some(vec!["old".to_owned()]), ..Config::default() };
        let with = |changes: &[&str]| {
            let mut config = base.clone();
            apply(&mut config, &changes.iter().map(|&change| change.to_owned()).collect::<Vec<_>>()).unwrap();
            config.cmd
        };
        assert_eq!(with(&["ENTRYPOINT [\"a\"]"]), None);
        assert_eq!(with(&["CMD [\"new\"]", "ENTRYPOINT [\"a\"]"]), Some(vec!["new".to_owned()]));
    }

    #[test]
    fn wrong_instructions_are_named() {
        for (change, text) in [
            ("RUN true", "RUN is not a valid change command"),
            ("NOSUCH x", "NOSUCH is not a valid change command"),
            ("ENV A", "ENV must have two arguments"),
            ("ENV A=\"b", "unexpected end of statement while looking for matching double-quote"),
            ("EXPOSE x", "invalid containerPort: x"),
            ("EXPOSE 90-80", "invalid containerPort"),
            ("USER a b", "USER requires exactly one argument"),
            ("HEALTHCHECK --interval=x CMD y", "invalid duration"),
            ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ] {
            let error = applied(&[change]).unwrap_err();
            assert!(error.contains(text), "{change}: {error}");
        }
    }
}
