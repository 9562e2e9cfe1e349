//! What a file may say by the specification and this program does not do: it is refused or told, never passed over.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::desired::{Desired, Service, text};
use crate::error::{Error, Span};
use crate::model::Project;

/// Refuses what these services cannot be brought up with; with `whole` also the jobs that the clock would start.
///
/// # Errors
/// Names the first attribute that is not served, and what to do instead.
pub fn unserved(project: &Project, services: &BTreeSet<String>, whole: bool) -> Result<(), Error> {
    let refuse = |path: String, problem: &str, hint: &str| {
        // Where several files were merged, which of them it was is not known any more.
        let file = project.files.first().filter(|_| project.files.len() == 1).cloned();
        let mut error = Error::at(Span::default(), path, problem).hint(hint);
        error.file = file;
        Err(error)
    };
    for (name, service) in project.services.iter().filter(|(name, _)| services.contains(*name)) {
        if service.provider.is_some() {
            let hint = "start what it provides yourself and give its address in `environment`";
            return refuse(format!("services.{name}.provider"), "services that a program outside provides are not served", hint);
        }
        if !service.container.models.is_empty() {
            let hint = "run the model's server as a service of its own and give its address in `environment`";
            return refuse(format!("services.{name}.models"), "language models are not served", hint);
        }
        if !service.pre_start.is_empty() {
            let hint = "make it a service that this one `depends_on` with `condition: service_completed_successfully`";
            return refuse(format!("services.{name}.pre_start"), "hooks before the start are not served", hint);
        }
    }
    if let Some((name, _)) = project.jobs.iter().find(|(_, job)| whole && !job.triggers.schedule.is_empty()) {
        let hint = "make it a service and let a timer of the host call `compose run`, or name the services to bring up";
        return refuse(format!("jobs.{name}.triggers.schedule"), "jobs that the clock starts are not served", hint);
    }
    Ok(())
}

/// Warnings of secrets and configs whose owner or mode has no effect: a file of the host is mounted as it is.
///
/// **Source:** docker/compose, `pkg/compose/create.go`, `buildContainerSecretMounts`.
pub(crate) fn owners(project: &Desired, service: &Service) -> Vec<String> {
    let mut warnings = Vec::new();
    for (field, defined) in [("secrets", &project.secrets), ("configs", &project.configs)] {
        for entry in service.config.get(field).and_then(Value::as_array).into_iter().flatten() {
            let source = text(entry, "source");
            let is_file = defined.get(source).is_some_and(|definition| !text(definition, "file").is_empty());
            let is_set = ["uid", "gid", "mode"].iter().any(|word| entry.get(*word).is_some_and(|value| !value.is_null()));
            if is_file && is_set {
                let name = &service.name;
                warnings.push(format!(
                    "services.{name}.{field}: `uid`, `gid` and `mode` of {source} are not supported for a file, they will be ignored"
                ));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::{Hashes, Origin};
    use crate::{Options, load};

    fn refused(file: &str) -> Option<String> {
        let mut options = Options::new("/".into(), std::collections::BTreeMap::new());
        (options.files, options.stdin) = (vec!["-".to_owned()], format!("name: p\n{file}"));
        let project = load(&options).unwrap();
        let services = project.services.keys().cloned().collect();
        unserved(&project, &services, true).err().map(|error| error.to_string())
    }

    #[test]
    fn what_is_not_served_is_named_with_its_place() {
        for (file, place) in [
            ("services: {a: {provider: {type: x}}}", "services.a.provider: "),
            ("services: {a: {image: x, models: [m]}}\nmodels: {m: {model: y}}", "services.a.models: "),
            ("services: {a: {image: x, pre_start: [{command: [y]}]}}", "services.a.pre_start: "),
            ("services: {a: {image: x}}\njobs: {j: {image: x, triggers: {schedule: [{cron: '0 3 * * *'}]}}}", "jobs.j.triggers.schedule: "),
        ] {
            let error = refused(file).unwrap_or_default();
            assert!(error.contains(place), "{file}: {error}");
        }
        assert_eq!(refused("services: {a: {image: x, post_start: [{command: [y]}]}}"), None);
    }

    #[test]
    fn an_owner_without_effect_is_told() {
        let secret = |definition: Value| {
            let config = json!({"name": "p", "secrets": {"s": definition},
                "services": {"a": {"secrets": [{"source": "s", "uid": "7"}]}}});
            let desired = Desired::new(&config, &Hashes::default(), Origin::default());
            owners(&desired, &desired.services["a"]).len()
        };
        assert_eq!(secret(json!({"file": "/x"})), 1);
        assert_eq!(secret(json!({"environment": "X"})), 0);
    }
}
