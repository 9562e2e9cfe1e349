//! Waits for containers by the engine's events: nothing is asked again and again.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use docker_api::client::{Client, Error, query};
use serde_json::{Value, json};

use crate::desired::text;
use crate::labels;

/// What happened to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// What happened, such as `start`, `die` or `health_status: healthy`.
    pub action: String,
    /// Name, service and exit code, among others.
    pub attributes: HashMap<String, String>,
}

#[derive(Debug, Default)]
struct State {
    /// How often something happened to a container.
    counts: HashMap<String, u64>,
    /// Whether nothing more will come.
    ended: bool,
}

/// The events of a project's containers since the watch began.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    shared: Arc<(Mutex<State>, Condvar)>,
}

/// The stream of a project's events; the first line is read when somebody asks for it.
#[derive(Debug)]
pub struct Events {
    lines: BufReader<docker_api::client::Body>,
}

impl Events {
    /// Opens the stream: what happens from now on is in it.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub fn open(client: &Client, project: &str) -> Result<Self, Error> {
        let filters = json!({"type": ["container"], "label": [format!("{}={project}", labels::PROJECT)]}).to_string();
        let path = format!("/events{}", query(&[("filters", Some(&filters))]));
        Ok(Self { lines: BufReader::new(client.another().stream("GET", &path, None)?) })
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let mut line = String::new();
            if !self.lines.read_line(&mut line).is_ok_and(|count| count > 0) {
                return None;
            }
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            let action = text(&event, "Action");
            // Health checks are commands of which each start and end is told.
            if action.starts_with("exec_") {
                continue;
            }
            let attributes = event.pointer("/Actor/Attributes").and_then(Value::as_object).into_iter().flatten();
            return Some(Event {
                id: event.pointer("/Actor/ID").and_then(Value::as_str).unwrap_or_default().to_owned(),
                action: action.to_owned(),
                attributes: attributes.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
            });
        }
    }
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub fn begin(client: &Client, project: &str) -> Result<Self, Error> {
        let events = Events::open(client, project)?;
        let watch = Self::default();
        let told = watch.clone();
        std::thread::spawn(move || {
            for event in events {
                *told.lock().counts.entry(event.id).or_default() += 1;
                told.shared.1.notify_all();
            }
            told.lock().ended = true;
            told.shared.1.notify_all();
        });
        Ok(watch)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who wait; they look whether they shall go on.
    pub fn wake(&self) {
        self.shared.1.notify_all();
    }

    /// How often something has happened to a container.
    #[must_use]
    pub fn count(&self, id: &str) -> u64 {
        self.lock().counts.get(id).copied().unwrap_or_default()
    }

    /// Waits until more than `seen` things have happened to a container, or `stop` says so; false if nothing more will come.
    #[must_use]
    pub fn next(&self, id: &str, seen: u64, stop: &dyn Fn() -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if state.ended || stop() {
                return false;
            }
            if state.counts.get(id).copied().unwrap_or_default() > seen {
                return true;
            }
            state = self.shared.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
