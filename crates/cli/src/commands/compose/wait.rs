//! `wait` and `events`.

use std::sync::mpsc;

use compose::plan::{self, Down};
use compose::watch::Events;
use serde_json::json;

use super::session::Session;
use crate::commands::attach;
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::printer;

/// `wait`: until the first container of the services ends; its exit code is ours.
pub(super) fn wait(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut client = session.client()?;
    let containers = session.containers(&mut client, &given.args)?;
    if containers.is_empty() {
        return Err(Failure::new(format!("no containers for project \"{}\"", session.project_name()?)));
    }
    let (sender, first) = mpsc::channel();
    for container in containers.iter().filter(|container| !container.is_oneoff()) {
        let exit = attach::await_exit(&client, &container.id, "");
        let (sender, name) = (sender.clone(), container.name.clone());
        std::thread::spawn(move || {
            let code = exit.recv();
            let _another_was_first = sender.send((name, code));
        });
    }
    let (name, code) = first.recv().map_err(|_| Failure::new("there is nothing to wait for"))?;
    let code = code.map_err(|_| Failure::new("the daemon ended before the container did"))??;
    printer::line(&format!("container \"{name}\" exited with status code {code}"));
    if given.on("down-project") {
        let project = session.project_name()?;
        let observed = compose::observe::observe(&mut client, &project)?;
        let wish = Down { orphans: true, ..Down::default() };
        let plan = plan::down(&project, None, &observed, &wish);
        let desired = compose::desired::Desired { name: project, ..compose::desired::Desired::default() };
        session.execute(&client, &desired, &plan, None)?;
    }
    Ok(attach::code(code))
}

/// `events`.
pub(super) fn events(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let client = session.client()?;
    for flag in ["since", "until"] {
        if given.has(flag) {
            return Err(Failure::new(format!("--{flag} is not served for a project: use `events --{flag}` with a filter of its label")));
        }
    }
    for event in Events::open(&client, &session.project_name()?)? {
        let service = event.attributes.get(compose::labels::SERVICE).cloned().unwrap_or_default();
        if !given.args.is_empty() && !given.args.contains(&service) {
            continue;
        }
        let attributes: std::collections::BTreeMap<_, _> =
            event.attributes.iter().filter(|(name, _)| !name.starts_with("com.docker.compose.") && !name.starts_with("io.teu.")).collect();
        let time = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S.%6f").to_string();
        if given.on("json") {
            let line = json!({"action": event.action, "attributes": attributes, "id": event.id, "service": service, "time": jiff::Timestamp::now().to_string(), "type": "container"});
            printer::line(&line.to_string());
        } else {
            let pairs: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
            printer::line(&format!("{time} container {} {} ({})", event.action, event.id, pairs.join(", ")));
        }
    }
    Ok(0)
}
