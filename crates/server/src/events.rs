//! `GET /events`, and the events that the server itself causes.

use crate::app::App;
use crate::convert::view;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::{ApiError, time};
use docker_api::filters::Filters;
use engine::{Event, EventKind};
use image::ImageId;
use std::collections::BTreeMap;

impl App {
    pub(crate) fn event_stream(&self, call: &Call) -> Result<Reply, ApiError> {
        let filters = call.query.filters()?;
        // An unknown filter is no error, and filters nothing.
        let bound = |name: &str| -> Result<Option<u64>, ApiError> {
            let nanos = time::timestamp(call.query.text(name))?;
            Ok(nanos.map(|nanos| u64::try_from(nanos).unwrap_or(0)))
        };
        let (since, until) = (bound("since")?, bound("until")?);
        if let (Some(since), Some(until)) = (since, until)
            && since > until
        {
            return Err(ApiError::invalid(format!(
                "`since` time ({}) cannot be after `until` time ({})",
                call.query.text("since"),
                call.query.text("until")
            )));
        }
        let mut events = self.engine.events().listen(since, until);
        let version = call.version;
        let (sender, answer) = reply::stream("application/json");
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = sender.closed() => return,
                };
                let Some(event) = event else { return };
                if !takes(&filters, &event) {
                    continue;
                }
                let line = reply::line(&view::event(&event, version), "\n");
                if sender.send(line).await.is_err() {
                    return;
                }
            }
        });
        Ok(answer)
    }

    /// Tells the listeners what happened with an image.
    pub(crate) fn image_event(&self, action: &str, id: &ImageId, name: &str) {
        let labels = self.images.get(id).map(|image| image.config.config.labels.clone()).unwrap_or_default();
        self.image_event_with(action, id, name, labels);
    }

    /// Tells the listeners what happened with an image that has these labels.
    pub(crate) fn image_event_with(&self, action: &str, id: &ImageId, name: &str, mut attributes: BTreeMap<String, String>) {
        attributes.insert("name".to_owned(), name.to_owned());
        self.engine.events().publish(EventKind::Image, action, id.to_string(), attributes);
    }

    /// Tells the listeners what happened with a volume.
    pub(crate) fn volume_event(&self, action: &str, name: &str) {
        let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
        self.engine.events().publish(EventKind::Volume, action, name, attributes);
    }

    /// Tells the listeners what happened with a network.
    pub(crate) fn network_event(&self, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        self.engine.events().publish(EventKind::Network, action, id, attributes);
    }
}

/// **Source:** moby, `daemon/events/filter.go`, `Include`.
fn takes(filters: &Filters, event: &Event) -> bool {
    let named = |kind: EventKind, filter: &str| {
        let wanted = filters.get(filter);
        wanted.is_empty()
            || event.kind == kind && {
                let name = event.attributes.get("name").map_or("", String::as_str);
                wanted.iter().any(|wanted| {
                    wanted == name
                        || event.id.starts_with(wanted.as_str())
                        || event.id.strip_prefix("sha256:").is_some_and(|id| id.starts_with(wanted.as_str()))
                })
            }
    };
    let action = event.action.as_str();
    let image = |wanted: &str| {
        let name = match event.kind {
            EventKind::Image => event.attributes.get("name"),
            EventKind::Container => event.attributes.get("image"),
            EventKind::Network | EventKind::Volume | EventKind::Daemon => None,
        };
        let name = name.map_or("", String::as_str);
        let bare = name.rsplit_once(':').map_or(name, |(bare, _)| bare);
        wanted == name || wanted == bare || event.id == wanted
    };
    filters.matches("event", |wanted| action == wanted || action.split_once(':').is_some_and(|(word, _)| word == wanted))
        && filters.matches("type", |wanted| event.kind.name() == wanted)
        && filters.matches("scope", |wanted| wanted == "local")
        && named(EventKind::Container, "container")
        && named(EventKind::Volume, "volume")
        && named(EventKind::Network, "network")
        && named(EventKind::Daemon, "daemon")
        && filters.matches("image", image)
        && filters.labels_match(&event.attributes)
        && ["config", "node", "plugin", "secret", "service"].iter().all(|absent| !filters.contains(absent))
}
