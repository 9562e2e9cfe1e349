//! What each step asks the engine for.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use docker_api::client::{Client, Error, escape, query};
use serde_json::{Map, Value, json};

use super::{Executor, Report, StepError};
use crate::body::{self, Wish};
use crate::desired::{Condition, Resource, Service, text};
use crate::plan::{Action, Replaced, Target};
use crate::{labels, observe};

/// Whether the engine says that it is so already.
fn is_so(result: Result<Value, Error>, statuses: &[u16]) -> Result<(), StepError> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.status().is_some_and(|status| statuses.contains(&status)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Executor<'_> {
    pub(super) fn act(&self, number: usize, action: &Action, client: &mut Client, report: &dyn Report) -> Result<(), StepError> {
        match action {
            Action::CreateNetwork { key } => self.create_network(key, client),
            Action::RemoveNetwork { id } => is_so(client.call("DELETE", &format!("/networks/{}", escape(id)), None), &[404]),
            Action::Disconnect { network, container } => {
                let body = json!({"Container": container, "Force": true});
                is_so(client.call("POST", &format!("/networks/{}/disconnect", escape(network)), Some(&body)), &[404])
            }
            Action::CreateVolume { key } => self.create_volume(key, client),
            Action::RemoveVolume { name } => is_so(client.call("DELETE", &format!("/volumes/{}?force=1", escape(name)), None), &[404]),
            Action::Create { service, number: count, replaces } => {
                let id = self.create((service, *count, replaces.as_ref()), client, report)?;
                self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(number, id);
                Ok(())
            }
            Action::Start { service, container } => self.start(service, &self.id(container), client),
            Action::Stop { service, container } => self.stop(service, container, client, report),
            Action::Remove { container, force, volumes } => {
                let flag = |on: &bool| on.then_some("1");
                let query = query(&[("force", flag(force)), ("v", flag(volumes))]);
                // Gone, or on its way.
                is_so(client.call("DELETE", &format!("/containers/{}{query}", escape(container)), None), &[404, 409])
            }
            Action::Rename { container, name } => {
                let path = format!("/containers/{}/rename{}", escape(&self.id(container)), query(&[("name", Some(name))]));
                is_so(client.call("POST", &path, None), &[])
            }
            Action::Wait { service, condition, containers, required } => {
                let result = containers.iter().try_for_each(|target| self.wait(service, *condition, target, client));
                match result {
                    Err(error) if !required && !matches!(error, StepError::Canceled) => {
                        report.warn(&format!("optional dependency \"{service}\" failed: {error}"));
                        Ok(())
                    }
                    result => result,
                }
            }
        }
    }

    fn resource_labels(&self, resource: &Resource, kind: &str, key: &str) -> Map<String, Value> {
        let mut all = resource.config.get("labels").and_then(Value::as_object).cloned().unwrap_or_default();
        let own = [
            (labels::PROJECT, self.desired.name.as_str()),
            (kind, key),
            (labels::VERSION, labels::COMPOSE_VERSION),
            (labels::HASH, &resource.hash),
        ];
        all.extend(own.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))));
        all
    }

    fn create_network(&self, key: &str, client: &mut Client) -> Result<(), StepError> {
        let Some(network) = self.desired.networks.get(key) else { return Ok(()) };
        let config = &network.config;
        let ipam = config.get("ipam").cloned().unwrap_or_default();
        let ranges: Vec<Value> = ipam
            .get("config")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|range| json!({"Subnet": text(range, "subnet"), "IPRange": text(range, "ip_range"), "Gateway": text(range, "gateway"), "AuxiliaryAddresses": range.get("aux_addresses")}))
            .collect();
        let flag = |field: &str| config.get(field).and_then(Value::as_bool).unwrap_or_default();
        let mut body = json!({
            "Name": network.name,
            "Driver": text(config, "driver"),
            "Options": config.get("driver_opts"),
            "Internal": flag("internal"),
            "Attachable": flag("attachable"),
            "Labels": self.resource_labels(network, labels::NETWORK, key),
        });
        if ipam.as_object().is_some_and(|ipam| !ipam.is_empty()) {
            body["IPAM"] = json!({"Driver": ipam.get("driver"), "Config": ranges, "Options": ipam.get("options")});
        }
        for (field, name) in [("enable_ipv4", "EnableIPv4"), ("enable_ipv6", "EnableIPv6")] {
            if let Some(value) = config.get(field).filter(|value| value.is_boolean()) {
                body[name] = value.clone();
            }
        }
        // One that another `up` has made meanwhile is as good.
        is_so(client.call("POST", "/networks/create", Some(&body)), &[409])
    }

    fn create_volume(&self, key: &str, client: &mut Client) -> Result<(), StepError> {
        let Some(volume) = self.desired.volumes.get(key) else { return Ok(()) };
        let body = json!({
            "Name": volume.name,
            "Driver": text(&volume.config, "driver"),
            "DriverOpts": volume.config.get("driver_opts"),
            "Labels": self.resource_labels(volume, labels::VOLUME, key),
        });
        is_so(client.call("POST", "/volumes/create", Some(&body)), &[])
    }

    fn service(&self, name: &str) -> Result<&Service, StepError> {
        self.desired.services.get(name).ok_or_else(|| StepError::Unfit(format!("no such service: {name}")))
    }

    fn create(
        &self,
        (name, number, replaces): (&str, usize, Option<&Replaced>),
        client: &mut Client,
        report: &dyn Report,
    ) -> Result<String, StepError> {
        let service = self.service(name)?;
        let shared = self.shared(service, client)?;
        let body = body::body(self.desired, service, &Wish { number, replaces, oneoff: None, shared });
        let own = body::container_name(self.desired, service, number);
        let name = match replaces {
            Some(old) => format!("{}_{own}", old.id.get(..12).unwrap_or(&old.id)),
            None => own,
        };
        self.create_container((service, &name, &body), client, report)
    }

    /// Makes a container and puts the contents in that a file of the host does not hold; returns its id.
    ///
    /// # Errors
    /// As [`StepError`] says.
    pub fn create_container(
        &self,
        (service, name, body): (&Service, &str, &Value),
        client: &mut Client,
        report: &dyn Report,
    ) -> Result<String, StepError> {
        let platform = Some(text(&service.config, "platform")).filter(|platform| !platform.is_empty());
        let path = format!("/containers/create{}", query(&[("name", Some(name)), ("platform", platform)]));
        let created: Value = client.call("POST", &path, Some(body))?;
        for warning in created.get("Warnings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            report.warn(warning);
        }
        let id = text(&created, "Id").to_owned();
        self.put_contents(service, &id, client)?;
        Ok(id)
    }

    /// Ids of the containers whose namespaces or volumes the service shares.
    ///
    /// # Errors
    /// If one of the services has no container.
    pub fn shared(&self, service: &Service, client: &mut Client) -> Result<BTreeMap<String, String>, StepError> {
        let mut ids = BTreeMap::new();
        let names = service.shares();
        if names.is_empty() {
            return Ok(ids);
        }
        let containers = observe::containers(client, &self.desired.name)?;
        for name in names {
            let found = containers.iter().find(|container| container.service() == name && !container.is_oneoff());
            let found =
                found.ok_or_else(|| StepError::Unfit(format!("cannot share a namespace with container of service {name}: it has none")))?;
            ids.insert(name, found.id.clone());
        }
        Ok(ids)
    }

    /// Secrets and configs whose contents stand in the file or in a variable.
    fn put_contents(&self, service: &Service, id: &str, client: &mut Client) -> Result<(), StepError> {
        let mut archive = Vec::new();
        for (field, defined, place) in [("secrets", &self.desired.secrets, "/run/secrets/"), ("configs", &self.desired.configs, "/")] {
            for entry in service.config.get(field).and_then(Value::as_array).into_iter().flatten() {
                let Some(definition) = defined.get(text(entry, "source")) else { continue };
                let content = match (definition.get("content"), definition.get("environment")) {
                    (Some(Value::String(content)), _) => content.clone(),
                    (_, Some(Value::String(name))) => std::env::var(name).map_err(|_| {
                        StepError::Unfit(format!(
                            "environment variable \"{name}\" required by {} \"{}\" is not set",
                            field.trim_end_matches('s'),
                            text(entry, "source")
                        ))
                    })?,
                    _ => continue,
                };
                let target = body::target(entry, place);
                let number = |field: &str| entry.get(field).and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
                let mode = entry.get("mode").and_then(body::mode).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o444);
                add_file(
                    &mut archive,
                    target.trim_start_matches('/'),
                    content.as_bytes(),
                    (mode, number("uid").unwrap_or(0), number("gid").unwrap_or(0)),
                )
                .map_err(|source| StepError::File { path: target, source })?;
            }
        }
        if archive.is_empty() {
            return Ok(());
        }
        archive.extend([0; 1024]);
        let mut answer =
            client.upload("PUT", &format!("/containers/{}/archive?path=%2F", escape(id)), "application/x-tar", &mut archive.as_slice())?;
        let mut rest = Vec::new();
        answer.read_to_end(&mut rest).map_err(Error::from)?;
        Ok(())
    }

    fn start(&self, service: &str, id: &str, client: &mut Client) -> Result<(), StepError> {
        is_so(client.call("POST", &format!("/containers/{}/start", escape(id)), None), &[304])?;
        if let Some(service) = self.desired.services.get(service) {
            Self::hooks(service, "post_start", id, client)?;
        }
        Ok(())
    }

    fn stop(&self, service: &str, id: &str, client: &mut Client, report: &dyn Report) -> Result<(), StepError> {
        if let Some(service) = self.desired.services.get(service)
            && let Err(error) = Self::hooks(service, "pre_stop", id, client)
        {
            // A hook that fails must not keep a container alive.
            report.warn(&error.to_string());
        }
        let timeout = self.timeout.map(|seconds| seconds.to_string());
        is_so(client.call("POST", &format!("/containers/{}/stop{}", escape(id), query(&[("t", timeout.as_deref())])), None), &[304, 404])
    }

    /// Runs the commands of a hook inside the container, one after another.
    fn hooks(service: &Service, which: &str, id: &str, client: &mut Client) -> Result<(), StepError> {
        for hook in service.config.get(which).and_then(Value::as_array).into_iter().flatten() {
            let environment = hook.get("environment").and_then(Value::as_object).into_iter().flatten();
            let environment: Vec<String> =
                environment.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
            let command = match hook.get("command") {
                Some(Value::String(line)) => json!([line]),
                Some(list) => list.clone(),
                None => json!([]),
            };
            let body = json!({
                "Cmd": command, "User": text(hook, "user"), "WorkingDir": text(hook, "working_dir"), "Env": environment,
                "Privileged": hook.get("privileged").and_then(Value::as_bool).unwrap_or_default(), "AttachStdout": true, "AttachStderr": true,
            });
            let created: Value = client.call("POST", &format!("/containers/{}/exec", escape(id)), Some(&body))?;
            let exec = text(&created, "Id").to_owned();
            let mut stream = client.hijack(&format!("/exec/{exec}/start"), Some(&json!({"Detach": false})))?;
            let mut output = Vec::new();
            stream.reader.read_to_end(&mut output).map_err(Error::from)?;
            let state: Value = client.call("GET", &format!("/exec/{exec}/json"), None)?;
            let code = state.get("ExitCode").and_then(Value::as_i64).unwrap_or_default();
            if code != 0 {
                return Err(StepError::Unfit(format!("{} hook exited with status {code}", service.name)));
            }
        }
        Ok(())
    }

    /// Waits until one container is as `condition` says.
    fn wait(&self, service: &str, condition: Condition, target: &Target, client: &mut Client) -> Result<(), StepError> {
        let id = self.id(target);
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(watch) = watch else { return Ok(()) };
        loop {
            let seen = watch.count(&id);
            let found: Value = client.call("GET", &format!("/containers/{}/json", escape(&id)), None)?;
            let name = text(&found, "Name").trim_start_matches('/').to_owned();
            let state = found.get("State").cloned().unwrap_or_default();
            let code = state.get("ExitCode").and_then(Value::as_i64).unwrap_or_default();
            let running = state.get("Running").and_then(Value::as_bool).unwrap_or_default();
            let restarts = state.get("Restarting").and_then(Value::as_bool).unwrap_or_default();
            let over = !running && !restarts && text(&state, "Status") != "created";
            match condition {
                Condition::Started if running => return Ok(()),
                Condition::Completed | Condition::Ready if over && code == 0 => return Ok(()),
                Condition::Completed if over => return Err(StepError::NotCompleted { service: service.to_owned(), code }),
                Condition::Ready if over => return Err(StepError::Unfit(format!("container {name} exited ({code})"))),
                Condition::Started | Condition::Healthy if over => {
                    return Err(StepError::Dependency(format!("container {name} exited ({code})")));
                }
                Condition::Healthy => match state.pointer("/Health/Status").and_then(Value::as_str) {
                    Some("healthy") => return Ok(()),
                    Some("unhealthy") => return Err(StepError::Dependency(format!("container {name} is unhealthy"))),
                    None | Some("none" | "") if running => {
                        return Err(StepError::Dependency(format!("container {name} has no healthcheck configured")));
                    }
                    _ => {}
                },
                Condition::Ready => match state.pointer("/Health/Status").and_then(Value::as_str) {
                    Some("unhealthy") => return Err(StepError::Unfit(format!("container {name} is unhealthy"))),
                    Some("healthy") | None | Some("none" | "") if running => return Ok(()),
                    _ => {}
                },
                Condition::Started | Condition::Completed => {}
            }
            if !watch.next(&id, seen, &|| self.canceled.load(Ordering::Acquire)) {
                if self.canceled.load(Ordering::Acquire) {
                    return Err(StepError::Canceled);
                }
                return Err(StepError::Unfit("the daemon has ended".to_owned()));
            }
        }
    }
}

/// Adds a file to an archive.
fn add_file(archive: &mut Vec<u8>, name: &str, content: &[u8], (mode, uid, gid): (u32, u64, u64)) -> std::io::Result<()> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_uid(uid);
    header.set_gid(gid);
    builder.append_data(&mut header, name, content)?;
    let mut bytes = builder.into_inner()?;
    // The two empty blocks at the end come once, after the last file.
    bytes.truncate(bytes.len().saturating_sub(1024));
    archive.append(&mut bytes);
    Ok(())
}
