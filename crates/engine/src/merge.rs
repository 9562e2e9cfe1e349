//! The image's configuration under the container's one.

use std::time::Duration;

use crate::error::InvalidSpec;
use crate::spec::{Config, Healthcheck};

fn name(entry: &str) -> &str {
    entry.split('=').next().unwrap_or(entry)
}

/// Fills what was not said from the image.
///
/// **Source:** moby, `daemon/commit.go`, `merge`.
pub(crate) fn merge(config: &mut Config, image: &oci::image::Config) {
    let take = |own: &mut String, from: &str| {
        if own.is_empty() {
            from.clone_into(own);
        }
    };
    take(&mut config.user, &image.user);
    take(&mut config.working_directory, &image.working_dir);
    for port in image.exposed_ports.keys() {
        config.exposed_ports.extend(port.parse::<crate::spec::Port>());
    }
    if !config.no_image_volumes {
        config.volumes.extend(image.volumes.keys().cloned());
    }
    let own = std::mem::take(&mut config.env);
    let said = |entry: &&String| !own.iter().any(|o| name(o) == name(entry));
    config.env = image.env.iter().filter(said).cloned().collect();
    config.env.extend(own);
    for (key, value) in &image.labels {
        let value = || value.clone();
        config.labels.entry(key.clone()).or_insert_with(value);
    }
    let no_entrypoint = config.entrypoint.as_ref().is_none_or(Vec::is_empty);
    if no_entrypoint {
        if config.command.as_ref().is_none_or(Vec::is_empty) {
            config.command.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    if config.stop_signal.is_none()
        && let Some(text) = &image.stop_signal
    {
        config.stop_signal = text.parse().ok();
        config.stop_signal_text.clone_from(text);
    }
    config.stop_timeout = config.stop_timeout.or(image.stop_timeout);
    if config.shell.is_none() {
        config.shell.clone_from(&image.shell);
    }
    if let Some(from) = &image.healthcheck {
        let own = config.healthcheck.get_or_insert_default();
        merge_healthcheck(own, from);
    }
    // The command line's `--entrypoint ""` comes as one empty word.
    if config.entrypoint.as_deref().is_some_and(|e| matches!(e, [word] if word.is_empty())) {
        config.entrypoint = None;
    }
}

fn merge_healthcheck(own: &mut Healthcheck, image: &oci::image::Healthcheck) {
    let take = |own: &mut Duration, from: i64| {
        if own.is_zero() {
            *own = Duration::from_nanos(u64::try_from(from).unwrap_or_default());
        }
    };
    if own.test.is_empty() {
        own.test.clone_from(&image.test);
    }
    take(&mut own.interval, image.interval);
    take(&mut own.timeout, image.timeout);
    take(&mut own.start_period, image.start_period);
    take(&mut own.start_interval, image.start_interval);
    if own.retries == 0 {
        own.retries = u32::try_from(image.retries).unwrap_or_default();
    }
}

/// Program and arguments.
///
/// # Errors
/// There is none.
pub(crate) fn command(config: &Config) -> Result<Vec<String>, InvalidSpec> {
    let parts = [&config.entrypoint, &config.command];
    let words: Vec<String> = parts.into_iter().flatten().flatten().cloned().collect();
    if words.is_empty() || words.first().is_some_and(String::is_empty) && words.len() == 1 {
        return Err(InvalidSpec::NoCommand);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(Into::into).collect())
    }

    fn image() -> oci::image::Config {
        oci::image::Config {
            env: vec!["PATH=/bin".into(), "A=1".into()],
            entrypoint: words("/entry"),
            cmd: words("serve now"),
            labels: [("a".into(), "image".into())].into(),
            ..oci::image::Config::default()
        }
    }

    #[test]
    fn what_was_said_wins() {
        let mut config = Config { env: vec!["A=2".into()], labels: [("a".into(), "own".into())].into(), ..Config::default() };
        merge(&mut config, &image());
        assert_eq!(config.env, ["PATH=/bin", "A=2"]);
        assert_eq!(config.labels["a"], "own");
        assert_eq!(command(&config).unwrap(), ["/entry", "serve", "now"]);
    }

    #[test]
    fn an_entry_point_of_ones_own_drops_the_image_command() {
        let of = |entrypoint: Option<Vec<String>>, command_: Option<Vec<String>>| {
            let mut config = Config { entrypoint, command: command_, ..Config::default() };
            merge(&mut config, &image());
            command(&config).map(|words| words.join(" "))
        };
        assert_eq!(of(words("/own"), None).unwrap(), "/own");
        assert_eq!(of(None, words("other")).unwrap(), "/entry other");
        assert_eq!(of(Some(vec![String::new()]), words("sh")).unwrap(), "sh");
        assert_eq!(of(Some(vec![String::new()]), None), Err(InvalidSpec::NoCommand));
    }
}
