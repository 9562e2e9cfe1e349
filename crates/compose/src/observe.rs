//! What an engine has of a project: three lists.

use std::collections::BTreeMap;

use docker_api::client::{Client, Error, query};
use serde_json::{Value, json};

use crate::desired::{text, texts};
use crate::labels;

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Containers with the project's label, stopped ones and those of `run` as well.
    pub containers: Vec<Container>,
    /// Networks with the project's label or a name that the project uses.
    pub networks: Vec<Found>,
    /// Volumes with the project's label or a name that the project uses.
    pub volumes: Vec<Found>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `running`, `exited`, …
    pub state: String,
    /// For people, such as `Exited (0) 3 minutes ago`.
    pub status: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Names of its networks, each with the network's id.
    pub networks: BTreeMap<String, String>,
    /// Its volumes: where, and the volume's name.
    pub volumes: BTreeMap<String, String>,
}

/// A network or volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its id; for a volume its name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Container {
    /// A label; empty if it is missing.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// The service it belongs to.
    #[must_use]
    pub fn service(&self) -> &str {
        self.label(labels::SERVICE)
    }

    /// Its number within the service.
    #[must_use]
    pub fn number(&self) -> usize {
        self.label(labels::NUMBER).parse().unwrap_or_default()
    }

    /// Whether `run` made it.
    #[must_use]
    pub fn is_oneoff(&self) -> bool {
        self.label(labels::ONEOFF) == "True"
    }

    /// Whether a process of it lives.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.state.as_str(), "running" | "restarting" | "paused")
    }

    /// The code it ended with, if it ran and ended.
    #[must_use]
    pub fn exit_code(&self) -> Option<i64> {
        let rest = self.status.strip_prefix("Exited (").filter(|_| self.state == "exited")?;
        rest.split(')').next()?.parse().ok()
    }

    /// Services it was made to depend on, by its label; whether they restart it is the second.
    pub fn depends_on(&self) -> impl Iterator<Item = (&str, bool)> {
        self.label(labels::DEPENDS_ON).split(',').filter(|entry| !entry.is_empty()).map(|entry| {
            let mut parts = entry.split(':');
            (parts.next().unwrap_or_default(), parts.nth(1) == Some("true"))
        })
    }

    /// From a row of `GET /containers/json`.
    #[must_use]
    pub fn from_row(row: &Value) -> Self {
        let networks = row.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
        let volumes = row.get("Mounts").and_then(Value::as_array).into_iter().flatten().filter(|mount| text(mount, "Type") == "volume");
        Self {
            id: text(row, "Id").to_owned(),
            name: texts(row, "Names")
                .map(|name| name.trim_start_matches('/'))
                .find(|name| !name.contains('/'))
                .unwrap_or_default()
                .to_owned(),
            state: text(row, "State").to_owned(),
            status: text(row, "Status").to_owned(),
            labels: labels_of(row),
            networks: networks.into_iter().flatten().map(|(name, network)| (name.clone(), text(network, "NetworkID").to_owned())).collect(),
            volumes: volumes.map(|mount| (text(mount, "Destination").to_owned(), text(mount, "Name").to_owned())).collect(),
        }
    }
}

fn labels_of(row: &Value) -> BTreeMap<String, String> {
    let labels = row.get("Labels").and_then(Value::as_object).into_iter().flatten();
    labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// `?filters=` for what bears the project's label.
#[must_use]
pub fn filter(project: &str) -> String {
    json!({"label": [format!("{}={project}", labels::PROJECT)]}).to_string()
}

/// Asks for all containers of a project.
///
/// # Errors
/// If the engine does not answer.
pub fn containers(client: &mut Client, project: &str) -> Result<Vec<Container>, Error> {
    let filters = filter(project);
    let rows: Vec<Value> =
        client.call("GET", &format!("/containers/json{}", query(&[("all", Some("1")), ("filters", Some(&filters))])), None)?;
    let mut containers: Vec<Container> = rows.iter().map(Container::from_row).collect();
    containers.sort_by(|left, right| (left.service(), left.number(), &left.name).cmp(&(right.service(), right.number(), &right.name)));
    Ok(containers)
}

/// Asks for all there is of a project, and for the networks and volumes with the given names.
///
/// # Errors
/// If the engine does not answer.
pub fn observe(client: &mut Client, project: &str) -> Result<Observed, Error> {
    let containers = containers(client, project)?;
    // All of them: one that somebody else made may have a name that the project uses.
    let rows: Vec<Value> = client.call("GET", "/networks", None)?;
    let network = |row: &Value| Found { id: text(row, "Id").to_owned(), name: text(row, "Name").to_owned(), labels: labels_of(row) };
    let networks = rows.iter().map(network).collect();
    let rows: Value = client.call("GET", "/volumes", None)?;
    let volume = |row: &Value| Found { id: text(row, "Name").to_owned(), name: text(row, "Name").to_owned(), labels: labels_of(row) };
    let volumes = rows.get("Volumes").and_then(Value::as_array).into_iter().flatten().map(volume).collect();
    Ok(Observed { containers, networks, volumes })
}

impl Found {
    /// Whether it belongs to the project.
    #[must_use]
    pub fn is_of(&self, project: &str) -> bool {
        self.labels.get(labels::PROJECT).is_some_and(|name| name == project)
    }
}
